/* secret_files.c - secrets as files of a file system in memory, made here and handed to the lane as a
 * mount that is nowhere: so their bytes pass through no other process, no packet and no disk, and do
 * not count as the function's memory. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native.h"

#define FILE_MODE   0400
#define PAGE        4096 /* each file takes whole ones */
#define MOUNT_FLAGS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

static long set_text(int fs, const char *name, const char *value)
{
    return syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, name, value, 0);
}

static long set_number(int fs, const char *name, uint64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return set_text(fs, name, text);
}

/* -1, with errno. */
static int make_mount(const struct secret_set *set, uint32_t uid, uint32_t gid)
{
    uint64_t bytes = PAGE;
    int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), fd = -1, error;

    if (fs < 0)
        return -1;
    for (size_t i = 0; i < set->count; i++)
        bytes += (set->values[i]->len / PAGE + 1) * PAGE;
    /* Linux 6.4; before it the pages may be swapped, as those of any process. */
    (void)syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "noswap", NULL, 0);
    if (set_number(fs, "size", bytes) == 0 && set_number(fs, "nr_inodes", set->count + 8) == 0 &&
        set_text(fs, "mode", "0500") == 0 && set_number(fs, "uid", uid) == 0 &&
        set_number(fs, "gid", gid) == 0 &&
        syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_FLAGS);
    error = errno;
    close(fs);
    errno = error;
    return fd;
}

static int write_all(int fd, const struct secret_value *value)
{
    size_t done = 0;

    while (done < value->len) {
        ssize_t len = write(fd, (const char *)value->bytes + done, value->len - done);

        if (len < 0 && errno == EINTR)
            continue;
        if (len <= 0)
            return -1;
        done += (size_t)len;
    }
    return 0;
}

static int make_file(int dir, const struct secret_value *value, uint32_t uid, uint32_t gid)
{
    int fd =
        openat(dir, value->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    int rc = fd < 0 ? -1 : write_all(fd, value), error;

    if (rc == 0)
        rc = fchmod(fd, FILE_MODE) == 0 && fchown(fd, uid, gid) == 0 ? 0 : -1;
    error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return rc;
}

static int fill(int dir, const struct secret_set *set, uint32_t uid, uint32_t gid)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

    for (size_t i = 0; i < set->count; i++)
        if (make_file(dir, set->values[i], uid, gid) != 0)
            return -1;
    return (int)syscall(SYS_mount_setattr, dir, "", AT_EMPTY_PATH, &attr, sizeof attr);
}

faas_code secret_files_mount(const struct secret_set *set, uint32_t uid, uint32_t gid, int *out_fd,
                             faas_err *err)
{
    int fd = make_mount(set, uid, gid);

    if (fd >= 0 && fill(fd, set, uid, gid) == 0) {
        *out_fd = fd;
        return FAAS_OK;
    }
    (void)faas_fail(err, FAAS_UNAVAILABLE, "the secrets of the function cannot be mounted: %s",
                    strerror(errno));
    if (fd >= 0)
        close(fd);
    return FAAS_UNAVAILABLE;
}
