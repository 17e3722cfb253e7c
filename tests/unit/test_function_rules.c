/* The rules of bodies about functions. */
#include <stdio.h>
#include <string.h>

#include "services/registry/function.h"
#include "tests/unit/unit.h"

#define USER   "0190c8f6-0000-7000-8000-000000000001"
#define TENANT "0190c8f6-0000-7000-8000-000000000002"
#define OTHER  "0190c8f6-0000-7000-8000-000000000003"

static const struct faas_ctx caller = {.user = USER, .tenant = TENANT};

static json_t *json(const char *text)
{
    json_error_t error;
    json_t *doc = json_loads(text, JSON_REJECT_DUPLICATES, &error);

    if (doc == NULL)
        fail_msg("test data: %s: %s", error.text, text);
    return doc;
}

static void says(faas_code rc, const faas_err *err, faas_code want, const char *msg)
{
    if (rc != want || strcmp(err->msg, msg) != 0)
        fail_msg("got %s \"%s\", expected %s \"%s\"", faas_code_slug(rc), err->msg,
                 faas_code_slug(want), msg);
}

static void body_says(const char *text, enum function_verb verb, faas_code code, const char *msg)
{
    FAAS_AUTO(json_t) *body = json(text);
    struct function_want want;
    faas_err err = {0};

    says(function_read(body, verb, &caller, &want, &err), &err, code, msg);
}

/* {"name":"f","payload":"upper",EXTRA} */
static void create_says(const char *extra, faas_code code, const char *msg)
{
    char text[400];

    snprintf(text, sizeof text, "{\"name\":\"f\",\"payload\":\"upper\",%s}", extra);
    body_says(text, FUNCTION_CREATE, code, msg);
}

static void required_fields_are_named(void **state)
{
    (void)state;
    body_says("{\"payload\":\"x\"}", FUNCTION_CREATE, FAAS_INVALID, "name: required");
    body_says("{\"name\":null,\"payload\":\"x\"}", FUNCTION_CREATE, FAAS_INVALID, "name: required");
    body_says("{\"name\":\"f\"}", FUNCTION_CREATE, FAAS_INVALID, "payload: required");
    body_says("{\"name\":\"f\"}", FUNCTION_REPLACE, FAAS_INVALID, "payload: required");
    body_says("{}", FUNCTION_UPDATE, FAAS_INVALID, "name: required");
}

static void fields_that_are_ours_cannot_be_set(void **state)
{
    (void)state;
    create_says("\"id\":\"x\"", FAAS_INVALID, "id: unknown field");
    create_says("\"version\":3", FAAS_INVALID, "version: unknown field");
    create_says("\"digest\":{}", FAAS_INVALID, "digest: unknown field");
    create_says("\"created_at\":1", FAAS_INVALID, "created_at: unknown field");
    create_says("\"limits\":{\"colour\":1}", FAAS_INVALID, "limits.colour: unknown field");
    body_says("{\"name\":\"f\",\"description\":\"x\"}", FUNCTION_NAME, FAAS_INVALID,
              "description: unknown field");
}

static void wrong_types_name_the_field(void **state)
{
    (void)state;
    create_says("\"timeout_ms\":\"1\"", FAAS_INVALID, "timeout_ms: expected integer, got string");
    create_says("\"limits\":{\"memory_mb\":\"64\"}", FAAS_INVALID,
                "limits.memory_mb: expected integer, got string");
    create_says("\"limits\":[]", FAAS_INVALID, "limits: expected object, got array");
    create_says("\"env\":{\"A\":1}", FAAS_INVALID, "env.A: expected string, got integer");
    create_says("\"labels\":[]", FAAS_INVALID, "labels: expected object, got array");
    create_says("\"secrets\":{}", FAAS_INVALID, "secrets: expected array, got object");
    create_says("\"retry\":{\"idempotent\":1}", FAAS_INVALID,
                "retry.idempotent: expected boolean, got integer");
    create_says("\"description\":{}", FAAS_INVALID, "description: expected string, got object");
}

