/* How many accounts may be made: by one address in an hour, and in all. */
#include <sodium.h>
#include <stdlib.h>

#include "base/clock.h"
#include "services/auth/signup.h"
#include "tests/unit/unit.h"

#define HOUR_NS (3600 * FAAS_S_NS)

static signup *caps;
static uint64_t now;
static int64_t stored; /* what the store would say */
static int asked;

static faas_code say_stored(void *arg, uint64_t deadline_ns, int64_t *out_count, faas_err *err)
{
    (void)arg;
    (void)deadline_ns;
    asked++;
    if (stored < 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "no store");
    *out_count = stored;
    return FAAS_OK;
}

static void open_caps(int64_t per_address, int64_t accounts)
{
    const struct signup_conf conf = {
        .per_address = per_address, .accounts = accounts, .count = say_stored};
    faas_err err = {0};

    assert_true(sodium_init() >= 0);
    signup_free(caps);
    caps = NULL;
    assert_ok(signup_new(&conf, &caps, &err));
    now = HOUR_NS;
    stored = 0;
    asked = 0;
}

static int end(void **state)
{
    (void)state;
    signup_free(caps);
    caps = NULL;
    return 0;
}

/* Seconds to wait; 0: an account was made (or not, as told). */
static int attempt(const char *address, bool is_made)
{
    struct signup_try attempt;
    faas_err err = {0};

    if (signup_begin(caps, address, now, now + FAAS_S_NS, &attempt, &err) != FAAS_OK) {
        assert_int_equal(err.code, FAAS_BUSY);
        assert_true(err.retry_after_s > 0);
        return err.retry_after_s;
    }
    signup_end(caps, &attempt, is_made);
    return 0;
}

static void there_are_three_modes(void **state)
{
    enum signup_mode mode;
    faas_err err = {0};

    (void)state;
    assert_ok(signup_mode_parse("open", &mode, &err));
    assert_int_equal(mode, SIGNUP_OPEN);
    assert_ok(signup_mode_parse("invite", &mode, &err));
    assert_int_equal(mode, SIGNUP_INVITE);
    assert_ok(signup_mode_parse("closed", &mode, &err));
    assert_int_equal(mode, SIGNUP_CLOSED);
    assert_int_equal(signup_mode_parse("Open", &mode, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "SIGNUP: open, invite or closed");
}

static void an_address_makes_so_many_an_hour_and_is_told_when_to_come_back(void **state)
{
    (void)state;
    open_caps(4, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(attempt("a", true), 0);
    assert_int_equal(attempt("a", true), 900); /* a quarter of an hour brings the next */
    assert_int_equal(attempt("b", true), 0);
    now += 900 * FAAS_S_NS;
    assert_int_equal(attempt("a", true), 0);
    assert_int_equal(attempt("a", true), 900);
    now += HOUR_NS;
    for (int i = 0; i < 4; i++)
        assert_int_equal(attempt("a", true), 0);
    assert_int_equal(attempt("a", true), 900);
}

static void what_made_no_account_does_not_count(void **state)
{
    (void)state;
    open_caps(1, 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(attempt("a", false), 0);
    assert_int_equal(attempt("a", true), 0);
    assert_true(attempt("a", false) > 0);
}

static void each_of_several_instances_allows_its_part(void **state)
{
    (void)state;
    open_caps(6, 0);
    signup_set_share(caps, 3);
    assert_int_equal(attempt("a", true), 0);
    assert_int_equal(attempt("a", true), 0);
    assert_true(attempt("a", true) > 0);
    signup_set_share(caps, 100); /* less than one each: one each */
    now += 200 * HOUR_NS;
    assert_int_equal(attempt("a", true), 0);
    assert_true(attempt("a", true) > 0);
}

static void the_platform_has_room_for_so_many_accounts(void **state)
{
    (void)state;
    open_caps(0, 10);
    stored = 8;
    assert_int_equal(attempt("a", true), 0);
    assert_int_equal(attempt("b", true), 0);
    assert_int_equal(attempt("c", true), 3600); /* not asked again: counted here */
    assert_int_equal(asked, 1);
    stored = 9; /* after a second the store's word counts */
    now += 2 * FAAS_S_NS;
    assert_int_equal(attempt("c", true), 0);
    assert_int_equal(asked, 2);
}

static void registrations_under_way_hold_their_place(void **state)
{
    struct signup_try first, second;
    faas_err err = {0};

    (void)state;
    open_caps(0, 1);
    assert_ok(signup_begin(caps, "a", now, now + FAAS_S_NS, &first, &err));
    assert_int_equal(signup_begin(caps, "b", now, now + FAAS_S_NS, &second, &err), FAAS_BUSY);
    signup_end(caps, &first, false);
    assert_ok(signup_begin(caps, "b", now, now + FAAS_S_NS, &second, &err));
    signup_end(caps, &second, true);
}

static void without_the_store_nobody_is_let_in_and_zero_asks_nobody(void **state)
{
    struct signup_try attempt_;
    faas_err err = {0};

    (void)state;
    open_caps(0, 5);
    stored = -1;
    assert_int_equal(signup_begin(caps, "a", now, now + FAAS_S_NS, &attempt_, &err),
                     FAAS_UNAVAILABLE);
    open_caps(0, 0);
    stored = -1;
    assert_int_equal(attempt(NULL, true), 0);
    assert_int_equal(asked, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_are_three_modes),
        cmocka_unit_test_teardown(an_address_makes_so_many_an_hour_and_is_told_when_to_come_back,
                                  end),
        cmocka_unit_test_teardown(what_made_no_account_does_not_count, end),
        cmocka_unit_test_teardown(each_of_several_instances_allows_its_part, end),
        cmocka_unit_test_teardown(the_platform_has_room_for_so_many_accounts, end),
        cmocka_unit_test_teardown(registrations_under_way_hold_their_place, end),
        cmocka_unit_test_teardown(without_the_store_nobody_is_let_in_and_zero_asks_nobody, end),
    };

    return run_unit(tests);
}
