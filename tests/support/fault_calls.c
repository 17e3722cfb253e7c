/* fault_calls.c - what the linker puts in the place of the calls that can be made to fail: each
 * asks fault_is_due() first and then does the real thing. */
#include "tests/support/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jwt.h>
#include <pthread.h>
#include <search.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* name: of the call; signature and arguments: its own; failure: what it returns with errnum. */
#define WRAP(kind, type, name, signature, arguments, failure, errnum)                              \
    type __real_##name signature;                                                                  \
    type __wrap_##name signature;                                                                  \
    type __wrap_##name signature                                                                   \
    {                                                                                              \
        if (fault_is_due(kind, #name, errnum))                                                     \
            return failure;                                                                        \
        return __real_##name arguments;                                                            \
    }
#define MEMORY(type, name, signature, arguments, failure)                                          \
    WRAP(FAULT_MEMORY, type, name, signature, arguments, failure, ENOMEM)
#define SYSTEM(type, name, signature, arguments, errnum)                                           \
    WRAP(FAULT_SYSTEM, type, name, signature, arguments, -1, errnum)

/* ---- memory ---- */

MEMORY(void *, malloc, (size_t size), (size), NULL)
MEMORY(void *, calloc, (size_t count, size_t size), (count, size), NULL)
MEMORY(void *, realloc, (void *block, size_t size), (block, size), NULL)
MEMORY(void *, reallocarray, (void *block, size_t count, size_t size), (block, count, size), NULL)
MEMORY(char *, strdup, (const char *text), (text), NULL)
MEMORY(char *, strndup, (const char *text, size_t len), (text, len), NULL)
MEMORY(FILE *, open_memstream, (char **out_text, size_t *out_len), (out_text, out_len), NULL)
MEMORY(void *, tsearch, (const void *key, void **root, int (*compare)(const void *, const void *)),
       (key, root, compare), NULL)

/* asprintf has other names under _FORTIFY_SOURCE.  What *out is after a failure is not said, so it
 * points nowhere then. */
static bool is_text_refused(char **out)
{
    if (!fault_is_due(FAULT_MEMORY, "asprintf", ENOMEM))
        return false;
    *out = (char *)(uintptr_t)16;
    return true;
}

int __real_vasprintf(char **out, const char *fmt, va_list args);
int __wrap_vasprintf(char **out, const char *fmt, va_list args);
int __wrap_vasprintf(char **out, const char *fmt, va_list args)
{
    return is_text_refused(out) ? -1 : __real_vasprintf(out, fmt, args);
}

int __wrap_asprintf(char **out, const char *fmt, ...);
int __wrap_asprintf(char **out, const char *fmt, ...)
{
    va_list args;
    int len;

    va_start(args, fmt);
    len = __wrap_vasprintf(out, fmt, args);
    va_end(args);
    return len;
}

int __wrap___vasprintf_chk(char **out, int flag, const char *fmt, va_list args);
int __wrap___vasprintf_chk(char **out, int flag, const char *fmt, va_list args)
{
    (void)flag;
    return __wrap_vasprintf(out, fmt, args);
}

int __wrap___asprintf_chk(char **out, int flag, const char *fmt, ...);
int __wrap___asprintf_chk(char **out, int flag, const char *fmt, ...)
{
    va_list args;
    int len;

    (void)flag;
    va_start(args, fmt);
    len = __wrap_vasprintf(out, fmt, args);
    va_end(args);
    return len;
}

/* ---- files ---- */

SYSTEM(ssize_t, read, (int fd, void *data, size_t len), (fd, data, len), EIO)
SYSTEM(ssize_t, __read_chk, (int fd, void *data, size_t len, size_t room), (fd, data, len, room),
       EIO)
SYSTEM(ssize_t, pread, (int fd, void *data, size_t len, off_t at), (fd, data, len, at), EIO)
SYSTEM(ssize_t, __pread_chk, (int fd, void *data, size_t len, off_t at, size_t room),
       (fd, data, len, at, room), EIO)
SYSTEM(ssize_t, write, (int fd, const void *data, size_t len), (fd, data, len), ENOSPC)
SYSTEM(ssize_t, pwrite, (int fd, const void *data, size_t len, off_t at), (fd, data, len, at),
       ENOSPC)
SYSTEM(int, fsync, (int fd), (fd), EIO)
SYSTEM(int, ftruncate, (int fd, off_t len), (fd, len), EIO)
SYSTEM(int, fstat, (int fd, struct stat *out), (fd, out), EIO)
SYSTEM(int, stat, (const char *path, struct stat *out), (path, out), EACCES)
SYSTEM(int, access, (const char *path, int mode), (path, mode), EACCES)
SYSTEM(int, chmod, (const char *path, mode_t mode), (path, mode), EPERM)
SYSTEM(int, fchmod, (int fd, mode_t mode), (fd, mode), EPERM)
SYSTEM(int, mkdir, (const char *path, mode_t mode), (path, mode), EROFS)
SYSTEM(int, rename, (const char *from, const char *to), (from, to), EROFS)
SYSTEM(int, unlink, (const char *path), (path), EROFS)
SYSTEM(int, flock, (int fd, int how), (fd, how), ENOLCK)
SYSTEM(int, mkostemp, (char *path, int flags), (path, flags), EMFILE)
WRAP(FAULT_SYSTEM, DIR *, opendir, (const char *path), (path), NULL, EMFILE)
WRAP(FAULT_SYSTEM, FILE *, fopen, (const char *path, const char *mode), (path, mode), NULL, EMFILE)
WRAP(FAULT_SYSTEM, char *, getcwd, (char *out, size_t size), (out, size), NULL, EACCES)
WRAP(FAULT_SYSTEM, char *, realpath, (const char *path, char *out), (path, out), NULL, EACCES)

/* Mode is only there with O_CREAT or O_TMPFILE, but reading it does no harm here. */
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = va_arg(args, mode_t);
    va_end(args);
    return fault_is_due(FAULT_SYSTEM, "open", EMFILE) ? -1 : __real_open(path, flags, mode);
}

/* It is closed all the same: so does the kernel. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    bool is_due = fault_is_due(FAULT_SYSTEM, "close", EIO);
    int rc = __real_close(fd);

    if (rc != 0 && errno == EBADF && fd >= 0) {
        (void)fprintf(stderr, "descriptor %d is closed twice\n", fd);
        abort();
    }
    if (!is_due)
        return rc;
    errno = EIO;
    return -1;
}

int __real_fclose(FILE *file);
int __wrap_fclose(FILE *file);
int __wrap_fclose(FILE *file)
{
    bool is_due = fault_is_due(FAULT_SYSTEM, "fclose", EIO);
    int rc = __real_fclose(file);

    if (!is_due)
        return rc;
    errno = EIO;
    return EOF;
}

int __real_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...)
{
    va_list args;
    void *value;

    va_start(args, what);
    value = va_arg(args, void *);
    va_end(args);
    return fault_is_due(FAULT_SYSTEM, "fcntl", EINVAL) ? -1 : __real_fcntl(fd, what, value);
}

/* ---- sockets, processes, threads ---- */

SYSTEM(int, pipe2, (int out_ends[2], int flags), (out_ends, flags), EMFILE)
SYSTEM(int, socket, (int family, int type, int protocol), (family, type, protocol), EMFILE)
SYSTEM(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
       (fd, level, name, value, len), EINVAL)
SYSTEM(int, getsockopt, (int fd, int level, int name, void *out, socklen_t *len),
       (fd, level, name, out, len), EINVAL)
SYSTEM(int, bind, (int fd, const struct sockaddr *at, socklen_t len), (fd, at, len), EADDRINUSE)
SYSTEM(int, listen, (int fd, int backlog), (fd, backlog), EADDRINUSE)
SYSTEM(int, connect, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len),
       ECONNREFUSED)
