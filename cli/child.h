/* child.h - one program of the user's, run to its end.
 * Input     empty.
 * Output    what it writes goes to our standard error: standard output is for results; or both of
 *           its streams into out_text, as much as fits.
 * Waits     until it ends, timeout_ms are over, or stop_fd can be read: then it is killed, and what
 *           it started with it where it has a stop_fd, which gives it a process group of its own.
 * Errors    UNAVAILABLE: it is not there, failed (its status is named), took too long, or was stopped.
 * Threads   the main thread.
 */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct child {
    const char *const *argv; /* NULL ends; argv[0] is looked for in PATH */
    const char *folder;      /* NULL: here */
    int64_t timeout_ms;
    bool is_quiet;  /* its standard output is dropped */
    int stop_fd;    /* borrowed; 0: none */
    char *out_text; /* NULL: nothing is kept */
    size_t out_room;
};
FAAS_MUST_CHECK faas_code child_run(const struct child *child, faas_err *err);

#endif
