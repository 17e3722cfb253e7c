#include "base/secret.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder in which path itself stands, links on the way to it resolved; NULL without one. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    FAAS_AUTO(char) *dir = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);

    return dir != NULL ? realpath(dir, NULL) : NULL;
}

/* Asks the descriptor where it is, so that nothing can be exchanged in between. */
static faas_code is_below_own_folder(int fd, const char *path, bool *out_is_below, faas_err *err)
{
    FAAS_AUTO(char) *folder = folder_of(path);
    char link[64], real[PATH_MAX];
    size_t len = folder != NULL ? strlen(folder) : 0;
    ssize_t n;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, real, sizeof real - 1);
    if (folder == NULL || n < 0)
        return faas_fail_sys(err, errno, "where %s is", path);
    real[n] = '\0';
    *out_is_below = strncmp(real, folder, len) == 0 && (real[len] == '/' || len == 1);
    return FAAS_OK;
}

faas_code faas_secret_check(int fd, const char *path, faas_err *err)
{
    struct stat info;
    bool is_below;

    if (fstat(fd, &info) != 0)
        return faas_fail(err, FAAS_INVALID, "%.200s: cannot be examined: %s", path,
                         strerrordesc_np(errno));
    if (!S_ISREG(info.st_mode))
        return faas_fail(err, FAAS_INVALID, "%.200s: not a plain file", path);
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return faas_fail(err, FAAS_INVALID,
                         "%.200s: group or others may reach this secret (mode %04o); run chmod "
                         "0600 on it, and make a new one if it may be known",
                         path, (unsigned)(info.st_mode & 07777));
    if (info.st_uid != geteuid() && info.st_uid != 0)
        return faas_fail(err, FAAS_INVALID,
                         "%.200s: this secret belongs to user %u; run chown %u on it", path,
                         (unsigned)info.st_uid, (unsigned)geteuid());
    FAAS_TRY(is_below_own_folder(fd, path, &is_below, err));
    if (!is_below)
        return faas_fail(err, FAAS_INVALID,
                         "%.200s: a symbolic link out of its folder; name the secret's own file",
                         path);
    if (info.st_size == 0)
        return faas_fail(err, FAAS_INVALID, "%.200s: this secret is empty", path);
    return FAAS_OK;
}
