/* An answer that is made while it leaves.  Its bytes wait in a queue between the loop thread, which
 * writes, and libmicrohttpd's, which reads; a connection whose queue is empty is suspended.  The
 * exchange is the loop's until both have let go of it: its owner by ending the answer, libmicrohttpd
 * by completing it. */
#include "gateway/http_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/sse.h"

#define CHUNK_ROOM 4096 /* small writes share a chunk */
#define LOW        (HTTP_STREAM_MAX / 2)

enum kind { KIND_STDOUT = SSE_STDOUT, KIND_STDERR = SSE_STDERR, KIND_COMMENT, KIND_LAST };

struct chunk {
    TAILQ_ENTRY(chunk) link;
    enum kind kind;
    size_t at, len, room;
    uint8_t bytes[];
};

struct http_stream {
    /* Loop thread. */
    void (*room)(http_exchange *x);
    void (*gone)(http_exchange *x);
    bool is_released; /* by its owner */
    bool is_over;     /* libmicrohttpd's completion has come here */
    bool is_gone_told;
    /* Fixed. */
    bool is_events;

    pthread_mutex_t mu; /* taken before libmicrohttpd's own, never inside http_conns' */
    TAILQ_HEAD(chunks, chunk) chunks; /* guarded by mu, as is all that follows */
    size_t kept;                      /* memory of chunks */
    enum { OPEN, ENDED, BROKEN } state;
    bool is_asleep;  /* the connection is suspended */
    bool is_awaited; /* room is to be told */
    bool is_left;    /* libmicrohttpd is done with it: what is written is dropped */

    /* libmicrohttpd's thread. */
    struct sse sse;
    char *text; /* events on their way: SSE_ROOM */
    size_t text_at, text_len;
    uint64_t sent;
    uint64_t behind_ns,
        behind_bytes; /* since when bytes wait for it, and how many it took; 0: none */
};

static void drop_first(http_stream *s)
{
    struct chunk *first = TAILQ_FIRST(&s->chunks);

    TAILQ_REMOVE(&s->chunks, first, link);
    s->kept -= sizeof *first + first->room;
    free(first);
}

void http_stream_free(http_stream *s)
{
    if (s == NULL)
        return;
    while (!TAILQ_EMPTY(&s->chunks))
        drop_first(s);
    pthread_mutex_destroy(&s->mu);
    free(s->text);
    free(s);
}

/* ---- reading: libmicrohttpd's thread ---- */

static void tell_room(void *arg)
{
    http_exchange *x = arg;

    if (!x->own->stream->is_released)
        x->own->stream->room(x);
}

/* Up to max bytes of the first chunk. */
static size_t take(http_exchange *x, void *out, size_t max, enum kind *out_kind)
{
    http_stream *s = x->own->stream;
    struct chunk *first;
    size_t n;

    pthread_mutex_lock(&s->mu);
    first = TAILQ_FIRST(&s->chunks);
    if (first == NULL) {
        pthread_mutex_unlock(&s->mu);
        return 0;
    }
    n = first->len - first->at < max ? first->len - first->at : max;
    memcpy(out, first->bytes + first->at, n);
    *out_kind = first->kind;
    first->at += n;
    if (first->at == first->len)
        drop_first(s);
    if (s->is_awaited && s->kept <= LOW) {
        s->is_awaited = false;
        faas_loop_post(x->own->server->conf.loop, tell_room, x);
    }
    pthread_mutex_unlock(&s->mu);
    return n;
}

/* The next piece as events in s->text; false: there is none. */
static bool encode(http_exchange *x)
{
    http_stream *s = x->own->stream;
    uint8_t piece[SSE_PIECE];
    enum kind kind = KIND_LAST;

    s->text_at = s->text_len = 0;
    while (s->text_len == 0) {
        size_t n = take(x, piece, sizeof piece, &kind);

        if (n == 0)
            return false;
        if (kind == KIND_COMMENT) {
            memcpy(s->text, piece, n);
            s->text_len = n;
        } else if (kind != KIND_LAST) {
            s->text_len = sse_write(&s->sse, (enum sse_stream)kind, piece, n, s->text);
        } else {
            s->text_len = sse_flush(&s->sse, s->text);
            memcpy(s->text + s->text_len, piece, n);
            s->text_len += n;
        }
    }
    return true;
}

