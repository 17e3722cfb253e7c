/* store.h - accounts in the bucket "users", ended sessions in "revocations".
 * Names     create-if-absent decides who gets one.
 * Order     the user's record is written first, then the name's: whoever creates the name's has
 *           the account, the others take their own record back.
 * Sessions  a login reads the generation of the sessions before the password, a change of the
 *           password writes the password before the generation: so a token that was bought with
 *           the old password is always of an old generation.
 * Reads     go to the leader.
 * Time      deadlines are absolute faas_now_ns() instants.
 * Errors    CONFLICT (the name is taken), UNAVAILABLE (the store did not confirm in time).
 * Threads   any but the loop's; calls block.
 */
#ifndef AUTH_STORE_H
#define AUTH_STORE_H

#include "account.h"
#include "net/kv.h"
#include "sessions.h"

struct store {
    faas_kv *users, *revocations;
    faas_rpc *rpc;
};

/* Accounts there are. */
FAAS_MUST_CHECK faas_code store_count(const struct store *store, uint64_t deadline_ns,
                                      int64_t *out_count, faas_err *err);

/* *out_is_taken: a cheap look before the hashing; store_add() still decides. */
FAAS_MUST_CHECK faas_code store_is_taken(const struct store *store, const char *folded_name,
                                         uint64_t deadline_ns, bool *out_is_taken, faas_err *err);
FAAS_MUST_CHECK faas_code store_add(const struct store *store, const struct account *account,
                                    uint64_t deadline_ns, faas_err *err);
/* *out_is_found false: there is no such user; the store was asked as often as for one that is. */
FAAS_MUST_CHECK faas_code store_find(const struct store *store, const char *folded_name,
                                     uint64_t deadline_ns, struct account *out_account,
                                     bool *out_is_found, faas_err *err);
/* Puts account->password in the place of the stored one, unless somebody else did meanwhile:
 * CONFLICT.  account comes from store_find(). */
FAAS_MUST_CHECK faas_code store_set_password(const struct store *store,
                                             const struct account *account, uint64_t deadline_ns,
                                             faas_err *err);
/* Ends one session of the user, or all of them (session NULL).  *out_revision: of the bucket. */
FAAS_MUST_CHECK faas_code store_end_sessions(const struct store *store, const char *user,
                                             const struct session *session, uint64_t deadline_ns,
                                             uint64_t *out_revision, faas_err *err);

#endif
