/* Function records: defaults, changes, images, JSON forms. */
#include <stdio.h>
#include <string.h>

#include "services/registry/function.h"
#include "tests/unit/unit.h"

#define USER   "0190c8f6-0000-7000-8000-000000000001"
#define TENANT "0190c8f6-0000-7000-8000-000000000002"
#define OTHER  "0190c8f6-0000-7000-8000-000000000003"

static const struct faas_ctx caller = {.user = USER, .tenant = TENANT};

/* One function as a spawner resolves it: an image with an ENTRYPOINT. */
static const char exec_image[] =
    "{\"v\":1,\"digest\":{\"kind\":\"docker-id\",\"value\":\"sha256:aa\"},"
    "\"reference\":\"docker.io/library/upper:latest\","
    "\"entrypoint\":[\"/upper\"],\"cmd\":[\"-x\"]}";

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

static json_t *made(const char *text)
{
    FAAS_AUTO(json_t) *body = json(text);
    FAAS_AUTO(json_t) *image = json(exec_image);
    struct function_want want;
    json_t *doc = NULL;
    faas_err err = {0};

    if (function_read(body, FUNCTION_CREATE, &caller, &want, &err) != FAAS_OK ||
        function_make(&want, &caller, &doc, &err) != FAAS_OK ||
        function_set_image(doc, image, &err) != FAAS_OK)
        fail_msg("%s: %s", text, err.msg);
    return doc;
}

static faas_code change(const json_t *doc, enum function_verb verb, const char *text,
                        json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *body = json(text);
    struct function_want want;

    FAAS_TRY(function_read(body, verb, &caller, &want, err));
    return function_change(doc, &want, verb, out_doc, err);
}

static json_t *changed(const json_t *doc, enum function_verb verb, const char *text)
{
    json_t *next = NULL;
    faas_err err = {0};

    if (change(doc, verb, text, &next, &err) != FAAS_OK)
        fail_msg("%s: %s", text, err.msg);
    return next;
}

/* The public member `key` of doc is the JSON text `want`. */
static void shows(const json_t *doc, const char *key, const char *want)
{
    FAAS_AUTO(json_t) *public = function_public(doc);
    FAAS_AUTO(char) *text = NULL;

    assert_non_null(public);
    text = json_dumps(json_object_get(public, key), JSON_ENCODE_ANY | JSON_COMPACT);
    assert_non_null(text);
    assert_string_equal(text, want);
}

static void a_new_record_has_every_default(void **state)
{
    static const char *const want[][2] = {
        {"uuid", "\"" USER "\""},
        {"name", "\"Shout\""},
        {"description", "\"\""},
        {"payload", "\"upper\""},
        {"digest", "{\"kind\":\"docker-id\",\"value\":\"sha256:aa\"}"},
        {"version", "1"},
        {"timeout_ms", "30000"},
        {"start_timeout_ms", "30000"},
        {"max_wait_ms", "0"},
        {"limits", "{\"memory_mb\":128,\"cpus\":1.0,\"pids\":128,\"tmp_mb\":64,\"output_mb\":6}"},
        {"concurrency", "0"},
        {"input", "\"argv\""},
        {"env", "{}"},
        {"secrets", "[]"},
        {"network", "\"none\""},
        {"reuse", "\"fresh\""},
        {"retry", "{\"idempotent\":false,\"attempts\":3,\"backoff_ms\":200,\"on\":[]}"},
        {"isolation", "\"docker\""},
        {"content_type", "\"\""},
        {"labels", "{}"},
        {"disabled", "false"},
        {"aliases", "{}"},
    };
    FAAS_AUTO(json_t) *doc = made("{\"name\":\"Shout\",\"payload\":\"upper\"}");
    FAAS_AUTO(json_t) *public = function_public(doc);

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(want); i++)
        shows(doc, want[i][0], want[i][1]);
    assert_int_equal(json_object_size(public), FAAS_ARRAY_LEN(want) + 3); /* id and two times */
    assert_string_equal(json_string_value(json_object_get(public, "created_at")),
                        json_string_value(json_object_get(public, "updated_at")));
    assert_int_equal(strlen(json_string_value(json_object_get(public, "created_at"))),
                     strlen("2026-01-02T03:04:05.678Z"));
    assert_int_equal(strlen(function_id(doc)), 36);
}

