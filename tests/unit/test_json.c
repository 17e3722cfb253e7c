#include "tests/unit/unit.h"

#include <string.h>

#include "base/json.h"

struct limits {
    int64_t memory_mb, pids;
    double cpus;
};
struct request {
    const char *name, *payload;
    struct limits limits;
    bool is_idempotent, has_description, has_env;
    const char *description;
    json_t *env, *command, *extra;
};

static const struct faas_json_field limit_fields[] = {
    FAAS_FIELD(INT, struct limits, memory_mb, "memory_mb", 16, 65536, false),
    FAAS_FIELD(INT, struct limits, pids, "pids", 1, 4096, false),
    FAAS_FIELD(REAL, struct limits, cpus, "cpus", 0.05, 64, false),
    FAAS_FIELD_END,
};
static const struct faas_json_field fields[] = {
    FAAS_FIELD(STR, struct request, name, "name", 1, 8, true),
    FAAS_FIELD(STR, struct request, payload, "payload", 0, 0, false),
    FAAS_FIELD_OBJECT(struct request, limits, "limits", limit_fields, false),
    FAAS_FIELD(BOOL, struct request, is_idempotent, "idempotent", 0, 0, false),
    FAAS_FIELD_P(STR, struct request, description, has_description, "description", 0, 16),
    FAAS_FIELD_P(MAP, struct request, env, has_env, "env", 0, 2),
    FAAS_FIELD(LIST, struct request, command, "command", 0, 3, false),
    FAAS_FIELD(ANY, struct request, extra, "extra", 0, 0, false),
    FAAS_FIELD_END,
};

static faas_err err;
static json_t *doc; /* of the latest decode(); strings are borrowed from it */

static faas_code decode_as(const char *text, enum faas_json_mode mode, struct request *out)
{
    json_decref(doc);
    doc = json_loads(text, 0, NULL);
    assert_non_null(doc);
    err = (faas_err){0};
    return faas_json_decode(doc, fields, mode, out, &err);
}

static faas_code decode(const char *text, struct request *out)
{
    return decode_as(text, FAAS_JSON_STRICT, out);
}

static int forget_doc(void **state)
{
    (void)state;
    json_decref(doc);
    doc = NULL;
    return 0;
}

static void every_kind_reaches_its_target(void **state)
{
    struct request req = {.is_idempotent = false};

    (void)state;
    assert_ok(decode("{\"name\":\"hello\",\"payload\":\"\","
                     "\"limits\":{\"memory_mb\":64,\"pids\":4096,\"cpus\":0.5},"
                     "\"idempotent\":true,\"env\":{\"A\":\"1\"},\"command\":[\"x\",\"y\"],"
                     "\"extra\":[1,null]}",
                     &req));
    assert_string_equal(req.name, "hello");
    assert_string_equal(req.payload, "");
    assert_int_equal(req.limits.memory_mb, 64);
    assert_int_equal(req.limits.pids, 4096);
    assert_true(req.limits.cpus == 0.5);
    assert_true(req.is_idempotent);
    assert_string_equal(json_string_value(json_object_get(req.env, "A")), "1");
    assert_int_equal(json_array_size(req.command), 2);
    assert_int_equal(json_array_size(req.extra), 2);
    assert_string_equal(err.msg, "");
}

static void absent_and_null_fields_leave_defaults(void **state)
{
    struct request req = {.payload = "default", .limits = {.pids = 128}};

    (void)state;
    assert_ok(decode("{\"name\":\"a\",\"payload\":null,\"limits\":{\"pids\":null}}", &req));
    assert_string_equal(req.payload, "default");
    assert_int_equal(req.limits.pids, 128);
}

static void presence_tells_null_from_absent(void **state)
{
    struct request req = {.description = "default"};

    (void)state;
    assert_ok(decode("{\"name\":\"a\",\"description\":null}", &req));
    assert_true(req.has_description);
    assert_false(req.has_env);
    assert_string_equal(req.description, "default");
}

