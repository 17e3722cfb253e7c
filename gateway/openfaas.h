/* openfaas.h - the words of OpenFaaS's clients (faas-cli, its SDKs) for what the platform does.
 * Requests  rows GW_SYS_* of the route table are requests of other rows in other words: what comes
 *           is made a body of the row's subject before anybody looks at it, permit.h included.
 * Answers   a record as OpenFaaS's FunctionStatus, lines of logs as one JSON object a line; most others
 *           have no body.
 * Tolerance fields that nobody here knows are ignored; what would change what a function is, and
 *           cannot be had, is an error.  docs/OPENFAAS.md has the table.
 * Errors    INVALID naming the client's field, UNPROCESSABLE for what cannot be had.
 * Threads   pure; any.
 * Spec      openfaas/faas-provider types: FunctionDeployment, FunctionStatus, Secret; logs: Request, Message.
 */
#ifndef GATEWAY_OPENFAAS_H
#define GATEWAY_OPENFAAS_H

#include "gateway/params.h"

#define OPENFAAS_NAMESPACE "openfaas-fn" /* the name of the one that every user has */

bool openfaas_speaks(const struct gw_route *route);
/* As gw_request_json, with a body in any case. */
FAAS_MUST_CHECK faas_code openfaas_request(const struct gw_input *in, char **out_text,
                                           size_t *out_len, faas_err *err);
/* *out_text (the caller's, free) NULL: the answer has no body. */
FAAS_MUST_CHECK faas_code openfaas_answer(const struct gw_route *route, const void *reply,
                                          size_t len, char **out_text, size_t *out_len,
                                          faas_err *err);
const char *openfaas_answer_type(const struct gw_route *route); /* of that text */
/* Records as FunctionStatus, a new array; NULL only without memory. */
json_t *openfaas_functions(const json_t *records);
/* ["openfaas-fn"] as text, likewise. */
char *openfaas_spaces(size_t *out_len);
/* {"provider":...,"version":...} as text, the caller's; NULL only without memory. */
char *openfaas_info(size_t *out_len);

#endif
