/* admit.h - how much each caller may ask for: requests a second, calls a minute, and memory for the
 * bodies of those whose key has to be asked for first.
 * Bodies    ADMIT_LARGE over ADMIT_SMALL bytes at a time, until their senders are known; others are
 *           told to come again.
 * Threads   any.
 */
#ifndef GATEWAY_ADMIT_H
#define GATEWAY_ADMIT_H

#include "gateway/gateway.h"

#define ADMIT_SMALL    (16 * 1024)
#define ADMIT_LARGE    64
#define ADMIT_NO_LIMIT INT64_MAX

/* False: x was answered. */
bool admit_address(struct gateway *gw, http_exchange *x);
bool admit_caller(struct gateway *gw, http_exchange *x, faas_code code,
                  struct access_verdict *verdict, const faas_err *err);
bool admit_unknown(struct gateway *gw, http_exchange *x);
void admit_done(struct gateway *gw, const http_exchange *x); /* once, at its end */

/* BUSY: it is a call, and the caller has made as many within a minute as they may. */
FAAS_MUST_CHECK faas_code admit_call(struct gateway *gw, const http_exchange *x, faas_err *err);
int64_t admit_calls_limit(const struct gateway *gw, const http_exchange *x); /* per minute */

#endif
