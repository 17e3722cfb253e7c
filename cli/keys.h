/* keys.h - keys of one data directory, made once: the token signing key, a NATS seed per user.
 * Files     keys/token-1.pem (EC P-256, PKCS#8 PEM) and keys/nats-<user>.seed, all 0600 in 0700;
 *           keys/secrets.key (64 hex digits), which secrets of functions are sealed to;
 *           keys/admin.password (32 hex digits), the first administrator's;
 *           keys/tls.pem (0644), a self-signed certificate, and keys/tls-key.pem;
 *           keys/nats-ca.pem, nats-tls.pem (0644) and their keys, nats-ca-key.pem, nats-tls-key.pem.
 * Errors    INVALID (a file is damaged or readable by others), INTERNAL.
 * Threads   the main thread.
 */
#ifndef CLI_KEYS_H
#define CLI_KEYS_H

#include <stdbool.h>
#include <stddef.h>

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
struct x509_st;
struct keys_pair { /* paths, the caller's to free */
    char *cert_path, *key_path;
};
/* Makes keys/tls.pem and its key unless they are there, hold for a month and name the address. */
FAAS_MUST_CHECK faas_code keys_tls(const char *data_dir, const char *address,
                                   struct keys_pair *out_pair, faas_err *err);
struct keys_bus { /* of its TLS: paths, freed by keys_bus_done() */
    char *ca_path, *cert_path, *key_path;
};
/* An authority of the bus and a certificate for these servers (host names or IPv4 addresses): made
 * unless they are there and hold for a year.  An authority whose key is not there is somebody's: of
 * that the certificate must be there, too, and is INVALID when it does not do. */
FAAS_MUST_CHECK faas_code keys_bus(const char *data_dir, const char *const *hosts, size_t count,
                                   struct keys_bus *out_keys, faas_err *err);
void keys_bus_done(struct keys_bus *keys);
bool keys_add_extension(struct x509_st *cert, int nid, const char *value);
/* 0644, as PEM. */
FAAS_MUST_CHECK faas_code keys_write_cert(struct x509_st *cert, const char *path, faas_err *err);
/* The private key alone, as PEM, 0600. */
FAAS_MUST_CHECK faas_code keys_write_pem(struct evp_pkey_st *key, const char *path, faas_err *err);

#endif
