#include "gateway/http_conn.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define SWEEP_S       0.5
#define BACKLOG       1024
#define GONE_PER_TURN 64
#define FIELD_MEMORY  64   /* libmicrohttpd's, beside the text of a field or of an argument */
#define ANSWER_ROOM   1024 /* for an answer's status line and fields */
#define OTHER_FILES   1024 /* spilled results, lingering sockets, the bus, the log */

/* ---- the listening socket ---- */

/* getaddrinfo() takes 65536 for 0. */
static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && digits <= 5 && text[digits] == '\0' && strtol(text, NULL, 10) <= 65535;
}

/* "host:port", "[v6]:port", ":port" */
static bool split_address(const char *address, char *host, size_t room, const char **out_port)
{
    const char *colon = strrchr(address, ':');
    size_t len = colon == NULL ? 0 : (size_t)(colon - address);

    if (colon == NULL || !is_port(colon + 1))
        return false;
    if (len >= 2 && address[0] == '[' && colon[-1] == ']') {
        address++;
        len -= 2;
    } else if (memchr(address, ':', len) != NULL) {
        return false; /* a bare IPv6 address is ambiguous */
    }
    *out_port = colon + 1;
    return (size_t)snprintf(host, room, "%.*s", (int)len, address) < room;
}

static int listen_on(const struct addrinfo *at)
{
    int one = 1, saved;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

faas_code http_listen(const char *address, const char *setting, int *out_fd, faas_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const char *port;
    char host[256];
    int rc;

    if (!split_address(address, host, sizeof host, &port))
        return faas_fail(err, FAAS_INVALID, "%s: expected ADDRESS:PORT, [IPV6]:PORT or :PORT",
                         setting);
    rc = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
    if (rc != 0)
        return faas_fail(err, FAAS_INVALID, "%s: %s", setting, gai_strerror(rc));
    *out_fd = listen_on(found);
    rc = errno;
    freeaddrinfo(found);
    if (*out_fd < 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "%s: cannot listen on %s: %s", setting, address,
                         strerror(rc));
    return FAAS_OK;
}

/* ---- connections ---- */

faas_code http_allow_files(int64_t connections, faas_err *err)
{
    rlim_t need = (rlim_t)connections + OTHER_FILES;
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return faas_fail_sys(err, errno, "getrlimit");
    if (files.rlim_cur >= need)
        return FAAS_OK;
    if (files.rlim_max < need)
        return faas_fail(err, FAAS_INVALID,
                         "GATEWAY_CONNECTIONS: it takes %llu open files, and %llu are allowed: "
                         "lower it, or raise the limit (ulimit -Hn)",
                         (unsigned long long)need, (unsigned long long)files.rlim_max);
    files.rlim_cur = need;
    return setrlimit(RLIMIT_NOFILE, &files) == 0 ? FAAS_OK : faas_fail_sys(err, errno, "setrlimit");
}

struct http_conn *http_conn_open(struct http_conns *conns, struct MHD_Connection *connection,
                                 uint64_t deadline_ns)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_conn *conn = calloc(1, sizeof *conn);

    if (conn == NULL || info == NULL) {
        free(conn);
        return NULL; /* its requests are refused: see http_exchange_new() */
    }
    conn->conns = conns;
    conn->fd = info->connect_fd;
    atomic_init(&conn->deadline_ns, deadline_ns);
    pthread_mutex_lock(&conns->mu);
    LIST_INSERT_HEAD(&conns->list, conn, link);
    pthread_mutex_unlock(&conns->mu);
    return conn;
}

void http_conn_close(struct http_conns *conns, struct http_conn *conn)
{
    if (conn == NULL)
        return;
    pthread_mutex_lock(&conns->mu);
    LIST_REMOVE(conn, link);
    pthread_mutex_unlock(&conns->mu);
    free(conn->target);
    free(conn);
}

struct http_conn *http_conn_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info == NULL ? NULL : info->socket_context;
}

bool http_conn_has_room(struct MHD_Connection *connection, int64_t head_kb)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    int fields =
        MHD_get_connection_values(connection, MHD_HEADER_KIND | MHD_GET_ARGUMENT_KIND, NULL, NULL);
    size_t used = (info == NULL ? 0 : info->header_size) + (size_t)fields * FIELD_MEMORY;

    return used + ANSWER_ROOM <= (size_t)head_kb * 1024;
}

