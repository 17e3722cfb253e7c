#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store.h"

#define CPU_SECONDS  600
#define MEMORY_BYTES (1024L * 1024 * 1024)
#define FILES_OPEN   300 /* files_remove_tree has one open for each folder it is in */
#define BIT(cap)     (1U << (cap))

#ifndef __has_feature /* clang's; gcc defines the macro beside it */
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer) ||                           \
    defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define IS_SANITIZED true /* maps terabytes of address space */
#else
#define IS_SANITIZED false
#endif

/* ---- users ---- */

static bool put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_put = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return is_put;
}

/* In the namespace above, by a process of its own: inside, the right to map many users is gone. */
static int map_many(pid_t of)
{
    char path[64], text[64];
    bool is_mapped;

    snprintf(text, sizeof text, "0 %u %u", IMAGE_OWNER_BASE, IMAGE_OWNER_COUNT);
    snprintf(path, sizeof path, "/proc/%d/gid_map", (int)of);
    is_mapped = put(path, text);
    snprintf(path, sizeof path, "/proc/%d/uid_map", (int)of);
    return is_mapped && put(path, text) ? 0 : 1;
}

/* Outside uid and gid; inside they are is_root ? 0 : the same. */
static bool map_self(uid_t uid, gid_t gid, bool is_root)
{
    char text[64];

    snprintf(text, sizeof text, "%u %u 1", is_root ? 0 : (unsigned)gid, (unsigned)gid);
    if (!put("/proc/self/setgroups", "deny") || !put("/proc/self/gid_map", text))
        return false;
    snprintf(text, sizeof text, "%u %u 1", is_root ? 0 : (unsigned)uid, (unsigned)uid);
    return put("/proc/self/uid_map", text);
}

static faas_code fail_namespace(faas_err *err)
{
    return faas_fail(err, FAAS_UNAVAILABLE,
                     "images cannot be unpacked safely: no user namespace (%s); allow them "
                     "(sysctl user.max_user_namespaces), or run this outside a container",
                     strerrordesc_np(errno));
}

faas_code confine_map_self(faas_err *err)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();

    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !map_self(uid, gid, false))
        return fail_namespace(err);
    return FAAS_OK;
}

static bool become_root_inside(bool has_owners)
{
    return (!has_owners || setgroups(0, NULL) == 0) && setresgid(0, 0, 0) == 0 &&
           setresuid(0, 0, 0) == 0;
}

static faas_code enter_namespaces(bool *out_has_owners, faas_err *err)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    pid_t self = getpid(), mapper = 0;
    int ready[2] = {-1, -1}, status = 0;
    bool is_mapped;

    *out_has_owners = uid == 0;
    if (uid == 0 && (pipe2(ready, O_CLOEXEC) != 0 || (mapper = fork()) < 0))
        return faas_fail_sys(err, errno, "start the mapper of users");
    if (uid == 0 && mapper == 0) {
        char byte;

        close(ready[1]);
        _exit(read(ready[0], &byte, 1) == 1 ? map_many(self) : 1);
    }
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS) != 0)
        return fail_namespace(err);
    if (uid != 0)
        is_mapped = map_self(uid, gid, true);
    else
        is_mapped = write(ready[1], "m", 1) == 1 && waitpid(mapper, &status, 0) == mapper &&
                    status == 0 && (close(ready[0]), close(ready[1])) == 0;
    if (!is_mapped || !become_root_inside(uid == 0))
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "images cannot be unpacked safely: users of a user namespace cannot be "
                         "mapped; run this with the rights CAP_SETUID and CAP_SETGID");
    return FAAS_OK;
}

/* ---- rights and limits ---- */

