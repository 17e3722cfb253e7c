/* cgroup_files.h - the small files of a control group, by its directory.
 * Names     are never followed through links.
 * Errors    a negative errno, or -1 where only "not" matters.
 * Threads   any.
 */
#ifndef NATIVE_CGROUP_FILES_H
#define NATIVE_CGROUP_FILES_H

#include <sys/types.h>

int cgroup_dir(int at, const char *path); /* its descriptor */
int cgroup_write(int dir, const char *name, const char *text);
/* From its beginning, cut to room, ended by NUL; how much there was. */
ssize_t cgroup_read_fd(int fd, char *out, size_t room);
ssize_t cgroup_read(int dir, const char *name, char *out, size_t room);
/* Its processes, a line each; opened anew each time: v1 shows who reads on what it showed the first
 * time.  The caller frees it.  NULL: not known. */
char *cgroup_list(int dir);
/* The next number of such a list, which moves on; -1: there is none. */
pid_t cgroup_next(const char **list);

#endif
