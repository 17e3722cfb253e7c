/* Guessing is slow, and keeps nobody else out. */
#include <sodium.h>
#include <stdio.h>

#include "services/auth/throttle.h"
#include "tests/unit/unit.h"

#define SECOND UINT64_C(1000000000)
#define HOUR   (3600 * SECOND)

static throttle *gate;
static uint64_t now;

static int begin(void **state)
{
    faas_err err = {0};

    (void)state;
    assert_true(sodium_init() >= 0);
    assert_ok(throttle_new(&gate, &err));
    now = HOUR;
    return 0;
}

static int end(void **state)
{
    (void)state;
    throttle_free(gate);
    return 0;
}

/* Seconds to wait; 0: the attempt was let through, and ended as told. */
static int attempt(const char *name, const char *address, bool is_right)
{
    struct throttle_try attempt;
    faas_err err = {0};

    throttle_name(gate, name, address, &attempt);
    if (throttle_begin(gate, &attempt, now, &err) != FAAS_OK) {
        assert_int_equal(err.code, FAAS_BUSY);
        assert_true(err.retry_after_s > 0);
        return err.retry_after_s;
    }
    if (is_right)
        throttle_passed(gate, &attempt, now);
    else
        throttle_failed(gate, &attempt, now);
    return 0;
}

static void the_first_failures_are_free_then_the_wait_doubles(void **state)
{
    int wait = 1;

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(attempt("anna", "a", false), 0);
    for (; wait <= 128; wait *= 2) {
        assert_int_equal(attempt("anna", "a", true), wait); /* not even looked at */
        now += (uint64_t)wait * SECOND;
        assert_int_equal(attempt("anna", "a", false), 0);
    }
    assert_int_equal(attempt("anna", "a", false), 240);
}

/* One guess as soon as it is allowed, from as many addresses as there are. */
static void an_account_takes_few_guesses_an_hour_from_anywhere(void **state)
{
    uint64_t stop = now + HOUR;
    char address[16];
    int guesses = 0;

    (void)state;
    for (unsigned i = 0; now < stop; i++) {
        int wait;

        (void)snprintf(address, sizeof address, "a%u", i);
        wait = attempt("anna", address, false);
        guesses += wait == 0;
        now += (uint64_t)wait * SECOND;
    }
    assert_in_range(guesses, 10, 40);
    test_promise(28, "%d guesses evaluated in an hour, from any number of addresses", guesses);
}

static void strangers_who_guess_do_not_keep_the_owner_out(void **state)
{
    char address[16];

    (void)state;
    assert_int_equal(attempt("anna", "home", true), 0);
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(address, sizeof address, "a%u", i);
        (void)attempt("anna", address, false);
    }
    assert_true(attempt("anna", "elsewhere", true) > 0);
    assert_int_equal(attempt("anna", "home", true), 0);
    test_promise(29,
                 "0 of 1 logins from the owner's address refused after 100 guesses by strangers");
}

static void an_address_that_guesses_at_many_names_waits(void **state)
{
    char name[16];
    int let_through = 0;

    (void)state;
    assert_int_equal(attempt("neighbour", "a", true), 0);
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, "n%u", i);
        let_through += attempt(name, "a", false) == 0;
    }
    assert_int_equal(let_through, 30);
    assert_int_equal(attempt("neighbour", "a", true), 0); /* behind the same address */
    assert_int_equal(attempt("n1", "b", true), 0);
    assert_true(attempt("n2", "a", true) > 0);
    test_promise(28, "%d of 100 guesses at 100 names evaluated", let_through);
}

static void success_forgets_the_failures(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 4; i++)
            assert_int_equal(attempt("anna", "a", false), 0);
        assert_int_equal(attempt("anna", "a", true), 0);
    }
}

static void an_hour_forgets(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(attempt("anna", "a", false), 0);
    now += HOUR;
    for (int i = 0; i < 5; i++)
        assert_int_equal(attempt("anna", "a", false), 0);
}

static void past_the_free_ones_one_attempt_runs_at_a_time(void **state)
{
    struct throttle_try first, second;
    faas_err err = {0};

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(attempt("anna", "a", false), 0);
    now += SECOND;
    throttle_name(gate, "anna", "a", &first);
    second = first;
    assert_ok(throttle_begin(gate, &first, now, &err));
    assert_int_equal(throttle_begin(gate, &second, now, &err), FAAS_BUSY);
    throttle_undo(gate, &first, now); /* it was no guess after all */
    assert_ok(throttle_begin(gate, &second, now, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_failures_are_free_then_the_wait_doubles, begin,
                                        end),
        cmocka_unit_test_setup_teardown(an_account_takes_few_guesses_an_hour_from_anywhere, begin,
                                        end),
        cmocka_unit_test_setup_teardown(strangers_who_guess_do_not_keep_the_owner_out, begin, end),
        cmocka_unit_test_setup_teardown(an_address_that_guesses_at_many_names_waits, begin, end),
        cmocka_unit_test_setup_teardown(success_forgets_the_failures, begin, end),
        cmocka_unit_test_setup_teardown(an_hour_forgets, begin, end),
        cmocka_unit_test_setup_teardown(past_the_free_ones_one_attempt_runs_at_a_time, begin, end),
    };

    return run_unit(tests);
}
