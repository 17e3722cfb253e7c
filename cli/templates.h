/* templates.h - the files of cli/templates/, as they are in the tree, inside the program.
 * A row per file and language; what every language has is in `common`.
 * Threads   constants; any.
 */
#ifndef CLI_TEMPLATES_H
#define CLI_TEMPLATES_H

#include <stdbool.h>
#include <stddef.h>

struct template_file {
    const char *lang, *name; /* lang NULL ends; "common": of each */
    const char *begin, *end;
    bool is_program;
};
extern const struct template_file template_files[];

#endif
