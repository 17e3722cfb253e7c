/* metrics.h - what this gateway counts: requests by route and status, and how long they took.
 * Labels    a route's pattern and method, never a path as received; "none" for what matched no
 *           route.  A constant answer (http.h: a sound /healthz) makes no exchange and is not counted.
 * Threads   metrics_add before threads start; the others any.
 */
#ifndef GATEWAY_METRICS_H
#define GATEWAY_METRICS_H

#include "gateway/http.h"

FAAS_MUST_CHECK faas_code metrics_add(faas_err *err); /* once */
void metrics_done(void);                              /* at the program's end */
void metrics_begun(void);                             /* an exchange */
void metrics_note(const http_exchange *x);            /* its end */

#endif
