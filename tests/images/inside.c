/* inside.c - what tests let run in a sandbox: ways to end, ways to take too much, and attempts at
 * everything a function must not be able to do.  Static, without our library.
 *   inside attack NAME   one attempt; prints "refused" with the errno's name, or "DONE"
 *   inside attacks       their names
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "inside.h"

#define X32_BIT 0x40000000

/* 0: it was possible; else why not. */
static int result(long rc)
{
    return rc >= 0 ? 0 : errno;
}

/* ---- attempts of one call ---- */

#define TEXT(text) ((long)(text))

static const char zeros[256];
static char bytes[256] = {1};
static const struct iovec here = {bytes, 1};
static const struct rlimit more = {1 << 20, 1 << 20};
static const uint32_t every_capability[6] = {~0U, ~0U, ~0U, ~0U, ~0U, ~0U};
static const uint32_t capability_head[2] = {_LINUX_CAPABILITY_VERSION_3, 0};
static const struct clone_args new_user = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};

static const struct {
    const char *name;
    long call, a, b, c, d, e;
} calls[] = {
    {"mount-tmpfs", SYS_mount, TEXT("x"), TEXT("/tmp"), TEXT("tmpfs"), 0, TEXT("")},
    {"mount-bind", SYS_mount, TEXT("/bin"), TEXT("/tmp"), 0, MS_BIND, 0},
    {"remount-root", SYS_mount, 0, TEXT("/"), 0, MS_REMOUNT | MS_BIND, 0},
    {"mount-proc", SYS_mount, TEXT("proc"), TEXT("/tmp"), TEXT("proc"), 0, 0},
    {"mount-cgroup", SYS_mount, TEXT("c"), TEXT("/tmp"), TEXT("cgroup2"), 0, 0},
    {"mount-cgroup-v1", SYS_mount, TEXT("c"), TEXT("/tmp"), TEXT("cgroup"), 0, TEXT("memory")},
    {"mount-fsopen", SYS_fsopen, TEXT("tmpfs"), 0, 0, 0, 0},
    {"mount-open-tree", SYS_open_tree, AT_FDCWD, TEXT("/"), OPEN_TREE_CLONE, 0, 0},
    {"mount-setattr", SYS_mount_setattr, AT_FDCWD, TEXT("/"), 0, TEXT(zeros), 32},
    {"unmount", SYS_umount2, TEXT("/proc"), MNT_DETACH, 0, 0, 0},
    {"pivot-root", SYS_pivot_root, TEXT("/tmp"), TEXT("/tmp"), 0, 0, 0},
    {"chroot", SYS_chroot, TEXT("/tmp"), 0, 0, 0, 0},
    {"unshare-user", SYS_unshare, CLONE_NEWUSER, 0, 0, 0, 0},
    {"unshare-mounts", SYS_unshare, CLONE_NEWNS, 0, 0, 0, 0},
    {"unshare-network", SYS_unshare, CLONE_NEWNET, 0, 0, 0, 0},
    {"clone-user", SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0},
    {"clone-mounts", SYS_clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0},
    {"clone-pids", SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0},
    {"clone-network", SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0},
    {"clone3", SYS_clone3, TEXT(&new_user), sizeof new_user, 0, 0, 0},
    {"set-hostname", SYS_sethostname, TEXT("x"), 1, 0, 0, 0},
    {"node-in-tmp", SYS_mknod, TEXT("/tmp/node"), S_IFCHR | 0666, 0x101, 0, 0},
    {"node-in-dev", SYS_mknod, TEXT("/dev/node"), S_IFCHR | 0666, 0x101, 0, 0},
    {"node-of-disk", SYS_mknodat, AT_FDCWD, TEXT("/tmp/node"), S_IFBLK | 0666, 0x800, 0},
    {"open-by-handle", SYS_open_by_handle_at, AT_FDCWD, TEXT(zeros), 0, 0, 0},
    {"become-root", SYS_setresuid, 0, 0, 0, 0, 0},
    {"become-group-root", SYS_setresgid, 0, 0, 0, 0, 0},
    {"become-another", SYS_setresuid, 1000, 1000, 1000, 0, 0},
    {"add-groups", SYS_setgroups, 1, TEXT(zeros), 0, 0, 0},
    {"take-capabilities", SYS_capset, TEXT(capability_head), TEXT(every_capability), 0, 0, 0},
    {"take-ambient", SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0},
    {"allow-privileges", SYS_prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0},
    {"trace-first", SYS_ptrace, PTRACE_ATTACH, 1, 0, 0, 0},
    {"trace-me", SYS_ptrace, PTRACE_TRACEME, 0, 0, 0, 0},
    {"read-process-memory", SYS_process_vm_readv, 1, TEXT(&here), 1, TEXT(&here), 1},
    {"raise-files", SYS_prlimit64, 0, RLIMIT_NOFILE, TEXT(&more), 0, 0},
    {"raise-processes", SYS_prlimit64, 0, RLIMIT_NPROC, TEXT(&more), 0, 0},
    {"raise-locked-memory", SYS_prlimit64, 0, RLIMIT_MEMLOCK, TEXT(&more), 0, 0},
    {"raise-priority", SYS_setpriority, 0, 0, -20, 0, 0},
    {"realtime", SYS_sched_setscheduler, 0, SCHED_FIFO, TEXT(bytes), 0, 0},
    {"bpf", SYS_bpf, 0, TEXT(bytes), 128, 0, 0},
    {"io-uring", SYS_io_uring_setup, 1, TEXT(bytes), 0, 0, 0},
    {"userfaultfd", SYS_userfaultfd, 0, 0, 0, 0, 0},
    {"performance-events", SYS_perf_event_open, TEXT(bytes), 0, -1, -1, 0},
    {"add-key", SYS_add_key, TEXT("user"), TEXT("k"), TEXT("v"), 1, -3},
    {"keyctl", SYS_keyctl, 0, -3, 1, 0, 0},
    {"module", SYS_init_module, TEXT("x"), 1, TEXT(""), 0, 0},
    {"module-file", SYS_finit_module, 0, TEXT(""), 0, 0, 0},
    {"kexec", SYS_kexec_load, 0, 0, 0, 0, 0},
    {"reboot", SYS_reboot, 0xfee1dead, 672274793, 0, 0, 0},
    {"swap", SYS_swapon, TEXT("/tmp"), 0, 0, 0, 0},
    {"set-clock", SYS_clock_settime, 0, TEXT(zeros), 0, 0, 0},
    {"kernel-log", SYS_syslog, 3, TEXT(bytes), 16, 0, 0},
    {"quota", SYS_quotactl, 0, TEXT("/dev/null"), 0, TEXT(bytes), 0},
    {"personality", SYS_personality, 0x0040000, 0, 0, 0, 0},
    {"shared-memory", SYS_shmget, 1, 4096, 01600, 0, 0},
    {"message-queue", SYS_msgget, 1, 01600, 0, 0, 0},
    {"semaphores", SYS_semget, 1, 1, 01600, 0, 0},
    {"posix-queue", SYS_mq_open, TEXT("x"), O_RDWR | O_CREAT, 0600, 0, 0},
    {"asynchronous-io", SYS_io_setup, 1, TEXT(zeros), 0, 0, 0},
    {"vmsplice", SYS_vmsplice, 1, TEXT(&here), 1, 0, 0},
    {"fanotify", SYS_fanotify_init, 0, 0, 0, 0, 0},
    {"seccomp", SYS_seccomp, 1, 0, 0, 0, 0},
    {"push-to-terminal", SYS_ioctl, 0, TIOCSTI, TEXT("x"), 0, 0},
    {"x32", X32_BIT + SYS_getpid, 0, 0, 0, 0, 0},
    {"socket-alg", SYS_socket, AF_ALG, SOCK_SEQPACKET, 0, 0, 0},
    {"socket-packet", SYS_socket, AF_PACKET, SOCK_RAW, 0, 0, 0},
    {"socket-vsock", SYS_socket, AF_VSOCK, SOCK_STREAM, 0, 0, 0},
    {"socket-netlink", SYS_socket, AF_NETLINK, SOCK_RAW, 0, 0, 0},
    {"socket-raw", SYS_socket, AF_INET, SOCK_RAW, IPPROTO_ICMP, 0, 0},
    {"socket-bluetooth", SYS_socket, AF_BLUETOOTH, SOCK_STREAM, 0, 0, 0},
    {"socket-key", SYS_socket, AF_KEY, SOCK_RAW, 2, 0, 0},
    {"socket-high-half", SYS_socket, AF_ALG | 1L << 32, SOCK_SEQPACKET, 0, 0, 0},
};

