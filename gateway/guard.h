/* guard.h - is the head of an HTTP request one that every reader would frame alike?
 * Why       libmicrohttpd lets through what proxies disagree on (SECURITY.md section 6): who sends
 *           such a request is refused with 400 and its connection closed.
 * Rules     version 1.0 or 1.1; method a token; target in origin or absolute form, visible ASCII
 *           without '#'; header names tokens; values without control bytes; at most one
 *           Content-Length (1 to 18 digits); Transfer-Encoding only "chunked", only in 1.1, never
 *           together with Content-Length; exactly one Host in 1.1, at most one in 1.0; at most one
 *           Authorization.
 * Use       guard_field for each header, then guard_check.  Lengths, not NULs, end texts here.
 * Spec      RFC 9112 sections 3, 5, 6; RFC 9110 section 5.6.2.
 */
#ifndef GATEWAY_GUARD_H
#define GATEWAY_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct guard {
    const char *broken; /* the first rule broken by a header; NULL: none */
    unsigned hosts, lengths, encodings, authorizations;
    int64_t declared; /* Content-Length; 0 when absent */
    bool is_chunked;
};

void guard_field(struct guard *guard, const char *name, size_t name_len, const char *value,
                 size_t value_len);
/* INVALID with the rule in the message. */
FAAS_MUST_CHECK faas_code guard_check(const struct guard *guard, const char *method,
                                      const char *target, const char *version, faas_err *err);

#endif
