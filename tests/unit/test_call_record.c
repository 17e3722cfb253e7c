/* What becomes of the notes about a call: services/registry/call_record.c. */
#include "tests/unit/unit.h"

#include "services/registry/call_record.h"

#include <stdio.h>
#include <string.h>

#define ID     "0190a000-0000-7000-8000-000000000009"
#define TENANT "0190a000-0000-7000-8000-000000000001"

/* A note with further members. */
static struct call_note note_of(int64_t order, const char *status, const char *more)
{
    struct call_note note = {.doc = NULL};
    char line[1024];
    faas_err err = {0};

    (void)snprintf(line, sizeof line,
                   "{\"v\":1,\"id\":\"" ID "\",\"tenant\":\"" TENANT "\",\"order\":%lld,"
                   "\"status\":\"%s\"%s}\n",
                   (long long)order, status, more);
    if (call_note_read(line, strlen(line), &note, &err) != FAAS_OK)
        fail_msg("%s: %s", line, err.msg);
    return note;
}

static bool merge(json_t *stored, int64_t *order, struct call_note take_note)
{
    bool is_changed = false;
    faas_err err = {0};

    assert_ok(call_record_merge(stored, *order, &take_note, &is_changed, &err));
    if (take_note.order > *order)
        *order = take_note.order;
    call_note_done(&take_note);
    return is_changed;
}

static const char *text_of(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    return text != NULL ? text : "(none)";
}

static void the_later_note_counts_in_whatever_order_they_come(void **state)
{
    struct call_note first =
        note_of(10, "running", ",\"function\":\"f\",\"spawner\":\"s1\",\"queued_at\":5");
    int64_t order = 10;

    (void)state;
    assert_true(
        merge(first.doc, &order, note_of(13, "succeeded", ",\"function\":\"f\",\"queued_at\":6")));
    assert_string_equal(text_of(first.doc, "status"), "succeeded");
    assert_string_equal(text_of(first.doc, "spawner"), "(none)"); /* the whole note counts */
    assert_int_equal(json_integer_value(json_object_get(first.doc, "queued_at")), 5);
    assert_false(merge(first.doc, &order, note_of(10, "running", ",\"function\":\"f\"")));
    assert_false(merge(first.doc, &order, note_of(13, "failed", ",\"function\":\"f\"")));
    assert_string_equal(text_of(first.doc, "status"), "succeeded");
    call_note_done(&first);
}

static void an_end_told_by_a_stranger_keeps_what_the_owner_knew(void **state)
{
    struct call_note open =
        note_of(10, "running", ",\"function\":\"f\",\"client_call_id\":\"mine\",\"version\":3");
    int64_t order = 10;

    (void)state;
    assert_true(merge(open.doc, &order, note_of(13, "failed", ",\"exit_code\":4")));
    assert_string_equal(text_of(open.doc, "status"), "failed");
    assert_string_equal(text_of(open.doc, "function"), "f");
    assert_string_equal(text_of(open.doc, "client_call_id"), "mine");
    assert_int_equal(json_integer_value(json_object_get(open.doc, "exit_code")), 4);
    call_note_done(&open);
}

static void what_the_owner_knew_may_come_after_the_strangers_end(void **state)
{
    struct call_note end = note_of(13, "failed", ",\"exit_code\":4");
    int64_t order = 13;

    (void)state;
    assert_true(merge(end.doc, &order, note_of(10, "running", ",\"function\":\"f\"")));
    assert_string_equal(text_of(end.doc, "status"), "failed");
    assert_string_equal(text_of(end.doc, "function"), "f");
    assert_int_equal(order, 13);
    call_note_done(&end);
}

/* The end of an attempt is not the end of a call that is tried again. */
static void a_later_attempt_forgets_how_the_one_before_ended(void **state)
{
    struct call_note note =
        note_of(13, "failed",
                ",\"function\":\"f\",\"exit_code\":4,\"client_call_id\":\"x\",\"queued\":true,"
                "\"argument_bytes\":9,\"ended_at\":8");
    int64_t order = 13;

    (void)state;
    assert_true(merge(note.doc, &order, note_of(17, "queued", ",\"function\":\"f\"")));
    assert_string_equal(text_of(note.doc, "status"), "queued");
    assert_null(json_object_get(note.doc, "exit_code"));
    assert_null(json_object_get(note.doc, "ended_at"));
    assert_string_equal(text_of(note.doc, "client_call_id"), "x");
    assert_true(json_is_true(json_object_get(note.doc, "queued")));
    assert_int_equal(json_integer_value(json_object_get(note.doc, "argument_bytes")), 9);
    call_note_done(&note);
}

