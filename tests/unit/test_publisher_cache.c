/* Function records in memory: services/publisher/cache.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/publisher/cache.h"

#include <stdio.h>
#include <string.h>

#define TENANT "01890000-0000-7000-8000-000000000001"
#define ID     "01890000-0000-7000-8000-000000000002"

static record *make(int version)
{
    char text[200];
    record *rec = NULL;
    faas_err err = {0};

    snprintf(text, sizeof text, "{\"id\":\"" ID "\",\"name\":\"x\",\"version\":%d}", version);
    assert_int_equal(record_parse("f." TENANT ".k", text, strlen(text), &rec, &err), FAAS_OK);
    return rec;
}

static void put(struct cache *cache, const char *key, int version, uint64_t revision)
{
    FAAS_AUTO(record) *rec = make(version);

    cache_put(cache, key, rec, revision);
}

static void what_was_put_last_under_a_key_is_found(void **state)
{
    struct cache cache;

    (void)state;
    cache_init(&cache, 10, 1 << 20);
    put(&cache, "a", 1, 5);
    put(&cache, "b", 2, 6);
    put(&cache, "a", 3, 7);
    assert_int_equal(cache_get(&cache, "a")->version, 3);
    assert_int_equal(cache_revision(&cache, "a"), 7);
    assert_int_equal(cache_revision(&cache, "c"), 0);
    assert_int_equal(cache.len, 2);
    cache_remove(&cache, "a");
    cache_remove(&cache, "a");
    assert_null(cache_get(&cache, "a"));
    assert_false(cache_has(&cache, "a"));
    cache_done(&cache);
}

static void the_least_recently_used_leaves_first(void **state)
{
    struct cache cache;

    (void)state;
    cache_init(&cache, 3, 1 << 20);
    put(&cache, "a", 1, 1);
    put(&cache, "b", 1, 2);
    put(&cache, "c", 1, 3);
    assert_non_null(cache_get(&cache, "a"));
    assert_true(cache_has(&cache, "b")); /* asking whether it is there is no use */
    put(&cache, "d", 1, 4);
    assert_false(cache_has(&cache, "b"));
    assert_true(cache_has(&cache, "a"));
    assert_true(cache_has(&cache, "c"));
    cache_done(&cache);
}

static void bytes_are_bounded_and_counted_back_to_zero(void **state)
{
    struct cache cache;
    size_t one;

    (void)state;
    cache_init(&cache, 1000, 1 << 20);
    put(&cache, "a", 1, 1);
    one = cache.bytes;
    cache_done(&cache);
    assert_int_equal(cache.bytes, 0);
    cache_init(&cache, 1000, 4 * one);
    for (int i = 0; i < 50; i++) {
        char key[16];

        snprintf(key, sizeof key, "k%d", i);
        put(&cache, key, 1, 1);
        assert_true(cache.bytes <= 4 * one);
    }
    assert_int_equal(cache.len, 4);
    assert_true(cache_has(&cache, "k49"));
    cache_done(&cache);
    assert_int_equal(cache.len, 0);
}

static void a_call_keeps_its_record_when_the_cache_drops_it(void **state)
{
    struct cache cache;
    record *mine;

    (void)state;
    cache_init(&cache, 1, 1 << 20);
    put(&cache, "a", 7, 1);
    mine = record_ref(cache_get(&cache, "a"));
    put(&cache, "b", 8, 2);
    assert_false(cache_has(&cache, "a"));
    assert_int_equal(mine->version, 7);
    cache_put(&cache, "b", cache_get(&cache, "b"), 3); /* its own value again */
    assert_int_equal(cache_get(&cache, "b")->version, 8);
    record_unref(mine);
    cache_done(&cache);
    cache_done(&(struct cache){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_last_under_a_key_is_found),
        cmocka_unit_test(the_least_recently_used_leaves_first),
        cmocka_unit_test(bytes_are_bounded_and_counted_back_to_zero),
        cmocka_unit_test(a_call_keeps_its_record_when_the_cache_drops_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
