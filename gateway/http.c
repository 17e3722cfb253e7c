#include "gateway/http_internal.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/http_tls.h"

#define LAST_ANSWERS_S 1

/* ---- waiting on the loop thread ---- */

static void run_deferred(void *arg)
{
    http_exchange *x = arg;

    x->own->task(x);
}

bool http_defer(http_exchange *x, void (*task)(http_exchange *x))
{
    struct http_private *own = x->own;
    http_server *server = own->server;
    bool is_closing;

    if (own->is_deferred) {
        task(x);
        return true;
    }
    pthread_mutex_lock(&server->defer_mu);
    is_closing = server->is_closing;
    if (!is_closing) {
        server->deferred++;
        own->is_deferred = true;
        own->task = task;
        http_conn_set_deadline(own->conn, UINT64_MAX);
        MHD_suspend_connection(own->connection);
        faas_loop_post(server->conf.loop, run_deferred, x);
    }
    pthread_mutex_unlock(&server->defer_mu);
    return !is_closing;
}

void http_watch(http_exchange *x, void (*gone)(http_exchange *x))
{
    x->own->watch.x = x;
    x->own->watch.gone = gone;
    http_watch_add(&x->own->server->conns, &x->own->watch, x->own->conn->fd);
}

/* ---- reading ---- */

struct whole {
    const char *end; /* of what was read so far, in libmicrohttpd's buffer */
    bool is_torn;
};
struct reading {
    http_exchange *x;
    struct whole whole;
    bool is_out_of_memory;
    bool is_continue_asked;
};

/* libmicrohttpd 0.9 hands over texts that end at a NUL sent by the client, and puts the second line
 * of a folded field behind the field's name.  All texts are parts of one buffer in which only line
 * ends and colons were overwritten, so their distances tell.  Later versions refuse both when told
 * to be strict. */
#if MHD_VERSION < 0x01000000
#define STRICTNESS 0
static bool is_after_line_end(const char *end, const char *next)
{
    return next == end + 1 || next == end + 2;
}

static void begin_whole(struct whole *whole, const struct http_conn *conn, const char *method,
                        const char *version)
{
    whole->end = version + strlen(version);
    whole->is_torn = conn->raw_target != method + strlen(method) + 1 ||
                     version != conn->raw_target + strlen(conn->target) + 1;
}

static void note_whole(struct whole *whole, const char *name, const char *value, size_t len)
{
    whole->is_torn |= !is_after_line_end(whole->end, name) || value == NULL;
    whole->end = value + len;
}

/* The last line's end and the empty line are left. */
static bool is_whole(const struct whole *whole, struct MHD_Connection *connection,
                     const char *method)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    const char *head_end = info == NULL ? NULL : method + info->header_size;

    return !whole->is_torn && (is_after_line_end(whole->end + 1, head_end) ||
                               is_after_line_end(whole->end + 2, head_end));
}
#else
#define STRICTNESS 1
static void begin_whole(struct whole *whole, const struct http_conn *conn, const char *method,
                        const char *version)
{
    (void)whole, (void)conn, (void)method, (void)version;
}

static void note_whole(struct whole *whole, const char *name, const char *value, size_t len)
{
    (void)whole, (void)name, (void)value, (void)len;
}

static bool is_whole(const struct whole *whole, struct MHD_Connection *connection,
                     const char *method)
{
    (void)whole, (void)connection, (void)method;
    return true;
}
#endif

static enum MHD_Result take_field(void *arg, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    static const char *const kept[HTTP_FIELDS] = {
        "Authorization",  "X-Call-Id", "X-Timeout", "traceparent",    "Idempotency-Key",
        "X-Callback-Url", "Accept",    "X-Stream",  "X-On-Disconnect"};
    struct reading *reading = arg;
    http_exchange *x = reading->x;

    (void)kind;
    if (value == NULL)
        value_len = 0;
    note_whole(&reading->whole, name, value, value_len);
    guard_field(&x->guard, name, name_len, value, value_len);
    if (strcasecmp(name, "Expect") == 0)
        reading->is_continue_asked = true;
    for (size_t i = 0; i < HTTP_FIELDS && value != NULL; i++) {
        if (strcasecmp(name, kept[i]) != 0 || x->fields[i] != NULL)
            continue;
        x->fields[i] = strndup(value, value_len);
        reading->is_out_of_memory |= x->fields[i] == NULL;
    }
    return MHD_YES;
}