static size_t take_text(http_exchange *x, char *out, size_t max)
{
    http_stream *s = x->own->stream;
    size_t n;

    if (s->text_at == s->text_len && !encode(x))
        return 0;
    n = s->text_len - s->text_at < max ? s->text_len - s->text_at : max;
    memcpy(out, s->text + s->text_at, n);
    s->text_at += n;
    return n;
}

/* Without chunks the connection's end is the body's: a reset tells that it is none. */
static void reset(const http_exchange *x)
{
    const struct sockaddr none = {.sa_family = AF_UNSPEC};

    if (connect(x->own->conn->fd, &none, sizeof none) != 0)
        FAAS_LOG(WARN, "an unfinished answer could not be reset", FAAS_LSTR("request", x->id));
}

/* Nothing was there to send; false: now there is. */
static bool pause_or_end(http_exchange *x, ssize_t *out_result)
{
    http_stream *s = x->own->stream;
    bool is_empty;

    pthread_mutex_lock(&s->mu);
    is_empty = TAILQ_EMPTY(&s->chunks);
    *out_result =
        s->state == ENDED ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
    if (is_empty && s->state == OPEN) {
        *out_result = 0;
        s->is_asleep = true;
        s->behind_ns = s->behind_bytes = 0;
        http_conn_set_deadline(x->own->conn, UINT64_MAX);
        MHD_suspend_connection(x->own->connection);
    } else if (is_empty && s->state == BROKEN && x->own->is_http10) {
        reset(x);
    }
    pthread_mutex_unlock(&s->mu);
    return is_empty;
}

/* Until when the client is to have taken what it was given last: it may pause, but not be slow for
 * ever while there is more. */
static uint64_t next_deadline_ns(http_exchange *x, size_t len)
{
    http_stream *s = x->own->stream;
    uint64_t now = faas_now_ns(), pause = now + (uint64_t)x->own->server->conf.stall_s * FAAS_S_NS;
    uint64_t end;

    if (s->behind_ns == 0)
        s->behind_ns = now;
    s->behind_bytes += len;
    end = s->behind_ns + http_send_ns(s->behind_bytes);
    return pause < end ? pause : end;
}

/* Called again when the bytes of the time before have left: each call is a client that reads. */
static ssize_t read_some(void *cls, uint64_t pos, char *buf, size_t max)
{
    http_exchange *x = cls;
    http_stream *s = x->own->stream;
    enum kind kind;
    ssize_t result;
    size_t n;

    (void)pos;
    do {
        n = s->is_events ? take_text(x, buf, max) : take(x, buf, max, &kind);
    } while (n == 0 && !pause_or_end(x, &result));
    if (n == 0)
        return result;
    http_conn_set_deadline(x->own->conn, next_deadline_ns(x, n));
    s->sent += n;
    return (ssize_t)n;
}

struct MHD_Response *http_stream_response(http_exchange *x)
{
    /* Ours comes first: a connection that is cut by it is told of. */
    (void)MHD_set_connection_option(x->own->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                    (unsigned)x->own->server->conf.stall_s + 1);
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, HTTP_STREAM_BLOCK, read_some, x,
                                             NULL);
}

static void finish(http_exchange *x)
{
    const struct http_conf *conf = &x->own->server->conf;

    conf->on_done(conf->arg, x);
    http_exchange_free(x);
}

static void tell_over(void *arg)
{
    http_exchange *x = arg;
    http_stream *s = x->own->stream;

    s->is_over = true;
    if (s->is_released) {
        finish(x);
    } else if (!s->is_gone_told) {
        s->is_gone_told = true;
        s->gone(x);
    }
}

void http_stream_over(http_exchange *x, bool is_sent)
{
    http_server *server = x->own->server;
    http_stream *s = x->own->stream;

    x->own->answer.len = (size_t)s->sent;
    x->own->is_sent = is_sent;
    if (is_sent) /* the connection is kept for the next request */
        (void)MHD_set_connection_option(x->own->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                        (unsigned)server->conf.idle_s);
    /* Before the descriptor's number can be another connection's. */
    (void)http_watch_remove(&server->conns, &x->own->watch);
    pthread_mutex_lock(&s->mu);
    s->is_left = true;
    s->is_asleep = false;
    while (!TAILQ_EMPTY(&s->chunks))
        drop_first(s);
    pthread_mutex_unlock(&s->mu);
    pthread_mutex_lock(&server->defer_mu);
    if (!server->is_closing)
        faas_loop_post(server->conf.loop, tell_over, x);
    else
        STAILQ_INSERT_TAIL(&server->left, x->own, left);
    pthread_mutex_unlock(&server->defer_mu);
}

