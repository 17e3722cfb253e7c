/* permit.h - may whoever came do this?
 * Admin     what is for administrators takes a token of one: the role is in the feed that gateways
 *           follow (revoked.h), in no token and no key.
 * Keys      the route says which verb it takes, and where it names the function it is about; the key
 *           must have the verb and a pattern of the function.  What a row does not say is closed.
 * Names     of a version or an alias ("name@3", "name:live") count as the function's.
 * Errors    DENIED naming what the key lacks; INVALID when the request says it in no readable way.
 * Threads   pure; any.
 */
#ifndef GATEWAY_PERMIT_H
#define GATEWAY_PERMIT_H

#include "gateway/apikeys.h"
#include "gateway/http.h"

FAAS_MUST_CHECK faas_code permit_check(const http_exchange *x, faas_err *err);
FAAS_MUST_CHECK faas_code permit_key(const struct gw_key *key, const struct gw_match *match,
                                     const char *query, const void *body, size_t body_len,
                                     faas_err *err);

#endif
