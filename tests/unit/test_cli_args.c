#include "tests/unit/unit.h"

#include <string.h>

#include "cli/args.h"

static struct {
    bool flag, number_given;
    const char *text;
    int64_t number;
    double real;
    struct cli_list list;
} got;

static const struct cli_option options[] = {
    {"flag", CLI_FLAG, &got.flag, NULL, "a flag", 0, 0, NULL},
    {"text", CLI_TEXT, &got.text, "T", "a text", 0, 0, NULL},
    {"t", CLI_TEXT, &got.text, "T", "a text", 0, 0, NULL},
    {"number", CLI_INT, &got.number, "N", "a number", 1, 100, &got.number_given},
    {"real", CLI_REAL, &got.real, "N", "a real", 0, 8, NULL},
    {"list", CLI_LIST, &got.list, "K=V", "a list", 0, 0, NULL},
    CLI_OPTION_END,
};

static const struct cli_verb verb = {"try", "NAME [MORE]", "try things", NULL, 1, 2, options, NULL};

static const struct cli_verb verbs[] = {
    {"deploy", "", "", NULL, 0, 0, NULL, NULL},
    {"describe", "", "", NULL, 0, 0, NULL, NULL},
    {"down", "", "", NULL, 0, 0, NULL, NULL},
    {NULL, NULL, NULL, NULL, 0, 0, NULL, NULL},
};

#define ARGV(...)                                                                                  \
    (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[])                \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static faas_code parse(int argc, const char **words, struct cli_args *args, faas_err *err)
{
    char *argv[16];
    bool help = false;

    memset(&got, 0, sizeof got);
    for (int i = 0; i < argc; i++) {
        union {
            const char *word;
            char *arg;
        } borrowed = {.word = words[i]};

        argv[i] = borrowed.arg;
    }
    return args_parse(&verb, argc, argv, args, &help, err);
}

static void options_stand_before_and_after_arguments(void **state)
{
    struct cli_args args;
    faas_err err = {0};

    (void)state;
    assert_ok(parse(ARGV("--text", "a b", "one", "--number=7", "--flag", "two", "--real", "1.5"),
                    &args, &err));
    assert_string_equal(got.text, "a b");
    assert_int_equal(got.number, 7);
    assert_true(got.number_given && got.flag);
    assert_true(got.real > 1.49 && got.real < 1.51);
    assert_int_equal(args.rest.count, 2);
    assert_string_equal(args.rest.items[1], "two");
    assert_false(args.common.is_json);
}

