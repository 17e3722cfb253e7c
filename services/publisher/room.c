/* Is there room for a call: the caps, the spawners' free places, its user's share of them; and the
 * queue of those that wait for room. */
#include "publisher.h"

#include "base/clock.h"

#include <stddef.h>
#include <stdio.h>

/* ---- caps ---- */

static int64_t function_cap(const struct publisher *pub, const struct record *rec)
{
    return rec->concurrency > 0 ? rec->concurrency : pub->conf.function_concurrency;
}

bool room_is_at_cap(struct publisher *pub, const struct record *rec)
{
    int64_t cap = function_cap(pub, rec);

    return cap > 0 && tally_of(&pub->by_function, rec->id) >= cap;
}

bool room_is_capped(struct live *call)
{
    if (call->is_counted || !room_is_at_cap(call->pub, call->rec))
        return false;
    (void)faas_fail(&call->err, FAAS_BUSY,
                    "the function runs as many calls as it may at once (%lld)",
                    (long long)function_cap(call->pub, call->rec));
    return true;
}

faas_code room_count_in(struct live *call)
{
    if (call->is_counted)
        return FAAS_OK;
    FAAS_TRY(tally_add(&call->pub->by_function, call->rec->id, &call->err));
    usage_place(call->usage, 1);
    call->is_counted = true;
    return FAAS_OK;
}

void room_count_out(struct live *call)
{
    if (!call->is_counted)
        return;
    call->is_counted = false;
    tally_drop(&call->pub->by_function, call->rec->id);
    usage_place(call->usage, -1);
}

/* ---- spawners ---- */

/* The spawners of this moment with corrected room. */
static const struct place_fleet *gather(struct publisher *pub)
{
    const struct faas_member *member;

    pub->fleet.len = 0;
    for (size_t i = 0; (member = faas_members_at(pub->rt->members, "spawner", i)) != NULL; i++) {
        struct place_target target = {.id = member->id,
                                      .epoch = member->epoch,
                                      .beat = member->beat,
                                      .free = member->free,
                                      .slots = member->slots,
                                      .is_usable = faas_member_is_usable(member)};

        if (member->is_dead)
            continue;
        target.is_usable = target.is_usable && !place_ledger_is_leaving(&pub->ledger, &target);
        target.free = place_ledger_free(&pub->ledger, &target);
        place_fleet_add(&pub->fleet, &target);
    }
    return &pub->fleet;
}

static struct room_places count_places(const struct place_fleet *fleet)
{
    struct room_places places = {0, 0};

    for (size_t i = 0; i < fleet->len; i++) {
        if (!fleet->targets[i].is_usable)
            continue;
        places.all += fleet->targets[i].slots;
        places.free += fleet->targets[i].free;
    }
    return places;
}

struct room_places room_places(struct publisher *pub)
{
    return count_places(gather(pub));
}

/* Is there a place beyond those that the call's user leaves to others?  A call that was granted one
 * keeps the right to it. */
static bool has_share(const struct live *call, const struct room_places *places, size_t awaited)
{
    int64_t kept = usage_kept(&call->pub->usage, call->usage, places->all);

    return call->is_counted || places->free > kept + (int64_t)awaited;
}

static size_t pick(const struct live *call, const struct place_fleet *fleet)
{
    return place_pick(fleet->targets, fleet->len, call->rec->affinity, &call->round);
}

static bool choose(struct live *call, const struct place_fleet *fleet, enum place_verdict *out_why)
{
    size_t idx = pick(call, fleet);

    if (idx == PLACE_NONE) {
        *out_why = place_why(fleet->targets, fleet->len, &call->round);
        if (*out_why != PLACE_MAY_PULL)
            return false;
        call->round.is_pull = true;
        idx = pick(call, fleet);
        *out_why = PLACE_ALL_BUSY;
    }
    if (idx == PLACE_NONE)
        return false;
    snprintf(call->at.id, sizeof call->at.id, "%s", fleet->targets[idx].id);
    snprintf(call->at.epoch, sizeof call->at.epoch, "%s", fleet->targets[idx].epoch);
    call->at.beat = fleet->targets[idx].beat;
    return true;
}

