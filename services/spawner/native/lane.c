/* lane.c - lanes: made, lent to one call after the other, ended. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "native.h"
#include "services/spawner/zygote/packet.h"

#define IDLE_MAX   256
#define RETRY_S    0.02
#define GENTLE_MS  1000 /* then it is killed */
#define GIVE_UP_MS 30000
#define SLOT_BITS  64

/* ---- what it holds ---- */

static bool take_slot(struct native *nt, unsigned *out_slot)
{
    for (unsigned i = 0; i < SHARE_LANES; i++) {
        uint64_t bit = UINT64_C(1) << (i % SLOT_BITS);

        if ((nt->slots[i / SLOT_BITS] & bit) == 0) {
            nt->slots[i / SLOT_BITS] |= bit;
            *out_slot = i;
            return true;
        }
    }
    return false;
}

static void give_slot(struct native *nt, unsigned slot)
{
    nt->slots[slot / SLOT_BITS] &= ~(UINT64_C(1) << (slot % SLOT_BITS));
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Nothing of it runs and nothing is under way. */
static void lane_free(struct lane *lane)
{
    struct native *nt = lane->nt;

    ev_io_stop(nt->ev, &lane->control_io);
    ev_io_stop(nt->ev, &lane->pid_io);
    ev_timer_stop(nt->ev, &lane->retry);
    if (lane->control >= 0)
        close(lane->control);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(lane->strays); i++)
        close_fd(&lane->strays[i]);
    for (int i = 0; i < 2; i++) {
        close_fd(&lane->out[i]);
        close_fd(&lane->err[i]);
    }
    if (lane->group != NULL)
        cgroups_give(lane->group);
    give_slot(nt, lane->slot);
    image_release(lane->image);
    secret_set_unref(lane->secrets);
    TAILQ_REMOVE(&nt->lanes, lane, link);
    nt->lane_count--;
    free(lane);
}

/* ---- its end ---- */

/* A process that was killed in the group.  Reaped later when it is a child of ours. */
static void keep_stray(void *arg, int take_pidfd)
{
    struct lane *lane = arg;
    siginfo_t info = {0};

    if (waitid(P_PIDFD, (id_t)take_pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0)
        for (size_t i = 0; i < FAAS_ARRAY_LEN(lane->strays); i++)
            if (lane->strays[i] < 0) {
                lane->strays[i] = take_pidfd;
                return;
            }
    close(take_pidfd);
}

static bool has_strays(struct lane *lane)
{
    bool has = false;

    for (size_t i = 0; i < FAAS_ARRAY_LEN(lane->strays); i++) {
        siginfo_t info = {0};

        if (lane->strays[i] < 0)
            continue;
        if (waitid(P_PIDFD, (id_t)lane->strays[i], &info, WEXITED | WNOHANG) == 0 &&
            info.si_pid == 0) {
            has = true;
            continue;
        }
        close(lane->strays[i]);
        lane->strays[i] = -1;
    }
    return has;
}

static void kill_zygote(struct lane *lane)
{
    if (lane->has_zygote)
        (void)pidfd_send_signal(lane->pidfd, SIGKILL, NULL, 0);
}

void lane_end(struct lane *lane, bool is_rough)
{
    struct native *nt = lane->nt;

    lane->is_broken = true;
    if (lane->state == LANE_MAKING || lane->state == LANE_ENDING)
        return; /* ends as soon as it is made; ends already */
    if (lane->state == LANE_IDLE) {
        TAILQ_REMOVE(&nt->idle, lane, idle);
        nt->idle_count--;
    }
    lane->state = LANE_ENDING;
    lane->since_ns = faas_now_ns();
    lane->is_rough = is_rough;
    if (is_rough) {
        kill_zygote(lane);
        /* Before the socket closes: a sandbox that ends by that, unseen, could not be reaped. */
        (void)cgroup_kill(lane->group, keep_stray, lane);
    }
    if (lane->control >= 0)
        (void)shutdown(lane->control, SHUT_WR);
    ev_timer_again(nt->ev, &lane->retry);
}

static bool is_known(const struct native *nt, pid_t pid)
{
    const struct lane *lane;
    const struct rt_call *call;

    TAILQ_FOREACH (lane, &nt->lanes, link)
        if ((lane->has_zygote && lane->pid == pid) || (lane->first >= 0 && lane->first_pid == pid))
            return true;
    LIST_FOREACH (call, &nt->calls, link)
        if (call->pidfd >= 0 && call->pid == pid)
            return true;
    return false;
}

/* A child with ids of our lanes that nobody waits for. */
static void reap_unknown(const struct native *nt, pid_t pid)
{
    uint32_t first = nt->share.first_id;
    char path[32];
    struct stat st;

    (void)snprintf(path, sizeof path, "/proc/%d", (int)pid);
    if (!is_known(nt, pid) && stat(path, &st) == 0 && st.st_uid >= first &&
        st.st_uid < first + SHARE_LANES * ZY_IDS)
        (void)waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOHANG);
}

