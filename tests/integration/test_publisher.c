/* What the publisher makes of each answer: a real publisher and nats-server, spawners as the test
 * tells them (tests/support/stage.h). */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "contract.h"
#include "tests/support/stage.h"
#include "tests/unit/unit.h"

static struct stage stage;

static int open_stage(void **state)
{
    (void)state;
    stage_open(&stage, 1, NULL);
    stage_function(&stage, "plain", 1, "");
    return 0;
}

static int open_capped(void **state)
{
    static const char *const caps[] = {"FUNCTION_CONCURRENCY=2", "TENANT_CONCURRENCY=3", NULL};

    (void)state;
    stage_open(&stage, 1, caps);
    stage_function(&stage, "plain", 1, "");
    return 0;
}

static int open_cluster(void **state)
{
    (void)state;
    stage_open(&stage, 3, NULL);
    stage_function(&stage, "plain", 1, "");
    return 0;
}

static int close_stage(void **state)
{
    (void)state;
    stage_close(&stage);
    return 0;
}

/* Each test brings its own spawners. */
static int clear(void **state)
{
    (void)state;
    for (int i = 0; i < STAGE_SPAWNERS; i++)
        stage_leave(&stage, i);
    return 0;
}

static void call(const char *function, char id[FAAS_UUID_TEXT])
{
    stage_call(&stage, &(struct stage_call){.function = function}, id);
}

static void fails_with(const char *id, const char *code, const char *part)
{
    const json_t *doc = stage_frame(&stage, id, FAAS_FRAME_FAIL, 5000);

    assert_string_equal(json_string_value(json_object_get(doc, "code")), code);
    assert_contains(json_string_value(json_object_get(doc, "detail")), part);
}

struct count {
    int which, more_than;
};

static bool was_placed(void *arg)
{
    const struct count *count = arg;

    return stage_placed(&stage, count->which) > count->more_than;
}

static void wait_placed(int which, int times, int64_t ms)
{
    struct count count = {which, times - 1};

    wait_until(was_placed, &count, ms, "the call reaches the spawner");
}

struct fate {
    const char *id, *state;
};

static bool has_state(void *arg)
{
    const struct fate *fate = arg;
    char state[16];

    stage_ask(&stage, "fence", fate->id, 0, state);
    return strcmp(state, fate->state) == 0;
}

static void wait_state(const char *id, const char *state)
{
    struct fate fate = {id, state};

    wait_until(has_state, &fate, 5000, state);
}

static int which_got_it(void)
{
    for (int i = 0; i < STAGE_SPAWNERS; i++)
        if (stage.spawners[i].is_up && stage_placed(&stage, i) > 0)
            return i;
    return -1;
}

static bool all_and_one_again(void *arg)
{
    int placed = 0;

    (void)arg;
    for (int i = 0; i < STAGE_SPAWNERS; i++)
        placed += stage_placed(&stage, i);
    return placed == STAGE_SPAWNERS + 1;
}

static bool anybody_got_it(void *arg)
{
    (void)arg;
    return which_got_it() >= 0;
}

/* ---- the plain road ---- */