bool room_choose(struct live *call, enum place_verdict *out_why)
{
    struct publisher *pub = call->pub;
    const struct place_fleet *fleet = gather(pub);

    usage_seek(call->usage, faas_now_ns());
    pub->places = count_places(fleet);
    if (!choose(call, fleet, out_why))
        return false;
    call->is_left_to_others = !has_share(call, &pub->places, pub->hungry - call->usage->hungry);
    if (call->is_left_to_others)
        *out_why = PLACE_ALL_BUSY;
    return !call->is_left_to_others;
}

bool room_is_owed(const struct live *call)
{
    const struct usage *usage = &call->pub->usage;

    return usage->active > 1 && usage_is_below_share(usage, call->usage, call->pub->places.all);
}

/* ---- the queue ---- */

static struct live *from_wait(struct faas_fair_item *item)
{
    return (struct live *)(void *)((char *)item - offsetof(struct live, wait));
}

static void set_hungry(struct live *call, int by)
{
    if (!call->is_hungry)
        return;
    call->pub->hungry += (size_t)by;
    call->usage->hungry += (size_t)by;
}

void room_leave_queue(struct live *call)
{
    faas_fair_remove(&call->pub->fair, &call->wait);
    set_hungry(call, -1);
    tally_drop(&call->pub->waiting_by_function, call->rec->id);
    metric_level(M_WAITING, (int64_t)call->pub->fair.len);
}

faas_code room_queue(struct live *call, faas_err *err)
{
    struct publisher *pub = call->pub;

    room_count_out(call);
    FAAS_TRY(tally_add(&pub->waiting_by_function, call->rec->id, err));
    if (faas_fair_push(&pub->fair, call->tenant, &call->wait, call->was_queued, err) != FAAS_OK) {
        tally_drop(&pub->waiting_by_function, call->rec->id);
        return err->code;
    }
    call->was_queued = true;
    set_hungry(call, 1);
    metric_level(M_WAITING, (int64_t)pub->fair.len);
    if (!ev_is_active(&pub->pump))
        ev_timer_again(faas_loop_ev(pub->rt->loop), &pub->pump);
    room_pump(pub); /* what is free may be kept for just this one */
    return FAAS_OK;
}

/* take_next() has just gathered the fleet. */
static bool may_go(struct live *call)
{
    enum place_verdict why;

    return has_share(call, &call->pub->places, 0) && !room_is_capped(call) &&
           choose(call, &call->pub->fleet, &why);
}

static bool may_go_first(void *arg, struct faas_fair_item *item)
{
    struct live *call = from_wait(item);

    (void)arg;
    return usage_is_below_share(&call->pub->usage, call->usage, call->pub->places.all) &&
           may_go(call);
}

static bool may_go_then(void *arg, struct faas_fair_item *item)
{
    (void)arg;
    return may_go(from_wait(item));
}

/* Users with less than their share come first; within each kind they take turns. */
static struct live *take_next(struct publisher *pub)
{
    struct faas_fair_item *item = NULL;

    pub->places = count_places(gather(pub));
    if (pub->fair.len > 0 && pub->places.free > 0)
        item = faas_fair_take(&pub->fair, may_go_first, NULL);
    if (item == NULL && pub->fair.len > 0 && pub->places.free > 0)
        item = faas_fair_take(&pub->fair, may_go_then, NULL);
    return item != NULL ? from_wait(item) : NULL;
}

static void pump_now(struct publisher *pub)
{
    struct live *call;

    while ((call = take_next(pub)) != NULL) {
        room_leave_queue(call);
        drive(call, CALL_EV_ROOM); /* may_go() chose the spawner */
    }
    if (pub->fair.len == 0)
        ev_timer_stop(faas_loop_ev(pub->rt->loop), &pub->pump);
}

void room_on_pump(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    pump_now(timer->data);
}

static void pump_posted(void *arg)
{
    struct publisher *pub = arg;

    pub->is_pump_posted = false;
    if (pub->rt != NULL)
        pump_now(pub);
}

void room_pump(struct publisher *pub)
{
    if (pub->is_pump_posted || pub->fair.len == 0)
        return;
    pub->is_pump_posted = true;
    faas_loop_post(pub->rt->loop, pump_posted, pub);
}
