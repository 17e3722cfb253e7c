/* sessions.h - which tokens of a user count no more, though they have not expired.
 * Record    one per user, in the bucket "revocations" (PROTOCOL.md section 6): a generation, and
 *           the single tokens that were logged out, with their ends.  A token of an earlier
 *           generation is revoked; a user without a record has generation 0 and nothing revoked.
 * Keys      "keys" counts how often API keys of the user were ended: what a gateway knows of one
 *           from before is asked anew.  The keys themselves are elsewhere (apikey.h).
 * Bounds    ended tokens leave the record with the next write; a user who logs out more than
 *           SESSIONS_MAX tokens within a token's life gets the next generation instead.
 * Values    as stored; len 0: no record yet.  Unknown fields stay.
 * Errors    INTERNAL when stored bytes are not what we write.
 * Threads   pure; any.
 */
#ifndef AUTH_SESSIONS_H
#define AUTH_SESSIONS_H

#include <stdint.h>

#include "base/json.h"

#define SESSIONS_MAX 64

struct session {
    const char *jti;    /* UUID */
    int64_t expires_at; /* seconds since 1970 */
};

FAAS_MUST_CHECK faas_code sessions_generation(const void *value, size_t len,
                                              int64_t *out_generation, faas_err *err);
/* The record after the end of one session, or of all (session NULL); a new reference. */
FAAS_MUST_CHECK faas_code sessions_end(const void *value, size_t len, const struct session *session,
                                       int64_t now_s, json_t **out_record, faas_err *err);
/* How often keys were ended, and the record once they were again; a new reference. */
FAAS_MUST_CHECK faas_code sessions_keys(const void *value, size_t len, int64_t *out_keys,
                                        faas_err *err);
FAAS_MUST_CHECK faas_code sessions_end_keys(const void *value, size_t len, json_t **out_record,
                                            faas_err *err);

#endif