static void wrong_type_names_the_field_path(void **state)
{
    static const struct {
        const char *text, *msg;
    } cases[] = {
        {"{\"name\":1}", "name: expected string, got integer"},
        {"{\"name\":true}", "name: expected string, got boolean"},
        {"{\"name\":\"a\",\"limits\":7}", "limits: expected object, got integer"},
        {"{\"name\":\"a\",\"limits\":{\"memory_mb\":\"64\"}}",
         "limits.memory_mb: expected integer, got string"},
        {"{\"name\":\"a\",\"limits\":{\"memory_mb\":64.0}}",
         "limits.memory_mb: expected integer, got number"},
        {"{\"name\":\"a\",\"limits\":{\"cpus\":[]}}", "limits.cpus: expected number, got array"},
        {"{\"name\":\"a\",\"idempotent\":1}", "idempotent: expected boolean, got integer"},
        {"{\"name\":\"a\",\"env\":[]}", "env: expected object, got array"},
        {"{\"name\":\"a\",\"env\":{\"K\":null}}", "env.K: expected string, got null"},
        {"{\"name\":\"a\",\"command\":{}}", "command: expected array, got object"},
        {"{\"name\":\"a\",\"command\":[\"x\",2]}", "command[1]: expected string, got integer"},
        {"[]", "body: expected object, got array"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++) {
        struct request req = {0};

        assert_int_equal(decode(cases[i].text, &req), FAAS_INVALID);
        assert_string_equal(err.msg, cases[i].msg);
    }
}

static void values_out_of_bounds_name_the_bounds(void **state)
{
    static const struct {
        const char *text, *msg;
    } cases[] = {
        {"{\"name\":\"\"}", "name: 1 to 8 bytes, got 0"},
        {"{\"name\":\"123456789\"}", "name: 1 to 8 bytes, got 9"},
        {"{\"name\":\"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\"}", "name: 1 to 8 bytes, got 10"},
        {"{\"name\":\"a\",\"limits\":{\"pids\":0}}", "limits.pids: 1 to 4096, got 0"},
        {"{\"name\":\"a\",\"limits\":{\"pids\":-9223372036854775808}}",
         "limits.pids: 1 to 4096, got -9223372036854775808"},
        {"{\"name\":\"a\",\"limits\":{\"cpus\":0.01}}", "limits.cpus: 0.05 to 64, got 0.01"},
        {"{\"name\":\"a\",\"limits\":{\"cpus\":65}}", "limits.cpus: 0.05 to 64, got 65"},
        {"{\"name\":\"a\",\"env\":{\"A\":\"\",\"B\":\"\",\"C\":\"\"}}",
         "env: 0 to 2 entries, got 3"},
        {"{\"name\":\"a\",\"command\":[\"\",\"\",\"\",\"\"]}", "command: 0 to 3 entries, got 4"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++) {
        struct request req = {0};

        assert_int_equal(decode(cases[i].text, &req), FAAS_INVALID);
        assert_string_equal(err.msg, cases[i].msg);
    }
}

static void bounds_are_inclusive(void **state)
{
    struct request req = {0};

    (void)state;
    assert_ok(decode("{\"name\":\"12345678\",\"limits\":{\"pids\":1,\"memory_mb\":65536,"
                     "\"cpus\":64}}",
                     &req));
    assert_ok(
        decode("{\"name\":\"1\",\"limits\":{\"pids\":4096,\"memory_mb\":16,\"cpus\":0.05}}", &req));
}

static void required_fields_are_asked_for(void **state)
{
    struct request req = {0};

    (void)state;
    assert_int_equal(decode("{}", &req), FAAS_INVALID);
    assert_string_equal(err.msg, "name: required");
    assert_int_equal(decode("{\"name\":null}", &req), FAAS_INVALID);
    assert_string_equal(err.msg, "name: required");
    assert_int_equal(faas_json_decode(NULL, fields, FAAS_JSON_STRICT, &req, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "body: required");
}

static void unknown_fields_fail_when_strict_only(void **state)
{
    struct request req = {0};

    (void)state;
    assert_int_equal(decode("{\"name\":\"a\",\"colour\":1}", &req), FAAS_INVALID);
    assert_string_equal(err.msg, "colour: unknown field");
    assert_int_equal(decode("{\"name\":\"a\",\"limits\":{\"memory\":1}}", &req), FAAS_INVALID);
    assert_string_equal(err.msg, "limits.memory: unknown field");
    assert_ok(decode_as("{\"name\":\"a\",\"colour\":1,\"limits\":{\"memory\":1}}",
                        FAAS_JSON_TOLERANT, &req));
}

static void a_long_unknown_name_is_cut(void **state)
{
    char text[3000];
    struct request req = {0};

    (void)state;
    snprintf(text, sizeof text, "{\"name\":\"a\",\"limits\":{\"%0*d\":1}}", 2500, 0);
    assert_int_equal(decode(text, &req), FAAS_INVALID);
    assert_contains(err.msg, "limits.000");
    assert_contains(err.msg, "0: unknown field");
    assert_true(strlen(err.msg) < 256);
}

static faas_code parse(const char *text, size_t len, bool empty_is_object)
{
    json_t *parsed = NULL;
    faas_code rc;

    err = (faas_err){0};
    rc = faas_json_parse(text, len, empty_is_object, &parsed, &err);
    assert_true((rc == FAAS_OK) == (parsed != NULL));
    json_decref(parsed);
    return rc;
}

static void bodies_that_are_no_object_are_refused(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"hello", "body: not a JSON object (line 1, column "},
        {"{\"a\":1", "body: not a JSON object (line 1, column 6): "},
        {"{\"a\":1} x", "end of file expected"},
        {"{\"a\":1,\"a\":2}", "duplicate object key"},
        {"{\"a\":{\"b\":1,\"b\":1}}", "duplicate object key"},
        {"{\"a\":\"\xff\"}", "body: not a JSON object"},
        {"{\"a\":\"\\u0000\"}", "body: not a JSON object"},
        {"{\"a\":\"\\ud800\"}", "body: not a JSON object"},
        {"{'a':1}", "body: not a JSON object"},
        {"{\"a\":1e999}", "body: not a JSON object"},
        {"{\"a\":9223372036854775808}", "body: not a JSON object"},
        {"[1]", "body: expected object, got array"},
        {"\"a\"", "body: not a JSON object"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++) {
        assert_int_equal(parse(cases[i].text, strlen(cases[i].text), false), FAAS_INVALID);
        assert_contains(err.msg, cases[i].part);
    }
    assert_int_equal(parse("{}\0", 3, false), FAAS_INVALID);
    test_promise(11, "0 of %zu bodies accepted", FAAS_ARRAY_LEN(cases) + 1);
}

static void an_empty_body_is_an_object_only_where_allowed(void **state)
{
    (void)state;
    assert_ok(parse(NULL, 0, true));
    assert_int_equal(parse(NULL, 0, false), FAAS_INVALID);
    assert_string_equal(err.msg, "body: empty, expected a JSON object");
    assert_int_equal(parse(" ", 1, true), FAAS_INVALID);
    assert_ok(parse(" {} ", 4, false));
}

static void deep_nesting_is_refused(void **state)
{
    char text[20000];

    (void)state;
    memset(text, '[', sizeof text);
    memcpy(text, "{\"a\":", 5);
    assert_int_equal(parse(text, sizeof text, false), FAAS_INVALID);
    assert_contains(err.msg, "maximum parsing depth reached");
}

static void text_is_compact_and_in_order(void **state)
{
    FAAS_AUTO(json_t) *made =
        json_pack("{s:i, s:s, s:[f,b,n]}", "z", 1, "a", "\xc3\xa4\n\"", "m", 0.5, 1);
    size_t len = 0;
    FAAS_AUTO(char) *text = faas_json_text(made, &len);

    (void)state;
    assert_string_equal(text, "{\"z\":1,\"a\":\"\xc3\xa4\\n\\\"\",\"m\":[0.5,true,null]}");
    assert_int_equal(len, strlen(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_kind_reaches_its_target, forget_doc),
        cmocka_unit_test_teardown(absent_and_null_fields_leave_defaults, forget_doc),
        cmocka_unit_test_teardown(presence_tells_null_from_absent, forget_doc),
        cmocka_unit_test_teardown(wrong_type_names_the_field_path, forget_doc),
        cmocka_unit_test_teardown(values_out_of_bounds_name_the_bounds, forget_doc),
        cmocka_unit_test_teardown(bounds_are_inclusive, forget_doc),
        cmocka_unit_test_teardown(required_fields_are_asked_for, forget_doc),
        cmocka_unit_test_teardown(unknown_fields_fail_when_strict_only, forget_doc),
        cmocka_unit_test_teardown(a_long_unknown_name_is_cut, forget_doc),
        cmocka_unit_test(bodies_that_are_no_object_are_refused),
        cmocka_unit_test(an_empty_body_is_an_object_only_where_allowed),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(text_is_compact_and_in_order),
    };

    return run_unit(tests);
}
