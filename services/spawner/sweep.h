/* sweep.h - which containers of the cluster nobody owns any more.
 * Ours      a container with our cluster's label is removed when it is past its time; when it is
 *           from an earlier life of this very spawner, or of this life but no call of it is known;
 *           or when its spawner has been gone from the heartbeats for SWEEP_GONE_MS.
 * Absence   counts only while this process itself hears the bus: a spawner that was cut off must
 *           not remove the work of those it cannot hear.
 * Threads   none of its own.
 */
#ifndef SPAWNER_SWEEP_H
#define SPAWNER_SWEEP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "docker_spec.h"

#define SWEEP_EVERY_MS 10000
#define SWEEP_GONE_MS  10000
#define SWEEP_PEERS    64 /* spawners watched for absence at once; others wait their turn */

struct sweep {
    struct docker_owner self;
    /* Is a call of this life still in our hands (running, or being removed)? */
    bool (*is_own_call)(void *arg, const char *call_id);
    /* Do heartbeats of that spawner arrive? */
    bool (*is_heard)(void *arg, const char *spawner);
    void *arg;
    struct sweep_peer {
        char spawner[40];
        uint64_t missing_ns; /* since when */
    } peers[SWEEP_PEERS];
};
/* Forget all absences: called while the bus is not heard. */
void sweep_deaf(struct sweep *sweep);
/* labels: the container's; now_ns: faas_now_ns(); wall_s: Unix time.  NULL: keep it, else why not.
 */
const char *sweep_judge(struct sweep *sweep, const json_t *labels, uint64_t now_ns, int64_t wall_s);

#endif
