#include "base/option.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "version.h"

#define NAME_BYTES 64            /* of a setting's name, with NUL */
#define FILE_MAX   (1024 * 1024) /* bytes of a NAME_FILE */
#define HINT_MAX   3             /* edits between a mistyped name and the one suggested */

typedef const struct faas_option *const *tables_of;

const char *const faas_version = FAAS_VERSION;

static bool is_text(const struct faas_option *row)
{
    return row->kind == FAAS_OPTION_STR || row->kind == FAAS_OPTION_SECRET;
}

static bool is_setting(const struct faas_option *row)
{
    return row->kind != FAAS_OPTION_GROUP;
}

/* ---- values ---------------------------------------------------------------------------------- */

static void drop_text(const struct faas_option *row)
{
    char **target = row->target;

    if (*target != NULL && row->kind == FAAS_OPTION_SECRET)
        sodium_memzero(*target, strlen(*target));
    free(*target);
    *target = NULL;
}

static faas_code set_text(const struct faas_option *row, const char *text, faas_err *err)
{
    char *copy = strdup(text);

    if (copy == NULL)
        return faas_fail_sys(err, errno, "copy setting %s", row->name);
    drop_text(row);
    *(char **)row->target = copy;
    return FAAS_OK;
}

static faas_code set_integer(const struct faas_option *row, const char *text, faas_err *err)
{
    char *end;
    long long number;

    errno = 0;
    number = strtoll(text, &end, 10);
    /* strtoll would also take blanks and a '+' in front. */
    if (!(text[0] == '-' || (text[0] >= '0' && text[0] <= '9')) || *end != '\0' || end == text)
        return faas_fail(err, FAAS_INVALID,
                         "%s: not a whole number: \"%.40s\", allowed %" PRId64 " to %" PRId64,
                         row->name, text, row->min, row->max);
    if (errno == ERANGE || number < row->min || number > row->max)
        return faas_fail(err, FAAS_INVALID,
                         "%s: %.40s is out of bounds, allowed %" PRId64 " to %" PRId64, row->name,
                         text, row->min, row->max);
    *(int64_t *)row->target = number;
    return FAAS_OK;
}

static faas_code set_bool(const struct faas_option *row, const char *text, faas_err *err)
{
    static const char *const words[] = {"0", "1", "false", "true", "no", "yes", "off", "on"};

    for (size_t i = 0; i < FAAS_ARRAY_LEN(words); i++)
        if (strcmp(words[i], text) == 0) {
            *(bool *)row->target = i % 2 == 1;
            return FAAS_OK;
        }
    return faas_fail(err, FAAS_INVALID,
                     "%s: not a yes or no: \"%.40s\", allowed 1, true, yes, on, 0, false, no, off",
                     row->name, text);
}

static faas_code set(const struct faas_option *row, const char *text, faas_err *err)
{
    if (is_text(row))
        return set_text(row, text, err);
    return row->kind == FAAS_OPTION_INT ? set_integer(row, text, err) : set_bool(row, text, err);
}

/* ---- NAME_FILE ------------------------------------------------------------------------------- */

/* Whole file into a new string of at most FILE_MAX bytes; the caller wipes and frees it. */
static faas_code read_text(int fd, char **out_text, size_t *out_len, faas_err *err)
{
    char *text = malloc(FILE_MAX + 1);
    size_t len = 0;
    ssize_t n = 1;

    if (text == NULL)
        return faas_fail_sys(err, errno, "allocate for a settings file");
    while (n > 0 && len <= FILE_MAX) {
        n = read(fd, text + len, FILE_MAX + 1 - len);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            len += (size_t)n;
    }
    if (n < 0 || len > FILE_MAX || memchr(text, '\0', len) != NULL) {
        int errnum = n < 0 ? errno : 0;

        sodium_memzero(text, FILE_MAX + 1);
        free(text);
        return errnum != 0
                   ? faas_fail(err, FAAS_INVALID, "%s", strerrordesc_np(errnum))
                   : faas_fail(err, FAAS_INVALID, "the file is over 1 MiB or holds a NUL byte");
    }
    text[len] = '\0';
    *out_text = text;
    *out_len = len;
    return FAAS_OK;
}

static faas_code set_from_file(const struct faas_option *row, const char *path, faas_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = NULL;
    size_t len = 0;
    faas_code rc;

    if (fd < 0)
        return faas_fail(err, FAAS_INVALID, "%s_FILE: cannot read %.200s: %s", row->name, path,
                         strerrordesc_np(errno));
    rc = read_text(fd, &text, &len, err);
    close(fd);
    if (rc != FAAS_OK)
        return rc != FAAS_INVALID ? rc
                                  : faas_fail(err, rc, "%s_FILE: cannot read %.200s: %s", row->name,
                                              path, err != NULL ? err->msg : "");
    if (len > 0 && text[len - 1] == '\n')
        text[len - 1] = '\0';
    rc = set(row, text, err);
    sodium_memzero(text, len);
    free(text);
    return rc;
}

