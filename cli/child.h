/* child.h - one program of the user's, run to its end.
 * Input     empty; output  both streams go to our standard error: standard output is for results.
 * Waits     until it ends, or timeout_ms: then it is killed.
 * Errors    UNAVAILABLE: it is not there, failed (its status is named), or took too long.
 * Threads   the main thread.
 */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include <stdint.h>

#include "base/err.h"

/* argv[0] is looked for in PATH; folder NULL: here. */
FAAS_MUST_CHECK faas_code child_run(const char *const *argv, const char *folder, int64_t timeout_ms,
                                    faas_err *err);

#endif
