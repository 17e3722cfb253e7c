/* keys.h - the signing keys: read from files, made known to every gateway, then used.
 * Files     a comma-separated list, newest first: the first one signs, all of them verify.  They
 *           are looked at every second: whoever puts another key in the place of one (by rename)
 *           rotates it, without a restart.  A file that cannot be used changes nothing, and is
 *           logged.
 * Order     a new key's public half is written to the bucket "revocations" (keyset.h); only once
 *           every live gateway has applied that does it sign.  The key before it verifies until the
 *           last token it signed has ended, though its private half is gone.
 * Errors    INVALID naming the file (missing, not EC P-256, readable by others), UNAVAILABLE (the
 *           store does not answer).
 * Threads   open, begin, watch: the starter's; close: the owner's; the rest: any.
 */
#ifndef AUTH_KEYS_H
#define AUTH_KEYS_H

#include "base/json.h"
#include "crypto/token.h"
#include "net/kv.h"
#include "net/members.h"

struct keys;

/* Reads the files; nothing is published yet.  ttl_s: life of a token. */
FAAS_MUST_CHECK faas_code keys_open(const char *files, int64_t ttl_s, struct keys **out_keys,
                                    faas_err *err);
/* Publishes what was read in kv (the bucket "revocations", borrowed) and signs with it. */
FAAS_MUST_CHECK faas_code keys_begin(struct keys *keys, faas_kv *kv, faas_members *members,
                                     faas_err *err);
/* From now on the files are looked at, by jobs of the pool. */
void keys_watch(struct keys *keys, faas_loop *loop, faas_pool *pool);
void keys_close(struct keys *keys); /* loop and pool have stopped */

/* As faas_token_sign. */
FAAS_MUST_CHECK faas_code keys_sign(struct keys *keys, struct faas_token_claims *claims,
                                    char **out_token, faas_err *err);
/* The keys whose tokens count now, newest first, as the store has them. */
FAAS_MUST_CHECK faas_code keys_public(struct keys *keys, uint64_t deadline_ns, json_t **out_doc,
                                      faas_err *err);
/* No other key than that one counts any more, at any gateway, when it returns.  NOT_FOUND: it does
 * not count itself. */
FAAS_MUST_CHECK faas_code keys_end_others(struct keys *keys, const char *kid, uint64_t deadline_ns,
                                          faas_err *err);
void keys_signing(struct keys *keys, char out_kid[32]);

#endif