static void check_head(const struct reading *reading, const char *method, const char *version)
{
    http_exchange *x = reading->x;
    const struct http_conf *conf = &x->own->server->conf;
    faas_err err = {0};
    faas_code rc = FAAS_OK;

    if (strlen(method) >= sizeof x->method)
        rc = faas_fail(&err, FAAS_INVALID, "malformed HTTP: the method is too long");
    else if (!is_whole(&reading->whole, x->own->connection, method))
        rc = faas_fail(&err, FAAS_INVALID,
                       "malformed HTTP: NUL bytes and fields of several lines are not taken");
    else
        rc = guard_check(&x->guard, method, x->own->conn->target, version, &err);
    x->own->is_closing = rc != FAAS_OK || !http_conn_has_room(x->own->connection, conf->head_kb);
    if (rc != FAAS_OK)
        conf->on_malformed(conf->arg, x, &err);
    else if (x->own->is_closing)
        conf->on_long_head(conf->arg, x);
    else
        conf->on_head(conf->arg, x);
}

/* ---- constants ---- */

struct glance {
    struct guard guard;
    struct whole whole;
};

static enum MHD_Result glance_at(void *arg, enum MHD_ValueKind kind, const char *name,
                                 size_t name_len, const char *value, size_t value_len)
{
    struct glance *glance = arg;

    (void)kind;
    if (value == NULL)
        value_len = 0;
    note_whole(&glance->whole, name, value, value_len);
    guard_field(&glance->guard, name, name_len, value, value_len);
    return MHD_YES;
}

/* What breaks a rule, has a body, or comes while we drain, becomes an exchange: NULL. */
static const http_constant *find_constant(const http_server *server,
                                          struct MHD_Connection *connection, const char *method,
                                          const char *version)
{
    const struct http_conn *conn = http_conn_of(connection);
    const http_constant *found = NULL;
    struct glance glance = {0};
    faas_err err = {0};

    if (server->conf.constant != NULL && conn->target != NULL && !atomic_load(&server->is_draining))
        found = server->conf.constant(server->conf.arg, method, conn->target);
    if (found == NULL)
        return NULL;
    begin_whole(&glance.whole, conn, method, version);
    (void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND, glance_at, &glance);
    if (glance.guard.declared > 0 || glance.guard.is_chunked ||
        !is_whole(&glance.whole, connection, method) ||
        !http_conn_has_room(connection, server->conf.head_kb) ||
        guard_check(&glance.guard, method, conn->target, version, &err) != FAAS_OK)
        return NULL;
    return found;
}

/* The first call for a request: its head is complete. */
static enum MHD_Result begin(http_server *server, struct MHD_Connection *connection,
                             const char *method, const char *version, void **con_cls)
{
    http_exchange *x = http_exchange_new(server, connection, method);
    struct reading reading = {.x = x};

    if (x == NULL)
        return MHD_NO;
    *con_cls = x; /* freed in on_completed */
    atomic_fetch_add(&server->active, 1);
    x->own->is_early = !atomic_load(&server->is_draining);
    if (x->own->is_early)
        atomic_fetch_add(&server->early, 1);
    if (server->conf.on_begin != NULL)
        server->conf.on_begin(server->conf.arg);
    http_conn_set_deadline(x->own->conn, faas_deadline_in_ms(server->conf.read_ms));
    x->own->is_http10 = strcmp(version, "HTTP/1.0") == 0;
    begin_whole(&reading.whole, x->own->conn, method, version);
    (void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND, take_field, &reading);
    if (reading.is_out_of_memory)
        return MHD_NO;
    check_head(&reading, method, version);
    if (!x->own->is_answered)
        return MHD_YES;
    http_conn_set_deadline(x->own->conn, faas_deadline_in_ms(HTTP_DROP_MS));
    /* Answered from here, libmicrohttpd closes the connection; a call later, it need not. */
    if (!x->own->is_closing && !reading.is_continue_asked && x->guard.declared <= HTTP_KEEP_MAX)
        return MHD_YES;
    x->own->is_closing = true;
    x->own->conn->is_unread = true;
    return http_send(x);
}

/* A call for a request that has no exchange, or none yet. */
static enum MHD_Result take_head(http_server *server, struct MHD_Connection *connection,
                                 const char *method, const char *version, void **con_cls)
{
    struct http_conn *conn = http_conn_of(connection);

    if (conn == NULL)
        return MHD_NO;
    if (conn->constant != NULL)
        return http_constant_send(conn->constant, connection);
    conn->constant = find_constant(server, connection, method, version);
    if (conn->constant != NULL)
        return MHD_YES; /* the next call queues it: see begin() */
    return begin(server, connection, method, version, con_cls);
}

