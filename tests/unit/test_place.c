/* Choice of a spawner: services/publisher/place.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/publisher/place.h"

#include <stdio.h>
#include <string.h>

#define MANY 8

struct fleet {
    struct place_target targets[MANY];
    char ids[MANY][16];
    struct place_round round;
};

static void fleet_init(struct fleet *fleet, int64_t free, int64_t slots)
{
    memset(fleet, 0, sizeof *fleet);
    for (int i = 0; i < MANY; i++) {
        snprintf(fleet->ids[i], sizeof fleet->ids[i], "s%d", i);
        fleet->targets[i] = (struct place_target){.id = fleet->ids[i],
                                                  .epoch = "e",
                                                  .beat = 10,
                                                  .free = free,
                                                  .slots = slots,
                                                  .is_usable = true};
    }
}

static void says(struct fleet *fleet, size_t idx, enum place_reason reason)
{
    struct place_answer answer = {.beat = fleet->targets[idx].beat, .reason = reason};
    faas_err err;

    snprintf(answer.id, sizeof answer.id, "%s", fleet->targets[idx].id);
    snprintf(answer.epoch, sizeof answer.epoch, "%s", fleet->targets[idx].epoch);
    assert_int_equal(place_round_note(&fleet->round, &answer, &err), FAAS_OK);
}

static size_t pick(struct fleet *fleet, const char *key)
{
    return place_pick(fleet->targets, MANY, key, &fleet->round);
}

static void one_function_meets_the_same_spawner(void **state)
{
    struct fleet fleet;

    (void)state;
    fleet_init(&fleet, 64, 64);
    for (int i = 0; i < 50; i++) {
        char key[16];
        size_t first;

        snprintf(key, sizeof key, "t/f/%d", i);
        first = pick(&fleet, key);
        assert_int_not_equal(first, PLACE_NONE);
        assert_int_equal(pick(&fleet, key), first);
    }
}

static void functions_spread_over_all_spawners(void **state)
{
    struct fleet fleet;
    int seen[MANY] = {0};

    (void)state;
    fleet_init(&fleet, 64, 64);
    for (int i = 0; i < 400; i++) {
        char key[16];

        snprintf(key, sizeof key, "t/f/%d", i);
        seen[pick(&fleet, key)]++;
    }
    for (int i = 0; i < MANY; i++)
        assert_in_range(seen[i], 20, 100);
}

static void a_leaving_spawner_moves_only_its_own_functions(void **state)
{
    struct fleet fleet;
    size_t before[200];
    const size_t gone = 3;

    (void)state;
    fleet_init(&fleet, 64, 64);
    for (int i = 0; i < 200; i++) {
        char key[16];

        snprintf(key, sizeof key, "t/f/%d", i);
        before[i] = pick(&fleet, key);
    }
    fleet.targets[gone].is_usable = false;
    for (int i = 0; i < 200; i++) {
        char key[16];
        size_t now;

        snprintf(key, sizeof key, "t/f/%d", i);
        now = pick(&fleet, key);
        assert_int_not_equal(now, gone);
        if (before[i] != gone)
            assert_int_equal(now, before[i]);
    }
}

/* One function called again and again fills its spawner to 1.25 x the fair share, then the next. */
static void a_hot_function_spreads_under_the_bound(void **state)
{
    struct fleet fleet;
    int64_t most = 0;

    (void)state;
    fleet_init(&fleet, 64, 64);
    for (int n = 0; n < 160; n++) {
        size_t idx = pick(&fleet, "t/hot/1");

        assert_int_not_equal(idx, PLACE_NONE);
        fleet.targets[idx].free--;
    }
    for (int i = 0; i < MANY; i++) {
        int64_t load = fleet.targets[i].slots - fleet.targets[i].free;

        if (load > most)
            most = load;
    }
    assert_in_range(most, 20, 25); /* 160 / 8 x 1.25 */
}

static void shares_follow_the_slots(void **state)
{
    struct place_target two[] = {{"big", "e", 1, 90, 90, true}, {"small", "e", 1, 10, 10, true}};
    struct place_round round = {0};

    (void)state;
    for (int n = 0; n < 40; n++)
        two[place_pick(two, 2, "t/f/1", &round)].free--;
    assert_true(10 - two[1].free <= 5); /* ceil(1.25 x 40 x 10 / 100) */
}

static void over_the_bound_is_better_than_nowhere(void **state)
{
    struct fleet fleet;

    (void)state;
    fleet_init(&fleet, 0, 64);
    fleet.targets[5].free = 1; /* all others are full */
    assert_int_equal(pick(&fleet, "t/f/1"), 5);
    fleet.targets[5].free = 0;
    assert_int_equal(pick(&fleet, "t/f/1"), PLACE_NONE);
    assert_int_equal(place_why(fleet.targets, MANY, &fleet.round), PLACE_ALL_BUSY);
}

