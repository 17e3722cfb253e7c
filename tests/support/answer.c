#include "tests/support/answer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX 65536

struct answer_conn {
    struct answer *answer;
    int fd;
    ev_io reading, writing;
    char request[REQUEST_MAX];
    size_t request_len;
    uint8_t *bytes; /* NULL: not chosen yet */
    size_t len, sent;
    LIST_ENTRY(answer_conn) link;
};

static void conn_free(struct answer_conn *conn)
{
    ev_io_stop(conn->answer->ev, &conn->reading);
    ev_io_stop(conn->answer->ev, &conn->writing);
    LIST_REMOVE(conn, link);
    close(conn->fd);
    free(conn->bytes);
    free(conn);
}

static void on_writable(struct ev_loop *ev, ev_io *io, int events)
{
    struct answer_conn *conn = io->data;
    size_t left = conn->len - conn->sent, piece = conn->answer->piece;
    size_t take = piece > 0 && piece < left ? piece : left;
    ssize_t n = send(conn->fd, conn->bytes + conn->sent, take, MSG_NOSIGNAL);

    (void)events;
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        conn_free(conn);
        return;
    }
    conn->sent += n > 0 ? (size_t)n : 0;
    if (conn->sent == conn->len) {
        ev_io_stop(ev, io);
        shutdown(conn->fd, SHUT_WR);
        if (!ev_is_active(&conn->reading))
            conn_free(conn);
    }
}

/* False: there is nothing to say. */
static bool choose(struct answer_conn *conn)
{
    struct answer *answer = conn->answer;
    const void *bytes = answer->route(answer->arg, conn->request, &conn->len);

    conn->bytes = bytes != NULL ? malloc(conn->len + 1) : NULL;
    if (conn->bytes == NULL)
        return false;
    memcpy(conn->bytes, bytes, conn->len);
    ev_io_start(answer->ev, &conn->writing);
    return true;
}

/* The body of a request is read and dropped. */
static void on_readable(struct ev_loop *ev, ev_io *io, int events)
{
    struct answer_conn *conn = io->data;
    size_t room = sizeof conn->request - 1 - conn->request_len;
    ssize_t n = recv(conn->fd, conn->request + conn->request_len, room, 0);

    (void)events;
    if (n == 0 && ev_is_active(&conn->writing)) { /* who says no more still hears the rest */
        ev_io_stop(ev, io);
        return;
    }
    if (n <= 0) {
        conn_free(conn);
        return;
    }
    if (conn->bytes != NULL)
        return;
    conn->request_len += (size_t)n;
    conn->request[conn->request_len] = '\0';
    if (strstr(conn->request, "\r\n\r\n") != NULL && !choose(conn))
        conn_free(conn);
}

static void on_connection(struct ev_loop *ev, ev_io *io, int events)
{
    struct answer *answer = io->data;
    struct answer_conn *conn;
    int fd = accept4(answer->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd < 0)
        return;
    conn = calloc(1, sizeof *conn);
    if (conn == NULL) {
        close(fd);
        return;
    }
    conn->answer = answer;
    conn->fd = fd;
    ev_io_init(&conn->reading, on_readable, fd, EV_READ);
    ev_io_init(&conn->writing, on_writable, fd, EV_WRITE);
    conn->reading.data = conn->writing.data = conn;
    LIST_INSERT_HEAD(&answer->conns, conn, link);
    ev_io_start(ev, &conn->reading);
}

void answer_open(struct answer *answer)
{
    static unsigned count;
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    snprintf(answer->path, sizeof answer->path, "/tmp/faas-answer-%d-%u", (int)getpid(), ++count);
    snprintf(answer->host, sizeof answer->host, "unix://%s", answer->path);
    snprintf(name.sun_path, sizeof name.sun_path, "%s", answer->path);
    LIST_INIT(&answer->conns);
    answer->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(answer->path);
    if (answer->fd < 0 || bind(answer->fd, (struct sockaddr *)&name, sizeof name) != 0 ||
        listen(answer->fd, 64) != 0) {
        perror(answer->path);
        exit(1);
    }
    ev_io_init(&answer->accepting, on_connection, answer->fd, EV_READ);
    answer->accepting.data = answer;
    ev_io_start(answer->ev, &answer->accepting);
}

void answer_close(struct answer *answer)
{
    while (!LIST_EMPTY(&answer->conns))
        conn_free(LIST_FIRST(&answer->conns));
    ev_io_stop(answer->ev, &answer->accepting);
    close(answer->fd);
    unlink(answer->path);
}

const void *answer_engine(const char *request, size_t *out_len)
{
    static const struct {
        const char *path, *text;
    } known[] = {
        {" /_ping ", ANSWER_OK("text/plain", "2") "Api-Version: 1.41\r\n\r\nOK"},
        {"/version ",
         ANSWER_OK("application/json", "37") "\r\n"
                                             "{\"Arch\":\"amd64\",\"Version\":\"20.10.24\"}"},
        {"/info ", ANSWER_OK("application/json", "10") "\r\n{\"NCPU\":2}"},
        {"/containers/json", ANSWER_OK("application/json", "2") "\r\n[]"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *end = strchr(request, '\r'), *at = strstr(request, known[i].path);

        if (at != NULL && at < end) {
            *out_len = strlen(known[i].text);
            return known[i].text;
        }
    }
    return NULL;
}
