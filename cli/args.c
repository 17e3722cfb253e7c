#include "cli/args.h"

#include <stdio.h>
#include <string.h>

#include "base/quantity.h"

#define NAME_MAX_COMPARED 40

static bool common_help;
static struct cli_common common;

const struct cli_option args_common_options[] = {
    {"json", CLI_FLAG, &common.is_json, NULL, "print JSON instead of tables and sentences", 0, 0,
     NULL},
    {"server", CLI_TEXT, &common.server, "URL",
     "the platform (else FAAS_URL, OPENFAAS_URL, the last login, http://127.0.0.1:8080)", 0, 0,
     NULL},
    {"ca-file", CLI_TEXT, &common.ca_file, "FILE",
     "PEM certificates to trust for https:// (else FAAS_CA_FILE, the login's, the system's)", 0, 0,
     NULL},
    {"verbose", CLI_FLAG, &common.is_verbose, NULL, "say more on standard error", 0, 0, NULL},
    {"help", CLI_FLAG, &common_help, NULL, "this text", 0, 0, NULL},
    CLI_OPTION_END,
};

/* ---- values ---- */

bool args_int(const char *text, int64_t min, int64_t max, int64_t *out_value)
{
    int64_t value = 0;

    if (text[0] == '\0' || strlen(text) > 15)
        return false;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            return false;
        value = value * 10 + (*p - '0');
    }
    if (value < min || value > max)
        return false;
    *out_value = value;
    return true;
}

bool args_real(const char *text, double min, double max, double *out_value)
{
    double value;

    if (!faas_quantity_number(text, &value) || value < min || value > max)
        return false;
    *out_value = value;
    return true;
}

bool args_duration(const char *text, int64_t max_s, int64_t *out_s)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t len = strlen(text);
    char digits[16];
    int64_t count;

    for (size_t i = 0; i < FAAS_ARRAY_LEN(units) && len > 1 && len < sizeof digits; i++) {
        (void)snprintf(digits, sizeof digits, "%.*s", (int)len - 1, text);
        if (text[len - 1] == units[i].unit &&
            args_int(digits, 1, max_s / units[i].seconds, &count)) {
            *out_s = count * units[i].seconds;
            return true;
        }
    }
    return false;
}

static const char *dashes(const char *name)
{
    return name[1] != '\0' ? "--" : "-";
}

static faas_code store(const struct cli_option *option, const char *text, faas_err *err)
{
    struct cli_list *list;

    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)option->target = true;
        break;
    case CLI_TEXT:
        *(const char **)option->target = text;
        break;
    case CLI_INT:
        if (!args_int(text, (int64_t)option->min, (int64_t)option->max, option->target))
            return faas_fail(err, FAAS_INVALID, "--%s takes a whole number from %.0f to %.0f",
                             option->name, option->min, option->max);
        break;
    case CLI_REAL:
        if (!args_real(text, option->min, option->max, option->target))
            return faas_fail(err, FAAS_INVALID, "--%s takes a number from %g to %g", option->name,
                             option->min, option->max);
        break;
    case CLI_LIST:
        list = option->target;
        if (list->count == CLI_LIST_MAX)
            return faas_fail(err, FAAS_INVALID, "--%s may be given %d times at most", option->name,
                             CLI_LIST_MAX);
        list->items[list->count++] = text;
        break;
    }
    if (option->is_present != NULL)
        *option->is_present = true;
    return FAAS_OK;
}

/* ---- names ---- */

bool args_is_near(const char *given, const char *known, size_t *out_distance)
{
    size_t row[NAME_MAX_COMPARED + 1], a = strlen(given), b = strlen(known);
    size_t longer = a > b ? a : b, allowed = longer / 3 > 1 ? longer / 3 : 1;

    if (longer > NAME_MAX_COMPARED)
        return false;
    for (size_t j = 0; j <= b; j++)
        row[j] = j;
    for (size_t i = 1; i <= a; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b; j++) {
            size_t change = diagonal + (given[i - 1] != known[j - 1]);
            size_t least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;

            diagonal = row[j];
            row[j] = change < least ? change : least;
        }
    }
    *out_distance = row[b];
    return row[b] <= allowed;
}

const struct cli_verb *args_find_verb(const struct cli_verb *verbs, const char *name,
                                      const char **out_nearest)
{
    size_t best = SIZE_MAX, distance;

    *out_nearest = NULL;
    for (const struct cli_verb *verb = verbs; verb->name != NULL; verb++) {
        if (strcmp(verb->name, name) == 0)
            return verb;
        if (args_is_near(name, verb->name, &distance) && distance < best) {
            best = distance;
            *out_nearest = verb->name;
        }
    }
    return NULL;
}

static const struct cli_option *find_in(const struct cli_option *table, const char *name,
                                        size_t len)
{
    for (; table != NULL && table->name != NULL; table++) {
        if (strlen(table->name) == len && memcmp(table->name, name, len) == 0)
            return table;
    }
    return NULL;
}

static void nearest_in(const struct cli_option *table, const char *name, size_t *best,
                       const char **out_nearest)
{
    size_t distance;

    for (; table != NULL && table->name != NULL; table++) {
        if (table->name[1] != '\0' && args_is_near(name, table->name, &distance) &&
            distance < *best) {
            *best = distance;
            *out_nearest = table->name;
        }
    }
}