static void a_call_travels_with_all_it_needs(void **state)
{
    char id[FAAS_UUID_TEXT];
    const struct placement *p = &stage.spawners[0].placements[0];
    const json_t *taken;

    (void)state;
    stage_join(&stage, 0);
    call("plain", id);
    wait_placed(0, 1, 3000);
    taken = stage_frame(&stage, id, FAAS_FRAME_TAKEN, 1000);
    assert_string_equal(json_string_value(json_object_get(taken, "publisher")), "p1");
    assert_int_equal(json_integer_value(json_object_get(taken, "version")), 1);
    assert_true(json_integer_value(json_object_get(taken, "budget_ms")) >= 5000);
    assert_string_equal(p->id, id);
    assert_string_equal(p->inbox, stage.inbox_subject);
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
    assert_int_equal(stage.spawners[0].ends_acknowledged, 1);
    assert_int_equal(stage_frames(&stage, id, FAAS_FRAME_FAIL), 0);
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

static void an_unknown_function_is_not_found(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    call("nobody", id);
    fails_with(id, "not_found", "no function of that name");
    assert_true(stage_frames(&stage, id, FAAS_FRAME_TAKEN) >= 1); /* at once, before the look-up */
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
        call("changing", id);
        wait_placed(0, version, 3000);
        assert_int_equal(stage.spawners[0].placements[version - 1].version, version);
    }
    stage_function_delete(&stage, "changing");
    call("changing", id);
    fails_with(id, "not_found", "");
    stage_function(&stage, "changing", 1, "");
    call("changing", id);
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
    call("plain", id);
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

static void when_nobody_has_the_image_one_pulls_it(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    for (int i = 0; i < STAGE_SPAWNERS; i++) {
        stage_join(&stage, i);
        stage_mood(&stage, i, ACTOR_REFUSES, "no_image");
    }
    call("plain", id);
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
    call("plain", id);
    fails_with(id, "unavailable", "as the test says");
}

static void without_a_spawner_it_says_so(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    call("plain", id);
    fails_with(id, "unavailable", "no spawner is running; nothing was started");
}

static void full_spawners_are_not_even_asked(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    for (int i = 0; i < 8; i++) {
        call("plain", id);
        wait_placed(0, i + 1, 3000);
    }
    stage_free(&stage, 0, 0);
    call("plain", id);
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
        call("plain", burst.ids[i]);
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
    call("patient", id);
    wait_state(id, "waiting");
    assert_int_equal(stage_placed(&stage, 0), 0);
    stage_free(&stage, 0, 8);
    wait_placed(0, 1, 1000);
    stage_free(&stage, 0, 0);
    call("patient", late);
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
        call("narrow", ids[i]);
        if (i == 0)
            wait_placed(0, 1, 3000);
    }
    wait_state(ids[3], "waiting");
    call("rude", id); /* another function is not held up */
    wait_placed(0, 2, 3000);
    call("rude", id);
    fails_with(id, "busy", "runs 1 calls already");
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

/* ---- silence, death, fences ---- */

static void a_silent_spawner_is_fenced_and_the_next_one_gets_it(void **state)
{
    char id[FAAS_UUID_TEXT];
    int silent;

    (void)state;
    for (int i = 0; i < 2; i++) {
        stage_join(&stage, i);
        stage_mood(&stage, i, ACTOR_SILENT, NULL);
    }
    call("plain", id);
    wait_until(anybody_got_it, NULL, 3000, "somebody is asked");
    silent = which_got_it();
    stage_mood(&stage, 1 - silent, ACTOR_RUNS, NULL);
    wait_placed(1 - silent, 1, 2000);
    wait_state(id, "done");
    assert_true(stage.spawners[silent].fences >= 1);
    assert_int_equal(stage.spawners[silent].placements[0].place, 257);
    assert_int_equal(stage.spawners[1 - silent].placements[0].place, 258);
}

static void a_call_that_runs_in_silence_is_adopted(void **state)
{
    char id[FAAS_UUID_TEXT];
    int silent;

    (void)state;
    for (int i = 0; i < 2; i++) {
        stage_join(&stage, i);
        stage_mood(&stage, i, ACTOR_SILENT, NULL);
        stage_answers(&stage, i, "running", "cancelled");
    }
    call("plain", id);
    wait_until(anybody_got_it, NULL, 3000, "somebody is asked");
    silent = which_got_it();
    stage_call(&stage, &(struct stage_call){.function = "plain", .id = id, .attempt = 2}, id);
    /* Longer than accept and fence together: it stays where it is. */
    wait_state(id, "running");
    stage_frame(&stage, id, FAAS_FRAME_TAKEN, 1000);
    stage_end(&stage, silent, 0, "ok");
    wait_state(id, "done");
    assert_int_equal(stage_placed(&stage, 1 - silent), 0);
    assert_int_equal(stage_placed(&stage, silent), 1);
}

static void a_spawner_that_dies_loses_its_calls_and_says_may_have_run(void **state)
{
    char id[FAAS_UUID_TEXT];
    const json_t *doc;

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    call("plain", id);
    wait_state(id, "running");
    stage_crash(&stage, 0);
    doc = stage_frame(&stage, id, FAAS_FRAME_FAIL, 6000);
    assert_string_equal(json_string_value(json_object_get(doc, "code")), "lost");
    assert_true(json_is_true(json_object_get(doc, "may_have_run")));
    wait_state(id, "done"); /* and the fence sent the failure once more */
    assert_true(stage_frames(&stage, id, FAAS_FRAME_FAIL) >= 2);
}

static void a_restarted_spawner_is_another_one(void **state)
{
    char id[FAAS_UUID_TEXT];
    const json_t *doc;

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    call("plain", id);
    wait_state(id, "running");
    stage_crash(&stage, 0);
    stage_join(&stage, 0);
    doc = stage_frame(&stage, id, FAAS_FRAME_FAIL, 1500);
    assert_string_equal(json_string_value(json_object_get(doc, "code")), "lost");
    assert_int_equal(stage_placed(&stage, 0), 0);
}

static void a_call_sent_into_the_void_goes_to_the_next(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    stage_join(&stage, 1);
    stage_free(&stage, 1, 0); /* all calls prefer the first */
    stage_crash(&stage, 0);
    stage_last_beat(&stage, 0);
    call("plain", id);
    wait_state(id, "running"); /* sent */
    stage_free(&stage, 1, 8);
    wait_placed(1, 1, 3000);
    assert_int_equal(stage.spawners[1].placements[0].place, 258);
    wait_state(id, "done");
    assert_int_equal(stage_frames(&stage, id, FAAS_FRAME_FAIL), 0);
}

static void a_fenced_call_is_refused_without_a_word(void **state)
{
    char id[FAAS_UUID_TEXT], answer[16];

    (void)state;
    stage_join(&stage, 0);
    faas_uuid_new(id);
    stage_ask(&stage, "fence", id, 256 + 255, answer);
    assert_string_equal(answer, "never");
    stage_call(&stage, &(struct stage_call){.function = "plain", .id = id, .attempt = 1}, id);
    stage_ask(&stage, "fence", id, 256 + 255, answer);
    assert_string_equal(answer, "never");
    stage_call(&stage, &(struct stage_call){.function = "plain", .id = id, .attempt = 2}, id);
    wait_placed(0, 1, 3000);
    assert_int_equal(stage.spawners[0].placements[0].place, 513);
    wait_state(id, "done");
    stage_call(&stage, &(struct stage_call){.function = "plain", .id = id, .attempt = 3}, id);
    stage_ask(&stage, "fence", id, 0, answer);
    assert_string_equal(answer, "done");
    assert_int_equal(stage_placed(&stage, 0), 1);
}

static void events_of_strangers_change_nothing(void **state)
{
    char id[FAAS_UUID_TEXT], answer[16];

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    call("plain", id);
    wait_placed(0, 1, 3000);
    wait_state(id, "running");
    stage.spawners[0].placements[0].place++; /* a placement that never was */
    stage_end(&stage, 0, 0, "ok");
    stage_ask(&stage, "fence", id, 0, answer);
    assert_string_equal(answer, "running");
    stage.spawners[0].placements[0].place--;
    stage_end(&stage, 0, 0, "ok");
    wait_state(id, "done");
}

/* ---- leaving callers ---- */

static void a_cancel_is_answered_when_nothing_runs(void **state)
{
    char id[FAAS_UUID_TEXT], answer[16];

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    call("plain", id);
    wait_state(id, "running");
    stage_ask(&stage, "cancel", id, 0, answer);
    assert_string_equal(answer, "cancelled");
    assert_int_equal(stage.spawners[0].cancels, 1);
    stage_ask(&stage, "cancel", id, 0, answer);
    assert_string_equal(answer, "done");
}

static void a_cancel_that_overtakes_its_call_stops_it(void **state)
{
    char id[FAAS_UUID_TEXT], answer[16];

    (void)state;
    stage_join(&stage, 0);
    faas_uuid_new(id);
    stage_ask(&stage, "cancel", id, 0, answer);
    assert_string_equal(answer, "unknown");
    stage_call(&stage, &(struct stage_call){.function = "plain", .id = id}, id);
    stage_ask(&stage, "cancel", id, 0, answer);
    assert_string_equal(answer, "unknown");
    assert_int_equal(stage_placed(&stage, 0), 0);
}

static void a_cancel_while_placing_asks_the_fence_first(void **state)
{
    char id[FAAS_UUID_TEXT], answer[16];

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_SILENT, NULL);
    call("plain", id);
    wait_placed(0, 1, 3000);
    stage_ask(&stage, "cancel", id, 0, answer);
    assert_string_equal(answer, "cancelled");
    assert_int_equal(stage.spawners[0].cancels, 0); /* the fence said never */
    assert_true(stage.spawners[0].fences >= 1);
    stage_answers(&stage, 0, "running", "cancelled");
    call("plain", id);
    wait_placed(0, 2, 3000);
    stage_ask(&stage, "cancel", id, 0, answer);
    assert_string_equal(answer, "cancelled");
    assert_int_equal(stage.spawners[0].cancels, 1);
}

