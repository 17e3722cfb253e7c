/* http_internal.h - what http.c (the server and its reading) and http_exchange.c (one exchange and
 * its answer) share.
 */
#ifndef GATEWAY_HTTP_INTERNAL_H
#define GATEWAY_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "gateway/http_conn.h"
#include "gateway/http_linger.h"

#define HTTP_SHARES      256
#define HTTP_HEADERS_MAX 12 /* of ours per response */

struct http_reply {
    int status;
    const char *type;
    void *body; /* or fd; owned */
    int fd;
    size_t len;
    struct {
        const char *name;
        char value[HTTP_HEADER_MAX];
    } headers[HTTP_HEADERS_MAX];
    size_t count;
};

typedef struct http_stream http_stream;

struct http_private {
    http_exchange *x;
    http_server *server;
    struct MHD_Connection *connection;
    struct http_conn *conn;
    void (*task)(http_exchange *x);
    struct http_watch watch;
    struct http_reply answer;
    http_stream *stream;             /* the answer is one; owned */
    STAILQ_ENTRY(http_private) left; /* on server->left */
    size_t room;                     /* of body */
    size_t filed;                    /* bytes counted in server->filed and, of its user, in */
    size_t share;                    /* ... server->filed_by[share] */
    size_t dropped;                  /* bytes of a body that was refused */
    bool is_answered, is_ready_told, is_deferred;
    bool is_closing; /* the connection ends with this answer */
    bool is_early;   /* begun before the drain */
    bool is_sent;
    bool is_http10; /* as its client said */
};

struct http_door {
    struct MHD_Daemon *daemon;
    int listener; /* -1: none */
};
enum { HTTP_PLAIN, HTTP_TLS, HTTP_DOORS };

struct http_server {
    struct http_conf conf;
    struct http_door doors[HTTP_DOORS];
    struct http_conns conns;
    struct http_lingers lingers;
    _Atomic size_t active, early;
    _Atomic size_t open;                  /* connections */
    _Atomic size_t filed;                 /* of large bodies */
    _Atomic size_t filed_by[HTTP_SHARES]; /* of the users whose ids hash there */
    uint8_t share_key[crypto_shorthash_KEYBYTES];
    _Atomic bool is_draining;
    bool is_shut;             /* loop thread */
    pthread_mutex_t defer_mu; /* orders a deferral and its post before or after the close */
    bool is_closing;          /* guarded by defer_mu */
    size_t deferred;          /* exchanges that were and have not ended; guarded by defer_mu */
    pthread_cond_t ended;     /* one of them did */
    STAILQ_HEAD(, http_private) left; /* streams that ended after the loop; guarded by defer_mu */
};

/* NULL without memory, or without the connection's target. */
http_exchange *http_exchange_new(http_server *server, struct MHD_Connection *connection,
                                 const char *method);
void http_exchange_free(http_exchange *x);
/* How long a client may take for so many bytes. */
uint64_t http_send_ns(size_t len);
/* libmicrohttpd's thread: queue the answer of an exchange that has one. */
enum MHD_Result http_send(http_exchange *x);
void http_add_common_headers(struct MHD_Response *response, const char *type); /* NULL: none */
/* libmicrohttpd's thread. */
enum MHD_Result http_constant_send(const http_constant *constant,
                                   struct MHD_Connection *connection);

/* ---- http_stream.c ---- */
void http_stream_free(http_stream *stream);
/* libmicrohttpd's thread: the answer of an exchange that is a stream. */
struct MHD_Response *http_stream_response(http_exchange *x);
/* libmicrohttpd's thread: it is done with x, which is the loop's to free. */
void http_stream_over(http_exchange *x, bool is_sent);
/* The loop and libmicrohttpd have stopped: what was over after that. */
void http_streams_close(http_server *server);

/* ---- http_body.c ---- */
/* One piece; refuses the request where it may have no more. */
enum MHD_Result http_take_body(http_exchange *x, const char *data, size_t len);
void http_body_close(http_exchange *x); /* its file, and the room that was taken for it */

#endif
