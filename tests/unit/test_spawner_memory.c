/* What a spawner remembers: known images, ended and fenced calls, its own heartbeats. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "services/spawner/beats.h"
#include "services/spawner/known.h"
#include "services/spawner/ledger.h"

static faas_err err;
static uint64_t clock_ns;

static uint64_t stepped(void)
{
    return clock_ns;
}

static int use_stepped(void **state)
{
    (void)state;
    clock_ns = FAAS_S_NS;
    faas_clock_set_for_test(stepped);
    return 0;
}

static int use_real(void **state)
{
    (void)state;
    faas_clock_set_for_test(NULL);
    return 0;
}

static void step_ms(uint64_t ms)
{
    clock_ns += ms * FAAS_MS_NS;
}

/* ---- images ---- */

static void put(known *set, const char *name, const char *user)
{
    struct image_info info = {.volumes = json_object()};

    (void)snprintf(info.user, sizeof info.user, "%s", user);
    known_put(set, name, &info);
}

static void an_image_is_known_for_a_minute(void **state)
{
    known *set = NULL;

    (void)state;
    assert_ok(known_new(&set, &err));
    assert_null(known_get(set, "a"));
    put(set, "a", "1000");
    step_ms(KNOWN_FRESH_MS - 1);
    assert_string_equal(known_get(set, "a")->user, "1000");
    step_ms(1);
    assert_null(known_get(set, "a"));
    assert_int_equal(known_count(set), 0);
    known_free(set);
}

static void putting_again_replaces_and_renews(void **state)
{
    known *set = NULL;

    (void)state;
    assert_ok(known_new(&set, &err));
    put(set, "a", "1");
    step_ms(KNOWN_FRESH_MS - 1);
    put(set, "a", "2");
    step_ms(KNOWN_FRESH_MS - 1);
    assert_string_equal(known_get(set, "a")->user, "2");
    assert_int_equal(known_count(set), 1);
    known_free(set);
}

static void the_image_set_has_a_bound_and_the_oldest_goes(void **state)
{
    known *set = NULL;
    char name[16];

    (void)state;
    assert_ok(known_new(&set, &err));
    for (int i = 0; i < KNOWN_MAX + 10; i++) {
        (void)snprintf(name, sizeof name, "i%d", i);
        put(set, name, "");
    }
    assert_int_equal(known_count(set), KNOWN_MAX);
    assert_null(known_get(set, "i9"));
    assert_non_null(known_get(set, "i10"));
    known_free(set);
}

static void a_dropped_image_is_not_known(void **state)
{
    known *set = NULL;

    (void)state;
    assert_ok(known_new(&set, &err));
    put(set, "a", "");
    known_drop(set, "b");
    known_drop(set, "a");
    assert_null(known_get(set, "a"));
    known_free(set);
    known_free(NULL);
}

/* ---- calls ---- */

static const char *uuid(unsigned n)
{
    static char text[FAAS_UUID_TEXT];

    (void)snprintf(text, sizeof text, "01900000-0000-7000-8000-%012x", n);
    return text;
}

static void a_fence_refuses_its_number_and_lower_ones(void **state)
{
    ledger *book = NULL;

    (void)state;
    assert_ok(ledger_new(&book, &err));
    assert_false(ledger_is_refused(book, uuid(1), 1));
    assert_ok(ledger_note_fence(book, uuid(1), 257, &err));
    assert_true(ledger_is_refused(book, uuid(1), 256));
    assert_true(ledger_is_refused(book, uuid(1), 257));
    assert_false(ledger_is_refused(book, uuid(1), 258));
    assert_false(ledger_is_refused(book, uuid(2), 1));
    assert_ok(ledger_note_fence(book, uuid(1), 5, &err)); /* never lower */
    assert_true(ledger_is_refused(book, uuid(1), 257));
    assert_false(ledger_is_done(book, uuid(1)));
    ledger_free(book);
}

static void an_ended_call_is_refused_whatever_its_number(void **state)
{
    ledger *book = NULL;

    (void)state;
    assert_ok(ledger_new(&book, &err));
    assert_ok(ledger_note_done(book, uuid(1), &err));
    assert_true(ledger_is_done(book, uuid(1)));
    assert_true(ledger_is_refused(book, uuid(1), UINT32_MAX));
    assert_int_equal(ledger_note_done(book, "not an id", &err), FAAS_INVALID);
    assert_false(ledger_is_refused(book, "not an id", 1));
    ledger_free(book);
    ledger_free(NULL);
}

