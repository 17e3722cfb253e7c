#include "tests/unit/unit.h"

#include <string.h>

#include "base/name.h"

#define LONG_31 "abcdefghijklmnopqrstuvwxyz01234"

static void user_names_fold_to_small_letters(void **state)
{
    char folded[FAAS_USER_NAME_MAX + 1];

    (void)state;
    assert_ok(faas_user_name_fold("Ada-Lovelace_1", folded, NULL));
    assert_string_equal(folded, "ada-lovelace_1");
    assert_ok(faas_user_name_fold("0x", folded, NULL));
    assert_ok(faas_user_name_fold(LONG_31 "Z", folded, NULL));
    assert_string_equal(folded, LONG_31 "z");
}

static void user_names_outside_the_grammar_are_refused(void **state)
{
    static const char *const bad[] = {
        "",     "a",    "-ab",          "_ab",        "a b",        "a.b",  "a*",   "a>",  "a/b",
        "a\nb", "ab\t", "\xc3\xa4rger", "ad\xd0\xb0", LONG_31 "zz", "a%00", "a'--", "a@b",
    };
    char folded[FAAS_USER_NAME_MAX + 1] = "untouched";
    faas_err err;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        err = (faas_err){0};
        assert_int_equal(faas_user_name_fold(bad[i], folded, &err), FAAS_INVALID);
        assert_string_equal(err.msg,
                            "username: 2 to 32 of a-z, 0-9, '_' and '-', beginning with a letter "
                            "or digit (capital letters count as small ones)");
        assert_string_equal(folded, "untouched");
    }
    assert_int_equal(faas_user_name_fold(NULL, folded, &err), FAAS_INVALID);
}

static void function_names_keep_their_case(void **state)
{
    (void)state;
    assert_ok(faas_function_name_check("a", NULL));
    assert_ok(faas_function_name_check("Upper-Case_9", NULL));
    assert_ok(faas_function_name_check(LONG_31 LONG_31 "x", NULL));
}

static void function_names_outside_the_grammar_are_refused(void **state)
{
    static const char *const bad[] = {"",    "-a",  "_a", "a:b", "a@1",  "a.b",
                                      "a/b", "a b", "a>", "a*",  "\xff", LONG_31 LONG_31 "xy"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        faas_err err = {0};

        assert_int_equal(faas_function_name_check(bad[i], &err), FAAS_INVALID);
        assert_string_equal(err.msg, "name: 1 to 63 of A-Z, a-z, 0-9, '_' and '-', beginning with "
                                     "a letter or digit");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(user_names_fold_to_small_letters),
        cmocka_unit_test(user_names_outside_the_grammar_are_refused),
        cmocka_unit_test(function_names_keep_their_case),
        cmocka_unit_test(function_names_outside_the_grammar_are_refused),
    };

    return run_unit(tests);
}
