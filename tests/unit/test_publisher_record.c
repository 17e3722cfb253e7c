/* A stored function record as the publisher reads it: services/publisher/record.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "contract.h"
#include "services/publisher/record.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TENANT "01890000-0000-7000-8000-000000000001"
#define ID     "01890000-0000-7000-8000-000000000002"

static const char full[] =
    "{\"v\":1,\"op\":\"x\",\"id\":\"" ID "\",\"uuid\":\"" TENANT "\",\"name\":\"upper\","
    "\"reference\":\"docker.io/library/upper:latest\",\"command\":[\"/bin/up\",\"-x\"],"
    "\"digest\":{\"kind\":\"docker-id\",\"value\":\"sha256:ab\"},\"version\":3,"
    "\"timeout_ms\":5000,\"start_timeout_ms\":7000,\"max_wait_ms\":250,\"concurrency\":9,"
    "\"limits\":{\"memory_mb\":64,\"cpus\":0.5,\"pids\":32,\"tmp_mb\":8,\"output_mb\":2},"
    "\"input\":\"argv\",\"env\":{\"A\":\"1\"},\"secrets\":[\"s\"],\"network\":\"outbound\","
    "\"reuse\":\"slot\",\"isolation\":\"sandbox\",\"content_type\":\"image/"
    "png\",\"labels\":{},\"later\":{\"x\":1}}";
static const char least[] =
    "{\"v\":1,\"id\":\"" ID "\",\"name\":\"upper\",\"version\":1,\"digest\":null}";

static record *parse(const char *text)
{
    char key[RECORD_KEY_MAX];
    record *rec = NULL;
    faas_err err = {0};

    record_key(TENANT, "upper", key);
    if (record_parse(key, text, strlen(text), &rec, &err) != FAAS_OK)
        fail_msg("%s %s", err.msg, err.detail);
    return rec;
}

static json_t *placement(const record *rec, int64_t timeout_ms, bool is_pull)
{
    size_t len = 0;
    FAAS_AUTO(char) *text = record_placement(
        rec, &(struct record_run){.timeout_ms = timeout_ms, .is_pull = is_pull}, &len);
    json_t *doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

    assert_int_equal(strlen(text), len);
    assert_non_null(doc);
    return doc;
}

static void keys_hold_the_tenant_and_half_a_hash(void **state)
{
    char key[RECORD_KEY_MAX], hash[FAAS_HASH_TEXT], want[RECORD_KEY_MAX];

    (void)state;
    record_key(TENANT, "upper", key);
    faas_hash_text("upper", 5, hash);
    snprintf(want, sizeof want, "f." TENANT ".%.32s", hash);
    assert_string_equal(key, want);
}

static void a_placement_carries_everything_the_spawner_needs(void **state)
{
    FAAS_AUTO(record) *rec = parse(full);
    FAAS_AUTO(json_t) *meta = placement(rec, 1234, true);
    FAAS_AUTO(json_t) *want = json_loads(
        "{\"v\":1,\"kind\":\"exec\",\"tenant\":\"" TENANT "\",\"function\":\"" ID
        "\",\"version\":3,\"image\":{\"reference\":\"docker.io/library/upper:latest\","
        "\"digest\":{\"kind\":\"docker-id\",\"value\":\"sha256:ab\"},"
        "\"command\":[\"/bin/up\",\"-x\"]},\"input\":\"argv\",\"env\":{\"A\":\"1\"},"
        "\"secrets\":[\"s\"],\"limits\":{\"memory_mb\":64,\"cpus\":0.5,\"pids\":32,\"tmp_mb\":8,"
        "\"output_mb\":2},\"timeout_ms\":1234,\"start_timeout_ms\":7000,\"network\":\"outbound\","
        "\"reuse\":\"slot\",\"content_type\":\"image/"
        "png\",\"isolation\":\"sandbox\",\"pull\":true,\"last_stderr\":4096}",
        0, NULL);

    (void)state;
    assert_true(json_equal(meta, want));
    assert_int_equal(rec->version, 3);
    assert_int_equal(rec->max_wait_ms, 250);
    assert_int_equal(rec->concurrency, 9);
    assert_string_equal(rec->affinity, TENANT "/" ID "/3");
}

static void a_placement_says_what_its_call_streams(void **state)
{
    FAAS_AUTO(record) *rec = parse(least);
    const struct record_run run = {.timeout_ms = 5, .stream = FAAS_STREAMED_ALL};
    size_t len = 0;
    FAAS_AUTO(char) *text = record_placement(rec, &run, &len);
    FAAS_AUTO(json_t) *doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

    (void)state;
    assert_string_equal(json_string_value(json_object_get(doc, "stream")), "all");
    assert_int_equal(json_integer_value(json_object_get(doc, "timeout_ms")), 5);
}

static void an_argument_that_follows_is_announced(void **state)
{
    FAAS_AUTO(record) *rec = parse(least);
    const struct record_run run = {.timeout_ms = 5, .input_bytes = 3000000};
    size_t len = 0;
    FAAS_AUTO(char) *text = record_placement(rec, &run, &len);
    FAAS_AUTO(json_t) *doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    faas_err err = {0};

    (void)state;
    assert_string_equal(json_string_value(json_object_get(doc, "kind")), FAAS_KIND_INPUT);
    assert_int_equal(json_integer_value(json_object_get(doc, "input_bytes")), 3000000);
    assert_int_equal(record_check_input(rec, 3000000, &err), FAAS_TOO_LARGE); /* it takes argv */
    assert_non_null(strstr(err.msg, "131071"));
}

