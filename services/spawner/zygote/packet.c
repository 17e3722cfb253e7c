#include "packet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"

#define FDS_MAX 16 /* of one packet */

union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

int zy_send(int socket, const void *data, size_t len, const int *fds, size_t count)
{
    union control control;
    struct iovec part = {.iov_base = (void *)(size_t)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

    if (count > 0) {
        memset(&control, 0, sizeof control);
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.head), fds, count * sizeof(int));
    }
    return sendmsg(socket, &msg, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -1;
}

ssize_t zy_receive(int socket, void *data, size_t room, int *fds, size_t *count)
{
    union control control;
    struct iovec part = {.iov_base = data, .iov_len = room};
    struct msghdr msg = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = CMSG_LEN(*count * sizeof(int))};
    ssize_t got;

    *count = 0;
    do {
        got = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return -1;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&msg); head != NULL; head = CMSG_NXTHDR(&msg, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        *count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(head), *count * sizeof(int));
    }
    if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        for (size_t i = 0; i < *count; i++)
            close(fds[i]);
        *count = 0;
        errno = EMSGSIZE;
        return -1;
    }
    return got;
}

char *zy_take(char **at, const char *end)
{
    char *text = *at;
    size_t room = (size_t)(end - text), len = strnlen(text, room);

    if (len == room)
        return NULL;
    *at = text + len + 1;
    return text;
}

const char *zy_step_text(int step)
{
#define X(name, text) text,
    static const char *const texts[] = {"nothing is wrong", ZY_STEPS(X)};
#undef X

    return step >= 0 && step < ZY_STEP_END ? texts[step] : "an unknown reason";
}
