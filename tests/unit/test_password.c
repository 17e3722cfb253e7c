#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "crypto/password.h"

#define PARALLEL 2
#define CALLERS  6

static faas_err err;

static int setup(void **state)
{
    (void)state;
    return faas_password_setup(PARALLEL, &err) == FAAS_OK ? 0 : -1;
}

static void the_right_password_matches_and_others_do_not(void **state)
{
    char hash[FAAS_PASSWORD_HASH_MAX], again[FAAS_PASSWORD_HASH_MAX];
    bool is_match = false;

    (void)state;
    assert_ok(faas_password_hash("correct horse", UINT64_MAX, hash, &err));
    assert_int_equal(strncmp(hash, "$argon2id$v=19$m=65536,t=2,p=1$", 31), 0);
    assert_ok(faas_password_verify(hash, "correct horse", UINT64_MAX, &is_match, &err));
    assert_true(is_match);
    assert_ok(faas_password_verify(hash, "correct horsE", UINT64_MAX, &is_match, &err));
    assert_false(is_match);
    assert_ok(faas_password_verify(hash, "", UINT64_MAX, &is_match, &err));
    assert_false(is_match);
    assert_ok(faas_password_hash("correct horse", UINT64_MAX, again, &err));
    assert_string_not_equal(hash, again);
}

/* Of the processor, not of the clock: others may run meanwhile. */
static uint64_t work_ns(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
    return (uint64_t)now.tv_sec * FAAS_S_NS + (uint64_t)now.tv_nsec;
}

static uint64_t work_of(const char *hash, bool *out_is_match)
{
    uint64_t before = work_ns();

    assert_ok(faas_password_verify(hash, "whatever else", UINT64_MAX, out_is_match, &err));
    return work_ns() - before;
}

/* Work is compared with work in the same run: a refusal without hashing takes microseconds. */
static void a_foreign_hash_costs_the_same_and_never_matches(void **state)
{
    static const char *const foreign[] = {"", "x", "$2b$12$abcdefghijklmnopqrstuv",
                                          "$argon2id$v=19$m=65536,t=2,p=1$broken",
                                          "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$"};
    bool is_match = true;
    uint64_t real = work_of(faas_password_dummy(), &is_match);

    (void)state;
    assert_false(is_match);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(foreign); i++) {
        is_match = true;
        assert_true(work_of(foreign[i], &is_match) > real / 5);
        assert_false(is_match);
    }
    test_promise(30, "0 of %zu accounts without a usable hash skip the work",
                 FAAS_ARRAY_LEN(foreign));
}

static void the_dummy_is_a_real_hash(void **state)
{
    (void)state;
    assert_int_equal(strncmp(faas_password_dummy(), "$argon2id$", 10), 0);
}

static pthread_barrier_t start;
static atomic_int hashed, busy, other;

static void *hash_at_once(void *arg)
{
    char hash[FAAS_PASSWORD_HASH_MAX];
    uint64_t *deadline = arg;
    faas_err mine = {0};
    faas_code rc;

    pthread_barrier_wait(&start);
    rc = faas_password_hash("correct horse", *deadline, hash, &mine);
    if (rc == FAAS_OK)
        hashed++;
    else if (rc == FAAS_BUSY &&
             strcmp(mine.msg, "too many logins at once; try again in a moment") == 0)
        busy++;
    else
        other++;
    return NULL;
}

static void hash_in_parallel(uint64_t deadline)
{
    pthread_t threads[CALLERS];

    hashed = busy = other = 0;
    assert_int_equal(pthread_barrier_init(&start, NULL, CALLERS), 0);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_at_once, &deadline), 0);
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
}

/* With a deadline that is over, whoever finds no free place is refused instead of waiting. */
static void callers_beyond_the_cap_are_busy_at_their_deadline(void **state)
{
    (void)state;
    hash_in_parallel(faas_now_ns());
    assert_int_equal(other, 0);
    assert_int_equal(hashed + busy, CALLERS);
    assert_true(hashed >= PARALLEL);
    assert_true(busy >= 1);
    test_promise(31, "0 of %d callers fail but as busy where %d may hash", CALLERS, PARALLEL);
}

