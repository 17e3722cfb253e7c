#include "attach.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEAD_MAX   (16 * 1024)
#define READ_BYTES (64 * 1024)
#define READS_MAX  8 /* per wake-up: one loud container must not hold up the others */

struct attach {
    struct attach_conf conf;
    struct ev_loop *ev;
    ev_io reading, writing;
    int fd;
    char *request; /* what is left to send: first the request, then the input */
    size_t request_len, sent;
    char *head; /* of the answer, until it is complete; HEAD_MAX bytes */
    size_t head_len;
    char *fed; /* owned; what conf.input then is */
    bool is_connected, is_ready, is_paused;
    bool is_all_fed, is_input_over;
    bool is_busy, is_dead; /* closed from inside a callback: freed after it */
};

static void destroy(attach *at)
{
    ev_io_stop(at->ev, &at->reading);
    ev_io_stop(at->ev, &at->writing);
    if (at->fd >= 0)
        close(at->fd);
    free(at->request);
    free(at->fed);
    free(at->head);
    free(at);
}

void attach_close(attach *at)
{
    if (at == NULL)
        return;
    at->is_dead = true;
    if (!at->is_busy)
        destroy(at);
}

static void set_reading(attach *at)
{
    if (at->is_connected && !at->is_paused)
        ev_io_start(at->ev, &at->reading);
    else
        ev_io_stop(at->ev, &at->reading);
}

void attach_pause(attach *at, bool is_paused)
{
    at->is_paused = is_paused;
    set_reading(at);
}

/* The last callback. */
static void end(attach *at, const faas_err *err)
{
    ev_io_stop(at->ev, &at->reading);
    ev_io_stop(at->ev, &at->writing);
    at->conf.end(at->conf.arg, err);
}

static void fail(attach *at, const char *what, int errnum)
{
    faas_err err;

    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the engine's output stream: %s%s%s", what,
                    errnum != 0 ? ": " : "", errnum != 0 ? strerror(errnum) : "");
    end(at, &err);
}

/* ---- sending ---- */

/* Input that nobody reads any more is dropped; the output still counts. */
static void stop_sending(attach *at)
{
    ev_io_stop(at->ev, &at->writing);
    at->sent = at->request_len + at->conf.input_len;
    at->is_input_over = true;
    if (at->conf.is_fed)
        at->conf.fed(at->conf.arg); /* what comes is dropped */
}

/* All that there is has been sent. */
static void input_sent(attach *at)
{
    bool has_more = at->conf.is_fed && !at->is_all_fed;

    if (!has_more) {
        at->is_input_over = true;
        shutdown(at->fd, SHUT_WR);
    } else if (at->conf.input_len > 0) {
        at->conf.input_len = 0;
        at->sent = at->request_len;
        at->conf.fed(at->conf.arg);
    }
}

static void send_more(attach *at)
{
    while (at->sent < at->request_len + at->conf.input_len) {
        bool is_input = at->sent >= at->request_len;
        size_t at_input = at->sent - at->request_len;
        const char *from =
            is_input ? (const char *)at->conf.input + at_input : at->request + at->sent;
        size_t len = is_input ? at->conf.input_len - at_input : at->request_len - at->sent;
        ssize_t n;

        if (is_input && !at->is_ready) { /* the engine reads it only after its answer */
            ev_io_stop(at->ev, &at->writing);
            return;
        }
        n = send(at->fd, from, len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            stop_sending(at); /* reading tells what happened */
            return;
        }
        at->sent += (size_t)n;
    }
    ev_io_stop(at->ev, &at->writing);
    if (at->is_ready && at->conf.input != NULL && !at->is_input_over)
        input_sent(at);
}

bool attach_is_input_over(const attach *at)
{
    return at->is_input_over;
}

bool attach_feed(attach *at, const void *data, size_t len)
{
    size_t left = at->request_len + at->conf.input_len - at->sent;
    char *grown;

    if (at->is_input_over)
        return false;
    grown = malloc(left + len + 1);
    if (grown == NULL)
        return false;
    if (left > 0)
        memcpy(grown, (const char *)at->conf.input + (at->sent - at->request_len), left);
    if (len > 0)
        memcpy(grown + left, data, len);
    free(at->fed);
    at->conf.input = at->fed = grown;
    at->conf.input_len = left + len;
    at->sent = at->request_len;
    at->is_all_fed = len == 0;
    ev_io_start(at->ev, &at->writing);
    return true;
}

