/* docker_turn.c - whose container is begun next.
 * Why       an engine that is asked for many containers at once gives all of them slowly, so that
 *           one user's burst would slow everybody's calls; started a few at a time they are ready
 *           no later, and users can take turns.
 * Bound     who had no turn in three quarters of its start_timeout_ms is sent away: begun later it
 *           would be killed half-way, and under lasting overload so would every other.
 * Rule      so many containers are on their way to their start at once; a user who has none among
 *           them need not wait, up to twice that number. */
#include <string.h>

#include "docker.h"

#define WAIT_PART 0.75 /* of start_timeout_ms */

void docker_turn_init(struct docker *dk)
{
    faas_fair_init(&dk->waiting, SIZE_MAX, SIZE_MAX); /* the slots bound it */
}

static size_t most(const struct docker *dk)
{
    int cpus = engine_facts(dk->eng)->cpus;

    return dk->conf.starts > 0 ? (size_t)dk->conf.starts : (size_t)(cpus > 0 ? cpus : 1) + 1;
}

static bool has_start(const struct docker *dk, const char *tenant)
{
    const struct rt_call *call;

    LIST_FOREACH (call, &dk->calls, link)
        if (call->is_starting && strcmp(call->tenant, tenant) == 0)
            return true;
    return false;
}

static bool may_begin(const struct rt_call *call)
{
    const struct docker *dk = call->dk;

    return dk->starting < most(dk) || (dk->starting < 2 * most(dk) && !has_start(dk, call->tenant));
}

static void begin(struct rt_call *call)
{
    call->is_starting = true;
    call->dk->starting++;
}

static void on_too_late(struct ev_loop *ev, ev_timer *timer, int events)
{
    faas_err err;

    (void)ev, (void)events;
    (void)faas_fail(&err, FAAS_BUSY,
                    "more calls wait for their start than the machine keeps up with; nothing was "
                    "started, try again");
    docker_fail(timer->data, &err);
}

faas_code docker_turn_ask(struct rt_call *call, bool *out_is_now, faas_err *err)
{
    struct docker *dk = call->dk;

    *out_is_now = may_begin(call); /* whoever waits may not: else they had begun */
    if (*out_is_now) {
        begin(call);
        return FAAS_OK;
    }
    FAAS_TRY(faas_fair_push(&dk->waiting, call->tenant, &call->turn, false, err));
    ev_set_cb(&call->retry_timer, on_too_late);
    ev_timer_set(&call->retry_timer, WAIT_PART * (double)call->spec.start_timeout_ms / 1000.0, 0.0);
    ev_timer_start(dk->ev, &call->retry_timer);
    return FAAS_OK;
}

static struct rt_call *call_of(struct faas_fair_item *item)
{
    return (struct rt_call *)(void *)((char *)item - offsetof(struct rt_call, turn));
}

static bool may_go(void *arg, struct faas_fair_item *item)
{
    (void)arg;
    return may_begin(call_of(item));
}

void docker_turn_leave(struct rt_call *call)
{
    struct docker *dk = call->dk;
    struct faas_fair_item *item;

    faas_fair_remove(&dk->waiting, &call->turn);
    if (!call->is_starting)
        return;
    call->is_starting = false;
    dk->starting--;
    while ((item = faas_fair_take(&dk->waiting, may_go, NULL)) != NULL) {
        call = call_of(item);
        ev_timer_stop(dk->ev, &call->retry_timer);
        begin(call);
        docker_begin(call);
    }
}