/* ---- environment ----------------------------------------------------------------------------- */

static const struct faas_option *find(tables_of tables, const char *name)
{
    for (; *tables != NULL; tables++)
        for (const struct faas_option *row = *tables; row->name != NULL; row++)
            if (is_setting(row) && strcmp(row->name, name) == 0)
                return row;
    return NULL;
}

/* The path in NAME_FILE, or NULL.  A setting of its own with that name (a path to keep, such as
 * TLS_KEY_FILE beside TLS_KEY) is not a place to read ours from. */
static const char *file_of(tables_of tables, const struct faas_option *row)
{
    char name[NAME_BYTES + 8];

    snprintf(name, sizeof name, "%.*s_FILE", NAME_BYTES, row->name);
    return find(tables, name) == NULL ? getenv(name) : NULL;
}

/* A secret leaves the environment once read: children inherit it, /proc shows it. */
static void wipe_variable(const struct faas_option *row)
{
    char *value = getenv(row->name);

    if (value == NULL || row->kind != FAAS_OPTION_SECRET)
        return;
    sodium_memzero(value, strlen(value));
    unsetenv(row->name);
}

/* ---- arguments ------------------------------------------------------------------------------- */

/* "--pool-threads" of POOL_THREADS. */
static void argument_of(const struct faas_option *row, char out_arg[NAME_BYTES + 2])
{
    size_t len = strnlen(row->name, NAME_BYTES - 1);

    out_arg[0] = out_arg[1] = '-';
    for (size_t i = 0; i < len; i++) {
        char c = row->name[i];

        out_arg[i + 2] = (char)(c == '_' ? '-' : c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    out_arg[len + 2] = '\0';
}

static const struct faas_option *find_argument(tables_of tables, const char *arg, size_t len)
{
    char known[NAME_BYTES + 2];

    for (; *tables != NULL; tables++)
        for (const struct faas_option *row = *tables; row->name != NULL; row++) {
            argument_of(row, known);
            if (is_setting(row) && strlen(known) == len && memcmp(known, arg, len) == 0)
                return row;
        }
    return NULL;
}

/* Edits (insert, delete, replace) from a to b, both at most NAME_BYTES + 1 long. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_BYTES + 2], len_b = strlen(b);

    for (size_t j = 0; j <= len_b; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            size_t shorter = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;

            diagonal = row[j];
            row[j] = replaced < shorter ? replaced : shorter;
        }
    }
    return row[len_b];
}

static faas_code unknown_argument(tables_of tables, const char *arg, size_t len, faas_err *err)
{
    char known[NAME_BYTES + 2], nearest[NAME_BYTES + 2] = "", given[NAME_BYTES + 2];
    size_t least = HINT_MAX + 1;

    snprintf(given, sizeof given, "%.*s", (int)(len < NAME_BYTES ? len : NAME_BYTES), arg);
    for (; *tables != NULL; tables++)
        for (const struct faas_option *row = *tables; row->name != NULL; row++) {
            if (!is_setting(row) || row->kind == FAAS_OPTION_SECRET)
                continue;
            argument_of(row, known);
            if (distance(given, known) < least) {
                least = distance(given, known);
                snprintf(nearest, sizeof nearest, "%s", known);
            }
        }
    if (least <= HINT_MAX)
        return faas_fail(err, FAAS_INVALID, "%s: unknown argument; did you mean %s?", given,
                         nearest);
    return faas_fail(err, FAAS_INVALID, "%s: unknown argument; --help lists the known ones", given);
}

/* One argument at argv[*at], its value perhaps in the next one; *at moves to the last one used. */
static faas_code read_argument(tables_of tables, char **argv, int *at,
                               const struct faas_option **out_row, const char **out_value,
                               faas_err *err)
{
    const char *arg = argv[*at], *equals = strchr(arg, '=');
    size_t len = equals != NULL ? (size_t)(equals - arg) : strlen(arg);
    const struct faas_option *row = find_argument(tables, arg, len);
    const char *value = equals != NULL ? equals + 1 : NULL;

    if (row == NULL)
        return unknown_argument(tables, arg, len, err);
    if (row->kind == FAAS_OPTION_SECRET)
        return faas_fail(err, FAAS_INVALID,
                         "%s: a secret cannot be an argument, which everybody can read; put it in "
                         "a file and name that in %s_FILE",
                         row->name, row->name);
    if (value == NULL && row->kind == FAAS_OPTION_BOOL)
        value = "true";
    if (value == NULL)
        value = argv[++*at];
    if (value == NULL)
        return faas_fail(err, FAAS_INVALID, "%s: --%s needs a value", row->name, arg + 2);
    *out_row = row;
    *out_value = value;
    return FAAS_OK;
}

/* Reads all arguments; *out_value is the last one given for `wanted`, which may be NULL. */
static faas_code read_arguments(tables_of tables, char **argv, const struct faas_option *wanted,
                                const char **out_value, faas_err *err)
{
    for (int at = 1; argv[0] != NULL && argv[at] != NULL; at++) {
        const struct faas_option *row = NULL;
        const char *value = NULL;

        FAAS_TRY(read_argument(tables, argv, &at, &row, &value, err));
        if (wanted != NULL && row == wanted)
            *out_value = value;
    }
    return FAAS_OK;
}

/* Only the most important source is read, so a fault in one that does not count is none. */
static faas_code load_row(tables_of tables, const struct faas_option *row, char **argv,
                          faas_err *err)
{
    const char *value = NULL, *path = file_of(tables, row);

    FAAS_TRY(read_arguments(tables, argv, row, &value, err));
    if (value == NULL && path != NULL)
        return set_from_file(row, path, err);
    if (value == NULL)
        value = getenv(row->name);
    if (value == NULL)
        value = row->def;
    if (value == NULL)
        return faas_fail(err, FAAS_INVALID, "%s: required; set it, or %s_FILE", row->name,
                         row->name);
    return set(row, value, err);
}

/* --help and --version win over everything, a faulty setting included. */
static bool answer_question(tables_of tables, int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *program = slash != NULL ? slash + 1 : argc > 0 ? argv[0] : "";

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            faas_options_help(tables, program, stdout);
            return true;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", program, faas_version);
            return true;
        }
    }
    return false;
}

