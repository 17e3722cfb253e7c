#include "cgroup_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"

#define PROCS_MAX (512 * 1024) /* text of cgroup.procs */

int cgroup_dir(int at, const char *path)
{
    return openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

int cgroup_write(int dir, const char *name, const char *text)
{
    int fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;

    if (fd >= 0)
        close(fd);
    return rc;
}

ssize_t cgroup_read_fd(int fd, char *out, size_t room)
{
    size_t used = 0;
    ssize_t got = 0;

    while (used + 1 < room && (got = pread(fd, out + used, room - 1 - used, (off_t)used)) > 0)
        used += (size_t)got;
    out[used] = '\0';
    return got < 0 ? -1 : (ssize_t)used;
}

ssize_t cgroup_read(int dir, const char *name, char *out, size_t room)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t len = fd >= 0 ? cgroup_read_fd(fd, out, room) : -1;

    if (fd >= 0)
        close(fd);
    return len;
}

char *cgroup_list(int dir)
{
    FAAS_AUTO(char) *text = malloc(PROCS_MAX);

    if (text == NULL || cgroup_read(dir, "cgroup.procs", text, PROCS_MAX) < 0)
        return NULL;
    return FAAS_STEAL(text);
}

pid_t cgroup_next(const char **list)
{
    char *end;
    long pid = strtol(*list, &end, 10);

    if (end == *list)
        return -1;
    *list = end;
    return (pid_t)pid;
}
