/* What becomes of a call at a real spawner, on a real engine: every outcome, exact bytes, images. */
#include <stdio.h>
#include <string.h>

#include "contract.h"
#include "tests/support/den.h"
#include "tests/support/engine.h"
#include "tests/unit/unit.h"

/* ---- outcomes ---- */

static void every_outcome_is_told_apart(void **state)
{
    static const struct {
        const char *argument, *more, *code, *detail;
        int exit_code, signal;
        bool is_oom;
    } rows[] = {
        {"nothing", NULL, "ok", "", 0, 0, false},
        {"exit 3 why", NULL, "function_failed", "exit status 3", 3, 0, false},
        {"signal 11", NULL, "function_failed", "signal 11", 139, 11, false},
        {"oom", "{\"limits\":{\"memory_mb\":32}}", "function_failed", "32 MiB", 137, 9, true},
        {"oom-child", "{\"limits\":{\"memory_mb\":32}}", "ok", "", 0, 0, false},
        {"sleep 30000", "{\"timeout_ms\":300}", "timeout", "300 ms", -1, 0, false},
        {"ignore-term 30000", "{\"timeout_ms\":300}", "timeout", "300 ms", -1, 0, false},
        {"bytes 2000000", "{\"limits\":{\"output_mb\":1}}", "output_too_large", "1048576", -1, 0,
         false},
        {"sleep 30000", "{\"start_timeout_ms\":1}", "start_failed", "1 ms", -1, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        struct caller_result got;
        const json_t *status;

        den_call(rows[i].argument, rows[i].more, &got);
        assert_string_equal(den_text(got.end, "code"), rows[i].code);
        assert_contains(den_text(got.end, "detail"), rows[i].detail);
        status = json_object_get(got.end, "exit_code");
        assert_int_equal(status != NULL ? json_integer_value(status) : -1, rows[i].exit_code);
        assert_int_equal(json_integer_value(json_object_get(got.end, "signal")), rows[i].signal);
        assert_int_equal(json_is_true(json_object_get(got.end, "oom")), rows[i].is_oom);
        if (strcmp(rows[i].code, "start_failed") != 0) /* which is over before that is told */
            assert_true(got.has_accept_event && got.has_accept_frame);
        den_assert_stopped(got.id);
        den_assert_gone("faas.call", got.id, 40000);
        caller_result_done(&got);
    }
}

static void a_program_that_is_not_there_is_a_failed_start(void **state)
{
    char id[80];
    FAAS_AUTO(json_t) *meta = NULL;
    struct caller_order order = {.spawner = "s1", .argument = "x", .argument_len = 1};
    struct caller_result got;

    (void)state;
    den_resolve("faas-tests/bad-exec", id);
    order.meta = meta = den_meta("docker.io/faas-tests/bad-exec:latest", id, NULL);
    caller_run(den.caller, &order, &got);
    assert_string_equal(den_text(got.end, "code"), "start_failed");
    assert_contains(den_text(got.end, "detail"), "/missing");
    assert_false(got.has_started);
    den_assert_gone("faas.call", got.id, 40000);
    caller_result_done(&got);
}

static void output_comes_back_byte_for_byte_and_stderr_apart(void **state)
{
    struct caller_result got;
    size_t lines = 0;

    (void)state;
    den_call("bytes 20000000", "{\"limits\":{\"output_mb\":24}}", &got);
    assert_int_equal(got.out_len, 20000000);
    for (size_t at = 0; at + 15 < got.out_len; at += 64, lines++) {
        char expected[21]; /* any number */

        (void)snprintf(expected, sizeof expected, "%015zu", at);
        assert_memory_equal(got.out + at, expected, 15);
    }
    assert_int_equal(lines, 20000000 / 64);
    caller_result_done(&got);
    den_call("both 1000", NULL, &got);
    assert_memory_equal(got.out, "out 0\nout 1\n", 12);
    assert_null(memmem(got.out, got.out_len, "err", 3));
    assert_contains(den_text(got.end, "stderr_tail"), "err 999");
    caller_result_done(&got);
    den_call("stderr 100000", NULL, &got);
    assert_int_equal(got.out_len, 0);
    assert_int_equal(json_integer_value(json_object_get(got.end, "stderr_bytes")), 100000);
    assert_int_equal(strlen(den_text(got.end, "stderr_tail")), FAAS_STDERR_TAIL);
    caller_result_done(&got);
}

static void stdin_takes_any_bytes(void **state)
{
    static char data[900000];
    static const size_t sizes[] = {0, 1, sizeof data};
    FAAS_AUTO(json_t) *meta = den_meta(DEN_FAIL, den.fail_id, "{\"input\":\"stdin\"}");

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 31 % 251);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(sizes); i++) {
        const struct caller_order order = {
            .spawner = "s1", .meta = meta, .argument = data, .argument_len = sizes[i]};
        struct caller_result got;

        caller_run(den.caller, &order, &got);
        assert_string_equal(den_text(got.end, "code"), "ok");
        assert_int_equal(got.out_len, sizes[i]);
        assert_memory_equal(got.out, data, sizes[i]);
        caller_result_done(&got);
    }
}

