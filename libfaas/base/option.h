/* option.h - a program's settings as one table: environment, files, command line, --help, docs.
 * Row       target, variable NAME, default text, bounds, help.
 * Sources   from least to most important: default, environment NAME, file named by NAME_FILE
 *           (contents, one trailing newline dropped), argument --name=value or --name value
 *           (NAME in lower case, '_' as '-'; a boolean needs no value).  Only the most important
 *           one is read.
 * Secrets   have no argument form: a value in argv is readable by everybody.
 * Ownership strings belong to the table's owner until faas_options_free().
 * Errors    INVALID with "NAME: why, allowed ..." in msg; an unknown argument names the nearest
 *           known one.
 * Threads   used before any thread starts.
 */
#ifndef FAAS_OPTION_H
#define FAAS_OPTION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

struct faas_option {
    enum faas_option_kind {
        FAAS_OPTION_STR,
        FAAS_OPTION_INT,
        FAAS_OPTION_BOOL,
        FAAS_OPTION_SECRET,
        FAAS_OPTION_GROUP, /* no setting: a heading of --help */
    } kind;
    void *target;     /* char **, int64_t * or bool * */
    const char *name; /* environment variable, under 64 bytes; NULL ends a table */
    const char *def;  /* text of the default; NULL: required */
    int64_t min, max; /* FAAS_OPTION_INT, inclusive */
    const char *help;
};
#define FAAS_OPT_STR(t, n, d, h)                                                                   \
    {                                                                                              \
        FAAS_OPTION_STR, &(t), (n), (d), 0, 0, (h)                                                 \
    }
#define FAAS_OPT_INT(t, n, d, lo, hi, h)                                                           \
    {                                                                                              \
        FAAS_OPTION_INT, &(t), (n), (d), (lo), (hi), (h)                                           \
    }
#define FAAS_OPT_BOOL(t, n, d, h)                                                                  \
    {                                                                                              \
        FAAS_OPTION_BOOL, &(t), (n), (d), 0, 0, (h)                                                \
    }
#define FAAS_OPT_SECRET(t, n, d, h)                                                                \
    {                                                                                              \
        FAAS_OPTION_SECRET, &(t), (n), (d), 0, 0, (h)                                              \
    } /* wiped on free */
#define FAAS_OPT_GROUP(title)                                                                      \
    {                                                                                              \
        FAAS_OPTION_GROUP, NULL, "", "", 0, 0, (title)                                             \
    }
#define FAAS_OPT_END                                                                               \
    {                                                                                              \
        .name = NULL                                                                               \
    }

extern const char *const faas_version; /* one for all programs, libfaas/version.h */

/* Fill every target of the tables (a NULL-terminated array of tables).  argv[0] is skipped.  With
 * --help or --version in argv: prints to stdout and sets *out_exit; the caller exits 0.
 * Texts of an earlier load are overwritten, not freed.  Variables that held a secret are wiped and
 * removed from the environment.  faas_options_free is due after failures, too. */
FAAS_MUST_CHECK faas_code faas_options_load(const struct faas_option *const *tables, int argc,
                                            char **argv, bool *out_exit, faas_err *err);
void faas_options_help(const struct faas_option *const *tables, const char *program, FILE *to);
void faas_options_free(const struct faas_option *const *tables);

#endif
