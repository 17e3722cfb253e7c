#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cgroup_files.h"
#include "cgroup_v2.h"

#define TABLE_MAX    (256 * 1024)
#define PERIOD_US    100000 /* of cpu limits */
#define QUOTA_MIN_US 1000
#define POOL_MAX     64 /* groups kept for reuse */
#define SWEEP_MS     5000
#define NAME_MAX_LEN 64

struct base { /* our group in one hierarchy */
    int fd;
    unsigned controllers;
    bool is_v2;
};
struct cgroup {
    struct cgroups *all;
    struct cgroup_limits limits; /* as written; all 0: never */
    char name[24];
    int dirs[CGROUP_DIRS], procs[CGROUP_DIRS];
    int events; /* where memory kills are counted; -1 */
    SLIST_ENTRY(cgroup) link;
};
struct cgroups {
    char name[NAME_MAX_LEN];
    struct base bases[CGROUP_DIRS];
    char parents[CGROUP_DIRS][CGROUP_PATH_MAX]; /* to remove our own groups again */
    size_t base_count, taken, pooled;
    unsigned has, next;
    SLIST_HEAD(, cgroup) pool;
};

/* ---- killing ---- */

static bool is_listed(int dir, pid_t pid)
{
    FAAS_AUTO(char) *text = cgroup_list(dir);
    pid_t found = -1;

    for (const char *at = text; at != NULL && (found = cgroup_next(&at)) >= 0;)
        if (found == pid)
            return true;
    return false;
}

static void kill_one(int dir, pid_t pid, cgroup_killed *killed, void *arg)
{
    int fd = pidfd_open(pid, 0);

    if (fd < 0)
        return;
    if (is_listed(dir, pid) && pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0 && killed != NULL)
        killed(arg, fd);
    else
        close(fd);
}

static size_t kill_listed(int dir, cgroup_killed *killed, void *arg)
{
    FAAS_AUTO(char) *text = cgroup_list(dir);
    const char *at = text;
    size_t count = 0;

    if (text == NULL)
        return 1; /* not known to be empty */
    for (pid_t pid; (pid = cgroup_next(&at)) >= 0; count++)
        kill_one(dir, pid, killed, arg);
    return count;
}

size_t cgroup_kill(const struct cgroup *group, cgroup_killed *killed, void *arg)
{
    return group->all->base_count > 0 ? kill_listed(group->dirs[0], killed, arg) : 0;
}

size_t cgroup_count(const struct cgroup *group)
{
    FAAS_AUTO(char) *text = group->all->base_count > 0 ? cgroup_list(group->dirs[0]) : NULL;
    const char *at = text;
    size_t count = 0;

    while (text != NULL && cgroup_next(&at) >= 0)
        count++;
    return count;
}

/* ---- one group ---- */

static void group_close(struct cgroup *group)
{
    for (size_t i = 0; i < CGROUP_DIRS; i++) {
        if (group->procs[i] >= 0)
            close(group->procs[i]);
        if (group->dirs[i] >= 0)
            close(group->dirs[i]);
    }
    if (group->events >= 0)
        close(group->events);
}

static void group_free(struct cgroup *group)
{
    const struct cgroups *all = group->all;

    group_close(group);
    for (size_t i = 0; i < all->base_count; i++)
        if (unlinkat(all->bases[i].fd, group->name, AT_REMOVEDIR) != 0 && errno != ENOENT)
            FAAS_LOG(WARN, "a control group stays", FAAS_LSTR("group", group->name),
                     FAAS_LSTR("why", strerror(errno)));
    free(group);
}

static int group_open(struct cgroup *group, size_t i)
{
    const struct base *base = &group->all->bases[i];

    if (mkdirat(base->fd, group->name, 0755) != 0 && errno != EEXIST)
        return -1;
    group->dirs[i] = cgroup_dir(base->fd, group->name);
    if (group->dirs[i] < 0)
        return -1;
    group->procs[i] = openat(group->dirs[i], "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if ((base->controllers & CGROUP_MEMORY) != 0)
        group->events = openat(group->dirs[i], base->is_v2 ? "memory.events" : "memory.oom_control",
                               O_RDONLY | O_CLOEXEC);
    return group->procs[i] >= 0 ? 0 : -1;
}

static faas_code group_new(struct cgroups *all, struct cgroup **out_group, faas_err *err)
{
    struct cgroup *group = calloc(1, sizeof *group);

    if (group == NULL)
        return faas_fail_sys(err, ENOMEM, "control group");
    group->all = all;
    group->events = -1;
    for (size_t i = 0; i < CGROUP_DIRS; i++)
        group->dirs[i] = group->procs[i] = -1;
    (void)snprintf(group->name, sizeof group->name, "lane-%u", all->next++);
    for (size_t i = 0; i < all->base_count; i++) {
        if (group_open(group, i) != 0) {
            int error = errno;

            group_free(group);
            return faas_fail_sys(err, error, "make a control group");
        }
    }
    *out_group = group;
    return FAAS_OK;
}

/* v2 takes a limit below what is in use, and would kill the next process for it; v1 refuses. */
static int limit_memory_v2(int dir, int64_t bytes, const char *text)
{
    char used[32];
    int rc;

    (void)cgroup_write(dir, "memory.swap.max", "0"); /* absent without swap */
    rc = cgroup_write(dir, "memory.max", text);
    if (rc == 0 && cgroup_read(dir, "memory.current", used, sizeof used) > 0 &&
        strtoll(used, NULL, 10) > bytes)
        return -EBUSY;
    return rc;
}

/* Memory with swap may not be less than memory: lifted first, set last. */
static int limit_memory(int dir, bool is_v2, int64_t bytes)
{
    char text[32];
    int rc;

    (void)snprintf(text, sizeof text, "%" PRId64, bytes);
    if (is_v2)
        return limit_memory_v2(dir, bytes, text);
    (void)cgroup_write(dir, "memory.memsw.limit_in_bytes", "-1");
    rc = cgroup_write(dir, "memory.limit_in_bytes", text);
    if (rc == 0)
        (void)cgroup_write(dir, "memory.memsw.limit_in_bytes",
                           text); /* absent without swap accounting */
    return rc;
}

static int limit_pids(int dir, int64_t pids)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%" PRId64, pids);
    return cgroup_write(dir, "pids.max", text);
}

