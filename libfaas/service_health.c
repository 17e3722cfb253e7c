#include "service_health.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

#define BACKLOG 8

static const char well[] = "ok\n", starting[] = "starting\n";

static bool make_address(const char *path, struct sockaddr_un *out_address)
{
    *out_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof out_address->sun_path)
        return false;
    memcpy(out_address->sun_path, path, strlen(path) + 1);
    return true;
}

/* ---- answering ---- */

/* A line fits into any socket's buffer, so nobody can make this wait. */
static void on_ask(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct faas_health *health = watcher->data;
    const char *line = health->is_well() ? well : starting;
    int fd = accept4(health->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)ev;
    (void)events;
    if (fd < 0)
        return;
    (void)send(fd, line, strlen(line), MSG_NOSIGNAL); /* who went away needs no answer */
    close(fd);
}

/* Only a socket is removed: a wrong setting must not cost a file. */
static faas_code remove_dead(const char *path, faas_err *err)
{
    struct stat info;

    if (lstat(path, &info) != 0)
        return errno == ENOENT ? FAAS_OK
                               : faas_fail(err, FAAS_INVALID, "HEALTH_SOCKET: %s: %s", path,
                                           strerrordesc_np(errno));
    if (!S_ISSOCK(info.st_mode))
        return faas_fail(err, FAAS_INVALID, "HEALTH_SOCKET: %s is there and no socket", path);
    return unlink(path) == 0 || errno == ENOENT
               ? FAAS_OK
               : faas_fail(err, FAAS_INVALID, "HEALTH_SOCKET: cannot remove %s: %s", path,
                           strerrordesc_np(errno));
}

static faas_code listen_at(int fd, const char *path, faas_err *err)
{
    struct sockaddr_un address;

    if (!make_address(path, &address))
        return faas_fail(err, FAAS_INVALID, "HEALTH_SOCKET: at most %zu bytes",
                         sizeof address.sun_path - 1);
    FAAS_TRY(remove_dead(path, err));
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, BACKLOG) != 0)
        return faas_fail(err, FAAS_INVALID, "HEALTH_SOCKET: cannot listen at %s: %s", path,
                         strerrordesc_np(errno));
    return FAAS_OK;
}

faas_code faas_health_open(struct faas_health *health, faas_loop *loop, const char *path,
                           bool (*is_well)(void), faas_err *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    faas_code code;

    if (fd < 0)
        return faas_fail_sys(err, errno, "health socket");
    code = listen_at(fd, path, err);
    if (code != FAAS_OK) {
        close(fd);
        return code;
    }
    *health =
        (struct faas_health){.ev = faas_loop_ev(loop), .fd = fd, .path = path, .is_well = is_well};
    ev_io_init(&health->on_ask, on_ask, fd, EV_READ);
    health->on_ask.data = health;
    ev_io_start(health->ev, &health->on_ask);
    return FAAS_OK;
}

void faas_health_close(struct faas_health *health)
{
    if (health->ev == NULL)
        return;
    ev_io_stop(health->ev, &health->on_ask);
    close(health->fd);
    (void)unlink(health->path);
    *health = (struct faas_health){.fd = -1};
}

/* ---- asking ---- */

/* The whole answer, or as much of it as came in time. */
static size_t hear(int fd, char *out_text, size_t room)
{
    uint64_t deadline_ns = faas_deadline_in_ms(FAAS_HEALTH_ASK_MS);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    size_t len = 0;
    ssize_t n = 1;

    while (n > 0 && len < room - 1 && poll(&wait, 1, (int)faas_left_ms(deadline_ns)) == 1) {
        n = read(fd, out_text + len, room - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    out_text[len] = '\0';
    return len;
}

int faas_health_ask(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address;
    char text[64] = "";

    if (path[0] == '\0')
        fputs("HEALTH_SOCKET is not set\n", stdout);
    else if (fd < 0 || !make_address(path, &address) ||
             connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        printf("%s: %s\n", path, strerrordesc_np(errno));
    else if (hear(fd, text, sizeof text) == 0)
        fputs("no answer\n", stdout);
    else
        fputs(text, stdout);
    if (fd >= 0)
        close(fd);
    return strcmp(text, well) == 0 ? 0 : 1;
}
