/* Live calls, tombs and counts: services/publisher/book.c, tally.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "contract.h"
#include "services/publisher/book.h"
#include "services/publisher/tally.h"

#include <stdio.h>
#include <string.h>

#define MINUTE_NS (FAAS_FENCE_KEEP_MS * FAAS_MS_NS)

static void live_calls_are_found_by_id_until_removed(void **state)
{
    struct book book;
    struct book_page pages[20] = {0};
    faas_err err;

    (void)state;
    book_init(&book);
    for (int i = 0; i < 20; i++) {
        snprintf(pages[i].id, sizeof pages[i].id, "id-%d", i);
        assert_int_equal(book_add(&book, &pages[i], &err), FAAS_OK);
    }
    assert_ptr_equal(book_find(&book, "id-7"), &pages[7]);
    book_remove(&book, &pages[7]);
    assert_null(book_find(&book, "id-7"));
    assert_int_equal(book.live_len, 19);
    for (int i = 0; i < 20; i++)
        if (i != 7)
            book_remove(&book, &pages[i]);
    assert_true(TAILQ_EMPTY(&book.live));
    book_done(&book);
}

static void a_tomb_keeps_the_highest_number_and_that_it_was_placed(void **state)
{
    struct book book;
    struct book_tomb *tomb;

    (void)state;
    book_init(&book);
    assert_null(book_tomb_find(&book, "x", 0));
    assert_non_null(book_bury(&book, "x", 511, true, 100));
    assert_non_null(book_bury(&book, "x", 300, false, 200));
    tomb = book_tomb_find(&book, "x", 300);
    assert_non_null(tomb);
    assert_int_equal(tomb->refuse_to, 511);
    assert_true(tomb->was_placed);
    assert_int_equal(book.tombs_len, 1);
    book_done(&book);
}

static void tombs_last_a_minute_from_their_last_change(void **state)
{
    struct book book;

    (void)state;
    book_init(&book);
    book_bury(&book, "a", 1, false, 0);
    book_bury(&book, "b", 1, false, FAAS_S_NS);
    book_bury(&book, "a", 2, false, 2 * FAAS_S_NS);
    assert_non_null(book_tomb_find(&book, "a", MINUTE_NS + FAAS_S_NS));
    assert_null(book_tomb_find(&book, "b", MINUTE_NS + FAAS_S_NS));
    assert_null(book_tomb_find(&book, "a", MINUTE_NS + 2 * FAAS_S_NS));
    assert_int_equal(book.tombs_len, 0);
    book_done(&book);
}

static void tombs_go_without_being_asked_for(void **state)
{
    struct book book;

    (void)state;
    book_init(&book);
    book_bury(&book, "a", 1, false, 0);
    book_bury(&book, "b", 1, false, 1);
    book_forget_old(&book, MINUTE_NS);
    assert_int_equal(book.tombs_len, 1);
    book_forget_old(&book, MINUTE_NS + 1);
    assert_int_equal(book.tombs_len, 0);
    book_done(&book);
}

static void tombs_are_bounded_and_the_oldest_go_first(void **state)
{
    struct book book;
    char id[FAAS_UUID_TEXT];

    (void)state;
    book_init(&book);
    for (int i = 0; i < BOOK_TOMBS_MAX + 100; i++) {
        snprintf(id, sizeof id, "id-%d", i);
        assert_non_null(book_bury(&book, id, 1, false, 0));
    }
    assert_null(book_tomb_find(&book, "id-0", 1));
    assert_non_null(book_tomb_find(&book, id, 1));
    assert_true(book.tombs_len <= BOOK_TOMBS_MAX);
    book_done(&book);
}

static void counts_rise_and_fall_per_key(void **state)
{
    struct tally tally = {0};
    faas_err err;

    (void)state;
    assert_int_equal(tally_of(&tally, "f"), 0);
    assert_int_equal(tally_add(&tally, "f", &err), FAAS_OK);
    assert_int_equal(tally_add(&tally, "f", &err), FAAS_OK);
    assert_int_equal(tally_add(&tally, "g", &err), FAAS_OK);
    assert_int_equal(tally_of(&tally, "f"), 2);
    tally_drop(&tally, "f");
    tally_drop(&tally, "f");
    tally_drop(&tally, "f"); /* below zero is nothing */
    assert_int_equal(tally_of(&tally, "f"), 0);
    assert_int_equal(tally_of(&tally, "g"), 1);
    tally_done(&tally);
    assert_int_equal(tally_of(&tally, "g"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_calls_are_found_by_id_until_removed),
        cmocka_unit_test(a_tomb_keeps_the_highest_number_and_that_it_was_placed),
        cmocka_unit_test(tombs_last_a_minute_from_their_last_change),
        cmocka_unit_test(tombs_go_without_being_asked_for),
        cmocka_unit_test(tombs_are_bounded_and_the_oldest_go_first),
        cmocka_unit_test(counts_rise_and_fall_per_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
