/* Silence, death, fences, leaving callers, elections: a real publisher and nats-server, spawners as
 * the test tells them (tests/support/stage.h). */
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

static int open_cluster(void **state)
{
    (void)state;
    open_with(3, NULL);
    return 0;
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
    call_now("plain", id);
    wait_until(anybody_got_it, NULL, 3000, "somebody is asked");
    silent = which_got_it();
    stage_mood(&stage, 1 - silent, ACTOR_RUNS, NULL);
    wait_placed(1 - silent, 1, 2000);
    wait_state(id, "done");
    assert_true(stage_fences(&stage, silent) >= 1);
    assert_int_equal(stage.spawners[silent].placements[0].place, 257);
    assert_int_equal(stage.spawners[1 - silent].placements[0].place, 258);
}

/* The only spawner refuses, then takes the call. */
static void call_refused_first(const char *reason, char id[FAAS_UUID_TEXT])
{
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_REFUSES, reason);
    call_now("plain", id);
    wait_placed(0, 1, 3000);
    stage_mood(&stage, 0, ACTOR_RUNS, NULL);
    wait_state(id, "done");
}

/* The fence overtook the call, and the spawner's refusal its answer to the fence. */
static void a_spawner_that_refuses_what_was_fenced_is_asked_again(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    call_refused_first("fenced", id);
    assert_int_equal(stage_frames(&stage, id, FAAS_FRAME_FAIL), 0);
    assert_true(stage_placed(&stage, 0) > 1);
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
    call_now("plain", id);
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

static bool failed_again(void *arg)
{
    return stage_frames(&stage, arg, FAAS_FRAME_FAIL) >= 2;
}

static void a_spawner_that_dies_loses_its_calls_and_says_may_have_run(void **state)
{
    char id[FAAS_UUID_TEXT];
    const json_t *doc;

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    call_now("plain", id);
    wait_state(id, "running");
    stage_crash(&stage, 0);
    doc = stage_frame(&stage, id, FAAS_FRAME_FAIL, 6000);
    assert_string_equal(json_string_value(json_object_get(doc, "code")), "lost");
    assert_true(json_is_true(json_object_get(doc, "may_have_run")));
    wait_state(id, "done"); /* and the fence sends the failure once more */
    wait_until(failed_again, id, 1000, "the failure is repeated");
}

static void a_restarted_spawner_is_another_one(void **state)
{
    char id[FAAS_UUID_TEXT];
    const json_t *doc;

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    call_now("plain", id);
    wait_state(id, "running");
    stage_crash(&stage, 0);
    stage_join(&stage, 0);
    doc = stage_frame(&stage, id, FAAS_FRAME_FAIL, 1500);
    assert_string_equal(json_string_value(json_object_get(doc, "code")), "lost");
    assert_int_equal(stage_placed(&stage, 0), 0);
}

static void a_call_that_nobody_heard_goes_to_the_next_at_once(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    stage_join(&stage, 1);
    stage_free(&stage, 1, 0);
    stage_crash(&stage, 0);
    stage_last_beat(&stage, 0);
    call_now("plain", id);
    wait_state(id, "waiting"); /* sent, and known not to have come */
    stage_free(&stage, 1, 8);
    wait_placed(1, 1, 3000);
    assert_int_equal(stage.spawners[1].placements[0].place, 258);
    wait_state(id, "done");
    assert_int_equal(stage_frames(&stage, id, FAAS_FRAME_FAIL), 0);
}

/* It had the call: that nobody listens to the fence says nothing of that. */
static void a_spawner_that_dies_before_its_first_word_may_have_run_the_call(void **state)
{
    char id[FAAS_UUID_TEXT];
    const json_t *doc;

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_SILENT, NULL);
    call_now("plain", id);
    wait_placed(0, 1, 3000);
    stage_crash(&stage, 0);
    stage_join(&stage, 1);
    doc = stage_frame(&stage, id, FAAS_FRAME_FAIL, 6000);
    assert_string_equal(json_string_value(json_object_get(doc, "code")), "lost");
    assert_true(json_is_true(json_object_get(doc, "may_have_run")));
    assert_int_equal(stage_placed(&stage, 1), 0);
}

/* The call was for a process that is gone: the one that got it has another epoch. */
static void a_refusal_by_the_next_process_of_a_spawners_name_counts(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    call_refused_first("epoch", id);
    assert_int_equal(stage.spawners[0].placements[stage_placed(&stage, 0) - 1].place,
                     256 + stage_placed(&stage, 0));
    assert_int_equal(stage_fences(&stage, 0), 0);
}

