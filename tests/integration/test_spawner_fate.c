/* A real spawner's promises about calls it has, had or never saw: cancel, fence, refusals, its death. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/den.h"
#include "tests/support/engine.h"
#include "tests/unit/unit.h"

/* ---- cancel, fence, repeats ---- */

static json_t *ask(const char *verb, const char *id, int64_t place)
{
    FAAS_AUTO(json_t) *question = json_pack("{s:i,s:s,s:I,s:s}", "v", 1, "id", id, "place",
                                            (json_int_t)place, "reason", "client_gone");

    return caller_ask(den.caller, "s1", verb, question);
}

static void assert_state(const char *verb, const char *id, int64_t place, const char *expected)
{
    FAAS_AUTO(json_t) *reply = ask(verb, id, place);

    assert_string_equal(den_text(reply, "state"), expected);
}

static void a_cancelled_call_is_dead_before_the_answer(void **state)
{
    struct sleeper running = {.argument = NULL}, early = {.argument = NULL};

    (void)state;
    sleeper_start(&running);
    sleeper_await_container(&running);
    assert_state("cancel", running.id, 256, "unknown"); /* of a placement before */
    assert_state("cancel", running.id, 257, "cancelled");
    den_assert_stopped(running.id);
    sleeper_join(&running);
    assert_string_equal(den_text(running.result.end, "code"), "client_gone");
    assert_state("cancel", running.id, 0, "done");
    assert_state("fence", running.id, 999, "done");
    sleeper_start(&early);
    for (bool is_known = false; !is_known;) { /* at the earliest moment it is known at all */
        FAAS_AUTO(json_t) *reply = ask("cancel", early.id, 0);

        is_known = strcmp(den_text(reply, "state"), "unknown") != 0;
    }
    sleeper_join(&early);
    assert_string_equal(den_text(early.result.end, "code"), "client_gone");
    den_assert_gone("faas.call", early.id, 40000);
    caller_result_done(&running.result);
    caller_result_done(&early.result);
}

static void a_fence_refuses_what_was_not_seen_and_lets_run_what_runs(void **state)
{
    FAAS_AUTO(json_t) *meta = den_meta(DEN_FAIL, den.fail_id, NULL);
    struct sleeper running = {.argument = "sleep 1500"};
    struct caller_order order = {
        .spawner = "s1", .meta = meta, .argument = "nothing", .argument_len = 7};
    struct caller_result got;
    char id[FAAS_UUID_TEXT];

    (void)state;
    faas_uuid_new(id);
    assert_state("fence", id, 300, "never");
    order.id = id;
    order.place = 300;
    caller_run(den.caller, &order, &got);
    assert_true(got.is_busy);
    assert_string_equal(den_text(got.event, "reason"), "fenced");
    caller_result_done(&got);
    order.place = 301;
    caller_run(den.caller, &order, &got);
    assert_string_equal(den_text(got.end, "code"), "ok");
    caller_result_done(&got);
    sleeper_start(&running);
    sleeper_await_container(&running);
    assert_state("fence", running.id, 9999, "running");
    sleeper_join(&running);
    assert_string_equal(den_text(running.result.end, "code"), "ok");
    assert_state("cancel", "01900000-0000-7000-8000-000000000000", 0, "unknown");
    caller_result_done(&running.result);
}

static void a_call_meant_for_another_process_or_an_old_heartbeat_is_refused(void **state)
{
    FAAS_AUTO(json_t) *meta = den_meta(DEN_FAIL, den.fail_id, NULL),
                      *beat = caller_beat(den.caller, "s1", 5000);
    struct caller_order order = {
        .spawner = "s1", .meta = meta, .argument = "nothing", .argument_len = 7};
    struct caller_result got;
    const struct timespec later = {.tv_sec = 1, .tv_nsec = 200000000};

    (void)state;
    order.epoch = "00000000000000000000000000000000";
    caller_run(den.caller, &order, &got);
    assert_string_equal(den_text(got.event, "reason"), "epoch");
    caller_result_done(&got);
    order.epoch = den_text(beat, "epoch");
    order.beat = json_integer_value(json_object_get(beat, "beat"));
    caller_run(den.caller, &order, &got);
    assert_string_equal(den_text(got.end, "code"), "ok");
    caller_result_done(&got);
    nanosleep(&later, NULL); /* the age of a heartbeat is what is tested */
    caller_run(den.caller, &order, &got);
    assert_string_equal(den_text(got.event, "reason"), "stale");
    caller_result_done(&got);
}

static void an_older_publisher_names_the_callers_inbox_as_the_reply_subject(void **state)
{
    FAAS_AUTO(json_t) *meta = den_meta(DEN_FAIL, den.fail_id, NULL);
    const struct caller_order order = {
        .spawner = "s1", .meta = meta, .argument = "nothing", .argument_len = 7, .is_old = true};
    struct caller_result got;

    (void)state;
    caller_run(den.caller, &order, &got);
    assert_string_equal(den_text(got.end, "code"), "ok");
    caller_result_done(&got);
}