static void two_records_have_two_ids(void **state)
{
    FAAS_AUTO(json_t) *a = made("{\"name\":\"f\",\"payload\":\"upper\"}");
    FAAS_AUTO(json_t) *b = made("{\"name\":\"f\",\"payload\":\"upper\"}");

    (void)state;
    assert_string_not_equal(function_id(a), function_id(b));
}

static void an_update_changes_only_what_it_names(void **state)
{
    FAAS_AUTO(json_t) *doc =
        made("{\"name\":\"f\",\"payload\":\"upper\",\"env\":{\"A\":\"1\",\"B\":\"2\"},"
             "\"limits\":{\"memory_mb\":64,\"cpus\":2},\"labels\":{\"a\":\"b\"}}");
    FAAS_AUTO(json_t) *next = changed(doc, FUNCTION_UPDATE,
                                      "{\"name\":\"f\",\"description\":\"new\",\"timeout_ms\":500,"
                                      "\"limits\":{\"pids\":10},\"env\":{\"A\":\"3\"}}");

    (void)state;
    shows(next, "description", "\"new\"");
    shows(next, "timeout_ms", "500");
    shows(next, "limits",
          "{\"memory_mb\":64,\"cpus\":2.0,\"pids\":10,\"tmp_mb\":64,\"output_mb\":6}");
    shows(next, "env", "{\"A\":\"3\"}");
    shows(next, "labels", "{\"a\":\"b\"}");
    shows(next, "version", "2");
    shows(next, "digest", "{\"kind\":\"docker-id\",\"value\":\"sha256:aa\"}");
    assert_string_equal(function_id(next), function_id(doc));
    shows(doc, "env", "{\"A\":\"1\",\"B\":\"2\"}"); /* the old version is not touched */
    shows(doc, "version", "1");
}

static void null_goes_back_to_the_default(void **state)
{
    FAAS_AUTO(json_t) *doc =
        made("{\"name\":\"f\",\"payload\":\"upper\",\"description\":\"d\",\"timeout_ms\":500,"
             "\"limits\":{\"memory_mb\":64,\"pids\":9},\"env\":{\"A\":\"1\"},\"input\":\"stdin\"}");
    FAAS_AUTO(json_t) *next =
        changed(doc, FUNCTION_UPDATE,
                "{\"name\":\"f\",\"description\":null,\"timeout_ms\":null,\"env\":null,"
                "\"limits\":{\"memory_mb\":null},\"input\":null}");
    FAAS_AUTO(json_t) *more = changed(next, FUNCTION_UPDATE, "{\"name\":\"f\",\"limits\":null}");

    (void)state;
    shows(next, "description", "\"\"");
    shows(next, "timeout_ms", "30000");
    shows(next, "env", "{}");
    shows(next, "input", "\"argv\"");
    shows(next, "limits",
          "{\"memory_mb\":128,\"cpus\":1.0,\"pids\":9,\"tmp_mb\":64,\"output_mb\":6}");
    shows(more, "limits",
          "{\"memory_mb\":128,\"cpus\":1.0,\"pids\":128,\"tmp_mb\":64,\"output_mb\":6}");
}

static void replace_resets_what_it_does_not_name(void **state)
{
    FAAS_AUTO(json_t) *doc =
        made("{\"name\":\"f\",\"payload\":\"upper\",\"description\":\"d\",\"timeout_ms\":500,"
             "\"limits\":{\"memory_mb\":64},\"labels\":{\"a\":\"b\"}}");
    FAAS_AUTO(json_t) *next = changed(
        doc, FUNCTION_REPLACE, "{\"name\":\"f\",\"payload\":\"other\",\"limits\":{\"pids\":7}}");

    (void)state;
    shows(next, "description", "\"\"");
    shows(next, "timeout_ms", "30000");
    shows(next, "labels", "{}");
    shows(next, "payload", "\"other\"");
    shows(next, "limits",
          "{\"memory_mb\":128,\"cpus\":1.0,\"pids\":7,\"tmp_mb\":64,\"output_mb\":6}");
    shows(next, "version", "2");
    assert_string_equal(function_id(next), function_id(doc));
}

