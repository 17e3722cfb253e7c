/* queued.h - calls that are queued instead of waited for: POST /async-function/NAME; their state,
 * their end.
 * Queue     the call goes to the function's owner, who answers once the store has confirmed it; then
 *           202.  When the owner dies first, the next one is asked: it finds what the dead one
 *           stored, so nothing is queued twice.
 * State     GET /v1/calls/ID[?wait=SECONDS], from any publisher; no thread waits.
 * Cancel    DELETE /v1/calls/ID asks all publishers, then the store: a call whose publisher has just
 *           died is asked for again until another one has taken it over.
 * Ids       of the call, also in X-Call-Id and in problem documents.
 * Threads   *_begin: libmicrohttpd's or the loop's; the rest: the loop's.
 */
#ifndef GATEWAY_QUEUED_H
#define GATEWAY_QUEUED_H

#include "gateway/gateway.h"

#define QUEUED_WAIT_S_MAX 60

/* Row GW_ASYNC; and rows of calls whose request has an Idempotency-Key: they are queued, and their
 * client waits. */
void queued_begin(struct gateway *gw, http_exchange *x);
/* On the loop: for the end of the call that has the exchange's id, then its result. */
void queued_wait(struct gateway *gw, http_exchange *x);
/* The result of a call that has ended. */
void result_answer(struct gateway *gw, http_exchange *x);
/* Row GW_RECORD whose query has wait=SECONDS.  Of a call that is not in the queue, and has not been,
 * the record is the answer. */
bool queued_is_wait(const http_exchange *x);
void queued_state_begin(struct gateway *gw, http_exchange *x);
void cancel_begin(struct gateway *gw, http_exchange *x); /* row GW_CANCEL */
void result_begin(struct gateway *gw, http_exchange *x); /* row GW_RESULT */
void queued_on_member(struct gateway *gw, const struct faas_member *member,
                      enum faas_member_change change);
/* Answer what still waits with UNAVAILABLE. */
void queued_stop(struct gateway *gw);
void queued_state_stop(struct gateway *gw);
void result_stop(struct gateway *gw);

/* ---- shared by the files of this ---- */
/* The id in the path becomes the exchange's; NOT_FOUND when it is none. */
FAAS_MUST_CHECK faas_code queued_take_id(http_exchange *x, faas_err *err);
/* What the query asks: wait=SECONDS, or nothing. */
FAAS_MUST_CHECK faas_code queued_question(const http_exchange *x, int64_t *out_wait_ms,
                                          faas_err *err);

#endif