static void what_cannot_run_here_is_refused_by_reason(void **state)
{
    static const char missing[] =
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    FAAS_AUTO(json_t) *sandbox = den_meta(DEN_FAIL, den.fail_id, "{\"isolation\":\"sandbox\"}");
    FAAS_AUTO(json_t) *absent = den_meta(DEN_FAIL, missing, NULL);
    FAAS_AUTO(json_t) *pulled = den_meta(DEN_FAIL, missing, "{\"pull\":true}");
    struct caller_order order = {
        .spawner = "s1", .meta = sandbox, .argument = "", .argument_len = 0};
    struct caller_result got;

    (void)state;
    caller_run(den.caller, &order, &got);
    assert_string_equal(den_text(got.event, "reason"), "isolation");
    caller_result_done(&got);
    order.meta = absent;
    caller_run(den.caller, &order, &got);
    assert_string_equal(den_text(got.event, "reason"), "no_image");
    caller_result_done(&got);
    order.meta = pulled;
    caller_run(den.caller, &order, &got);
    assert_string_equal(den_text(got.end, "code"), "unavailable");
    assert_contains(den_text(got.end, "detail"), "docker load");
    caller_result_done(&got);
}

static void an_end_that_its_publisher_does_not_take_goes_to_any_other(void **state)
{
    struct sleeper call = {.argument = "nothing", .ignores_end = true};

    (void)state;
    sleeper_start(&call);
    sleeper_join(&call);
    assert_string_equal(den_text(call.result.end, "code"), "ok");
    assert_true(caller_adopted(den.caller, call.id, 10000));
    caller_result_done(&call.result);
}

#define ENGINE "/tmp/faas-test-engine-to-lose.sock"

struct losing {
    pid_t engine;
    int started;
};

static void engine_dies_with_three(void *arg, const char *id)
{
    struct losing *losing = arg;

    (void)id;
    if (++losing->started == 3)
        kill(losing->engine, SIGKILL);
}

static pid_t start_engine(void)
{
    const char *build = getenv("FAAS_BUILD");
    char program[200];
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)snprintf(program, sizeof program, "%s/bin/scripted-engine",
                   build != NULL ? build : "build/release");
    execl(program, "scripted-engine", ENGINE, (char *)NULL);
    _exit(127);
}

/* A call that its publisher may run again: it is told, and the caller only when it does not take
 * that. */
static void a_loss_is_its_publishers_to_tell_where_it_runs_again(void **state)
{
    static const char *const settings[] = {"DOCKER_HOST", "unix://" ENGINE, NULL};
    struct losing losing = {.engine = start_engine()};
    struct sleeper calls[3] = {{.more = "{\"again\":true}"},
                               {.more = NULL},
                               {.more = "{\"again\":true}", .ignores_end = true}};
    pid_t pid = den_spawner_start("s5", settings);

    (void)state;
    den_await_ready("s5");
    for (int i = 0; i < 3; i++) {
        calls[i].spawner = "s5";
        calls[i].argument = "sleep";
        calls[i].started = engine_dies_with_three;
        calls[i].arg = &losing;
        sleeper_start(&calls[i]);
    }
    for (int i = 0; i < 3; i++)
        sleeper_join(&calls[i]);
    (void)den_await_exit(losing.engine);
    assert_true(calls[0].result.is_untold);
    assert_null(calls[0].result.end);
    assert_string_equal(den_text(calls[0].result.event, "code"), "lost");
    for (int i = 1; i < 3; i++) {
        assert_string_equal(den_text(calls[i].result.end, "code"), "lost");
        assert_true(json_is_true(json_object_get(calls[i].result.end, "may_have_run")));
    }
    assert_true(caller_adopted(den.caller, calls[2].id, 10000));
    for (int i = 0; i < 3; i++)
        caller_result_done(&calls[i].result);
    kill(pid, SIGKILL);
    (void)den_await_exit(pid);
    (void)unlink(ENGINE);
}

/* ---- life and death ---- */

static void a_full_spawner_says_so(void **state)
{
    static const char *const few[] = {"SPAWNER_SLOTS", "1", NULL};
    FAAS_AUTO(json_t) *meta = den_meta(DEN_FAIL, den.fail_id, NULL);
    struct caller_order order = {
        .spawner = "s2", .meta = meta, .argument = "sleep 60000", .argument_len = 11};
    struct caller_result got;
    pid_t pid = den_spawner_start("s2", few);

    (void)state;
    den_await_ready("s2");
    order.is_deaf = true;
    order.wait_ms = 1000;
    caller_run(den.caller, &order, &got); /* accepted, and left running */
    assert_true(got.is_timeout && got.has_accept_event);
    caller_result_done(&got);
    caller_run(den.caller, &order, &got);
    assert_string_equal(den_text(got.event, "reason"), "slots");
    caller_result_done(&got);
    kill(pid, SIGKILL);
    (void)den_await_exit(pid);
    pid = den_spawner_start("s2", NULL); /* the same name in its next life */
    den_await_ready("s2");
    den_assert_gone("faas.spawner", "s2", 40000);
    kill(pid, SIGTERM);
    assert_int_equal(den_await_exit(pid), 0);
}

