/* forward.h - one HTTP request <-> one request on the bus.
 * Bodies    see params.h; the reply's JSON is the answer, byte for byte; 204 has none.
 * Retry     GETs may be sent again after silence.  Anything else is sent again only while NATS says
 *           that nobody listens, so that no change is made twice.
 * Records   of a call that came less than FORWARD_YOUNG_MS ago may still be on their way: NOT_FOUND
 *           is asked again until then (the call's id tells when it came, by some gateway's clock).
 * Threads   forward_begin: libmicrohttpd's or the loop's; the rest: the loop's.
 */
#ifndef GATEWAY_FORWARD_H
#define GATEWAY_FORWARD_H

#include "gateway/gateway.h"

#define FORWARD_YOUNG_MS 1000

/* Rows GW_FORWARD, GW_RECORD, GW_LOG and GW_HEALTH. */
void forward_begin(struct gateway *gw, http_exchange *x);
/* Answer what still waits with UNAVAILABLE; the bus's calls may end later. */
void forward_stop(struct gateway *gw);

/* For whoever asks the bus in other ways: the request's identity and deadline; the problem that a
 * failed request to the route's subject comes to. */
void forward_fill_ctx(struct faas_ctx *ctx, const http_exchange *x);
void forward_answer_failure(http_exchange *x, const struct faas_rpc_reply *reply);

#endif
