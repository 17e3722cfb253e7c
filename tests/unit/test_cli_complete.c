/* Completion and the man page follow the tables of verbs and options. */
#include "tests/unit/unit.h"

#include <string.h>

#include "cli/args.h"
#include "cli/complete.h"
#include "cli/man.h"

static const struct cli_option options[] = {
    {"f", CLI_TEXT, NULL, "FILE", "a file", 0, 0, NULL},
    {"file", CLI_TEXT, NULL, "FILE", "a file - or \\none", 0, 0, NULL},
    {"flag", CLI_FLAG, NULL, NULL, ".begins with a full stop", 0, 0, NULL},
    {"function", CLI_TEXT, NULL, "NAME", "a function", 0, 0, NULL},
    {"input", CLI_TEXT, NULL, "HOW", "argv or stdin", 0, 0, NULL},
    CLI_OPTION_END,
};
static const struct cli_verb verbs[] = {
    {"invoke", "NAME [ARGUMENT]", "call it", ".one\n'two\n", 1, 2, options, NULL},
    {"image list", "", "list images", NULL, 0, 0, NULL, NULL},
    {"image pack", "DIR", "pack one", NULL, 1, 1, options, NULL},
    {"remove", "NAME...", "remove them", NULL, 1, 9, NULL, NULL},
    {"keys", "rotate", "change keys", NULL, 1, 1, NULL, NULL},
    {"help", "[VERB]", "print help", NULL, 0, 2, NULL, NULL},
    {NULL, NULL, NULL, NULL, 0, 0, NULL, NULL},
};

static void names(const char *begin, FILE *to)
{
    if (strncmp("echo", begin, strlen(begin)) == 0)
        fputs("echo\n", to);
}

#define ALL_COMMON "--json\n--server\n--ca-file\n--verbose\n--help\n"

/* What follows these words, the last of which is being typed. */
static void offers(const char *line, const char *candidates)
{
    char copy[128], *text = NULL, *rest = NULL;
    struct cli_list words = {0};
    size_t len;
    FILE *to = open_memstream(&text, &len);

    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        words.items[words.count++] = word;
    if (line[0] == '\0' || line[strlen(line) - 1] == ' ')
        words.items[words.count++] = "";
    complete_words(verbs, &words, names, to);
    fclose(to);
    assert_string_equal(text, candidates);
    free(text);
}

static void verbs_and_groups_are_offered_once(void **state)
{
    (void)state;
    offers("", "invoke\nimage\nremove\nkeys\nhelp\n");
    offers("i", "invoke\nimage\n");
    offers("image ", "list\npack\n");
    offers("image p", "pack\n");
    offers("nothing ", "");
    offers("image nothing ", "");
}

static void options_are_those_of_the_verb_and_of_all(void **state)
{
    (void)state;
    offers("invoke -", "-f\n--file\n--flag\n--function\n--input\n" ALL_COMMON);
    offers("invoke --fi", "--file\n");
    offers("image pack --fl", "--flag\n");
    offers("image list --", ALL_COMMON);
}

static void values_are_words_names_or_files(void **state)
{
    (void)state;
    offers("invoke --input ", "argv\nstdin\n");
    offers("invoke --input s", "stdin\n");
    offers("invoke --function e", "echo\n");
    offers("invoke -f ", "");
    offers("invoke --server ", "");
    offers("image pack ", "");
}

static void names_of_functions_stand_where_they_are_due(void **state)
{
    (void)state;
    offers("invoke ", "echo\n");
    offers("invoke e", "echo\n");
    offers("invoke x", "");
    offers("invoke --flag -f some ", "echo\n");
    offers("invoke echo ", "");
    offers("remove a b ", "echo\n");
    offers("keys ", "rotate\n");
    offers("keys rotate ", "");
    offers("help i", "invoke\nimage\n");
    offers("help image ", "list\npack\n");
}

static void the_man_page_has_every_verb_and_option(void **state)
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    (void)state;
    man_page(verbs, to);
    fclose(to);
    assert_contains(text, ".SS \"faas invoke NAME [ARGUMENT]\"\ncall it.\n.PP\n\\&.one\n\\&'two\n");
    assert_contains(text, ".TP\n\\fB\\-f\\fR \\fIFILE\\fR\na file\n");
    assert_contains(text, ".TP\n\\fB\\-\\-file\\fR \\fIFILE\\fR\na file \\- or \\enone\n");
    assert_contains(text, ".TP\n\\fB\\-\\-flag\\fR\n\\&.begins with a full stop\n");
    assert_contains(text, ".SS \"faas image pack DIR\"\n");
    assert_contains(text, ".SH OPTIONS OF EVERY VERB\n.TP\n\\fB\\-\\-json\\fR\n");
    assert_contains(text, ".SH EXIT STATUS\nExit status: 0 done;");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verbs_and_groups_are_offered_once),
        cmocka_unit_test(options_are_those_of_the_verb_and_of_all),
        cmocka_unit_test(values_are_words_names_or_files),
        cmocka_unit_test(names_of_functions_stand_where_they_are_due),
        cmocka_unit_test(the_man_page_has_every_verb_and_option),
    };

    return run_unit(tests);
}
