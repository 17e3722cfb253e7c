/* http_conn.h - what http.c keeps per connection: its raw target, its deadline, and a look-out for
 * clients that leave.
 * Deadlines a connection past its deadline is shut down; libmicrohttpd then closes it.  Shutting
 *           down happens under mu, and a connection leaves the list under mu before its descriptor
 *           is closed, so a reused descriptor is never hit.  A request sets several deadlines, so
 *           setting one takes no lock.
 * Watches   an epoll set of our own beside libmicrohttpd's, inside the loop: it asks for hang-ups
 *           only, since readable may also mean the next pipelined request.
 * Threads   open, close, deadlines: any; watches, start: the loop's.
 */
#ifndef GATEWAY_HTTP_CONN_H
#define GATEWAY_HTTP_CONN_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "gateway/http.h"

struct http_conn {
    LIST_ENTRY(http_conn) link;
    struct http_conns *conns;
    int fd;
    _Atomic uint64_t deadline_ns;
    bool is_unread; /* its last answer did not wait for the request's body */
    char *target;   /* of the current request, owned; its memory serves the next one */
    size_t target_room;
    const char *raw_target; /* the same text in libmicrohttpd's buffer; compared, never read */
    const http_constant *constant; /* the answer to the current request, if it is one */
};

struct http_conns {
    faas_loop *loop;
    pthread_mutex_t mu;
    LIST_HEAD(, http_conn) list; /* guarded by mu */
    ev_timer sweep;
    int epoll;
    ev_io readable; /* on epoll */
    bool is_started;
};

struct http_watch {
    http_exchange *x;
    void (*gone)(http_exchange *x);
    int fd;
    bool is_active; /* guarded by mu of http_conns */
};

/* setting: its name, for messages. */
FAAS_MUST_CHECK faas_code http_listen(const char *address, const char *setting, int *out_fd,
                                      faas_err *err);
/* Raises the limit of open files so that so many connections fit; INVALID when it cannot. */
FAAS_MUST_CHECK faas_code http_allow_files(int64_t connections, faas_err *err);
FAAS_MUST_CHECK faas_code http_conns_init(struct http_conns *conns, faas_loop *loop, faas_err *err);
void http_conns_start(struct http_conns *conns);
void http_conns_done(struct http_conns *conns);

struct http_conn *http_conn_open(struct http_conns *conns, struct MHD_Connection *connection,
                                 uint64_t deadline_ns); /* NULL without memory */
void http_conn_close(struct http_conns *conns, struct http_conn *conn);
struct http_conn *http_conn_of(struct MHD_Connection *connection);
/* Whether an answer's head fits into the connection's memory beside the request's.  libmicrohttpd
 * would close the connection without a word, after the request was carried out. */
bool http_conn_has_room(struct MHD_Connection *connection, int64_t head_kb);
void http_conn_set_target(struct http_conn *conn, const char *raw_target);
void http_conn_set_deadline(struct http_conn *conn, uint64_t deadline_ns);

void http_watch_add(struct http_conns *conns, struct http_watch *watch, int fd);
/* Any thread, while the descriptor is open.  True: it was active. */
bool http_watch_remove(struct http_conns *conns, struct http_watch *watch);

#endif
