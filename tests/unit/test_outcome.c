#include "tests/unit/unit.h"

#include <sodium.h>
#include <string.h>

#include "base/text.h"
#include "services/spawner/outcome.h"

static const struct run_facts usual = {
    .timeout_ms = 700, .start_timeout_ms = 50, .memory_mb = 32, .output_bytes = 6291456};

static struct rt_outcome decide(struct run_facts facts)
{
    struct rt_outcome out;

    memset(&out, 0xAA, sizeof out);
    outcome_decide(&facts, &out);
    return out;
}

static void exit_status_zero_is_ok_whatever_was_killed_inside(void **state)
{
    struct run_facts facts = usual;
    struct rt_outcome out;

    (void)state;
    facts.was_oom_killed = true;
    out = decide(facts);
    assert_int_equal(out.code, FAAS_OK);
    assert_int_equal(out.exit_code, 0);
    assert_false(out.is_oom);
    assert_string_equal(out.detail, "");
}

static void a_status_is_told_as_it_is(void **state)
{
    struct run_facts facts = usual;
    struct rt_outcome out;

    (void)state;
    facts.exit_code = 3;
    out = decide(facts);
    assert_int_equal(out.code, FAAS_FAILED);
    assert_int_equal(out.exit_code, 3);
    assert_false(out.is_oom || out.may_have_run);
    assert_string_equal(out.detail, "exit status 3");
}

static void a_status_above_128_names_the_signal(void **state)
{
    struct run_facts facts = usual;

    (void)state;
    assert_int_equal(outcome_signal(137), 9);
    assert_int_equal(outcome_signal(139), 11);
    assert_int_equal(outcome_signal(192), 64);
    assert_int_equal(outcome_signal(128), 0);
    assert_int_equal(outcome_signal(193), 0);
    assert_int_equal(outcome_signal(255), 0);
    assert_int_equal(outcome_signal(1), 0);
    facts.exit_code = 139;
    assert_string_equal(decide(facts).detail, "killed by signal 11 (exit status 139)");
}

static void memory_is_named_as_the_cause(void **state)
{
    struct run_facts facts = usual;
    struct rt_outcome out;

    (void)state;
    facts.exit_code = 137;
    facts.was_oom_killed = true;
    out = decide(facts);
    assert_int_equal(out.code, FAAS_FAILED);
    assert_true(out.is_oom);
    assert_string_equal(out.detail, "out of memory: the limit is 32 MiB (limits.memory_mb)");
}

static void what_we_stopped_is_told_by_its_reason_not_by_its_status(void **state)
{
    static const struct {
        enum stop_reason stop;
        faas_code code;
        const char *part;
    } rows[] = {
        {STOP_TIMEOUT, FAAS_TIMEOUT, "700 ms"},
        {STOP_OUTPUT, FAAS_OUTPUT_TOO_LARGE, "6291456 bytes"},
        {STOP_CANCEL, FAAS_CLIENT_GONE, "cancelled"},
        {STOP_START_TIMEOUT, FAAS_START_FAILED, "50 ms"},
        {STOP_BROKEN, FAAS_LOST, "stream broke"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        struct run_facts facts = usual;
        struct rt_outcome out;

        facts.stop = rows[i].stop;
        facts.exit_code = 137;
        facts.was_oom_killed = true;
        facts.has_started = true;
        out = decide(facts);
        assert_int_equal(out.code, rows[i].code);
        assert_int_equal(out.exit_code, -1);
        assert_false(out.is_oom);
        assert_contains(out.detail, rows[i].part);
    }
}

static void what_may_have_run_says_so(void **state)
{
    struct run_facts facts = usual;

    (void)state;
    facts.is_lost = true;
    assert_int_equal(decide(facts).code, FAAS_LOST);
    assert_true(decide(facts).may_have_run);
    facts = usual;
    facts.is_output_broken = true;
    assert_int_equal(decide(facts).code, FAAS_LOST);
    assert_true(decide(facts).may_have_run);
    facts.exit_code = 1; /* it failed by itself: that much is known */
    assert_int_equal(decide(facts).code, FAAS_FAILED);
    facts = usual;
    facts.stop = STOP_START_TIMEOUT;
    assert_false(decide(facts).may_have_run);
    facts.has_started = true;
    assert_true(decide(facts).may_have_run);
}

static void a_failed_start_keeps_the_runtimes_words(void **state)
{
    struct run_facts facts = usual;
    faas_err why;
    struct rt_outcome out;

    (void)state;
    (void)faas_fail(&why, FAAS_START_FAILED, "exec: \"/missing\": no such file");
    facts.failure = &why;
    out = decide(facts);
    assert_int_equal(out.code, FAAS_START_FAILED);
    assert_string_equal(out.detail, "exec: \"/missing\": no such file");
    assert_int_equal(out.exit_code, -1);
}

static char *tail_of(const void *data, size_t len, size_t piece, size_t max)
{
    struct stderr_tail tail = {.total = 0};
    char *text;

    for (size_t at = 0; at < len; at += piece)
        stderr_tail_add(&tail, (const char *)data + at, len - at < piece ? len - at : piece);
    assert_int_equal(tail.total, len);
    text = stderr_tail_text(&tail, max);
    stderr_tail_done(&tail);
    return text;
}

static void the_record_gets_the_newest_bytes_as_they_are(void **state)
{
    static const size_t lengths[] = {0, 1, 1023, 1024, 1025, 4096, 65535, 65536, 65537, 200000};
    static char data[200000];

    (void)state;
    memset(data, '\xff', sizeof data);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(lengths); i++) {
        size_t len = lengths[i], kept = len < FAAS_STDERR_KEPT ? len : FAAS_STDERR_KEPT, got = 0;
        FAAS_AUTO(json_t) *event = json_object();
        struct stderr_tail tail = {.total = 0};
        static unsigned char bytes[FAAS_STDERR_KEPT];
        const char *text;

        for (size_t at = 0; at < len; at += 777)
            stderr_tail_add(&tail, data + at, len - at < 777 ? len - at : 777);
        assert_int_equal(outcome_add_record(event, "t", "f", &tail), 0);
        text = json_string_value(json_object_get(event, "stderr"));
        assert_string_equal(json_string_value(json_object_get(event, "tenant")), "t");
        assert_int_equal(json_integer_value(json_object_get(event, "stderr_kept")), kept);
        assert_true((text == NULL) == (len == 0));
        if (text != NULL) {
            assert_int_equal(sodium_base642bin(bytes, sizeof bytes, text, strlen(text), NULL, &got,
                                               NULL, sodium_base64_VARIANT_ORIGINAL),
                             0);
            assert_memory_equal(bytes, data, kept);
        }
        assert_int_equal(got, kept);
        stderr_tail_done(&tail);
    }
}

