/* prompt.h - a line that nobody may see: from the terminal without echo, or from a descriptor; and
 * a yes or no.
 * Errors    INVALID: no terminal, an interrupt, nothing given, too much, NUL in it.
 * Threads   the main thread only.
 */
#ifndef CLI_PROMPT_H
#define CLI_PROMPT_H

#include <stddef.h>

#include "base/err.h"

struct prompt {
    const char *what;     /* "password", for messages */
    const char *question; /* on the terminal */
    const char *instead;  /* what to do without one */
    size_t max;           /* bytes */
};
/* out: max + 1 bytes, for the caller to wipe. */
FAAS_MUST_CHECK faas_code prompt_terminal(const struct prompt *prompt, char *out, faas_err *err);
/* To the first newline, which is left out. */
FAAS_MUST_CHECK faas_code prompt_line(const struct prompt *prompt, int fd, char *out,
                                      faas_err *err);
/* "QUESTION Type yes: " on the terminal; anything but yes, or no terminal, is INVALID. */
FAAS_MUST_CHECK faas_code prompt_confirm(const char *question, faas_err *err);

#endif
