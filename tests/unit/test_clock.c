#include "tests/unit/unit.h"

#include "base/clock.h"

static uint64_t stepped;

static uint64_t stepped_clock(void)
{
    return stepped;
}

static int use_stepped(void **state)
{
    (void)state;
    stepped = 1000 * FAAS_MS_NS;
    faas_clock_set_for_test(stepped_clock);
    return 0;
}

static int use_real(void **state)
{
    (void)state;
    faas_clock_set_for_test(NULL);
    return 0;
}

static void a_deadline_is_now_plus_ms(void **state)
{
    (void)state;
    assert_true(faas_deadline_in_ms(5) == stepped + 5 * FAAS_MS_NS);
    assert_true(faas_deadline_in_ms(-7) == stepped);
}

static void a_huge_wait_means_no_deadline(void **state)
{
    (void)state;
    assert_true(faas_deadline_in_ms(INT64_MAX) == UINT64_MAX);
}

static void time_left_is_rounded_up(void **state)
{
    (void)state;
    assert_int_equal(faas_left_ms(stepped + 1), 1);
    assert_int_equal(faas_left_ms(stepped + FAAS_MS_NS), 1);
    assert_int_equal(faas_left_ms(stepped + FAAS_MS_NS + 1), 2);
    assert_int_equal(faas_left_ms(stepped), 0);
    assert_int_equal(faas_left_ms(stepped - 1), 0);
    assert_true(faas_left_ms(UINT64_MAX) == INT64_MAX);
}

static void the_replaced_clock_is_the_one_read(void **state)
{
    uint64_t deadline = faas_deadline_in_ms(100);

    (void)state;
    stepped += 40 * FAAS_MS_NS;
    assert_int_equal(faas_left_ms(deadline), 60);
}

static void the_real_clock_never_goes_back(void **state)
{
    uint64_t before = faas_now_ns();

    (void)state;
    for (int i = 0; i < 1000; i++) {
        uint64_t now = faas_now_ns();

        assert_true(now >= before);
        before = now;
    }
}

static void times_print_as_rfc_3339(void **state)
{
    char text[FAAS_TIME_TEXT];

    (void)state;
    faas_time_format(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    faas_time_format(INT64_C(1767323045678), text);
    assert_string_equal(text, "2026-01-02T03:04:05.678Z");
    faas_time_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    faas_time_format(-1, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_deadline_is_now_plus_ms, use_stepped, use_real),
        cmocka_unit_test_setup_teardown(a_huge_wait_means_no_deadline, use_stepped, use_real),
        cmocka_unit_test_setup_teardown(time_left_is_rounded_up, use_stepped, use_real),
        cmocka_unit_test_setup_teardown(the_replaced_clock_is_the_one_read, use_stepped, use_real),
        cmocka_unit_test(the_real_clock_never_goes_back),
        cmocka_unit_test(times_print_as_rfc_3339),
    };

    return run_unit(tests);
}
