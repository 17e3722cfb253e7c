/* validate.h - GET /auth/validate: who the token or API key says the caller is.
 * Threads   any; x is answered.
 */
#ifndef GATEWAY_VALIDATE_H
#define GATEWAY_VALIDATE_H

#include "gateway/http.h"

void validate_answer(http_exchange *x);

#endif