/* A zygote that was killed has not told of its last sandbox, which may have ended since. */
static void reap_untold(const struct native *nt)
{
    FILE *children = fopen("/proc/thread-self/children", "re");
    int pid;

    if (children == NULL)
        return;
    while (fscanf(children, "%d", &pid) == 1)
        reap_unknown(nt, pid);
    (void)fclose(children);
}

static void lane_gone(struct lane *lane)
{
    struct rt_call *call = lane->call;

    if (lane->is_rough)
        reap_untold(lane->nt);
    lane_free(lane);
    if (call != NULL)
        call_lane_gone(call);
}

static void on_retry(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct lane *lane = timer->data;
    uint64_t age_ms = (faas_now_ns() - lane->since_ns) / FAAS_MS_NS;

    (void)ev, (void)events;
    if (age_ms > GENTLE_MS) {
        lane->is_rough = true;
        kill_zygote(lane);
    }
    if (age_ms > GIVE_UP_MS && timer->repeat < 1.0) {
        FAAS_LOG(ERROR, "a sandbox does not end", FAAS_LSTR("tenant", lane->key.tenant));
        timer->repeat = 1.0; /* its ids and group stay taken until it does */
        ev_timer_again(ev, timer);
    }
    lane_maybe_gone(lane);
}

void lane_broken(struct lane *lane)
{
    lane->is_broken = true;
    if (lane->state == LANE_IDLE || lane->state == LANE_WARMING ||
        (lane->state == LANE_BUSY && lane->call->stage == STAGE_START))
        lane_end(lane, true);
}

/* ---- what the zygote says ---- */

static void take_reply(struct lane *lane, const struct zy_reply *reply, int pidfd)
{
    if (lane->key.is_warm) {
        warm_reply(lane, reply, pidfd);
        return;
    }
    if (reply->step != ZY_STEP_NONE && reply->step <= ZY_STEP_LAST_OF_LANE)
        lane->is_broken = true;
    lane->is_parked = false;
    if (lane->state == LANE_BUSY && lane->call->stage == STAGE_START) {
        call_began(lane->call, reply, pidfd);
        return;
    }
    if (pidfd >= 0) /* a sandbox that waited and died, or was sent away */
        keep_stray(lane, pidfd);
    lane_broken(lane);
}

/* False: nothing more to read. */
static bool read_reply(struct lane *lane)
{
    struct zy_reply reply;
    int pidfd = -1;
    size_t count = 1;
    ssize_t len = zy_receive(lane->control, &reply, sizeof reply, &pidfd, &count);

    if (len < 0 && errno == EAGAIN)
        return false;
    if (len == (ssize_t)sizeof reply) {
        take_reply(lane, &reply, count > 0 ? pidfd : -1);
        return true;
    }
    if (len > 0 && count > 0)
        close(pidfd);
    ev_io_stop(lane->nt->ev, &lane->control_io);
    close(lane->control);
    lane->control = -1;
    lane_broken(lane);
    return false;
}

static void on_control(struct ev_loop *ev, ev_io *io, int events)
{
    struct lane *lane = io->data;

    (void)ev, (void)events;
    (void)read_reply(lane);
    if (lane->state == LANE_ENDING)
        lane_maybe_gone(lane);
}

static void on_pid(struct ev_loop *ev, ev_io *io, int events)
{
    struct lane *lane = io->data;

    (void)events;
    ev_io_stop(ev, io);
    (void)waitid(P_PIDFD, (id_t)lane->pidfd, &(siginfo_t){0}, WEXITED | WNOHANG);
    close(lane->pidfd);
    lane->pidfd = -1;
    lane->has_zygote = false;
    while (lane->control >= 0 && read_reply(lane))
        ;
    lane_broken(lane);
    if (lane->state == LANE_ENDING)
        lane_maybe_gone(lane);
}

void lane_maybe_gone(struct lane *lane)
{
    if (lane->has_zygote || lane->first >= 0)
        return;
    while (lane->control >= 0 && read_reply(lane))
        ;
    if (has_strays(lane) || cgroup_kill(lane->group, NULL, NULL) > 0)
        return; /* looked at again soon */
    lane_gone(lane);
}

