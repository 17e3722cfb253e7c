/* supervisor.h - runs a plan: starts all, keeps all alive, says ready, stops in order.
 * Start     everything at once (the services of a new NATS cluster once it has its buckets);
 *           `ready URL` once ready.h says so.  A part that dies
 *           SUPERVISOR_START_DEATHS times in a row before that ends the start with its last words.
 * Restart   process.h; a NATS server that does not answer is killed and started again (watchdog.h).
 * Stop      SIGTERM, SIGINT or SIGHUP: gateway, publisher, spawner, registry, auth, image-registry, nats,
 * each group bounded; a second signal kills all at once. State     DIR/state.json after each change
 * (state.h), for `faas status`. Threads   the main thread; libev's default loop.
 */
#ifndef CLI_SUPERVISOR_H
#define CLI_SUPERVISOR_H

#include "cli/plan.h"

#define SUPERVISOR_START_DEATHS 7

struct supervisor_setup {
    bool is_verbose;             /* children's lines to the terminal too */
    bool is_detached;            /* own events as JSON lines, not sentences */
    void (*on_ready)(void *arg); /* after `ready URL` was printed; may be NULL */
    /* Not NULL: in place of `ready URL` this, once all is ready, on a thread of its own; then the
     * end.  What failed in it is its own to tell. */
    faas_code (*job)(void *arg);
    void *arg;
};

/* Until everything has ended.  Returns an exit status.  A job that a signal cut short may still run. */
int supervisor_run(const struct plan *plan, const struct supervisor_setup *setup);

#endif