static void a_dead_spawners_containers_are_removed_by_another(void **state)
{
    FAAS_AUTO(json_t) *meta = den_meta(DEN_FAIL, den.fail_id, NULL);
    struct caller_order order = {.spawner = "s3",
                                 .meta = meta,
                                 .argument = "sleep 60000",
                                 .argument_len = 11,
                                 .is_deaf = true,
                                 .wait_ms = 1500};
    struct caller_result got;
    FAAS_AUTO(char) *ids = NULL;
    pid_t pid = den_spawner_start("s3", NULL);

    (void)state;
    den_await_ready("s3");
    caller_run(den.caller, &order, &got);
    ids = test_containers("faas.spawner", "s3");
    assert_true(ids[0] != '\0');
    kill(pid, SIGKILL);
    (void)den_await_exit(pid);
    den_assert_gone("faas.spawner", "s3", 40000);
    caller_result_done(&got);
}

static void without_an_engine_it_stays_up_and_says_what_to_do(void **state)
{
    static const char *const nowhere[] = {"DOCKER_HOST", "unix:///nonexistent.sock", NULL};
    FAAS_AUTO(json_t) *meta = den_meta(DEN_FAIL, den.fail_id, NULL);
    FAAS_AUTO(json_t) *question = json_pack("{s:s}", "image", "a"), *reply = NULL;
    const struct caller_order order = {.spawner = "s4", .meta = meta, .argument = ""};
    struct caller_result got;
    pid_t pid = den_spawner_start("s4", nowhere);

    (void)state;
    den_await_ready("s4");
    caller_run(den.caller, &order, &got);
    assert_string_equal(den_text(got.event, "reason"), "engine");
    assert_contains(den_text(got.event, "detail"), "unix:///nonexistent.sock: start it or set");
    reply = caller_ask(den.caller, "s4", "resolve", question);
    assert_string_equal(den_text(reply, "code"), "unavailable");
    assert_contains(den_text(reply, "error"), "DOCKER_HOST");
    caller_result_done(&got);
    kill(pid, SIGTERM);
    assert_int_equal(den_await_exit(pid), 0);
}

/* Its good-bye is what the publisher of a call that runs again goes by. */
static void a_drain_that_took_too_long_is_told_to_those_who_get_no_other_run(void **state)
{
    static const char *const settings[] = {"DRAIN_MS", "100", NULL};
    struct sleeper calls[2] = {{.more = "{\"again\":true}", .wait_ms = 8000}, {.more = NULL}};
    pid_t pid = den_spawner_start("s6", settings);

    (void)state;
    den_await_ready("s6");
    for (int i = 0; i < 2; i++) {
        calls[i].spawner = "s6";
        sleeper_start(&calls[i]);
        sleeper_await_container(&calls[i]);
    }
    kill(pid, SIGTERM);
    assert_int_equal(den_await_exit(pid), 0);
    for (int i = 0; i < 2; i++)
        sleeper_join(&calls[i]);
    assert_true(calls[0].result.is_timeout);
    assert_null(calls[0].result.end);
    assert_string_equal(den_text(calls[1].result.end, "code"), "lost");
    for (int i = 0; i < 2; i++)
        caller_result_done(&calls[i].result);
}

static void a_drained_spawner_finishes_what_runs_and_leaves_nothing(void **state)
{
    struct sleeper running = {.argument = "sleep 1500"};

    (void)state;
    sleeper_start(&running);
    sleeper_await_container(&running);
    kill(den.spawner, SIGTERM);
    sleeper_join(&running);
    assert_string_equal(den_text(running.result.end, "code"), "ok");
    assert_int_equal(den_await_exit(den.spawner), 0);
    den.spawner = 0;
    den_assert_gone("faas.cluster", den.cluster, 100);
    caller_result_done(&running.result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_call_is_dead_before_the_answer),
        cmocka_unit_test(a_fence_refuses_what_was_not_seen_and_lets_run_what_runs),
        cmocka_unit_test(a_call_meant_for_another_process_or_an_old_heartbeat_is_refused),
        cmocka_unit_test(an_older_publisher_names_the_callers_inbox_as_the_reply_subject),
        cmocka_unit_test(what_cannot_run_here_is_refused_by_reason),
        cmocka_unit_test(an_end_that_its_publisher_does_not_take_goes_to_any_other),
        cmocka_unit_test(a_loss_is_its_publishers_to_tell_where_it_runs_again),
        cmocka_unit_test(a_full_spawner_says_so),
        cmocka_unit_test(a_dead_spawners_containers_are_removed_by_another),
        cmocka_unit_test(without_an_engine_it_stays_up_and_says_what_to_do),
        cmocka_unit_test(a_drain_that_took_too_long_is_told_to_those_who_get_no_other_run),
        cmocka_unit_test(a_drained_spawner_finishes_what_runs_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, den_open, den_close);
}
