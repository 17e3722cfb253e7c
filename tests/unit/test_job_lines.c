/* Turns of queued calls: services/publisher/job_lines.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/publisher/job_lines.h"
#include "tests/support/promise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define A    "01890000-0000-7000-8000-00000000000a"
#define B    "01890000-0000-7000-8000-00000000000b"
#define MANY 10000

struct entry {
    struct job_item item; /* first */
    char tag;
};

static bool always(void *arg, const struct job_user *user)
{
    (void)arg;
    (void)user;
    return true;
}

static bool not_him(void *arg, const struct job_user *user)
{
    return strcmp(user->tenant, arg) != 0;
}

static void enter(struct job_lines *lines, const char *tenant, const char *function,
                  struct entry *entry, char tag)
{
    faas_err err;

    *entry = (struct entry){.tag = tag};
    assert_int_equal(job_lines_enter(lines, tenant, function, &entry->item, &err), FAAS_OK);
    job_lines_wait(lines, &entry->item, false);
}

static struct entry *take(struct job_lines *lines)
{
    return (struct entry *)job_lines_take(lines, always, NULL);
}

static char take_and_place(struct job_lines *lines)
{
    struct entry *entry = take(lines);

    if (entry == NULL)
        return '-';
    job_lines_settled(&entry->item);
    return entry->tag;
}

static void leave_all(struct job_lines *lines, struct entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        job_lines_leave(lines, &entries[i].item);
    assert_true(TAILQ_EMPTY(&lines->users));
    assert_int_equal(lines->waiting, 0);
}

static void users_and_their_functions_take_turns(void **state)
{
    struct job_lines lines;
    struct entry e[6];
    char got[8] = "";

    (void)state;
    job_lines_init(&lines);
    enter(&lines, A, "f", &e[0], '1');
    enter(&lines, A, "f", &e[1], '2');
    enter(&lines, A, "g", &e[2], 'g');
    enter(&lines, B, "f", &e[3], 'x');
    enter(&lines, B, "f", &e[4], 'y');
    enter(&lines, B, "f", &e[5], 'z');
    for (int i = 0; i < 7; i++)
        got[i] = take_and_place(&lines);
    assert_string_equal(got, "1xgy2z-");
    leave_all(&lines, e, 6);
}

static void ten_thousand_of_one_user_delay_another_by_one(void **state)
{
    struct job_lines lines;
    struct entry *many = calloc(MANY, sizeof *many), one;

    (void)state;
    job_lines_init(&lines);
    for (int i = 0; i < MANY; i++)
        enter(&lines, A, "f", &many[i], 'a');
    assert_int_equal(take_and_place(&lines), 'a');
    enter(&lines, B, "f", &one, 'b');
    assert_int_equal(take_and_place(&lines), 'a');
    assert_int_equal(take_and_place(&lines), 'b');
    job_lines_leave(&lines, &one.item);
    leave_all(&lines, many, MANY);
    free(many);
    test_promise(39, "1 queued call of a user behind 10,000 of another: second in turn");
}

static void a_function_that_finds_no_place_holds_up_no_other(void **state)
{
    struct job_lines lines;
    struct entry stuck[JOB_LINE_GOING + 1], other;

    (void)state;
    job_lines_init(&lines);
    for (size_t i = 0; i <= JOB_LINE_GOING; i++)
        enter(&lines, A, "stuck", &stuck[i], 's');
    for (size_t i = 0; i < JOB_LINE_GOING; i++)
        assert_ptr_equal(take(&lines), &stuck[i]);
    assert_null(take(&lines));
    enter(&lines, A, "other", &other, 'o');
    assert_ptr_equal(take(&lines), &other);
    job_lines_settled(&stuck[2].item); /* it was placed: the next may go */
    assert_ptr_equal(take(&lines), &stuck[JOB_LINE_GOING]);
    job_lines_leave(&lines, &other.item);
    leave_all(&lines, stuck, JOB_LINE_GOING + 1);
}

static void a_user_has_so_many_going_in_all(void **state)
{
    struct job_lines lines;
    struct entry e[JOB_TENANT_GOING + 1];
    char name[8];

    (void)state;
    job_lines_init(&lines);
    for (size_t i = 0; i <= JOB_TENANT_GOING; i++) {
        (void)snprintf(name, sizeof name, "f%zu", i);
        enter(&lines, A, name, &e[i], 'a');
    }
    for (size_t i = 0; i < JOB_TENANT_GOING; i++)
        assert_non_null(take(&lines));
    assert_null(take(&lines));
    leave_all(&lines, e, JOB_TENANT_GOING + 1);
}

static void who_may_not_go_is_passed_over(void **state)
{
    struct job_lines lines;
    struct entry a, b;

    (void)state;
    job_lines_init(&lines);
    enter(&lines, A, "f", &a, 'a');
    enter(&lines, B, "f", &b, 'b');
    assert_ptr_equal(job_lines_take(&lines, not_him, (void *)(uintptr_t)A), &b.item);
    assert_null(job_lines_take(&lines, not_him, (void *)(uintptr_t)A));
    assert_int_equal(job_lines_of(&lines, A)->len, 1);
    job_lines_weigh(&a.item, 700);
    job_lines_weigh(&b.item, 40);
    assert_int_equal(job_lines_of(&lines, A)->bytes, 700);
    job_lines_rest(&lines, &a.item); /* cancelled where it waited */
    assert_null(take(&lines));
    job_lines_leave(&lines, &a.item);
    job_lines_leave(&lines, &b.item);
    assert_null(job_lines_of(&lines, A));
}

static void one_that_comes_back_is_first_again(void **state)
{
    struct job_lines lines;
    struct entry e[2];

    (void)state;
    job_lines_init(&lines);
    enter(&lines, A, "f", &e[0], '1');
    enter(&lines, A, "f", &e[1], '2');
    assert_ptr_equal(take(&lines), &e[0]);
    job_lines_wait(&lines, &e[0].item, true);
    assert_ptr_equal(take(&lines), &e[0]);
    leave_all(&lines, e, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_and_their_functions_take_turns),
        cmocka_unit_test(ten_thousand_of_one_user_delay_another_by_one),
        cmocka_unit_test(a_function_that_finds_no_place_holds_up_no_other),
        cmocka_unit_test(a_user_has_so_many_going_in_all),
        cmocka_unit_test(who_may_not_go_is_passed_over),
        cmocka_unit_test(one_that_comes_back_is_first_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