static void unknown_stored_fields_survive_a_change(void **state)
{
    FAAS_AUTO(json_t) *doc = made("{\"name\":\"f\",\"payload\":\"upper\"}");
    FAAS_AUTO(json_t) *next = NULL;
    FAAS_AUTO(json_t) *replaced = NULL;

    (void)state;
    json_object_set_new(doc, "from_later", json_pack("{s:i}", "x", 1));
    json_object_set_new(json_object_get(doc, "limits"), "gpus", json_integer(2));
    next = changed(doc, FUNCTION_UPDATE, "{\"name\":\"f\",\"limits\":{\"pids\":3}}");
    replaced = changed(doc, FUNCTION_REPLACE, "{\"name\":\"f\",\"payload\":\"u\"}");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(next, "from_later"), "x")),
                     1);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(next, "limits"), "gpus")),
                     2);
    assert_non_null(json_object_get(replaced, "from_later"));
}

static void a_stale_version_is_a_conflict(void **state)
{
    FAAS_AUTO(json_t) *doc = made("{\"name\":\"f\",\"payload\":\"upper\"}");
    FAAS_AUTO(json_t) *next = changed(doc, FUNCTION_UPDATE,
                                      "{\"name\":\"f\",\"version\":1,"
                                      "\"concurrency\":1}");
    json_t *none = NULL;
    faas_err err = {0};

    (void)state;
    says(change(next, FUNCTION_UPDATE, "{\"name\":\"f\",\"version\":1,\"concurrency\":2}", &none,
                &err),
         &err, FAAS_CONFLICT,
         "version: the function is at version 2 now; read it again and decide");
    assert_null(none);
}

static void retries_follow_idempotent(void **state)
{
    FAAS_AUTO(json_t) *doc =
        made("{\"name\":\"f\",\"payload\":\"u\",\"retry\":{\"idempotent\":true,\"attempts\":5}}");
    FAAS_AUTO(json_t) *named =
        changed(doc, FUNCTION_UPDATE, "{\"name\":\"f\",\"retry\":{\"on\":[\"failed\"]}}");
    FAAS_AUTO(json_t) *off =
        changed(named, FUNCTION_UPDATE, "{\"name\":\"f\",\"retry\":{\"idempotent\":false}}");
    json_t *none = NULL;
    faas_err err = {0};

    (void)state;
    shows(doc, "retry",
          "{\"idempotent\":true,\"attempts\":5,\"backoff_ms\":200,\"on\":[\"lost\"]}");
    shows(named, "retry",
          "{\"idempotent\":true,\"attempts\":5,\"backoff_ms\":200,\"on\":[\"failed\"]}");
    shows(off, "retry", "{\"idempotent\":false,\"attempts\":5,\"backoff_ms\":200,\"on\":[]}");
    says(
        change(off, FUNCTION_UPDATE, "{\"name\":\"f\",\"retry\":{\"on\":[\"lost\"]}}", &none, &err),
        &err, FAAS_INVALID, "retry.on: \"lost\" and \"failed\" need \"idempotent\": true");
}

/* ---- images ---- */