static void with_time_left_everybody_is_served(void **state)
{
    (void)state;
    hash_in_parallel(faas_deadline_in_ms(120000));
    assert_int_equal(hashed, CALLERS);
    hash_in_parallel(UINT64_MAX);
    assert_int_equal(hashed, CALLERS);
}

static faas_code check(const char *password, const char *user, bool is_any)
{
    err = (faas_err){0};
    return faas_password_check(password, user, is_any, &err);
}

static void ordinary_passwords_pass(void **state)
{
    (void)state;
    assert_ok(check("correct horse battery", "ada", false));
    assert_ok(check("\xf0\x9f\x98\x80\xf0\x9f\x98\x81", "ada", false));
    assert_ok(check("xK9#mQ2!", "ada", false));
    assert_ok(check("ada-and-more", "ada", false));
}

static void lengths_are_counted_in_bytes(void **state)
{
    char text[1026];

    (void)state;
    assert_int_equal(check("xK9#mQ2", "ada", false), FAAS_INVALID);
    assert_string_equal(err.msg, "password: 8 to 1024 bytes");
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = (char)('a' + i * i % 26);
    text[1024] = '\0';
    assert_ok(check(text, "ada", false));
    text[1024] = 'x';
    text[1025] = '\0';
    assert_int_equal(check(text, "ada", false), FAAS_INVALID);
    assert_int_equal(check(text, "ada", true), FAAS_INVALID);
    assert_string_equal(err.msg, "password: 1 to 1024 bytes");
}

static void common_passwords_and_runs_are_refused(void **state)
{
    static const char *const bad[] = {
        "password", "Password123", "QWERTYUIOP",
        "iloveyou", "aaaaaaaa",    "12345678",
        "87654321", "abcdefghij",  "\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        assert_int_equal(check(bad[i], "ada", false), FAAS_INVALID);
        assert_string_equal(err.msg, "password: too common; choose one that others would not");
    }
}

static void the_user_name_is_no_password(void **state)
{
    (void)state;
    assert_int_equal(check("Lovelace-1815", "lovelace-1815", false), FAAS_INVALID);
    assert_string_equal(err.msg, "password: must not be the user name");
}

static void bytes_that_are_no_utf8_are_refused(void **state)
{
    (void)state;
    assert_int_equal(check("correct\xff\xfehorse", "ada", false), FAAS_INVALID);
    assert_string_equal(err.msg, "password: not valid UTF-8");
    assert_int_equal(check("\xff", "ada", true), FAAS_INVALID);
}

static void the_lenient_policy_takes_one_byte(void **state)
{
    (void)state;
    assert_ok(check("x", "ada", true));
    assert_ok(check("password", "password", true));
    assert_int_equal(check("", "ada", true), FAAS_INVALID);
}

static void at_least_one_hash_at_a_time(void **state)
{
    (void)state;
    assert_int_equal(faas_password_setup(0, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "passwords: at least one hash at a time");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_password_matches_and_others_do_not),
        cmocka_unit_test(a_foreign_hash_costs_the_same_and_never_matches),
        cmocka_unit_test(the_dummy_is_a_real_hash),
        cmocka_unit_test(callers_beyond_the_cap_are_busy_at_their_deadline),
        cmocka_unit_test(with_time_left_everybody_is_served),
        cmocka_unit_test(ordinary_passwords_pass),
        cmocka_unit_test(lengths_are_counted_in_bytes),
        cmocka_unit_test(common_passwords_and_runs_are_refused),
        cmocka_unit_test(the_user_name_is_no_password),
        cmocka_unit_test(bytes_that_are_no_utf8_are_refused),
        cmocka_unit_test(the_lenient_policy_takes_one_byte),
        cmocka_unit_test(at_least_one_hash_at_a_time),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
