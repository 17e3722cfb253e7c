#include "lane.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "barrier.h"
#include "sandbox.h"

#define HOST_NAME   "function"
#define FILE_MASK   022
#define LAST_CAP    63
#define MIB         (1024UL * 1024)
#define FILTER_MAX  4096
#define NUMBER_TEXT 8
#define BOTTOM      "bottom" /* the lowest layer, ours */
#define PROC_FLAGS  (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define SYS_FLAGS   (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
#define DEV_FLAGS   (MS_NOSUID | MS_NOEXEC | MS_RDONLY)

/* What the new process says to the nursery: "map my ids", then how it ended up. */
struct word {
    int32_t is_end;
    int32_t step, error;
};

/* ---- in the new process ---- */

/* The kernel lets a user namespace mount /proc only where one is visible already.  This one belongs
 * to a pid namespace that has ended: whoever sees it sees nobody. */
static int mount_empty_proc(void)
{
    int status = 0;
    pid_t helper = fork();

    if (helper == 0) {
        pid_t first;

        if (unshare(CLONE_NEWPID) != 0)
            _exit(1);
        first = fork();
        if (first == 0)
            _exit(mount("proc", "proc", "proc", PROC_FLAGS, "subset=pid") == 0 ? 0 : 1);
        if (first < 0 || waitpid(first, &status, 0) != first)
            _exit(1);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    if (helper < 0 || waitpid(helper, &status, 0) != helper)
        return -1;
    errno = EPERM;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* A layer as "NUMBER" in the working directory; owners: a user namespace, or -1. */
static int bind_layer(const char *path, const char *number, int owners)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    int tree = (int)syscall(SYS_open_tree, AT_FDCWD, path,
                            OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
    int rc = tree < 0 ? -1 : 0;

    if (owners >= 0) {
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = (unsigned)owners;
    }
    if (rc == 0)
        rc = (int)syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr);
    if (rc == 0 && mkdir(number, 0700) != 0)
        rc = -1;
    if (rc == 0)
        rc = (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, number, MOVE_MOUNT_F_EMPTY_PATH);
    if (tree >= 0)
        close(tree);
    return rc;
}

/* A folder and its missing parents, below the working directory, whatever the umask is. */
static int make_folders(char *path)
{
    for (char *at = path; *at != '\0';) {
        char *slash = at + strcspn(at, "/"), kept = *slash;
        int rc;

        *slash = '\0';
        rc = mkdir(path, 0755) == 0 ? chmod(path, 0755) : -1;
        *slash = kept;
        if (rc != 0 && errno != EEXIST)
            return -1;
        at = slash + (kept == '/' ? 1 : 0);
    }
    return 0;
}

static const char *const secret_paths[] = {ZY_SECRETS_PATH, ZY_SECRETS_ALIAS};

/* Where volumes and secrets go whose folders the image does not have; empty without any. */
static int make_bottom(const struct zy_lane *lane)
{
    char path[sizeof BOTTOM + ZY_VOLUME_BYTES + 1] = BOTTOM;
    int rc = make_folders(path);

    for (uint32_t i = 0; rc == 0 && i < lane->req.volumes; i++) {
        (void)snprintf(path, sizeof path, BOTTOM "%s", lane->volumes[i]);
        rc = make_folders(path);
    }
    for (size_t i = 0; rc == 0 && lane->secrets >= 0 && i < 2; i++) {
        (void)snprintf(path, sizeof path, BOTTOM "%s", secret_paths[i]);
        rc = make_folders(path);
    }
    return rc;
}

/* In the image's root, which is the working directory.  -1: it is not reached without a link. */
static int open_plain(const char *path)
{
    const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
                                            RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};

    return (int)syscall(SYS_openat2, AT_FDCWD, path + 1, &how, sizeof how);
}

