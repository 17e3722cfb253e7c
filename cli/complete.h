/* complete.h - what may stand next on a command line of `faas`, by the tables of verbs and options.
 * Names     of functions come from the platform, within COMPLETE_MS, or not at all.
 * Errors    none: a shell that asks while somebody types wants no messages.
 * Threads   the main thread only.
 */
#ifndef CLI_COMPLETE_H
#define CLI_COMPLETE_H

#include <stdio.h>

#include "cli/verb.h"

#define COMPLETE_MS 1000

/* Writes the names of functions that begin with `begin`, a line each. */
typedef void complete_names(const char *begin, FILE *to);

/* words: those after `faas`, the last one is being typed (may be empty).  A line per candidate; none
 * where a file's name is due. */
void complete_words(const struct cli_verb *verbs, const struct cli_list *words,
                    complete_names *names, FILE *to);

#endif
