/* loop.h - one thread that owns state: libev plus a mailbox.
 * State     a program's mutable state belongs to one loop thread; other threads (NATS callbacks,
 *           pool jobs) only post to it.
 * Watchers  timers and descriptors are libev watchers (ev_timer, ev_io) embedded in the state they
 *           serve, started on faas_loop_ev() from the loop thread only.
 * Posts     run in order of posting, between libev events.  A post made with memory of the poster's
 *           cannot fail; it is the loop's until its task begins.
 * Lag       faas_loop_lag_ms(): how late the loop's own 100 ms tick was at its worst since the last
 *           call, the present one included (DESIGN.md 4.4).
 * Threads   post and stop: any.  Everything else: the thread inside faas_loop_run.
 * Errors    post never fails for lack of room; without memory of the poster's it aborts when there is
 *           none for a 32-byte node, since losing a reply silently would be worse.
 */
#ifndef FAAS_LOOP_H
#define FAAS_LOOP_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"

typedef struct faas_loop faas_loop;
typedef void faas_task(void *arg);

/* Memory for one post at a time; only loop.c looks inside. */
struct faas_post {
    STAILQ_ENTRY(faas_post) link;
    faas_task *task;
    void *arg;
    bool is_loops; /* freed by the loop */
};

FAAS_MUST_CHECK faas_code faas_loop_new(faas_loop **out_loop, faas_err *err);
void faas_loop_free(faas_loop *loop); /* not running; posts still queued are run first */
void faas_loop_run(faas_loop *loop);  /* until faas_loop_stop */
void faas_loop_stop(faas_loop *loop);
void faas_loop_post(faas_loop *loop, faas_task *task, void *arg);
void faas_loop_post_with(faas_loop *loop, struct faas_post *post, faas_task *task, void *arg);
void faas_loop_wake(faas_loop *loop); /* it takes another turn; any thread */
bool faas_loop_is_own_thread(const faas_loop *loop);
struct ev_loop *faas_loop_ev(faas_loop *loop);
int64_t faas_loop_lag_ms(faas_loop *loop);

#endif
