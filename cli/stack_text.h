/* stack_text.h - variables in the values of a stack file.
 * Forms     ${NAME}, ${NAME:-text} (when unset or empty), ${NAME-text} (when unset), ${NAME:?text}
 *           and ${NAME?text} (an error that says text); a text may hold further ones.  $$ is one $.
 *           A $ before a letter or _ is an error: programs that read these files disagree on it.
 * Never     in names, and never in what a variable holds.
 * Unset     without another text: nothing, and a warning.
 * Errors    INVALID with the place of the value.
 * Threads   the main thread only (getenv).
 */
#ifndef CLI_STACK_TEXT_H
#define CLI_STACK_TEXT_H

#include "cli/tree.h"

#define STACK_TEXT_MAX   (64 * 1024) /* bytes of one value, variables put in */
#define STACK_TEXT_DEPTH 4           /* ${A:-${B:-...}} */

typedef const char *stack_lookup(const char *name); /* NULL: unset */
/* Told of a variable that has no value. */
typedef faas_code stack_unset(void *arg, struct tree_place at, const char *name, faas_err *err);

struct stack_variables {
    stack_lookup *lookup;
    stack_unset *unset;
    void *arg; /* of unset */
};

/* Fills in all values of the tree. */
FAAS_MUST_CHECK faas_code stack_text_fill(const struct tree *tree,
                                          const struct stack_variables *variables, faas_err *err);

#endif
