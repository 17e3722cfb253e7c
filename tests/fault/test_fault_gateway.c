/* What the gateway reads and keeps, without memory. */
#include "tests/support/fault.h"

#include <errno.h>
#include <string.h>

#include "gateway/exposition.h"
#include "gateway/openfaas.h"
#include "gateway/params.h"
#include "gateway/rate.h"
#include "gateway/revoked.h"
#include "tests/unit/unit.h"

#define USER  "0190c8f6-0000-7000-8000-00000000000a"
#define TOKEN "0190c8f6-0000-7000-8000-0000000000f1"
#define FIRST "{\"v\":1,\"generation\":3,\"revoked\":{}}"
#define NEXT  "{\"v\":1,\"generation\":4,\"revoked\":{\"" TOKEN "\":99}}"

static faas_code read_query(void *state, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    (void)state;
    FAAS_TRY(gw_query_json("name=upper&q=longer+than+sixteen+bytes", &doc, err));
    assert_int_equal(json_object_size(doc), 2);
    assert_string_equal(json_string_value(json_object_get(doc, "q")), "longer than sixteen bytes");
    return FAAS_OK;
}

static faas_code make_body(void *state, faas_err *err)
{
    static const struct gw_route route = {.method = "PUT"};
    const struct gw_match match = {
        .route = &route, .params = {{.key = "name", .value = "upper"}}, .count = 1};
    const struct gw_input in = {
        .match = &match, .body = "{\"description\":\"longer than sixteen bytes\"}", .body_len = 43};
    FAAS_AUTO(char) *text = NULL;
    size_t len = 0;

    (void)state;
    FAAS_TRY(gw_request_json(&in, &text, &len, err));
    assert_string_equal(text, "{\"description\":\"longer than sixteen bytes\",\"name\":\"upper\"}");
    return FAAS_OK;
}

#define DEPLOYMENT                                                                                 \
    "{\"service\":\"f\",\"image\":\"i\",\"envProcess\":\"cat\",\"envVars\":{\"A\":\"1\"},"         \
    "\"annotations\":{\"faas.input\":\"stdin\",\"faas.timeout_ms\":\"500\"},"                      \
    "\"limits\":{\"memory\":\"1Gi\",\"cpu\":\"250m\"}}"

static faas_code make_deployment(void *state, faas_err *err)
{
    static const struct gw_route route = {.method = "PUT", .what = GW_SYS_DEPLOY};
    const struct gw_match match = {.route = &route};
    const struct gw_input in = {
        .match = &match, .body = DEPLOYMENT, .body_len = strlen(DEPLOYMENT)};
    FAAS_AUTO(char) *text = NULL;
    size_t len = 0;

    (void)state;
    FAAS_TRY(gw_request_json(&in, &text, &len, err));
    assert_string_equal(text, "{\"name\":\"f\",\"payload\":\"i\",\"env\":{\"A\":\"1\",\"fprocess\":"
                              "\"cat\"},\"limits\":{\"memory_mb\":1024,\"cpus\":0.25},"
                              "\"input\":\"stdin\",\"timeout_ms\":500}");
    return FAAS_OK;
}

/* What is left out of a status would read as a function without it. */
static faas_code show_function(void *state, faas_err *err)
{
    static const struct gw_route route = {.method = "GET", .what = GW_SYS_STATUS};
    FAAS_AUTO(char) *text = NULL;
    size_t len = 0;

    FAAS_TRY(openfaas_answer(&route, state, strlen(state), &text, &len, err));
    assert_string_equal(text,
                        "{\"name\":\"f\",\"image\":\"i\",\"envProcess\":\"cat\",\"envVars\":{"
                        "\"A\":\"1\"},\"annotations\":{\"faas.input\":\"argv\"},\"limits\":{"
                        "\"memory\":\"64Mi\",\"cpu\":\"500m\"},\"readOnlyRootFilesystem\":true,"
                        "\"replicas\":1,\"availableReplicas\":1,\"createdAt\":\"now\"}");
    return FAAS_OK;
}

