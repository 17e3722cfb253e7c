/* What an Authorization field holds, and what an API key may do: each row of the route table. */
#include "gateway/permit.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "gateway/credential.h"
#include "tests/unit/unit.h"

#define ID  "00112233aabbccdd"
#define KEY "faas_" ID "_0123456789abcdef0123456789abcdef0123456789abcdef"

static faas_err err;

/* ---- the field ---- */

static enum credential_kind kind_of(const char *field)
{
    struct credential credential;

    credential_read(field, &credential);
    if (credential.kind == CREDENTIAL_KEY)
        assert_string_equal(credential.id, ID);
    return credential.kind;
}

static enum credential_kind basic(const char *pair, size_t len)
{
    char encoded[2048], field[2100];

    sodium_bin2base64(encoded, sizeof encoded, (const unsigned char *)pair, len,
                      sodium_base64_VARIANT_ORIGINAL);
    (void)snprintf(field, sizeof field, "Basic %s", encoded);
    return kind_of(field);
}

static void tokens_and_keys_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(kind_of(NULL), CREDENTIAL_NONE);
    assert_int_equal(kind_of(""), CREDENTIAL_NONE);
    assert_int_equal(kind_of("Bearer"), CREDENTIAL_NONE);
    assert_int_equal(kind_of("bearer a.b.c"), CREDENTIAL_TOKEN);
    assert_int_equal(kind_of("a.b.c"), CREDENTIAL_TOKEN);
    assert_int_equal(kind_of("Bearer " KEY), CREDENTIAL_KEY);
    assert_int_equal(kind_of("BEARER   " KEY), CREDENTIAL_KEY);
    assert_int_equal(kind_of(KEY), CREDENTIAL_KEY);
    assert_int_equal(kind_of("Bearer " KEY "0"), CREDENTIAL_BAD_KEY);
    assert_int_equal(kind_of("Bearer " KEY " x"), CREDENTIAL_BAD_KEY);
    assert_int_equal(kind_of("Bearer faas_"), CREDENTIAL_BAD_KEY);
    assert_int_equal(kind_of("Digest " KEY), CREDENTIAL_BAD);
    assert_int_equal(kind_of("Token " KEY), CREDENTIAL_BAD);
}

static void basic_takes_a_key_as_the_password_of_anybody(void **state)
{
    static char huge[1500];

    (void)state;
    assert_int_equal(basic("admin:" KEY, strlen("admin:" KEY)), CREDENTIAL_KEY);
    assert_int_equal(basic(":" KEY, strlen(":" KEY)), CREDENTIAL_KEY);
    assert_int_equal(basic(KEY, strlen(KEY)), CREDENTIAL_BAD_KEY);
    assert_int_equal(basic("admin:password", 14), CREDENTIAL_BAD_KEY);
    assert_int_equal(basic("admin:", 6), CREDENTIAL_BAD_KEY);
    assert_int_equal(basic("a:b:" KEY, strlen("a:b:" KEY)),
                     CREDENTIAL_BAD_KEY); /* password "b:..." */
    assert_int_equal(basic("admin:" KEY "\0x", strlen(KEY) + 8), CREDENTIAL_BAD_KEY);
    memset(huge, 'u', sizeof huge);
    assert_int_equal(basic(huge, sizeof huge), CREDENTIAL_BAD_KEY);
    assert_int_equal(kind_of("Basic"), CREDENTIAL_BAD_KEY);
    assert_int_equal(kind_of("Basic !!!"), CREDENTIAL_BAD_KEY);
    assert_int_equal(kind_of("Basic " KEY), CREDENTIAL_BAD_KEY);
}

/* ---- what a key may ---- */

static faas_code may(const struct gw_key *key, const char *method, const char *path,
                     const char *query, const char *body)
{
    struct gw_match match;

    memset(&err, 0, sizeof err);
    assert_ok(gw_match_route(method, path, &match, &err));
    return permit_key(key, &match, query, body, body != NULL ? strlen(body) : 0, &err);
}

