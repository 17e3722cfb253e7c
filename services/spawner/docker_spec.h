/* docker_spec.h - one call as the body of POST /containers/create.
 * Hardened  every container, whatever the call or the image says: no capabilities, no new
 *           privileges, read-only root, no network unless asked for, memory without swap, CPU, pids
 *           and descriptor limits, no core files, small noexec /tmp and /dev/shm, no log file, no
 *           health check, never user 0.
 * User      the image's own when it is numeric and not 0 ("1000", "1000:1000"; a missing or zero
 *           group becomes 65534); else 65534:65534.  Names are not honoured: the image's own
 *           /etc/passwd decides what they mean, and may say 0.
 * Volumes   a path the image declares as a volume (image/volumes.h) becomes an empty tmpfs of /tmp's
 *           size, executable as a volume is: an anonymous one would be host disk without a limit.
 * Secrets   a function that has any begins as faas-enter (enter.h), in a volume of its own.
 * Labels    faas.cluster, faas.spawner, faas.epoch, faas.call, faas.expires (Unix seconds).
 * Threads   pure.
 */
#ifndef SPAWNER_DOCKER_SPEC_H
#define SPAWNER_DOCKER_SPEC_H

#include "known.h"
#include "runtime.h"

#define LABEL_CLUSTER "faas.cluster"
#define LABEL_SPAWNER "faas.spawner"
#define LABEL_EPOCH   "faas.epoch"
#define LABEL_CALL    "faas.call"
#define LABEL_EXPIRES "faas.expires"

#define DOCKER_USER_MAX 48

struct docker_owner { /* whose container it is */
    const char *cluster, *spawner, *epoch;
};
struct docker_spec {
    const struct rt_spec *call;
    const char *image; /* name for the engine */
    const struct image_info *info;
    struct docker_owner owner;
    int engine_cpus;
    int64_t expires_s; /* Unix time */
};
/* A new reference.  START_FAILED: the argument cannot be an argument (not UTF-8, or NUL), or a volume
 * of the image cannot be one. */
FAAS_MUST_CHECK faas_code docker_spec_json(const struct docker_spec *spec, json_t **out_body,
                                           faas_err *err);
/* What to run as, from the image's USER. */
void docker_user(const char *image_user, char out_user[DOCKER_USER_MAX]);

#endif
