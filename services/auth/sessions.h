/* sessions.h - which tokens of a user count no more, though they have not expired.
 * Record    one per user, in the bucket "revocations" (PROTOCOL.md section 6): a generation, and
 *           the single tokens that were logged out, with their ends.  A token of an earlier
 *           generation is revoked; a user without a record has generation 0 and nothing revoked.
 * Keys      "keys" counts how often API keys of the user were ended: what a gateway knows of one
 *           from before is asked anew.  The keys themselves are elsewhere (apikey.h).
 * Standing  "role", "disabled" and "quotas" of a user (base/standing.h) are here, too: what every
 *           gateway follows anyway.
 * Bounds    ended tokens leave the record with the next write; a user who logs out more than
 *           SESSIONS_MAX tokens within a token's life gets the next generation instead.
 * Values    as stored; len 0: no record yet.  Unknown fields stay.
 * Errors    INTERNAL when stored bytes are not what we write.
 * Threads   pure; any.
 */
#ifndef AUTH_SESSIONS_H
#define AUTH_SESSIONS_H

#include <stdint.h>

#include "base/ctx.h"
#include "base/json.h"
#include "base/standing.h"
#include "crypto/token.h"

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
/* The record once the account is deleted: disabled, without a role, every session and key ended.
 * NULL: it was before. */
FAAS_MUST_CHECK faas_code sessions_end_account(const void *value, size_t len, int64_t now_ms,
                                               json_t **out_record, faas_err *err);
/* Does a token of that generation and jti count no more?  No account is disabled by that. */
FAAS_MUST_CHECK faas_code sessions_has_ended(const void *value, size_t len,
                                             const struct faas_token_claims *claims,
                                             bool *out_has_ended, faas_err *err);

/* ---- standing ---- */
struct sessions_change {    /* NULL: stays; borrowed */
    const json_t *disabled; /* a boolean */
    const char *role;       /* FAAS_ROLE_ADMIN, or another: none */
    const json_t *quotas;   /* numbers by name; null: the platform's again */
};
/* Strict; the members that are there. */
FAAS_MUST_CHECK faas_code sessions_read_change(const json_t *body, const char **out_username,
                                               struct sessions_change *out_change, faas_err *err);
FAAS_MUST_CHECK faas_code sessions_standing(const void *value, size_t len,
                                            struct faas_standing *out_standing, faas_err *err);
/* The record after the change, a new reference.  Who is disabled or has another role gets the next
 * generation and another count of ended keys: so programs that know of neither ask anew, or refuse,
 * and no token is older than its user's role.  NULL: the caller's request made it before.  TIMEOUT:
 * nobody can tell any more. */
FAAS_MUST_CHECK faas_code sessions_set_standing(const void *value, size_t len,
                                                const struct sessions_change *change,
                                                const struct faas_ctx *caller, json_t **out_record,
                                                faas_err *err);

#endif
