/* lane_make.c - a lane from its order until it can be used: control groups, network, zygote. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "native.h"
#include "services/spawner/image/volumes.h"
#include "services/spawner/zygote/packet.h"

#define MIB         (1024 * 1024)
#define MEMORY_MIN  (6 * MIB)
#define MEMORY_OWN  (2 * MIB) /* of the zygote itself */
#define PIDS_OWN    1         /* the zygote; another one where the sandbox is kept */
#define FILES_MAX   1024
#define SEND_BUFFER (1024 * 1024)

void lane_made(struct lane *lane)
{
    lane->state = LANE_BUSY;
    lane->is_used = true;
    if (lane->call != NULL && !lane->is_broken)
        call_lane_ready(lane->call);
    else
        lane_release(lane);
}

void lane_cannot_be_made(struct lane *lane, const struct zy_reply *reply)
{
    struct rt_call *call = lane->call;
    faas_err err = {0};

    (void)faas_fail(&err, FAAS_UNAVAILABLE, "no sandbox can be made: %s (%s)",
                    zy_step_text(reply->step), strerror(reply->error));
    lane->call = NULL;
    lane->state = LANE_BUSY;
    if (lane->image == NULL)
        native_probed(lane->nt, &err);
    lane_end(lane, true);
    if (call != NULL)
        call_lane_failed(call, &err);
}

static void on_made(void *arg, const struct zy_reply *reply, int take_pidfd)
{
    struct lane *lane = arg;

    lane->pidfd = take_pidfd;
    lane->pid = reply->pid;
    lane->has_zygote = take_pidfd >= 0;
    if (lane->has_zygote) {
        ev_io_set(&lane->pid_io, lane->pidfd, EV_READ);
        ev_io_start(lane->nt->ev, &lane->pid_io);
    }
    if (reply->step != ZY_STEP_NONE) {
        lane_cannot_be_made(lane, reply);
        return;
    }
    if (lane->image == NULL)
        native_probed(lane->nt, NULL);
    ev_io_set(&lane->control_io, lane->control, EV_READ);
    ev_io_start(lane->nt->ev, &lane->control_io);
    lane->state = LANE_WARMING;
    if (!lane->key.is_warm)
        lane_made(lane);
}

static_assert(VOLUMES_MAX <= ZY_VOLUMES_MAX && VOLUME_BYTES_MAX <= ZY_VOLUME_BYTES,
              "a lane takes what an image may declare");

static char *append(char *at, const char *text)
{
    size_t len = strlen(text) + 1;

    memcpy(at, text, len);
    return at + len;
}

/* The nursery's packet; NULL without memory. */
static char *make_packet(const struct lane *lane, size_t groups, size_t *out_len)
{
    const struct native *nt = lane->nt;
    const struct image *image = lane->image;
    size_t layers = image != NULL ? image->layer_count : 0, i;
    const json_t *volumes = image != NULL ? image->config.volumes : NULL, *volume;
    size_t room = sizeof(struct zy_lane_req) + 2 * SHARE_PATH_MAX;
    const char *skeleton = lane->key.has_network ? nt->share.outbound : nt->share.skeleton;
    struct zy_lane_req req = {
        .pass = nt->pass,
        .groups = (uint32_t)groups,
        .first_id = nt->share.first_id + lane->slot * ZY_IDS,
        .layers = (uint32_t)layers + 1,
        .uid = image != NULL ? image->config.uid : IMAGE_NOBODY,
        .gid = image != NULL ? image->config.gid : IMAGE_NOBODY,
        .pids = (uint32_t)lane->key.pids,
        .files = FILES_MAX,
        .tmp_mb = (uint32_t)lane->key.tmp_mb,
        .is_slot = lane->key.is_warm,
        .has_network = lane->key.has_network,
        .has_secrets = lane->secrets != NULL,
        .volumes = (uint32_t)json_array_size(volumes),
    };
    char *packet, *at;

    for (i = 0; i < layers; i++)
        room += strlen(image->layers[i]) + 1;
    room += json_array_size(volumes) * (VOLUME_BYTES_MAX + 1);
    packet = malloc(room);
    if (packet == NULL)
        return NULL;
    memcpy(packet, &req, sizeof req);
    at = append(append(packet + sizeof req, nt->share.root), skeleton);
    for (i = layers; i > 0; i--)
        at = append(at, image->layers[i - 1]);
    json_array_foreach (volumes, i, volume)
        at = append(at, json_string_value(volume));
    *out_len = (size_t)(at - packet);
    return packet;
}

