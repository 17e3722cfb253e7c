/* Function records: rules of bodies, defaults, changes, JSON forms. */
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
        {"labels", "{}"},
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
    create_says("\"network\":\"outbound\"", FAAS_OK, "");
    create_says("\"reuse\":\"slot\"", FAAS_OK, "");
    create_says("\"isolation\":\"docker\"", FAAS_OK, "");
    create_says("\"input\":\"stdin\"", FAAS_OK, "");
}

static void what_this_release_lacks_is_unprocessable(void **state)
{
    (void)state;
    create_says("\"isolation\":\"sandbox\"", FAAS_UNPROCESSABLE,
                "isolation: no spawner offers \"sandbox\"; use \"docker\"");
    create_says("\"secrets\":[\"db\"]", FAAS_UNPROCESSABLE,
                "secrets: there is no secret of that name; this release has no secrets");
    create_says("\"secrets\":[]", FAAS_OK, "");
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
    create_says("\"retry\":{\"on\":[\"sometimes\"]}", FAAS_INVALID,
                "retry.on: a list of \"not_started\", \"lost\" and \"failed\"");
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
        cmocka_unit_test(required_fields_are_named),
        cmocka_unit_test(fields_that_are_ours_cannot_be_set),
        cmocka_unit_test(wrong_types_name_the_field),
        cmocka_unit_test(bounds_are_held_at_both_ends),
        cmocka_unit_test(words_are_from_their_list),
        cmocka_unit_test(what_this_release_lacks_is_unprocessable),
        cmocka_unit_test(env_names_and_total_bytes_are_checked),
        cmocka_unit_test(too_many_entries_are_refused),
        cmocka_unit_test(labels_and_description_are_bounded),
        cmocka_unit_test(names_and_payloads_follow_their_grammars),
        cmocka_unit_test(the_owner_is_who_the_token_says),
        cmocka_unit_test(an_update_changes_only_what_it_names),
        cmocka_unit_test(null_goes_back_to_the_default),
        cmocka_unit_test(replace_resets_what_it_does_not_name),
        cmocka_unit_test(unknown_stored_fields_survive_a_change),
        cmocka_unit_test(a_stale_version_is_a_conflict),
        cmocka_unit_test(an_empty_update_is_recognised),
        cmocka_unit_test(retries_follow_idempotent),
        cmocka_unit_test(the_command_is_cmd_only_without_an_entrypoint),
        cmocka_unit_test(an_image_with_nothing_to_run_is_unprocessable),
        cmocka_unit_test(a_shell_form_entrypoint_needs_stdin),
        cmocka_unit_test(an_answer_of_another_shape_is_our_error),
        cmocka_unit_test(the_stored_form_comes_back),
        cmocka_unit_test(fields_missing_in_an_old_record_show_their_default),
        cmocka_unit_test(numbers_come_from_queries_or_json),
        cmocka_unit_test(the_same_image_is_recognised),
    };

    return run_unit(tests);
}