static const struct {
    const char *name, *path;
    int flags;
} files[] = {
    {"write-root", "/bin/new", O_WRONLY | O_CREAT},
    {"write-program", "/bin/inside", O_WRONLY},
    {"write-own-program", "/proc/self/exe", O_WRONLY},
    {"write-first-program", "/proc/1/exe", O_WRONLY},
    {"write-core-pattern", "/proc/sys/kernel/core_pattern", O_WRONLY},
    {"write-sysrq", "/proc/sysrq-trigger", O_WRONLY},
    {"read-kcore", "/proc/kcore", O_RDONLY},
    {"read-keys", "/proc/keys", O_RDONLY},
    {"read-symbols", "/proc/kallsyms", O_RDONLY},
    {"read-all-mounts", "/proc/1/root/proc/sys", O_RDONLY},
    {"read-sysfs", "/sys/kernel", O_RDONLY},
    {"read-image-sysfs", "/sys/of-the-image", O_RDONLY},
    {"read-disk", "/dev/sda", O_RDONLY},
    {"read-memory", "/dev/mem", O_RDONLY},
    {"read-kernel-messages", "/dev/kmsg", O_RDONLY},
    {"virtual-machines", "/dev/kvm", O_RDWR},
    {"fuse", "/dev/fuse", O_RDWR},
    {"terminal", "/dev/tty", O_RDWR},
    {"new-terminal", "/dev/ptmx", O_RDWR},
    {"file-of-another", "/of-1000", O_RDONLY},
    {"own-mount-namespace-file", "/proc/self/ns/mnt_", O_RDONLY},
    {"host-files", "/etc/shadow", O_RDONLY},
    {"up-from-the-root", "/../../../etc/passwd", O_RDONLY},
    {"directory-of-a-descriptor", "/proc/self/fd/0/..", O_PATH},
    {"docker-socket", "/var/run/docker.sock", O_PATH},
};

