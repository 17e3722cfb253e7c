#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_resolved(int dir, const char *path, int flags, uint64_t resolve)
{
    const struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                                 .mode = (flags & O_CREAT) != 0 ? 0600 : 0,
                                 .resolve = resolve};
    long fd;

    /* EAGAIN: something was renamed meanwhile, so that the kernel could not be sure. */
    do
        fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
    while (fd < 0 && errno == EAGAIN);
    return (int)fd;
}

int files_open_below(int dir, const char *path, int flags)
{
    return open_resolved(dir, path, flags, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int files_open_plain(int dir, const char *path, int flags)
{
    return open_resolved(dir, path, flags,
                         RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
}

int files_create(int dir, const char *name)
{
    return files_open_plain(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
}

faas_code files_private_dir(int dir, const char *name, int *out_fd, faas_err *err)
{
    struct stat info;
    int fd;

    if (mkdirat(dir, name, 0700) != 0 && errno != EEXIST)
        return faas_fail(err, FAAS_INVALID, "%s: cannot make this directory: %s", name,
                         strerrordesc_np(errno));
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        int errnum = errno;

        if (fd >= 0)
            close(fd);
        return faas_fail(err, FAAS_INVALID, "%s: cannot open this directory: %s", name,
                         strerrordesc_np(errnum));
    }
    if (info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
        close(fd);
        return faas_fail(err, FAAS_INVALID,
                         "%s: must belong to the user of this process, and others must not enter "
                         "it (chmod 700)",
                         name);
    }
    *out_fd = fd;
    return FAAS_OK;
}

/* ---- contents ---- */

faas_code files_read(int fd, size_t max, char **out_text, size_t *out_len, faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    struct stat info;
    size_t len = 0;

    if (fstat(fd, &info) != 0)
        return faas_fail_sys(err, errno, "look at a file");
    if (!S_ISREG(info.st_mode))
        return faas_fail(err, FAAS_INVALID, "image: a plain file was expected");
    if ((uint64_t)info.st_size > max)
        return faas_fail(err, FAAS_TOO_LARGE, "image: a document is longer than %zu bytes", max);
    text = malloc((size_t)info.st_size + 1);
    if (text == NULL)
        return faas_fail_sys(err, errno, "read a file");
    while (len < (size_t)info.st_size) {
        ssize_t got = pread(fd, text + len, (size_t)info.st_size - len, (off_t)len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return faas_fail_sys(err, errno, "read a file");
        if (got == 0)
            break;
        len += (size_t)got;
    }
    text[len] = '\0';
    *out_text = FAAS_STEAL(text);
    *out_len = len;
    return FAAS_OK;
}

static faas_code write_all(int fd, const char *text, size_t len, faas_err *err)
{
    while (len > 0) {
        ssize_t put = write(fd, text, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return faas_fail_sys(err, errno, "write a record");
        text += put;
        len -= (size_t)put;
    }
    return fsync(fd) == 0 ? FAAS_OK : faas_fail_sys(err, errno, "write a record");
}

faas_code files_write(int spare_dir, const char *spare, int dir, const char *name,
                      const json_t *doc, faas_err *err)
{
    size_t len;
    FAAS_AUTO(char) *text = faas_json_text(doc, &len);
    faas_code code;
    int fd;

    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "write a record");
    fd = openat(spare_dir, spare, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return faas_fail_sys(err, errno, "make %s", spare);
    code = write_all(fd, text, len, err);
    close(fd);
    if (code == FAAS_OK && renameat(spare_dir, spare, dir, name) != 0)
        code = faas_fail_sys(err, errno, "rename to %s", name);
    if (code == FAAS_OK && fsync(dir) != 0)
        code = faas_fail_sys(err, errno, "keep %s", name);
    return code;
}

/* ---- removing ---- */

static int remove_in(int dir, const char *name, int depth);

static int empty_dir(int fd, int depth)
{
    DIR *list = fdopendir(fd);
    const struct dirent *entry;
    int rc = 0;

    if (list == NULL) {
        close(fd);
        return -1;
    }
    for (errno = 0; rc == 0 && (entry = readdir(list)) != NULL; errno = 0)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = remove_in(dirfd(list), entry->d_name, depth + 1);
    if (errno != 0)
        rc = -1;
    closedir(list);
    return rc;
}

/* The user's own folders may be without any right: the modes come from images. */
static int remove_in(int dir, const char *name, int depth)
{
    int fd;

    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    if (depth > FILES_DEPTH_MAX) {
        errno = ELOOP;
        return -1;
    }
    fd = files_open_plain(dir, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno == EACCES && fchmodat(dir, name, 0700, 0) == 0)
        fd = files_open_plain(dir, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0 || empty_dir(fd, depth) != 0)
        return -1;
    return unlinkat(dir, name, AT_REMOVEDIR);
}

faas_code files_remove_tree(int dir, const char *name, faas_err *err)
{
    if (remove_in(dir, name, 0) != 0)
        return faas_fail_sys(err, errno, "remove %s", name);
    return FAAS_OK;
}