static void who_said_busy_is_asked_again_after_a_newer_beat_and_after_all_others(void **state)
{
    struct fleet fleet;
    size_t first, last = PLACE_NONE;

    (void)state;
    fleet_init(&fleet, 64, 64);
    first = pick(&fleet, "t/f/1");
    says(&fleet, first, PLACE_SILENT);
    fleet.targets[first].beat++;
    for (int i = 1; i < MANY; i++) {
        last = pick(&fleet, "t/f/1");
        assert_int_not_equal(last, first);
        says(&fleet, last, PLACE_SLOTS);
    }
    assert_int_equal(pick(&fleet, "t/f/1"), first);
    says(&fleet, first, PLACE_SLOTS);
    assert_int_equal(pick(&fleet, "t/f/1"), PLACE_NONE);
    fleet.targets[last].beat++;
    assert_int_equal(pick(&fleet, "t/f/1"), last);
    says(&fleet, last, PLACE_FENCED);
    assert_int_equal(pick(&fleet, "t/f/1"), PLACE_NONE);
    fleet.targets[last].beat++;
    assert_int_equal(pick(&fleet, "t/f/1"), last);
    says(&fleet, last, PLACE_DRAINING);
    fleet.targets[last].beat++;
    assert_int_equal(pick(&fleet, "t/f/1"), PLACE_NONE);
    fleet.targets[last].epoch = "e2"; /* a new process has said nothing yet */
    assert_int_equal(pick(&fleet, "t/f/1"), last);
    place_round_done(&fleet.round);
}

static void all_without_the_image_are_asked_again_to_pull(void **state)
{
    struct fleet fleet;

    (void)state;
    fleet_init(&fleet, 64, 64);
    for (size_t i = 0; i < MANY; i++)
        says(&fleet, i, PLACE_NO_IMAGE);
    assert_int_equal(pick(&fleet, "t/f/1"), PLACE_NONE);
    assert_int_equal(place_why(fleet.targets, MANY, &fleet.round), PLACE_MAY_PULL);
    fleet.round.is_pull = true;
    assert_int_not_equal(pick(&fleet, "t/f/1"), PLACE_NONE);
    for (size_t i = 0; i < MANY; i++)
        says(&fleet, i, PLACE_ENGINE);
    assert_int_equal(pick(&fleet, "t/f/1"), PLACE_NONE);
    assert_int_equal(place_why(fleet.targets, MANY, &fleet.round), PLACE_UNABLE);
    place_round_done(&fleet.round);
}

static void why_tells_nobody_from_stale_from_full(void **state)
{
    struct fleet fleet;

    (void)state;
    fleet_init(&fleet, 64, 64);
    for (size_t i = 0; i < MANY; i++)
        says(&fleet, i, PLACE_SLOTS);
    assert_int_equal(place_why(fleet.targets, MANY, &fleet.round), PLACE_ALL_BUSY);
    says(&fleet, 2, PLACE_STALE);
    assert_int_equal(place_why(fleet.targets, MANY, &fleet.round), PLACE_PASSING);
    for (size_t i = 0; i < MANY; i++)
        fleet.targets[i].is_usable = false;
    assert_int_equal(place_why(fleet.targets, MANY, &fleet.round), PLACE_NOBODY);
    assert_int_equal(place_why(NULL, 0, &fleet.round), PLACE_NOBODY);
    place_round_done(&fleet.round);
}

static void the_ledger_corrects_a_beat_until_the_next(void **state)
{
    struct place_ledger ledger = {0};
    struct place_target target = {"s0", "e", 7, 3, 8, true};

    (void)state;
    assert_int_equal(place_ledger_free(&ledger, &target), 3);
    place_ledger_note(&ledger, "s0", "e", PLACE_SENT);
    place_ledger_note(&ledger, "s0", "e", PLACE_SENT);
    assert_int_equal(place_ledger_free(&ledger, &target), 1);
    place_ledger_note(&ledger, "s0", "e", PLACE_REFUSED);
    assert_int_equal(place_ledger_free(&ledger, &target), 2);
    place_ledger_note(&ledger, "s0", "e", PLACE_ACCEPTED);
    assert_int_equal(place_ledger_free(&ledger, &target), 2);
    target.beat = 8; /* counts the accepted one */
    target.free = 2;
    assert_int_equal(place_ledger_free(&ledger, &target), 2);
    place_ledger_note(&ledger, "s0", "e", PLACE_ENDED);
    assert_int_equal(place_ledger_free(&ledger, &target), 3);
    place_ledger_done(&ledger);
}