static bool put_mount(int mount_fd, const char *path)
{
    int at = open_plain(path);
    bool is_there = at >= 0 && syscall(SYS_move_mount, mount_fd, "", at, "",
                                       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0;

    if (at >= 0)
        close(at);
    return is_there;
}

/* The second place is a courtesy: an image that has something else there keeps it. */
static enum zy_step mount_secrets(const struct zy_lane *lane)
{
    int copy;

    if (lane->secrets < 0)
        return ZY_STEP_NONE;
    if (!put_mount(lane->secrets, ZY_SECRETS_PATH))
        return ZY_STEP_SECRETS;
    copy = (int)syscall(SYS_open_tree, lane->secrets, "",
                        OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (copy < 0)
        return ZY_STEP_SECRETS;
    (void)put_mount(copy, ZY_SECRETS_ALIAS);
    close(copy);
    return ZY_STEP_NONE;
}

static enum zy_step check_volumes(const struct zy_lane *lane)
{
    for (uint32_t i = 0; i < lane->req.volumes; i++) {
        int fd = open_plain(lane->volumes[i]);

        if (fd < 0)
            return ZY_STEP_VOLUME;
        close(fd);
    }
    return ZY_STEP_NONE;
}

static enum zy_step mount_layers(const struct zy_lane *lane)
{
    char options[32 + ZY_LAYERS_MAX * NUMBER_TEXT] = "lowerdir=", number[NUMBER_TEXT];
    size_t used = strlen(options);

    if (mount("lane", lane->scratch, "tmpfs", PROC_FLAGS, "size=1m,mode=0700") != 0 ||
        chdir(lane->scratch) != 0 || mkdir("root", 0755) != 0)
        return ZY_STEP_ROOT;
    for (uint32_t i = 0; i < lane->req.layers; i++) {
        (void)snprintf(number, sizeof number, "%u", i);
        if (bind_layer(lane->layers[i], number, i == 0 ? -1 : lane->owners) != 0)
            return i == 0 ? ZY_STEP_ROOT : ZY_STEP_OWNERS;
        used += (size_t)snprintf(options + used, sizeof options - used, "%s%s", i > 0 ? ":" : "",
                                 number);
    }
    if (lane->req.layers == 1 || lane->req.volumes > 0 ||
        lane->secrets >= 0) { /* overlay wants two */
        if (make_bottom(lane) != 0)
            return ZY_STEP_ROOT;
        (void)snprintf(options + used, sizeof options - used, ":" BOTTOM);
    }
    return mount("image", "root", "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, options) == 0 &&
                   chdir("root") == 0
               ? ZY_STEP_NONE
               : ZY_STEP_ROOT;
}

/* The root is mounted in the scratch directory and becomes "/".  Its dev is the skeleton's, opaque,
 * so nothing of the image shows in it. */
static enum zy_step make_root(const struct zy_lane *lane)
{
    enum zy_step step;

    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return ZY_STEP_NAMESPACE;
    step = mount_layers(lane);
    if (step == ZY_STEP_NONE)
        step = check_volumes(lane);
    if (step == ZY_STEP_NONE)
        step = mount_secrets(lane);
    if (step != ZY_STEP_NONE)
        return step;
    if (mount("dev", "dev", NULL, MS_BIND, NULL) != 0 ||
        mount(NULL, "dev", NULL, MS_BIND | MS_REMOUNT | DEV_FLAGS, NULL) != 0)
        return ZY_STEP_DEV;
    if (mount_empty_proc() != 0)
        return ZY_STEP_PROC;
    if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
        return ZY_STEP_PIVOT;
    return ZY_STEP_NONE;
}

static enum zy_step raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;

    if (fd >= 0)
        close(fd);
    return is_up ? ZY_STEP_NONE : ZY_STEP_NETWORK;
}

/* The view of the groups begins at the lane's own: taken once it is in them. */
static enum zy_step join_groups(const struct zy_lane *lane)
{
    for (uint32_t i = 0; zy_has(ZY_BARRIER_GROUPS) && i < lane->req.groups; i++)
        if (write(lane->groups[i], "0", 1) != 1)
            return ZY_STEP_GROUP;
    return unshare(CLONE_NEWCGROUP) == 0 ? ZY_STEP_NONE : ZY_STEP_NAMESPACE;
}

/* The kernel's numbers: not by /proc/sys, which a container may have read-only.  -1, with errno. */
static int open_numbers(void)
{
    int fs = (int)syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC), proc = -1;

    if (fs >= 0 && syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        proc = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, SYS_FLAGS);
    if (fs >= 0)
        close(fs);
    return proc;
}

/* A kernel without what the number bounds has no file for it. */
static bool set_number(int proc, const char *name, const char *value)
{
    size_t len = strlen(value);
    int fd = openat(proc, name, O_WRONLY | O_CLOEXEC);
    bool is_done = fd >= 0 ? write(fd, value, len) == (ssize_t)len : errno == ENOENT;

    if (fd >= 0)
        close(fd);
    return is_done;
}

/* Calls of a lane share its ipc namespace, one after the other: so nothing can be made in it. */
static enum zy_step close_ipc(int proc)
{
    static const struct {
        const char *name, *value;
    } none[] = {{"sys/kernel/shmmni", "0"},
                {"sys/kernel/msgmni", "0"},
                {"sys/kernel/sem", "0 0 0 0"},
                {"sys/fs/mqueue/queues_max", "0"}};

    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        if (!set_number(proc, none[i].name, none[i].value))
            return ZY_STEP_IPC;
    return ZY_STEP_NONE;
}

/* Root of the namespace, but of nothing outside it.  The map can only be written from outside.  The
 * mounts from here on are the namespace's own, so that it may add to them. */
static enum zy_step enter_user_namespace(int nursery, int proc)
{
    struct word word = {.is_end = 0};

    if (unshare(CLONE_NEWUSER) != 0 || send(nursery, &word, sizeof word, MSG_NOSIGNAL) < 0 ||
        recv(nursery, &word, sizeof word, 0) != sizeof word || word.error != 0)
        return ZY_STEP_IDS;
    if (setgroups(0, NULL) != 0 || setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0)
        return ZY_STEP_IDS;
    if (!set_number(proc, "sys/user/max_user_namespaces", "0") || unshare(CLONE_NEWNS) != 0)
        return ZY_STEP_NAMESPACE;
    /* After the change of ids, which clears it. */
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 ? ZY_STEP_NONE : ZY_STEP_LIMITS;
}

/* Inherited by every call: nothing of it is paid for again. */
static enum zy_step set_limits(const struct zy_lane *lane)
{
    const rlim_t most = lane->req.tmp_mb > ZY_SHM_MB ? lane->req.tmp_mb : ZY_SHM_MB;
    const struct {
        int which;
        rlim_t value;
    } limits[] = {{RLIMIT_CORE, 0},
                  {RLIMIT_MEMLOCK, 0},
                  {RLIMIT_MSGQUEUE, 0},
                  {RLIMIT_NOFILE, lane->req.files},
                  {RLIMIT_FSIZE, most * MIB}};

    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const struct rlimit limit = {limits[i].value, limits[i].value};

        if (setrlimit((__rlimit_resource_t)limits[i].which, &limit) != 0)
            return ZY_STEP_LIMITS;
    }
    (void)umask(FILE_MASK); /* the spawner keeps its own files to itself */
    return sethostname(HOST_NAME, sizeof HOST_NAME - 1) == 0 ? ZY_STEP_NONE : ZY_STEP_LIMITS;
}