void http_conn_set_target(struct http_conn *conn, const char *raw_target)
{
    size_t need = strlen(raw_target) + 1;

    conn->raw_target = raw_target;
    if (need > conn->target_room) {
        free(conn->target);
        conn->target = malloc(need);
        conn->target_room = conn->target == NULL ? 0 : need; /* see http_exchange_new() */
    }
    if (conn->target != NULL)
        memcpy(conn->target, raw_target, need);
}

void http_conn_set_deadline(struct http_conn *conn, uint64_t deadline_ns)
{
    atomic_store(&conn->deadline_ns, deadline_ns);
}

static void on_sweep(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct http_conns *conns = timer->data;
    uint64_t now = faas_now_ns();
    struct http_conn *conn;

    (void)ev;
    (void)events;
    pthread_mutex_lock(&conns->mu);
    LIST_FOREACH (conn, &conns->list, link) {
        uint64_t deadline_ns = atomic_load(&conn->deadline_ns);

        /* A deadline that was moved just now is not the one that has passed. */
        if (now >= deadline_ns &&
            atomic_compare_exchange_strong(&conn->deadline_ns, &deadline_ns, UINT64_MAX))
            (void)shutdown(conn->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&conns->mu);
}

/* ---- clients that leave ---- */

void http_watch_add(struct http_conns *conns, struct http_watch *watch, int fd)
{
    struct epoll_event want = {.events = EPOLLRDHUP, .data.ptr = watch};

    bool is_active;

    watch->fd = fd;
    pthread_mutex_lock(&conns->mu);
    is_active = watch->is_active = epoll_ctl(conns->epoll, EPOLL_CTL_ADD, fd, &want) == 0;
    pthread_mutex_unlock(&conns->mu);
    if (!is_active)
        FAAS_LOG(WARN, "cannot watch a client", FAAS_LSTR("detail", strerror(errno)));
}

bool http_watch_remove(struct http_conns *conns, struct http_watch *watch)
{
    bool was_active;

    pthread_mutex_lock(&conns->mu);
    was_active = watch->is_active;
    watch->is_active = false;
    if (was_active)
        (void)epoll_ctl(conns->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    pthread_mutex_unlock(&conns->mu);
    return was_active;
}

static void on_gone(struct ev_loop *ev, ev_io *io, int events)
{
    struct http_conns *conns = io->data;
    struct epoll_event got;

    (void)ev;
    (void)events;
    /* One at a time: what gone() does may end other exchanges. */
    for (int i = 0; i < GONE_PER_TURN && epoll_wait(conns->epoll, &got, 1, 0) == 1; i++) {
        struct http_watch *watch = got.data.ptr;

        if (http_watch_remove(conns, watch))
            watch->gone(watch->x);
    }
}

/* ---- life ---- */

faas_code http_conns_init(struct http_conns *conns, faas_loop *loop, faas_err *err)
{
    conns->loop = loop;
    LIST_INIT(&conns->list);
    pthread_mutex_init(&conns->mu, NULL);
    conns->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (conns->epoll < 0)
        return faas_fail_sys(err, errno, "epoll_create1");
    ev_timer_init(&conns->sweep, on_sweep, SWEEP_S, SWEEP_S);
    ev_io_init(&conns->readable, on_gone, conns->epoll, EV_READ);
    conns->sweep.data = conns;
    conns->readable.data = conns;
    return FAAS_OK;
}

void http_conns_start(struct http_conns *conns)
{
    ev_timer_start(faas_loop_ev(conns->loop), &conns->sweep);
    ev_io_start(faas_loop_ev(conns->loop), &conns->readable);
    conns->is_started = true;
}

void http_conns_done(struct http_conns *conns)
{
    if (conns->is_started) {
        ev_timer_stop(faas_loop_ev(conns->loop), &conns->sweep);
        ev_io_stop(faas_loop_ev(conns->loop), &conns->readable);
    }
    if (conns->epoll >= 0)
        close(conns->epoll);
    pthread_mutex_destroy(&conns->mu);
}