static void a_waiting_call_is_cancelled_without_a_spawner(void **state)
{
    char id[FAAS_UUID_TEXT], answer[16];

    (void)state;
    stage_function(&stage, "patient", 2, "\"max_wait_ms\":20000,");
    stage_join(&stage, 0);
    stage_free(&stage, 0, 0);
    call("patient", id);
    wait_state(id, "waiting");
    stage_ask(&stage, "cancel", id, 0, answer);
    assert_string_equal(answer, "cancelled");
    stage_free(&stage, 0, 8);
    call("plain", id);
    wait_placed(0, 1, 3000);
    assert_string_equal(stage.spawners[0].placements[0].id, id);
}

/* ---- this process's own trouble ---- */

static void a_process_that_was_held_up_gives_up_what_it_has_not_placed(void **state)
{
    char id[FAAS_UUID_TEXT], placed[FAAS_UUID_TEXT];

    (void)state;
    stage_function(&stage, "patient", 3, "\"max_wait_ms\":20000,");
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    call("plain", placed);
    wait_state(placed, "running");
    stage_free(&stage, 0, 0);
    call("patient", id);
    wait_state(id, "waiting");
    stage_signal(&stage, SIGSTOP);
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 400000000}, NULL); /* the hold-up itself */
    stage_signal(&stage, SIGCONT);
    fails_with(id, "unavailable", "held up; nothing was started");
    wait_state(placed, "running");
    stage_end(&stage, 0, 0, "ok");
    wait_state(placed, "done");
}