static void an_option_of_one_letter_has_one_dash(void **state)
{
    struct cli_args args;
    faas_err err = {0};

    (void)state;
    assert_ok(parse(ARGV("-t", "a", "one"), &args, &err));
    assert_string_equal(got.text, "a");
    assert_ok(parse(ARGV("one", "-t=b"), &args, &err));
    assert_string_equal(got.text, "b");
    assert_int_equal(args.rest.count, 1);
    assert_int_equal(parse(ARGV("one", "-t"), &args, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "-t needs a value (T)");
    assert_int_equal(parse(ARGV("one", "-u"), &args, &err), FAAS_INVALID);
    assert_contains(err.msg, "unknown option -u");
    assert_int_equal(parse(ARGV("one", "--u"), &args, &err), FAAS_INVALID);
    assert_contains(err.msg, "unknown option --u; see");
}

static void options_that_every_verb_has_are_known(void **state)
{
    struct cli_args args;
    faas_err err = {0};

    (void)state;
    assert_ok(parse(ARGV("one", "--json", "--server", "http://h"), &args, &err));
    assert_true(args.common.is_json);
    assert_string_equal(args.common.server, "http://h");
}

static void lists_collect_in_order(void **state)
{
    struct cli_args args;
    faas_err err = {0};

    (void)state;
    assert_ok(parse(ARGV("one", "--list", "a=1", "--list=b=2"), &args, &err));
    assert_int_equal(got.list.count, 2);
    assert_string_equal(got.list.items[0], "a=1");
    assert_string_equal(got.list.items[1], "b=2");
}

static void two_dashes_end_the_options_and_one_is_an_argument(void **state)
{
    struct cli_args args;
    faas_err err = {0};

    (void)state;
    assert_ok(parse(ARGV("--", "--flag", "-x"), &args, &err));
    assert_false(got.flag);
    assert_string_equal(args.rest.items[0], "--flag");
    assert_string_equal(args.rest.items[1], "-x");
    assert_ok(parse(ARGV("one", "-"), &args, &err));
    assert_string_equal(args.rest.items[1], "-");
}

static void wrong_usage_says_what_is_right(void **state)
{
    static const struct {
        const char *words[4];
        const char *message;
    } cases[] = {
        {{"one", "--nmber", "3"}, "unknown option --nmber; did you mean --number?"},
        {{"one", "--zzzzzzz"}, "unknown option --zzzzzzz; see faas try --help"},
        {{"one", "--number"}, "--number needs a value (N)"},
        {{"one", "--number", "0"}, "--number takes a whole number from 1 to 100"},
        {{"one", "--number", "7x"}, "--number takes a whole number from 1 to 100"},
        {{"one", "--number", "-7"}, "--number takes a whole number from 1 to 100"},
        {{"one", "--number="}, "--number takes a whole number from 1 to 100"},
        {{"one", "--real", "1e3"}, "--real takes a number from 0 to 8"},
        {{"one", "--flag=yes"}, "--flag takes no value"},
        {{"--flag"}, "something is missing: faas try NAME [MORE]"},
        {{"a", "b", "c"}, "too many arguments: faas try NAME [MORE]"},
        {{"one", "-n"}, "unknown option -n; put -- before an argument that begins with a dash"},
    };
    struct cli_args args;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++) {
        const char *words[4];
        faas_err err = {0};
        int argc = 0;

        while (argc < 4 && cases[i].words[argc] != NULL) {
            words[argc] = cases[i].words[argc];
            argc++;
        }
        assert_int_equal(parse(argc, words, &args, &err), FAAS_INVALID);
        assert_string_equal(err.msg, cases[i].message);
    }
}

static void an_unknown_verb_has_a_nearest_one(void **state)
{
    const char *nearest;

    (void)state;
    assert_ptr_equal(args_find_verb(verbs, "down", &nearest), &verbs[2]);
    assert_null(args_find_verb(verbs, "depoly", &nearest));
    assert_string_equal(nearest, "deploy");
    assert_null(args_find_verb(verbs, "xyzzy", &nearest));
    assert_null(nearest);
}

static void numbers_are_digits_only(void **state)
{
    int64_t number = -1;
    double real = -1;

    (void)state;
    assert_true(args_int("0", 0, 9, &number));
    assert_int_equal(number, 0);
    assert_false(args_int("10", 0, 9, &number));
    assert_false(args_int(" 1", 0, 9, &number));
    assert_false(args_int("1234567890123456", 0, INT64_MAX, &number));
    assert_int_equal(number, 0);
    assert_true(args_real(".25", 0, 1, &real));
    assert_true(real > 0.249 && real < 0.251);
    assert_false(args_real("1.2.3", 0, 9, &real));
    assert_false(args_real(".", 0, 9, &real));
    assert_false(args_real("nan", 0, 9, &real));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_before_and_after_arguments),
        cmocka_unit_test(an_option_of_one_letter_has_one_dash),
        cmocka_unit_test(options_that_every_verb_has_are_known),
        cmocka_unit_test(lists_collect_in_order),
        cmocka_unit_test(two_dashes_end_the_options_and_one_is_an_argument),
        cmocka_unit_test(wrong_usage_says_what_is_right),
        cmocka_unit_test(an_unknown_verb_has_a_nearest_one),
        cmocka_unit_test(numbers_are_digits_only),
    };

    return run_unit(tests);
}
