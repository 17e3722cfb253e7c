/* What is a function's own and no version's: services/registry/function_own.c. */
#include <stdio.h>
#include <string.h>

#include "contract.h"
#include "services/registry/function.h"
#include "tests/unit/unit.h"

#define USER "0190c8f6-0000-7000-8000-000000000001"

static const struct faas_ctx caller = {.user = USER, .tenant = USER};

static const char head[] =
    "{\"v\":1,\"id\":\"" USER "\",\"uuid\":\"" USER "\",\"name\":\"f\",\"payload\":\"i:1\","
    "\"version\":5,\"created_at\":1000,\"updated_at\":5000,\"digest\":{\"kind\":\"store\","
    "\"value\":\"sha256:05\"},\"reference\":\"i@5\",\"command\":[],\"timeout_ms\":500,"
    "\"env\":{\"V\":\"5\"},\"later\":5,\"disabled\":true,"
    "\"aliases\":{\"live\":{\"versions\":{\"3\":90,\"4\":10},\"later\":1}}}";
static const char second[] =
    "{\"v\":1,\"id\":\"" USER "\",\"uuid\":\"" USER "\",\"name\":\"f\",\"payload\":\"i:0\","
    "\"version\":2,\"created_at\":1000,\"updated_at\":2000,\"digest\":{\"kind\":\"store\","
    "\"value\":\"sha256:02\"},\"reference\":\"i@2\",\"command\":[],\"timeout_ms\":200,"
    "\"env\":{\"V\":\"2\"},\"later\":2,\"aliases\":{\"old\":{\"versions\":{\"1\":1}}}}";

static json_t *json(const char *text)
{
    json_t *doc = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

    if (doc == NULL)
        fail_msg("test data: %s", text);
    return doc;
}

static void has(const json_t *doc, const char *key, const char *want)
{
    FAAS_AUTO(char) *text = json_dumps(json_object_get(doc, key), JSON_ENCODE_ANY | JSON_COMPACT);

    assert_string_equal(text != NULL ? text : "absent", want);
}

static faas_code read_parts(const char *body, json_t **out_parts, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = json(body);
    const struct function_alias alias = {"live", json_object_get(doc, "version"),
                                         json_object_get(doc, "versions")};

    return function_read_parts(&alias, out_parts, err);
}

static void versions_and_weights_are_kept_in_one_order(void **state)
{
    static const char *const bodies[][2] = {
        {"{\"version\":3}", "{\"3\":1}"},
        {"{\"version\":3,\"versions\":null}", "{\"3\":1}"},
        {"{\"versions\":{\"10\":10,\"9\":90}}", "{\"9\":90,\"10\":10}"},
        {"{\"versions\":{\"2147483647\":1000000}}", "{\"2147483647\":1000000}"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bodies); i++) {
        FAAS_AUTO(json_t) *parts = NULL;
        FAAS_AUTO(char) *text = NULL;
        faas_err err = {0};

        assert_int_equal(read_parts(bodies[i][0], &parts, &err), FAAS_OK);
        text = json_dumps(parts, JSON_COMPACT);
        assert_string_equal(text, bodies[i][1]);
    }
}

