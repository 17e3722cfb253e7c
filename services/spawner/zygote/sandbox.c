#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "barrier.h"
#include "packet.h"
#include "slot.h"
#include "sys.h"

#define STACK_SIZE (16 * 1024)
#define PATH_ROOM  512
#define INODES_MAX 16384
#define MOUNT_SAFE (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct traces {
    uint64_t blocks, inodes; /* free */
    struct timespec modified, changed;
};
struct writable {
    const char *path;
    uint32_t mb;
    bool may_exec; /* what is in it, as in a volume of an engine's container */
    bool is_mounted;
    struct traces new;
};

/* The one sandbox of this zygote. */
static struct {
    struct zy_setup setup;
    struct writable writable[ZY_WRITABLE_MAX];
    size_t writable_count;
    int32_t step, error; /* how it failed; NONE: it did not, or was killed */
    void (*say_failure)(void);
    int output[2];          /* standard output and error to be */
    const char *cwd, *path; /* path: value of PATH */
    char *argv[ZY_STRINGS_MAX + 1];
    char *envp[ZY_STRINGS_MAX + 1];
    char packet[ZY_PACKET_MAX];
    unsigned char stack[STACK_SIZE] __attribute__((aligned(64)));
} box;

/* ---- in the sandbox ---- */

static void fail(enum zy_step step, long error) __attribute__((noreturn));
static void fail(enum zy_step step, long error)
{
    box.step = (int32_t)step;
    box.error = (int32_t)-error;
    if (box.say_failure != NULL)
        box.say_failure();
    (void)zy_sys1(SYS_exit_group, ZY_FAILED);
    __builtin_unreachable();
}

static void must(enum zy_step step, long result)
{
    if (result < 0)
        fail(step, result);
}

/* One of the system calls that a function cannot make. */
static long with_pass(long nr, long a, long b, long c, long d, long e)
{
    return zy_sys6(nr, a, b, c, d, e, (long)box.setup.pass);
}

static void mount_own(void)
{
    must(ZY_STEP_PROC,
         with_pass(SYS_mount, ZY_ARG("proc"), ZY_ARG("/proc"), ZY_ARG("proc"), MOUNT_SAFE,
                   ZY_ARG(zy_has(ZY_BARRIER_PROC) ? "subset=pid" : NULL)));
}

/* What is not the lane's already (lane.c): ids, and with them the capabilities. */
static void drop_rights(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    const struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    const struct rlimit pids = {box.setup.pids, box.setup.pids};
    const long uid = box.setup.uid, gid = box.setup.gid;

    must(ZY_STEP_LIMITS, zy_sys4(SYS_prlimit64, 0, RLIMIT_NPROC, &pids, 0));
    if (zy_has(ZY_BARRIER_IDS)) {
        must(ZY_STEP_IDS, with_pass(SYS_setresgid, gid, gid, gid, 0, 0));
        must(ZY_STEP_IDS, with_pass(SYS_setresuid, uid, uid, uid, 0, 0));
    }
    if (zy_has(ZY_BARRIER_CAPS))
        must(ZY_STEP_CAPS, with_pass(SYS_capset, ZY_ARG(&head), ZY_ARG(none), 0, 0, 0));
    /* After the change of ids, which clears it. */
    must(ZY_STEP_CAPS, zy_sys2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL));
}

static bool take_all(char **at, const char *end, char **list, uint32_t count)
{
    if (count > ZY_STRINGS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        list[i] = zy_take(at, end);
        if (list[i] == NULL)
            return false;
    }
    list[count] = NULL;
    return true;
}

static bool read_order(size_t len)
{
    struct zy_call_req req;
    char *at = box.packet + sizeof req;
    const char *end = box.packet + len;

    if (len < sizeof req)
        return false;
    memcpy(&req, box.packet, sizeof req);
    box.cwd = zy_take(&at, end);
    if (box.cwd == NULL || req.argc == 0 || !take_all(&at, end, box.argv, req.argc) ||
        !take_all(&at, end, box.envp, req.envc) || at != end)
        return false;
    box.path = default_path;
    for (uint32_t i = 0; i < req.envc; i++)
        if (strncmp(box.envp[i], "PATH=", 5) == 0)
            box.path = box.envp[i] + 5;
    return true;
}

