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

/* A key of "users" and what it held, without a trace; with an id: only while the key leads to that
 * user. */
FAAS_MUST_CHECK faas_code store_erase(const struct store *store, const char *key, const char *id,
                                      uint64_t deadline_ns, faas_err *err);

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
                                             const struct account *account,
                                             const struct faas_ctx *caller, faas_err *err);
/* For a request that another instance had, which is gone: the account it made, with its id and name;
 * has it changed the caller's password?  TIMEOUT: nobody can tell any more. */
FAAS_MUST_CHECK faas_code store_find_made(const struct store *store, const char *folded_name,
                                          const struct faas_ctx *caller,
                                          struct account *out_account, bool *out_is_made,
                                          faas_err *err);
FAAS_MUST_CHECK faas_code store_is_changed(const struct store *store, const struct faas_ctx *caller,
                                           bool *out_is_changed, faas_err *err);
/* Ends one session of the user, or all of them (session NULL).  *out_revision: of the bucket. */
FAAS_MUST_CHECK faas_code store_end_sessions(const struct store *store, const char *user,
                                             const struct session *session, uint64_t deadline_ns,
                                             uint64_t *out_revision, faas_err *err);

FAAS_MUST_CHECK faas_code store_has_ended(const struct store *store, const char *user,
                                          const struct faas_token_claims *claims,
                                          uint64_t deadline_ns, bool *out_has_ended, faas_err *err);

/* ---- what administrators see and do ---- */
FAAS_MUST_CHECK faas_code store_standing(const struct store *store, const char *user,
                                         uint64_t deadline_ns, int64_t *out_generation,
                                         struct faas_standing *out_standing, faas_err *err);
/* Once for each request; *out_revision: of "revocations".  TIMEOUT: nobody can tell any more. */
FAAS_MUST_CHECK faas_code store_set_standing(const struct store *store, const char *user,
                                             const struct sessions_change *change,
                                             const struct faas_ctx *caller, uint64_t *out_revision,
                                             faas_err *err);
/* The first account behind *at (0: from the first one), in the order of registration; *at is then
 * its place.  NOT_FOUND: there is none. */
FAAS_MUST_CHECK faas_code store_next(const struct store *store, uint64_t *at, uint64_t deadline_ns,
                                     struct account *out_account, faas_err *err);

/* ---- one record ---- */
/* NOT_FOUND is an answer here, not a failure: *out_is_found false, *out_entry empty. */
FAAS_MUST_CHECK faas_code store_look_up(faas_kv *kv, const char *key, uint64_t deadline_ns,
                                        struct faas_kv_entry *out_entry, bool *out_is_found,
                                        faas_err *err);
/* CONFLICT: it is there already.  take_record NULL: INTERNAL. */
FAAS_MUST_CHECK faas_code store_create(faas_kv *kv, const char *key, json_t *take_record,
                                       uint64_t deadline_ns, uint64_t *out_revision, faas_err *err);
/* The record that comes after a value (len 0: none yet); *out_record NULL: it stays as it is.  Never
 * CONFLICT. */
typedef faas_code store_edit(const void *arg, const void *value, size_t len, json_t **out_record,
                             faas_err *err);
/* Edits it by compare-and-set, as often as others write in between; BUSY after many rounds.
 * *out_revision (NULL: not wanted) is that of what is there now, also when nothing was written. */
FAAS_MUST_CHECK faas_code store_change(faas_kv *kv, const char *key, store_edit *edit,
                                       const void *arg, uint64_t deadline_ns,
                                       uint64_t *out_revision, faas_err *err);

#endif
