/* man.h - the man page faas(1), of the same tables as the help.
 * Threads   any.
 */
#ifndef CLI_MAN_H
#define CLI_MAN_H

#include <stdio.h>

#include "cli/verb.h"

void man_page(const struct cli_verb *verbs, FILE *to);

#endif
