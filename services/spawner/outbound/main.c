/* faas-outbound - makes networks for lanes whose functions may reach the outside (wire.h).
 * A process of its own: devices and rules take milliseconds, and libraries and programs that the
 * spawner itself can do without.  The spawner starts it, as root, with a SEQPACKET socket as
 * descriptor 3; it ends with it, and takes its rules along. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "devices.h"
#include "rules.h"
#include "services/spawner/zygote/packet.h"

#define SOCKET     3
#define FORWARDING "/proc/sys/net/ipv4/ip_forward"

static struct {
    int ns;
    bool has_rules;
    unsigned number;
} own;

static bool does_forward(void)
{
    char text = '0';
    int fd = open(FORWARDING, O_RDONLY | O_CLOEXEC);
    bool is_read = fd >= 0 && read(fd, &text, 1) == 1;

    if (fd >= 0)
        close(fd);
    errno = is_read ? EPERM : errno;
    return is_read && text == '1';
}

static enum zy_step set_rules(const struct zy_network_req *req)
{
    bool is_swept;

    if (own.has_rules)
        return ZY_STEP_NONE;
    is_swept = rules_remove(req->number); /* an earlier life's, whatever follows */
    if (!does_forward())
        return ZY_STEP_FORWARDING;
    own.number = req->number;
    own.has_rules = is_swept && rules_set(req);
    return own.has_rules ? ZY_STEP_NONE : ZY_STEP_RULES;
}

static int make(const struct zy_network_req *req, struct zy_reply *reply)
{
    int ns = -1;

    if (req->index >= ZY_NETWORKS || req->resolver_count > ZY_RESOLVERS_MAX) {
        *reply = (struct zy_reply){.step = ZY_STEP_REQUEST, .error = EINVAL};
        return -1;
    }
    reply->step = (int32_t)set_rules(req);
    if (reply->step == ZY_STEP_NONE) {
        ns = devices_make(req, own.ns);
        reply->step = ns >= 0 ? ZY_STEP_NONE : ZY_STEP_DEVICES;
    }
    reply->error = reply->step == ZY_STEP_NONE ? 0 : errno;
    return ns;
}

int main(void)
{
    struct zy_network_req req;
    size_t count = 0;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || geteuid() != 0 ||
        close_range(SOCKET + 1, ~0U, 0) != 0 || fcntl(SOCKET, F_SETFD, FD_CLOEXEC) != 0 ||
        (own.ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) < 0) {
        fputs("faas-outbound: a part of faas-spawner, which starts it as root\n", stderr);
        return 2;
    }
    while (zy_receive(SOCKET, &req, sizeof req, NULL, &count) == (ssize_t)sizeof req) {
        struct zy_reply reply = {.pid = 0};
        int ns = make(&req, &reply);

        (void)zy_send(SOCKET, &reply, sizeof reply, &ns, ns >= 0 ? 1 : 0);
        if (ns >= 0)
            close(ns);
        count = 0;
    }
    /* In this order: without devices nobody needs the rules. */
    if (own.has_rules && devices_remove_all(own.number))
        (void)rules_remove(own.number);
    return 0;
}
