/* ready.h - when may `ready` be printed?  After a write to every bucket and a healthy gateway, and, where
 * there is one, a healthy registry of images.
 * How       on a thread of its own with a bus connection of its own (NATS user "cli"): opens each
 *           bucket, writes and deletes the key "ready.up" there, then asks GET /healthz of each
 *           gateway every 20 ms until it says 200.  Health of a gateway includes every service.
 * Cluster   with monitor ports, first until /healthz of each NATS server says 200, and `formed` is
 *           called after the writes: a new cluster gets its buckets from one writer, late enough.  A
 *           replicated stream made in the instant of the first leader loses its first election and
 *           waits 5 s for the next, and of several requests at once to make one stream some get no
 *           answer (measured, 2.15.1); made like this it takes 0.2 s.
 * Result    posted to the loop of the supervisor; the thread ends by itself at its deadline.
 * Threads   ready_start() and the callback: the supervisor's loop thread.
 */
#ifndef CLI_READY_H
#define CLI_READY_H

#include <ev.h>
#include <stdint.h>

#include "cli/plan.h"
#include "cli/session.h"

#define READY_TIMEOUT_MS 90000

struct ready_conf { /* strings live until the result */
    struct session_at at;
    const char *gateway_urls[PLAN_REPLICAS_MOST];
    size_t gateway_count;
    const char *images_url; /* registry of images; NULL: none */
    int stream_replicas;
    int monitor_ports[NATS_SERVERS_MAX];
    size_t monitor_count; /* 0: do not wait for the cluster, formed is not called */
    void (*formed)(void *arg);
};
typedef void ready_done(void *arg, faas_code code, const faas_err *err);

struct ready;

FAAS_MUST_CHECK faas_code ready_start(const struct ready_conf *conf, struct ev_loop *ev,
                                      ready_done *done, void *arg, struct ready **out_ready,
                                      faas_err *err);
/* Joins and frees when the result has come; otherwise asks the thread to end and leaves it to the
 * end of the process. */
void ready_end(struct ready *ready);

#endif
