/* access_key.h - the part of access.h that is about API keys.
 * Threads   check: any; ask: the loop's.
 */
#ifndef GATEWAY_ACCESS_KEY_H
#define GATEWAY_ACCESS_KEY_H

#include "gateway/access.h"
#include "gateway/credential.h"

/* UNAUTHENTICATED; a key in the verdict is given up. */
FAAS_MUST_CHECK faas_code access_key_refuse(struct access_verdict *verdict, const char *reason,
                                            faas_err *err);
/* is_unsettled: it has to be asked for. */
FAAS_MUST_CHECK faas_code access_key_check(struct apikeys *keys,
                                           const struct credential *credential,
                                           struct access_verdict *verdict, faas_err *err);
void access_key_ask(struct apikeys *keys, const struct credential *credential,
                    const struct access_question *question, access_done *done, void *arg);

#endif