static void absent_fields_have_the_documented_defaults(void **state)
{
    FAAS_AUTO(record) *rec = parse(least);
    FAAS_AUTO(json_t) *meta = placement(rec, rec->timeout_ms, false);

    (void)state;
    assert_int_equal(rec->timeout_ms, FAAS_TIMEOUT_MS);
    assert_int_equal(rec->start_timeout_ms, FAAS_START_TIMEOUT_MS);
    assert_int_equal(rec->max_wait_ms, 0);
    assert_int_equal(rec->concurrency, 0);
    assert_false(rec->is_stdin);
    assert_string_equal(json_string_value(json_object_get(meta, "reuse")), "fresh");
    assert_string_equal(json_string_value(json_object_get(meta, "network")), "none");
    assert_int_equal(json_array_size(json_object_get(json_object_get(meta, "image"), "command")),
                     0);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(meta, "limits"), "memory_mb")), 128);
    assert_true(json_is_false(json_object_get(meta, "pull")));
}

static void images_of_the_store_run_in_sandboxes(void **state)
{
    FAAS_AUTO(record) *rec = parse("{\"v\":1,\"id\":\"" ID
                                   "\",\"name\":\"upper\",\"version\":1,\"isolation\":\"docker\","
                                   "\"digest\":{\"kind\":\"store\",\"value\":\"sha256:ab\"}}");
    FAAS_AUTO(json_t) *doc = placement(rec, 0, false);

    (void)state;
    assert_string_equal(json_string_value(json_object_get(doc, "isolation")), "sandbox");
}

static void texts_of_a_record_are_never_syntax(void **state)
{
    FAAS_AUTO(record) *rec =
        parse("{\"id\":\"" ID "\",\"name\":\"x\",\"version\":1,\"reference\":\"%s%n\","
              "\"env\":{\"}\":\"\\\"},{%d\\u00e4\"},\"command\":[\"a\\nb\"]}");
    FAAS_AUTO(json_t) *meta = placement(rec, 1, false);
    const json_t *image = json_object_get(meta, "image");

    (void)state;
    assert_string_equal(json_string_value(json_object_get(image, "reference")), "%s%n");
    assert_string_equal(json_string_value(json_object_get(json_object_get(meta, "env"), "}")),
                        "\"},{%d\xc3\xa4");
    assert_string_equal(json_string_value(json_array_get(json_object_get(image, "command"), 0)),
                        "a\nb");
}

static void two_placements_of_one_record_do_not_share_what_differs(void **state)
{
    FAAS_AUTO(record) *rec = parse(full);
    FAAS_AUTO(json_t) *one = placement(rec, 100, true);
    FAAS_AUTO(json_t) *two = placement(rec, 200, false);

    (void)state;
    assert_int_equal(json_integer_value(json_object_get(one, "timeout_ms")), 100);
    assert_int_equal(json_integer_value(json_object_get(two, "timeout_ms")), 200);
    assert_true(json_is_true(json_object_get(one, "pull")));
}

