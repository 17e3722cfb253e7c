/* openapi.h - GET /openapi.yaml: the public contract, docs/openapi.yaml as it was when this was built.
 * Threads   any.
 */
#ifndef GATEWAY_OPENAPI_H
#define GATEWAY_OPENAPI_H

#include "gateway/http.h"

void openapi_answer(http_exchange *x);

#endif