static void lingering_counts_until_the_exit_and_children_end_with_their_parent(void **state)
{
    struct caller_result got;

    (void)state;
    den_call("close-and-sleep 500", NULL, &got);
    assert_true(got.ms >= 500);
    assert_memory_equal(got.out, "closing", got.out_len);
    caller_result_done(&got);
    den_call("fork-and-leave 60000", NULL, &got);
    assert_true(got.ms < 30000);
    assert_memory_equal(got.out, "parent", got.out_len);
    caller_result_done(&got);
}

static void *echo_some(void *arg)
{
    FAAS_AUTO(json_t) *meta = den_meta(DEN_ECHO, den.echo_id, NULL);

    for (int i = 0; i < 4; i++) {
        char text[64];
        const struct caller_order order = {
            .spawner = "s1", .meta = meta, .argument = text, .argument_len = sizeof text};
        struct caller_result got;

        memset(text, 'a' + (int)(intptr_t)arg, sizeof text);
        text[0] = (char)('0' + i);
        caller_run(den.caller, &order, &got);
        if (got.out_len != sizeof text || memcmp(got.out, text, sizeof text) != 0)
            return den_text(got.end, "detail")[0] != '\0' ? "failed" : "crossed";
        caller_result_done(&got);
    }
    return NULL;
}

static void parallel_calls_get_their_own_answers(void **state)
{
    pthread_t threads[8];
    void *failed = NULL;

    (void)state;
    for (intptr_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, echo_some, (void *)i), 0);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    test_promise(27, "0 of 32 answers crossed");
}

/* ---- images ---- */

static void an_image_that_cannot_be_had_says_why(void **state)
{
    static const char *const rows[][2] = {
        {"nosuch:1", "ALLOWED_REGISTRIES"},
        {"127.0.0.1:1/x", "connect"},
        {"Bad//Ref", "image: "},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        FAAS_AUTO(json_t) *question = json_pack("{s:s}", "image", rows[i][0]);
        FAAS_AUTO(json_t) *reply = caller_ask(den.caller, "s1", "resolve", question);

        assert_string_equal(den_text(reply, "code"), "unprocessable");
        assert_contains(den_text(reply, "error"), rows[i][1]);
    }
}

static void a_local_image_is_pinned_by_its_id_and_a_tag_of_ours(void **state)
{
    char tag[80];
    const char *const argv[] = {"docker", "image", "inspect", "-f", "{{.Id}}", tag, NULL};
    FAAS_AUTO(char) *id = NULL;

    (void)state;
    (void)snprintf(tag, sizeof tag, "faas-pin/%.32s:keep", den.echo_id + 7);
    id = test_run(argv);
    assert_non_null(id);
    assert_string_equal(id, den.echo_id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_outcome_is_told_apart),
        cmocka_unit_test(a_program_that_is_not_there_is_a_failed_start),
        cmocka_unit_test(output_comes_back_byte_for_byte_and_stderr_apart),
        cmocka_unit_test(stdin_takes_any_bytes),
        cmocka_unit_test(lingering_counts_until_the_exit_and_children_end_with_their_parent),
        cmocka_unit_test(parallel_calls_get_their_own_answers),
        cmocka_unit_test(an_image_that_cannot_be_had_says_why),
        cmocka_unit_test(a_local_image_is_pinned_by_its_id_and_a_tag_of_ours),
    };

    return cmocka_run_group_tests(tests, den_open, den_close);
}