static void other_versions_and_weights_are_refused(void **state)
{
    static const char *const bodies[][2] = {
        {"{}", "version, versions: one of them"},
        {"{\"version\":3,\"versions\":{\"3\":1}}", "version, versions: one of them"},
        {"{\"version\":\"3\"}", "version: expected an integer"},
        {"{\"version\":3.5}", "version: expected an integer"},
        {"{\"version\":0}", "version: 1 to 2147483647"},
        {"{\"version\":-1}", "version: 1 to 2147483647"},
        {"{\"version\":2147483648}", "version: 1 to 2147483647"},
        {"{\"versions\":{}}", "versions: expected 1 to 8"},
        {"{\"versions\":[3]}", "versions: expected 1 to 8"},
        {"{\"versions\":{\"1\":1,\"2\":1,\"3\":1,\"4\":1,\"5\":1,\"6\":1,\"7\":1,\"8\":1,"
         "\"9\":1}}",
         "versions: expected 1 to 8"},
        {"{\"versions\":{\"0\":1}}", "versions: a name in it is a version"},
        {"{\"versions\":{\"03\":1}}", "versions: a name in it is a version"},
        {"{\"versions\":{\"\":1}}", "versions: a name in it is a version"},
        {"{\"versions\":{\"3:x\":1}}", "versions: a name in it is a version"},
        {"{\"versions\":{\"99999999999999999999999999999999999\":1}}",
         "versions: a name in it is a version"},
        {"{\"versions\":{\"3\":0}}", "versions.3: expected a weight"},
        {"{\"versions\":{\"3\":-5}}", "versions.3: expected a weight"},
        {"{\"versions\":{\"3\":1.5}}", "versions.3: expected a weight"},
        {"{\"versions\":{\"3\":\"90\"}}", "versions.3: expected a weight"},
        {"{\"versions\":{\"3\":null}}", "versions.3: expected a weight"},
        {"{\"versions\":{\"3\":1000001}}", "versions.3: expected a weight"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bodies); i++) {
        FAAS_AUTO(json_t) *parts = NULL;
        faas_err err = {0};

        assert_int_equal(read_parts(bodies[i][0], &parts, &err), FAAS_INVALID);
        assert_contains(err.msg, bodies[i][1]);
        assert_null(parts);
    }
}

static void an_alias_changes_the_head_and_no_version(void **state)
{
    FAAS_AUTO(json_t) *doc = json(head);
    FAAS_AUTO(json_t) *parts = json("{\"5\":1}");
    FAAS_AUTO(json_t) *more = NULL;
    FAAS_AUTO(json_t) *less = NULL;

    (void)state;
    assert_ok(function_set_alias(doc, "next", parts, &more, NULL));
    has(more, "aliases",
        "{\"live\":{\"versions\":{\"3\":90,\"4\":10},\"later\":1},\"next\":{\"versions\":{\"5\":1}}"
        "}");
    has(more, "version", "5");
    has(more, "updated_at", "5000");
    assert_ok(function_set_alias(more, "live", NULL, &less, NULL));
    has(less, "aliases", "{\"next\":{\"versions\":{\"5\":1}}}");
    has(doc, "aliases", "{\"live\":{\"versions\":{\"3\":90,\"4\":10},\"later\":1}}");
}

static void an_unknown_alias_cannot_be_removed_nor_a_33rd_be_made(void **state)
{
    FAAS_AUTO(json_t) *doc = json(second);
    FAAS_AUTO(json_t) *parts = json("{\"2\":1}");
    FAAS_AUTO(json_t) *none = NULL;
    faas_err err = {0};
    char name[16];

    (void)state;
    assert_int_equal(function_set_alias(doc, "live", NULL, &none, &err), FAAS_NOT_FOUND);
    for (int i = 1; i < FAAS_ALIASES_MAX; i++) {
        json_t *next = NULL;

        (void)snprintf(name, sizeof name, "a%d", i);
        assert_ok(function_set_alias(doc, name, parts, &next, NULL));
        json_decref(doc);
        doc = next;
    }
    assert_int_equal(function_set_alias(doc, "onemore", parts, &none, &err), FAAS_CONFLICT);
    assert_contains(err.msg, "32 aliases, the most allowed");
    assert_ok(function_set_alias(doc, "a1", parts, &none, NULL));
}

static void going_back_keeps_what_is_the_functions_own(void **state)
{
    FAAS_AUTO(json_t) *now = json(head);
    FAAS_AUTO(json_t) *then = json(second);
    FAAS_AUTO(json_t) *next = NULL;
    FAAS_AUTO(json_t) *other = NULL;

    (void)state;
    assert_ok(function_back(now, then, &next, NULL));
    has(next, "version", "6");
    has(next, "created_at", "1000");
    assert_true(json_integer_value(json_object_get(next, "updated_at")) > 5000);
    has(next, "digest", "{\"kind\":\"store\",\"value\":\"sha256:02\"}");
    has(next, "reference", "\"i@2\"");
    has(next, "payload", "\"i:0\"");
    has(next, "env", "{\"V\":\"2\"}");
    has(next, "timeout_ms", "200");
    has(next, "later", "2");
    has(next, "disabled", "true");
    has(next, "aliases", "{\"live\":{\"versions\":{\"3\":90,\"4\":10},\"later\":1}}");
    assert_int_equal(json_object_del(now, "aliases"), 0);
    assert_ok(function_back(now, then, &other, NULL));
    has(other, "aliases", "absent"); /* the version's own copy is of its time */
}