/* ---- its beginning ---- */

faas_code lane_new(struct native *nt, const struct lane_key *key, const struct lane_parts *parts,
                   struct lane **out_lane, faas_err *err)
{
    struct lane *lane = calloc(1, sizeof *lane);
    faas_code rc;

    if (lane == NULL)
        return faas_fail_sys(err, ENOMEM, "lane");
    if (!take_slot(nt, &lane->slot)) {
        free(lane);
        lanes_tidy(nt, true);
        return faas_fail_busy(err, 1, "all %d sandboxes of this machine are in use", SHARE_LANES);
    }
    lane->nt = nt;
    lane->key = *key;
    lane->image = parts->image != NULL ? image_ref(parts->image) : NULL;
    lane->secrets = secret_set_ref(parts->secrets);
    lane->control = lane->pidfd = lane->network = -1;
    lane->out[0] = lane->out[1] = lane->err[0] = lane->err[1] = -1;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(lane->strays); i++)
        lane->strays[i] = -1;
    ev_init(&lane->control_io, on_control);
    ev_init(&lane->pid_io, on_pid);
    ev_init(&lane->retry, on_retry);
    warm_init(lane);
    lane->retry.repeat = RETRY_S;
    lane->control_io.data = lane->pid_io.data = lane->retry.data = lane;
    TAILQ_INSERT_TAIL(&nt->lanes, lane, link);
    nt->lane_count++;
    rc = lane_begin(lane, err);
    if (rc != FAAS_OK) {
        lane_free(lane);
        return rc;
    }
    *out_lane = lane;
    return FAAS_OK;
}

/* ---- its use ---- */

faas_code lane_key_of(const struct rt_spec *spec, struct lane_key *key, faas_err *err)
{
    const struct rt_image *image = &spec->image;

    memset(key, 0, sizeof *key);
    (void)snprintf(key->tenant, sizeof key->tenant, "%s", spec->tenant);
    key->memory_mb = spec->memory_mb;
    key->pids = spec->pids;
    key->tmp_mb = spec->tmp_mb;
    key->cpus = spec->cpus;
    key->is_warm = spec->is_slot;
    key->has_network = spec->has_network;
    if (spec->secrets != NULL)
        (void)snprintf(key->secrets, sizeof key->secrets, "%s", spec->secrets->id);
    if (spec->is_slot)
        (void)snprintf(key->function, sizeof key->function, "%s", spec->function);
    if (image->kind == NULL)
        return FAAS_OK;
    if (strcmp(image->kind, "store") != 0 || strlen(image->value) >= sizeof key->image)
        return faas_fail(err, FAAS_INVALID, "an image of kind \"%s\" cannot run in a sandbox",
                         image->kind);
    (void)snprintf(key->image, sizeof key->image, "%s", image->value);
    return FAAS_OK;
}

struct lane *lane_find(struct native *nt, const struct lane_key *key)
{
    struct lane *lane;

    TAILQ_FOREACH (lane, &nt->idle, idle)
        if (memcmp(&lane->key, key, sizeof *key) == 0)
            break;
    if (lane == NULL)
        return NULL;
    TAILQ_REMOVE(&nt->idle, lane, idle);
    nt->idle_count--;
    lane->state = LANE_BUSY;
    return lane;
}

bool lane_pipe(const struct lane *lane, int pair[2], int mine)
{
    const struct image_config *config = &lane->image->config;
    uint32_t first = lane->nt->share.first_id + lane->slot * ZY_IDS;

    if (pipe2(pair, O_CLOEXEC) != 0) {
        pair[0] = pair[1] = -1;
        return false;
    }
    return fcntl(pair[mine], F_SETFL, O_NONBLOCK) == 0 &&
           fchown(pair[mine], first + config->uid, first + config->gid) == 0;
}

static bool has_pipes(struct lane *lane)
{
    return (lane->out[0] >= 0 || lane_pipe(lane, lane->out, 0)) &&
           (lane->err[0] >= 0 || lane_pipe(lane, lane->err, 0));
}

static bool park(struct lane *lane)
{
    static const char word = ZY_MAKE;
    const int theirs[2] = {lane->out[1], lane->err[1]};

    if (lane->is_parked)
        return true;
    lane->is_parked = zy_send(lane->control, &word, 1, theirs, 2) == 0;
    close_fd(&lane->out[1]);
    close_fd(&lane->err[1]);
    return lane->is_parked;
}