static void the_newest_bytes_of_stderr_are_kept(void **state)
{
    static const size_t pieces[] = {1, 7, 4096, 4097, 100000};
    char data[10000];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)('a' + i % 26);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(pieces); i++) {
        FAAS_AUTO(char) *text = tail_of(data, sizeof data, pieces[i], FAAS_STDERR_TAIL);
        FAAS_AUTO(char) *few = tail_of(data, sizeof data, pieces[i], 10);

        assert_int_equal(strlen(text), FAAS_STDERR_TAIL);
        assert_memory_equal(text, data + sizeof data - FAAS_STDERR_TAIL, FAAS_STDERR_TAIL);
        assert_memory_equal(few, data + sizeof data - 10, 11 - 1);
        assert_int_equal(strlen(few), 10);
    }
}

static void stderr_becomes_valid_text(void **state)
{
    static const char data[] = "a\xff\0\xc3\xa9\xed\xa0\x80z\xe2\x82";
    FAAS_AUTO(char) *text = tail_of(data, sizeof data - 1, 3, FAAS_STDERR_TAIL);

    (void)state;
    assert_true(faas_utf8_is(text, strlen(text)));
    assert_string_equal(text,
                        "a\xEF\xBF\xBD\xEF\xBF\xBD\xc3\xa9\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz"
                        "\xEF\xBF\xBD\xEF\xBF\xBD");
}

static void a_cut_through_a_character_leaves_no_half_of_it(void **state)
{
    char data[6000];
    FAAS_AUTO(char) *text = NULL;

    (void)state;
    for (size_t i = 0; i + 3 <= sizeof data; i += 3)
        memcpy(data + i, "\xe2\x82\xac", 3);
    text = tail_of(data, sizeof data, 1000, FAAS_STDERR_TAIL);
    assert_int_equal(strlen(text), FAAS_STDERR_TAIL / 3 * 3);
    assert_null(strstr(text, "\xEF\xBF\xBD"));
}

static void the_report_has_the_fields_of_the_protocol(void **state)
{
    struct stderr_tail tail = {.total = 0};
    struct rt_outcome out = {.code = FAAS_FAILED, .exit_code = 137, .is_oom = true, .run_ms = 1.5};
    struct outcome_report report = {
        .outcome = &out, .tail = &tail, .tail_max = 4096, .spawner = "s1", .place_ms = -1};
    FAAS_AUTO(json_t) *end = NULL;
    FAAS_AUTO(json_t) *ok = NULL;

    (void)state;
    stderr_tail_add(&tail, "no", 2);
    end = outcome_to_json(&report);
    assert_string_equal(json_string_value(json_object_get(end, "code")), "function_failed");
    assert_int_equal(json_integer_value(json_object_get(end, "exit_code")), 137);
    assert_int_equal(json_integer_value(json_object_get(end, "signal")), 9);
    assert_true(json_is_true(json_object_get(end, "oom")));
    assert_string_equal(json_string_value(json_object_get(end, "stderr_tail")), "no");
    assert_int_equal(json_integer_value(json_object_get(end, "stderr_bytes")), 2);
    assert_null(json_object_get(json_object_get(end, "times_ms"), "place"));
    out = (struct rt_outcome){.code = FAAS_OK, .exit_code = 0};
    report.place_ms = 2;
    ok = outcome_to_json(&report);
    stderr_tail_done(&tail);
    assert_string_equal(json_string_value(json_object_get(ok, "code")), "ok");
    assert_null(json_object_get(ok, "signal"));
    assert_null(json_object_get(ok, "oom"));
    assert_true(json_real_value(json_object_get(json_object_get(ok, "times_ms"), "place")) == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_status_zero_is_ok_whatever_was_killed_inside),
        cmocka_unit_test(a_status_is_told_as_it_is),
        cmocka_unit_test(a_status_above_128_names_the_signal),
        cmocka_unit_test(memory_is_named_as_the_cause),
        cmocka_unit_test(what_we_stopped_is_told_by_its_reason_not_by_its_status),
        cmocka_unit_test(what_may_have_run_says_so),
        cmocka_unit_test(a_failed_start_keeps_the_runtimes_words),
        cmocka_unit_test(the_newest_bytes_of_stderr_are_kept),
        cmocka_unit_test(the_record_gets_the_newest_bytes_as_they_are),
        cmocka_unit_test(stderr_becomes_valid_text),
        cmocka_unit_test(a_cut_through_a_character_leaves_no_half_of_it),
        cmocka_unit_test(the_report_has_the_fields_of_the_protocol),
    };

    return run_unit(tests);
}
