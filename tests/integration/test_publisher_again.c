/* Calls of idempotent functions run again when they were lost, as often as they may: a real publisher
 * and nats-server, spawners as the test tells them (tests/support/stage.h). */
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

/* One death for all of them: an idempotent function's call, one that has no run left, another's; and
 * one that the spawner took without a word. */
static void what_a_dead_spawner_had_runs_again_where_it_may(void **state)
{
    static const char *const lost[] = {"plain", "spent"};
    char id[FAAS_UUID_TEXT], silent[FAAS_UUID_TEXT], lost_id[2][FAAS_UUID_TEXT];
    const struct placement *p = stage.spawners[1].placements;

    (void)state;
    stage_function(&stage, "twice", 1,
                   "\"retry\":{\"idempotent\":true,\"attempts\":2,\"on\":[\"lost\"]},");
    stage_function(&stage, "spent", 1,
                   "\"retry\":{\"idempotent\":true,\"attempts\":1,\"on\":[\"lost\"]},");
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    stage_call(&stage, &(struct stage_call){.function = "twice", .arg = "argument", .arg_len = 8},
               id);
    wait_placed(0, 1, 3000);
    for (int i = 0; i < 2; i++) {
        call_now(lost[i], lost_id[i]);
        wait_placed(0, 2 + i, 3000);
    }
    stage_mood(&stage, 0, ACTOR_SILENT, NULL);
    call_now("twice", silent);
    wait_placed(0, 4, 3000);
    stage_crash(&stage, 0);
    stage_join(&stage, 1);
    wait_state(silent, "done"); /* nobody answers: it need not wait for the death */
    wait_state(id, "done");
    assert_int_equal(stage_placed(&stage, 1), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(p[i].place, 258);
        assert_int_equal(stage_frame(&stage, p[i].id, FAAS_FRAME_TAKEN, 1000) != NULL, true);
        assert_int_equal(stage_frames(&stage, p[i].id, FAAS_FRAME_FAIL), 0);
    }
    assert_string_equal(p[1].id, id);
    assert_int_equal(p[1].arg_len, 8);
    for (int i = 0; i < 2; i++)
        fails_with(lost_id[i], "lost", "may have run");
}

static bool ended_twice(void *arg)
{
    return stage_ends(arg, 0) == 2;
}

/* A function that may run a second time, and a spawner that accepts its calls and says no more. */
static void begin_with_twice(void)
{
    stage_function(&stage, "twice", 1,
                   "\"retry\":{\"idempotent\":true,\"attempts\":2,\"on\":[\"lost\"]},");
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
}

/* Drained for too long, its engine gone: a spawner says so.  What may not run again it tells the
 * caller, too. */
static void what_a_spawner_says_it_lost_runs_again_where_it_may(void **state)
{
    static const char *const functions[] = {"twice", "plain"};
    const struct placement *p = stage.spawners[0].placements;
    char id[2][FAAS_UUID_TEXT];

    (void)state;
    begin_with_twice();
    for (int i = 0; i < 2; i++) {
        call_now(functions[i], id[i]);
        wait_placed(0, i + 1, 3000);
        assert_int_equal(json_is_true(json_object_get(p[i].meta, "again")), i == 0);
    }
    stage_join(&stage, 1);
    stage_mood(&stage, 1, ACTOR_ACCEPTS, NULL);
    stage_end(&stage, 0, 0, "lost");
    stage_end(&stage, 0, 1, "lost");
    wait_placed(1, 1, 3000);
    p = stage.spawners[1].placements;
    assert_string_equal(p[0].id, id[0]);
    assert_int_equal(p[0].place, 258);
    assert_null(json_object_get(p[0].meta, "again")); /* it is the last time */
    stage_frame(&stage, id[0], FAAS_FRAME_TAKEN, 1000);
    stage_end(&stage, 1, 0, "lost");
    for (int i = 0; i < 2; i++) {
        wait_state(id[i], "done");
        assert_int_equal(stage_frames(&stage, id[i], FAAS_FRAME_FAIL), 0);
    }
    assert_int_equal(stage_placed(&stage, 0) + stage_placed(&stage, 1), 3);
    wait_until(ended_twice, &stage, 3000, "both ends are taken");
}

static bool is_cancelled_once(void *arg)
{
    return stage_cancels(arg, 0) == 1;
}

/* It may run there still, or hold its result for nobody. */
static void where_a_call_was_before_it_is_given_up(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    begin_with_twice();
    stage_mood(&stage, 0, ACTOR_SILENT, NULL);
    stage_answers(&stage, 0, NULL, NULL);
    call_now("twice", id);
    wait_placed(0, 1, 3000);
    stage_join(&stage, 1);
    wait_placed(1, 1, 5000);
    wait_until(is_cancelled_once, &stage, 3000, "the silent spawner is told");
    wait_state(id, "done");
}