/* A rolling restart: the only spawner leaves and comes back while a call is on its way to it. */
static void a_spawner_that_says_good_bye_loses_nothing(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_SILENT, NULL);
    stage_answers(&stage, 0, NULL, NULL);
    call_now("plain", id);
    wait_placed(0, 1, 3000);
    stage_leave(&stage, 0);
    stage_join(&stage, 0);
    wait_placed(0, 1, 3000);
    assert_int_equal(stage.spawners[0].placements[0].place, 258);
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
    call_now("plain", id);
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
    call_now("plain", id);
    wait_state(id, "running");
    stage_ask(&stage, "cancel", id, 0, answer);
    assert_string_equal(answer, "cancelled");
    assert_int_equal(stage_cancels(&stage, 0), 1);
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
    call_now("plain", id);
    wait_placed(0, 1, 3000);
    stage_ask(&stage, "cancel", id, 0, answer);
    assert_string_equal(answer, "cancelled");
    assert_int_equal(stage_cancels(&stage, 0), 0); /* the fence said never */
    assert_true(stage_fences(&stage, 0) >= 1);
    stage_answers(&stage, 0, "running", "cancelled");
    call_now("plain", id);
    wait_placed(0, 2, 3000);
    stage_ask(&stage, "cancel", id, 0, answer);
    assert_string_equal(answer, "cancelled");
    assert_int_equal(stage_cancels(&stage, 0), 1);
}

static void a_waiting_call_is_cancelled_without_a_spawner(void **state)
{
    char id[FAAS_UUID_TEXT], answer[16];

    (void)state;
    stage_function(&stage, "patient", 2, "\"max_wait_ms\":20000,");
    stage_join(&stage, 0);
    stage_free(&stage, 0, 0);
    call_now("patient", id);
    wait_state(id, "waiting");
    stage_ask(&stage, "cancel", id, 0, answer);
    assert_string_equal(answer, "cancelled");
    stage_free(&stage, 0, 8);
    call_now("plain", id);
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
    call_now("plain", placed);
    wait_state(placed, "running");
    stage_free(&stage, 0, 0);
    call_now("patient", id);
    wait_state(id, "waiting");
    stage_signal(&stage, SIGSTOP);
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 400000000}, NULL); /* the hold-up itself */
    stage_signal(&stage, SIGCONT);
    fails_with(id, "unavailable", "held up; nothing was started");
    wait_state(placed, "running");
    stage_end(&stage, 0, 0, "ok");
    wait_state(placed, "done");
}

static void a_call_for_the_process_before_is_refused_and_may_be_sent_again(void **state)
{
    char id[FAAS_UUID_TEXT], epoch[33];
    const json_t *doc;

    (void)state;
    stage_replace_publisher(&stage, epoch);
    stage_join(&stage, 0);
    stage_call(&stage, &(struct stage_call){.function = "plain", .epoch = epoch}, id);
    doc = stage_frame(&stage, id, FAAS_FRAME_FAIL, 3000);
    assert_string_equal(json_string_value(json_object_get(doc, "reason")), "epoch");
    assert_null(json_object_get(doc, "may_have_run"));
    assert_int_equal(stage_placed(&stage, 0), 0);
    stage_call(&stage, &(struct stage_call){.function = "plain", .id = id, .attempt = 2}, id);
    wait_placed(0, 1, 3000);
    assert_int_equal(stage.spawners[0].placements[0].place, 513);
}

static void it_drains_before_it_leaves(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    call_now("plain", id);
    wait_state(id, "running");
    stage_signal(&stage, SIGTERM);
    nanosleep(&(struct timespec){.tv_nsec = 700000000}, NULL); /* it must not leave meanwhile */
    wait_state(id, "running");
    stage_end(&stage, 0, 0, "ok");
    assert_int_equal(stage_wait_exit(&stage, 5000), 0);
}

/* ---- trouble in the store ---- */

/* As a gateway does: again with the next number when there is no word. */
static int64_t call_through(const char *function)
{
    uint64_t began = faas_now_ns();
    char id[FAAS_UUID_TEXT], state[16] = "";

    call_now(function, id);
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

static bool has_leader(void *arg)
{
    (void)arg;
    return nats_leader_of(stage.nats, "KV_" FAAS_BUCKET_FUNCTIONS) >= 0;
}

/* How often the publisher asked the store for a function. */
static int64_t lookups(void)
{
    static const char row[] = "\nfaas_publisher_lookups_read_total ";
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(5000)};
    struct faas_rpc_request req = {
        .subject = "$SRV.STATS.publisher.p1", .ctx = &ctx, .data = "", .retry = FAAS_RPC_SAFE};
    FAAS_AUTO(faas_msg) *reply = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    const char *text;
    faas_err err = {0};

    assert_ok(faas_rpc_wait(stage.gateway.rpc, &req, &reply, &err));
    doc = json_loadb(faas_msg_data(reply), faas_msg_len(reply), 0, NULL);
    text = json_string_value(json_object_get(doc, "metrics"));
    assert_non_null(text);
    text = strstr(text, row);
    assert_non_null(text);
    return strtoll(text + strlen(row), NULL, 10);
}

/* An election takes 4 to 9 s; functions known here are called all the while, and none of the calls
 * waits for a leader. */
