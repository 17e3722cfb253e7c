/* Calls, refusals, waiting and caps: a real publisher and nats-server, spawners as the test tells
 * them (tests/support/stage.h). */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "contract.h"
#include "tests/support/steps.h"
#include "tests/unit/unit.h"

static int open_one(void **state)
{
    (void)state;
    open_with(1, NULL);
    return 0;
}

static int open_capped(void **state)
{
    static const char *const caps[] = {"FUNCTION_CONCURRENCY=2", "TENANT_CONCURRENCY=3", NULL};

    (void)state;
    open_with(1, caps);
    return 0;
}

/* ---- the plain road ---- */

static bool is_end_acknowledged(void *arg)
{
    (void)arg;
    return stage_ends(&stage, 0) == 1;
}

static void a_call_travels_with_all_it_needs(void **state)
{
    char id[FAAS_UUID_TEXT];
    const struct placement *p = &stage.spawners[0].placements[0];

    (void)state;
    stage_join(&stage, 0);
    call_now("plain", id);
    wait_placed(0, 1, 3000);
    assert_string_equal(p->id, id);
    assert_string_equal(p->inbox, stage.inbox_subject);
    assert_int_equal(strncmp(p->reply, "_INBOX_publisher.", 17), 0);
    assert_string_equal(p->publisher, "p1");
    assert_string_equal(p->epoch, stage.spawners[0].epoch);
    assert_string_equal(p->tenant, STAGE_TENANT);
    assert_int_equal(p->attempt, 1);
    assert_int_equal(p->place, 257);
    assert_in_range(p->age_ms, 7, 2000);
    assert_true(p->beat > 0);
    assert_int_equal(p->left_ms, 60000);
    assert_int_equal(p->arg_len, 1);
    assert_int_equal(p->timeout_ms, 30000);
    wait_state(id, "done");
    wait_until(is_end_acknowledged, NULL, 1000, "its end is acknowledged");
    assert_int_equal(stage_frames(&stage, id, FAAS_FRAME_FAIL), 0);
}

static void a_spawner_of_an_older_release_finds_the_callers_inbox_where_it_looks(void **state)
{
    char id[FAAS_UUID_TEXT];
    const struct placement *p = &stage.spawners[0].placements[0];

    (void)state;
    stage.spawners[0].level = 0;
    stage_join(&stage, 0);
    stage.spawners[0].level = FAAS_LEVEL; /* of the next test's */
    call_now("plain", id);
    wait_placed(0, 1, 3000);
    assert_string_equal(p->reply, stage.inbox_subject);
    assert_string_equal(p->inbox, "");
    wait_state(id, "done");
}

static void the_callers_timeout_may_only_shorten(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    stage_call(&stage, &(struct stage_call){.function = "plain", .timeout_ms = 1500}, id);
    wait_placed(0, 1, 3000);
    assert_int_equal(stage.spawners[0].placements[0].timeout_ms, 1500);
    stage_call(&stage, &(struct stage_call){.function = "plain", .timeout_ms = 90000}, id);
    wait_placed(0, 2, 3000);
    assert_int_equal(stage.spawners[0].placements[1].timeout_ms, 30000);
}

/* Where nothing else tells its caller that the call was heard. */
static void a_call_that_is_not_accepted_soon_is_said_to_be_taken(void **state)
{
    char id[FAAS_UUID_TEXT];
    const json_t *taken;

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_SILENT, NULL);
    stage_answers(&stage, 0, "running", "cancelled");
    call_now("plain", id);
    taken = stage_frame(&stage, id, FAAS_FRAME_TAKEN, 3000);
    assert_string_equal(json_string_value(json_object_get(taken, "publisher")), "p1");
    assert_int_equal(json_integer_value(json_object_get(taken, "version")), 1);
    assert_true(json_integer_value(json_object_get(taken, "budget_ms")) >= 5000);
    stage_end(&stage, 0, 0, "ok");
    wait_state(id, "done");
}

static void an_unknown_function_is_not_found(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    call_now("nobody", id);
    fails_with(id, "not_found", "no function of that name");
    stage_call(
        &stage,
        &(struct stage_call){.function = "plain", .tenant = "0190a000-0000-7000-8000-0000000000ff"},
        id);
    fails_with(id, "not_found", "no function of that name");
    assert_int_equal(stage_placed(&stage, 0), 0);
}

