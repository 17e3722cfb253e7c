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

static void an_alias_is_a_name_but_no_number(void **state)
{
    static const char *const bad[] = {
        "", "1", "007", "-a", "_a", "a:b", "a@1", "a.b", "a b", "\xff", LONG_31 LONG_31 "xy"};

    (void)state;
    assert_ok(faas_alias_name_check("live", NULL));
    assert_ok(faas_alias_name_check("1a", NULL));
    assert_ok(faas_alias_name_check(LONG_31 LONG_31 "x", NULL));
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        faas_err err = {0};

        assert_int_equal(faas_alias_name_check(bad[i], &err), FAAS_INVALID);
        assert_string_equal(err.msg,
                            "alias: 1 to 63 of A-Z, a-z, 0-9, '_' and '-', beginning with "
                            "a letter or digit, and not digits alone (a version is NAME@N)");
    }
}

static void a_reference_names_the_newest_a_version_or_an_alias(void **state)
{
    struct faas_function_ref ref;
    char pick[FAAS_FUNCTION_PICK_MAX + 1];

    (void)state;
    assert_ok(faas_function_ref_parse("f", &ref, NULL));
    assert_string_equal(ref.name, "f");
    assert_string_equal(ref.alias, "");
    assert_int_equal(ref.version, 0);
    faas_function_ref_pick(&ref, pick);
    assert_string_equal(pick, "");
    assert_ok(faas_function_ref_parse("f-1@2147483647", &ref, NULL));
    assert_string_equal(ref.name, "f-1");
    assert_int_equal(ref.version, INT32_MAX);
    faas_function_ref_pick(&ref, pick);
    assert_string_equal(pick, "@2147483647");
    assert_ok(faas_function_ref_parse(LONG_31 LONG_31 "x:" LONG_31 LONG_31 "y", &ref, NULL));
    assert_string_equal(ref.name, LONG_31 LONG_31 "x");
    assert_string_equal(ref.alias, LONG_31 LONG_31 "y");
    assert_int_equal(ref.version, 0);
    faas_function_ref_pick(&ref, pick);
    assert_string_equal(pick, ":" LONG_31 LONG_31 "y");
}

static void other_references_are_refused_with_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"", "name: 1 to 63"},
        {"@1", "name: 1 to 63"},
        {":a", "name: 1 to 63"},
        {"a b@1", "name: 1 to 63"},
        {"f@", "behind '@'"},
        {"f@0", "behind '@'"},
        {"f@01", "behind '@'"},
        {"f@-1", "behind '@'"},
        {"f@+1", "behind '@'"},
        {"f@1 ", "behind '@'"},
        {"f@1.0", "behind '@'"},
        {"f@x", "behind '@'"},
        {"f@1@2", "behind '@'"},
        {"f@2147483648", "behind '@'"},
        {"f@99999999999999999999", "behind '@'"},
        {"f:", "alias: 1 to 63"},
        {"f:1", "not digits alone"},
        {"f:a:b", "alias: 1 to 63"},
        {"f@1:x", "not both"},
        {"f:x@1", "not both"},
        {"f@:", "not both"},
        {LONG_31 LONG_31 "xy@1", "name: 1 to 63"},
        {"f:" LONG_31 LONG_31 "xy", "alias: 1 to 63"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        struct faas_function_ref ref = {.version = 77};
        faas_err err = {0};

        assert_int_equal(faas_function_ref_parse(bad[i].text, &ref, &err), FAAS_INVALID);
        assert_contains(err.msg, bad[i].part);
        assert_int_equal(ref.version, 77);
    }
}

static void media_types_are_type_slash_subtype_in_one_line(void **state)
{
    static const char *const good[] = {"text/html", "text/html; charset=utf-8",
                                       "application/vnd.api+json", "a/b ;c=\"d e\""};
    static const char *const bad[] = {"",
                                      "text",
                                      "/html",
                                      "text/",
                                      "text/html\r\nX-A: b",
                                      "text/html;",
                                      "te xt/html",
                                      "text/html a",
                                      "text/html; a=\x7f",
                                      "text/h\xc3\xa4"};
    char longest[FAAS_MEDIA_TYPE_MAX + 2];
    faas_err err = {0};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(good); i++)
        assert_int_equal(faas_media_type_check(good[i], &err), FAAS_OK);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++)
        assert_int_equal(faas_media_type_check(bad[i], &err), FAAS_INVALID);
    assert_contains(err.msg, "content_type: a media type");
    assert_int_equal(faas_media_type_check(NULL, &err), FAAS_INVALID);
    memset(longest, 'a', sizeof longest);
    longest[1] = '/';
    longest[FAAS_MEDIA_TYPE_MAX] = '\0';
    assert_int_equal(faas_media_type_check(longest, &err), FAAS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(user_names_fold_to_small_letters),
        cmocka_unit_test(user_names_outside_the_grammar_are_refused),
        cmocka_unit_test(function_names_keep_their_case),
        cmocka_unit_test(function_names_outside_the_grammar_are_refused),
        cmocka_unit_test(an_alias_is_a_name_but_no_number),
        cmocka_unit_test(a_reference_names_the_newest_a_version_or_an_alias),
        cmocka_unit_test(other_references_are_refused_with_what_is_wrong),
        cmocka_unit_test(media_types_are_type_slash_subtype_in_one_line),
    };

    return run_unit(tests);
}