/* libmicrohttpd calls this when the head is complete, for each part of the body, at its end, and
 * again after a suspended connection was resumed. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **con_cls)
{
    http_server *server = cls;
    http_exchange *x = *con_cls;
    enum MHD_Result result;

    (void)url;
    if (x == NULL)
        return take_head(server, connection, method, version, con_cls);
    if (*upload_len > 0) {
        result = http_take_body(x, upload, *upload_len);
        *upload_len = 0;
        return result;
    }
    if (!x->own->is_answered && !x->own->is_ready_told) {
        x->own->is_ready_told = true;
        server->conf.on_ready(server->conf.arg, x);
        if (x->own->is_deferred)
            return MHD_YES; /* x may be answered by now: resuming brings us back */
    }
    return http_send(x);
}

static void note_ended(http_server *server)
{
    pthread_mutex_lock(&server->defer_mu);
    server->deferred--;
    pthread_cond_signal(&server->ended);
    pthread_mutex_unlock(&server->defer_mu);
}

static void complete(http_server *server, http_exchange *x, bool is_sent)
{
    bool is_deferred = x->own->is_deferred;

    if (x->own->is_early)
        atomic_fetch_sub(&server->early, 1);
    if (x->own->stream != NULL) {
        http_stream_over(x, is_sent); /* x may be gone */
    } else {
        x->own->is_sent = is_sent;
        server->conf.on_done(server->conf.arg, x);
        http_exchange_free(x);
    }
    if (is_deferred)
        note_ended(server);
    atomic_fetch_sub(&server->active, 1);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode end)
{
    http_server *server = cls;
    http_exchange *x = *con_cls;
    struct http_conn *conn = http_conn_of(connection);

    *con_cls = NULL;
    if (conn != NULL) {
        conn->constant = NULL;
        http_conn_set_deadline(
            conn, faas_deadline_in_ms(server->conf.idle_s * 1000 + server->conf.read_ms));
    }
    if (x == NULL)
        return;
    complete(server, x, end == MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

/* ---- the server ---- */

/* What libmicrohttpd refused by itself has left unread bytes, too. */
static bool is_unread(const struct http_conn *conn)
{
    int waiting = 0;

    return conn->is_unread || (ioctl(conn->fd, FIONREAD, &waiting) == 0 && waiting > 0);
}

static void linger(http_server *server, const struct http_conn *conn)
{
    if (conn == NULL || !is_unread(conn))
        return;
    pthread_mutex_lock(&server->defer_mu);
    if (!server->is_closing)
        http_linger(&server->lingers, conn->fd);
    pthread_mutex_unlock(&server->defer_mu);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    http_server *server = cls;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        atomic_fetch_add(&server->open, 1);
        *socket_context =
            http_conn_open(&server->conns, connection, faas_deadline_in_ms(server->conf.read_ms));
        return;
    }
    linger(server, *socket_context);
    http_conn_close(&server->conns, *socket_context);
    atomic_fetch_sub(&server->open, 1);
}

/* The raw target; libmicrohttpd decodes it in place afterwards. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct http_conn *conn = http_conn_of(connection);

    (void)cls;
    if (conn != NULL)
        http_conn_set_target(conn, target);
    return NULL;
}

__attribute__((format(printf, 2, 0))) static void on_mhd_log(void *cls, const char *fmt,
                                                             va_list args)
{
    char text[256];

    (void)cls;
    (void)vsnprintf(text, sizeof text, fmt, args);
    FAAS_LOG(DEBUG, "libmicrohttpd", FAAS_LSTR("detail", text));
}

static struct MHD_Daemon *start_daemon(http_server *server, int listener, bool is_tls)
{
    static char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
    const struct MHD_OptionItem secure[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)http_tls_retrieve},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    const unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    const struct http_conf *conf = &server->conf;

    return MHD_start_daemon(
        flags | (is_tls ? MHD_USE_TLS : 0), 0, NULL, NULL, on_request, server,
        MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL, MHD_OPTION_LISTEN_SOCKET, listener,
        MHD_OPTION_ARRAY, is_tls ? secure : &secure[2], MHD_OPTION_THREAD_POOL_SIZE,
        (unsigned)conf->threads, MHD_OPTION_CONNECTION_LIMIT, (unsigned)conf->connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)conf->per_address,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)conf->idle_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)conf->head_kb * 1024, MHD_OPTION_STRICT_FOR_CLIENT, STRICTNESS,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, server, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_END);
}

/* Nothing is served before all of it can be. */
static faas_code open_doors(http_server *server, faas_err *err)
{
    const struct http_conf *conf = &server->conf;
    struct http_door *doors = server->doors;
    bool has_tls = conf->listen_tls[0] != '\0';

    FAAS_TRY(http_allow_files(conf->connections * (has_tls ? 2 : 1), err));
    FAAS_TRY(http_listen(conf->listen, conf->setting, &doors[HTTP_PLAIN].listener, err));
    if (has_tls)
        FAAS_TRY(http_listen(conf->listen_tls, "LISTEN_TLS", &doors[HTTP_TLS].listener, err));
    for (int i = 0; i < HTTP_DOORS; i++) {
        if (doors[i].listener < 0)
            continue;
        doors[i].daemon = start_daemon(server, doors[i].listener, i == HTTP_TLS);
        if (doors[i].daemon == NULL)
            return faas_fail_sys(err, errno, "start libmicrohttpd");
    }
    return FAAS_OK;
}

faas_code http_open(const struct http_conf *conf, http_server **out_server, faas_err *err)
{
    http_server *server = calloc(1, sizeof *server);
    faas_code rc;

    if (server == NULL)
        return faas_fail_sys(err, errno, "allocate http server");
    server->conf = *conf;
    randombytes_buf(server->share_key, sizeof server->share_key);
    server->doors[HTTP_PLAIN].listener = server->doors[HTTP_TLS].listener = -1;
    pthread_mutex_init(&server->defer_mu, NULL);
    pthread_cond_init(&server->ended, NULL);
    STAILQ_INIT(&server->left);
    http_lingers_init(&server->lingers, conf->loop);
    rc = http_conns_init(&server->conns, conf->loop, err);
    if (rc == FAAS_OK)
        rc = open_doors(server, err);
    if (rc != FAAS_OK) {
        http_close(server);
        return rc;
    }
    *out_server = server;
    return FAAS_OK;
}

void http_start(http_server *server)
{
    http_conns_start(&server->conns);
}

void http_drain(http_server *server)
{
    atomic_store(&server->is_draining, true);
}

void http_shut(http_server *server)
{
    if (server->is_shut)
        return;
    server->is_shut = true;
    /* The descriptor stays open until the threads have ended; shut down, it refuses. */
    for (size_t i = 0; i < HTTP_DOORS; i++) {
        struct http_door *door = &server->doors[i];

        if (door->daemon != NULL && MHD_quiesce_daemon(door->daemon) != MHD_INVALID_SOCKET)
            (void)shutdown(door->listener, SHUT_RDWR);
    }
}

size_t http_active(const http_server *server)
{
    return atomic_load(&server->active);
}

size_t http_open_connections(const http_server *server)
{
    return atomic_load(&server->open);
}

size_t http_early(const http_server *server)
{
    return atomic_load(&server->early);
}

void http_close_begin(http_server *server)
{
    if (server == NULL)
        return;
    pthread_mutex_lock(&server->defer_mu);
    server->is_closing = true;
    pthread_mutex_unlock(&server->defer_mu);
}

/* Give answers that were just made the time to leave. */
static void wait_for_answers(http_server *server)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LAST_ANSWERS_S;
    pthread_mutex_lock(&server->defer_mu);
    while (server->deferred > 0 &&
           pthread_cond_timedwait(&server->ended, &server->defer_mu, &until) == 0)
        continue;
    pthread_mutex_unlock(&server->defer_mu);
}

static void close_door(http_server *server, struct http_door *door)
{
    if (door->daemon != NULL)
        MHD_stop_daemon(door->daemon);
    /* libmicrohttpd closes the listener itself unless it was quiesced before. */
    if (door->listener >= 0 && (door->daemon == NULL || server->is_shut))
        close(door->listener);
}

void http_close(http_server *server)
{
    if (server == NULL)
        return;
    wait_for_answers(server);
    for (size_t i = 0; i < HTTP_DOORS; i++)
        close_door(server, &server->doors[i]);
    http_streams_close(server);
    http_conns_done(&server->conns);
    http_lingers_done(&server->lingers);
    pthread_cond_destroy(&server->ended);
    pthread_mutex_destroy(&server->defer_mu);
    free(server);
}
