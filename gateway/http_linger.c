#include "gateway/http_linger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_MAX 65536
#define READS    16 /* per turn of the loop */

struct http_linger {
    LIST_ENTRY(http_linger) link;
    struct http_lingers *all;
    int fd;
    size_t dropped;
    ev_io readable;
    ev_timer late;
};

static void free_linger(struct http_linger *linger)
{
    atomic_fetch_sub(&linger->all->count, 1);
    close(linger->fd);
    free(linger);
}

static void end(struct http_linger *linger)
{
    struct ev_loop *ev = faas_loop_ev(linger->all->loop);

    ev_io_stop(ev, &linger->readable);
    ev_timer_stop(ev, &linger->late);
    LIST_REMOVE(linger, link);
    free_linger(linger);
}

static void on_readable(struct ev_loop *ev, ev_io *io, int events)
{
    static char dropped[READ_MAX]; /* never read; loop thread */
    struct http_linger *linger = io->data;

    (void)ev;
    (void)events;
    for (int i = 0; i < READS; i++) {
        ssize_t got = recv(linger->fd, dropped, sizeof dropped, MSG_DONTWAIT);

        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got > 0)
            linger->dropped += (size_t)got;
        if (got <= 0 || linger->dropped >= HTTP_DROP_MAX) {
            end(linger);
            return;
        }
    }
}

static void on_late(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    end(timer->data);
}

static void begin(void *arg)
{
    struct http_linger *linger = arg;
    struct ev_loop *ev = faas_loop_ev(linger->all->loop);

    LIST_INSERT_HEAD(&linger->all->list, linger, link);
    ev_io_init(&linger->readable, on_readable, linger->fd, EV_READ);
    ev_timer_init(&linger->late, on_late, HTTP_DROP_MS / 1e3, 0.0);
    linger->readable.data = linger->late.data = linger;
    ev_io_start(ev, &linger->readable);
    ev_timer_start(ev, &linger->late);
}

void http_linger(struct http_lingers *lingers, int fd)
{
    struct http_linger *linger;

    if (atomic_fetch_add(&lingers->count, 1) >= HTTP_LINGERS) {
        atomic_fetch_sub(&lingers->count, 1);
        return;
    }
    linger = calloc(1, sizeof *linger);
    if (linger != NULL)
        linger->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (linger == NULL || linger->fd < 0) {
        free(linger);
        atomic_fetch_sub(&lingers->count, 1);
        return;
    }
    (void)shutdown(linger->fd, SHUT_WR); /* after TLS's own end; nothing more is sent */
    linger->all = lingers;
    faas_loop_post(lingers->loop, begin, linger);
}

void http_lingers_init(struct http_lingers *lingers, faas_loop *loop)
{
    lingers->loop = loop;
    LIST_INIT(&lingers->list);
}

void http_lingers_done(struct http_lingers *lingers)
{
    while (!LIST_EMPTY(&lingers->list))
        end(LIST_FIRST(&lingers->list));
}