static void bounds_are_held_at_both_ends(void **state)
{
    static const struct {
        const char *field;
        double low, high;
    } rows[] = {
        {"timeout_ms", 100, 3600000},
        {"start_timeout_ms", 100, 3600000},
        {"max_wait_ms", 0, 3600000},
        {"concurrency", 0, 10000},
    };
    static const struct {
        const char *object, *field;
        double low, high, step;
    } nested[] = {
        {"limits", "memory_mb", 6, 65536, 1}, {"limits", "cpus", 0.01, 64, 0.001},
        {"limits", "pids", 1, 32768, 1},      {"limits", "tmp_mb", 1, 16384, 1},
        {"limits", "output_mb", 1, 64, 1},    {"retry", "attempts", 1, 10, 1},
        {"retry", "backoff_ms", 0, 60000, 1},
    };
    char text[120], msg[120];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        for (int end = 0; end < 2; end++) {
            double at = end == 0 ? rows[i].low : rows[i].high;
            double past = end == 0 ? at - 1 : at + 1;

            snprintf(text, sizeof text, "\"%s\":%.0f", rows[i].field, at);
            create_says(text, FAAS_OK, "");
            snprintf(text, sizeof text, "\"%s\":%.0f", rows[i].field, past);
            snprintf(msg, sizeof msg, "%s: %.0f to %.0f, got %.0f", rows[i].field, rows[i].low,
                     rows[i].high, past);
            create_says(text, FAAS_INVALID, msg);
        }
    }
    for (size_t i = 0; i < FAAS_ARRAY_LEN(nested); i++) {
        for (int end = 0; end < 2; end++) {
            double at = end == 0 ? nested[i].low : nested[i].high;
            double past = end == 0 ? at - nested[i].step : at + nested[i].step;

            snprintf(text, sizeof text, "\"%s\":{\"%s\":%g}", nested[i].object, nested[i].field,
                     at);
            create_says(text, FAAS_OK, "");
            snprintf(text, sizeof text, "\"%s\":{\"%s\":%.8g}", nested[i].object, nested[i].field,
                     past);
            snprintf(msg, sizeof msg, "%s.%s: %g to %g, got %.6g", nested[i].object,
                     nested[i].field, nested[i].low, nested[i].high, past);
            if (nested[i].step < 1)
                create_says(text, FAAS_INVALID, msg);
            else
                create_says(
                    text, FAAS_INVALID,
                    (snprintf(msg, sizeof msg, "%s.%s: %.0f to %.0f, got %.0f", nested[i].object,
                              nested[i].field, nested[i].low, nested[i].high, past),
                     msg));
        }
    }
}

static void words_are_from_their_list(void **state)
{
    (void)state;
    create_says("\"input\":\"pipe\"", FAAS_INVALID, "input: \"argv\" or \"stdin\"");
    create_says("\"network\":\"host\"", FAAS_INVALID, "network: \"none\" or \"outbound\"");
    create_says("\"reuse\":\"always\"", FAAS_INVALID, "reuse: \"fresh\" or \"slot\"");
    create_says("\"isolation\":\"runc\"", FAAS_INVALID, "isolation: \"docker\" or \"sandbox\"");
    create_says("\"content_type\":\"text/html\\r\\nX-A: b\"", FAAS_INVALID,
                "content_type: a media type such as \"text/html; charset=utf-8\", at most 127 "
                "printable ASCII characters");
    create_says("\"content_type\":\"image/png\"", FAAS_OK, "");
    create_says("\"content_type\":\"\"", FAAS_OK, "");
    create_says("\"network\":\"outbound\"", FAAS_OK, "");
    create_says("\"reuse\":\"slot\"", FAAS_OK, "");
    create_says("\"isolation\":\"docker\"", FAAS_OK, "");
    create_says("\"isolation\":\"sandbox\"", FAAS_OK, "");
    create_says("\"input\":\"stdin\"", FAAS_OK, "");
}

static void names_of_secrets_are_a_set(void **state)
{
    (void)state;
    create_says("\"secrets\":[\"db\",\"api-key_2\"]", FAAS_OK, "");
    create_says("\"secrets\":[\"db\",\"db\"]", FAAS_INVALID, "secrets: a name is there twice");
    create_says("\"secrets\":[\"../x\"]", FAAS_INVALID,
                "secrets: a name is [A-Za-z0-9][A-Za-z0-9_-]{0,62}");
    create_says("\"secrets\":[\"\"]", FAAS_INVALID,
                "secrets: a name is [A-Za-z0-9][A-Za-z0-9_-]{0,62}");
    create_says("\"secrets\":[]", FAAS_OK, "");
}

