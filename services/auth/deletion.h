/* deletion.h - the end of an account: steps that each may be done again.
 * Order     a note "d.<id>" in the bucket "users" decides it; then tokens and API keys are refused
 *           by every gateway, keys go, the account and its name go, and the registry and the
 *           publishers are asked to remove what the tenant has.
 * Broken    every instance looks for notes at its start and every half minute, and does the steps of
 *           each.  A note goes once they were all done when no request can be under way any more that
 *           a gateway let in before.
 * Ids       of user and tenant are never used again: whoever takes the name sees nothing of before.
 * Errors    CONFLICT: the account may not go; UNAVAILABLE: the store, or not every gateway confirmed
 *           in time, and the rest follows by itself.
 * Threads   deletion_watch: the loop's; the rest: any but the loop's, calls block.
 */
#ifndef AUTH_DELETION_H
#define AUTH_DELETION_H

#include "auth.h"

/* Did that request delete an account before?  Then that is finished, as far as anybody waits for it. */
FAAS_MUST_CHECK faas_code deletion_repeat(const struct auth *auth, const struct faas_ctx *caller,
                                          bool *out_is_done, faas_err *err);
/* From the answer on no gateway lets the user in, and nobody has the name. */
FAAS_MUST_CHECK faas_code deletion_do(const struct auth *auth, const struct account *account,
                                      const struct faas_ctx *caller, faas_err *err);
void deletion_watch(struct auth *auth);

#endif
