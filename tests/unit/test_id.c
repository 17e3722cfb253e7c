#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"

#define THREADS    4
#define PER_THREAD 20000

static void uuids_are_version_7_of_this_moment(void **state)
{
    char text[FAAS_UUID_TEXT];
    uint8_t bytes[16];
    int64_t before = faas_wall_ms(), ms = 0;

    (void)state;
    faas_uuid_new(text);
    assert_true(faas_uuid_is(text));
    assert_int_equal(text[14], '7');
    assert_non_null(strchr("89ab", text[19]));
    faas_uuid_to_bytes(text, bytes);
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | bytes[i];
    assert_in_range(ms, before, before + 10000);
}

static char made[THREADS * PER_THREAD][FAAS_UUID_TEXT];

static void *make_many(void *arg)
{
    char(*mine)[FAAS_UUID_TEXT] = arg;

    for (int i = 0; i < PER_THREAD; i++)
        faas_uuid_new(mine[i]);
    return NULL;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Each thread sees its own ids grow, and no id is made twice, though all share the milliseconds. */
static void uuids_grow_in_every_thread_and_never_repeat(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, make_many, made + t * PER_THREAD), 0);
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    for (int i = 0; i < THREADS * PER_THREAD; i++)
        if (i % PER_THREAD != 0)
            assert_true(strcmp(made[i - 1], made[i]) < 0);
    qsort(made, THREADS * PER_THREAD, sizeof made[0], by_text);
    for (int i = 1; i < THREADS * PER_THREAD; i++)
        assert_string_not_equal(made[i - 1], made[i]);
}

static int64_t frozen_ms;

static int64_t frozen_wall(void)
{
    return frozen_ms;
}

static int thaw(void **state)
{
    (void)state;
    faas_wall_set_for_test(NULL);
    return 0;
}

/* More ids than the 12-bit counter holds, then a clock that was set back an hour. */
static void uuids_grow_while_the_clock_stands_still_or_goes_back(void **state)
{
    char before[FAAS_UUID_TEXT], now[FAAS_UUID_TEXT];

    (void)state;
    frozen_ms = faas_wall_ms() + 1000;
    faas_wall_set_for_test(frozen_wall);
    faas_uuid_new(before);
    for (int i = 0; i < 20000; i++) {
        if (i == 10000)
            frozen_ms -= 3600 * 1000;
        faas_uuid_new(now);
        assert_true(faas_uuid_is(now) && now[14] == '7');
        assert_true(strcmp(before, now) < 0);
        memcpy(before, now, sizeof before);
    }
}

static void only_the_canonical_form_is_a_uuid(void **state)
{
    static const char *const bad[] = {
        "",
        "0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f607",
        "0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f60718",
        "0190A6B0-5d3c-7e4f-8a1b-2c3d4e5f6071",
        "0190a6b05d3c-7e4f-8a1b-2c3d4e5f60711-",
        "0190a6b0-5d3c-7e4f-8a1b_2c3d4e5f6071",
        "{190a6b0-5d3c-7e4f-8a1b-2c3d4e5f607}",
        "0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f607g",
    };

    (void)state;
    assert_true(faas_uuid_is("0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f6071"));
    assert_false(faas_uuid_is(NULL));
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++)
        assert_false(faas_uuid_is(bad[i]));
}

static void bytes_and_text_are_the_same_uuid(void **state)
{
    static const char text[] = "0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f6071";
    static const uint8_t bytes[16] = {0x01, 0x90, 0xa6, 0xb0, 0x5d, 0x3c, 0x7e, 0x4f,
                                      0x8a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f, 0x60, 0x71};
    char back[FAAS_UUID_TEXT];
    uint8_t parsed[16];

    (void)state;
    faas_uuid_to_bytes(text, parsed);
    assert_memory_equal(parsed, bytes, sizeof bytes);
    faas_uuid_from_bytes(bytes, back);
    assert_string_equal(back, text);
}

static void tokens_are_32_hex_digits_and_differ(void **state)
{
    char a[33], b[33];

    (void)state;
    faas_random_token(a);
    faas_random_token(b);
    assert_int_equal(strlen(a), 32);
    assert_int_equal(strspn(a, "0123456789abcdef"), 32);
    assert_string_not_equal(a, b);
}

static void hashes_are_sha_256(void **state)
{
    char text[FAAS_HASH_TEXT];

    (void)state;
    faas_hash_text("abc", 3, text); /* FIPS 180-2, appendix B.1 */
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    faas_hash_text("", 0, text);
    assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static int owner_of(const char *key, int members)
{
    uint64_t best = 0;
    int owner = -1;

    for (int i = 0; i < members; i++) {
        char member[16];
        uint64_t weight;

        snprintf(member, sizeof member, "p%d", i);
        weight = faas_rendezvous(key, member);
        if (owner < 0 || weight > best) {
            best = weight;
            owner = i;
        }
    }
    return owner;
}

static void a_new_member_only_takes_its_share(void **state)
{
    int counts[4] = {0}, moved = 0;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        char key[32];
        int before, after;

        snprintf(key, sizeof key, "tenant/function-%d", i);
        before = owner_of(key, 3);
        after = owner_of(key, 4);
        counts[after]++;
        moved += before != after;
        assert_true(before == after || after == 3);
    }
    assert_int_equal(moved, counts[3]);
    for (int i = 0; i < 4; i++)
        assert_in_range(counts[i], 400, 600);
}

static void weights_stay_the_same_in_every_release(void **state)
{
    (void)state;
    /* printf 'k\0m' | sha256sum */
    assert_true(faas_rendezvous("k", "m") == UINT64_C(0x0a782b3d3de18bc8));
    assert_true(faas_rendezvous("ab", "c") != faas_rendezvous("a", "bc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uuids_are_version_7_of_this_moment),
        cmocka_unit_test(uuids_grow_in_every_thread_and_never_repeat),
        cmocka_unit_test_teardown(uuids_grow_while_the_clock_stands_still_or_goes_back, thaw),
        cmocka_unit_test(only_the_canonical_form_is_a_uuid),
        cmocka_unit_test(bytes_and_text_are_the_same_uuid),
        cmocka_unit_test(tokens_are_32_hex_digits_and_differ),
        cmocka_unit_test(hashes_are_sha_256),
        cmocka_unit_test(a_new_member_only_takes_its_share),
        cmocka_unit_test(weights_stay_the_same_in_every_release),
    };

    return run_unit(tests);
}
