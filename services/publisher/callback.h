/* callback.h - the end of a queued call, posted to the URL its user gave (X-Callback-Url).
 * Request   POST; the result as body (up to 256 KiB; of longer ones X-Result-Path tells where it is), or
 *           the failure as JSON; X-Call-Id, X-Function-Name, X-Function-Status (HTTP status the call would
 *           have had), X-Duration-Seconds.  Answers are not read.
 * Guard     each address that would be connected to is looked at, after the one look-up of the name:
 *           only public ones, and those that the operator's list names (CALLBACK_ALLOW).  No redirects, no
 *           proxy, http and https only.
 * Tries     CALLBACK_TRIES, a second and then twice as long apart, while nothing or 408, 429 or 5xx is
 *           answered.  At least once: a publisher that dies in between may leave it to another one.
 * Fair      CALLBACK_TENANT of one user at once, so that a slow receiver holds up its own user alone.
 * Threads   a pool of its own for the requests; the rest on the loop thread.
 */
#ifndef PUBLISHER_CALLBACK_H
#define PUBLISHER_CALLBACK_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/socket.h>

#define CALLBACK_TRIES  5
#define CALLBACK_TENANT 2

struct callbacks;
struct callback_call;
struct job;
struct faas_runtime;

/* Once, while the bus is open: libnats must be at work before libcurl has OpenSSL begin, since at the
 * exit who began last ends first, and libnats frees something of OpenSSL's that it would free again. */
FAAS_MUST_CHECK faas_code callbacks_init(faas_err *err);
/* allow: "10.0.0.0/8, fd00::/8, 192.0.2.7"; INVALID naming what is none.  Before threads start. */
FAAS_MUST_CHECK faas_code callbacks_open(const char *allow, const struct faas_runtime *rt,
                                         struct callbacks **out_callbacks, faas_err *err);
/* Requests under way are broken off. */
void callbacks_close(struct callbacks *callbacks);
/* Posts the job's end; then(job) once it was taken or given up, later. */
void callback_send(struct job *job, void (*then)(struct job *job));
void callback_forget(struct job *job); /* its request, if any, tells nobody */

/* ---- callback_guard.c: pure ---- */
struct callback_net {
    int family; /* AF_INET, AF_INET6 */
    unsigned char bytes[16];
    int prefix;
};
#define CALLBACK_NETS 64
struct callback_guard {
    struct callback_net nets[CALLBACK_NETS];
    size_t count;
};
FAAS_MUST_CHECK faas_code callback_guard_parse(const char *list, struct callback_guard *out_guard,
                                               faas_err *err);
bool callback_guard_lets(const struct callback_guard *guard, const struct sockaddr *address);

#endif