/* The publisher's answer, NULL for an error. */
static json_t *ask_publisher(const char *verb, const char *epoch, json_t *take_body)
{
    const struct faas_header headers[] = {{FAAS_H_EPOCH, epoch}, {NULL, NULL}};
    struct faas_ctx ctx = {.tenant = STAGE_TENANT, .deadline_ns = faas_deadline_in_ms(5000)};
    char subject[64];
    FAAS_AUTO(json_t) *body = take_body;
    FAAS_AUTO(char) *text = json_dumps(body, 0);
    FAAS_AUTO(faas_msg) *reply = NULL;
    struct faas_rpc_request req = {
        .subject = subject, .headers = headers, .ctx = &ctx, .lane = FAAS_CONTROL, .data = text};

    assert_non_null(text);
    req.len = strlen(text);
    (void)snprintf(subject, sizeof subject, "faas.publisher.i.p1.%s", verb);
    if (faas_rpc_wait(stage.gateway.rpc, &req, &reply, NULL) != FAAS_OK)
        return NULL;
    return json_loadb(faas_msg_data(reply), faas_msg_len(reply), 0, NULL);
}

static void ask_as_a_gateway_that_went_on(const char *id, const char *epoch, const char *expected)
{
    FAAS_AUTO(json_t) *doc = ask_publisher(
        "cancel", epoch, json_pack("{s:i, s:s, s:s}", "v", 1, "id", id, "reason", "given_up"));

    assert_string_equal(json_string_value(json_object_get(doc, "state")), expected);
}

/* This publisher stood still, and its gateway went on to another one. */
static void what_its_gateway_gave_up_ends_unless_half_a_run_would_be_left(void **state)
{
    char id[2][FAAS_UUID_TEXT];

    (void)state;
    begin_with_twice();
    stage_answers(&stage, 0, "running", "cancelled");
    call_now("twice", id[0]);
    wait_placed(0, 1, 3000);
    call_now("plain", id[1]);
    wait_placed(0, 2, 3000);
    ask_as_a_gateway_that_went_on(id[0], "0123456789abcdef0123456789abcdef", "unknown");
    assert_int_equal(stage_cancels(&stage, 0), 0);
    ask_as_a_gateway_that_went_on(id[0], NULL, "cancelled");
    ask_as_a_gateway_that_went_on(id[1], NULL, "running");
    stage_end(&stage, 0, 1, "ok");
    wait_state(id[1], "done");
    assert_int_equal(stage_cancels(&stage, 0), 1);
}

/* Places are owed to it: it had one, and its function does not let calls wait. */
static void a_call_whose_run_was_lost_waits_for_a_place(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    begin_with_twice();
    call_now("twice", id);
    wait_placed(0, 1, 3000);
    stage_join(&stage, 1);
    stage_free(&stage, 1, 0);
    stage_free(&stage, 0, 0);
    stage_end(&stage, 0, 0, "lost");
    wait_state(id, "waiting");
    stage_free(&stage, 1, 1);
    wait_placed(1, 1, 3000);
    wait_state(id, "done");
    assert_int_equal(stage_frames(&stage, id, FAAS_FRAME_FAIL), 0);
}

/* Its caller must be told by somebody: such an end is left to the spawner. */
static void a_loss_of_a_call_that_nobody_knows_is_not_taken(void **state)
{
    char id[2][FAAS_UUID_TEXT];

    (void)state;
    begin_with_twice();
    for (int i = 0; i < 2; i++) {
        call_now("twice", id[i]);
        wait_placed(0, i + 1, 3000);
    }
    stage.spawners[0].placements[0].id[35] ^= 1; /* a call that never was */
    stage_end(&stage, 0, 0, "lost");
    stage_end(&stage, 0, 1, "lost"); /* behind it on the same way */
    wait_placed(0, 3, 5000);
    assert_int_equal(stage_ends(&stage, 0), 1);
    stage.spawners[0].placements[0].id[35] ^= 1;
    for (int i = 0; i < 2; i++) {
        stage_end(&stage, 0, i * 2, "ok");
        wait_state(id[i], "done");
    }
}

