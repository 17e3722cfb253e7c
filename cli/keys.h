/* keys.h - keys of one data directory, made once: the token signing key, a NATS seed per user.
 * Files     keys/token-1.pem (EC P-256, PKCS#8 PEM) and keys/nats-<user>.seed, all 0600 in 0700;
 *           keys/secrets.key (64 hex digits), which secrets of functions are sealed to;
 *           keys/admin.password (32 hex digits), the first administrator's;
 *           keys/tls.pem (0644), a self-signed certificate, and keys/tls-key.pem.
 * Errors    INVALID (a file is damaged or readable by others), INTERNAL.
 * Threads   the main thread.
 */
#ifndef CLI_KEYS_H
#define CLI_KEYS_H

#include "crypto/ec_key.h"
#include "net/nkey.h"

/* Makes keys/token-1.pem unless it is there; the caller frees *out_path. */
FAAS_MUST_CHECK faas_code keys_token(const char *data_dir, char **out_path, faas_err *err);
/* Puts a new key in the place of keys/token-1.pem: whoever reads it finds the old one or the new. */
FAAS_MUST_CHECK faas_code keys_token_replace(const char *data_dir, char out_kid[FAAS_KID_TEXT],
                                             faas_err *err);
/* Makes keys/nats-<user>.seed unless it is there; gives its path (the caller frees) and the public
 * half. */
FAAS_MUST_CHECK faas_code keys_nats(const char *data_dir, const char *user, char **out_path,
                                    char out_public[FAAS_NKEY_PUBLIC_TEXT], faas_err *err);

/* Makes keys/secrets.key unless it is there; the caller frees *out_path. */
FAAS_MUST_CHECK faas_code keys_secrets(const char *data_dir, char **out_path, faas_err *err);

/* Makes keys/admin.password unless it is there; the caller frees *out_path. */
FAAS_MUST_CHECK faas_code keys_admin(const char *data_dir, char **out_path, faas_err *err);

struct evp_pkey_st; /* OpenSSL's */
struct keys_pair {  /* paths, the caller's to free */
    char *cert_path, *key_path;
};
/* Makes keys/tls.pem and its key unless they are there, hold for a month and name the address. */
FAAS_MUST_CHECK faas_code keys_tls(const char *data_dir, const char *address,
                                   struct keys_pair *out_pair, faas_err *err);
/* The private key alone, as PEM, 0600. */
FAAS_MUST_CHECK faas_code keys_write_pem(struct evp_pkey_st *key, const char *path, faas_err *err);

#endif
