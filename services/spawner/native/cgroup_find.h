/* cgroup_find.h - where control groups can be made on this machine: read from the kernel's tables.
 * Layouts   v1 (a hierarchy per controller, or several controllers in one), v2 (one hierarchy), and
 *           hybrid (v1 controllers beside a v2 hierarchy that has none of ours).  Which it is shows
 *           at run time only.
 * Place     the process's own group when the table shows it, so that limits on the service hold for
 *           its functions; else the top of the mount (inside a container whose view begins there).
 * Threads   pure.
 */
#ifndef NATIVE_CGROUP_FIND_H
#define NATIVE_CGROUP_FIND_H

#include <stdbool.h>
#include <stddef.h>

#define CGROUP_PATH_MAX 512
#define CGROUP_V1_MAX   3

enum cgroup_controller { CGROUP_MEMORY = 1, CGROUP_PIDS = 2, CGROUP_CPU = 4, CGROUP_ALL = 7 };

struct cgroup_place {
    unsigned controllers;                            /* of ours; v2: told by its own files */
    char top[CGROUP_PATH_MAX], own[CGROUP_PATH_MAX]; /* directories; the same at the top */
};
struct cgroup_places {
    size_t v1_count;
    struct cgroup_place v1[CGROUP_V1_MAX];
    bool has_v2;
    struct cgroup_place v2;
};
/* mountinfo, membership: /proc/self/mountinfo and /proc/self/cgroup, ended by NUL. */
void cgroup_find(const char *mountinfo, const char *membership, struct cgroup_places *out);

const char *cgroup_controller_name(enum cgroup_controller which);

#endif
