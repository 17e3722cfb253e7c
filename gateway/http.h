/* http.h - libmicrohttpd behind exchanges: one request, answered exactly once, by any thread.
 * Exchange  begins when a request's head is complete and ends when its answer left (or the
 *           connection died).  The head is checked by guard.h before anybody else sees it.
 * Road      on_head (may answer already: wrong path, no token, too large) -> the body is read,
 *           bounded by body_max -> on_ready: answers, or http_defer()s: the connection is suspended
 *           and a task runs on the loop thread, which owns the exchange until http_answer_*().
 * Refusals  an answer given in on_head goes out at once, nothing of the body is kept, and what the
 *           client sends meanwhile is dropped until it closes (http_linger.h).  Only a body declared
 *           to have at most HTTP_KEEP_MAX bytes, or one in chunks, is read to its end first, so
 *           that the connection can be kept; the time and bytes for that are http_linger.h's, too.
 * Time      every phase has a deadline of ours (reading, sending), besides libmicrohttpd's idle
 *           timeout, which restarts with every byte.  A suspended connection has none: its owner
 *           arms one.
 * Leaving   libmicrohttpd does not notice that a client leaves while its connection is suspended:
 *           http_watch() tells.  A client that only closed its sending side looks the same until
 *           something is sent to it, so it counts as gone too (DESIGN.md 4.10); it can still read
 *           the answer.  Exchanges that nobody watches are not affected.
 * Streams   an answer whose length nobody knows yet: the loop writes, libmicrohttpd's thread reads,
 *           suspending the connection while there is nothing.  A client that reads nothing for
 *           stall_s is cut, as is one for which bytes always wait and that takes less than 16 KiB a
 *           second of them.
 * Constants an answer that is the same for everybody is made once and needs no exchange: nothing is
 *           allocated, counted or logged for it.  Its request is guarded like any other.
 * Threads   constant, on_begin, on_head, on_ready, on_done: libmicrohttpd's; deferred exchanges and http_watch: the
 *           loop's; http_answer_*: whoever owns the exchange.
 */
#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include "base/id.h"
#include "base/loop.h"
#include "base/standing.h"
#include "crypto/token.h"
#include "gateway/guard.h"
#include "gateway/routes.h"

#define HTTP_KEEP_MAX    (1024 * 1024)
#define HTTP_HEADER_MAX  256 /* bytes of a response header's value, with NUL */
#define HTTP_CLIENT_TEXT 48

enum http_field {
    HTTP_AUTHORIZATION,
    HTTP_CALL_ID,
    HTTP_TIMEOUT,
    HTTP_TRACE,
    HTTP_KEY,
    HTTP_CALLBACK,
    HTTP_ACCEPT,
    HTTP_STREAM,
    HTTP_ON_LEAVING,
    HTTP_FIELDS
};

typedef struct http_server http_server;
typedef struct http_exchange http_exchange;
typedef struct http_constant http_constant;

struct http_other {
    char user[FAAS_UUID_TEXT], tenant[FAAS_UUID_TEXT];
};

struct http_exchange {
    /* What came.  Texts are owned by the exchange; fields are NULL when absent. */
    char id[FAAS_UUID_TEXT]; /* of this request; a call has the same */
    char method[16];
    char client[HTTP_CLIENT_TEXT]; /* address; an IPv6 one as its /64 network */
    char *path;                    /* as received, without query */
    const char *query;             /* as received; NULL: none */
    char *fields[HTTP_FIELDS];
    struct guard guard; /* declared length, chunked or not */
    uint8_t *body;
    int body_fd; /* -1, or all of the body is in this file; closed with the exchange */
    size_t body_len;
    uint64_t began_ns;

    /* What the gateway makes of it. */
    size_t body_max; /* set by on_head; what may be over FAAS_BODY_MAX is read into a file */
    struct gw_match match;
    struct faas_token_claims caller;    /* user "" for anonymous */
    struct faas_standing standing;      /* the caller's */
    struct http_other *other;           /* whom the caller asks about, in whose stead; owned */
    struct gw_key *key;                 /* it came with an API key; owned */
    bool is_unsettled;                  /* access_settle() has the last word on the caller */
    bool is_large_unknown;              /* admit.h */
    bool is_trace_read;                 /* HTTP_TRACE is one, or NULL; set by on_head */
    void *state;                        /* of whoever works on it */
    const char *code;                   /* slug of the outcome, for the log; static */
    int64_t place_us, start_us, run_us; /* of a call's parts, for the log */

    struct http_private *own;
};

