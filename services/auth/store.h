/* store.h - accounts in the bucket "users"; create-if-absent decides who gets a name.
 * Order     the user's record is written first, then the name's: whoever creates the name's has
 *           the account, the others take their own record back.
 * Reads     go to the leader.
 * Time      deadlines are absolute faas_now_ns() instants.
 * Errors    CONFLICT (the name is taken), UNAVAILABLE (the store did not confirm in time).
 * Threads   any but the loop's; calls block.
 */
#ifndef AUTH_STORE_H
#define AUTH_STORE_H

#include "account.h"
#include "net/kv.h"

/* *out_is_taken: a cheap look before the hashing; store_add() still decides. */
FAAS_MUST_CHECK faas_code store_is_taken(faas_kv *kv, const char *folded_name, uint64_t deadline_ns,
                                         bool *out_is_taken, faas_err *err);
FAAS_MUST_CHECK faas_code store_add(faas_kv *kv, const struct account *account,
                                    uint64_t deadline_ns, faas_err *err);
/* *out_is_found false: there is no such user; the store was asked as often as for one that is. */
FAAS_MUST_CHECK faas_code store_find(faas_kv *kv, const char *folded_name, uint64_t deadline_ns,
                                     struct account *out_account, bool *out_is_found,
                                     faas_err *err);

#endif
