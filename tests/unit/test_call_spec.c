#include "tests/unit/unit.h"

#include <string.h>

#include "services/spawner/call_spec.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define IMAGE                                                                                      \
    "\"image\":{\"reference\":\"docker.io/library/a:1\",\"digest\":{\"kind\":\"docker-id\","       \
    "\"value\":\"" DIGEST "\"},\"command\":[\"x\"]}"

static faas_err err;

static faas_code decode(const char *json, struct call_spec *out_spec, json_t **out_doc)
{
    struct faas_envelope env = {.bytes = "arg", .len = 3};

    memset(out_spec, 0, sizeof *out_spec);
    memset(&err, 0, sizeof err);
    *out_doc = env.meta = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(env.meta);
    return call_spec_body(&env, out_spec, &err);
}

static void a_bare_placement_has_the_documented_defaults(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct call_spec spec;

    (void)state;
    assert_ok(decode("{\"v\":1," IMAGE "}", &spec, &doc));
    assert_string_equal(spec.run.image.kind, "docker-id");
    assert_string_equal(spec.run.image.value, DIGEST);
    assert_int_equal(json_array_size(spec.run.command), 1);
    assert_int_equal(spec.run.memory_mb, 128);
    assert_true(spec.run.cpus == 1.0);
    assert_int_equal(spec.run.pids, 128);
    assert_int_equal(spec.run.tmp_mb, 64);
    assert_int_equal(spec.run.output_bytes, 6 * 1024 * 1024);
    assert_int_equal(spec.run.timeout_ms, 30000);
    assert_int_equal(spec.run.start_timeout_ms, 30000);
    assert_int_equal(spec.stderr_max, 4096);
    assert_false(spec.run.is_stdin || spec.run.has_network || spec.run.may_pull);
    assert_false(spec.run.is_slot);
    assert_int_equal(spec.run.argument_len, 3);
    assert_string_equal(spec.isolation, "docker");
}

static void every_field_is_taken_and_unknown_ones_are_let_be(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct call_spec spec;

    (void)state;
    assert_ok(decode("{\"v\":2,\"kind\":\"exec\",\"later\":{}," IMAGE
                     ",\"input\":\"stdin\",\"env\":{\"A\":\"b\"},\"secrets\":[],"
                     "\"limits\":{\"memory_mb\":32,\"cpus\":2,\"pids\":7,\"tmp_mb\":8,"
                     "\"output_mb\":64,\"gpus\":1},\"timeout_ms\":100,\"start_timeout_ms\":200,"
                     "\"network\":\"outbound\",\"isolation\":\"sandbox\",\"pull\":true,"
                     "\"last_stderr\":10}",
                     &spec, &doc));
    assert_true(spec.run.is_stdin && spec.run.has_network && spec.run.may_pull);
    assert_int_equal(spec.run.memory_mb, 32);
    assert_true(spec.run.cpus == 2.0);
    assert_int_equal(spec.run.pids, 7);
    assert_int_equal(spec.run.tmp_mb, 8);
    assert_int_equal(spec.run.output_bytes, 64 * 1024 * 1024);
    assert_int_equal(spec.run.timeout_ms, 100);
    assert_int_equal(spec.run.start_timeout_ms, 200);
    assert_int_equal(spec.stderr_max, 10);
    assert_string_equal(spec.isolation, "sandbox");
    assert_string_equal(json_string_value(json_object_get(spec.run.env, "A")), "b");
}

static enum call_stream stream_of(const char *word)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct call_spec spec;
    char text[512];

    (void)snprintf(text, sizeof text, "{" IMAGE ",\"stream\":\"%s\"}", word);
    assert_ok(decode(text, &spec, &doc));
    return spec.stream;
}

static void an_unknown_word_about_streaming_streams_nothing(void **state)
{
    (void)state;
    assert_int_equal(stream_of(""), CALL_STREAM_NONE);
    assert_int_equal(stream_of("stdout"), CALL_STREAM_STDOUT);
    assert_int_equal(stream_of("all"), CALL_STREAM_ALL);
    assert_int_equal(stream_of("later"), CALL_STREAM_NONE);
}

