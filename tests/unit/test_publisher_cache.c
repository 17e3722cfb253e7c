/* Function records in memory: services/publisher/cache.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/publisher/cache.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#define TENANT "01890000-0000-7000-8000-000000000001"
#define SEEN   10000
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

/* A record as the registry stores it, of the n-th function. */
static size_t stored(int n, char *out, size_t size)
{
    int len =
        snprintf(out, size,
                 "{\"v\":1,\"op\":\"0123456789abcdef0123456789abcdef\","
                 "\"id\":\"01890000-0000-7000-8000-%012d\",\"uuid\":\"" TENANT "\","
                 "\"name\":\"thumbnail-of-an-uploaded-image-%d\",\"description\":\"%0200d\","
                 "\"payload\":\"registry.example.net:5000/pictures/thumbnail:2026-11\","
                 "\"reference\":\"registry.example.net:5000/pictures/thumbnail:2026-11\","
                 "\"command\":[\"/usr/bin/python3\",\"-m\",\"thumbnail\"],"
                 "\"digest\":{\"kind\":\"manifest\",\"value\":\"sha256:%064d\"},\"version\":12,"
                 "\"created_at\":1700000000000,\"updated_at\":1700000000000,\"timeout_ms\":30000,"
                 "\"start_timeout_ms\":30000,\"max_wait_ms\":0,\"concurrency\":0,"
                 "\"limits\":{\"memory_mb\":128,\"cpus\":1.0,\"pids\":128,\"tmp_mb\":64,"
                 "\"output_mb\":6},\"input\":\"stdin\",\"env\":{\"MODE\":\"production\","
                 "\"SIZE\":\"320x200\",\"TZ\":\"Europe/Berlin\"},\"secrets\":[\"store-key\"],"
                 "\"network\":\"outbound\",\"reuse\":\"fresh\",\"isolation\":\"docker\","
                 "\"retry\":{\"idempotent\":false,\"attempts\":3,\"backoff_ms\":200,\"on\":[]},"
                 "\"labels\":{\"team\":\"pictures\"}}",
                 n, n, n, n);

    assert_true(len > 0 && (size_t)len < size);
    return (size_t)len;
}

static void put_stored(struct cache *cache, int n)
{
    char text[4000], name[32], key[RECORD_KEY_MAX];
    size_t len = stored(n, text, sizeof text);
    record *rec = NULL;
    faas_err err = {0};

    snprintf(name, sizeof name, "f%d", n);
    record_key(TENANT, name, key);
    assert_int_equal(record_parse(key, text, len, &rec, &err), FAAS_OK);
    cache_put(cache, key, rec, 1);
    record_unref(rec);
}

/* What the allocator itself says is in use, with all it adds. */
static size_t in_use(void)
{
    return mallinfo2().uordblks;
}

static void skip_under_sanitizers(void)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    skip(); /* their allocators count nothing here */
#endif
}

static void a_cached_function_takes_at_most_two_kilobytes(void **state)
{
    struct cache cache;
    size_t before = in_use(), taken;

    (void)state;
    skip_under_sanitizers();
    cache_init(&cache, SEEN, 1 << 30);
    for (int n = 0; n < SEEN; n++)
        put_stored(&cache, n);
    taken = in_use() - before;
    print_message("%zu bytes a function, counted as %zu\n", taken / SEEN, cache.bytes / SEEN);
    assert_int_equal(cache.len, SEEN);
    assert_true(taken / SEEN <= 2000);
    assert_true(taken / SEEN > sizeof(struct record)); /* it was measured at all */
    assert_true(taken <= cache.bytes + cache.bytes / 20);
    cache_done(&cache);
    assert_true(in_use() < before + 100000);
}

/* However many functions there are, memory stays within the bound. */
static void a_hundred_thousand_functions_stay_within_the_bound(void **state)
{
    const size_t bound = 8 << 20;
    struct cache cache;
    size_t before = in_use(), most = 0;

    (void)state;
    skip_under_sanitizers();
    cache_init(&cache, 1000000, bound);
    for (int n = 0; n < 100000; n++) {
        put_stored(&cache, n);
        if (n % 1000 == 0 && in_use() - before > most)
            most = in_use() - before;
    }
    assert_true(cache.len > SEEN / 4 && cache.len < SEEN);
    assert_true(cache.bytes <= bound);
    assert_true(most <= bound + bound / 20);
    cache_done(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_last_under_a_key_is_found),
        cmocka_unit_test(the_least_recently_used_leaves_first),
        cmocka_unit_test(bytes_are_bounded_and_counted_back_to_zero),
        cmocka_unit_test(a_cached_function_takes_at_most_two_kilobytes),
        cmocka_unit_test(a_hundred_thousand_functions_stay_within_the_bound),
        cmocka_unit_test(a_call_keeps_its_record_when_the_cache_drops_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