static void it_drains_before_it_leaves(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    call("plain", id);
    wait_state(id, "running");
    stage_signal(&stage, SIGTERM);
    nanosleep(&(struct timespec){.tv_nsec = 700000000}, NULL); /* it must not leave meanwhile */
    wait_state(id, "running");
    stage_end(&stage, 0, 0, "ok");
    assert_int_equal(stage_wait_exit(&stage, 5000), 0);
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
        call("plain", id);
        wait_placed(0, i, 3000);
    }
    call("plain", id);
    fails_with(id, "busy", "the function runs 2 calls already");
    call("wide", id);
    wait_placed(0, 3, 3000);
    call("wide", id);
    fails_with(id, "busy", "your functions run 3 calls already");
    stage_end(&stage, 0, 0, "ok");
    wait_state(stage.spawners[0].placements[0].id, "done");
    call("wide", id);
    wait_placed(0, 4, 3000);
}

static bool was_cancelled(void *arg)
{
    (void)arg;
    return stage.spawners[0].cancels == 2;
}

static void calls_of_a_gateway_that_is_gone_are_cancelled(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    for (int i = 1; i <= 2; i++) {
        call("plain", id);
        wait_placed(0, i, 3000);
    }
    wait_state(id, "running");
    stage_gateway_leaves(&stage);
    wait_until(was_cancelled, NULL, 3000, "both calls are cancelled at the spawner");
    fails_with(id, "client_gone", "cancelled");
}

/* ---- trouble in the store ---- */

