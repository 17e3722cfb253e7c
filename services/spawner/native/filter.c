#include "filter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <asm/ioctls.h>
#include <unistd.h>

#include "allowed.h"

#define BINARY_TREE 2
#define QUERY       0xffffffffU /* personality(): tell me */
#define PASS        5           /* the argument that is the pass */
#define NEW_ANY                                                                                    \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)

/* Is it a terminal, how much is there, blocking or not: what ordinary programs ask. */
static const uint64_t requests[] = {TCGETS,   TIOCGWINSZ, FIONREAD, FIONBIO,
                                    FIOASYNC, FIOCLEX,    FIONCLEX};
static const uint64_t families[] = {AF_UNIX, AF_INET, AF_INET6};

static int allow_plain(scmp_filter_ctx filter)
{
    static const int calls[] = {
#define CALL(name) SCMP_SYS(name)
        NATIVE_ALLOWED(CALL)
#undef CALL
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < FAAS_ARRAY_LEN(calls); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    return rc;
}

/* One value of one argument, all 64 bits of it. */
static int allow_with(scmp_filter_ctx filter, int call, unsigned argument, uint64_t value)
{
    const struct scmp_arg_cmp is = {
        .arg = argument, .op = SCMP_CMP_EQ, .datum_a = value, .datum_b = 0};

    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &is);
}

static int allow_some(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp no_namespace = {
        .arg = 0, .op = SCMP_CMP_MASKED_EQ, .datum_a = NEW_ANY, .datum_b = 0};
    int rc = allow_with(filter, SCMP_SYS(personality), 0, QUERY);

    if (rc == 0) /* of others: the first process of a kept sandbox has the same ids */
        rc = allow_with(filter, SCMP_SYS(prlimit64), 0, 0);
    if (rc == 0)
        rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &no_namespace);
    for (size_t i = 0; rc == 0 && i < FAAS_ARRAY_LEN(families); i++)
        rc = allow_with(filter, SCMP_SYS(socket), 0, families[i]);
    for (size_t i = 0; rc == 0 && i < FAAS_ARRAY_LEN(requests); i++)
        rc = allow_with(filter, SCMP_SYS(ioctl), 1, requests[i]);
    return rc;
}

/* clone3's flags are behind a pointer, so it does not exist: C libraries fall back to clone. */
static int allow_setup(scmp_filter_ctx filter, uint64_t pass)
{
    static const int calls[] = {
#define CALL(name) SCMP_SYS(name)
        NATIVE_ALLOWED_SETUP(CALL)
#undef CALL
    };
    const struct scmp_arg_cmp other = {.arg = PASS, .op = SCMP_CMP_NE, .datum_a = pass};
    int rc = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 1, &other);

    for (size_t i = 0; rc == 0 && i < FAAS_ARRAY_LEN(calls); i++)
        rc = allow_with(filter, calls[i], PASS, pass);
    return rc;
}

static int export(scmp_filter_ctx filter)
{
    int fd = memfd_create("lane-filter", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -1;
    if (seccomp_export_bpf(filter, fd) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
        return fd;
    close(fd);
    return -1;
}

faas_code native_filter_fd(uint64_t pass, int *out_fd, faas_err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int fd = -1;

    if (filter != NULL &&
        seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0 &&
        seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, BINARY_TREE) == 0 &&
        allow_plain(filter) == 0 && allow_some(filter) == 0 && allow_setup(filter, pass) == 0)
        fd = export(filter);
    seccomp_release(filter);
    if (fd < 0)
        return faas_fail(err, FAAS_INTERNAL, "the system call filter cannot be built");
    *out_fd = fd;
    return FAAS_OK;
}

const char *const native_filter_calls[] = {
#define CALL(name) #name
    NATIVE_ALLOWED(CALL), NATIVE_ALLOWED_PARTLY(CALL), NULL
#undef CALL
};
