/* refuse.h - answers to requests that are refused by their size or form, as http.h asks for them.
 * Threads   libmicrohttpd's.
 */
#ifndef GATEWAY_REFUSE_H
#define GATEWAY_REFUSE_H

#include "gateway/http.h"

/* A call whose argument may be over FAAS_BODY_MAX: neither queued nor kept for a repeat. */
bool refuse_is_plain_call(const http_exchange *x);
void refuse_too_large(void *arg, http_exchange *x); /* names x->body_max */
void refuse_no_room(void *arg, http_exchange *x);
void refuse_long_head(void *arg, http_exchange *x);
void refuse_malformed(void *arg, http_exchange *x, const faas_err *err);

#endif