SYSTEM(int, accept4, (int fd, struct sockaddr *out, socklen_t *len, int flags),
       (fd, out, len, flags), EMFILE)
SYSTEM(ssize_t, send, (int fd, const void *data, size_t len, int flags), (fd, data, len, flags),
       EPIPE)
SYSTEM(ssize_t, recv, (int fd, void *data, size_t len, int flags), (fd, data, len, flags),
       ECONNRESET)
SYSTEM(ssize_t, __recv_chk, (int fd, void *data, size_t len, size_t room, int flags),
       (fd, data, len, room, flags), ECONNRESET)
SYSTEM(int, shutdown, (int fd, int how), (fd, how), ENOTCONN)
SYSTEM(int, epoll_create1, (int flags), (flags), EMFILE)
SYSTEM(int, epoll_ctl, (int fd, int what, int other, struct epoll_event *event),
       (fd, what, other, event), ENOSPC)
SYSTEM(pid_t, fork, (void), (), EAGAIN)
WRAP(FAULT_SYSTEM, int, posix_spawn,
     (pid_t * out_pid, const char *path, const posix_spawn_file_actions_t *actions,
      const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]),
     (out_pid, path, actions, attributes, argv, envp), EAGAIN, EAGAIN)
WRAP(FAULT_SYSTEM, int, pthread_create,
     (pthread_t * out_thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg),
     (out_thread, attributes, run, arg), EAGAIN, EAGAIN)

/* ---- libjwt ---- */

/* libjwt 1.10 does not look whether its own texts could be allocated, and crashes; so its calls
 * fail as a whole, and faults wait inside. */
#define LIBJWT(type, name, signature, arguments, failure)                                          \
    type __real_##name signature;                                                                  \
    type __wrap_##name signature;                                                                  \
    type __wrap_##name signature                                                                   \
    {                                                                                              \
        bool was_paused;                                                                           \
        type result;                                                                               \
                                                                                                   \
        if (fault_is_due(FAULT_MEMORY, #name, ENOMEM))                                             \
            return failure;                                                                        \
        was_paused = fault_pause(true);                                                            \
        result = __real_##name arguments;                                                          \
        fault_pause(was_paused);                                                                   \
        return result;                                                                             \
    }

LIBJWT(int, jwt_new, (jwt_t * *out_jwt), (out_jwt), ENOMEM)
LIBJWT(int, jwt_add_header, (jwt_t * jwt, const char *name, const char *value), (jwt, name, value),
       ENOMEM)
LIBJWT(int, jwt_add_grant, (jwt_t * jwt, const char *name, const char *value), (jwt, name, value),
       ENOMEM)
LIBJWT(int, jwt_add_grant_int, (jwt_t * jwt, const char *name, long value), (jwt, name, value),
       ENOMEM)
LIBJWT(int, jwt_set_alg, (jwt_t * jwt, jwt_alg_t alg, const unsigned char *key, int len),
       (jwt, alg, key, len), ENOMEM)
LIBJWT(char *, jwt_encode_str, (jwt_t * jwt), (jwt), NULL)
LIBJWT(int, jwt_decode, (jwt_t * *out_jwt, const char *text, const unsigned char *key, int len),
       (out_jwt, text, key, len), ENOMEM)
