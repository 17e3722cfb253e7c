#include "nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "services/spawner/zygote/packet.h"

#define SOCKET_FD   3 /* the nursery's */
#define RESTART_S   1.0
#define END_MS      1000
#define SEND_BUFFER (1024 * 1024)

struct waiting {
    nursery_made *made;
    void *arg;
    STAILQ_ENTRY(waiting) link;
};
struct nursery {
    struct ev_loop *ev;
    char *program;
    int socket, pidfd; /* -1: not running */
    ev_io socket_io, pid_io;
    ev_timer restart;
    uint64_t started_ns;
    STAILQ_HEAD(, waiting) waiting; /* in order of their packets */
};

static faas_code start(struct nursery *self, faas_err *err);

static void fail_waiting(struct nursery *self)
{
    const struct zy_reply reply = {.step = ZY_STEP_CLONE, .error = EPIPE};
    struct waiting *first;

    while ((first = STAILQ_FIRST(&self->waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&self->waiting, link);
        first->made(first->arg, &reply, -1);
        free(first);
    }
}

/* end_ms: it may put its things away, told by the closed socket. */
static void let_go(struct nursery *self, int end_ms)
{
    ev_io_stop(self->ev, &self->socket_io);
    ev_io_stop(self->ev, &self->pid_io);
    if (self->socket >= 0)
        close(self->socket);
    if (self->pidfd >= 0) {
        (void)poll(&(struct pollfd){.fd = self->pidfd, .events = POLLIN}, 1, end_ms);
        (void)pidfd_send_signal(self->pidfd, SIGKILL, NULL, 0);
        (void)waitid(P_PIDFD, (id_t)self->pidfd, &(siginfo_t){0}, WEXITED);
        close(self->pidfd);
    }
    self->socket = self->pidfd = -1;
}

static void on_restart(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct nursery *self = timer->data;
    faas_err err = {0};

    (void)events;
    if (start(self, &err) == FAAS_OK)
        return;
    FAAS_LOG(ERROR, "a helper of the spawner does not start", FAAS_LSTR("why", err.msg),
             FAAS_LSTR("detail", err.detail));
    ev_timer_set(timer, RESTART_S, 0.0);
    ev_timer_start(ev, timer);
}

static void on_dead(struct nursery *self)
{
    bool is_early = faas_now_ns() - self->started_ns < (uint64_t)(RESTART_S * FAAS_S_NS);

    FAAS_LOG(ERROR, "a helper of the spawner ended; it is started again",
             FAAS_LSTR("program", self->program));
    let_go(self, 0);
    ev_timer_set(&self->restart, is_early ? RESTART_S : 0.0, 0.0);
    ev_timer_start(self->ev, &self->restart);
    fail_waiting(self);
}

static void on_pid(struct ev_loop *ev, ev_io *io, int events)
{
    (void)ev, (void)events;
    on_dead(io->data);
}

static void on_reply(struct ev_loop *ev, ev_io *io, int events)
{
    struct nursery *self = io->data;
    struct waiting *first = STAILQ_FIRST(&self->waiting);
    struct zy_reply reply;
    int pidfd = -1;
    size_t count = 1;
    ssize_t len = zy_receive(self->socket, &reply, sizeof reply, &pidfd, &count);

    (void)ev, (void)events;
    if (len != (ssize_t)sizeof reply || first == NULL) {
        if (count > 0 && pidfd >= 0)
            close(pidfd);
        on_dead(self);
        return;
    }
    STAILQ_REMOVE_HEAD(&self->waiting, link);
    first->made(first->arg, &reply, count > 0 ? pidfd : -1);
    free(first);
}

/* Nothing of this process goes along: no variables, no signal settings, one descriptor. */
static int spawn(const struct nursery *self, int socket, pid_t *out_pid)
{
    char *argv[] = {self->program, NULL}, *envp[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t all, none;
    int rc;

    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawn_file_actions_init(&actions);
    rc = posix_spawn_file_actions_adddup2(&actions, socket, SOCKET_FD);
    if (rc == 0)
        rc = posix_spawn(out_pid, self->program, &actions, &attr, argv, envp);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return rc;
}

static faas_code start(struct nursery *self, faas_err *err)
{
    int pair[2], rc, size = SEND_BUFFER;
    pid_t pid;

    self->started_ns = faas_now_ns();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return faas_fail_sys(err, errno, "socket of a helper");
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    rc = spawn(self, pair[1], &pid);
    close(pair[1]);
    if (rc != 0) {
        close(pair[0]);
        return faas_fail(err, FAAS_UNAVAILABLE, "%s cannot be started: %s", self->program,
                         strerror(rc));
    }
    self->socket = pair[0];
    self->pidfd = pidfd_open(pid, 0);
    if (self->pidfd < 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        let_go(self, 0);
        return faas_fail_sys(err, errno, "pidfd_open");
    }
    ev_io_set(&self->socket_io, self->socket, EV_READ);
    ev_io_set(&self->pid_io, self->pidfd, EV_READ);
    ev_io_start(self->ev, &self->socket_io);
    ev_io_start(self->ev, &self->pid_io);
    return FAAS_OK;
}

faas_code nursery_open(struct ev_loop *ev, const char *program, struct nursery **out_nursery,
                       faas_err *err)
{
    struct nursery *self = calloc(1, sizeof *self);
    faas_code rc;

    if (self == NULL || (self->program = strdup(program)) == NULL) {
        free(self);
        return faas_fail_sys(err, ENOMEM, "nursery");
    }
    self->ev = ev;
    self->socket = self->pidfd = -1;
    STAILQ_INIT(&self->waiting);
    ev_init(&self->socket_io, on_reply);
    ev_init(&self->pid_io, on_pid);
    ev_init(&self->restart, on_restart);
    self->socket_io.data = self->pid_io.data = self->restart.data = self;
    rc = start(self, err);
    if (rc != FAAS_OK) {
        nursery_close(self);
        return rc;
    }
    *out_nursery = self;
    return FAAS_OK;
}

void nursery_close(struct nursery *self)
{
    if (self == NULL)
        return;
    ev_timer_stop(self->ev, &self->restart);
    let_go(self, END_MS);
    fail_waiting(self);
    free(self->program);
    free(self);
}

faas_code nursery_make(struct nursery *self, const struct nursery_order *order, faas_err *err)
{
    struct waiting *wait;

    if (self->socket < 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "%s is being started again", self->program);
    wait = malloc(sizeof *wait);
    if (wait == NULL)
        return faas_fail_sys(err, ENOMEM, "lane");
    *wait = (struct waiting){.made = order->made, .arg = order->arg};
    if (zy_send(self->socket, order->data, order->len, order->fds, order->fd_count) != 0) {
        free(wait); /* it has just died; the loop is about to hear of it */
        return faas_fail(err, FAAS_UNAVAILABLE, "%s is being started again", self->program);
    }
    STAILQ_INSERT_TAIL(&self->waiting, wait, link);
    return FAAS_OK;
}