struct http_conf {
    const char *listen;     /* "127.0.0.1:8080", "[::1]:8080", ":8080" */
    const char *setting;    /* that names it, for the error */
    const char *listen_tls; /* the same; "": none.  http_tls_load() comes first */
    int64_t connections, per_address, threads, idle_s, read_ms;
    int64_t stall_s; /* a streamed answer may stay unread so long */
    int64_t head_kb; /* of memory per connection, for the head of a request and that of its answer;
                        libmicrohttpd clears it for each request */
    const char *body_dir; /* of large bodies' files */
    int64_t bodies_max;   /* bytes of all of them */
    faas_loop *loop;
    /* The answer to a request without a body, or NULL: it becomes an exchange.  Target as received.
     * May be NULL. */
    const http_constant *(*constant)(void *arg, const char *method, const char *target);
    void (*on_begin)(void *arg); /* an exchange, whose end is on_done.  May be NULL */
    void (*on_head)(void *arg, http_exchange *x);
    void (*on_too_large)(void *arg, http_exchange *x); /* more than body_max came; answers */
    void (*on_no_room)(void *arg, http_exchange *x);   /* for a large body; answers */
    void (*on_long_head)(void *arg,
                         http_exchange *x); /* no room for an answer beside it; answers */
    void (*on_malformed)(void *arg, http_exchange *x, const faas_err *err); /* guard; answers */
    void (*on_ready)(void *arg, http_exchange *x);
    void (*on_done)(void *arg, const http_exchange *x); /* the answer left, or could not */
    void *arg;
};

/* Any thread; listening when it returns. */
FAAS_MUST_CHECK faas_code http_open(const struct http_conf *conf, http_server **out_server,
                                    faas_err *err);
/* Loop thread: begin to enforce deadlines. */
void http_start(http_server *server);
/* Connections close after their current answer; new ones are still taken.  Loop thread. */
void http_drain(http_server *server);
/* No new connections.  Loop thread. */
void http_shut(http_server *server);
size_t http_active(const http_server *server); /* exchanges that have begun and not ended */
size_t http_early(const http_server *server);  /* of them those from before http_drain() */
size_t http_open_connections(const http_server *server);
/* From now on nothing is deferred; what was is in the loop's mailbox, before what is posted next.
 */
void http_close_begin(http_server *server);
/* Every deferred exchange must have been answered.  The loop has stopped. */
void http_close(http_server *server);

/* ---- during an exchange ---- */
#define HTTP_ADDRESS_MAX 8
/* What one client can hardly have many of: its IPv4 address, or the first half of its IPv6 one.
 * The length; 0 when unknown. */
size_t http_address(const http_exchange *x, uint8_t out_address[HTTP_ADDRESS_MAX]);
void *http_arg(const http_exchange *x); /* conf.arg */
/* In on_ready: suspend, then run task on the loop thread.  On the loop thread: run it now.  False
 * after http_close_begin(): nothing was done, answer now. */
FAAS_MUST_CHECK bool http_defer(http_exchange *x, void (*task)(http_exchange *x));
/* Loop thread: gone(x) runs once if the client leaves before the answer. */
void http_watch(http_exchange *x, void (*gone)(http_exchange *x));
/* Before the answer.  Values with control characters are left out; name is static. */
void http_header(http_exchange *x, const char *name, const char *fmt, ...) FAAS_PRINTF(3, 4);
bool http_is_answered(const http_exchange *x);
/* Ends the caller's ownership of x.  type (static) NULL: none.  take_body (malloc) may be NULL when
 * len is 0. */
void http_answer_bytes(http_exchange *x, int status, const char *type, void *take_body, size_t len);
void http_answer_file(http_exchange *x, int status, const char *type, int take_fd, size_t len);

/* ---- an answer that is made while it leaves ---- */
#define HTTP_STREAM_MAX   (1024 * 1024) /* bytes that wait for one client; its writer holds to it */
#define HTTP_STREAM_BLOCK (16 * 1024)

struct http_stream_conf {
    int status;
    const char *type; /* static */
    bool is_events;   /* what is written leaves as server-sent events (sse.h) */
    /* Loop thread: half of HTTP_STREAM_MAX is free again, after http_stream_room() said less. */
    void (*room)(http_exchange *x);
    /* Loop thread, once: the client left, or was cut since it did not read.  x is still its owner's,
     * what is written is dropped. */
    void (*gone)(http_exchange *x);
};
/* Loop thread, of a deferred exchange: the head leaves.  From now on x is the owner's to look at
 * until http_stream_end() or _break(). */
FAAS_MUST_CHECK faas_code http_stream_begin(http_exchange *x, const struct http_stream_conf *conf,
                                            faas_err *err);
/* False: no memory. */
FAAS_MUST_CHECK bool http_stream_write(http_exchange *x, bool is_stderr, const void *data,
                                       size_t len);
/* A comment, of events alone: proxies cut what is silent for long. */
void http_stream_keep_alive(http_exchange *x);
size_t http_stream_room(http_exchange *x); /* bytes of HTTP_STREAM_MAX that are free */
/* The answer is whole, after `last` (bytes that leave as they are; len 0: none). */
void http_stream_end(http_exchange *x, const char *last, size_t len);
/* It is not: what was written leaves, then the connection is closed so that nobody takes it for
 * whole: chunks without the last one, a reset where there are no chunks (HTTP/1.0). */
void http_stream_break(http_exchange *x);

/* 200 with that text; type is static.  Borrowed by the server until http_close(). */
FAAS_MUST_CHECK faas_code http_constant_new(const char *type, const char *text,
                                            http_constant **out_constant, faas_err *err);
void http_constant_free(http_constant *constant);

/* For the log. */
int http_status(const http_exchange *x);
size_t http_answer_len(const http_exchange *x);
bool http_is_sent(const http_exchange *x);

#endif