static int limit_cpu(int dir, bool is_v2, double cpus)
{
    int64_t quota = (int64_t)(cpus * PERIOD_US);
    char text[64];

    if (quota < QUOTA_MIN_US)
        quota = QUOTA_MIN_US;
    (void)snprintf(text, sizeof text, is_v2 ? "%" PRId64 " %d" : "%" PRId64, quota, PERIOD_US);
    return cgroup_write(dir, is_v2 ? "cpu.max" : "cpu.cfs_quota_us", text);
}

static faas_code group_limit(struct cgroup *group, const struct cgroup_limits *to, faas_err *err)
{
    struct cgroup_limits *now = &group->limits;

    for (size_t i = 0; i < group->all->base_count; i++) {
        const struct base *base = &group->all->bases[i];
        int rc = 0;

        if ((base->controllers & CGROUP_MEMORY) != 0 && now->memory_bytes != to->memory_bytes)
            rc = limit_memory(group->dirs[i], base->is_v2, to->memory_bytes);
        if (rc == 0 && (base->controllers & CGROUP_PIDS) != 0 && now->pids != to->pids)
            rc = limit_pids(group->dirs[i], to->pids);
        if (rc == 0 && (base->controllers & CGROUP_CPU) != 0 && !(now->cpus == to->cpus))
            rc = limit_cpu(group->dirs[i], base->is_v2, to->cpus);
        if (rc != 0) {
            memset(now, 0, sizeof *now);
            return faas_fail_sys(err, -rc, "limits of a control group");
        }
    }
    *now = *to;
    return FAAS_OK;
}

size_t cgroup_procs(const struct cgroup *group, int out_fds[CGROUP_DIRS])
{
    memcpy(out_fds, group->procs, sizeof group->procs);
    return group->all->base_count;
}

int64_t cgroup_oom_kills(const struct cgroup *group)
{
    static const char key[] = "\noom_kill ";
    char text[512] = "\n";
    const char *at;

    if (group->events < 0 || cgroup_read_fd(group->events, text + 1, sizeof text - 1) < 0)
        return 0;
    at = strstr(text, key);
    return at != NULL ? strtoll(at + sizeof key - 1, NULL, 10) : 0;
}

/* ---- the pool ---- */

faas_code cgroups_take(struct cgroups *all, const struct cgroup_limits *limits,
                       struct cgroup **out_group, faas_err *err)
{
    struct cgroup *group = SLIST_FIRST(&all->pool);
    faas_code rc;

    if (group != NULL) {
        SLIST_REMOVE_HEAD(&all->pool, link);
        all->pooled--;
        if (group_limit(group, limits, err) == FAAS_OK) {
            all->taken++;
            *out_group = group;
            return FAAS_OK;
        }
        group_free(group); /* its memory is not given back yet: a new one */
    }
    FAAS_TRY(group_new(all, &group, err));
    rc = group_limit(group, limits, err);
    if (rc != FAAS_OK) {
        group_free(group);
        return rc;
    }
    all->taken++;
    *out_group = group;
    return FAAS_OK;
}

void cgroups_give(struct cgroup *group)
{
    struct cgroups *all = group->all;

    all->taken--;
    if (all->pooled >= POOL_MAX) {
        group_free(group);
        return;
    }
    SLIST_INSERT_HEAD(&all->pool, group, link);
    all->pooled++;
}

size_t cgroups_count(const struct cgroups *all)
{
    return all->taken;
}

unsigned cgroups_has(const struct cgroups *all)
{
    return all->has;
}

/* ---- opening ---- */

/* Until it is empty; false: something in it does not die. */
static bool empty_dir(int dir)
{
    uint64_t deadline = faas_deadline_in_ms(SWEEP_MS);
    size_t left;

    while ((left = kill_listed(dir, NULL, NULL)) > 0 && faas_left_ms(deadline) > 0)
        (void)poll(NULL, 0, 5); /* a killed process leaves when it is scheduled; nothing tells */
    return left == 0;
}