static void notes_are_kept_for_a_minute_from_the_newest(void **state)
{
    ledger *book = NULL;

    (void)state;
    assert_ok(ledger_new(&book, &err));
    assert_ok(ledger_note_fence(book, uuid(1), 257, &err));
    assert_ok(ledger_note_done(book, uuid(2), &err));
    step_ms(LEDGER_KEEP_MS - 1);
    assert_ok(ledger_note_fence(book, uuid(1), 300, &err));
    step_ms(1);
    assert_true(ledger_is_refused(book, uuid(1), 300));
    assert_false(ledger_is_done(book, uuid(2)));
    assert_int_equal(ledger_count(book), 1);
    step_ms(LEDGER_KEEP_MS);
    assert_false(ledger_is_refused(book, uuid(1), 1));
    assert_int_equal(ledger_count(book), 0);
    ledger_free(book);
}

static void notes_go_without_a_question(void **state)
{
    ledger *book = NULL;

    (void)state;
    assert_ok(ledger_new(&book, &err));
    assert_ok(ledger_note_done(book, uuid(1), &err));
    step_ms(LEDGER_KEEP_MS - 1);
    ledger_forget_old(book);
    assert_int_equal(ledger_count(book), 1);
    step_ms(1);
    ledger_forget_old(book);
    assert_int_equal(ledger_count(book), 0);
    ledger_free(book);
}

static void the_ledger_has_a_bound_and_the_oldest_goes(void **state)
{
    ledger *book = NULL;

    (void)state;
    assert_ok(ledger_new(&book, &err));
    for (unsigned i = 0; i < LEDGER_MAX + 10; i++)
        assert_ok(ledger_note_done(book, uuid(i), &err));
    assert_true(ledger_count(book) <= LEDGER_MAX + 1);
    assert_false(ledger_is_done(book, uuid(5)));
    assert_true(ledger_is_done(book, uuid(LEDGER_MAX + 9)));
    ledger_free(book);
}

/* ---- heartbeats ---- */

static void a_heartbeat_is_fresh_for_a_second(void **state)
{
    static struct beats beats;

    (void)state;
    memset(&beats, 0, sizeof beats);
    assert_false(beats_is_fresh(&beats, 1)); /* not sent yet */
    beats_note(&beats);
    assert_true(beats_is_fresh(&beats, 1));
    assert_false(beats_is_fresh(&beats, 0));
    assert_false(beats_is_fresh(&beats, -1));
    assert_false(beats_is_fresh(&beats, 2));
    step_ms(BEATS_FRESH_MS);
    beats_note(&beats);
    assert_true(beats_is_fresh(&beats, 1));
    step_ms(1);
    assert_false(beats_is_fresh(&beats, 1));
    assert_true(beats_is_fresh(&beats, 2));
}

static void a_heartbeat_older_than_the_ring_is_not_fresh(void **state)
{
    static struct beats beats;

    (void)state;
    memset(&beats, 0, sizeof beats);
    for (int i = 0; i < BEATS_KEPT + 1; i++)
        beats_note(&beats);
    assert_false(beats_is_fresh(&beats, 1));
    assert_true(beats_is_fresh(&beats, 2));
    assert_true(beats_is_fresh(&beats, BEATS_KEPT + 1));
}

#define STEPPED(test) cmocka_unit_test_setup_teardown(test, use_stepped, use_real)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPPED(an_image_is_known_for_a_minute),
        STEPPED(putting_again_replaces_and_renews),
        STEPPED(the_image_set_has_a_bound_and_the_oldest_goes),
        STEPPED(a_dropped_image_is_not_known),
        STEPPED(a_fence_refuses_its_number_and_lower_ones),
        STEPPED(an_ended_call_is_refused_whatever_its_number),
        STEPPED(notes_are_kept_for_a_minute_from_the_newest),
        STEPPED(notes_go_without_a_question),
        STEPPED(the_ledger_has_a_bound_and_the_oldest_goes),
        STEPPED(a_heartbeat_is_fresh_for_a_second),
        STEPPED(a_heartbeat_older_than_the_ring_is_not_fresh),
    };

    return run_unit(tests);
}
