#include "cli/complete.h"

#include <string.h>

#include "cli/args.h"

static bool begins(const char *text, const char *begin)
{
    return strncmp(text, begin, strlen(begin)) == 0;
}

static void offer(const char *prefix, const char *name, const char *typed, FILE *to)
{
    char text[80];

    snprintf(text, sizeof text, "%s%s", prefix, name);
    if (begins(text, typed))
        fprintf(to, "%s\n", text);
}

/* ---- verbs ---- */

static void offer_first_words(const struct cli_verb *verbs, const char *typed, FILE *to)
{
    char before[64] = "";

    for (; verbs->name != NULL; verbs++) {
        char word[64];

        snprintf(word, sizeof word, "%.*s", (int)strcspn(verbs->name, " "), verbs->name);
        if (strcmp(word, before) != 0) /* verbs of a group stand together */
            offer("", word, typed, to);
        snprintf(before, sizeof before, "%s", word);
    }
}

static void offer_second_words(const struct cli_verb *verbs, const char *group, const char *typed,
                               FILE *to)
{
    size_t len = strlen(group);

    for (; verbs->name != NULL; verbs++)
        if (begins(verbs->name, group) && verbs->name[len] == ' ')
            offer("", verbs->name + len + 1, typed, to);
}

static bool is_group(const struct cli_verb *verbs, const char *word)
{
    size_t len = strlen(word);

    for (; verbs->name != NULL; verbs++)
        if (begins(verbs->name, word) && verbs->name[len] == ' ')
            return true;
    return false;
}

/* ---- options ---- */

static void offer_options(const struct cli_option *table, const char *typed, FILE *to)
{
    for (; table != NULL && table->name != NULL; table++)
        offer(table->name[1] != '\0' ? "--" : "-", table->name, typed, to);
}

static const struct cli_option *find_option(const struct cli_option *table, const char *word)
{
    const char *name = word + (begins(word, "--") ? 2 : 1);

    for (; table != NULL && table->name != NULL; table++)
        if (word[0] == '-' && strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

/* The option of that word that takes a value, or NULL. */
static const struct cli_option *takes_value(const struct cli_verb *verb, const char *word)
{
    const struct cli_option *option = find_option(verb->options, word);

    if (option == NULL)
        option = find_option(args_common_options, word);
    return option != NULL && option->kind != CLI_FLAG ? option : NULL;
}

static void offer_value(const struct cli_option *option, const char *typed, complete_names *names,
                        FILE *to)
{
    static const struct choice {
        const char *option;
        const char *words[6]; /* NULL ends */
    } choices[] = {
        {"lang", {"c", "python", "node", "shell", "go"}},
        {"input", {"argv", "stdin"}},
        {"network", {"none", "outbound"}},
        {"reuse", {"fresh", "slot"}},
    };

    if (strcmp(option->name, "function") == 0)
        names(typed, to);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(choices); i++)
        for (size_t j = 0; strcmp(choices[i].option, option->name) == 0 && choices[i].words[j]; j++)
            offer("", choices[i].words[j], typed, to);
}

/* ---- arguments ---- */

/* How many of the words before the last are arguments of the verb. */
static size_t count_arguments(const struct cli_verb *verb, const struct cli_list *words,
                              size_t first)
{
    size_t count = 0;

    for (size_t i = first; i + 1 < words->count; i++) {
        if (words->items[i][0] != '-')
            count++;
        else if (takes_value(verb, words->items[i]) != NULL)
            i++;
    }
    return count;
}

/* The only thing that may stand there, as the help shows it: `keys rotate`. */
static bool is_word(const char *arguments)
{
    return arguments[strspn(arguments, "abcdefghijklmnopqrstuvwxyz")] == '\0';
}

static void offer_argument(const struct cli_verb *verbs, const struct cli_verb *verb,
                           const struct cli_list *words, size_t first, complete_names *names,
                           FILE *to)
{
    static const char *const named[] = {"deploy", "describe", "invoke", "bench", "remove"};
    const char *typed = words->items[words->count - 1];
    size_t count = count_arguments(verb, words, first);
    bool is_many = strcmp(verb->name, "remove") == 0;

    if (strcmp(verb->name, "help") == 0 && count == 0)
        offer_first_words(verbs, typed, to);
    if (strcmp(verb->name, "help") == 0 && count == 1)
        offer_second_words(verbs, words->items[first], typed, to);
    if (verb->arguments[0] != '\0' && count == 0 && is_word(verb->arguments))
        offer("", verb->arguments, typed, to);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(named); i++)
        if (strcmp(verb->name, named[i]) == 0 && (count == 0 || is_many))
            names(typed, to);
}

void complete_words(const struct cli_verb *verbs, const struct cli_list *words,
                    complete_names *names, FILE *to)
{
    size_t last = words->count > 0 ? words->count - 1 : 0;
    const char *typed = words->count > 0 ? words->items[last] : "", *nearest;
    size_t first = words->count > 1 && is_group(verbs, words->items[0]) ? 2 : 1;
    const struct cli_verb *verb;
    const struct cli_option *option;
    char name[128];

    if (last == 0) {
        offer_first_words(verbs, typed, to);
        return;
    }
    if (last < first) {
        offer_second_words(verbs, words->items[0], typed, to);
        return;
    }
    snprintf(name, sizeof name, "%s%s%s", words->items[0], first == 2 ? " " : "",
             first == 2 ? words->items[1] : "");
    verb = args_find_verb(verbs, name, &nearest);
    if (verb == NULL)
        return;
    option = last > first - 1 ? takes_value(verb, words->items[last - 1]) : NULL;
    if (option != NULL && last > first) {
        offer_value(option, typed, names, to);
    } else if (typed[0] == '-') {
        offer_options(verb->options, typed, to);
        offer_options(args_common_options, typed, to);
    } else {
        offer_argument(verbs, verb, words, first, names, to);
    }
}
