/* Which requests wrote a record. */
#include <stdio.h>
#include <string.h>

#include "base/done.h"
#include "tests/unit/unit.h"

#define EARLY "0190a000-0000-7000-8000-000000000001"
#define LATE  "0190a000-0000-7000-8000-0000000000f0"

/* The record after so many writes of requests that are younger than EARLY. */
static json_t *written(const json_t *before, int count)
{
    json_t *doc = json_object();
    faas_err err = {0};

    assert_ok(faas_done_note(doc, before, "", 0, &err));
    for (int i = 0; i < count; i++) {
        char id[FAAS_UUID_TEXT];

        (void)snprintf(id, sizeof id, "0190a000-0000-7000-8000-0000000000%02x",
                       (unsigned)(0x10 + i) & 0xff);
        assert_ok(faas_done_note(doc, doc, id, i, &err));
    }
    return doc;
}

static faas_code find(const json_t *doc, const char *id, bool is_again, bool *out_is_done,
                      int64_t *out_n)
{
    struct faas_ctx caller = {.is_again = is_again};
    faas_err err = {0};

    (void)snprintf(caller.id, sizeof caller.id, "%s", id);
    return faas_done_find(doc, &caller, out_is_done, out_n, &err);
}

static void a_request_is_found_with_its_number(void **state)
{
    FAAS_AUTO(json_t) *first = json_object();
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};
    int64_t n = 0;
    bool is_done = false;

    (void)state;
    assert_ok(faas_done_note(first, NULL, EARLY, 7, &err));
    doc = written(first, FAAS_DONE_MAX - 1);
    assert_ok(find(doc, EARLY, true, &is_done, &n));
    assert_true(is_done);
    assert_int_equal(n, 7);
    assert_ok(find(doc, LATE, true, &is_done, &n));
    assert_false(is_done);
}

static void a_list_that_may_have_lost_it_says_so_to_whoever_asks_again(void **state)
{
    FAAS_AUTO(json_t) *doc = written(NULL, FAAS_DONE_MAX);
    int64_t n = 0;
    bool is_done = true;

    (void)state;
    assert_int_equal(find(doc, EARLY, true, &is_done, &n), FAAS_TIMEOUT);
    assert_ok(find(doc, EARLY, false, &is_done, &n));
    assert_false(is_done);
    assert_ok(find(doc, LATE, true, &is_done, &n)); /* some came before it: none of it is lost */
    assert_false(is_done);
}

static void the_list_is_bounded_and_the_newest_stay(void **state)
{
    FAAS_AUTO(json_t) *doc = written(NULL, 3 * FAAS_DONE_MAX);
    const json_t *list = json_object_get(doc, "done");

    (void)state;
    assert_int_equal(json_array_size(list), FAAS_DONE_MAX);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "n")),
                     2 * FAAS_DONE_MAX);
}

/* Of an older release, a later one, or nobody: never a match, never a crash. */
static void other_shapes_match_nothing(void **state)
{
    static const char *const shapes[] = {"{}", "{\"done\":7}", "{\"done\":[7,{},{\"id\":1}]}",
                                         "{\"done\":{\"id\":\"x\"}}"};
    int64_t n = 0;
    bool is_done = true;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(shapes); i++) {
        FAAS_AUTO(json_t) *doc = json_loads(shapes[i], 0, NULL);

        assert_non_null(doc);
        assert_ok(find(doc, EARLY, true, &is_done, &n));
        assert_false(is_done);
    }
    assert_ok(find(NULL, EARLY, true, &is_done, &n));
    assert_false(is_done);
    assert_false(faas_done_has(NULL, "", &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_found_with_its_number),
        cmocka_unit_test(a_list_that_may_have_lost_it_says_so_to_whoever_asks_again),
        cmocka_unit_test(the_list_is_bounded_and_the_newest_stay),
        cmocka_unit_test(other_shapes_match_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