static faas_code with_image(const char *input, const char *entrypoint, const char *cmd,
                            json_t **out_doc, faas_err *err)
{
    char text[300];
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *image = NULL;

    snprintf(text, sizeof text, "{\"name\":\"f\",\"payload\":\"upper\",\"input\":\"%s\"}", input);
    doc = made(text);
    snprintf(text, sizeof text,
             "{\"digest\":{\"kind\":\"manifest\",\"value\":\"sha256:bb\"},\"reference\":\"r\","
             "\"entrypoint\":%s,\"cmd\":%s}",
             entrypoint, cmd);
    image = json(text);
    FAAS_TRY(function_set_image(doc, image, err));
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

static void where_the_image_is_decides_the_isolation(void **state)
{
    static const char *const kinds[][2] = {
        {"store", "sandbox"}, {"manifest", "docker"}, {"docker-id", "docker"}};
    FAAS_AUTO(json_t) *doc = made("{\"name\":\"f\",\"payload\":\"upper\"}");
    faas_err err = {0};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(kinds); i++) {
        FAAS_AUTO(json_t) *image =
            json_pack("{s:{s:s,s:s},s:s,s:[s]}", "digest", "kind", kinds[i][0], "value",
                      "sha256:bb", "reference", "r", "entrypoint", "/e");

        assert_int_equal(function_set_image(doc, image, &err), FAAS_OK);
        assert_string_equal(json_string_value(json_object_get(doc, "isolation")), kinds[i][1]);
    }
}

static void the_command_is_cmd_only_without_an_entrypoint(void **state)
{
    static const char *const rows[][3] = {
        {"[\"/e\"]", "[\"/c\",\"-x\"]", "[]"},
        {"[\"/e\"]", "null", "[]"},
        {"null", "[\"/c\",\"-x\"]", "[\"/c\",\"-x\"]"},
        {"[]", "[\"/c\"]", "[\"/c\"]"},
        {"null", "[\"/bin/sh\",\"-c\",\"echo\"]", "[\"/bin/sh\",\"-c\",\"echo\"]"},
        {"[\"/bin/sh\",\"-c\"]", "null", "[]"},
        {"[\"/bin/sh\",\"-c\",\"x\",\"y\"]", "null", "[]"},
        {"[\"/bin/bash\",\"-c\",\"x\"]", "null", "[]"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        FAAS_AUTO(json_t) *doc = NULL;
        FAAS_AUTO(char) *text = NULL;
        faas_err err = {0};

        assert_int_equal(with_image("argv", rows[i][0], rows[i][1], &doc, &err), FAAS_OK);
        text = json_dumps(json_object_get(doc, "command"), JSON_COMPACT);
        assert_string_equal(text, rows[i][2]);
    }
}

static void an_image_with_nothing_to_run_is_unprocessable(void **state)
{
    json_t *doc = NULL;
    faas_err err = {0};

    (void)state;
    says(with_image("argv", "null", "null", &doc, &err), &err, FAAS_UNPROCESSABLE,
         "payload: the image has neither ENTRYPOINT nor CMD, so there is nothing to run; add an "
         "ENTRYPOINT to its Dockerfile");
    assert_int_equal(with_image("stdin", "[]", "[]", &doc, &err), FAAS_UNPROCESSABLE);
}

static void a_shell_form_entrypoint_needs_stdin(void **state)
{
    static const char msg[] =
        "payload: the image's ENTRYPOINT is in shell form, so the argument would not reach the "
        "program: write it in exec form (ENTRYPOINT [\"program\"]), or register with "
        "\"input\":\"stdin\"";
    FAAS_AUTO(json_t) *doc = NULL;
    json_t *none = NULL;
    faas_err err = {0};

    (void)state;
    says(with_image("argv", "[\"/bin/sh\",\"-c\",\"run me\"]", "null", &none, &err), &err,
         FAAS_UNPROCESSABLE, msg);
    assert_int_equal(with_image("stdin", "[\"/bin/sh\",\"-c\",\"run me\"]", "null", &doc, &err),
                     FAAS_OK);
    /* going to argv later is the same mistake, though the image is not looked at again */
    err = (faas_err){0};
    says(change(doc, FUNCTION_UPDATE, "{\"name\":\"f\",\"input\":\"argv\"}", &none, &err), &err,
         FAAS_UNPROCESSABLE, msg);
}

static void an_answer_of_another_shape_is_our_error(void **state)
{
    static const char *const rows[] = {
        "{}",
        "{\"reference\":\"r\",\"digest\":{\"kind\":\"store\"},\"cmd\":[\"x\"]}",
        "{\"reference\":\"r\",\"digest\":{\"kind\":\"k\",\"value\":\"v\"},\"cmd\":[1]}",
        "{\"reference\":\"r\",\"digest\":{\"kind\":\"k\",\"value\":\"v\"},\"entrypoint\":\"x\"}",
    };
    FAAS_AUTO(json_t) *doc = made("{\"name\":\"f\",\"payload\":\"upper\"}");

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        FAAS_AUTO(json_t) *image = json(rows[i]);
        faas_err err = {0};

        assert_int_equal(function_set_image(doc, image, &err), FAAS_INTERNAL);
        assert_null(strstr(err.msg, "digest")); /* details are for our log */
    }
    shows(doc, "digest", "{\"kind\":\"docker-id\",\"value\":\"sha256:aa\"}");
}

