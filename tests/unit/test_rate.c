/* Requests a second: gateway/rate.c, under a clock that only the test moves. */
#include "gateway/rate.h"

#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#define S UINT64_C(1000000000)

static const uint64_t start_ns = 1000 * S;
static struct rate *limit;

static void make(int64_t per_second, int64_t burst_s, size_t entries)
{
    faas_err err = {0};

    assert_ok(rate_new(per_second, burst_s, entries, &limit, &err));
}

static int forget(void **state)
{
    (void)state;
    rate_free(limit);
    limit = NULL;
    return 0;
}

static int64_t take(const char *key, uint64_t now_ns)
{
    return rate_take(limit, key, strlen(key), now_ns);
}

static int64_t take_many(const char *key, int tries, uint64_t now_ns)
{
    int64_t taken = 0;

    for (int i = 0; i < tries; i++)
        taken += take(key, now_ns) == 0;
    return taken;
}

static void a_burst_passes_then_the_rate(void **state)
{
    (void)state;
    make(10, 2, 64);
    assert_int_equal(take_many("alice", 100, start_ns), 20);
    assert_int_equal(take_many("alice", 100, start_ns + S / 10), 1);
    assert_int_equal(take_many("alice", 100, start_ns + S), 9);
}

static void the_rate_holds_over_a_minute(void **state)
{
    int64_t taken = 0;

    (void)state;
    make(10, 2, 64);
    for (uint64_t ms = 0; ms < 60000; ms++)
        taken += take("alice", start_ns + ms * (S / 1000)) == 0;
    assert_int_equal(taken, 20 + 599);
}

static void a_rest_gives_no_more_than_a_burst(void **state)
{
    (void)state;
    make(10, 2, 64);
    (void)take_many("alice", 100, start_ns);
    assert_int_equal(take_many("alice", 100, start_ns + 3600 * S), 20);
}

static void the_wait_told_is_enough_and_refusals_cost_nothing(void **state)
{
    int64_t wait_s;

    (void)state;
    make(1, 3, 64);
    assert_int_equal(take_many("alice", 3, start_ns), 3);
    for (int i = 0; i < 1000; i++) {
        wait_s = take("alice", start_ns);
        assert_int_equal(wait_s, 1);
    }
    assert_int_equal(take("alice", start_ns + S - 1), 1);
    assert_int_equal(take("alice", start_ns + S), 0);
}

static void one_caller_takes_nothing_from_another(void **state)
{
    (void)state;
    make(10, 1, 64);
    assert_int_equal(take_many("alice", 1000, start_ns), 10);
    assert_int_equal(take_many("bob", 1000, start_ns), 10);
}

static void gateways_share_the_limit(void **state)
{
    (void)state;
    make(12, 1, 64);
    rate_set_share(limit, 3);
    assert_int_equal(take_many("alice", 100, start_ns), 4);
    rate_set_share(limit, 1); /* the others have gone */
    assert_int_equal(take_many("alice", 100, start_ns + 10 * S), 12);
    rate_set_share(limit, 0);
    assert_int_equal(take_many("alice", 100, start_ns + 20 * S), 12);
}

static void a_share_under_one_a_second_is_still_kept(void **state)
{
    (void)state;
    make(1, 1, 64);
    rate_set_share(limit, 4);
    assert_int_equal(take("alice", start_ns), 0);
    assert_int_equal(take("alice", start_ns), 4);
    assert_int_equal(take("alice", start_ns + 4 * S), 0);
}

static void zero_is_no_limit(void **state)
{
    (void)state;
    make(0, 1, 64);
    assert_int_equal(take_many("alice", 10000, start_ns), 10000);
}

/* Ten thousand callers pass through a table of 64: one who is at the limit and keeps trying is
 * remembered, since those that made one request are fuller. */
static void a_crowd_does_not_wash_out_who_is_at_the_limit(void **state)
{
    int64_t taken = 0;
    char name[32];

    (void)state;
    make(10, 10, 64);
    assert_int_equal(take_many("greedy", 200, start_ns), 100);
    for (int i = 0; i < 10000; i++) {
        (void)snprintf(name, sizeof name, "caller%d", i);
        assert_int_equal(take(name, start_ns), 0);
        taken += take("greedy", start_ns) == 0;
    }
    assert_int_equal(taken, 0);
}

static void a_look_takes_nothing(void **state)
{
    (void)state;
    make(10, 2, 64);
    for (int i = 0; i < 100; i++)
        assert_int_equal(rate_wait(limit, "alice", 5, start_ns), 0);
    assert_int_equal(take_many("alice", 100, start_ns), 20);
    assert_int_equal(rate_wait(limit, "alice", 5, start_ns), 1);
    assert_int_equal(rate_wait(limit, "bob", 3, start_ns), 0);
}

static void a_limit_of_ones_own_is_a_minutes_worth_and_shared(void **state)
{
    int64_t taken = 0;

    (void)state;
    make(0, 1, 64);
    for (int i = 0; i < 100; i++)
        taken += rate_take_minute(limit, "alice", 5, start_ns, 6) == 0;
    assert_int_equal(taken, 6);
    assert_int_equal(rate_take_minute(limit, "alice", 5, start_ns, 6), 10);
    assert_int_equal(rate_take_minute(limit, "alice", 5, start_ns + 10 * S, 6), 0);
    assert_int_equal(rate_take_minute(limit, "alice", 5, start_ns + 10 * S, 6), 10);
    assert_int_equal(rate_take_minute(limit, "bob", 3, start_ns, 0), 60); /* none at all */
    rate_set_share(limit, 2);
    for (taken = 0; rate_take_minute(limit, "carol", 5, start_ns, 6) == 0;)
        taken++;
    assert_int_equal(taken, 3);
}

#define test(f) cmocka_unit_test_teardown(f, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_burst_passes_then_the_rate),
        test(the_rate_holds_over_a_minute),
        test(a_rest_gives_no_more_than_a_burst),
        test(the_wait_told_is_enough_and_refusals_cost_nothing),
        test(one_caller_takes_nothing_from_another),
        test(gateways_share_the_limit),
        test(a_share_under_one_a_second_is_still_kept),
        test(a_look_takes_nothing),
        test(a_limit_of_ones_own_is_a_minutes_worth_and_shared),
        test(zero_is_no_limit),
        test(a_crowd_does_not_wash_out_who_is_at_the_limit),
    };

    return run_unit(tests);
}