/* The path and what is below it: a VOLUME there would hide what the function is given. */
static bool is_near_secrets(const char *volume)
{
    size_t len = strlen(volume), own = strlen(ZY_SECRETS_PATH);

    while (len > 1 && volume[len - 1] == '/')
        len--;
    return (len <= own && strncmp(volume, ZY_SECRETS_PATH, len) == 0 &&
            (len == own || ZY_SECRETS_PATH[len] == '/' || len == 1)) ||
           (len > own && strncmp(volume, ZY_SECRETS_PATH, own) == 0 && volume[own] == '/');
}

static faas_code check_image(const struct lane *lane, faas_err *err)
{
    size_t i;
    json_t *volume;

    if (lane->image == NULL)
        return FAAS_OK;
    if (lane->image->layer_count >= ZY_LAYERS_MAX)
        return faas_fail(err, FAAS_UNPROCESSABLE, "the image has over %d layers",
                         ZY_LAYERS_MAX - 1);
    json_array_foreach (lane->image->config.volumes, i, volume)
        if (lane->secrets != NULL && is_near_secrets(json_string_value(volume)))
            return faas_fail(err, FAAS_START_FAILED,
                             "the image's VOLUME %.100s would hide the secrets of the function "
                             "in " ZY_SECRETS_PATH "; take it out of the Dockerfile",
                             json_string_value(volume));
    return FAAS_OK;
}

/* *out_fd: a mount for the lane, -1 where it has none. */
static faas_code make_secrets(const struct lane *lane, int *out_fd, faas_err *err)
{
    uint32_t first = lane->nt->share.first_id + lane->slot * ZY_IDS;

    *out_fd = -1;
    if (lane->secrets == NULL) /* and perhaps no image either */
        return FAAS_OK;
    return secret_files_mount(lane->secrets, first + lane->image->config.uid,
                              first + lane->image->config.gid, out_fd, err);
}

static faas_code order_lane(struct lane *lane, int control, faas_err *err)
{
    int fds[2 + CGROUP_DIRS + 2] = {control, lane->nt->filter}, procs[CGROUP_DIRS];
    size_t groups = cgroup_procs(lane->group, procs), len = 0;
    FAAS_AUTO(char) *packet = NULL;
    struct nursery_order order = {.fds = fds, .fd_count = 2 + groups, .made = on_made, .arg = lane};

    int secrets = -1;
    faas_code rc;

    FAAS_TRY(check_image(lane, err));
    memcpy(fds + 2, procs, groups * sizeof *fds);
    if (lane->key.has_network)
        fds[order.fd_count++] = lane->network;
    packet = make_packet(lane, groups, &len);
    if (packet == NULL)
        return faas_fail_sys(err, ENOMEM, "lane");
    FAAS_TRY(make_secrets(lane, &secrets, err));
    if (secrets >= 0)
        fds[order.fd_count++] = secrets;
    order.data = packet;
    order.len = len;
    rc = nursery_make(lane->nt->nursery, &order, err);
    if (secrets >= 0)
        close(secrets);
    lane->secret_bytes = rc == FAAS_OK ? secret_set_bytes(lane->secrets) : 0;
    secret_set_unref(lane->secrets); /* the lane's own, now */
    lane->secrets = NULL;
    return rc;
}

static faas_code order_with_socket(struct lane *lane, faas_err *err)
{
    int pair[2], size = SEND_BUFFER;
    faas_code rc;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return faas_fail_sys(err, errno, "socket of a lane");
    lane->control = pair[0];
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    rc = fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0 ? order_lane(lane, pair[1], err)
                                                  : faas_fail_sys(err, errno, "socket of a lane");
    close(pair[1]);
    return rc;
}

/* Its network is there: now the lane itself. */
static void on_network(void *arg, const struct zy_reply *reply, int take_fd)
{
    const struct zy_reply failed = {.step = ZY_STEP_CLONE, .error = EAGAIN};
    struct lane *lane = arg;
    faas_err err = {0};

    if (reply->step != ZY_STEP_NONE || take_fd < 0) {
        lane_cannot_be_made(lane, reply);
        return;
    }
    lane->network = take_fd;
    if (order_with_socket(lane, &err) != FAAS_OK)
        lane_cannot_be_made(lane, &failed);
    close(lane->network);
    lane->network = -1;
}

faas_code lane_begin(struct lane *lane, faas_err *err)
{
    const struct cgroup_limits limits = {
        .memory_bytes =
            (lane->key.memory_mb * MIB > MEMORY_MIN ? lane->key.memory_mb * MIB : MEMORY_MIN) +
            MEMORY_OWN,
        .pids = lane->key.pids + PIDS_OWN + (lane->key.is_warm ? 1 : 0),
        .cpus = lane->key.cpus,
    };

    FAAS_TRY(cgroups_take(lane->nt->groups, &limits, &lane->group, err));
    return lane->key.has_network ? outbound_make(lane->nt, lane->slot, on_network, lane, err)
                                 : order_with_socket(lane, err);
}
