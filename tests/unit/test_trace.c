#include "tests/unit/unit.h"

#include <string.h>

#include "base/trace.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define REST  TRACE "-b7ad6b7169203331-01"

static void a_sound_one_is_passed_on_as_it_is(void **state)
{
    char trace[FAAS_TRACE_TEXT], id[FAAS_TRACE_ID];

    (void)state;
    assert_true(faas_trace_read("00-" REST, trace));
    assert_string_equal(trace, "00-" REST);
    faas_trace_id(trace, id);
    assert_string_equal(id, TRACE);
    faas_trace_id("", id);
    assert_string_equal(id, "");
}

static void a_later_version_is_read_as_this_one(void **state)
{
    char trace[FAAS_TRACE_TEXT], same[128] = "cc-" REST "-what-the-future-will-be-like";

    (void)state;
    assert_true(faas_trace_read("01-" REST, trace));
    assert_string_equal(trace, "00-" REST);
    assert_true(faas_trace_read(same, same));
    assert_string_equal(same, "00-" REST);
}

/* The cases of the specification's section 2.2 and 4.3. */
static void what_is_none_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "00",
        "00-" TRACE,
        "00-" TRACE "-b7ad6b7169203331",
        "00-" TRACE "-b7ad6b7169203331-",
        "00-" TRACE "-b7ad6b7169203331-0",
        "00-" REST "-",
        "00-" REST "-x",
        "00-" REST "0",
        "01-" REST "x",
        "ff-" REST,
        "0x-" REST,
        "00_" REST,
        " 00-" REST,
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-" TRACE "-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-" TRACE "-B7AD6B7169203331-01",
        "00-" TRACE "-b7ad6b716920333g-01",
        "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
    };
    char trace[FAAS_TRACE_TEXT] = "kept";

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_false(faas_trace_read(rows[i], trace));
    assert_string_equal(trace, "kept");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_one_is_passed_on_as_it_is),
        cmocka_unit_test(a_later_version_is_read_as_this_one),
        cmocka_unit_test(what_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