static void what_is_no_note_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[1]",
        "{\"id\":\"" ID "\"}",
        "{\"id\":\"" ID "\",\"tenant\":\"x\",\"order\":1,\"status\":\"failed\"}",
        "{\"id\":\"" ID "\",\"tenant\":\"" TENANT "\",\"order\":\"1\",\"status\":\"failed\"}",
        "{\"id\":\"" ID "\",\"tenant\":\"" TENANT "\",\"order\":1,\"status\":\"\"}",
        "{\"id\":\"" ID "\",\"tenant\":\"" TENANT "\",\"order\":1,\"status\":\"failed\"",
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        struct call_note note;
        faas_err err = {0};

        if (call_note_read(bad[i], strlen(bad[i]), &note, &err) != FAAS_INVALID)
            fail_msg("taken for a note: %s", bad[i]);
    }
}

static void the_public_form_has_times_and_hides_the_inside(void **state)
{
    struct call_note note =
        note_of(13, "failed",
                ",\"function\":\"f\",\"user\":\"u\",\"until\":9,\"publisher_epoch\":\"e\","
                "\"queued_at\":1767323045678,\"times_ms\":{\"run\":1.25},\"future\":1");
    FAAS_AUTO(json_t) *shown = call_record_public(note.doc);

    (void)state;
    assert_string_equal(text_of(shown, "queued_at"), "2026-01-02T03:04:05.678Z");
    assert_int_equal(json_object_size(shown), 5); /* id, function, status, queued_at, times_ms */
    call_note_done(&note);
}

static void times_are_read_as_rfc_3339_has_them(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-01-02T03:04:05Z", 1767323045000},
        {"2026-01-02T03:04:05.6Z", 1767323045600},
        {"2026-01-02t03:04:05.678901234z", 1767323045678},
        {"2026-01-02T04:04:05+01:00", 1767323045000},
        {"2026-01-01T19:34:05-07:30", 1767323045000},
        {"2024-02-29T00:00:00Z", 1709164800000},
        {"2016-12-31T23:59:60Z", 1483228800000},
    };
    static const char *const bad[] = {
        "",
        "now",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-1-02T03:04:05Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05.1234567890Z",
        "2026-01-02T03:04:05+1:00",
        "2026-01-02T03:04:05Zx",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "-026-01-02T03:04:05Z",
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(good); i++) {
        int64_t ms = -1;
        faas_err err = {0};

        if (call_time_parse(good[i].text, "since", &ms, &err) != FAAS_OK)
            fail_msg("%s: %s", good[i].text, err.msg);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        int64_t ms;
        faas_err err = {0};

        if (call_time_parse(bad[i], "since", &ms, &err) != FAAS_INVALID)
            fail_msg("taken for a time: %s", bad[i]);
        assert_memory_equal(err.msg, "since:", 6);
    }
}

static void ids_sort_by_their_time(void **state)
{
    uint8_t bound[16], id[16];

    (void)state;
    faas_uuid_to_bytes("019b7cca-0ae5-7000-8000-000000000000", id);
    call_id_from_ms(0x019b7cca0ae5, bound);
    assert_true(memcmp(bound, id, 16) < 0);
    call_id_from_ms(0x019b7cca0ae6, bound);
    assert_true(memcmp(bound, id, 16) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_later_note_counts_in_whatever_order_they_come),
        cmocka_unit_test(an_end_told_by_a_stranger_keeps_what_the_owner_knew),
        cmocka_unit_test(what_the_owner_knew_may_come_after_the_strangers_end),
        cmocka_unit_test(a_later_attempt_forgets_how_the_one_before_ended),
        cmocka_unit_test(what_is_no_note_is_refused),
        cmocka_unit_test(the_public_form_has_times_and_hides_the_inside),
        cmocka_unit_test(times_are_read_as_rfc_3339_has_them),
        cmocka_unit_test(ids_sort_by_their_time),
    };

    return run_unit(tests);
}