static void retry_words_are_from_their_list(void **state)
{
    (void)state;
    create_says("\"retry\":{\"on\":[\"sometimes\"]}", FAAS_INVALID,
                "retry.on: a list of \"not_started\", \"lost\" and \"failed\"");
}

static void env_names_and_total_bytes_are_checked(void **state)
{
    static const char bad[] = "env: a name is letters, digits and '_', not beginning with a digit";
    char value[FAAS_ERR_MSG_MAX * 64];
    struct function_want want;
    faas_err err = {0};

    (void)state;
    create_says("\"env\":{\"A=B\":\"x\"}", FAAS_INVALID, bad);
    create_says("\"env\":{\"\":\"x\"}", FAAS_INVALID, bad);
    create_says("\"env\":{\"1A\":\"x\"}", FAAS_INVALID, bad);
    create_says("\"env\":{\"A-B\":\"x\"}", FAAS_INVALID, bad);
    create_says("\"env\":{\"\xc3\xa9\":\"x\"}", FAAS_INVALID, bad);
    create_says("\"env\":{\"_a1Z\":\"line\\nline\"}", FAAS_OK, "");
    for (int over = 0; over < 2; over++) {
        size_t len = 16 * 1024 - 1 + (size_t)over; /* and one byte of name */
        FAAS_AUTO(json_t) *body = NULL;

        memset(value, 'x', sizeof value);
        body =
            json_pack("{s:s, s:s, s:{s:s%}}", "name", "f", "payload", "u", "env", "A", value, len);
        says(function_read(body, FUNCTION_CREATE, &caller, &want, &err), &err,
             over ? FAAS_INVALID : FAAS_OK,
             over ? "env: names and values together at most 16384 bytes" : "");
    }
}

static void too_many_entries_are_refused(void **state)
{
    FAAS_AUTO(json_t) *body = json("{\"name\":\"f\",\"payload\":\"u\",\"env\":{}}");
    json_t *env = json_object_get(body, "env");
    struct function_want want;
    char key[16];
    faas_err err = {0};

    (void)state;
    for (int i = 0; i < 65; i++) {
        snprintf(key, sizeof key, "K%d", i);
        json_object_set_new(env, key, json_string("v"));
    }
    says(function_read(body, FUNCTION_CREATE, &caller, &want, &err), &err, FAAS_INVALID,
         "env: 0 to 64 entries, got 65");
}

static void labels_and_description_are_bounded(void **state)
{
    char text[1200], msg[1200];

    (void)state;
    create_says("\"labels\":{\"\":\"x\"}", FAAS_INVALID,
                "labels: a name is 1 to 63 letters, digits, '_', '.', '-', '/'");
    create_says("\"labels\":{\"a b\":\"x\"}", FAAS_INVALID,
                "labels: a name is 1 to 63 letters, digits, '_', '.', '-', '/'");
    create_says("\"labels\":{\"team.example/tier\":\"\"}", FAAS_OK, "");
    memset(msg, 'd', sizeof msg);
    snprintf(text, sizeof text, "{\"name\":\"f\",\"payload\":\"u\",\"description\":\"%.1024s\"}",
             msg);
    body_says(text, FUNCTION_CREATE, FAAS_OK, "");
    snprintf(text, sizeof text, "{\"name\":\"f\",\"payload\":\"u\",\"description\":\"%.1025s\"}",
             msg);
    body_says(text, FUNCTION_CREATE, FAAS_INVALID, "description: 0 to 1024 bytes, got 1025");
}

static void names_and_payloads_follow_their_grammars(void **state)
{
    static const char *const bad[] = {"", "-dash", "sp ace", "*", "a.b", "../x", "\xc3\xa9"};
    char text[100];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof text, "{\"name\":\"%s\",\"payload\":\"u\"}", bad[i]);
        body_says(text, FUNCTION_CREATE, FAAS_INVALID,
                  "name: 1 to 63 of A-Z, a-z, 0-9, '_' and '-', beginning with a letter or digit");
    }
    body_says("{\"name\":\"f\",\"payload\":\"\"}", FUNCTION_CREATE, FAAS_INVALID,
              "payload: 1 to 512 bytes, got 0");
    body_says("{\"name\":\"f\",\"payload\":\"a//b\"}", FUNCTION_CREATE, FAAS_INVALID,
              "payload: not an image reference ([host[:port]/]path[:tag][@digest]): the name is "
              "made of lower-case words, digits and single . _ -");
}

