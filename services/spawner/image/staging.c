/* staging.c - where imports work until what they made is complete. */
#include "store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "files.h"

static faas_code lock_tmp(struct image_store *store, int *out_fd, faas_err *err)
{
    int fd = openat(store->fd, "tmp.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600), rc;

    if (fd < 0)
        return faas_fail_sys(err, errno, "open tmp.lock of the image store");
    do
        rc = flock(fd, LOCK_EX);
    while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        int errnum = errno;

        close(fd);
        return faas_fail_sys(err, errnum, "lock tmp.lock of the image store");
    }
    *out_fd = fd;
    return FAAS_OK;
}

static faas_code make_locked(struct image_staging *staging, faas_err *err)
{
    int tmp = staging->store->tmp;

    if (mkdirat(tmp, staging->name, 0700) != 0)
        return faas_fail_sys(err, errno, "make tmp/%s", staging->name);
    staging->fd = openat(tmp, staging->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (staging->fd < 0 || flock(staging->fd, LOCK_EX | LOCK_NB) != 0)
        return faas_fail_sys(err, errno, "lock tmp/%s", staging->name);
    return FAAS_OK;
}

faas_code image_staging_open(struct image_store *store, struct image_staging *out_staging,
                             faas_err *err)
{
    struct image_staging staging = {.store = store, .fd = -1};
    faas_code code;
    int lock;

    FAAS_TRY(lock_tmp(store, &lock, err));
    faas_random_token(staging.name);
    code = make_locked(&staging, err);
    close(lock);
    if (code != FAAS_OK) {
        image_staging_close(&staging);
        return code;
    }
    *out_staging = staging;
    return FAAS_OK;
}

void image_staging_close(struct image_staging *staging)
{
    if (staging->store == NULL)
        return;
    /* What cannot be removed now is the next sweep's. */
    (void)!files_remove_tree(staging->store->tmp, staging->name, NULL);
    if (staging->fd >= 0)
        close(staging->fd);
    *staging = (struct image_staging){.fd = -1};
}

static faas_code sweep_one(struct image_store *store, const char *name, faas_err *err)
{
    int fd = openat(store->tmp, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    faas_code code = FAAS_OK;

    if (fd < 0 && errno == ENOENT)
        return FAAS_OK;
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
        code = files_remove_tree(store->tmp, name, err);
    if (fd >= 0)
        close(fd);
    return code;
}

faas_code image_staging_sweep(struct image_store *store, faas_err *err)
{
    const struct dirent *entry;
    faas_code code;
    DIR *list;
    int lock, fd;

    FAAS_TRY(lock_tmp(store, &lock, err));
    fd = openat(store->tmp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    list = fd >= 0 ? fdopendir(fd) : NULL;
    code = list != NULL ? FAAS_OK : faas_fail_sys(err, errno, "list tmp of the image store");
    while (code == FAAS_OK && (entry = readdir(list)) != NULL)
        if (entry->d_name[0] != '.')
            code = sweep_one(store, entry->d_name, err);
    if (list != NULL)
        closedir(list);
    else if (fd >= 0)
        close(fd);
    close(lock);
    return code;
}
