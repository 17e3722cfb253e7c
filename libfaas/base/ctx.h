/* ctx.h - what travels with a request from hop to hop, as NATS headers.
 * Headers   Faas-Id, Faas-User, Faas-Tenant, traceparent; Faas-Time-Left-Ms becomes deadline_ns on
 *           arrival; Faas-Again is read, and sent by whoever asks again.
 * Trust     user and tenant are set by the gateway from a verified token; NATS permissions keep
 *           others out.
 * Ownership plain values; copying the struct copies the context.
 */
#ifndef FAAS_CTX_H
#define FAAS_CTX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/trace.h"

struct faas_ctx {
    char id[FAAS_UUID_TEXT];           /* request or call id; "" when there is none */
    char user[FAAS_UUID_TEXT];         /* caller; "" for anonymous */
    char tenant[FAAS_UUID_TEXT];       /* "" for anonymous */
    char traceparent[FAAS_TRACE_TEXT]; /* "" when there is none */
    bool is_again;                     /* an instance that is gone may have carried it out */
    uint64_t deadline_ns;              /* faas_now_ns() instant; UINT64_MAX: none */
};

#endif
