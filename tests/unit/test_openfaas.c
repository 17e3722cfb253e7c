/* What OpenFaaS's clients say, in our words, and our records in theirs. */
#include "gateway/openfaas.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

static faas_err err;

static faas_code ask(const char *method, const char *path, const char *query, const char *body,
                     char **out_text)
{
    struct gw_match match;
    struct gw_input in = {
        .match = &match, .query = query, .body = body, .body_len = body != NULL ? strlen(body) : 0};
    size_t len = 0;

    memset(&err, 0, sizeof err);
    *out_text = NULL;
    assert_ok(gw_match_route(method, path, &match, &err));
    assert_true(openfaas_speaks(match.route));
    return gw_request_json(&in, out_text, &len, &err);
}

static void becomes(const char *method, const char *path, const char *body, const char *want)
{
    FAAS_AUTO(char) *text = NULL;

    assert_ok(ask(method, path, NULL, body, &text));
    assert_string_equal(text, want);
}

static void refused(const char *body, faas_code code, const char *why)
{
    FAAS_AUTO(char) *text = NULL;

    assert_int_equal(ask("POST", "/system/functions", NULL, body, &text), code);
    assert_null(text);
    assert_string_equal(err.msg, why);
}

#define FN "\"service\":\"f\",\"image\":\"i:1\""

static void a_question_for_logs_is_read_from_the_query(void **state)
{
    static const struct {
        const char *query, *want;
    } cases[] = {
        {"name=f&namespace=openfaas-fn&follow=1", "{\"name\":\"f\"}"},
        {"name=f&since=2026-01-02T03%3A04%3A05%2B02%3A00&tail=5&instance=x",
         "{\"name\":\"f\",\"since\":\"2026-01-02T03:04:05+02:00\",\"instance\":\"x\","
         "\"tail\":\"5\"}"},
        {"name=f&tail=-1&since=&instance=", "{\"name\":\"f\"}"},
        {"name=f&tail=0", "{\"name\":\"f\"}"},
    };
    FAAS_AUTO(char) *none = NULL;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++) {
        FAAS_AUTO(char) *text = NULL;

        assert_ok(ask("GET", "/system/logs", cases[i].query, NULL, &text));
        assert_string_equal(text, cases[i].want);
    }
    assert_int_equal(ask("GET", "/system/logs", "tail=5", NULL, &none), FAAS_INVALID);
    assert_int_equal(ask("GET", "/system/logs", "name=f&namespace=dev", NULL, &none),
                     FAAS_UNPROCESSABLE);
}

static void lines_of_logs_are_objects_of_their_own(void **state)
{
    static const char page[] = "{\"items\":[{\"name\":\"f\",\"text\":\"a\\nb\"},{\"text\":\"\"}]}";
    struct gw_match match;
    FAAS_AUTO(char) *text = NULL;
    size_t len;

    (void)state;
    assert_ok(gw_match_route("GET", "/system/logs", &match, &err));
    assert_ok(openfaas_answer(match.route, page, strlen(page), &text, &len, &err));
    assert_string_equal(text, "{\"name\":\"f\",\"text\":\"a\\nb\"}\n{\"text\":\"\"}\n");
    assert_int_equal(len, strlen(text));
    assert_string_equal(openfaas_answer_type(match.route), "application/x-ndjson");
}

static void a_deployment_becomes_a_registration(void **state)
{
    (void)state;
    becomes("POST", "/system/functions", "{" FN "}",
            "{\"name\":\"f\",\"payload\":\"i:1\",\"env\":{},\"limits\":{}}");
    becomes(
        "PUT", "/system/functions",
        "{" FN ",\"network\":\"func_functions\",\"envProcess\":\"cat\","
        "\"envVars\":{\"A\":\"1\"},\"constraints\":[],\"secrets\":[\"s\"],"
        "\"labels\":{\"l\":\"v\"},\"annotations\":{\"topic\":\"t\",\"faas.input\":\"stdin\","
        "\"faas.timeout_ms\":\"500\"},\"limits\":{\"memory\":\"1Gi\",\"cpu\":\"250m\"},"
        "\"requests\":{\"memory\":\"8Mi\"},\"readOnlyRootFilesystem\":true,"
        "\"namespace\":\"openfaas-fn\",\"registryAuth\":\"\",\"unheardOf\":[1]}",
        "{\"name\":\"f\",\"payload\":\"i:1\",\"labels\":{\"l\":\"v\"},\"secrets\":[\"s\"],"
        "\"env\":{\"A\":\"1\",\"fprocess\":\"cat\"},"
        "\"limits\":{\"memory_mb\":1024,\"cpus\":0.25},\"input\":\"stdin\",\"timeout_ms\":500}");
    becomes("POST", "/system/functions", "{" FN ",\"limits\":{\"memory\":\"\"},\"labels\":null}",
            "{\"name\":\"f\",\"payload\":\"i:1\",\"env\":{},\"limits\":{}}");
}

