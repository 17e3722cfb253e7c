/* status.h - can the platform do its work now?
 * Source    heartbeats, looked at every 250 ms; nothing is asked per request.
 * Threads   status_start: the loop's; the questions: any.
 */
#ifndef GATEWAY_STATUS_H
#define GATEWAY_STATUS_H

#include <stdatomic.h>

#include "gateway/http.h"
#include "net/members.h"

struct status {
    const struct faas_runtime *rt;
    ev_timer timer;
    _Atomic unsigned missing; /* one bit per row of the services' table, and the bus */
};

/* Everything is missing until status_start. */
void status_init(struct status *status);
void status_start(struct status *status, const struct faas_runtime *rt);
void status_stop(struct status *status);
/* Answers GET /healthz: 200 "OK", or 503 naming what is missing. */
void status_answer(struct status *status, http_exchange *x);
/* A usable instance of the service is in the heartbeats, else UNAVAILABLE. */
FAAS_MUST_CHECK faas_code status_check(struct status *status, const char *service, faas_err *err);

#endif
