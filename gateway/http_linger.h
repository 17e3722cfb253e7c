/* http_linger.h - connections whose answer left before all that the client sends was read.
 * Why       closing a socket with unread bytes resets it, and a reset can take the answer away from
 *           a client that is still sending.  So a second descriptor stays: what comes is dropped,
 *           unread by anybody, until the client closes, HTTP_DROP_MAX bytes came or HTTP_DROP_MS
 *           have passed.
 * Bound     HTTP_LINGERS at once; with more the connection just ends.
 * Threads   http_linger: any, while the loop takes posts; init, done: as the server's.
 */
#ifndef GATEWAY_HTTP_LINGER_H
#define GATEWAY_HTTP_LINGER_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "base/loop.h"

#define HTTP_DROP_MAX (32 * 1024 * 1024)
#define HTTP_DROP_MS  5000
#define HTTP_LINGERS  256

struct http_linger;

struct http_lingers {
    faas_loop *loop;
    _Atomic int count;
    LIST_HEAD(, http_linger) list; /* loop thread */
};

void http_lingers_init(struct http_lingers *lingers, faas_loop *loop);
void http_lingers_done(struct http_lingers *lingers); /* nothing is posted any more */
/* fd stays the caller's. */
void http_linger(struct http_lingers *lingers, int fd);

#endif