static void the_owner_is_who_the_token_says(void **state)
{
    static const char denied[] = "uuid: not the id of the user whose token this is; leave it out";

    (void)state;
    body_says("{\"name\":\"f\",\"uuid\":\"" USER "\"}", FUNCTION_NAME, FAAS_OK, "");
    body_says("{\"name\":\"f\",\"uui\":\"" USER "\"}", FUNCTION_UPDATE, FAAS_OK, "");
    body_says("{\"name\":\"f\",\"uuid\":\"" OTHER "\"}", FUNCTION_NAME, FAAS_DENIED, denied);
    body_says("{\"name\":\"f\",\"uui\":\"" OTHER "\"}", FUNCTION_UPDATE, FAAS_DENIED, denied);
    body_says("{\"name\":\"f\",\"uuid\":\"\"}", FUNCTION_UPDATE, FAAS_DENIED, denied);
    body_says("{\"name\":\"f\",\"payload\":\"u\",\"uuid\":\"" TENANT "\"}", FUNCTION_CREATE,
              FAAS_DENIED, denied);
}

static void an_empty_update_is_recognised(void **state)
{
    FAAS_AUTO(json_t) *empty = json("{\"name\":\"f\",\"version\":1,\"uuid\":\"" USER "\"}");
    FAAS_AUTO(json_t) *full = json("{\"name\":\"f\",\"labels\":{}}");
    struct function_want want;
    faas_err err = {0};

    (void)state;
    assert_int_equal(function_read(empty, FUNCTION_UPDATE, &caller, &want, &err), FAAS_OK);
    assert_true(want.is_empty);
    assert_int_equal(function_read(full, FUNCTION_UPDATE, &caller, &want, &err), FAAS_OK);
    assert_false(want.is_empty);
}

static void numbers_come_from_queries_or_json(void **state)
{
    static const struct {
        const char *text;
        faas_code code;
        int64_t value;
    } rows[] = {
        {"[7]", FAAS_OK, 7},
        {"[\"20\"]", FAAS_OK, 20},
        {"[null]", FAAS_OK, 50},
        {"[0]", FAAS_INVALID, 50},
        {"[201]", FAAS_INVALID, 50},
        {"[\"x\"]", FAAS_INVALID, 50},
        {"[\"\"]", FAAS_INVALID, 50},
        {"[1.5]", FAAS_INVALID, 50},
        {"[\" 7\"]", FAAS_INVALID, 50},
        {"[\"7x\"]", FAAS_INVALID, 50},
        {"[\"-1\"]", FAAS_INVALID, 50},
        {"[\"99999999999999999999\"]", FAAS_INVALID, 50},
        {"[[]]", FAAS_INVALID, 50},
    };
    static const int64_t range[2] = {1, 200};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        FAAS_AUTO(json_t) *list = json(rows[i].text);
        int64_t value = 50;
        faas_err err = {0};

        if (function_read_number(json_array_get(list, 0), "limit", range, &value, &err) !=
            rows[i].code)
            fail_msg("%s: %s", rows[i].text, err.msg);
        assert_int_equal(value, rows[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(required_fields_are_named),
        cmocka_unit_test(fields_that_are_ours_cannot_be_set),
        cmocka_unit_test(wrong_types_name_the_field),
        cmocka_unit_test(bounds_are_held_at_both_ends),
        cmocka_unit_test(words_are_from_their_list),
        cmocka_unit_test(names_of_secrets_are_a_set),
        cmocka_unit_test(retry_words_are_from_their_list),
        cmocka_unit_test(env_names_and_total_bytes_are_checked),
        cmocka_unit_test(too_many_entries_are_refused),
        cmocka_unit_test(labels_and_description_are_bounded),
        cmocka_unit_test(names_and_payloads_follow_their_grammars),
        cmocka_unit_test(the_owner_is_who_the_token_says),
        cmocka_unit_test(an_empty_update_is_recognised),
        cmocka_unit_test(numbers_come_from_queries_or_json),
    };

    return run_unit(tests);
}