/* ---- attempts of several calls ---- */

static int enter_namespace(void)
{
    int fd = open("/proc/1/ns/mnt", O_RDONLY);

    return fd < 0 ? errno : result(setns(fd, 0));
}

static int run_from_tmp(void)
{
    char *const argv[] = {bytes, NULL};
    int fd = open("/tmp/program", O_WRONLY | O_CREAT, 0700);

    if (fd < 0 || write(fd, "#!/bin/sh\n", 10) != 10)
        return 0;
    close(fd);
    (void)execv("/tmp/program", argv);
    return errno;
}

static int map_program_from_tmp(void)
{
    int fd = open("/tmp/library", O_RDWR | O_CREAT, 0700);

    if (fd < 0 || ftruncate(fd, 4096) != 0)
        return 0;
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED ? 0 : errno;
}

/* Of the first process: an attempt where that is not the function itself. */
static int others_of_first(const char *path, int flags)
{
    return getpid() == 1 ? EPERM : result(open(path, flags));
}

static int memory_of_first(void)
{
    return others_of_first("/proc/1/mem", O_RDWR);
}

static int variables_of_first(void)
{
    return others_of_first("/proc/1/environ", O_RDONLY);
}

static int descriptors_of_first(void)
{
    return others_of_first("/proc/1/fd/3", O_RDWR);
}

static int memory_score_of_first(void)
{
    return others_of_first("/proc/1/oom_score_adj", O_WRONLY);
}

static int limit_first(void)
{
    const struct rlimit none = {0, 0};

    return getpid() == 1 ? EPERM : result(prlimit(1, RLIMIT_NOFILE, &none, NULL));
}

static int stop_first(void)
{
    (void)kill(1, SIGSTOP);
    (void)kill(1, SIGKILL);
    (void)kill(1, SIGTERM);
    return EPERM; /* the call's answer shows that it lives */
}

/* A shell that belongs to root of the image and has the bit: it prints who it is. */
static int use_setuid_program(void)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        execl("/bin/setuid", "sh", "-c", "test $(id -u) = 0", (char *)NULL);
        _exit(9);
    }
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 1 ? EPERM : 0;
}

static int file_for_root(void)
{
    int fd = open("/tmp/file", O_WRONLY | O_CREAT, 0700);

    return fd < 0 ? 0 : result(fchown(fd, 0, 0));
}

