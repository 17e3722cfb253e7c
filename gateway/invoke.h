/* invoke.h - a call: from the HTTP request to the bytes the function wrote (docs/PROTOCOL.md 4).
 * Owner     the publisher that rendezvous hashing picks for "<tenant>/<function>" among the usable
 *           ones; the next one when NATS says that nobody listens there.
 * Once      after 500 ms of silence, or when the owner died, the owner is asked what became of the
 *           call; only one that never saw it, and now never will take it, lets the call be sent
 *           again.  Everything else that ends without a word is `lost`, may_have_run true.
 * Waits     each of them has a budget: TAKEN and ACCEPT name the next one.
 * Leaving   a client that leaves cancels the call at its publisher and, once accepted, its spawner.
 * Threads   invoke_begin: libmicrohttpd's or the loop's; the rest: the loop's.
 */
#ifndef GATEWAY_INVOKE_H
#define GATEWAY_INVOKE_H

#include "gateway/gateway.h"

/* Rows GW_CALL and GW_PUBLISH. */
void invoke_begin(struct gateway *gw, http_exchange *x);
void invoke_on_member(struct gateway *gw, const struct faas_member *member,
                      enum faas_member_change change);
/* Answer what still waits with UNAVAILABLE. */
void invoke_stop(struct gateway *gw);

#endif
