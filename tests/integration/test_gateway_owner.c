/* What a real gateway does with a call that its owner does not take: a real nats-server, publishers
 * as the test tells them (tests/support/gate.h). */
#include "tests/support/gate.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "contract.h"
#include "tests/unit/unit.h"

static struct gate gate;
static struct reply reply;

static int open_calls(void **state)
{
    (void)state;
    gate_open(&gate, NULL);
    gate_join(&gate, 0, false);
    gate_join(&gate, 1, false);
    return 0;
}

static int open_first_deaf(void **state)
{
    (void)state;
    gate_open(&gate, NULL);
    gate_join(&gate, 0, true);
    gate_join(&gate, 1, false);
    return 0;
}

static int close_gate(void **state)
{
    (void)state;
    gate_close(&gate);
    return 0;
}

static int close_and_calm(void **state)
{
    reply_done(&reply);
    return close_gate(state);
}

static int calm(void **state)
{
    (void)state;
    reply_done(&reply);
    gate_calm(&gate);
    return 0;
}

static void an_owner_that_never_saw_the_call_gets_it_again(void **state)
{
    (void)state;
    gate.publishers[0].mood = MOOD_SILENT;
    gate.publishers[0].fence = "never";
    gate_call(&gate, NULL, &reply);
    assert_int_equal(reply.status, 200);
    /* Again to the owner, or to the next one when the owner's beats came late meanwhile. */
    assert_int_equal(gate.publishers[0].calls + gate.publishers[1].calls, 2);
    assert_int_equal(gate.publishers[gate.publishers[0].calls == 2 ? 0 : 1].attempt, 2);
    assert_int_equal(gate.publishers[0].fences, 1);
}

