/* ec_key.h - one EC P-256 key as PEM, for token.c.
 * Shape     a copy of the key in PEM (what libjwt takes), its point in big-endian bytes and its id.
 * kid       first 16 hex digits of SHA-256 over the public key's SPKI DER.
 * Files     PEM, private or public.  One with a private key must pass base/secret.h, and the key
 *           must not be one of those that are printed in public documents.
 * Ownership a key owns its PEM until faas_ec_key_done, which wipes it; NULL and zeroed are fine.
 * Errors    INVALID naming the file and what to do.
 * Threads   values; any.
 */
#ifndef FAAS_EC_KEY_H
#define FAAS_EC_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define FAAS_EC_BYTES 32 /* of a coordinate */
#define FAAS_KID_TEXT 17 /* with NUL */

struct faas_ec_key {
    bool is_private;
    char kid[FAAS_KID_TEXT];
    uint8_t x[FAAS_EC_BYTES], y[FAAS_EC_BYTES];
    char *pem; /* ends in NUL; the private key when there is one */
    size_t pem_len;
};

FAAS_MUST_CHECK faas_code faas_ec_key_load(const char *file, struct faas_ec_key *out_key,
                                           faas_err *err);
/* From a point; INVALID when it is not on the curve. */
FAAS_MUST_CHECK faas_code faas_ec_key_from_point(const uint8_t x[FAAS_EC_BYTES],
                                                 const uint8_t y[FAAS_EC_BYTES],
                                                 struct faas_ec_key *out_key, faas_err *err);
void faas_ec_key_done(struct faas_ec_key *key);

#endif