static void what_cannot_be_had_names_the_clients_field(void **state)
{
    (void)state;
    refused("{\"image\":\"i\"}", FAAS_INVALID, "service: required");
    refused("{\"service\":\"f\"}", FAAS_INVALID, "image: required");
    refused("{\"service\":1}", FAAS_INVALID, "service: expected string, got integer");
    refused("{" FN ",\"limits\":{\"memory\":\"lots\"}}", FAAS_INVALID,
            "limits.memory: expected a size such as 128Mi");
    refused("{" FN ",\"limits\":{\"cpu\":\"fast\"}}", FAAS_INVALID,
            "limits.cpu: expected processors such as 500m or 0.5");
    refused("{" FN ",\"constraints\":[\"gpu=1\"]}", FAAS_UNPROCESSABLE,
            "constraints: calls run wherever there is a place; leave them out");
    refused("{" FN ",\"namespace\":\"dev\"}", FAAS_UNPROCESSABLE,
            "namespace: every user has one, openfaas-fn; leave it out");
    refused("{" FN ",\"annotations\":{\"faas.secrets\":\"x\"}}", FAAS_INVALID,
            "annotations: faas.FIELD is one of description, input, network, reuse, isolation, "
            "timeout_ms, start_timeout_ms, max_wait_ms, concurrency");
    refused("{" FN ",\"annotations\":{\"faas.timeout_ms\":\"5s\"}}", FAAS_INVALID,
            "annotations: faas.timeout_ms: expected a whole number");
}

static void names_come_from_the_body_or_the_path(void **state)
{
    FAAS_AUTO(char) *text = NULL, *other = NULL;

    (void)state;
    becomes("DELETE", "/system/functions", "{\"functionName\":\"f\"}", "{\"name\":\"f\"}");
    becomes("GET", "/system/function/f", NULL, "{\"name\":\"f\"}");
    becomes("POST", "/system/scale-function/f", "{\"serviceName\":\"g\",\"replicas\":3}",
            "{\"name\":\"f\"}");
    becomes("GET", "/system/functions", NULL, "{}");
    becomes("GET", "/system/secrets", NULL, "{}");
    assert_ok(ask("DELETE", "/system/functions", "namespace=openfaas-fn",
                  "{\"functionName\":\"f\"}", &text));
    assert_string_equal(text, "{\"name\":\"f\"}");
    assert_int_equal(ask("GET", "/system/functions", "namespace=dev", NULL, &other),
                     FAAS_UNPROCESSABLE);
}

static void a_secret_keeps_its_bytes(void **state)
{
    (void)state;
    becomes("POST", "/system/secrets", "{\"name\":\"s\",\"value\":\"v\"}",
            "{\"name\":\"s\",\"value\":\"v\"}");
    becomes("PUT", "/system/secrets", "{\"name\":\"s\",\"value\":\"?\",\"rawValue\":\"/w==\"}",
            "{\"name\":\"s\",\"value_base64\":\"/w==\"}");
    becomes("DELETE", "/system/secrets", "{\"name\":\"s\",\"namespace\":\"\"}", "{\"name\":\"s\"}");
}

#define RECORD(disabled)                                                                           \
    "{\"id\":\"1\",\"name\":\"f\",\"payload\":\"i:1\",\"description\":\"\",\"input\":\"argv\","    \
    "\"timeout_ms\":30000,\"limits\":{\"memory_mb\":64,\"cpus\":0.5,\"pids\":9},"                  \
    "\"env\":{\"A\":\"1\",\"fprocess\":\"cat\"},\"secrets\":[],\"labels\":{\"l\":\"v\"},"          \
    "\"disabled\":" disabled ",\"created_at\":\"2026-01-02T03:04:05.678Z\"}"