static void words_of_an_older_attempt_do_not_count(void **state)
{
    (void)state;
    gate.publishers[0].mood = MOOD_SILENT;
    gate.publishers[0].fence = "never";
    gate.publishers[0].later = MOOD_STALE;
    gate_call(&gate, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(gate.publishers[0].attempt, 2);
}

/* The puppet is of the epoch that the call names, and says that it is not. */
static void a_call_that_was_for_the_process_before_goes_to_the_next_owner(void **state)
{
    (void)state;
    gate.publishers[0].mood = MOOD_FOREIGN;
    gate_call(&gate, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(gate.publishers[0].calls, 1);
    assert_string_equal(gate.publishers[0].call_epoch,
                        faas_members_epoch(gate.publishers[0].members));
    assert_int_equal(gate.publishers[0].fences, 0);
    assert_int_equal(gate.publishers[1].attempt, 2);
}

static void a_placement_that_its_publisher_gave_up_counts_no_more(void **state)
{
    (void)state;
    gate.publishers[0].mood = MOOD_AGAIN;
    gate_call(&gate, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "abcde");
    assert_int_equal(gate.publishers[0].calls, 1);
}

static void a_call_that_goes_on_is_waited_for(void **state)
{
    (void)state;
    gate.publishers[0].mood = MOOD_SILENT;
    gate.publishers[0].fence = "running";
    gate_call(&gate, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(gate.publishers[0].calls, 1);
}

/* It may have begun: the next owner, which knows the function, is told so. */
static void a_call_that_may_have_begun_is_left_to_the_next_owner(void **state)
{
    (void)state;
    gate.publishers[0].mood = MOOD_SILENT;
    gate_call(&gate, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(gate.publishers[0].calls, 1);
    assert_int_equal(gate.publishers[0].lost, 0);
    assert_int_equal(gate.publishers[1].calls, 1);
    assert_int_equal(gate.publishers[1].attempt, 2);
    assert_int_equal(gate.publishers[1].lost, 1);
    assert_int_equal(gate.publishers[1].version, 0); /* nobody had said */
    assert_int_equal(gate.publishers[0].version, -1);
}

/* It stood still for a moment, or had no connection: the first questions stay unanswered. */
static void a_silent_owner_is_asked_until_it_answers(void **state)
{
    (void)state;
    gate.publishers[0].mood = MOOD_SILENT;
    gate.publishers[0].fence = "never";
    gate.publishers[0].fences_unanswered = 4;
    gate_call(&gate, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_in_range(gate.publishers[0].fences, 5, 99);
    for (int i = 0; i < 2; i++)
        assert_in_range(gate.publishers[i].lost, 0, 0);
}

static void a_call_that_may_run_again_does_not_wait_for_an_owner_that_is_gone(void **state)
{
    (void)state;
    gate.publishers[0].mood = MOOD_LEAVES;
    gate.publishers[1].may_run = true;
    gate_call(&gate, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(gate.publishers[1].lost, 1);
    assert_in_range(gate.publishers[1].agains, 1, 99);
    assert_in_range(gate.publishers[0].fences, 1, 5);
}

/* The same, and nobody says that it may: the last word is waited for. */
static void any_other_call_waits_for_the_last_word(void **state)
{
    (void)state;
    gate.publishers[0].mood = MOOD_LEAVES;
    gate_call(&gate, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(gate.publishers[1].lost, 1);
    assert_in_range(gate.publishers[1].agains, 2, 99);
    assert_in_range(gate.publishers[0].fences, 6, 99);
}

/* It, or its answer, was lost: the same publisher is asked, as it may have it. */
static void a_call_for_the_queue_is_sent_again_until_it_is_answered(void **state)
{
    char path[64] = "/async-function/";

    (void)state;
    gate.publishers[0].queues_unanswered = 2;
    gate_name(0, path + strlen(path));
    gate_ask(&gate, "POST", path, NULL, "argument", &reply);
    assert_int_equal(reply.status, 202);
    assert_int_equal(gate.publishers[0].queues, 3);
    assert_int_equal(gate.publishers[0].attempt, 3);
    assert_int_equal(gate.publishers[1].queues, 0);
}

/* Also when it says that nothing was started: an earlier one may have. */
static void what_the_next_owner_does_not_run_is_lost(void **state)
{
    (void)state;
    gate.publishers[0].mood = MOOD_SILENT;
    gate.publishers[1].mood = MOOD_FAILS;
    gate_call(&gate, NULL, &reply);
    reply_assert_problem(&reply, 502, "lost");
    assert_contains(reply.body, "\"may_have_run\":true");
    assert_int_equal(gate.publishers[0].calls, 1);
    assert_int_equal(gate.publishers[1].calls, 1);
}

static void silence_everywhere_is_lost_and_each_owner_was_asked_once(void **state)
{
    uint64_t began = faas_now_ns();

    (void)state;
    gate.publishers[0].mood = gate.publishers[1].mood = MOOD_SILENT;
    gate_call(&gate, NULL, &reply);
    reply_assert_problem(&reply, 502, "lost");
    assert_contains(reply.body, "\"may_have_run\":true");
    assert_int_equal(gate.publishers[0].calls, 1);
    assert_int_equal(gate.publishers[1].calls, 1);
    assert_in_range((faas_now_ns() - began) / FAAS_MS_NS, 1000, 12000);
}

static void a_taken_call_whose_owner_forgot_it_is_lost(void **state)
{
    (void)state;
    gate.publishers[0].mood = MOOD_TAKES;
    gate.publishers[0].fence = "never";
    gate.publishers[1].mood = MOOD_FAILS;
    gate_call(&gate, NULL, &reply);
    reply_assert_problem(&reply, 502, "lost");
    assert_int_equal(gate.publishers[1].version, 1); /* as TAKEN said */
    reply_done(&reply);
    gate.publishers[0].mood = MOOD_SILENT; /* what another process never saw, the first may have */
    gate.publishers[0].epoch = "another";
    gate_call(&gate, NULL, &reply);
    reply_assert_problem(&reply, 502, "lost");
    assert_int_equal(gate.publishers[0].calls, 2);
}

static void nobody_listens_so_the_next_owner_gets_it(void **state)
{
    (void)state;
    gate_call(&gate, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(gate.publishers[1].calls, 1);
    assert_int_equal(gate.publishers[1].attempt, 2);
}

/* ---- a publisher of an older release ---- */

static int open_empty(void **state)
{
    (void)state;
    gate_open(&gate, NULL);
    return 0;
}

static void beat_as_older(void *arg)
{
    static int number;
    char text[256];
    struct faas_out out = {.subject = "faas.hb.publisher.old1", .data = text};
    faas_err err = {0};

    (void)arg;
    out.len =
        (size_t)snprintf(text, sizeof text,
                         "{\"v\":1,\"epoch\":\"0123456789abcdef0123456789abcdef\",\"beat\":%d,"
                         "\"state\":\"ready\",\"level\":%d}",
                         ++number, FAAS_LEVEL_VERSIONS - 1);
    if (faas_bus_publish(gate.auth.bus, FAAS_CONTROL, &out, &err) != FAAS_OK)
        abort();
}

/* Once its beat is heard, the call is refused for that reason. */
static bool is_told_of_it(void *arg)
{
    process_on_loop(&gate.auth, beat_as_older, NULL);
    reply_done(&reply);
    gate_ask(&gate, "POST", arg, NULL, "argument", &reply);
    return reply.status == 503 && strstr(reply.body, "of an older release") != NULL;
}

static void an_older_publisher_is_not_asked_for_a_version(void **state)
{
    static char paths[][32] = {"/function/f@1", "/function/f:live", "/async-function/f@1"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(paths); i++)
        wait_until(is_told_of_it, paths[i], 60000, "the older publisher is heard");
    assert_false(is_told_of_it("/function/f")); /* the newest version it can call */
}

#define test(f) cmocka_unit_test_teardown(f, calm)

int main(void)
{
    const struct CMUnitTest calls[] = {
        test(an_owner_that_never_saw_the_call_gets_it_again),
        test(words_of_an_older_attempt_do_not_count),
        test(a_call_that_was_for_the_process_before_goes_to_the_next_owner),
        test(a_placement_that_its_publisher_gave_up_counts_no_more),
        test(a_call_that_goes_on_is_waited_for),
        test(a_call_that_may_have_begun_is_left_to_the_next_owner),
        test(what_the_next_owner_does_not_run_is_lost),
        test(silence_everywhere_is_lost_and_each_owner_was_asked_once),
        test(a_taken_call_whose_owner_forgot_it_is_lost),
        test(a_silent_owner_is_asked_until_it_answers),
        test(a_call_for_the_queue_is_sent_again_until_it_is_answered),
    };
    const struct CMUnitTest gone[] = {
        cmocka_unit_test_setup_teardown(
            a_call_that_may_run_again_does_not_wait_for_an_owner_that_is_gone, open_calls,
            close_and_calm),
        cmocka_unit_test_setup_teardown(any_other_call_waits_for_the_last_word, open_calls,
                                        close_and_calm),
    };
    const struct CMUnitTest deaf[] = {test(nobody_listens_so_the_next_owner_gets_it)};
    const struct CMUnitTest older[] = {test(an_older_publisher_is_not_asked_for_a_version)};
    int failed = cmocka_run_group_tests_name("calls", calls, open_calls, close_gate);

    failed += cmocka_run_group_tests_name("gone", gone, NULL, NULL);
    failed += cmocka_run_group_tests_name("older", older, open_empty, close_gate);
    return failed + cmocka_run_group_tests_name("deaf", deaf, open_first_deaf, close_gate);
}