static void bad_input_is_refused_before_anything_starts(void **state)
{
    char id[FAAS_UUID_TEXT];
    FAAS_AUTO(char) *big = malloc(FAAS_ARGUMENT_MAX + 1);

    (void)state;
    assert_non_null(big);
    memset(big, 'a', FAAS_ARGUMENT_MAX + 1);
    stage_join(&stage, 0);
    stage_call(&stage, &(struct stage_call){.function = "pl ain"}, id);
    fails_with(id, "invalid_request", "");
    stage_call(
        &stage,
        &(struct stage_call){.function = "plain", .arg = big, .arg_len = FAAS_ARGUMENT_MAX + 1},
        id);
    fails_with(id, "too_large", "131071");
    stage_call(&stage, &(struct stage_call){.function = "plain", .arg = "\xff", .arg_len = 1}, id);
    fails_with(id, "invalid_request", "UTF-8");
    stage_call(&stage, &(struct stage_call){.function = "plain", .arg = "a\0b", .arg_len = 3}, id);
    fails_with(id, "invalid_request", "NUL");
    assert_int_equal(stage_placed(&stage, 0), 0);
    stage_call(&stage,
               &(struct stage_call){.function = "plain", .arg = big, .arg_len = FAAS_ARGUMENT_MAX},
               id);
    wait_placed(0, 1, 3000);
    assert_int_equal(stage.spawners[0].placements[0].arg_len, FAAS_ARGUMENT_MAX);
}

static void an_acknowledged_change_is_seen_by_the_next_call(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    for (int version = 1; version <= 20; version++) {
        stage_function(&stage, "changing", version, "");
        call_now("changing", id);
        wait_placed(0, version, 3000);
        assert_int_equal(stage.spawners[0].placements[version - 1].version, version);
    }
    stage_function_delete(&stage, "changing");
    call_now("changing", id);
    fails_with(id, "not_found", "");
    stage_function(&stage, "changing", 1, "");
    call_now("changing", id);
    wait_placed(0, 21, 3000);
}

/* ---- refusals ---- */

static void a_busy_spawner_is_passed_over_with_a_higher_number(void **state)
{
    char id[FAAS_UUID_TEXT];
    int first, second;

    (void)state;
    for (int i = 0; i < 2; i++) {
        stage_join(&stage, i);
        stage_mood(&stage, i, ACTOR_REFUSES, "slots");
    }
    call_now("plain", id);
    wait_until(anybody_got_it, NULL, 3000, "somebody is asked");
    fails_with(id, "busy", "every spawner is full");
    assert_int_equal(json_integer_value(json_object_get(
                         stage_frame(&stage, id, FAAS_FRAME_FAIL, 100), "retry_after_s")),
                     1);
    assert_int_equal(stage_placed(&stage, 0), 1);
    assert_int_equal(stage_placed(&stage, 1), 1);
    first = stage.spawners[0].placements[0].place == 257 ? 0 : 1;
    second = 1 - first;
    assert_int_equal(stage.spawners[first].placements[0].place, 257);
    assert_int_equal(stage.spawners[second].placements[0].place, 258);
}

static bool all_and_one_again(void *arg)
{
    int placed = 0;

    (void)arg;
    for (int i = 0; i < STAGE_SPAWNERS; i++)
        placed += stage_placed(&stage, i);
    return placed == STAGE_SPAWNERS + 1;
}

static void when_nobody_has_the_image_one_pulls_it(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    for (int i = 0; i < STAGE_SPAWNERS; i++) {
        stage_join(&stage, i);
        stage_mood(&stage, i, ACTOR_REFUSES, "no_image");
    }
    call_now("plain", id);
    wait_until(all_and_one_again, NULL, 3000, "all are asked, and one again");
    for (int i = 0; i < STAGE_SPAWNERS; i++)
        assert_false(stage.spawners[i].placements[0].is_pull);
}

static void without_an_engine_the_spawners_words_come_back(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_REFUSES, "engine");
    call_now("plain", id);
    fails_with(id, "unavailable", "as the test says");
}

static void without_a_spawner_it_says_so(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    call_now("plain", id);
    fails_with(id, "unavailable", "no spawner is running; nothing was started");
}