/* The zygote keeps the capabilities it has; no program can gain one. */
static enum zy_step close_rights(void)
{
    for (int cap = 0; cap <= LAST_CAP; cap++)
        if (prctl(PR_CAPBSET_DROP, cap) != 0) {
            if (errno == EINVAL)
                break; /* the kernel knows no more of them */
            return ZY_STEP_CAPS;
        }
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 &&
                   prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
               ? ZY_STEP_NONE
               : ZY_STEP_CAPS;
}

/* What calls may ask of the kernel. */
static enum zy_step load_filter(int fd)
{
    static struct sock_filter program[FILTER_MAX];
    struct sock_fprog loaded = {.filter = program};
    ssize_t len = pread(fd, program, sizeof program, 0);

    if (len <= 0 || (size_t)len % sizeof program[0] != 0)
        return ZY_STEP_FILTER;
    loaded.len = (unsigned short)((size_t)len / sizeof program[0]);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &loaded) == 0 ? ZY_STEP_NONE
                                                                          : ZY_STEP_FILTER;
}

static int enter_network(int network)
{
    if (!zy_has(ZY_BARRIER_NET))
        return 0;
    return network >= 0 ? setns(network, CLONE_NEWNET) : unshare(CLONE_NEWNET);
}

/* Only standard error, the sockets and /dev/null stay open. */
static enum zy_step become_zygote(const struct zy_lane *lane, int nursery, int *out_null)
{
    enum zy_step step;
    int proc;

    /* A session without a terminal, and a share of the processors, for all its calls. */
    if (setsid() < 0 || unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) != 0 ||
        enter_network(lane->network) != 0)
        return ZY_STEP_NAMESPACE;
    proc = open_numbers(); /* closed with all others, in keep_two */
    step = proc >= 0 ? close_ipc(proc) : ZY_STEP_PROC;
    if (step == ZY_STEP_NONE)
        step = make_root(lane);
    if (step == ZY_STEP_NONE)
        step = raise_loopback();
    if (step == ZY_STEP_NONE)
        step = join_groups(lane);
    if (step == ZY_STEP_NONE)
        step = set_limits(lane);
    if (step == ZY_STEP_NONE)
        step = zy_has(ZY_BARRIER_IDS) ? enter_user_namespace(nursery, proc) : ZY_STEP_NONE;
    if (step == ZY_STEP_NONE && zy_has(ZY_BARRIER_CAPS))
        step = close_rights();
    if (step != ZY_STEP_NONE)
        return step;
    *out_null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (*out_null < 0)
        return ZY_STEP_DEV;
    return zy_has(ZY_BARRIER_FILTER) ? load_filter(lane->filter) : ZY_STEP_NONE;
}

/* Keeps `control` and `null`, as 3 and 4; closes all others, the nursery's among them. */
static void keep_two(int control, int null)
{
    int high = fcntl(null, F_DUPFD_CLOEXEC, 5);

    if (dup3(control, 3, O_CLOEXEC) < 0 && errno != EINVAL)
        _exit(ZY_FAILED);
    if (high < 0 || dup3(high, 4, O_CLOEXEC) < 0)
        _exit(ZY_FAILED);
    (void)close_range(5, ~0U, 0);
    for (int i = 0; i < 3; i++)
        (void)dup2(4, i);
}

