/* allowed.h - the system calls a function may make; all others answer EPERM.  One list: the filter
 * is built from it, it is counted from it, and the document of it is generated.
 * X(name): allowed with any arguments.  Those with conditions are in filter.c.
 * Chosen by what C, Go, Python, Node, Java and shell programs make in ordinary work; left out are
 * the calls that reach kernel parts a function has no business with: bpf, io_uring, keys, modules,
 * namespaces, mounts, performance counters, ptrace and process memory, SysV IPC, message queues,
 * quotas, swap, clock setting, userfaultfd, vmsplice, asynchronous I/O, handles of files.
 */
#ifndef NATIVE_ALLOWED_H
#define NATIVE_ALLOWED_H

#define NATIVE_ALLOWED_FILES(X)                                                                    \
    X(read), X(write), X(open), X(close), X(stat), X(fstat), X(lstat), X(lseek), X(pread64),       \
        X(pwrite64), X(readv), X(writev), X(access), X(pipe), X(dup), X(dup2), X(sendfile),        \
        X(fcntl), X(flock), X(fsync), X(fdatasync), X(truncate), X(ftruncate), X(getdents64),      \
        X(getcwd), X(chdir), X(fchdir), X(rename), X(mkdir), X(rmdir), X(link), X(unlink),         \
        X(symlink), X(readlink), X(chmod), X(fchmod), X(umask), X(statfs), X(fstatfs), X(openat),  \
        X(mkdirat), X(newfstatat), X(unlinkat), X(linkat), X(symlinkat), X(readlinkat),            \
        X(fchmodat), X(faccessat), X(utimensat), X(fallocate), X(dup3), X(pipe2), X(renameat2),    \
        X(memfd_create), X(copy_file_range), X(statx), X(close_range), X(faccessat2), X(fadvise64)

#define NATIVE_ALLOWED_MEMORY(X)                                                                   \
    X(mmap), X(mprotect), X(munmap), X(brk), X(mremap), X(msync), X(madvise), X(membarrier)

#define NATIVE_ALLOWED_PROCESSES(X)                                                                \
    X(fork), X(vfork), X(execve), X(exit), X(exit_group), X(wait4), X(waitid), X(kill), X(tkill),  \
        X(tgkill), X(getpid), X(getppid), X(gettid), X(getpgid), X(getpgrp), X(setsid), X(getuid), \
        X(geteuid), X(getgid), X(getegid), X(getresuid), X(getresgid), X(getgroups), X(prctl),     \
        X(arch_prctl), X(set_tid_address), X(set_robust_list), X(rseq), X(getrusage), X(sysinfo),  \
        X(uname), X(sched_yield), X(sched_getaffinity)

#define NATIVE_ALLOWED_SIGNALS_AND_TIME(X)                                                         \
    X(rt_sigaction), X(rt_sigprocmask), X(rt_sigreturn), X(rt_sigsuspend), X(rt_sigtimedwait),     \
        X(sigaltstack), X(setitimer), X(nanosleep), X(clock_gettime), X(clock_getres),             \
        X(clock_nanosleep), X(gettimeofday), X(timer_create), X(timer_settime), X(timer_delete),   \
        X(timerfd_create), X(timerfd_settime), X(restart_syscall), X(getrandom), X(pause)

#define NATIVE_ALLOWED_WAITING_AND_NETWORK(X)                                                      \
    X(futex), X(select), X(pselect6), X(poll), X(ppoll), X(epoll_create1), X(epoll_ctl),           \
        X(epoll_wait), X(epoll_pwait), X(eventfd2), X(socketpair), X(bind), X(connect), X(listen), \
        X(accept), X(accept4), X(getsockname), X(getpeername), X(sendto), X(recvfrom), X(sendmsg), \
        X(recvmsg), X(shutdown), X(setsockopt), X(getsockopt)

/* What the zygote needs, and a call's process before its exec.  Only with the pass as sixth argument,
 * which none of them has: a number of 64 random bits in the zygote's memory, gone with the exec. */
#define NATIVE_ALLOWED_SETUP(X)                                                                    \
    X(mount), X(umount2), X(clone3), X(setpgid), X(setresgid), X(setresuid), X(capset)

/* With some arguments alone: families of sockets, requests of terminals and pipes, asking, processes
 * without new namespaces, limits of the caller itself (filter.c). */
#define NATIVE_ALLOWED_PARTLY(X) X(socket), X(ioctl), X(personality), X(clone), X(prlimit64)

#define NATIVE_ALLOWED(X)                                                                          \
    NATIVE_ALLOWED_FILES(X), NATIVE_ALLOWED_MEMORY(X), NATIVE_ALLOWED_PROCESSES(X),                \
        NATIVE_ALLOWED_SIGNALS_AND_TIME(X), NATIVE_ALLOWED_WAITING_AND_NETWORK(X)

#endif