static void who_said_that_it_leaves_is_not_asked_and_its_next_process_is(void **state)
{
    struct place_ledger ledger = {0};
    struct place_target target = {"s0", "e", 7, 3, 8, true};

    (void)state;
    place_ledger_note(&ledger, "s0", "e", PLACE_SENT);
    assert_false(place_ledger_is_leaving(&ledger, &target));
    place_ledger_note(&ledger, "s0", "e", PLACE_LEAVES);
    assert_true(place_ledger_is_leaving(&ledger, &target));
    assert_int_equal(place_ledger_free(&ledger, &target), 2);
    target.epoch = "f";
    assert_false(place_ledger_is_leaving(&ledger, &target));
    place_ledger_note(&ledger, "s0", "f", PLACE_SENT);
    assert_false(place_ledger_is_leaving(&ledger, &target));
    place_ledger_done(&ledger);
}

static void an_end_without_an_accept_gives_back_what_a_beat_counted(void **state)
{
    struct place_ledger ledger = {0};
    struct place_target target = {"s0", "e", 7, 3, 8, true};
    const struct place_answer at = {.id = "s0", .epoch = "e", .beat = 7};

    (void)state;
    place_ledger_note(&ledger, "s0", "e", PLACE_SENT);
    place_ledger_note(&ledger, "s0", "e", PLACE_SENT);
    assert_int_equal(place_ledger_free(&ledger, &target), 1);
    place_ledger_ended_unseen(&ledger, &at, 7); /* no beat has counted it */
    assert_int_equal(place_ledger_free(&ledger, &target), 2);
    target.beat = 8; /* counts the other one */
    target.free = 2;
    place_ledger_ended_unseen(&ledger, &at, 8);
    assert_int_equal(place_ledger_free(&ledger, &target), 3);
    place_ledger_done(&ledger);
}

static void a_call_on_its_way_counts_through_a_beat(void **state)
{
    struct place_ledger ledger = {0};
    struct place_target target = {"s0", "e", 7, 1, 8, true};

    (void)state;
    assert_int_equal(place_ledger_free(&ledger, &target), 1);
    place_ledger_note(&ledger, "s0", "e", PLACE_SENT);
    target.beat = 8; /* sent before the call arrived there */
    assert_int_equal(place_ledger_free(&ledger, &target), 0);
    place_ledger_done(&ledger);
}

static void a_restarted_spawner_starts_without_corrections(void **state)
{
    struct place_ledger ledger = {0};
    struct place_target target = {"s0", "new", 1, 8, 8, true};

    (void)state;
    place_ledger_note(&ledger, "s0", "old", PLACE_SENT);
    assert_int_equal(place_ledger_free(&ledger, &target), 8);
    place_ledger_note(&ledger, "s0", "new", PLACE_SENT);
    place_ledger_note(&ledger, "s0", "old", PLACE_REFUSED); /* late news of the old one */
    assert_int_equal(place_ledger_free(&ledger, &target), 7);
    place_ledger_done(&ledger);
}

static void reasons_of_the_protocol_are_known(void **state)
{
    (void)state;
    assert_int_equal(place_reason_parse("slots"), PLACE_SLOTS);
    assert_int_equal(place_reason_parse("draining"), PLACE_DRAINING);
    assert_int_equal(place_reason_parse("no_image"), PLACE_NO_IMAGE);
    assert_int_equal(place_reason_parse("epoch"), PLACE_EPOCH);
    assert_int_equal(place_reason_parse("stale"), PLACE_STALE);
    assert_int_equal(place_reason_parse("fenced"), PLACE_FENCED);
    assert_int_equal(place_reason_parse("isolation"), PLACE_ISOLATION);
    assert_int_equal(place_reason_parse("engine"), PLACE_ENGINE);
    assert_int_equal(place_reason_parse("invalid"), PLACE_INVALID);
    assert_int_equal(place_reason_parse("of a later version"), PLACE_SLOTS);
    assert_int_equal(place_reason_parse(NULL), PLACE_SLOTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_function_meets_the_same_spawner),
        cmocka_unit_test(functions_spread_over_all_spawners),
        cmocka_unit_test(a_leaving_spawner_moves_only_its_own_functions),
        cmocka_unit_test(a_hot_function_spreads_under_the_bound),
        cmocka_unit_test(shares_follow_the_slots),
        cmocka_unit_test(over_the_bound_is_better_than_nowhere),
        cmocka_unit_test(who_said_busy_is_asked_again_after_a_newer_beat_and_after_all_others),
        cmocka_unit_test(all_without_the_image_are_asked_again_to_pull),
        cmocka_unit_test(why_tells_nobody_from_stale_from_full),
        cmocka_unit_test(the_ledger_corrects_a_beat_until_the_next),
        cmocka_unit_test(who_said_that_it_leaves_is_not_asked_and_its_next_process_is),
        cmocka_unit_test(an_end_without_an_accept_gives_back_what_a_beat_counted),
        cmocka_unit_test(a_call_on_its_way_counts_through_a_beat),
        cmocka_unit_test(a_restarted_spawner_starts_without_corrections),
        cmocka_unit_test(reasons_of_the_protocol_are_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