static void full_spawners_are_not_even_asked(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    for (int i = 0; i < 8; i++) {
        call_now("plain", id);
        wait_placed(0, i + 1, 3000);
    }
    stage_free(&stage, 0, 0);
    call_now("plain", id);
    fails_with(id, "busy", "every spawner is full");
    assert_int_equal(stage_placed(&stage, 0), 8);
}

struct burst {
    char ids[20][FAAS_UUID_TEXT];
    int placed, refused;
};

static bool burst_is_settled(void *arg)
{
    struct burst *burst = arg;

    burst->placed = stage_placed(&stage, 0);
    burst->refused = 0;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(burst->ids); i++)
        burst->refused += stage_frames(&stage, burst->ids[i], FAAS_FRAME_FAIL);
    return burst->placed + burst->refused == FAAS_ARRAY_LEN(burst->ids);
}

/* The beats go on saying 8 free: what was accepted since the newest one is not offered twice. */
static void calls_on_their_way_count_against_the_last_beat(void **state)
{
    struct burst burst;

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    stage_free(&stage, 0, 8);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(burst.ids); i++)
        call_now("plain", burst.ids[i]);
    wait_until(burst_is_settled, &burst, 3000, "each call is placed or refused");
    assert_in_range(burst.placed, 8, 16); /* 16: a beat came in between */
}

/* ---- waiting ---- */

static void a_patient_function_waits_for_room(void **state)
{
    char id[FAAS_UUID_TEXT], late[FAAS_UUID_TEXT];

    (void)state;
    stage_function(&stage, "patient", 1, "\"max_wait_ms\":1500,");
    stage_join(&stage, 0);
    stage_free(&stage, 0, 0);
    call_now("patient", id);
    wait_state(id, "waiting");
    assert_int_equal(stage_placed(&stage, 0), 0);
    stage_free(&stage, 0, 8);
    wait_placed(0, 1, 1000);
    stage_free(&stage, 0, 0);
    call_now("patient", late);
    fails_with(late, "busy", "every spawner is full");
    assert_int_equal(stage_placed(&stage, 0), 1);
}

static void concurrency_holds_and_hands_over(void **state)
{
    char ids[4][FAAS_UUID_TEXT], id[FAAS_UUID_TEXT];

    (void)state;
    stage_function(&stage, "narrow", 1, "\"max_wait_ms\":5000,\"concurrency\":1,");
    stage_function(&stage, "rude", 1, "\"concurrency\":1,");
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    for (int i = 0; i < 4; i++) {
        call_now("narrow", ids[i]);
        if (i == 0)
            wait_placed(0, 1, 3000);
    }
    wait_state(ids[3], "waiting");
    call_now("rude", id); /* another function is not held up */
    wait_placed(0, 2, 3000);
    call_now("rude", id);
    fails_with(id, "busy", "at once (1)");
    stage_end(&stage, 0, 0, "ok");
    wait_placed(0, 3, 1000);
    assert_string_equal(stage.spawners[0].placements[2].id, ids[1]); /* first come */
    stage_end(&stage, 0, 2, "function_failed");
    wait_placed(0, 4, 1000);
    assert_string_equal(stage.spawners[0].placements[3].id, ids[2]);
    stage_end(&stage, 0, 3, "ok");
    stage_end(&stage, 0, 1, "ok");
    wait_placed(0, 5, 1000);
    stage_end(&stage, 0, 4, "ok");
    wait_state(ids[3], "done");
}

/* ---- shares ---- */

#define QUIET_TENANT "0190a000-0000-7000-8000-0000000000bb"

static void placed_for(int idx, const char *tenant)
{
    wait_placed(0, idx + 1, 3000);
    assert_string_equal(stage.spawners[0].placements[idx].tenant, tenant);
}

