/* status.h - can the platform do its work now?
 * Source    heartbeats, and whether the store's leader answers access's feed, looked at every 250 ms;
 *           nothing is asked per request.
 * Threads   status_start: the loop's; the questions: any.
 */
#ifndef GATEWAY_STATUS_H
#define GATEWAY_STATUS_H

#include <stdatomic.h>

#include "gateway/access.h"
#include "gateway/http.h"
#include "net/members.h"

struct status {
    const struct faas_runtime *rt;
    struct access *access;
    ev_timer timer;
    http_constant *ok;
    _Atomic unsigned missing; /* one bit per row of the services' table, the bus and the store */
};

/* Everything is missing until status_start. */
FAAS_MUST_CHECK faas_code status_init(struct status *status, faas_err *err);
void status_start(struct status *status, const struct faas_runtime *rt, struct access *access);
void status_stop(struct status *status);
void status_done(struct status *status); /* after http_close() */
/* The answer to GET /healthz while nothing is missing, else NULL. */
const http_constant *status_constant(const struct status *status);
/* Answers GET /healthz when it was no constant: 503 naming what is missing, or 200 "OK". */
void status_answer(struct status *status, http_exchange *x);
/* The names that status_answer() tells, as a list; NULL only without memory. */
json_t *status_missing(const struct status *status);
/* A usable instance of the service is in the heartbeats, else UNAVAILABLE. */
FAAS_MUST_CHECK faas_code status_check(struct status *status, const char *service, faas_err *err);

#endif