static void forget_texts(tables_of tables)
{
    for (; *tables != NULL; tables++)
        for (const struct faas_option *row = *tables; row->name != NULL; row++)
            if (is_text(row))
                *(char **)row->target = NULL;
}

faas_code faas_options_load(tables_of tables, int argc, char **argv, bool *out_exit, faas_err *err)
{
    forget_texts(tables);
    *out_exit = answer_question(tables, argc, argv);
    if (*out_exit)
        return FAAS_OK;
    FAAS_TRY(read_arguments(tables, argv, NULL, NULL, err));
    for (tables_of table = tables; *table != NULL; table++)
        for (const struct faas_option *row = *table; row->name != NULL; row++) {
            if (!is_setting(row))
                continue;
            FAAS_TRY(load_row(tables, row, argv, err));
            wipe_variable(row);
        }
    return FAAS_OK;
}

void faas_options_free(tables_of tables)
{
    for (; *tables != NULL; tables++)
        for (const struct faas_option *row = *tables; row->name != NULL; row++)
            if (is_text(row))
                drop_text(row);
}

/* ---- help ------------------------------------------------------------------------------------ */

#define HELP_BYTES (NAME_BYTES + 16)

static void usage_of(const struct faas_option *row, char out_text[HELP_BYTES])
{
    static const char *const values[] = {
        [FAAS_OPTION_STR] = " TEXT", [FAAS_OPTION_INT] = " N", [FAAS_OPTION_BOOL] = ""};
    char arg[NAME_BYTES + 2];

    argument_of(row, arg);
    if (row->kind == FAAS_OPTION_SECRET)
        snprintf(out_text, HELP_BYTES, "%.*s_FILE", NAME_BYTES, row->name);
    else
        snprintf(out_text, HELP_BYTES, "%s%s", arg, values[row->kind]);
}

static int widest(tables_of tables)
{
    char usage[HELP_BYTES];
    int width = (int)strlen("--version");

    for (; *tables != NULL; tables++)
        for (const struct faas_option *row = *tables; row->name != NULL; row++) {
            if (!is_setting(row))
                continue;
            usage_of(row, usage);
            if ((int)strlen(usage) > width)
                width = (int)strlen(usage);
        }
    return width;
}

static void help_row(const struct faas_option *row, int width, FILE *to)
{
    char usage[HELP_BYTES];

    if (!is_setting(row)) {
        fprintf(to, "%s\n", row->help);
        return;
    }
    usage_of(row, usage);
    fprintf(to, "  %-*s  %s (%s", width, usage, row->help, row->name);
    if (row->kind == FAAS_OPTION_INT)
        fprintf(to, ", %" PRId64 " to %" PRId64, row->min, row->max);
    if (row->kind == FAAS_OPTION_SECRET)
        fputs(", secret", to);
    if (row->def == NULL)
        fputs(", required", to);
    else if (row->def[0] != '\0' && row->kind != FAAS_OPTION_SECRET)
        fprintf(to, ", default %s", row->def);
    fputs(")\n", to);
}

void faas_options_help(tables_of tables, const char *program, FILE *to)
{
    int width = widest(tables);

    fprintf(to,
            "usage: %s [--NAME=VALUE | --NAME VALUE]...\n\n"
            "A setting is its default, or what its variable (in brackets) holds, or what the file\n"
            "named by VARIABLE_FILE holds, or its argument; the later ones win. Secrets have no\n"
            "argument.\n",
            program);
    for (; *tables != NULL; tables++) {
        fputc('\n', to);
        for (const struct faas_option *row = *tables; row->name != NULL; row++)
            help_row(row, width, to);
    }
    fprintf(to, "\n  %-*s  this text\n  %-*s  the version\n", width, "--help", width, "--version");
}
