/* worker.h - takes calls from the bus, gives each a slot, and remembers what became of them.
 * Slots     a call holds one from its message until nothing of it runs any more; containers that
 *           are still being removed, and results that wait for their receivers, are bounded besides
 *           (WORKER_LINGER times the slots and WORKER_LINGER_MIN more).
 * Refusals  draining, foreign epoch, stale heartbeat, fenced or ended id, no slot, no engine, no
 *           image (which starts a pull): PROTOCOL.md 4.3.  A repeated message of a running call is
 *           accepted again.
 * Threads   everything on the loop thread.
 */
#ifndef SPAWNER_WORKER_H
#define SPAWNER_WORKER_H

#include "beats.h"
#include "runtime.h"
#include "secrets.h"
#include "service.h"

#define WORKER_LINGER     2
#define WORKER_LINGER_MIN 16 /* but never fewer: one slot must do for one call after the other */

typedef struct worker worker;

struct worker_conf {
    const struct faas_runtime *rt;
    struct runtime *runtime;
    secrets *secrets;          /* NULL: calls get none */
    const struct beats *beats; /* of this process */
    int64_t slots;
    int64_t stream_mb; /* most of stdout, and again of stderr, of a call whose output is streamed */
};
FAAS_MUST_CHECK faas_code worker_new(const struct worker_conf *conf, worker **out_worker,
                                     faas_err *err);
/* Cancels what runs, waits up to time_ms for its containers to be gone, frees.  The loop has
 * stopped: this drives it. */
void worker_close(worker *self, int64_t time_ms);
void worker_fill(worker *self, struct faas_beat *beat); /* before each beat */
/* No new calls; faas_service_drained() once the last one ended and was told. */
void worker_drain(worker *self);

/* Loop endpoints; they own the message. */
void worker_on_call(worker *self, faas_msg *take_msg);
void worker_on_cancel(worker *self, faas_msg *take_msg);
void worker_on_fence(worker *self, faas_msg *take_msg);
void worker_on_resolve(worker *self, faas_msg *take_msg);

/* A slot for work that came another way (direct.h).  BUSY with the reason. */
FAAS_MUST_CHECK faas_code worker_take_slot(worker *self, faas_err *err);
void worker_give_slot(worker *self);

#endif
