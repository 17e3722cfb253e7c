/* keys.h - the signing keys: which files, in which order.
 * Files     a comma-separated list, newest first: the first one signs, all of them verify, so a
 *           key is rotated by putting a new one in front and dropping the old one a token's life
 *           later.
 * Errors    INVALID naming the file: missing, not EC P-256, readable by others.
 * Threads   start only.
 */
#ifndef AUTH_KEYS_H
#define AUTH_KEYS_H

#include "base/json.h"
#include "crypto/token.h"

/* *out_signer and *out_jwks are the caller's. */
FAAS_MUST_CHECK faas_code keys_open(const char *files, faas_token_signer **out_signer,
                                    json_t **out_jwks, faas_err *err);

#endif
