/* A call's note as a line of JSON: services/publisher/history_text.c. */
#include "tests/unit/unit.h"

#include "base/json.h"
#include "services/publisher/history_text.h"

#include <stdio.h>
#include <string.h>

#define ID     "0190a000-0000-7000-8000-000000000009"
#define TENANT "0190a000-0000-7000-8000-000000000001"

static struct history_note basic(void)
{
    struct history_note note;

    history_note_init(&note);
    note.event = HISTORY_ENDED;
    note.status = HISTORY_IS_SUCCEEDED;
    note.id = ID;
    note.tenant = TENANT;
    note.attempt = 3;
    return note;
}

/* One line, which is one object. */
static json_t *line_of(const struct history_note *note)
{
    struct history_text text = {0};
    json_t *doc = NULL;
    faas_err err = {0};

    assert_true(history_text_add(&text, note));
    assert_ptr_equal(memchr(text.data, '\n', text.len), text.data + text.len - 1);
    if (faas_json_parse(text.data, text.len, false, &doc, &err) != FAAS_OK)
        fail_msg("%.*s: %s", (int)text.len, text.data, err.msg);
    history_text_done(&text);
    return doc;
}

static const char *text_of(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    return text != NULL ? text : "(none)";
}

static void what_is_not_known_is_left_out(void **state)
{
    struct history_note note = basic();
    json_t *doc = line_of(&note);

    (void)state;
    assert_int_equal(json_object_size(doc), 6); /* v, id, tenant, order, status, attempt */
    assert_string_equal(text_of(doc, "id"), ID);
    assert_string_equal(text_of(doc, "tenant"), TENANT);
    assert_string_equal(text_of(doc, "status"), "succeeded");
    assert_int_equal(json_integer_value(json_object_get(doc, "order")), 3 * 8 + HISTORY_ENDED);
    json_decref(doc);
}

static void zeros_that_mean_something_are_said(void **state)
{
    struct history_note note = basic();
    json_t *doc;

    (void)state;
    note.exit_code = 0;
    note.argument_bytes = note.result_bytes = note.stderr_bytes = 0;
    note.run_time_ms = 0;
    note.is_oom = true;
    doc = line_of(&note);
    assert_true(json_is_integer(json_object_get(doc, "exit_code")));
    assert_true(json_is_integer(json_object_get(doc, "result_bytes")));
    assert_true(json_is_integer(json_object_get(doc, "stderr_bytes")));
    assert_true(json_is_integer(json_object_get(doc, "argument_bytes")));
    assert_true(json_is_real(json_object_get(json_object_get(doc, "times_ms"), "run")));
    assert_int_equal(json_object_size(json_object_get(doc, "times_ms")), 1);
    assert_true(json_is_true(json_object_get(doc, "oom")));
    json_decref(doc);
}

static void any_text_survives_or_is_replaced(void **state)
{
    struct history_note note = basic();
    json_t *doc;

    (void)state;
    note.client_call_id = "a \"quote\" and \\ \x7f";
    note.detail = "tab\tnewline\n\x01 \xc3\xa9 \xff end";
    doc = line_of(&note);
    assert_string_equal(text_of(doc, "client_call_id"), "a \"quote\" and \\ \x7f");
    assert_string_equal(text_of(doc, "detail"), "tab\tnewline\n\x01 \xc3\xa9 ? end");
    json_decref(doc);
}

static void a_later_event_or_attempt_counts_more(void **state)
{
    (void)state;
    assert_true(history_order(1, HISTORY_QUEUED) < history_order(1, HISTORY_PLACED));
    assert_true(history_order(1, HISTORY_PLACED) < history_order(1, HISTORY_STARTED));
    assert_true(history_order(1, HISTORY_STARTED) < history_order(1, HISTORY_ENDED));
    assert_true(history_order(1, HISTORY_ENDED) < history_order(2, HISTORY_QUEUED));
}

static void a_note_of_nobody_is_none(void **state)
{
    struct history_note note = basic();
    struct history_text text = {0};

    (void)state;
    note.tenant = NULL;
    assert_false(history_text_add(&text, &note));
    assert_int_equal(text.len, 0);
    history_text_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_known_is_left_out),
        cmocka_unit_test(zeros_that_mean_something_are_said),
        cmocka_unit_test(any_text_survives_or_is_replaced),
        cmocka_unit_test(a_later_event_or_attempt_counts_more),
        cmocka_unit_test(a_note_of_nobody_is_none),
    };

    return run_unit(tests);
}