static faas_code change(const json_t *doc, enum function_verb verb, const char *text,
                        json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *body = json(text);
    struct function_want want;

    FAAS_TRY(function_read(body, verb, &caller, &want, err));
    return function_change(doc, &want, verb, out_doc, err);
}

static void disabling_alone_makes_no_version(void **state)
{
    FAAS_AUTO(json_t) *doc = json(head);
    FAAS_AUTO(json_t) *on = NULL;
    FAAS_AUTO(json_t) *off = NULL;
    FAAS_AUTO(json_t) *both = NULL;
    FAAS_AUTO(json_t) *replaced = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(change(doc, FUNCTION_UPDATE, "{\"name\":\"f\",\"disabled\":false}", &on, &err));
    has(on, "version", "5");
    has(on, "disabled", "false");
    has(on, "updated_at", "5000");
    assert_ok(change(on, FUNCTION_UPDATE, "{\"name\":\"f\",\"disabled\":true}", &off, &err));
    assert_true(json_equal(off, doc));
    assert_ok(change(on, FUNCTION_UPDATE, "{\"name\":\"f\",\"disabled\":true,\"timeout_ms\":700}",
                     &both, &err));
    has(both, "version", "6");
    has(both, "disabled", "true");
    assert_ok(
        change(doc, FUNCTION_REPLACE, "{\"name\":\"f\",\"payload\":\"i:2\"}", &replaced, &err));
    has(replaced, "disabled", "true");
    has(replaced, "aliases", "{\"live\":{\"versions\":{\"3\":90,\"4\":10},\"later\":1}}");
    json_decref(on);
    on = NULL;
    assert_int_equal(
        change(doc, FUNCTION_UPDATE, "{\"name\":\"f\",\"disabled\":\"yes\"}", &on, &err),
        FAAS_INVALID);
    assert_string_equal(err.msg, "disabled: expected boolean, got string");
    assert_int_equal(change(doc, FUNCTION_UPDATE, "{\"name\":\"f\",\"aliases\":{}}", &on, &err),
                     FAAS_INVALID);
    assert_string_equal(err.msg, "aliases: unknown field");
}

static void people_see_it_of_heads_and_not_of_versions(void **state)
{
    FAAS_AUTO(json_t) *doc = json(head);
    FAAS_AUTO(json_t) *shown = function_public(doc);
    FAAS_AUTO(json_t) *version = function_public_version(doc);
    FAAS_AUTO(json_t) *items = json_array();

    (void)state;
    has(shown, "disabled", "true");
    has(shown, "aliases", "{\"live\":{\"3\":90,\"4\":10}}");
    assert_null(json_object_get(version, "disabled"));
    assert_null(json_object_get(version, "aliases"));
    assert_int_equal(json_array_append(items, shown), 0);
    function_hide_own(items);
    assert_true(json_equal(json_array_get(items, 0), version));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_and_weights_are_kept_in_one_order),
        cmocka_unit_test(other_versions_and_weights_are_refused),
        cmocka_unit_test(an_alias_changes_the_head_and_no_version),
        cmocka_unit_test(an_unknown_alias_cannot_be_removed_nor_a_33rd_be_made),
        cmocka_unit_test(going_back_keeps_what_is_the_functions_own),
        cmocka_unit_test(disabling_alone_makes_no_version),
        cmocka_unit_test(people_see_it_of_heads_and_not_of_versions),
    };

    return run_unit(tests);
}
