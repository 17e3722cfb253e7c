/* stack.h - a stack file: the functions that shall be there, as bodies of registrations.
 * Reads     our own fields (docs/STACK.md, the table in stack_fields.c) and those of OpenFaaS's
 *           stack files; what has no meaning here is a warning by name, what nobody knows an error.
 * Stack     of a name: each function gets the label STACK_LABEL, by which --prune finds what an
 *           earlier deploy made.
 * Errors    INVALID or TOO_LARGE with file, line and column.
 * Ownership a stack owns all of its parts; names are borrowed from its tree.
 * Threads   the main thread only.
 */
#ifndef CLI_STACK_H
#define CLI_STACK_H

#include "base/json.h"
#include "cli/stack_text.h"
#include "cli/tree.h"

#define STACK_LABEL    "faas.stack"
#define STACK_NAME_MAX 63

struct stack_source {
    const char *file, *text;
    size_t len;
    const char *name; /* of the stack, in place of the file's; or NULL */
    stack_lookup *lookup;
};

struct stack_function {
    const char *name;
    struct tree_place at;
    json_t *body;               /* the fields given, as POST /v1/functions takes them */
    const char *lang, *handler; /* of what its image is built, and its folder; or NULL */
};

struct stack {
    struct tree tree;
    const char *name; /* NULL: it has none */
    struct stack_function *functions;
    size_t count;
    json_t *warnings; /* of texts */
};

FAAS_MUST_CHECK faas_code stack_read(const struct stack_source *source, struct stack *out_stack,
                                     faas_err *err);
void stack_done(struct stack *stack);
faas_code stack_warn(struct stack *stack, struct tree_place at, faas_err *err, const char *fmt, ...)
    FAAS_PRINTF(4, 5) FAAS_MUST_CHECK;

/* ---- stack_fields.c ---- */
/* One function's mapping -> *out_body; the image is there. */
FAAS_MUST_CHECK faas_code stack_fields_read(struct stack *stack, const struct tree_node *function,
                                            json_t **out_body, faas_err *err);
/* "did you mean" for a name that is none of the words; "" when nothing is near. */
void stack_near(const char *given, const char *const *words, char out_hint[64]);

#endif