static struct gw_key key_for(unsigned verbs, const char *function)
{
    struct gw_key key = {.id = ID, .scope = {.verbs = verbs, .count = 1}};

    (void)snprintf(key.scope.functions[0], sizeof key.scope.functions[0], "%s", function);
    return key;
}

static const unsigned all_verbs = FAAS_APIKEY_INVOKE | FAAS_APIKEY_READ | FAAS_APIKEY_DEPLOY;

/* Every row with every single verb: a key passes exactly where the row says so, and one with none
 * passes nowhere but at what is open or about the caller. */
static void each_row_takes_its_own_verb_and_no_other(void **state)
{
    static const struct {
        enum gw_access access;
        unsigned verbs;
    } expected[] = {
        {GW_PERSON, 0},
        {GW_PUBLIC, ~0u},
        {GW_ANY, ~0u},
        {GW_INVOKE, FAAS_APIKEY_INVOKE},
        {GW_READ, FAAS_APIKEY_READ},
        {GW_DEPLOY, FAAS_APIKEY_DEPLOY},
        {GW_ADMIN, 0},
        {GW_OTHER, 0},
    };

    (void)state;
    for (const struct gw_route *route = gw_routes; route->method != NULL; route++) {
        unsigned verbs = expected[route->access].verbs;

        assert_int_equal(expected[route->access].access, route->access);
        for (unsigned verb = 0; verb <= FAAS_APIKEY_DEPLOY; verb = verb == 0 ? 1 : verb << 1) {
            const struct gw_key key = key_for(verb, "*");
            bool is_open = verbs == ~0u || (verbs & verb) != 0;

            assert_int_equal(may(&key, route->method, route->path, NULL, "{}"),
                             is_open ? FAAS_OK : FAAS_DENIED);
        }
    }
}

static void a_row_that_says_nothing_is_closed(void **state)
{
    static const struct gw_route silent = {.method = "POST", .path = "/new", .what = GW_FORWARD};
    const struct gw_match match = {.route = &silent};
    const struct gw_key key = key_for(all_verbs, "*");

    (void)state;
    assert_int_equal(permit_key(&key, &match, NULL, "{}", 2, &err), FAAS_DENIED);
}

static void a_key_never_makes_or_lists_keys_or_changes_the_account(void **state)
{
    const struct gw_key key = key_for(all_verbs, "*");

    (void)state;
    assert_int_equal(may(&key, "GET", "/auth/keys", NULL, NULL), FAAS_DENIED);
    assert_int_equal(may(&key, "POST", "/auth/keys", NULL, "{\"name\":\"x\"}"), FAAS_DENIED);
    assert_contains(err.msg, "POST /auth/login");
    assert_int_equal(may(&key, "DELETE", "/auth/keys/" ID, NULL, NULL), FAAS_DENIED);
    assert_int_equal(may(&key, "PUT", "/auth/password", NULL, "{}"), FAAS_DENIED);
    assert_int_equal(may(&key, "POST", "/auth/logout", NULL, "{}"), FAAS_DENIED);
    assert_ok(may(&key, "GET", "/auth/validate", NULL, NULL));
}

static void the_refusal_names_the_verb(void **state)
{
    const struct gw_key key = key_for(FAAS_APIKEY_INVOKE, "*");

    (void)state;
    assert_int_equal(may(&key, "GET", "/v1/functions", NULL, NULL), FAAS_DENIED);
    assert_string_equal(err.msg, "this API key lacks the verb read");
    assert_int_equal(may(&key, "DELETE", "/registry/delete", "name=a", NULL), FAAS_DENIED);
    assert_string_equal(err.msg, "this API key lacks the verb deploy");
}