static void a_slot_is_of_one_function_of_one_user(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *other = NULL;
    struct call_spec spec;

    (void)state;
    assert_ok(
        decode("{" IMAGE ",\"reuse\":\"slot\",\"tenant\":\"t\",\"function\":\"f\"}", &spec, &doc));
    assert_true(spec.run.is_slot);
    assert_string_equal(spec.run.tenant, "t");
    assert_string_equal(spec.run.function, "f");
    assert_ok(decode("{" IMAGE ",\"reuse\":\"later\"}", &spec, &other));
    assert_false(spec.run.is_slot);
}

static void what_cannot_be_run_is_refused_by_name(void **state)
{
    static const struct {
        const char *json, *part;
        faas_code code;
    } rows[] = {
        {"{}", "image", FAAS_INVALID},
        {"{\"image\":{\"reference\":\"a\"}}", "image.digest", FAAS_INVALID},
        {"{" IMAGE ",\"input\":\"file\"}", "input", FAAS_INVALID},
        {"{" IMAGE ",\"network\":\"host\"}", "network", FAAS_INVALID},
        {"{" IMAGE ",\"reuse\":\"slot\"}", "reuse slot", FAAS_INVALID},
        {"{" IMAGE ",\"reuse\":\"slot\",\"tenant\":\"t\"}", "reuse slot", FAAS_INVALID},
        {"{" IMAGE ",\"reuse\":\"slot\",\"function\":\"f\"}", "reuse slot", FAAS_INVALID},
        {"{" IMAGE ",\"limits\":{\"memory_mb\":0}}", "limits.memory_mb", FAAS_INVALID},
        {"{" IMAGE ",\"limits\":{\"output_mb\":65}}", "limits.output_mb", FAAS_INVALID},
        {"{" IMAGE ",\"timeout_ms\":0}", "timeout_ms", FAAS_INVALID},
        {"{" IMAGE ",\"env\":{\"A\":1}}", "env", FAAS_INVALID},
        {"{" IMAGE ",\"kind\":\"http\"}", "kind", FAAS_UNSUPPORTED},
        {"{" IMAGE ",\"kind\":\"input\",\"input\":\"stdin\"}", "input_bytes", FAAS_INVALID},
        {"{" IMAGE ",\"kind\":\"input\",\"input_bytes\":1}", "input_bytes", FAAS_INVALID},
        {"{" IMAGE ",\"secrets\":[\"s\"]}", "tenant", FAAS_INVALID},
        {"{" IMAGE ",\"secrets\":[\"../s\"]}", "secrets", FAAS_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        FAAS_AUTO(json_t) *doc = NULL;
        struct call_spec spec;

        assert_int_equal(decode(rows[i].json, &spec, &doc), rows[i].code);
        assert_contains(err.msg, rows[i].part);
    }
}

static faas_code decode_traced(const char *json, struct call_spec *out_spec, json_t **out_doc)
{
    struct faas_envelope env = {.bytes = "arg", .len = 3};

    memset(out_spec, 0, sizeof *out_spec);
    assert_true(faas_trace_read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                out_spec->trace));
    *out_doc = env.meta = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(env.meta);
    return call_spec_body(&env, out_spec, &err);
}

static void a_trace_is_a_variable_unless_the_function_has_one(void **state)
{
    static const char *const rows[][2] = {
        {"{\"v\":1," IMAGE "}", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"{\"v\":1," IMAGE ",\"env\":{\"A\":\"b\"}}",
         "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"{\"v\":1," IMAGE ",\"env\":{\"TRACEPARENT\":\"own\"}}", "own"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        FAAS_AUTO(json_t) *doc = NULL;
        struct call_spec spec;

        assert_ok(decode_traced(rows[i][0], &spec, &doc));
        assert_string_equal(json_string_value(json_object_get(spec.run.env, "TRACEPARENT")),
                            rows[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bare_placement_has_the_documented_defaults),
        cmocka_unit_test(every_field_is_taken_and_unknown_ones_are_let_be),
        cmocka_unit_test(an_unknown_word_about_streaming_streams_nothing),
        cmocka_unit_test(a_slot_is_of_one_function_of_one_user),
        cmocka_unit_test(what_cannot_be_run_is_refused_by_name),
        cmocka_unit_test(a_trace_is_a_variable_unless_the_function_has_one),
    };

    return run_unit(tests);
}
