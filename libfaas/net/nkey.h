/* nkey.h - NATS user keys: a seed kept by the service, its public half known to the server.
 * Shapes    seed text "SU..." of 58 characters, public text "U..." of 56: base32 (RFC 4648, no
 *           padding) of prefix, 32 bytes (Ed25519) and a CRC-16 (XMODEM).
 * Files     a seed file holds the seed text and at most one newline; it must pass base/secret.h, and
 *           not hold the seed that the NATS documentation shows.
 * Ownership buffers are the caller's; wipe seeds with sodium_memzero() when done.
 * Threads   any.
 * Errors    INVALID (no such file, not a seed, not fit for a secret), INTERNAL (it cannot be read).
 * Spec      NATS nkeys.
 */
#ifndef FAAS_NKEY_H
#define FAAS_NKEY_H

#include "base/err.h"

#define FAAS_NKEY_SEED_TEXT   59 /* with NUL */
#define FAAS_NKEY_PUBLIC_TEXT 57

/* A new user key pair. */
FAAS_MUST_CHECK faas_code faas_nkey_new(char out_seed[FAAS_NKEY_SEED_TEXT],
                                        char out_public[FAAS_NKEY_PUBLIC_TEXT], faas_err *err);
FAAS_MUST_CHECK faas_code faas_nkey_public(const char *seed, char out_public[FAAS_NKEY_PUBLIC_TEXT],
                                           faas_err *err);
/* Ed25519 over text (a server's nonce).  The signature never begins with a zero byte: libnats 3.4
 * takes the bytes for a string, would leave such a one out of its CONNECT, and one sign-in
 * in 256 would be refused. */
#define FAAS_NKEY_SIGNATURE 64
FAAS_MUST_CHECK faas_code faas_nkey_sign(const char *seed, const char *text,
                                         unsigned char out_signature[FAAS_NKEY_SIGNATURE],
                                         faas_err *err);
/* The checked seed held by the file. */
FAAS_MUST_CHECK faas_code faas_nkey_read(const char *path, char out_seed[FAAS_NKEY_SEED_TEXT],
                                         faas_err *err);

#endif