/* As a gateway does: again with the next number when there is no word. */
static int64_t call_through(const char *function)
{
    uint64_t began = faas_now_ns();
    char id[FAAS_UUID_TEXT], state[16] = "";

    call(function, id);
    for (int attempt = 2; attempt < 40; attempt++) {
        for (int i = 0; i < 100; i++) {
            stage_ask(&stage, "fence", id, 0, state);
            if (strcmp(state, "done") == 0)
                return (int64_t)((faas_now_ns() - began) / FAAS_MS_NS);
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
        stage_call(&stage, &(struct stage_call){.function = function, .id = id, .attempt = attempt},
                   id);
    }
    fail_msg("a call did not end, last state %s, %d failures", state,
             stage_frames(&stage, id, FAAS_FRAME_FAIL));
    return -1;
}

/* An election takes 4 to 9 s; functions known here are called all the while. */
static void an_election_in_the_store_delays_no_call(void **state)
{
    uint64_t until = faas_deadline_in_ms(8000);
    int64_t slowest = 0;
    int calls = 0, killed = 0;

    (void)state;
    stage_join(&stage, 0);
    call_through("plain");
    while (faas_left_ms(until) > 0) {
        int64_t ms;

        if (++calls == 20) {
            killed = nats_leader_of(stage.nats, "KV_" FAAS_BUCKET_FUNCTIONS);
            assert_true(killed >= 0);
            nats_kill(stage.nats, killed);
        }
        ms = call_through("plain");
        if (ms > slowest)
            slowest = ms;
    }
    assert_true(calls > 100);
    assert_int_equal(stage_placed(&stage, 0), calls + 1);
    assert_in_range(slowest, 0, 2000);
    print_message("%d calls, the slowest took %d ms\n", calls, (int)slowest);
    nats_restart(stage.nats, killed);
}

int main(void)
{
    int failed;
    const struct CMUnitTest capped[] = {
        cmocka_unit_test_teardown(the_platforms_caps_hold_where_a_function_names_none, clear),
        cmocka_unit_test_teardown(calls_of_a_gateway_that_is_gone_are_cancelled, clear),
    };
    const struct CMUnitTest cluster[] = {
        cmocka_unit_test_teardown(an_election_in_the_store_delays_no_call, clear),
    };
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_teardown(name, clear)
        T(a_call_travels_with_all_it_needs),
        T(the_callers_timeout_may_only_shorten),
        T(an_unknown_function_is_not_found),
        T(bad_input_is_refused_before_anything_starts),
        T(an_acknowledged_change_is_seen_by_the_next_call),
        T(a_busy_spawner_is_passed_over_with_a_higher_number),
        T(when_nobody_has_the_image_one_pulls_it),
        T(without_an_engine_the_spawners_words_come_back),
        T(without_a_spawner_it_says_so),
        T(full_spawners_are_not_even_asked),
        T(calls_on_their_way_count_against_the_last_beat),
        T(a_patient_function_waits_for_room),
        T(concurrency_holds_and_hands_over),
        T(a_silent_spawner_is_fenced_and_the_next_one_gets_it),
        T(a_call_that_runs_in_silence_is_adopted),
        T(a_spawner_that_dies_loses_its_calls_and_says_may_have_run),
        T(a_restarted_spawner_is_another_one),
        T(a_call_sent_into_the_void_goes_to_the_next),
        T(a_fenced_call_is_refused_without_a_word),
        T(events_of_strangers_change_nothing),
        T(a_cancel_is_answered_when_nothing_runs),
        T(a_cancel_that_overtakes_its_call_stops_it),
        T(a_cancel_while_placing_asks_the_fence_first),
        T(a_waiting_call_is_cancelled_without_a_spawner),
        T(a_process_that_was_held_up_gives_up_what_it_has_not_placed),
        T(it_drains_before_it_leaves),
#undef T
    };

    failed = cmocka_run_group_tests(tests, open_stage, close_stage);
    failed += cmocka_run_group_tests(capped, open_capped, close_stage);
    return failed + cmocka_run_group_tests(cluster, open_cluster, close_stage);
}