static void a_key_for_some_functions_touches_no_other(void **state)
{
    static const struct {
        const char *method, *path, *query, *body; /* %s: the function */
    } about[] = {
        {"POST", "/function/%s", NULL, "hi"},
        {"GET", "/function/%s", "a=b", NULL},
        {"POST", "/async-function/%s", NULL, "hi"},
        {"POST", "/publisher/publish", NULL, "{\"name\":\"%s\",\"argument\":\"x\"}"},
        {"POST", "/registry/register", NULL, "{\"name\":\"%s\",\"payload\":\"x\"}"},
        {"PUT", "/registry/update", NULL, "{\"name\":\"%s\"}"},
        {"POST", "/registry/update", NULL, "{\"name\":\"%s\"}"},
        {"GET", "/registry/retrieve", "name=%s", NULL},
        {"GET", "/registry/retrieve", NULL, "{\"name\":\"%s\"}"},
        {"DELETE", "/registry/delete", "name=%s", NULL},
        {"POST", "/v1/functions", NULL, "{\"name\":\"%s\"}"},
        {"GET", "/v1/functions/%s", NULL, NULL},
        {"PUT", "/v1/functions/%s", NULL, "{}"},
        {"PATCH", "/v1/functions/%s", NULL, "{}"},
        {"DELETE", "/v1/functions/%s", NULL, NULL},
        {"GET", "/v1/functions/%s/versions", NULL, NULL},
        {"POST", "/v1/functions/%s/refresh", NULL, "{}"},
        {"GET", "/v1/calls", "function=%s&limit=3", NULL},
        {"POST", "/system/functions", NULL, "{\"service\":\"%s\",\"image\":\"x\"}"},
        {"PUT", "/system/functions", NULL, "{\"service\":\"%s\",\"image\":\"x\"}"},
        {"DELETE", "/system/functions", NULL, "{\"functionName\":\"%s\"}"},
        {"GET", "/system/function/%s", NULL, NULL},
        {"POST", "/system/scale-function/%s", NULL, "{\"serviceName\":\"ci-a\"}"},
    };
    static const struct {
        const char *name;
        bool is_open;
    } names[] = {
        {"ci-a", true},   {"ci-", true},  {"ci-a:live", true}, {"ci-a@3", true},
        {"other", false}, {"ci", false},  {"Ci-a", false},     {"xci-a", false},
        {"*", false},     {"ci*", false}, {"x:ci-a", false},   {"@ci-a", false},
    };
    const struct gw_key key = key_for(all_verbs, "ci-*");
    char path[128], query[128], body[128];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(about) * FAAS_ARRAY_LEN(names); i++) {
        const char *name = names[i % FAAS_ARRAY_LEN(names)].name;
        size_t row = i / FAAS_ARRAY_LEN(names);
        const char *has_query = about[row].query, *has_body = about[row].body;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void)snprintf(path, sizeof path, about[row].path, name);
        (void)snprintf(query, sizeof query, has_query != NULL ? has_query : "%s", name);
        (void)snprintf(body, sizeof body, has_body != NULL ? has_body : "%s", name);
#pragma GCC diagnostic pop
        assert_int_equal(may(&key, about[row].method, path, has_query != NULL ? query : NULL,
                             has_body != NULL ? body : NULL),
                         names[i % FAAS_ARRAY_LEN(names)].is_open ? FAAS_OK : FAAS_DENIED);
    }
}

/* A function reads the secrets that it names, and they are not its own. */
static void a_key_for_some_functions_gives_none_of_them_secrets(void **state)
{
    static const struct {
        const char *method, *path;
    } rows[] = {
        {"POST", "/registry/register"}, {"PUT", "/registry/update"},
        {"POST", "/registry/update"},   {"POST", "/v1/functions"},
        {"PUT", "/v1/functions/ci-a"},  {"PATCH", "/v1/functions/ci-a"},
    };
    const struct gw_key some = key_for(all_verbs, "ci-*"), all = key_for(all_verbs, "*");

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        bool is_named = strstr(rows[i].path, "ci-a") == NULL;
        const char *with =
            is_named ? "{\"name\":\"ci-a\",\"secrets\":[\"s\"]}" : "{\"secrets\":[\"s\"]}";
        const char *none = is_named ? "{\"name\":\"ci-a\",\"secrets\":[]}" : "{\"secrets\":[]}";

        assert_int_equal(may(&some, rows[i].method, rows[i].path, NULL, with), FAAS_DENIED);
        assert_int_equal(may(&some, rows[i].method, rows[i].path, NULL, none), FAAS_OK);
        assert_int_equal(may(&all, rows[i].method, rows[i].path, NULL, with), FAAS_OK);
    }
    assert_int_equal(may(&some, "POST", "/function/ci-a", NULL, "{\"secrets\":[\"s\"]}"), FAAS_OK);
}

