/* forge.h - keys in files and tokens with any header and payload, to test what verification
 * refuses. Keys      written below a fresh directory under /tmp, which forge_done removes. Tokens
 * text owned by the caller (free).  Failures of the tools themselves abort.
 */
#ifndef FAAS_FORGE_H
#define FAAS_FORGE_H

#include <stddef.h>
#include <sys/types.h>

struct forge_key {
    char private_file[96], public_file[96];
    char *public_pem;
    void *pkey; /* EVP_PKEY */
};

void forge_init(void);
/* curve: "P-256", "P-384", ...; the private file gets `mode`. */
void forge_key_new(struct forge_key *out_key, const char *curve, mode_t mode);
void forge_key_done(struct forge_key *key);
/* A file with any content below the directory; the path is good until the next call. */
const char *forge_file(const char *name, const void *content, size_t len, mode_t mode);
void forge_done(void);

char *forge_es256(const struct forge_key *key, const char *header, const char *payload);
char *forge_hs256(const char *secret, const char *header, const char *payload);
char *forge_unsigned(const char *header, const char *payload); /* "h.p." */
/* Header, payload and signature as they are given, base64url is made of the first two. */
char *forge_raw(const char *header, const char *payload, const char *signature);

#endif
