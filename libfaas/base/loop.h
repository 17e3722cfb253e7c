/* loop.h - one thread that owns state: libev plus a mailbox.
 * State     a program's mutable state belongs to one loop thread; other threads (NATS callbacks,
 *           pool jobs) only post to it.
 * Watchers  timers and descriptors are libev watchers (ev_timer, ev_io) embedded in the state they
 *           serve, started on faas_loop_ev() from the loop thread only.
 * Posts     run in order of posting, between libev events.
 * Lag       faas_loop_lag_ms(): how late the loop's own 100 ms tick was at its worst since the last
 *           call, the present one included (DESIGN.md 4.4).
 * Threads   post and stop: any.  Everything else: the thread inside faas_loop_run.
 * Errors    post never fails for lack of room; it aborts only without memory for a 32-byte node,
 *           since losing a reply silently would be worse.
 */
#ifndef FAAS_LOOP_H
#define FAAS_LOOP_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct faas_loop faas_loop;
typedef void faas_task(void *arg);

FAAS_MUST_CHECK faas_code faas_loop_new(faas_loop **out_loop, faas_err *err);
void faas_loop_free(faas_loop *loop); /* not running; posts still queued are run first */
void faas_loop_run(faas_loop *loop);  /* until faas_loop_stop */
void faas_loop_stop(faas_loop *loop);
void faas_loop_post(faas_loop *loop, faas_task *task, void *arg);
bool faas_loop_is_own_thread(const faas_loop *loop);
struct ev_loop *faas_loop_ev(faas_loop *loop);
int64_t faas_loop_lag_ms(faas_loop *loop);

#endif
