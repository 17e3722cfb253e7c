/* args.h - the command line: option tables, help texts, nearest names.
 * Form      -n VALUE for a name of one letter, --name VALUE, --name=VALUE, --flag; "--" ends options; a lone "-" is positional.
 *           Options may stand before and after positional arguments.
 * Errors    INVALID; the message names the option, the value allowed and the nearest known name.
 * Threads   used before any thread starts.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdio.h>

#include "cli/verb.h"

extern const struct cli_option args_common_options[]; /* of every verb */
extern const char args_exit_text[];                   /* what an exit status means */

/* Parses argv[0..argc) (without program and verb).  *out_help: --help was there, nothing else was
 * checked. */
FAAS_MUST_CHECK faas_code args_parse(const struct cli_verb *verb, int argc, char **argv,
                                     struct cli_args *out_args, bool *out_help, faas_err *err);
void args_verb_help(const struct cli_verb *verb, FILE *to);
void args_program_help(const struct cli_verb *verbs, FILE *to);
/* The verb of that name, or NULL; then *out_nearest is the most alike one, or NULL. */
const struct cli_verb *args_find_verb(const struct cli_verb *verbs, const char *name,
                                      const char **out_nearest);
/* Edit distance is at most a third of the longer name (at least 1). */
bool args_is_near(const char *given, const char *known, size_t *out_distance);
/* Decimal digits only, whole text, min..max. */
bool args_int(const char *text, int64_t min, int64_t max, int64_t *out_value);
/* As above with an optional fraction; no exponent, no sign, no locale. */
bool args_real(const char *text, double min, double max, double *out_value);
/* A whole number and s, m, h or d, 1 to max_s seconds in all. */
bool args_duration(const char *text, int64_t max_s, int64_t *out_s);

#endif