static void on_writable(struct ev_loop *ev, ev_io *io, int events)
{
    attach *at = io->data;

    (void)ev, (void)events;
    if (!at->is_connected) {
        int error = 0;
        socklen_t len = sizeof error;

        if (getsockopt(at->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
            at->is_busy = true;
            fail(at, "cannot connect", error != 0 ? error : errno);
            at->is_busy = false;
            if (at->is_dead)
                destroy(at);
            return;
        }
        at->is_connected = true;
        set_reading(at);
    }
    send_more(at);
}

/* ---- receiving ---- */

/* The engine's refusal: its body says why, as JSON with a message. */
static void refuse(attach *at, const char *body)
{
    const char *from = strchr(body, '{'), *to = strrchr(body, '}'); /* chunk lengths around it */
    struct engine_reply reply = {.is_complete = true, .body = body, .len = strlen(body)};
    char text[FAAS_ERR_MSG_MAX];

    if (from != NULL && to > from) {
        reply.body = from;
        reply.len = (size_t)(to - from) + 1;
    }
    engine_reply_text(&reply, text);
    fail(at, text, 0);
}

/* 0: not the first line of an HTTP/1 answer. */
static int status_of(const char *head)
{
    static const char shape[] = "HTTP/1.d ddd";

    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (shape[i] == 'd' ? head[i] < '0' || head[i] > '9' : head[i] != shape[i])
            return 0;
    if (head[sizeof shape - 1] != ' ' && head[sizeof shape - 1] != '\r')
        return 0;
    return (head[9] - '0') * 100 + (head[10] - '0') * 10 + (head[11] - '0');
}

/* Collects the answer's head.  Returns false when the reader must stop. */
static bool take_head(attach *at, const char *data, size_t len)
{
    size_t room = HEAD_MAX - 1 - at->head_len, take = len < room ? len : room;
    char *border;
    int status;
    size_t head_bytes;

    memcpy(at->head + at->head_len, data, take);
    at->head_len += take;
    at->head[at->head_len] = '\0';
    border = strstr(at->head, "\r\n\r\n");
    if (border == NULL) {
        if (take < len || at->head_len == HEAD_MAX - 1) {
            fail(at, "the answer's head is too long", 0);
            return false;
        }
        return true;
    }
    status = status_of(at->head);
    if (status == 0) {
        fail(at, "the answer is not HTTP", 0);
        return false;
    }
    if (status != 200 && status != 101) {
        refuse(at, border + 4);
        return false;
    }
    at->is_ready = true;
    head_bytes = (size_t)(border + 4 - at->head) - (at->head_len - take);
    at->conf.ready(at->conf.arg);
    if (!at->is_dead && len > head_bytes)
        at->conf.data(at->conf.arg, (const uint8_t *)data + head_bytes, len - head_bytes);
    if (!at->is_dead && at->conf.input != NULL)
        ev_io_start(at->ev, &at->writing);
    return !at->is_dead;
}

/* Returns false when there is nothing more to do now. */
static bool read_once(attach *at)
{
    static uint8_t buffer[READ_BYTES]; /* loop thread only */
    ssize_t n = recv(at->fd, buffer, sizeof buffer, 0);

    if (n > 0 && at->is_ready) {
        at->conf.data(at->conf.arg, buffer, (size_t)n);
        return !at->is_dead && !at->is_paused && (size_t)n == sizeof buffer;
    }
    if (n > 0)
        return take_head(at, (const char *)buffer, (size_t)n);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    /* A reset is how the end looks when the container left input unread. */
    if (at->is_ready && (n == 0 || (errno == ECONNRESET && at->conf.input != NULL)))
        end(at, NULL);
    else
        fail(at, n == 0 ? "the engine closed it" : "read", n == 0 ? 0 : errno);
    return false;
}

static void on_readable(struct ev_loop *ev, ev_io *io, int events)
{
    attach *at = io->data;

    (void)ev, (void)events;
    at->is_busy = true;
    for (int i = 0; i < READS_MAX && read_once(at); i++)
        continue;
    at->is_busy = false;
    if (at->is_dead)
        destroy(at);
}

/* ---- opening ---- */

static faas_code start(attach *at, faas_err *err)
{
    const char *input = at->conf.input != NULL ? "&stdin=1" : "";
    struct sockaddr_storage addr;
    socklen_t len = 0;
    int n = asprintf(&at->request,
                     "POST %s/containers/%s/attach?stream=1&stdout=1&stderr=1%s HTTP/1.1\r\n"
                     "Host: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                     "Content-Length: 0\r\n\r\n",
                     engine_prefix(at->conf.eng), at->conf.container, input);

    if (n < 0) {
        at->request = NULL;
        return faas_fail_sys(err, ENOMEM, "attach request");
    }
    at->request_len = (size_t)n;
    FAAS_TRY(engine_peer(at->conf.eng, &addr, &len, err));
    at->fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (at->fd < 0)
        return faas_fail_sys(err, errno, "attach socket");
    if (connect(at->fd, (struct sockaddr *)&addr, len) == 0)
        at->is_connected = true;
    else if (errno != EINPROGRESS)
        return faas_fail(err, FAAS_UNAVAILABLE, "the engine's output stream: cannot connect: %s",
                         strerror(errno));
    ev_io_set(&at->reading, at->fd, EV_READ);
    ev_io_set(&at->writing, at->fd, EV_WRITE);
    ev_io_start(at->ev, &at->writing);
    set_reading(at);
    if (at->is_connected)
        send_more(at);
    return FAAS_OK;
}

faas_code attach_open(const struct attach_conf *conf, attach **out_attach, faas_err *err)
{
    attach *at = calloc(1, sizeof *at);
    faas_code rc;

    if (at == NULL)
        return faas_fail_sys(err, ENOMEM, "attach");
    at->conf = *conf; /* container: used before this returns only */
    if (conf->input == NULL)
        at->conf.input_len = 0;
    at->ev = engine_ev(conf->eng);
    at->fd = -1;
    ev_init(&at->reading, on_readable);
    ev_init(&at->writing, on_writable);
    at->reading.data = at->writing.data = at;
    at->head = malloc(HEAD_MAX);
    rc = at->head == NULL ? faas_fail_sys(err, ENOMEM, "attach") : start(at, err);
    if (rc != FAAS_OK) {
        destroy(at);
        return rc;
    }
    *out_attach = at;
    return FAAS_OK;
}
