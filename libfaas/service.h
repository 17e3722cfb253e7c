/* service.h - the main() all services share: options, log, loop, bus, rpc, members, signals, drain.
 * Start     load options; ignore SIGPIPE; open loop, pool, bus, rpc, members; run `start` on a
 *           thread of its own (it may block: open buckets, make first requests) while the loop
 *           runs; then serve the endpoints; then state "ready".  A failing start logs why and
 *           exits 1.
 * Ready     is_ready (may be NULL) is asked on the loop thread for each beat: not ready while it
 *           says no.
 * Drain     SIGTERM or SIGINT: state draining, leave queue groups and direct subjects (the CONTROL
 *           lane answers on), `drain` (may be NULL; loop thread) calls faas_service_drained() when
 *           its work is done, bounded by DRAIN_MS; then every request of ours still open fails,
 *           `stop`, close all, exit 0.  Threads that do not end then for 5 s are left: exit 1.  A
 *           second signal exits at once with 1.
 * Bus       refused for good: exit 1.
 * Health    every service answers faas.<name>.health (queue group) with {"ok":true} while ready,
 *           UNAVAILABLE otherwise, and faas.<name>.i.<id>.probe always.  With HEALTH_SOCKET the
 *           process answers for itself there; --healthcheck asks it (service_health.h).
 * Options   common rows: NATS_URL (comma list; else NATS1_URL, NATS2_URL, NATS3_URL),
 *           NATS_NKEY_FILE, NATS_CA_FILE, NATS_CERT_FILE, NATS_KEY_FILE, INSTANCE_ID (default random), LOG_LEVEL, DATA_DIR,
 *           REPLICAS (JetStream, 1..5), POOL_THREADS, DRAIN_MS, HEALTH_SOCKET, HEALTHCHECK.
 */
#ifndef FAAS_SERVICE_H
#define FAAS_SERVICE_H

#include "base/option.h"
#include "net/kv.h"
#include "net/members.h"
#include "version.h"

struct faas_runtime { /* what the skeleton opened; lives from start to stop */
    faas_loop *loop;
    faas_pool *pool;
    faas_bus *bus;
    faas_rpc *rpc;
    faas_members *members;
    const char *id;
    const char *data_dir; /* exists, 0700 */
    int replicas;
    int64_t drain_ms; /* longest time from the order to leave to the end */
};
struct faas_service {
    const char *name, *description;
    const struct faas_option *options;     /* own rows */
    const struct faas_endpoint *endpoints; /* or NULL */
    void *state;                           /* handed to handlers and the functions below */
    int threads_default;                   /* POOL_THREADS default; 0: 4 */
    faas_code (*start)(void *state, const struct faas_runtime *rt,
                       faas_err *err); /* own thread, loop running */
    bool (*is_ready)(void *state);
    bool (*is_healthy)(void *state); /* besides ready, for faas.<name>.health only; may be NULL */
    void (*fill)(void *state, struct faas_beat *beat); /* further beat fields; may be NULL */
    faas_member_watch *watch;                          /* may be NULL */
    void (*drain)(void *state);
    void (*stop)(void *state); /* after loop and pool stopped */
};
int faas_service_main(const struct faas_service *service, int argc, char **argv);
void faas_service_drained(void); /* loop thread */

#endif