static void run_zygote(const struct zy_lane *lane, int nursery) __attribute__((noreturn));
static void run_zygote(const struct zy_lane *lane, int nursery)
{
    struct word end = {.is_end = 1};
    int null_fd = -1;

    end.step = (int32_t)become_zygote(lane, nursery, &null_fd);
    end.error = errno;
    (void)send(nursery, &end, sizeof end, MSG_NOSIGNAL);
    if (end.step != ZY_STEP_NONE)
        _exit(ZY_FAILED);
    keep_two(lane->control, null_fd);
    zy_serve(&(struct zy_setup){.control = 3,
                                .pass = lane->req.pass,
                                .null_fd = 4,
                                .uid = lane->req.uid,
                                .gid = lane->req.gid,
                                .pids = lane->req.pids + (lane->req.is_slot != 0 ? 1 : 0),
                                .tmp_mb = lane->req.tmp_mb,
                                .volumes = lane->volumes,
                                .volume_count = lane->req.volumes,
                                .is_slot = lane->req.is_slot != 0});
}

/* ---- in the nursery ---- */

static int write_map(int proc, const char *name, uint32_t inside, uint32_t outside)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%u %u %u\n", inside, outside, (unsigned)ZY_IDS);
    int fd = openat(proc, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd >= 0 && write(fd, text, (size_t)len) == len ? 0 : errno;

    if (fd >= 0)
        close(fd);
    return rc;
}

/* Of a process that is not reaped yet, so its number means itself.  0 or errno; out_ns may be NULL. */
static int map_ids(pid_t pid, uint32_t inside, uint32_t outside, int *out_ns)
{
    char path[32];
    int proc, rc;

    (void)snprintf(path, sizeof path, "/proc/%d", (int)pid);
    proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        return errno;
    rc = write_map(proc, "uid_map", inside, outside);
    if (rc == 0)
        rc = write_map(proc, "gid_map", inside, outside);
    if (rc == 0 && out_ns != NULL) {
        *out_ns = openat(proc, "ns/user", O_RDONLY | O_CLOEXEC);
        rc = *out_ns < 0 ? errno : 0;
    }
    close(proc);
    return rc;
}

/* A user namespace that says whose the files of a layer are: mounts take their maps from one. */
static int open_owners(uint32_t first)
{
    struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    int pair[2], ns = -1, rc;
    char word;
    long pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) {
        close(pair[0]);
        (void)recv(pair[1], &word, 1, 0); /* until the nursery has what it needs */
        _exit(0);
    }
    rc = pid < 0 ? errno : map_ids((pid_t)pid, ZY_OWNER_BASE, first, &ns);
    close(pair[0]);
    close(pair[1]);
    if (pid > 0)
        (void)waitpid((pid_t)pid, NULL, 0);
    errno = rc;
    return ns;
}

/* Answers the new process until it says how it ended up. */
static void await_zygote(int socket, uint32_t first, struct zy_reply *reply)
{
    struct word word;

    for (;;) {
        if (recv(socket, &word, sizeof word, 0) != sizeof word) {
            reply->step = ZY_STEP_CLONE;
            reply->error = EPIPE;
            return;
        }
        if (word.is_end != 0)
            break;
        word.error = map_ids(reply->pid, 0, first, NULL);
        (void)send(socket, &word, sizeof word, MSG_NOSIGNAL);
    }
    reply->step = word.step;
    reply->error = word.step != ZY_STEP_NONE ? word.error : 0;
}

static void start(const struct zy_lane *lane, struct zy_reply *reply, int *out_pidfd)
{
    struct clone_args args = {.flags = CLONE_PARENT | CLONE_PIDFD, .pidfd = (uintptr_t)out_pidfd};
    int pair[2];
    long pid;

    *reply = (struct zy_reply){.step = ZY_STEP_CLONE};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        reply->error = errno;
        return;
    }
    pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) {
        close(pair[0]);
        run_zygote(lane, pair[1]);
    }
    reply->error = pid < 0 ? errno : 0;
    close(pair[1]);
    if (pid > 0) {
        reply->pid = (int32_t)pid;
        await_zygote(pair[0], lane->req.first_id, reply);
    }
    close(pair[0]);
}

void zy_lane_start(struct zy_lane *lane, struct zy_reply *out_reply, int *out_pidfd)
{
    lane->owners = open_owners(lane->req.first_id);
    if (lane->owners < 0) {
        *out_reply = (struct zy_reply){.step = ZY_STEP_IDS, .error = errno};
        return;
    }
    start(lane, out_reply, out_pidfd);
    close(lane->owners);
}