/* One user has every place and asks for more; another comes. */
static void a_user_with_less_than_their_share_gets_the_next_place(void **state)
{
    char id[FAAS_UUID_TEXT], patient[FAAS_UUID_TEXT], quiet[FAAS_UUID_TEXT];

    (void)state;
    stage_function(&stage, "patient", 1, "\"max_wait_ms\":60000,");
    stage.tenant = QUIET_TENANT;
    stage_function(&stage, "quiet", 1, "");
    stage.tenant = NULL;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    for (int i = 0; i < 8; i++) {
        call_now("plain", id);
        placed_for(i, STAGE_TENANT);
    }
    stage_free(&stage, 0, 0);
    call_now("patient", patient);
    wait_state(patient, "waiting");
    stage.tenant = QUIET_TENANT;
    call_now("quiet", quiet); /* waits although its function asks for no waiting */
    wait_state(quiet, "waiting");
    call_now("quiet", quiet); /* and so does the next one */
    wait_state(quiet, "waiting");
    stage.tenant = NULL;
    call_now("plain", id);
    fails_with(id, "busy", "every spawner is full");
    stage_free(&stage, 0, 1);
    placed_for(8, QUIET_TENANT); /* they came last */
    stage_free(&stage, 0, 1);
    placed_for(9, QUIET_TENANT);
    stage_free(&stage, 0, 1);
    call_now("plain", id);
    fails_with(id, "busy", "you have your share, and others need theirs");
    stage.tenant = QUIET_TENANT;
    call_now("quiet", quiet);
    placed_for(10, QUIET_TENANT); /* the place that was kept */
    stage.tenant = NULL;
    wait_state(patient, "waiting");
    stage_free(&stage, 0, 2);
    placed_for(11, STAGE_TENANT);
}

/* ---- the platform's caps ---- */

static void the_platforms_caps_hold_where_a_function_names_none(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_function(&stage, "wide", 1, "\"concurrency\":5,");
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    for (int i = 1; i <= 2; i++) {
        call_now("plain", id);
        wait_placed(0, i, 3000);
    }
    call_now("plain", id);
    fails_with(id, "busy", "as it may at once (2)");
    call_now("wide", id);
    wait_placed(0, 3, 3000);
    call_now("wide", id);
    fails_with(id, "busy", "as you may have at once (3)");
    stage_end(&stage, 0, 0, "ok");
    wait_state(stage.spawners[0].placements[0].id, "done");
    call_now("wide", id);
    wait_placed(0, 4, 3000);
}

static bool was_cancelled(void *arg)
{
    (void)arg;
    return stage_cancels(&stage, 0) == 2;
}

static void calls_of_a_gateway_that_is_gone_are_cancelled(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    for (int i = 1; i <= 2; i++) {
        call_now("plain", id);
        wait_placed(0, i, 3000);
    }
    wait_state(id, "running");
    stage_gateway_leaves(&stage);
    wait_until(was_cancelled, NULL, 3000, "both calls are cancelled at the spawner");
    fails_with(id, "client_gone", "cancelled");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_call_travels_with_all_it_needs, clear),
        cmocka_unit_test_teardown(
            a_spawner_of_an_older_release_finds_the_callers_inbox_where_it_looks, clear),
        cmocka_unit_test_teardown(the_callers_timeout_may_only_shorten, clear),
        cmocka_unit_test_teardown(a_call_that_is_not_accepted_soon_is_said_to_be_taken, clear),
        cmocka_unit_test_teardown(an_unknown_function_is_not_found, clear),
        cmocka_unit_test_teardown(bad_input_is_refused_before_anything_starts, clear),
        cmocka_unit_test_teardown(an_acknowledged_change_is_seen_by_the_next_call, clear),
        cmocka_unit_test_teardown(a_busy_spawner_is_passed_over_with_a_higher_number, clear),
        cmocka_unit_test_teardown(when_nobody_has_the_image_one_pulls_it, clear),
        cmocka_unit_test_teardown(without_an_engine_the_spawners_words_come_back, clear),
        cmocka_unit_test_teardown(without_a_spawner_it_says_so, clear),
        cmocka_unit_test_teardown(full_spawners_are_not_even_asked, clear),
        cmocka_unit_test_teardown(calls_on_their_way_count_against_the_last_beat, clear),
        cmocka_unit_test_teardown(a_patient_function_waits_for_room, clear),
        cmocka_unit_test_teardown(concurrency_holds_and_hands_over, clear),
        cmocka_unit_test_teardown(a_user_with_less_than_their_share_gets_the_next_place, clear),
    };
    const struct CMUnitTest capped[] = {
        cmocka_unit_test_teardown(the_platforms_caps_hold_where_a_function_names_none, clear),
        cmocka_unit_test_teardown(calls_of_a_gateway_that_is_gone_are_cancelled, clear),
    };
    int failed = cmocka_run_group_tests(tests, open_one, close_stage);

    return failed + cmocka_run_group_tests(capped, open_capped, close_stage);
}
