/* The fair queue: libfaas/base/fair.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fair.h"
#include "tests/support/promise.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    struct faas_fair_item item; /* first */
    char tag;
    bool is_held;
};

static bool unless_held(void *arg, struct faas_fair_item *item)
{
    (void)arg;
    return !((struct entry *)item)->is_held;
}

static char take(struct faas_fair *fair)
{
    struct entry *entry = (struct entry *)faas_fair_take(fair, unless_held, NULL);

    return entry != NULL ? entry->tag : '-';
}

static void push(struct faas_fair *fair, const char *tenant, struct entry *entry, char tag)
{
    faas_err err;

    *entry = (struct entry){.tag = tag};
    assert_int_equal(faas_fair_push(fair, tenant, &entry->item, false, &err), FAAS_OK);
}

static void tenants_take_turns_and_each_is_first_come_first_served(void **state)
{
    struct faas_fair fair;
    struct entry e[6];

    (void)state;
    faas_fair_init(&fair, 100, 100);
    push(&fair, "a", &e[0], '1');
    push(&fair, "a", &e[1], '2');
    push(&fair, "a", &e[2], '3');
    push(&fair, "b", &e[3], 'x');
    push(&fair, "b", &e[4], 'y');
    push(&fair, "c", &e[5], 'z');
    assert_int_equal(take(&fair), '1');
    assert_int_equal(take(&fair), 'x');
    assert_int_equal(take(&fair), 'z');
    assert_int_equal(take(&fair), '2');
    assert_int_equal(take(&fair), 'y');
    assert_int_equal(take(&fair), '3');
    assert_int_equal(take(&fair), '-');
    assert_int_equal(fair.len, 0);
    faas_fair_done(&fair);
    test_promise(39, "3 tenants with 6 waiting calls: served in turns, 6 of 6 in order");
}

static void one_that_may_not_go_holds_up_nobody(void **state)
{
    struct faas_fair fair;
    struct entry e[3];

    (void)state;
    faas_fair_init(&fair, 100, 100);
    push(&fair, "a", &e[0], '1');
    push(&fair, "a", &e[1], '2');
    push(&fair, "b", &e[2], 'x');
    e[0].is_held = true;
    assert_int_equal(take(&fair), '2');
    assert_int_equal(take(&fair), 'x');
    assert_int_equal(take(&fair), '-');
    e[0].is_held = false;
    assert_int_equal(take(&fair), '1');
    faas_fair_done(&fair);
}

static void limits_are_in_all_and_per_tenant(void **state)
{
    struct faas_fair fair;
    struct entry e[4] = {0};
    faas_err err = {0};

    (void)state;
    faas_fair_init(&fair, 3, 2);
    push(&fair, "a", &e[0], '1');
    push(&fair, "a", &e[1], '2');
    assert_int_equal(faas_fair_push(&fair, "a", &e[2].item, false, &err), FAAS_BUSY);
    assert_string_equal(err.msg, "2 of your calls wait already, the most allowed");
    assert_null(e[2].item.line);
    push(&fair, "b", &e[2], '3');
    assert_int_equal(faas_fair_push(&fair, "c", &e[3].item, false, &err), FAAS_BUSY);
    assert_string_equal(err.msg, "3 calls wait already, the most allowed");
    faas_fair_done(&fair);
    assert_int_equal(fair.len, 0);
}

static void one_that_comes_back_is_first_again_and_past_the_limit(void **state)
{
    struct faas_fair fair;
    struct entry e[3];
    faas_err err;

    (void)state;
    faas_fair_init(&fair, 2, 2);
    push(&fair, "a", &e[0], '1');
    push(&fair, "a", &e[1], '2');
    assert_int_equal(take(&fair), '1');
    push(&fair, "a", &e[2], '3');
    assert_int_equal(faas_fair_push(&fair, "a", &e[0].item, true, &err), FAAS_OK);
    assert_int_equal(take(&fair), '1');
    assert_int_equal(take(&fair), '2');
    assert_int_equal(take(&fair), '3');
    faas_fair_done(&fair);
}

static void a_removed_one_is_gone_and_removing_twice_is_nothing(void **state)
{
    struct faas_fair fair;
    struct entry e[2];

    (void)state;
    faas_fair_init(&fair, 10, 10);
    push(&fair, "a", &e[0], '1');
    push(&fair, "a", &e[1], '2');
    faas_fair_remove(&fair, &e[0].item);
    faas_fair_remove(&fair, &e[0].item);
    assert_int_equal(fair.len, 1);
    assert_int_equal(take(&fair), '2');
    faas_fair_done(&fair);
    faas_fair_done(&(struct faas_fair){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tenants_take_turns_and_each_is_first_come_first_served),
        cmocka_unit_test(one_that_may_not_go_holds_up_nobody),
        cmocka_unit_test(limits_are_in_all_and_per_tenant),
        cmocka_unit_test(one_that_comes_back_is_first_again_and_past_the_limit),
        cmocka_unit_test(a_removed_one_is_gone_and_removing_twice_is_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