static void the_stored_form_comes_back(void **state)
{
    FAAS_AUTO(json_t) *doc = made("{\"name\":\"f\",\"payload\":\"upper\",\"env\":{\"A\":\"x\"}}");
    FAAS_AUTO(char) *text = json_dumps(doc, JSON_COMPACT);
    FAAS_AUTO(json_t) *back = NULL;
    json_t *none = NULL;
    faas_err err = {0};

    (void)state;
    assert_int_equal(function_parse(text, strlen(text), &back, &err), FAAS_OK);
    assert_true(json_equal(doc, back));
    assert_true(json_is_integer(json_object_get(back, "created_at")));
    assert_int_equal(json_integer_value(json_object_get(back, "v")), 1);
    assert_int_equal(function_parse("{\"v\":1}", 7, &none, &err), FAAS_INTERNAL);
    assert_int_equal(function_parse("\xff", 1, &none, &err), FAAS_INTERNAL);
    assert_null(none);
}

static void fields_missing_in_an_old_record_show_their_default(void **state)
{
    FAAS_AUTO(json_t) *doc = made("{\"name\":\"f\",\"payload\":\"upper\"}");
    FAAS_AUTO(json_t) *next = NULL;

    (void)state;
    json_object_del(doc, "reuse");
    json_object_del(doc, "limits");
    shows(doc, "reuse", "\"fresh\"");
    next = changed(doc, FUNCTION_UPDATE, "{\"name\":\"f\",\"limits\":{\"pids\":3}}");
    shows(next, "limits",
          "{\"memory_mb\":128,\"cpus\":1.0,\"pids\":3,\"tmp_mb\":64,\"output_mb\":6}");
}

static void the_same_image_is_recognised(void **state)
{
    FAAS_AUTO(json_t) *a = made("{\"name\":\"f\",\"payload\":\"upper\"}");
    FAAS_AUTO(json_t) *b = made("{\"name\":\"g\",\"payload\":\"upper\"}");

    (void)state;
    assert_true(function_same_image(a, b));
    json_object_set_new(json_object_get(b, "digest"), "value", json_string("sha256:cc"));
    assert_false(function_same_image(a, b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_record_has_every_default),
        cmocka_unit_test(two_records_have_two_ids),
        cmocka_unit_test(an_update_changes_only_what_it_names),
        cmocka_unit_test(null_goes_back_to_the_default),
        cmocka_unit_test(replace_resets_what_it_does_not_name),
        cmocka_unit_test(unknown_stored_fields_survive_a_change),
        cmocka_unit_test(a_stale_version_is_a_conflict),
        cmocka_unit_test(retries_follow_idempotent),
        cmocka_unit_test(where_the_image_is_decides_the_isolation),
        cmocka_unit_test(the_command_is_cmd_only_without_an_entrypoint),
        cmocka_unit_test(an_image_with_nothing_to_run_is_unprocessable),
        cmocka_unit_test(a_shell_form_entrypoint_needs_stdin),
        cmocka_unit_test(an_answer_of_another_shape_is_our_error),
        cmocka_unit_test(the_stored_form_comes_back),
        cmocka_unit_test(fields_missing_in_an_old_record_show_their_default),
        cmocka_unit_test(the_same_image_is_recognised),
    };

    return run_unit(tests);
}
