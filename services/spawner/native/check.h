/* check.h - can this machine run functions in sandboxes?  Asked before a runtime is chosen.
 * How       by making one: a runtime with its first lane, and an end to both.
 * Lacks     the limits that it cannot keep, "memory, pids, cpu" or some of them; "": none.  With
 *           any, one tenant alone is served.
 * Errors    UNAVAILABLE: no sandbox can be made, and why.
 * Threads   any; blocks for as long as a lane takes, at most CHECK_S.
 */
#ifndef NATIVE_CHECK_H
#define NATIVE_CHECK_H

#include "base/err.h"

#define CHECK_S 10.0

FAAS_MUST_CHECK faas_code native_check(const char *run_dir, const char *program, char out_lacks[32],
                                       faas_err *err);

#endif