#define STATUS(replicas)                                                                           \
    "{\"name\":\"f\",\"image\":\"i:1\",\"envProcess\":\"cat\",\"envVars\":{\"A\":\"1\"},"          \
    "\"labels\":{\"l\":\"v\"},\"secrets\":[],\"annotations\":{\"faas.input\":\"argv\","            \
    "\"faas.timeout_ms\":\"30000\"},\"limits\":{\"memory\":\"64Mi\",\"cpu\":\"500m\"},"            \
    "\"readOnlyRootFilesystem\":true,\"replicas\":" replicas ",\"availableReplicas\":" replicas    \
    ",\"createdAt\":\"2026-01-02T03:04:05.678Z\"}"

static void answers(const char *method, const char *path, const char *reply, const char *want)
{
    struct gw_match match;
    FAAS_AUTO(char) *text = NULL;
    size_t len;

    assert_ok(gw_match_route(method, path, &match, &err));
    assert_ok(openfaas_answer(match.route, reply, strlen(reply), &text, &len, &err));
    if (want == NULL)
        assert_null(text);
    else
        assert_string_equal(text, want);
}

static void records_become_statuses(void **state)
{
    FAAS_AUTO(json_t) *records = json_loads("[" RECORD("false") "]", 0, NULL);
    FAAS_AUTO(json_t) *statuses = openfaas_functions(records);
    FAAS_AUTO(char) *text = faas_json_text(statuses, NULL);

    (void)state;
    assert_string_equal(text, "[" STATUS("1") "]");
    answers("GET", "/system/function/f", RECORD("false"), STATUS("1"));
    answers("GET", "/system/function/f", RECORD("true"), STATUS("0"));
    answers("POST", "/system/scale-function/f", RECORD("false"), NULL);
    answers("POST", "/system/functions", RECORD("false"), NULL);
    answers("DELETE", "/system/functions", "", NULL);
    answers("GET", "/system/secrets",
            "{\"items\":[{\"name\":\"s\",\"size\":3}],\"next_cursor\":null}", "[{\"name\":\"s\"}]");
}

/* A status that is deployed again is the same function. */
static void a_status_says_what_a_deployment_says(void **state)
{
    FAAS_AUTO(json_t) *record = json_loads(RECORD("false"), 0, NULL);
    FAAS_AUTO(json_t) *status = json_loads(STATUS("1"), 0, NULL), *again = NULL;
    FAAS_AUTO(char) *body = NULL, *text = NULL;
    static const char *const same[] = {"name",    "payload", "env",       "labels",
                                       "secrets", "input",   "timeout_ms"};

    (void)state;
    assert_int_equal(json_object_set(status, "service", json_object_get(status, "name")), 0);
    body = faas_json_text(status, NULL);
    assert_ok(ask("PUT", "/system/functions", NULL, body, &text));
    again = json_loads(text, 0, NULL);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(same); i++)
        assert_true(json_equal(json_object_get(record, same[i]), json_object_get(again, same[i])));
}

static void the_platform_names_its_version(void **state)
{
    size_t len;
    FAAS_AUTO(char) *text = openfaas_info(&len);

    (void)state;
    assert_contains(text, "\"provider\":{\"provider\":\"faas\",");
    assert_contains(text, "\"release\":\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_for_logs_is_read_from_the_query),
        cmocka_unit_test(lines_of_logs_are_objects_of_their_own),
        cmocka_unit_test(a_deployment_becomes_a_registration),
        cmocka_unit_test(what_cannot_be_had_names_the_clients_field),
        cmocka_unit_test(names_come_from_the_body_or_the_path),
        cmocka_unit_test(a_secret_keeps_its_bytes),
        cmocka_unit_test(records_become_statuses),
        cmocka_unit_test(a_status_says_what_a_deployment_says),
        cmocka_unit_test(the_platform_names_its_version),
    };

    return run_unit(tests);
}