static void what_openfaas_says_is_whole_or_memory_is_blamed(void **state)
{
    static char record[] =
        "{\"name\":\"f\",\"payload\":\"i\",\"input\":\"argv\",\"env\":{\"A\":\"1\","
        "\"fprocess\":\"cat\"},\"limits\":{\"memory_mb\":64,\"cpus\":0.5},\"created_at\":\"now\"}";

    (void)state;
    fault_each(make_deployment, NULL, 20);
    fault_each(show_function, record, 20);
}

static void a_request_is_whole_or_memory_is_blamed(void **state)
{
    (void)state;
    fault_each(read_query, NULL, 10);
    fault_each(make_body, NULL, 15);
}

static bool is_revoked(struct revoked *revoked, int64_t generation)
{
    struct faas_token_claims claims = {.user = USER, .jti = USER, .generation = generation};

    return revoked_has(revoked, &claims);
}

/* What was revoked stays revoked, whether the change came in or not. */
static faas_code revoke(void *state, faas_err *err)
{
    struct revoked *revoked = state;
    faas_code rc = revoked_apply(revoked, "u." USER, NEXT, strlen(NEXT), err);

    fault_pause(true);
    assert_true(is_revoked(revoked, 2));
    assert_true(rc != FAAS_OK || is_revoked(revoked, 3));
    assert_ok(revoked_apply(revoked, "u." USER, FIRST, strlen(FIRST), NULL));
    return rc;
}

static void what_is_revoked_stays_revoked(void **state)
{
    struct revoked revoked;

    (void)state;
    revoked_init(&revoked);
    assert_ok(revoked_apply(&revoked, "u." USER, FIRST, strlen(FIRST), NULL));
    fault_each(revoke, &revoked, 10);
    revoked_done(&revoked);
}

static faas_code limit(void *state, faas_err *err)
{
    struct rate *rate = NULL;

    (void)state;
    FAAS_TRY(rate_new(1, 1, 8, &rate, err));
    assert_int_equal(rate_take(rate, "k", 1, UINT64_C(1000000000)), 0);
    assert_true(rate_take(rate, "k", 1, UINT64_C(1000000000)) > 0);
    rate_free(rate);
    return FAAS_OK;
}

static void a_limit_holds_or_there_is_no_gateway(void **state)
{
    (void)state;
    fault_each(limit, NULL, 2);
}

static faas_code gather(void *state, faas_err *err)
{
    static const char page[] = "# HELP a_total what\n# TYPE a_total counter\na_total 3\n"
                               "# HELP b what\n# TYPE b gauge\nb{c=\"d\"} 4\n";
    struct exposition *exposition = NULL;
    char *text;
    size_t len;

    (void)state;
    FAAS_TRY(exposition_new(&exposition, err));
    exposition_add(exposition, "auth", "a1", page);
    exposition_add(exposition, "auth", "a2", page);
    text = exposition_text(exposition, &len);
    exposition_free(exposition);
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "figures");
    assert_string_equal(text, "# HELP a_total what\n# TYPE a_total counter\n"
                              "a_total{service=\"auth\",id=\"a1\"} 3\n"
                              "a_total{service=\"auth\",id=\"a2\"} 3\n"
                              "# HELP b what\n# TYPE b gauge\n"
                              "b{service=\"auth\",id=\"a1\",c=\"d\"} 4\n"
                              "b{service=\"auth\",id=\"a2\",c=\"d\"} 4\n");
    free(text);
    return FAAS_OK;
}

static void a_page_of_figures_is_whole_or_there_is_none(void **state)
{
    (void)state;
    fault_each(gather, NULL, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_whole_or_memory_is_blamed),
        cmocka_unit_test(what_openfaas_says_is_whole_or_memory_is_blamed),
        cmocka_unit_test(what_is_revoked_stays_revoked),
        cmocka_unit_test(a_limit_holds_or_there_is_no_gateway),
        cmocka_unit_test(a_page_of_figures_is_whole_or_there_is_none),
    };

    return run_unit(tests);
}
