/* problem.h - failures as problem documents (RFC 9457, API.md section 4).
 * Members   type "urn:faas:problem:<code>", title, status, detail, code, component, call_id, and
 *           what the failure adds (exit_code, stderr, reason ...).  Only the client's text goes
 * out. Headers   429 always has Retry-After (1 unless said), 401 WWW-Authenticate. Ownership the
 * exchange is answered: it belongs to the caller no longer.
 */
#ifndef GATEWAY_PROBLEM_H
#define GATEWAY_PROBLEM_H

#include <jansson.h>

#include "gateway/http.h"

struct problem {
    faas_code code;
    const char *detail;    /* for the client */
    const char *component; /* who failed; NULL: "gateway" */
    json_t *extra;         /* further members, borrowed; NULL: none */
    int status;            /* 0: the code's */
    int64_t retry_after_s; /* 0: not said */
    const char *reason; /* of a 401: missing, invalid, expired, revoked; NULL: not about a token */
};
/* The document alone, a new reference; NULL without memory. */
json_t *problem_document(const http_exchange *x, const struct problem *problem);
void problem_answer(http_exchange *x, const struct problem *problem);
/* err's code and message; component NULL: "gateway". */
void problem_from_err(http_exchange *x, const faas_err *err, const char *component);

#endif
