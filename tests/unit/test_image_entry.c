#include "tests/unit/unit.h"

#include <string.h>

#include "services/spawner/image/entry_name.h"

static const struct entry_bounds bounds = {.depth = 4, .bytes = 16};

static void clean_is(const char *name, const char *clean)
{
    char got[ENTRY_NAME_MAX];
    faas_err err = {0};

    if (entry_name_clean(name, &bounds, got, &err) != FAAS_OK)
        fail_msg("%s: %s", name, err.msg);
    assert_string_equal(got, clean);
}

static void clean_fails(const char *name, faas_code code, const char *why)
{
    char got[ENTRY_NAME_MAX];
    faas_err err = {0};

    assert_int_equal(entry_name_clean(name, &bounds, got, &err), code);
    assert_string_equal(err.msg, why);
}

static void names_become_relative_and_plain(void **state)
{
    (void)state;
    clean_is("a/b", "a/b");
    clean_is("./a//b/./", "a/b");
    clean_is("/a", "a");
    clean_is("///", "");
    clean_is(".", "");
    clean_is("", "");
    clean_is("a/...", "a/...");
    clean_is("..a/b..", "..a/b..");
    clean_is("1/2/3/4", "1/2/3/4");
    clean_is("0123456789abcdef", "0123456789abcdef");
    clean_is("01234567/9abcdef", "01234567/9abcdef");
}

static void names_that_climb_are_refused(void **state)
{
    (void)state;
    clean_fails("..", FAAS_INVALID, "entry ..: a name must not hold ..");
    clean_fails("a/../b", FAAS_INVALID, "entry a/../b: a name must not hold ..");
    clean_fails("/..", FAAS_INVALID, "entry /..: a name must not hold ..");
    clean_fails("a/..", FAAS_INVALID, "entry a/..: a name must not hold ..");
}

static void long_and_deep_names_are_refused(void **state)
{
    FAAS_AUTO(char) *text = malloc(2 * ENTRY_NAME_MAX + 1);
    const struct entry_bounds wide = {.depth = 100000, .bytes = 100000};
    char got[ENTRY_NAME_MAX];

    (void)state;
    clean_fails("1/2/3/4/5", FAAS_TOO_LARGE,
                "entry 1/2/3/4/5: deeper than 4 folders (IMAGE_MAX_DEPTH)");
    clean_fails("0123456789abcdefg", FAAS_TOO_LARGE,
                "entry 0123456789abcdefg...: its name is longer than 16 bytes (IMAGE_MAX_NAME)");
    clean_fails("01234567/9abcdefg", FAAS_TOO_LARGE,
                "entry 01234567/9abcdefg...: its name is longer than 16 bytes (IMAGE_MAX_NAME)");
    /* Whatever the settings are, it must fit. */
    for (size_t len = ENTRY_NAME_MAX - 3; len < ENTRY_NAME_MAX + 3; len++) {
        memset(text, 'x', len);
        text[len] = '\0';
        assert_int_equal(entry_name_clean(text, &wide, got, NULL),
                         len < ENTRY_NAME_MAX ? FAAS_OK : FAAS_TOO_LARGE);
    }
    for (size_t i = 0; i < 2 * ENTRY_NAME_MAX; i += 2)
        memcpy(text + i, "x/", 2);
    text[2 * ENTRY_NAME_MAX] = '\0';
    assert_int_equal(entry_name_clean(text, &wide, got, NULL), FAAS_TOO_LARGE);
}

static void names_split_into_folder_and_last_part(void **state)
{
    char folder[ENTRY_NAME_MAX];

    (void)state;
    assert_string_equal(entry_name_split("a/b/c", folder), "c");
    assert_string_equal(folder, "a/b");
    assert_string_equal(entry_name_split("c", folder), "c");
    assert_string_equal(folder, "");
}

static void marks_are_told_from_names(void **state)
{
    static const struct {
        const char *last, *hidden;
        enum entry_mark mark;
    } cases[] = {
        {"a", NULL, ENTRY_PLAIN},
        {".w", NULL, ENTRY_PLAIN},
        {".wh", NULL, ENTRY_PLAIN},
        {"x.wh.y", NULL, ENTRY_PLAIN},
        {".wh.a", "a", ENTRY_WHITEOUT},
        {".wh....", "...", ENTRY_WHITEOUT},
        {".wh..wh..opq", NULL, ENTRY_OPAQUE},
        {".wh..wh.plnk", NULL, ENTRY_IGNORED},
        {".wh..wh..opq2", NULL, ENTRY_IGNORED},
    };
    static const char *const odd[] = {".wh.", ".wh..", ".wh..."};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++) {
        const char *hidden = NULL;
        enum entry_mark mark;

        assert_ok(entry_name_mark(cases[i].last, &mark, &hidden, NULL));
        assert_int_equal(mark, cases[i].mark);
        if (cases[i].hidden != NULL)
            assert_string_equal(hidden, cases[i].hidden);
    }
    for (size_t i = 0; i < FAAS_ARRAY_LEN(odd); i++) {
        const char *hidden;
        enum entry_mark mark;

        assert_int_equal(entry_name_mark(odd[i], &mark, &hidden, NULL), FAAS_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_become_relative_and_plain),
        cmocka_unit_test(names_that_climb_are_refused),
        cmocka_unit_test(long_and_deep_names_are_refused),
        cmocka_unit_test(names_split_into_folder_and_last_part),
        cmocka_unit_test(marks_are_told_from_names),
    };

    return run_unit(tests);
}