/* What its standard input is to be. */
static int receive_order(void)
{
    union {
        struct cmsghdr head;
        char room[CMSG_LEN(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = box.packet, .iov_len = sizeof box.packet};
    struct msghdr msg = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control.room};
    long got = zy_sys3(SYS_recvmsg, box.setup.control, &msg, MSG_CMSG_CLOEXEC);
    int input = box.setup.null_fd;

    must(ZY_STEP_ORDER, got);
    if (got == 0 || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
        fail(ZY_STEP_ORDER, -EPIPE);
    if (!read_order((size_t)got))
        fail(ZY_STEP_ORDER, -EBADMSG);
    if (msg.msg_controllen >= sizeof control.head && control.head.cmsg_type == SCM_RIGHTS)
        memcpy(&input, CMSG_DATA(&control.head), sizeof input);
    return input;
}

static void take_output(void)
{
    must(ZY_STEP_STDIO, zy_sys3(SYS_dup3, box.output[0], 1, 0));
    must(ZY_STEP_STDIO, zy_sys3(SYS_dup3, box.output[1], 2, 0));
}

static void take_input(int fd)
{
    must(ZY_STEP_STDIO, zy_sys3(SYS_dup3, fd, 0, 0));
    must(ZY_STEP_STDIO, zy_sys3(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC));
}

/* "DIR/NAME" with the first directory of *dirs, which moves on; false: it would not fit. */
static bool join(const char **dirs, const char *name, char path[PATH_ROOM])
{
    size_t dir_len = strcspn(*dirs, ":"), name_len = strlen(name);
    const char *dir = *dirs;

    *dirs += dir_len;
    *dirs += **dirs == ':' ? 1 : 0;
    if (dir_len + name_len + 2 > PATH_ROOM)
        return false;
    memcpy(path, dir, dir_len);
    path[dir_len] = '/';
    memcpy(path + dir_len + 1, name, name_len + 1);
    return true;
}

/* execvp's rules, over the PATH the function gets. */
static long exec_found(void)
{
    const char *dirs = box.path;
    long error = -ENOENT, found;
    char path[PATH_ROOM];

    if (strchr(box.argv[0], '/') != NULL)
        return zy_sys3(SYS_execve, box.argv[0], box.argv, box.envp);
    while (*dirs != '\0') {
        if (!join(&dirs, box.argv[0], path))
            continue;
        found = zy_sys3(SYS_execve, path, box.argv, box.envp);
        if (found != -ENOENT && found != -ENOTDIR)
            error = found;
    }
    return error;
}

void zy_weaken(void)
{
    must(ZY_STEP_LIMITS, with_pass(SYS_setpgid, 0, 0, 0, 0, 0)); /* kill(0) is not for the zygote */
    mount_own();
    drop_rights();
}

void zy_order_exec(void)
{
    must(ZY_STEP_CWD, zy_sys1(SYS_chdir, box.cwd));
    fail(ZY_STEP_EXEC, exec_found());
}

static void sandbox_main(void) __attribute__((noreturn));
static void sandbox_main(void)
{
    const uint64_t no_signals = 0;

    must(ZY_STEP_LIMITS, zy_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, 0, 8));
    take_output();
    zy_weaken();
    take_input(receive_order());
    zy_order_exec();
}

/* ---- in the zygote ---- */

/* The process's number, or -errno; returns once it runs its program or has ended. */
static long start(int *out_pidfd)
{
    struct clone_args args = {
        .flags = CLONE_NEWNS | (zy_has(ZY_BARRIER_PIDS) ? CLONE_NEWPID : 0) | CLONE_VM |
                 CLONE_VFORK | CLONE_PARENT | CLONE_PIDFD,
        .pidfd = (uintptr_t)out_pidfd,
        .stack = (uintptr_t)box.stack,
        .stack_size = sizeof box.stack,
    };

    return zy_sys_child(SYS_clone3, ZY_ARG(&args), sizeof args, (long)box.setup.pass, sandbox_main);
}

/* What of a file system shows that somebody wrote in it. */
static bool look(const char *path, struct traces *out)
{
    struct statfs fs;
    struct stat st;

    if (statfs(path, &fs) != 0 || stat(path, &st) != 0)
        return false;
    *out = (struct traces){fs.f_bfree, fs.f_ffree, st.st_mtim, st.st_ctim};
    return true;
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_as_new(const struct writable *dir)
{
    struct traces now;

    return dir->is_mounted && look(dir->path, &now) &&
           now.blocks == dir->new.blocks &&now.inodes ==
               dir->new.inodes &&is_same_time(&now.changed, &dir->new.changed) &&
           is_same_time(&now.modified, &dir->new.modified);
}

static long replace(struct writable *dir)
{
    long rc = 0;
    char options[64];

    (void)snprintf(options, sizeof options, "size=%um,nr_inodes=%d,mode=1777", dir->mb, INODES_MAX);
    if (dir->is_mounted)
        rc = with_pass(SYS_umount2, ZY_ARG(dir->path), MNT_DETACH, 0, 0, 0);
    if (rc < 0)
        return rc;
    dir->is_mounted = false;
    rc = with_pass(SYS_mount, ZY_ARG("tmpfs"), ZY_ARG(dir->path), ZY_ARG("tmpfs"),
                   MS_NOSUID | MS_NODEV | MS_NOATIME | (dir->may_exec ? 0 : MS_NOEXEC),
                   ZY_ARG(options));
    if (rc < 0)
        return rc;
    dir->is_mounted = true;
    return look(dir->path, &dir->new) ? 0 : -errno;
}

/* 0, or -errno: then the lane is of no more use. */
static long clean(void)
{
    long rc = 0;

    for (size_t i = 0; rc >= 0 && i < box.writable_count; i++)
        if (!is_as_new(&box.writable[i]))
            rc = replace(&box.writable[i]);
    return rc;
}

/* False: the spawner has gone, or says what no spawner says. */
static bool await_make(void)
{
    for (;;) {
        char word = 0;
        size_t count = 2;
        ssize_t len = zy_receive(box.setup.control, &word, 1, box.output, &count);

        if (len != 1 || word != ZY_CLEAN)
            return len == 1 && word == ZY_MAKE && count == 2;
        (void)clean(); /* a failure shows again when it matters */
    }
}

static void make_one(void)
{
    struct zy_reply reply = {.step = ZY_STEP_TMP};
    int pidfd = -1;
    long pid = clean();

    box.step = ZY_STEP_NONE;
    if (pid == 0) {
        pid = start(&pidfd);
        reply.step = pid < 0 ? ZY_STEP_CLONE : box.step;
    }
    reply.error = pid < 0 ? (int32_t)-pid : box.error;
    reply.pid = pid > 0 ? (int32_t)pid : 0;
    (void)zy_send(box.setup.control, &reply, sizeof reply, &pidfd, pidfd >= 0 ? 1 : 0);
    if (pidfd >= 0)
        close(pidfd);
    close(box.output[0]);
    close(box.output[1]);
}

/* ---- for a slot ---- */

const char *zy_writable(size_t index)
{
    return index < box.writable_count ? box.writable[index].path : NULL;
}

long zy_mount_writable(void)
{
    return clean();
}

void zy_on_failure(void (*say)(void))
{
    box.say_failure = say;
}

void zy_must(enum zy_step step, long result)
{
    must(step, result);
}

void zy_failure(struct zy_reply *reply)
{
    reply->step = box.step;
    reply->error = box.error;
    box.step = ZY_STEP_NONE;
    box.error = 0;
}

char *zy_order_buffer(void)
{
    return box.packet;
}

bool zy_order_read(size_t len)
{
    return read_order(len);
}

/* ---- its life ---- */

void zy_serve(const struct zy_setup *setup)
{
    sigset_t all;

    box.setup = *setup;
    box.writable[0] = (struct writable){.path = "/tmp", .mb = setup->tmp_mb};
    box.writable[1] = (struct writable){.path = "/dev/shm", .mb = ZY_SHM_MB};
    box.writable_count = 2;
    for (uint32_t i = 0; i < setup->volume_count; i++)
        box.writable[box.writable_count++] =
            (struct writable){.path = setup->volumes[i], .mb = setup->tmp_mb, .may_exec = true};
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    if (setup->is_slot)
        zy_slot_serve(setup);
    while (await_make())
        make_one();
    _exit(0);
}
