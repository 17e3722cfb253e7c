#include "slot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "empty.h"
#include "packet.h"
#include "sandbox.h"
#include "sys.h"

#define STACK_SIZE (16 * 1024)

static struct {
    int control, null_fd;
    int dirs[ZY_WRITABLE_MAX];
    size_t dir_count;
    int stdio[3]; /* of the call */
    unsigned char stack[STACK_SIZE] __attribute__((aligned(64)));
} slot;

static void tell(const struct zy_reply *reply)
{
    (void)zy_send(slot.control, reply, sizeof *reply, NULL, 0);
}

/* ---- the call's process, until its exec: system calls alone (sys.h) ---- */

static void run(void)
{
    const uint64_t no_signals = 0;

    zy_must(ZY_STEP_LIMITS, zy_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, 0, 8));
    for (int i = 0; i < 3; i++)
        zy_must(ZY_STEP_STDIO, zy_sys3(SYS_dup3, slot.stdio[i], i, 0));
    zy_must(ZY_STEP_STDIO, zy_sys3(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC));
    zy_order_exec();
}

/* ---- the first process ---- */

/* The program's status, once nobody else is left. */
static int await_end(pid_t pid)
{
    int status = 0, other;

    while (wait4(-1, &status, 0, NULL) != pid)
        ; /* others that lost their parent */
    while (kill(-1, SIGKILL) == 0)
        while (wait4(-1, &other, 0, NULL) > 0)
            ;
    return status;
}

static bool empty_all(void)
{
    bool is_done = true;

    for (size_t i = 0; i < slot.dir_count; i++)
        is_done = zy_empty(slot.dirs[i]) && is_done;
    return is_done;
}

/* Its answer is ZY_BEGAN; the process's number, or 0 where nothing runs. */
static pid_t begin(size_t len, size_t count)
{
    struct zy_reply reply = {.word = ZY_BEGAN, .step = ZY_STEP_ORDER, .error = EBADMSG};
    long pid = 0;

    if (count >= 2 && zy_order_read(len)) {
        pid = zy_vfork(slot.stack + sizeof slot.stack, run);
        zy_failure(&reply);
        if (pid < 0) {
            reply.step = ZY_STEP_CLONE;
            reply.error = (int32_t)-pid;
        }
    }
    if (pid > 0 && reply.step != ZY_STEP_NONE) {
        (void)wait4((pid_t)pid, NULL, 0, NULL);
        pid = 0;
    }
    tell(&reply);
    return pid > 0 ? (pid_t)pid : 0;
}

static void serve_one(void)
{
    int fds[3];
    size_t count = 3;
    ssize_t len = zy_receive(slot.control, zy_order_buffer(), ZY_PACKET_MAX, fds, &count);
    struct zy_reply reply = {.word = ZY_ENDED};
    pid_t pid;

    if (len <= 0)
        _exit(0);
    slot.stdio[0] = count == 3 ? fds[2] : slot.null_fd;
    slot.stdio[1] = fds[0];
    slot.stdio[2] = fds[1];
    pid = begin((size_t)len, count);
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    if (pid == 0)
        return;
    reply.status = await_end(pid);
    if (!empty_all()) {
        reply.step = ZY_STEP_TMP;
        reply.error = errno;
    }
    tell(&reply);
}

static void say_failure(void)
{
    struct zy_reply reply = {.word = ZY_READY};

    zy_failure(&reply);
    tell(&reply);
}

static void serve(void) __attribute__((noreturn));
static void serve(void)
{
    const struct zy_reply ready = {.word = ZY_READY};

    zy_on_failure(say_failure);
    zy_weaken();
    zy_must(ZY_STEP_LIMITS, prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : -errno);
    for (const char *path; (path = zy_writable(slot.dir_count)) != NULL; slot.dir_count++) {
        slot.dirs[slot.dir_count] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        zy_must(ZY_STEP_TMP, slot.dirs[slot.dir_count] >= 0 ? 0 : -errno);
    }
    zy_on_failure(NULL);
    tell(&ready);
    for (;;)
        serve_one();
}

/* ---- in the zygote ---- */

void zy_slot_serve(const struct zy_setup *setup)
{
    int pidfd = -1;
    struct clone_args args = {.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_PARENT | CLONE_PIDFD,
                              .pidfd = (uintptr_t)&pidfd};
    struct zy_reply reply = {.word = ZY_MADE};
    long pid = zy_mount_writable();

    slot.control = setup->control;
    slot.null_fd = setup->null_fd;
    reply.step = pid < 0 ? ZY_STEP_TMP : ZY_STEP_NONE;
    if (pid == 0) {
        pid = zy_sys6(SYS_clone3, ZY_ARG(&args), sizeof args, 0, 0, 0, (long)setup->pass);
        if (pid == 0)
            serve();
        reply.step = pid < 0 ? ZY_STEP_CLONE : ZY_STEP_NONE;
    }
    reply.error = pid < 0 ? (int32_t)-pid : 0;
    reply.pid = pid > 0 ? (int32_t)pid : 0;
    (void)zy_send(setup->control, &reply, sizeof reply, &pidfd, pid > 0 ? 1 : 0);
    if (pid > 0)
        while (poll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, -1) < 0 && errno == EINTR)
            ;
    _exit(0);
}
