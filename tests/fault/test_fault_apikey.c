/* API keys without memory: what auth keeps of them, and what a gateway makes of one. */
#include "tests/support/fault.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gateway/permit.h"
#include "services/auth/apikey.h"
#include "tests/unit/unit.h"

#define NOW_MS INT64_C(1800000000000)
#define ID     "00112233aabbccdd"
#define HASH   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define TENANT "0190a000-0000-7000-8000-000000000001"
#define STORED                                                                                     \
    "{\"v\":1,\"tenant\":\"" TENANT "\",\"username\":\"ann\",\"apikeys\":{\"" ID                   \
    "\":{\"hash\":\"" HASH "\",\"name\":\"longer than sixteen bytes\",\"verbs\":[\"read\"],"       \
    "\"functions\":[\"ci-*\"],\"created_at\":1,\"expires_at\":2}},\"op\":\"x\"}"

static faas_code add(void *state, faas_err *err)
{
    static const struct apikey_owner owner = {.tenant = TENANT, .username = "ann"};
    FAAS_AUTO(json_t) *body = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *shown = NULL;
    struct apikey key;

    (void)state;
    body = json_pack("{s:s, s:[s]}", "name", "longer than sixteen bytes", "verbs", "read");
    if (body == NULL)
        return faas_fail_sys(err, ENOMEM, "body");
    FAAS_TRY(apikey_read(body, NOW_MS, 100, &key, err));
    (void)snprintf(key.id, sizeof key.id, "%s", "00112233aabbccde");
    (void)snprintf(key.hash, sizeof key.hash, "%s", HASH);
    FAAS_TRY(apikey_add(STORED, strlen(STORED), &owner, &key, 2, &doc, err));
    assert_int_equal(json_object_size(json_object_get(doc, "apikeys")), 2);
    assert_string_equal(json_string_value(json_object_get(doc, "tenant")), TENANT);
    shown = apikey_json(&key);
    if (shown == NULL)
        return faas_fail_sys(err, ENOMEM, "shown");
    assert_int_equal(json_object_size(shown), 7);
    return FAAS_OK;
}

static faas_code change(void *state, faas_err *err)
{
    FAAS_AUTO(json_t) *used = NULL;
    FAAS_AUTO(json_t) *left = NULL;

    (void)state;
    FAAS_TRY(apikey_use(STORED, strlen(STORED), ID, NOW_MS, &used, err));
    assert_int_equal(json_object_size(json_object_get(used, "apikeys")), 1);
    FAAS_TRY(apikey_remove(STORED, strlen(STORED), ID, &left, err));
    assert_int_equal(json_object_size(json_object_get(left, "apikeys")), 0);
    return FAAS_OK;
}

static faas_code look(void *state, faas_err *err)
{
    FAAS_AUTO(json_t) *items = NULL;
    struct apikey key = {.id = ""};
    struct apikey_owner owner;
    bool is_match = false;

    (void)state;
    FAAS_TRY(apikey_list(STORED, strlen(STORED), &items, err));
    assert_int_equal(json_array_size(items), 1);
    FAAS_TRY(apikey_find(STORED, strlen(STORED), ID, HASH, &key, &owner, &is_match, err));
    assert_true(is_match);
    assert_int_equal(key.scope.verbs, FAAS_APIKEY_READ);
    assert_int_equal(key.scope.count, 1);
    return FAAS_OK;
}

static void what_is_kept_is_whole_or_memory_is_blamed(void **state)
{
    (void)state;
    fault_each(add, NULL, 20);
    fault_each(change, NULL, 20);
    fault_each(look, NULL, 20);
}

/* Without memory a key opens nothing: only the last run, in which nothing fails, may pass. */
static faas_code permit(void *state, faas_err *err)
{
    static const char body[] = "{\"name\":\"ci-longer-than-sixteen-bytes\",\"argument\":\"x\"}";
    static const struct gw_key key = {
        .id = ID, .scope = {.verbs = FAAS_APIKEY_INVOKE, .count = 1, .functions = {"ci-*"}}};
    static const struct gw_key other = {
        .id = ID, .scope = {.verbs = FAAS_APIKEY_INVOKE, .count = 1, .functions = {"other"}}};
    struct gw_match match;
    faas_err why = {0};

    (void)state;
    FAAS_TRY(gw_match_route("POST", "/publisher/publish", &match, err));
    FAAS_TRY(permit_key(&key, &match, NULL, body, sizeof body - 1, err));
    assert_int_not_equal(permit_key(&other, &match, NULL, body, sizeof body - 1, &why), FAAS_OK);
    return FAAS_OK;
}

static void a_key_without_memory_opens_nothing(void **state)
{
    (void)state;
    fault_each(permit, NULL, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_is_whole_or_memory_is_blamed),
        cmocka_unit_test(a_key_without_memory_opens_nothing),
    };

    return run_unit(tests);
}
