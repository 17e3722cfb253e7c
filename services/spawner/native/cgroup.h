/* cgroup.h - the control groups of a spawner's lanes.
 * Place     a group of the given name where cgroup_find.h and cgroup_v2.h say, and in it one group
 *           per lane, in each hierarchy that is needed for memory, pids and cpu.
 * Pool      making and removing a group takes the kernel a while, so groups are used again.
 * Earlier   what an earlier life of the same name left is killed and removed by cgroups_open,
 *           which may wait for it; the caller holds the lock that says no other life is there.
 * Missing   a controller that cannot be had is not an error here: see cgroups_has.
 * Killing   by pidfd, after another look that the process is in the group: numbers are used again.
 * Threads   open and close: any; the rest: one thread.
 */
#ifndef NATIVE_CGROUP_H
#define NATIVE_CGROUP_H

#include <stdint.h>

#include "base/err.h"
#include "cgroup_find.h"

#define CGROUP_DIRS 3 /* hierarchies a lane may need */

struct cgroup_limits {
    int64_t memory_bytes, pids;
    double cpus;
};
struct cgroups;
struct cgroup;

FAAS_MUST_CHECK faas_code cgroups_open(const char *name, struct cgroups **out_groups,
                                       faas_err *err);
void cgroups_close(struct cgroups *groups); /* removes what is empty */
unsigned cgroups_has(const struct cgroups *groups);
/* A group without processes, with these limits as far as there are controllers. */
FAAS_MUST_CHECK faas_code cgroups_take(struct cgroups *groups, const struct cgroup_limits *limits,
                                       struct cgroup **out_group, faas_err *err);
void cgroups_give(struct cgroup *take_group);       /* empty */
size_t cgroups_count(const struct cgroups *groups); /* taken ones */

/* Descriptors of its cgroup.procs files, which stay the group's. */
size_t cgroup_procs(const struct cgroup *group, int out_fds[CGROUP_DIRS]);
/* Kills every process in it; how many there were.  0: it is empty.  killed may be NULL. */
typedef void cgroup_killed(void *arg, int take_pidfd);
size_t cgroup_kill(const struct cgroup *group, cgroup_killed *killed, void *arg);
size_t cgroup_count(const struct cgroup *group); /* processes in it */
/* Processes killed for memory in it, ever. */
int64_t cgroup_oom_kills(const struct cgroup *group);

#endif
