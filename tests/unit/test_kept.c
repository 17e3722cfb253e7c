/* Which version entries this process has stored lately, or is about to have stored. */
#include <pthread.h>
#include <stdatomic.h>
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

static void add(const char *id, int64_t number)
{
    assert_true(kept_begin(&kept, id, number));
    kept_end(&kept, id, number, true);
}

static void what_was_stored_is_known_by_function_and_number(void **state)
{
    (void)state;
    assert_false(kept_has(&kept, FUNC, 1));
    add(FUNC, 1);
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
        add(FUNC, number);
    assert_false(kept_has(&kept, FUNC, 1));
    for (int64_t number = 2; number <= KEPT_MAX + 1; number++)
        assert_true(kept_has(&kept, FUNC, number));
}

static _Atomic bool is_stored;

static void *end_later(void *arg)
{
    (void)arg;
    atomic_store(&is_stored, true);
    kept_end(&kept, FUNC, 7, true);
    return NULL;
}

static void one_on_its_way_is_waited_for(void **state)
{
    pthread_t thread;

    (void)state;
    assert_true(kept_begin(&kept, FUNC, 7));
    assert_int_equal(pthread_create(&thread, NULL, end_later, NULL), 0);
    assert_true(kept_has(&kept, FUNC, 7));
    assert_true(atomic_load(&is_stored));
    pthread_join(thread, NULL);
}

static void one_that_could_not_be_stored_is_not_there(void **state)
{
    (void)state;
    assert_true(kept_begin(&kept, FUNC, 1));
    assert_true(kept_begin(&kept, FUNC, 2));
    kept_end(&kept, FUNC, 2, false);
    kept_end(&kept, FUNC, 1, true);
    assert_false(kept_has(&kept, FUNC, 2));
    assert_true(kept_has(&kept, FUNC, 1));
}

static int closed;

static void on_closed(void)
{
    closed++;
}

static void closing_ends_with_the_last_on_its_way(void **state)
{
    (void)state;
    closed = 0;
    assert_true(kept_begin(&kept, FUNC, 1));
    assert_true(kept_begin(&kept, OTHER, 1));
    kept_close(&kept, on_closed);
    assert_false(kept_begin(&kept, FUNC, 2));
    kept_end(&kept, FUNC, 1, true);
    assert_int_equal(closed, 0);
    kept_end(&kept, OTHER, 1, false);
    assert_int_equal(closed, 1);
}

static void closing_without_any_on_its_way_ends_at_once(void **state)
{
    (void)state;
    closed = 0;
    add(FUNC, 1);
    kept_close(&kept, on_closed);
    assert_int_equal(closed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_was_stored_is_known_by_function_and_number, begin),
        cmocka_unit_test_setup(a_place_never_used_is_no_version, begin),
        cmocka_unit_test_setup(only_the_newest_are_remembered, begin),
        cmocka_unit_test_setup(one_on_its_way_is_waited_for, begin),
        cmocka_unit_test_setup(one_that_could_not_be_stored_is_not_there, begin),
        cmocka_unit_test_setup(closing_ends_with_the_last_on_its_way, begin),
        cmocka_unit_test_setup(closing_without_any_on_its_way_ends_at_once, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