/* Whatever is about everything, or about a call whose function the gateway does not know. */
static void a_key_for_some_functions_sees_no_lists(void **state)
{
    static const char *const paths[] = {
        "GET /registry/list",     "GET /v1/functions",
        "GET /v1/calls",          "GET /v1/calls/x",
        "GET /v1/calls/x/result", "GET /v1/calls/x/logs",
        "DELETE /v1/calls/x",     "GET /v1/dead-letters",
        "GET /v1/dead-letters/x", "POST /v1/dead-letters/x/redrive",
    };
    const struct gw_key key = key_for(all_verbs, "ci-*");
    char method[8];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(paths); i++) {
        size_t len = strcspn(paths[i], " ");

        (void)snprintf(method, sizeof method, "%.*s", (int)len, paths[i]);
        assert_int_equal(may(&key, method, paths[i] + len + 1, NULL, NULL), FAAS_DENIED);
        assert_contains(err.msg, "some functions only");
        /* nor by claiming a name that nobody asked for */
        assert_int_equal(may(&key, method, paths[i] + len + 1, "name=ci-a", NULL), FAAS_DENIED);
    }
}

static void a_name_in_no_readable_form_opens_nothing(void **state)
{
    static const char *const bodies[] = {
        "",
        "{}",
        "[]",
        "ci-a",
        "{\"name\":null}",
        "{\"name\":7}",
        "{\"name\":[\"ci-a\"]}",
        "{\"name\":\"ci-a\",\"name\":\"other\"}",
        "{\"name\":\"other\",\"name\":\"ci-a\"}",
        "{\"NAME\":\"ci-a\"}",
        "{\"name\":\"ci-a\"} {\"name\":\"other\"}",
        "{\"name\":\"ci-a\\u0000\"}",
    };
    const struct gw_key key = key_for(all_verbs, "ci-*");

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bodies); i++)
        assert_int_not_equal(may(&key, "POST", "/publisher/publish", NULL, bodies[i]), FAAS_OK);
    assert_int_not_equal(may(&key, "GET", "/registry/retrieve", "name=ci-a&name=other", NULL),
                         FAAS_OK);
    assert_int_not_equal(
        may(&key, "GET", "/registry/retrieve", "name=ci-a", "{\"name\":\"other\"}"), FAAS_OK);
    assert_int_not_equal(
        may(&key, "POST", "/publisher/publish", "name=ci-a", "{\"name\":\"other\"}"), FAAS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_and_keys_are_told_apart),
        cmocka_unit_test(basic_takes_a_key_as_the_password_of_anybody),
        cmocka_unit_test(each_row_takes_its_own_verb_and_no_other),
        cmocka_unit_test(a_row_that_says_nothing_is_closed),
        cmocka_unit_test(a_key_never_makes_or_lists_keys_or_changes_the_account),
        cmocka_unit_test(the_refusal_names_the_verb),
        cmocka_unit_test(a_key_for_some_functions_touches_no_other),
        cmocka_unit_test(a_key_for_some_functions_gives_none_of_them_secrets),
        cmocka_unit_test(a_key_for_some_functions_sees_no_lists),
        cmocka_unit_test(a_name_in_no_readable_form_opens_nothing),
    };

    return run_unit(tests);
}
