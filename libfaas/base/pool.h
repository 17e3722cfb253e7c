/* pool.h - a bounded set of worker threads with a bounded queue.
 * Submit    never blocks: BUSY when the queue is full, UNAVAILABLE once stop has begun.
 * Jobs      run in submission order, at most `threads` at once, with all signals blocked.  They
 *           must bound their own waits.
 * Waking    as few threads as the work needs, the one that slept least first; no job waits while a
 *           thread sleeps.
 * Finish    refuses new jobs from now on, runs what is queued, joins.  Submit may still be called.
 * Stop      finishes, if that was not done, and frees the pool.
 * Threads   submit from any thread, also from jobs; the rest from one at a time.
 */
#ifndef FAAS_POOL_H
#define FAAS_POOL_H

#include "base/err.h"

typedef struct faas_pool faas_pool;
typedef void faas_job(void *arg);

FAAS_MUST_CHECK faas_code faas_pool_start(int threads, int queue_max, faas_pool **out_pool,
                                          faas_err *err);
FAAS_MUST_CHECK faas_code faas_pool_submit(faas_pool *pool, faas_job *job, void *arg,
                                           faas_err *err);
/* For the figures: a moment's numbers.  Any thread, until faas_pool_stop(). */
struct faas_pool_state {
    int threads, busy, waiting; /* busy: threads with a job; waiting: jobs */
};
void faas_pool_look(faas_pool *pool, struct faas_pool_state *out_state);
void faas_pool_finish(faas_pool *pool);
void faas_pool_stop(faas_pool *pool);

#endif
