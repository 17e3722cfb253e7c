/* What a registry knows of secrets from the bucket's changes. */
#include <stdio.h>
#include <string.h>

#include "services/registry/secret_index.h"
#include "tests/unit/unit.h"

#define ANN "0190c8f6-0000-7000-8000-00000000000a"
#define BOB "0190c8f6-0000-7000-8000-00000000000b"

static struct secret_index all;

static int begin(void **state)
{
    (void)state;
    secret_index_init(&all);
    return 0;
}

static int end(void **state)
{
    (void)state;
    secret_index_done(&all);
    return 0;
}

static void put(const char *tenant, const char *name, int size)
{
    char key[SECRET_KEY_MAX], value[256];
    int len = snprintf(value, sizeof value,
                       "{\"v\":1,\"op\":\"x\",\"name\":\"%s\",\"created_at\":1000,"
                       "\"updated_at\":%d,\"size\":%d,\"sealed\":\"QUJD\",\"newer\":[1]}",
                       name, 2000 + size, size);
    faas_err err;

    secret_key(tenant, name, key);
    assert_ok(secret_index_apply(&all, key, value, (size_t)len, &err));
}

static void drop(const char *tenant, const char *name)
{
    char key[SECRET_KEY_MAX];
    faas_err err;

    secret_key(tenant, name, key);
    assert_ok(secret_index_apply(&all, key, NULL, 0, &err));
}

static void lists_are(const char *tenant, const char *expected)
{
    FAAS_AUTO(json_t) *items = NULL;
    FAAS_AUTO(char) *text = NULL;
    faas_err err;

    assert_ok(secret_index_list(&all, tenant, false, &items, &err));
    text = faas_json_text(items, NULL);
    assert_string_equal(text, expected);
}

static void a_list_is_one_users_by_name_and_shows_no_value(void **state)
{
    (void)state;
    put(ANN, "zeta", 3);
    put(ANN, "alpha", 5);
    put(BOB, "alpha", 9);
    lists_are(ANN, "[{\"name\":\"alpha\",\"created_at\":\"1970-01-01T00:00:01.000Z\","
                   "\"updated_at\":\"1970-01-01T00:00:02.005Z\",\"size\":5},"
                   "{\"name\":\"zeta\",\"created_at\":\"1970-01-01T00:00:01.000Z\","
                   "\"updated_at\":\"1970-01-01T00:00:02.003Z\",\"size\":3}]");
    assert_int_equal(secret_index_count(&all, ANN), 2);
    assert_int_equal(secret_index_count(&all, BOB), 1);
    assert_true(secret_index_has(&all, BOB, "alpha"));
    assert_false(secret_index_has(&all, BOB, "zeta"));
}

static void a_change_replaces_and_a_removal_removes(void **state)
{
    (void)state;
    put(ANN, "alpha", 7);
    assert_int_equal(secret_index_count(&all, ANN), 2);
    drop(ANN, "alpha");
    drop(ANN, "alpha");
    drop(ANN, "never-there");
    assert_false(secret_index_has(&all, ANN, "alpha"));
    assert_true(secret_index_has(&all, BOB, "alpha"));
    assert_int_equal(secret_index_count(&all, ANN), 1);
}

static void what_is_no_secret_is_passed_over_or_told(void **state)
{
    faas_err err = {0};
    char key[SECRET_KEY_MAX], long_key[200];

    (void)state;
    memset(long_key, 'a', sizeof long_key - 1);
    memcpy(long_key, "s.", 2);
    long_key[sizeof long_key - 1] = '\0';
    assert_ok(secret_index_apply(&all, "ready.1", "x", 1, &err));
    assert_ok(secret_index_apply(&all, long_key, "x", 1, &err));
    secret_key(BOB, "odd", key);
    assert_int_equal(secret_index_apply(&all, key, "not JSON", 8, &err), FAAS_INTERNAL);
    assert_int_equal(secret_index_apply(&all, key, "{\"name\":1}", 10, &err), FAAS_INTERNAL);
    assert_false(secret_index_has(&all, BOB, "odd"));
    lists_are("0190c8f6-0000-7000-8000-00000000000c", "[]");
}

static void keys_hold_no_name(void **state)
{
    char key[SECRET_KEY_MAX];

    (void)state;
    secret_key(ANN, "password-of-the-db", key);
    assert_null(strstr(key, "password"));
    assert_int_equal(strlen(key), 2 + 36 + 1 + 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_one_users_by_name_and_shows_no_value),
        cmocka_unit_test(a_change_replaces_and_a_removal_removes),
        cmocka_unit_test(what_is_no_secret_is_passed_over_or_told),
        cmocka_unit_test(keys_hold_no_name),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