static void unreadable_values_are_our_bug_and_say_where_in_the_log_only(void **state)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{",
                                      "{\"id\":\"" ID "\"}",
                                      "{\"id\":7,\"name\":\"x\",\"version\":1}",
                                      "{\"id\":\"" ID "\",\"name\":\"x\",\"version\":0}",
                                      "{\"id\":\"" ID
                                      "\",\"name\":\"x\",\"version\":1,\"limits\":3}"};
    char key[RECORD_KEY_MAX];

    (void)state;
    record_key(TENANT, "x", key);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        record *rec = NULL;
        faas_err err = {0};

        assert_int_equal(record_parse(key, bad[i], strlen(bad[i]), &rec, &err), FAAS_INTERNAL);
        assert_null(rec);
        assert_string_equal(err.msg, "the stored function record cannot be read");
        assert_non_null(strstr(err.detail, key));
    }
}

static void arguments_of_argv_are_text_of_a_bounded_length(void **state)
{
    FAAS_AUTO(record) *rec = parse(full);
    FAAS_AUTO(char) *big = malloc(FAAS_BODY_MAX + 1);
    faas_err err = {0};

    (void)state;
    assert_non_null(big);
    memset(big, 'a', FAAS_BODY_MAX + 1);
    assert_int_equal(record_check_argument(rec, "", 0, &err), FAAS_OK);
    assert_int_equal(record_check_argument(rec, "-\"\n\xc3\xa9", 5, &err), FAAS_OK);
    assert_int_equal(record_check_argument(rec, big, FAAS_ARGUMENT_MAX, &err), FAAS_OK);
    assert_int_equal(record_check_argument(rec, big, FAAS_ARGUMENT_MAX + 1, &err), FAAS_TOO_LARGE);
    assert_non_null(strstr(err.msg, "131072 bytes, at most 131071"));
    assert_non_null(strstr(err.msg, "\"input\":\"stdin\""));
    assert_int_equal(record_check_argument(rec, "a\0b", 3, &err), FAAS_INVALID);
    assert_int_equal(record_check_argument(rec, "\xff", 1, &err), FAAS_INVALID);
    assert_int_equal(record_check_argument(rec, "\xed\xa0\x80", 3, &err), FAAS_INVALID);
    assert_non_null(strstr(err.msg, "valid UTF-8 without NUL"));
}

static void arguments_of_stdin_are_any_bytes_up_to_the_body_limit(void **state)
{
    FAAS_AUTO(record) *rec = parse("{\"id\":\"" ID "\",\"name\":\"x\",\"version\":1,"
                                   "\"input\":\"stdin\"}");
    FAAS_AUTO(char) *big = calloc(1, FAAS_BODY_MAX + 1);
    faas_err err = {0};

    (void)state;
    assert_non_null(big);
    assert_int_equal(record_check_argument(rec, big, FAAS_BODY_MAX, &err), FAAS_OK);
    assert_int_equal(record_check_argument(rec, big, FAAS_BODY_MAX + 1, &err), FAAS_TOO_LARGE);
    assert_non_null(strstr(err.msg, "at most 1048576"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_hold_the_tenant_and_half_a_hash),
        cmocka_unit_test(a_placement_carries_everything_the_spawner_needs),
        cmocka_unit_test(a_placement_says_what_its_call_streams),
        cmocka_unit_test(an_argument_that_follows_is_announced),
        cmocka_unit_test(absent_fields_have_the_documented_defaults),
        cmocka_unit_test(images_of_the_store_run_in_sandboxes),
        cmocka_unit_test(texts_of_a_record_are_never_syntax),
        cmocka_unit_test(two_placements_of_one_record_do_not_share_what_differs),
        cmocka_unit_test(unreadable_values_are_our_bug_and_say_where_in_the_log_only),
        cmocka_unit_test(arguments_of_argv_are_text_of_a_bounded_length),
        cmocka_unit_test(arguments_of_stdin_are_any_bytes_up_to_the_body_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