/* name: of the base, for the log. */
static void sweep_base(const struct base *base, const char *name)
{
    size_t count = 0;
    int copy = fcntl(base->fd, F_DUPFD_CLOEXEC, 0);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    const struct dirent *entry;

    if (dir == NULL) {
        if (copy >= 0)
            close(copy);
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        int fd = strncmp(entry->d_name, "lane-", 5) == 0 ? cgroup_dir(base->fd, entry->d_name) : -1;

        if (fd < 0)
            continue;
        count++;
        if (!empty_dir(fd) || unlinkat(base->fd, entry->d_name, AT_REMOVEDIR) != 0)
            FAAS_LOG(ERROR, "a control group of an earlier spawner cannot be removed",
                     FAAS_LSTR("group", entry->d_name));
        close(fd);
    }
    closedir(dir);
    if (count > 0)
        FAAS_LOG(WARN, "removed what an earlier spawner left", FAAS_LSTR("of", name),
                 FAAS_LINT("groups", (int64_t)count));
}

static bool add_base(struct cgroups *all, const char *parent, unsigned controllers, bool is_v2)
{
    struct base *base = &all->bases[all->base_count];
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    base->fd = -1;
    if (fd >= 0 && (mkdirat(fd, all->name, 0755) == 0 || errno == EEXIST))
        base->fd = cgroup_dir(fd, all->name);
    if (fd >= 0)
        close(fd);
    if (base->fd < 0)
        return false;
    (void)snprintf(all->parents[all->base_count], CGROUP_PATH_MAX, "%s", parent);
    base->controllers = is_v2 ? cgroup_v2_hand_on(base->fd, controllers) : controllers;
    base->is_v2 = is_v2;
    all->has |= base->controllers;
    all->base_count++;
    sweep_base(base, parent);
    return true;
}

static void add_v2(struct cgroups *all, struct cgroup_place *place)
{
    unsigned needs = CGROUP_ALL & ~all->has, has, above;
    const char *parent = place->own;

    cgroup_v2_whole(place->own);
    has = cgroup_v2_divide(place->own, strcmp(place->own, place->top) == 0, needs);
    if (has != needs && strcmp(place->own, place->top) != 0) {
        above = cgroup_v2_divide(place->top, true, needs);
        if (above == needs || (has == 0 && above != 0)) {
            cgroup_v2_unite(place->own);
            parent = place->top;
            has = above;
        }
    }
    if (has != 0)
        (void)add_base(all, parent, has, true);
}

static faas_code read_table(const char *path, char **out_text, faas_err *err)
{
    FAAS_AUTO(char) *text = malloc(TABLE_MAX);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
    size_t len;

    if (text == NULL || file == NULL) {
        if (file != NULL)
            (void)fclose(file);
        else if (fd >= 0)
            close(fd);
        return faas_fail_sys(err, text == NULL ? ENOMEM : errno, "%s", path);
    }
    len = fread(text, 1, TABLE_MAX - 1, file);
    text[len] = '\0';
    (void)fclose(file);
    *out_text = FAAS_STEAL(text);
    return FAAS_OK;
}

faas_code cgroups_open(const char *name, struct cgroups **out_groups, faas_err *err)
{
    FAAS_AUTO(char) *mounts = NULL, *membership = NULL;
    struct cgroup_places places;
    struct cgroups *all;

    FAAS_TRY(read_table("/proc/self/mountinfo", &mounts, err));
    FAAS_TRY(read_table("/proc/self/cgroup", &membership, err));
    all = calloc(1, sizeof *all);
    if (all == NULL)
        return faas_fail_sys(err, ENOMEM, "control groups");
    SLIST_INIT(&all->pool);
    (void)snprintf(all->name, sizeof all->name, "%s", name);
    cgroup_find(mounts, membership, &places);
    for (size_t i = 0; i < places.v1_count; i++) {
        const struct cgroup_place *place = &places.v1[i];

        if (!add_base(all, place->own, place->controllers, false))
            (void)add_base(all, place->top, place->controllers, false);
    }
    if (places.has_v2 && all->base_count < CGROUP_DIRS && all->has != CGROUP_ALL)
        add_v2(all, &places.v2);
    *out_groups = all;
    return FAAS_OK;
}

void cgroups_close(struct cgroups *all)
{
    struct cgroup *group;

    if (all == NULL)
        return;
    while ((group = SLIST_FIRST(&all->pool)) != NULL) {
        SLIST_REMOVE_HEAD(&all->pool, link);
        group_free(group);
    }
    for (size_t i = 0; i < all->base_count; i++) {
        int parent = open(all->parents[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        close(all->bases[i].fd);
        if (parent >= 0) {
            (void)unlinkat(parent, all->name, AT_REMOVEDIR); /* stays when a lane would not die */
            close(parent);
            if (all->bases[i].is_v2)
                cgroup_v2_unite(all->parents[i]);
        }
    }
    free(all);
}