static faas_code unknown_option(const struct cli_verb *verb, const char *name, faas_err *err)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX;

    nearest_in(verb->options, name, &best, &nearest);
    nearest_in(args_common_options, name, &best, &nearest);
    if (nearest != NULL)
        return faas_fail(err, FAAS_INVALID, "unknown option --%s; did you mean --%s?", name,
                         nearest);
    return faas_fail(err, FAAS_INVALID, "unknown option --%s; see faas %s --help", name,
                     verb->name);
}

/* ---- parsing ---- */

struct cursor {
    int argc, at;
    char **argv;
};

static faas_code take_option(const struct cli_verb *verb, struct cursor *cur, faas_err *err)
{
    const char *arg = cur->argv[cur->at++], *name = arg + (arg[1] == '-' ? 2 : 1);
    const char *equals = strchr(name, '=');
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct cli_option *option = find_in(verb->options, name, len);
    char shown[NAME_MAX_COMPARED];

    if (option == NULL)
        option = find_in(args_common_options, name, len);
    if (option == NULL) {
        snprintf(shown, sizeof shown, "%.*s", (int)len, name);
        return unknown_option(verb, shown, err);
    }
    if (option->kind == CLI_FLAG) {
        if (equals != NULL)
            return faas_fail(err, FAAS_INVALID, "--%s takes no value", option->name);
        return store(option, NULL, err);
    }
    if (equals != NULL)
        return store(option, equals + 1, err);
    if (cur->at == cur->argc)
        return faas_fail(err, FAAS_INVALID, "%s%s needs a value (%s)", dashes(option->name),
                         option->name, option->value);
    return store(option, cur->argv[cur->at++], err);
}

static faas_code check_count(const struct cli_verb *verb, size_t count, faas_err *err)
{
    if (count < verb->least)
        return faas_fail(err, FAAS_INVALID, "something is missing: faas %s %s", verb->name,
                         verb->arguments);
    if (count > verb->most)
        return faas_fail(err, FAAS_INVALID, "too many arguments: faas %s %s", verb->name,
                         verb->arguments);
    return FAAS_OK;
}

/* -f: the name of an option of one letter. */
static bool is_letter_option(const struct cli_verb *verb, const char *arg)
{
    return arg[0] == '-' && arg[1] != '\0' && (arg[2] == '\0' || arg[2] == '=') &&
           find_in(verb->options, arg + 1, 1) != NULL;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

faas_code args_parse(const struct cli_verb *verb, int argc, char **argv, struct cli_args *out_args,
                     bool *out_help, faas_err *err)
{
    struct cursor cur = {argc, 0, argv};
    struct cli_list *rest = &out_args->rest;
    bool options_ended = false;

    memset(out_args, 0, sizeof *out_args);
    common = (struct cli_common){0};
    *out_help = asks_for_help(argc, argv);
    if (*out_help)
        return FAAS_OK;
    while (cur.at < cur.argc) {
        const char *arg = argv[cur.at];

        if (!options_ended && strcmp(arg, "--") == 0) {
            options_ended = true;
            cur.at++;
        } else if (!options_ended && strncmp(arg, "--", 2) == 0) {
            FAAS_TRY(take_option(verb, &cur, err));
        } else if (!options_ended && is_letter_option(verb, arg)) {
            FAAS_TRY(take_option(verb, &cur, err));
        } else if (!options_ended && arg[0] == '-' && arg[1] != '\0') {
            return faas_fail(err, FAAS_INVALID,
                             "unknown option %s; put -- before an argument that begins with a dash",
                             arg);
        } else if (rest->count == CLI_LIST_MAX) {
            return faas_fail(err, FAAS_INVALID, "too many arguments");
        } else {
            rest->items[rest->count++] = arg;
            cur.at++;
        }
    }
    out_args->common = common;
    return check_count(verb, rest->count, err);
}

/* ---- help ---- */

static void print_options(const struct cli_option *table, FILE *to)
{
    char left[48];

    for (; table != NULL && table->name != NULL; table++) {
        snprintf(left, sizeof left, "%s%s%s%s", dashes(table->name), table->name,
                 table->value != NULL ? " " : "", table->value != NULL ? table->value : "");
        fprintf(to, "  %-22s %s\n", left, table->help);
    }
}

void args_verb_help(const struct cli_verb *verb, FILE *to)
{
    fprintf(to, "usage: faas %s%s%s [options]\n\n%s.\n", verb->name,
            verb->arguments[0] != '\0' ? " " : "", verb->arguments, verb->summary);
    if (verb->details != NULL)
        fprintf(to, "\n%s", verb->details);
    fputs("\nOptions:\n", to);
    print_options(verb->options, to);
    print_options(args_common_options, to);
}

const char args_exit_text[] =
    "Exit status: 0 done; 1 the function failed; 2 wrong usage or request; 3 not logged in or\n"
    "token expired (`faas up`: the directory is in use); 4 not found or not allowed;\n"
    "5 platform unavailable, busy or out of time.\n";

void args_program_help(const struct cli_verb *verbs, FILE *to)
{
    char left[64];

    fputs("usage: faas VERB [arguments] [options]\n\n", to);
    for (; verbs->name != NULL; verbs++) {
        snprintf(left, sizeof left, "%s %s", verbs->name, verbs->arguments);
        fprintf(to, "  %-28s %s\n", left, verbs->summary);
    }
    fputs("\n`faas VERB --help` lists the options of a verb.\n\n", to);
    fputs(args_exit_text, to);
}
