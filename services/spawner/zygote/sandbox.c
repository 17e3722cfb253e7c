#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "filter.h"
#include "packet.h"
#include "sys.h"

#define STACK_SIZE (16 * 1024)
#define PATH_ROOM  512
#define INODES_MAX 16384
#define MOUNT_SAFE (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* The one sandbox of this zygote. */
static struct {
    struct zy_setup setup;
    int32_t step, error; /* how it failed; NONE: it did not, or was killed */
    int output[2];       /* standard output and error to be */
    char tmp_options[64], shm_options[64];
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
    (void)zy_sys1(SYS_exit_group, ZY_FAILED);
    __builtin_unreachable();
}

static void must(enum zy_step step, long result)
{
    if (result < 0)
        fail(step, result);
}

static void mount_own(void)
{
    must(ZY_STEP_PROC, zy_sys5(SYS_mount, "proc", "/proc", "proc", MOUNT_SAFE, "subset=pid"));
    must(ZY_STEP_TMP, zy_sys5(SYS_mount, "tmpfs", "/tmp", "tmpfs", MOUNT_SAFE, box.tmp_options));
    must(ZY_STEP_TMP,
         zy_sys5(SYS_mount, "tmpfs", "/dev/shm", "tmpfs", MOUNT_SAFE, box.shm_options));
}

/* What is not the lane's already (lane.c): ids, and with them the capabilities. */
static void drop_rights(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    const struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    const struct rlimit pids = {box.setup.pids, box.setup.pids};
    const uint32_t uid = box.setup.uid, gid = box.setup.gid;

    must(ZY_STEP_LIMITS, zy_sys4(SYS_prlimit64, 0, RLIMIT_NPROC, &pids, 0));
    must(ZY_STEP_IDS, zy_sys3(SYS_setresgid, gid, gid, gid));
    must(ZY_STEP_IDS, zy_sys3(SYS_setresuid, uid, uid, uid));
    must(ZY_STEP_CAPS, zy_sys2(SYS_capset, &head, none));
    /* After the change of ids, which clears it. */
    must(ZY_STEP_CAPS, zy_sys2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL));
    must(ZY_STEP_FILTER, zy_sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &zy_call_filter));
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

static void sandbox_main(void) __attribute__((noreturn, used));
static void sandbox_main(void)
{
    const uint64_t no_signals = 0;

    must(ZY_STEP_LIMITS, zy_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, 0, 8));
    (void)zy_sys0(SYS_setsid);
    take_output();
    mount_own();
    drop_rights();
    take_input(receive_order());
    must(ZY_STEP_CWD, zy_sys1(SYS_chdir, box.cwd));
    fail(ZY_STEP_EXEC, exec_found());
}

/* ---- in the zygote ---- */

/* The process's number, or -errno; returns once it runs its program or has ended. */
static long start(int *out_pidfd)
{
    struct clone_args args = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_VM | CLONE_VFORK | CLONE_PARENT | CLONE_PIDFD,
        .pidfd = (uintptr_t)out_pidfd,
        .stack = (uintptr_t)box.stack,
        .stack_size = sizeof box.stack,
    };
    long result;
    register long entry __asm__("r12") = ZY_ARG(sandbox_main);

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "call *%%r12\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "a"(SYS_clone3), "D"(&args), "S"(sizeof args), "r"(entry)
                     : "rcx", "r11", "memory");
    return result;
}

/* False: the spawner has gone, or says what no spawner says. */
static bool await_make(void)
{
    char word = 0;
    size_t count = 2;
    ssize_t len = zy_receive(box.setup.control, &word, 1, box.output, &count);

    return len == 1 && word == ZY_MAKE && count == 2;
}

static void make_one(void)
{
    struct zy_reply reply;
    int pidfd = -1;
    long pid;

    box.step = ZY_STEP_NONE;
    box.error = 0;
    pid = start(&pidfd);
    reply = (struct zy_reply){.pid = (int32_t)pid, .step = box.step, .error = box.error};
    if (pid < 0)
        reply = (struct zy_reply){.step = ZY_STEP_CLONE, .error = (int32_t)-pid};
    (void)zy_send(box.setup.control, &reply, sizeof reply, &pidfd, pidfd >= 0 ? 1 : 0);
    if (pidfd >= 0)
        close(pidfd);
    close(box.output[0]);
    close(box.output[1]);
}

void zy_serve(const struct zy_setup *setup)
{
    sigset_t all;

    box.setup = *setup;
    (void)snprintf(box.tmp_options, sizeof box.tmp_options, "size=%um,nr_inodes=%d,mode=1777",
                   setup->tmp_mb, INODES_MAX);
    (void)snprintf(box.shm_options, sizeof box.shm_options, "size=%um,nr_inodes=%d,mode=1777",
                   ZY_SHM_MB, INODES_MAX);
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    while (await_make())
        make_one();
    _exit(0);
}