static int trusted_attribute(void)
{
    int fd = open("/tmp/file", O_WRONLY | O_CREAT, 0700);

    return fd < 0 ? 0 : result(fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0));
}

/* Nobody outside the sandbox can be named. */
static int signal_others(void)
{
    for (pid_t pid = 2; pid < 100000; pid++)
        if (pid != getpid() && kill(pid, 0) == 0)
            return 0;
    return ESRCH;
}

static int enter_as_i386(void)
{
    long rc;

    __asm__ volatile("int $0x80"
                     : "=a"(rc)
                     : "a"(20 /* getpid */)
                     : "memory", "r8", "r9", "r10", "r11");
    return rc > 0 ? 0 : (int)-rc;
}

static int reach(const char *address, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    (void)inet_pton(AF_INET, address, &to.sin_addr);
    return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&to, sizeof to));
}

/* INSIDE_PORT: where the test listens on the host's loopback. */
static int reach_host(void)
{
    const char *port = getenv("INSIDE_PORT");

    return port == NULL ? 0 : reach("127.0.0.1", (int)strtol(port, NULL, 10));
}

static int reach_outside(void)
{
    return reach("192.0.2.1", 80);
}

static int reach_metadata(void)
{
    return reach("169.254.169.254", 80);
}

/* INSIDE_ABSTRACT: a name the test listens on. */
static int reach_abstract_socket(void)
{
    const char *name = getenv("INSIDE_ABSTRACT");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    size_t len = name != NULL ? strlen(name) : 0;

    if (len == 0 || len >= sizeof to.sun_path - 1 || fd < 0)
        return 0;
    memcpy(to.sun_path + 1, name, len);
    return result(connect(fd, (struct sockaddr *)&to,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)));
}

static int change_network(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = 0};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    return fd < 0 ? errno : result(ioctl(fd, SIOCSIFFLAGS, &request));
}

static int other_descriptors(void)
{
    for (int fd = 3; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            return 0;
    return EBADF;
}

static const struct {
    const char *name;
    int (*attempt)(void);
} others[] = {
    {"enter-namespace", enter_namespace},
    {"run-from-tmp", run_from_tmp},
    {"map-program-from-tmp", map_program_from_tmp},
    {"memory-of-first", memory_of_first},
    {"variables-of-first", variables_of_first},
    {"descriptors-of-first", descriptors_of_first},
    {"memory-score-of-first", memory_score_of_first},
    {"limit-first", limit_first},
    {"stop-first", stop_first},
    {"setuid-program", use_setuid_program},
    {"file-for-root", file_for_root},
    {"trusted-attribute", trusted_attribute},
    {"signal-others", signal_others},
    {"i386", enter_as_i386},
    {"reach-host", reach_host},
    {"reach-outside", reach_outside},
    {"reach-metadata", reach_metadata},
    {"reach-abstract-socket", reach_abstract_socket},
    {"change-network", change_network},
    {"other-descriptors", other_descriptors},
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static int say(int error)
{
    if (error == 0)
        puts("DONE");
    else
        printf("refused %s\n", strerrorname_np(error));
    return 0;
}

static int call(size_t i)
{
    long pid = getpid(), rc;

    rc = syscall(calls[i].call, calls[i].a, calls[i].b, calls[i].c, calls[i].d, calls[i].e);
    if (getpid() != pid) /* a clone's child */
        _exit(0);
    return result(rc);
}

static int attack(const char *name)
{
    for (size_t i = 0; i < COUNT(calls); i++)
        if (strcmp(calls[i].name, name) == 0)
            return say(call(i));
    for (size_t i = 0; i < COUNT(files); i++)
        if (strcmp(files[i].name, name) == 0)
            return say(result(open(files[i].path, files[i].flags, 0600)));
    for (size_t i = 0; i < COUNT(others); i++)
        if (strcmp(others[i].name, name) == 0)
            return say(others[i].attempt());
    return 2;
}

static int list_attacks(void)
{
    for (size_t i = 0; i < COUNT(calls); i++)
        puts(calls[i].name);
    for (size_t i = 0; i < COUNT(files); i++)
        puts(files[i].name);
    for (size_t i = 0; i < COUNT(others); i++)
        puts(others[i].name);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "attack") == 0)
        return attack(argv[2]);
    if (argc == 2 && strcmp(argv[1], "attacks") == 0)
        return list_attacks();
    return deed(argc, argv);
}