void http_streams_close(http_server *server)
{
    struct http_private *own;

    while ((own = STAILQ_FIRST(&server->left)) != NULL) {
        STAILQ_REMOVE_HEAD(&server->left, left);
        finish(own->x);
    }
}

/* ---- writing: the loop thread ---- */

static void on_gone(http_exchange *x)
{
    http_stream *s = x->own->stream;

    if (s->is_released || s->is_gone_told)
        return;
    s->is_gone_told = true;
    s->gone(x);
}

faas_code http_stream_begin(http_exchange *x, const struct http_stream_conf *conf, faas_err *err)
{
    http_stream *s = calloc(1, sizeof *s);

    if (s != NULL && conf->is_events)
        s->text = malloc(SSE_ROOM);
    if (s == NULL || (conf->is_events && s->text == NULL)) {
        free(s);
        return faas_fail_sys(err, ENOMEM, "begin a stream");
    }
    pthread_mutex_init(&s->mu, NULL);
    TAILQ_INIT(&s->chunks);
    s->room = conf->room;
    s->gone = conf->gone;
    s->is_events = conf->is_events;
    x->own->watch.gone = on_gone;
    x->own->stream = s;
    x->own->answer.status = conf->status;
    x->own->answer.type = conf->type;
    x->own->is_answered = true;
    MHD_resume_connection(x->own->connection);
    return FAAS_OK;
}

/* mu is held. */
static void wake(http_exchange *x)
{
    http_stream *s = x->own->stream;

    if (!s->is_asleep)
        return;
    s->is_asleep = false;
    MHD_resume_connection(x->own->connection);
}

static struct chunk *chunk_for(http_stream *s, enum kind kind, size_t len)
{
    struct chunk *last = TAILQ_LAST(&s->chunks, chunks);
    size_t room = len < CHUNK_ROOM ? CHUNK_ROOM : len;

    if (last != NULL && last->kind == kind && last->room - last->len >= len)
        return last;
    last = malloc(sizeof *last + room);
    if (last == NULL)
        return NULL;
    last->kind = kind;
    last->at = last->len = 0;
    last->room = room;
    s->kept += sizeof *last + room;
    TAILQ_INSERT_TAIL(&s->chunks, last, link);
    return last;
}

static bool add(http_exchange *x, enum kind kind, const void *data, size_t len)
{
    http_stream *s = x->own->stream;
    struct chunk *chunk;
    bool is_added;

    pthread_mutex_lock(&s->mu);
    chunk = s->is_left ? NULL : chunk_for(s, kind, len);
    is_added = s->is_left || chunk != NULL;
    if (chunk != NULL) {
        memcpy(chunk->bytes + chunk->len, data, len);
        chunk->len += len;
        wake(x);
    }
    pthread_mutex_unlock(&s->mu);
    return is_added;
}

bool http_stream_write(http_exchange *x, bool is_stderr, const void *data, size_t len)
{
    return add(x, is_stderr ? KIND_STDERR : KIND_STDOUT, data, len);
}

void http_stream_keep_alive(http_exchange *x)
{
    static const char comment[] = ": keep-alive\n\n";

    (void)add(x, KIND_COMMENT, comment, sizeof comment - 1);
}

size_t http_stream_room(http_exchange *x)
{
    http_stream *s = x->own->stream;
    size_t room;

    pthread_mutex_lock(&s->mu);
    room = s->kept < HTTP_STREAM_MAX ? HTTP_STREAM_MAX - s->kept : 0;
    s->is_awaited = s->kept > LOW;
    pthread_mutex_unlock(&s->mu);
    return room;
}

/* From here on x is not its owner's. */
static void release(http_exchange *x, bool is_whole)
{
    http_stream *s = x->own->stream;

    (void)http_watch_remove(&x->own->server->conns, &x->own->watch);
    pthread_mutex_lock(&s->mu);
    s->state = is_whole ? ENDED : BROKEN;
    s->is_awaited = false;
    wake(x);
    pthread_mutex_unlock(&s->mu);
    s->is_released = true;
    if (s->is_over)
        finish(x);
}

void http_stream_end(http_exchange *x, const char *last, size_t len)
{
    bool is_whole = len == 0 || add(x, KIND_LAST, last, len);

    release(x, is_whole);
}

void http_stream_break(http_exchange *x)
{
    release(x, false);
}
