/* faas-zygote - the nursery: a small process without threads that makes the spawner's lanes.
 * The spawner starts it with a SEQPACKET socket as descriptor 3; it ends with it. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "barrier.h"
#include "lane.h"
#include "packet.h"

#define SOCKET  3
#define FDS_MIN 2 /* control, filter */
#define FDS_MAX (FDS_MIN + ZY_GROUPS_MAX + 2)

#ifdef ZY_TEST_BARRIERS
unsigned zy_barriers_off;

/* What the test's link is called: NAME-BITS. */
static void take_barriers_off(const char *name)
{
    const char *dash = strrchr(name, '-');

    zy_barriers_off = dash != NULL ? (unsigned)strtoul(dash + 1, NULL, 16) : 0;
}
#else
#define take_barriers_off(name) ((void)0)
#endif

static char packet[ZY_PACKET_MAX];
static struct zy_lane lane;

/* It is made below a folder of ours by that path: nothing in it leads up. */
static bool is_volume(const char *path)
{
    const char *up = path != NULL ? strstr(path, "/..") : NULL;

    while (up != NULL && up[3] != '/' && up[3] != '\0')
        up = strstr(up + 1, "/..");
    return path != NULL && path[0] == '/' && up == NULL && strlen(path) <= ZY_VOLUME_BYTES;
}

static bool read_volumes(char **at, const char *end)
{
    for (uint32_t i = 0; i < lane.req.volumes; i++) {
        lane.volumes[i] = zy_take(at, end);
        if (!is_volume(lane.volumes[i]))
            return false;
    }
    return true;
}

static bool read_request(size_t len, size_t count, const int *fds)
{
    char *at = packet + sizeof lane.req;
    const char *end = packet + len;

    if (len < sizeof lane.req)
        return false;
    memcpy(&lane.req, packet, sizeof lane.req);
    if (lane.req.groups > ZY_GROUPS_MAX || lane.req.has_network > 1 || lane.req.has_secrets > 1 ||
        count != FDS_MIN + lane.req.groups + lane.req.has_network + lane.req.has_secrets ||
        lane.req.layers < 1 || lane.req.layers > ZY_LAYERS_MAX ||
        lane.req.volumes > ZY_VOLUMES_MAX || lane.req.uid == 0 || lane.req.gid == 0 ||
        lane.req.uid >= ZY_IDS || lane.req.gid >= ZY_IDS)
        return false;
    lane.control = fds[0];
    lane.filter = fds[1];
    lane.secrets = lane.req.has_secrets != 0 ? fds[count - 1] : -1;
    lane.network = lane.req.has_network != 0 ? fds[count - 1 - lane.req.has_secrets] : -1;
    memcpy(lane.groups, fds + FDS_MIN, lane.req.groups * sizeof *fds);
    lane.scratch = zy_take(&at, end);
    for (uint32_t i = 0; i < lane.req.layers; i++) {
        lane.layers[i] = zy_take(&at, end);
        if (lane.layers[i] == NULL)
            return false;
    }
    return lane.scratch != NULL && read_volumes(&at, end) && at == end;
}

static void make_lane(size_t len, size_t count, const int *fds)
{
    struct zy_reply reply = {.step = ZY_STEP_REQUEST, .error = EINVAL};
    int pidfd = -1;

    if (read_request(len, count, fds))
        zy_lane_start(&lane, &reply, &pidfd);
    (void)zy_send(SOCKET, &reply, sizeof reply, &pidfd, pidfd >= 0 ? 1 : 0);
    if (pidfd >= 0)
        close(pidfd);
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

/* Functions may see the first process of a slot: the name is enough. */
static void shorten_name(char *name)
{
    const char *slash = strrchr(name, '/');
    size_t len = strlen(name), cut = slash != NULL ? (size_t)(slash + 1 - name) : 0;

    memmove(name, name + cut, len - cut);
    memset(name + len - cut, 0, cut);
}

int main(int argc, char **argv)
{
    int fds[FDS_MAX];

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || geteuid() != 0 ||
        close_range(SOCKET + 1, ~0U, 0) != 0 || chdir("/") != 0) {
        fputs("faas-zygote: a part of faas-spawner, which starts it as root\n", stderr);
        return 2;
    }
    if (argc > 0) {
        take_barriers_off(argv[0]);
        shorten_name(argv[0]);
    }
    for (;;) {
        size_t count = FDS_MAX;
        ssize_t len = zy_receive(SOCKET, packet, sizeof packet, fds, &count);

        if (len <= 0)
            return 0;
        make_lane((size_t)len, count, fds);
    }
}