static void an_election_in_the_store_delays_no_call(void **state)
{
    uint64_t until = faas_deadline_in_ms(8000);
    int64_t slowest = 0, asked;
    int calls = 0, killed = 0;

    (void)state;
    stage_join(&stage, 0);
    call_through("plain");
    asked = lookups();
    while (faas_left_ms(until) > 0) {
        int64_t ms;

        if (++calls == 20) {
            wait_until(has_leader, NULL, 30000, "a leader");
            killed = nats_leader_of(stage.nats, "KV_" FAAS_BUCKET_FUNCTIONS);
            assert_true(killed >= 0);
            nats_kill(stage.nats, killed);
        }
        ms = call_through("plain");
        if (ms > slowest)
            slowest = ms;
    }
    assert_true(calls > 25); /* those after the kill ended, too; how fast is for bench/ to say */
    assert_int_equal(lookups(), asked);
    assert_int_equal(stage_placed(&stage, 0), calls + 1);
    print_message("%d calls, the slowest took %d ms\n", calls, (int)slowest);
    nats_restart(stage.nats, killed);
}

/* Sent again, as a gateway does, where it was lost with a connection. */
static void ask_until_failed(const char *function, char id[FAAS_UUID_TEXT])
{
    call_now(function, id);
    for (int attempt = 2; attempt < 40 && stage_frames(&stage, id, FAAS_FRAME_FAIL) == 0;
         attempt++) {
        uint64_t until = faas_deadline_in_ms(1000);

        while (faas_left_ms(until) > 0 && stage_frames(&stage, id, FAAS_FRAME_FAIL) == 0)
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        if (stage_frames(&stage, id, FAAS_FRAME_FAIL) == 0)
            stage_call(&stage,
                       &(struct stage_call){.function = function, .id = id, .attempt = attempt},
                       id);
    }
}

/* Two of three servers are dead, so the bucket has no leader, and none comes; the publisher has not met
 * the function before. */
static void without_a_leader_any_replica_knows_a_function(void **state)
{
    char id[FAAS_UUID_TEXT];
    int leader;

    (void)state;
    stage_join(&stage, 0);
    stage_function(&stage, "unmet", 1, "");
    stage_replace_publisher(&stage, (char[33]){0});
    call_through("plain"); /* it takes calls */
    leader = nats_leader_of(stage.nats, "KV_" FAAS_BUCKET_FUNCTIONS);
    assert_true(leader >= 0);
    nats_kill(stage.nats, leader);
    nats_kill(stage.nats, (leader + 1) % 3);
    call_through("unmet");          /* sent again where it was lost with a server */
    ask_until_failed("nobody", id); /* "not found" is a leader's to say */
    fails_with(id, "unavailable", "nothing was started");
    nats_launch(stage.nats, leader);
    nats_restart(stage.nats, (leader + 1) % 3);
    wait_until(has_leader, NULL, 30000, "a leader");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_silent_spawner_is_fenced_and_the_next_one_gets_it, clear),
        cmocka_unit_test_teardown(a_spawner_that_refuses_what_was_fenced_is_asked_again, clear),
        cmocka_unit_test_teardown(a_call_that_runs_in_silence_is_adopted, clear),
        cmocka_unit_test_teardown(a_spawner_that_dies_loses_its_calls_and_says_may_have_run, clear),
        cmocka_unit_test_teardown(a_restarted_spawner_is_another_one, clear),
        cmocka_unit_test_teardown(a_call_that_nobody_heard_goes_to_the_next_at_once, clear),
        cmocka_unit_test_teardown(a_spawner_that_dies_before_its_first_word_may_have_run_the_call,
                                  clear),
        cmocka_unit_test_teardown(a_refusal_by_the_next_process_of_a_spawners_name_counts, clear),
        cmocka_unit_test_teardown(a_spawner_that_says_good_bye_loses_nothing, clear),
        cmocka_unit_test_teardown(a_fenced_call_is_refused_without_a_word, clear),
        cmocka_unit_test_teardown(events_of_strangers_change_nothing, clear),
        cmocka_unit_test_teardown(a_cancel_is_answered_when_nothing_runs, clear),
        cmocka_unit_test_teardown(a_cancel_that_overtakes_its_call_stops_it, clear),
        cmocka_unit_test_teardown(a_cancel_while_placing_asks_the_fence_first, clear),
        cmocka_unit_test_teardown(a_waiting_call_is_cancelled_without_a_spawner, clear),
        cmocka_unit_test_teardown(a_process_that_was_held_up_gives_up_what_it_has_not_placed,
                                  clear),
        cmocka_unit_test_teardown(a_call_for_the_process_before_is_refused_and_may_be_sent_again,
                                  clear),
        cmocka_unit_test_teardown(it_drains_before_it_leaves, clear),
    };
    const struct CMUnitTest cluster[] = {
        /* first: a server that was just started answers for a bucket only once it has heard a leader */
        cmocka_unit_test_teardown(without_a_leader_any_replica_knows_a_function, clear),
        cmocka_unit_test_teardown(an_election_in_the_store_delays_no_call, clear),
    };
    int failed = cmocka_run_group_tests(tests, open_one, close_stage);

    return failed + cmocka_run_group_tests(cluster, open_cluster, close_stage);
}