/* A publisher that died had these calls, and may have placed them: the gateway asks this one. */
static void what_a_dead_publisher_had_runs_again_where_it_may(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_function(&stage, "twice", 1,
                   "\"retry\":{\"idempotent\":true,\"attempts\":2,\"on\":[\"lost\"]},");
    stage_function(&stage, "failed", 1,
                   "\"retry\":{\"idempotent\":true,\"attempts\":2,\"on\":[\"failed\"]},");
    stage_function(&stage, "changed", 2,
                   "\"retry\":{\"idempotent\":true,\"attempts\":2,\"on\":[\"lost\"]},");
    stage_join(&stage, 0);
    stage_call(&stage,
               &(struct stage_call){.function = "plain", .attempt = 2, .lost = 1, .version = 1},
               id);
    fails_with(id, "lost", "may have run");
    stage_call(&stage,
               &(struct stage_call){.function = "failed", .attempt = 2, .lost = 1, .version = 1},
               id);
    fails_with(id, "lost", "may have run");
    stage_call(&stage,
               &(struct stage_call){.function = "twice", .attempt = 3, .lost = 2, .version = 1},
               id);
    fails_with(id, "lost", "may have run");
    stage_call(&stage,
               &(struct stage_call){.function = "nobody", .attempt = 2, .lost = 1, .version = 1},
               id);
    fails_with(id, "lost", "may have run");
    /* which version may have run is not known, or it is one that is not there */
    stage_call(&stage, &(struct stage_call){.function = "changed", .attempt = 2, .lost = 1}, id);
    fails_with(id, "lost", "may have run");
    stage_call(&stage,
               &(struct stage_call){.function = "twice", .attempt = 2, .lost = 1, .version = 7},
               id);
    fails_with(id, "lost", "may have run");
    assert_int_equal(stage_placed(&stage, 0), 0);
    stage_call(&stage,
               &(struct stage_call){.function = "twice", .attempt = 2, .lost = 1, .version = 1},
               id);
    wait_placed(0, 1, 3000);
    wait_state(id, "done");
    assert_int_equal(stage_frames(&stage, id, FAAS_FRAME_FAIL), 0);
    /* of a function that was never changed there is one version only */
    stage_call(&stage, &(struct stage_call){.function = "twice", .attempt = 2, .lost = 1}, id);
    wait_placed(0, 2, 3000);
    wait_state(id, "done");
    assert_int_equal(stage.spawners[0].placements[0].place, 2 * 256 + 1);
    assert_int_equal(stage_frames(&stage, id, FAAS_FRAME_FAIL), 0);
}

struct question {
    const char *function, *id;
    int64_t lost, version;
};

/* 1: it may, 0: it may not, -1: neither is said. */
static int may_run(const struct question *q)
{
    const char *id = q->id != NULL ? q->id : "0190a000-0000-7000-8000-00000000000a";
    FAAS_AUTO(json_t) *doc = ask_publisher(
        "again", NULL,
        json_pack("{s:i, s:s, s:s, s:I, s:I, s:i}", "v", 1, "id", id, "function", q->function,
                  "lost", (json_int_t)q->lost, "version", (json_int_t)q->version, "age_ms", 900));
    const json_t *may = json_object_get(doc, "may_run");

    return json_is_boolean(may) ? json_is_true(may) : -1;
}

static bool may_run_now(void *arg)
{
    return may_run(arg) == 1;
}

static void a_gateway_is_told_whether_a_call_may_run_again(void **state)
{
    static const char changed_twice[] =
        "\"retry\":{\"idempotent\":true,\"attempts\":2,\"on\":[\"lost\"]},";
    struct question changed = {.function = "changed", .lost = 1};

    (void)state;
    stage_function(&stage, "twice", 1, changed_twice);
    stage_function(&stage, "changed", 2, changed_twice);
    assert_int_equal(may_run(&(struct question){.function = "twice", .lost = 1}), 1);
    assert_int_equal(may_run(&(struct question){.function = "twice", .lost = 2}), 0);
    assert_int_equal(may_run(&(struct question){.function = "plain", .lost = 1}), 0);
    assert_int_equal(may_run(&(struct question){.function = "changed", .lost = 1, .version = 2}),
                     1);
    assert_int_equal(may_run(&(struct question){.function = "nobody", .lost = 1}), -1);
    assert_int_equal(may_run(&(struct question){.function = "no name", .lost = 1}), -1);
    assert_int_equal(may_run(&(struct question){.function = "twice", .lost = 0}), -1);
    assert_int_equal(may_run(&(struct question){.function = "twice", .lost = 1, .id = "none"}), -1);
    /* which version may have run is known once the function has been as it is for a while */
    assert_int_equal(may_run(&changed), 0);
    wait_until(may_run_now, &changed, 60000, "the function did not change of late");
    stage_function(&stage, "changed", 3, changed_twice);
    assert_int_equal(may_run(&changed), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_a_dead_spawner_had_runs_again_where_it_may, clear),
        cmocka_unit_test_teardown(what_a_spawner_says_it_lost_runs_again_where_it_may, clear),
        cmocka_unit_test_teardown(where_a_call_was_before_it_is_given_up, clear),
        cmocka_unit_test_teardown(what_its_gateway_gave_up_ends_unless_half_a_run_would_be_left,
                                  clear),
        cmocka_unit_test_teardown(a_call_whose_run_was_lost_waits_for_a_place, clear),
        cmocka_unit_test_teardown(a_loss_of_a_call_that_nobody_knows_is_not_taken, clear),
        cmocka_unit_test_teardown(what_a_dead_publisher_had_runs_again_where_it_may, clear),
        cmocka_unit_test_teardown(a_gateway_is_told_whether_a_call_may_run_again, clear),
    };

    return cmocka_run_group_tests(tests, open_one, close_stage);
}
