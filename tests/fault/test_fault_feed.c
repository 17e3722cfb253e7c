/* Feeds over a real server, without memory and when the connection takes no more; the claims are in
 * fault.h and fault_net.h. */
#include <stdatomic.h>

#include "base/clock.h"
#include "net/feed.h"
#include "tests/support/fault_bucket.h"
#include "tests/unit/unit.h"

#define LONG_GAP 33 /* read by a consumer, not message by message */

struct seen { /* by the reader's loop */
    faas_feed *feed;
    uint64_t last_seq;
    _Atomic int events, deletes, disorder;
};

static void on_event(void *arg, const struct faas_feed_event *event)
{
    struct seen *seen = arg;

    if (event->seq <= seen->last_seq)
        atomic_fetch_add(&seen->disorder, 1);
    seen->last_seq = event->seq;
    if (event->is_delete ? event->len != 0 : event->len != 5)
        atomic_fetch_add(&seen->disorder, 1);
    atomic_fetch_add(event->is_delete ? &seen->deletes : &seen->events, 1);
}

static faas_code follow(struct seen *seen, uint64_t applied, faas_err *err)
{
    const struct faas_feed_conf conf = {
        .kv = rig.reader_kv, .applied = applied, .apply = on_event, .arg = seen};

    return faas_feed_start(&conf, &seen->feed, err);
}

static void stop_feed(void *arg)
{
    faas_feed_stop(((struct seen *)arg)->feed);
}

static bool is_fresh(void *arg)
{
    return faas_feed_age_ms(((struct seen *)arg)->feed) < FAAS_FEED_FRESH_MS;
}

static bool is_level(void *arg)
{
    return faas_feed_applied(((struct seen *)arg)->feed) >= rig.newest;
}

/* Each put and each delete was applied once, in order: a feed repairs what it loses. */
static void claim_seen(struct seen *seen, int puts, int deletes)
{
    wait_until(is_level, seen, FAULT_HANG_MS, "the newest change applied");
    wait_until(is_fresh, seen, FAULT_HANG_MS, "a fresh feed");
    process_on_loop(&rig.reader, stop_feed, seen);
    if (atomic_load(&seen->disorder) != 0 || atomic_load(&seen->events) != puts ||
        atomic_load(&seen->deletes) != deletes)
        fail_msg("%s failed: %d of %d puts, %d of %d deletes, %d out of order", fault_met(),
                 atomic_load(&seen->events), puts, atomic_load(&seen->deletes), deletes,
                 atomic_load(&seen->disorder));
}

/* New keys: what is superseded may be skipped, and could not be counted. */
static void change(int n)
{
    char name[RIG_NAME];

    for (int i = 0; i < n; i++) {
        rig_name(name);
        rig_write(name, 0, "value");
    }
}

/* A cache: what was there before it is not its concern. */
static faas_code live(void *state, faas_err *err)
{
    struct seen seen = {.last_seq = rig.newest};
    char name[RIG_NAME];
    uint64_t revision;

    (void)state;
    rig_name(name);
    rig_write(name, 0, "value");
    revision = rig.newest;
    FAAS_TRY(follow(&seen, UINT64_MAX, err));
    wait_until(is_fresh, &seen, FAULT_HANG_MS, "a fresh feed");
    change(1);
    rig_write(name, revision, NULL);
    change(1);
    claim_seen(&seen, 2, 1);
    return FAAS_OK;
}

/* A reader that comes back: so many new keys and a delete are in the bucket since then. */
struct gap {
    int keys;
    uint64_t before;
};

static void make_gap(struct gap *gap)
{
    char name[RIG_NAME];

    gap->before = rig.newest;
    rig_name(name);
    rig_write(name, 0, "value");
    rig_write(name, rig.newest, NULL);
    change(gap->keys);
}

static faas_code catch_up(void *state, faas_err *err)
{
    const struct gap *gap = state;
    struct seen seen = {.last_seq = gap->before};

    FAAS_TRY(follow(&seen, gap->before, err));
    claim_seen(&seen, gap->keys, 1);
    return FAAS_OK;
}

static void every_change_is_applied_once_in_order(void **state)
{
    struct gap few = {.keys = 1}, many = {.keys = LONG_GAP};
    int before = fault_subscriptions(rig.nats, "reader-r1-data");

    (void)state;
    fault_each(live, NULL, 50);
    make_gap(&few);
    fault_each(catch_up, &few, 80);
    make_gap(&many);
    fault_each(catch_up, &many, 200);
    fault_wait_subscriptions(rig.nats, "reader-r1-data", before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_is_applied_once_in_order),
    };

    return cmocka_run_group_tests(tests, rig_start, rig_stop);
}