static faas_code limit(const struct confine *confine, faas_err *err)
{
    const struct {
        int what;
        rlim_t value;
    } limits[] = {
        {RLIMIT_CORE, 0},
        {RLIMIT_NOFILE, FILES_OPEN},
        {RLIMIT_CPU, CPU_SECONDS},
        {RLIMIT_FSIZE, (rlim_t)confine->file_bytes},
        {RLIMIT_AS, IS_SANITIZED ? RLIM_INFINITY : MEMORY_BYTES},
    };

    (void)signal(SIGXFSZ, SIG_IGN); /* EFBIG says it better */
    for (size_t i = 0; i < FAAS_ARRAY_LEN(limits); i++) {
        struct rlimit value = {limits[i].value, limits[i].value}, now;

        if (getrlimit((__rlimit_resource_t)limits[i].what, &now) != 0)
            return faas_fail_sys(err, errno, "read a resource limit");
        if (value.rlim_cur > now.rlim_max)
            value.rlim_cur = value.rlim_max = now.rlim_max;
        if (setrlimit((__rlimit_resource_t)limits[i].what, &value) != 0)
            return faas_fail_sys(err, errno, "set a resource limit");
    }
    return FAAS_OK;
}

static faas_code keep_capabilities(uint32_t kept, faas_err *err)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.effective = kept, .permitted = kept}, {0}};

    if (syscall(SYS_capset, &head, data) != 0)
        return faas_fail_sys(err, errno, "drop capabilities");
    return FAAS_OK;
}

/* ---- system calls ---- */

/* Files are opened with openat2 alone, so that nothing looks for a library or a table of
 * characters in a folder that a stranger filled. */
static const int reading[] = {
    SCMP_SYS(read),         SCMP_SYS(write),         SCMP_SYS(lseek),
    SCMP_SYS(close),        SCMP_SYS(fstat),         SCMP_SYS(newfstatat),
    SCMP_SYS(fcntl),        SCMP_SYS(mmap),          SCMP_SYS(munmap),
    SCMP_SYS(mremap),       SCMP_SYS(mprotect),      SCMP_SYS(madvise),
    SCMP_SYS(brk),          SCMP_SYS(futex),         SCMP_SYS(getpid),
    SCMP_SYS(gettid),       SCMP_SYS(clock_gettime), SCMP_SYS(getrandom),
    SCMP_SYS(exit_group),   SCMP_SYS(exit),          SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),   SCMP_SYS(sched_yield),
};
static const int making[] = {
    SCMP_SYS(pwrite64),   SCMP_SYS(mkdirat),  SCMP_SYS(mknodat),   SCMP_SYS(linkat),
    SCMP_SYS(symlinkat),  SCMP_SYS(unlinkat), SCMP_SYS(fchmod),    SCMP_SYS(fchmodat),
    SCMP_SYS(fchown),     SCMP_SYS(fchownat), SCMP_SYS(utimensat), SCMP_SYS(ftruncate),
    SCMP_SYS(getdents64),
};
static const int opening[] = {SCMP_SYS(openat2)};

static int allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    return rc;
}

static faas_code close_system_calls(enum confine_work work, faas_err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc = filter != NULL ? 0 : -ENOMEM;

    if (rc == 0)
        rc = allow(filter, reading, FAAS_ARRAY_LEN(reading));
    if (rc == 0 && work != CONFINE_STREAM)
        rc = allow(filter, opening, FAAS_ARRAY_LEN(opening));
    if (rc == 0 && work == CONFINE_WRITER)
        rc = allow(filter, making, FAAS_ARRAY_LEN(making));
    if (rc == 0)
        rc = seccomp_load(filter); /* sets no_new_privs */
    seccomp_release(filter);
    if (rc != 0)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "images cannot be unpacked safely: no system call filter (%s)",
                         strerrordesc_np(-rc));
    return FAAS_OK;
}

faas_code confine_self(const struct confine *confine, faas_err *err)
{
    static const uint32_t rights[] = {
        [CONFINE_STREAM] = 0,
        [CONFINE_READER] = BIT(CAP_DAC_READ_SEARCH),
        [CONFINE_WRITER] =
            BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID),
    };

    FAAS_TRY(enter_namespaces(confine->out_has_owners, err));
    if (fchdir(confine->root) != 0 || chroot(".") != 0)
        return faas_fail_sys(err, errno, "enter the folder");
    FAAS_TRY(limit(confine, err));
    FAAS_TRY(keep_capabilities(rights[confine->work], err));
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return faas_fail_sys(err, errno, "end with the parent");
    return close_system_calls(confine->work, err);
}
