/* Which version entries this process has stored lately. */
#include <stdio.h>

#include "services/registry/kept.h"
#include "tests/unit/unit.h"

#define FUNC  "0190c8f6-0000-7000-8000-0000000000f1"
#define OTHER "0190c8f6-0000-7000-8000-0000000000f2"

static struct kept kept;

static int begin(void **state)
{
    (void)state;
    kept = (struct kept){0};
    kept_init(&kept);
    return 0;
}

static int end(void **state)
{
    (void)state;
    kept_done(&kept);
    return 0;
}

static void what_was_stored_is_known_by_function_and_number(void **state)
{
    (void)state;
    assert_false(kept_has(&kept, FUNC, 1));
    kept_add(&kept, FUNC, 1);
    assert_true(kept_has(&kept, FUNC, 1));
    assert_false(kept_has(&kept, FUNC, 2));
    assert_false(kept_has(&kept, OTHER, 1));
}

static void a_place_never_used_is_no_version(void **state)
{
    (void)state;
    assert_false(kept_has(&kept, FUNC, 0));
}

static void only_the_newest_are_remembered(void **state)
{
    (void)state;
    for (int64_t number = 1; number <= KEPT_MAX + 1; number++)
        kept_add(&kept, FUNC, number);
    assert_false(kept_has(&kept, FUNC, 1));
    for (int64_t number = 2; number <= KEPT_MAX + 1; number++)
        assert_true(kept_has(&kept, FUNC, number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_stored_is_known_by_function_and_number, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_place_never_used_is_no_version, begin, end),
        cmocka_unit_test_setup_teardown(only_the_newest_are_remembered, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