bool lane_care(struct lane *lane)
{
    if (lane->is_used) {
        lane->is_used = false;
        lane->oom_kills = cgroup_oom_kills(lane->group);
    }
    return has_pipes(lane) && (lane->key.is_warm || !lane->nt->conf.is_parked || park(lane));
}

/* A call's end is told first. */
void lanes_care(struct native *nt)
{
    struct lane *lane, *next;

    for (lane = TAILQ_FIRST(&nt->idle); lane != NULL; lane = next) {
        next = TAILQ_NEXT(lane, idle);
        if (lane->is_used && !lane_care(lane))
            lane_end(lane, true);
    }
}

/* Files of secrets are memory of this process's group that nothing gives back but the lane's end. */
static void bound_secrets(struct native *nt)
{
    struct lane *lane, *next;
    size_t bytes = 0;

    for (lane = TAILQ_FIRST(&nt->idle); lane != NULL; lane = next) {
        next = TAILQ_NEXT(lane, idle);
        bytes += lane->secret_bytes;
        if (lane->secret_bytes > 0 && bytes > nt->conf.secret_bytes)
            lane_end(lane, false);
    }
}

void lane_release(struct lane *lane)
{
    struct native *nt = lane->nt;

    lane->call = NULL;
    if (lane->is_broken || lane->is_outdated || lane->image == NULL) {
        lane_end(lane, lane->is_broken);
        return;
    }
    lane->state = LANE_IDLE;
    lane->is_used = true;
    lane->is_cleaned = false;
    lane->is_parked = lane->key.is_warm;
    lane->since_ns = faas_now_ns();
    TAILQ_INSERT_HEAD(&nt->idle, lane, idle);
    if (++nt->idle_count > IDLE_MAX)
        lane_end(TAILQ_LAST(&nt->idle, lane_list), false);
    if (lane->secret_bytes > 0)
        bound_secrets(nt);
    ev_prepare_start(nt->ev, &nt->care);
}

/* To a sandbox that is kept: all descriptors with the order. */
static bool order_kept(struct lane *lane, const struct order *order, int input)
{
    const int fds[3] = {lane->out[1], lane->err[1], input};
    bool is_sent = zy_send(lane->control, order->data, order->len, fds, input >= 0 ? 3 : 2) == 0;

    close_fd(&lane->out[1]);
    close_fd(&lane->err[1]);
    return is_sent;
}

bool lane_order(struct lane *lane, const struct order *order, int input)
{
    if (lane->key.is_warm)
        return lane_care(lane) && order_kept(lane, order, input);
    return lane_care(lane) && park(lane) &&
           zy_send(lane->control, order->data, order->len, &input, input >= 0 ? 1 : 0) == 0;
}

/* What the last call left in /tmp goes, though no next call comes. */
static void clean(struct lane *lane)
{
    static const char word = ZY_CLEAN;

    if (!lane->is_parked && !lane->is_cleaned)
        (void)send(lane->control, &word, 1, MSG_NOSIGNAL);
    lane->is_cleaned = true;
}

void lanes_tidy(struct native *nt, bool is_all)
{
    uint64_t now = faas_now_ns(), keep_ns = (uint64_t)nt->conf.idle_ms * FAAS_MS_NS;
    struct lane *lane;

    while ((lane = TAILQ_LAST(&nt->idle, lane_list)) != NULL &&
           (is_all || now - lane->since_ns > keep_ns))
        lane_end(lane, false);
    TAILQ_FOREACH (lane, &nt->idle, idle)
        clean(lane);
}

/* Others have what was theirs; a call that runs keeps what it began with, and its lane ends with it. */
void lanes_secret_changed(struct native *nt, const char *tenant)
{
    struct lane *lane, *next;

    for (lane = TAILQ_FIRST(&nt->lanes); lane != NULL; lane = next) {
        next = TAILQ_NEXT(lane, link);
        if (lane->key.secrets[0] == '\0' || strcmp(lane->key.tenant, tenant) != 0)
            continue;
        if (lane->state == LANE_IDLE)
            lane_end(lane, false);
        else
            lane->is_outdated = true;
    }
}

void lanes_drop(struct native *nt)
{
    struct lane *lane;

    while ((lane = TAILQ_FIRST(&nt->lanes)) != NULL) {
        if (lane->state == LANE_IDLE)
            TAILQ_REMOVE(&nt->idle, lane, idle);
        kill_zygote(lane);
        if (lane->pidfd >= 0)
            close(lane->pidfd);
        ev_io_stop(nt->ev, &lane->first_io);
        close_fd(&lane->first);
        if (lane->group != NULL)
            (void)cgroup_kill(lane->group, NULL, NULL);
        lane_free(lane);
    }
}
