/* runtime.h - what the spawners of this `faas up` run functions in, and why.
 * Asked for SPAWNER_RUNTIME native or docker: that one.  native is checked, docker is not: an engine
 *           may come later.
 * Auto      (or nothing) what this directory's functions were registered with, where that works:
 *           the other runtime cannot run them.  Then native where the machine can keep all its
 *           promises, else docker when an engine answers, else native with limits it cannot keep,
 *           for one user alone.
 * Check     `faas-spawner check-native` makes a sandbox and says what is missing.
 * Errors    UNAVAILABLE naming what is missing for each; INVALID: another word.
 * Threads   the main thread.
 */
#ifndef CLI_RUNTIME_H
#define CLI_RUNTIME_H

#include <stdbool.h>

#include "base/err.h"

struct runtime_facts {
    bool is_fit;                /* for sandboxes */
    char lacks[32];             /* limits that they would not have: "memory, pids"; "": none */
    char why[FAAS_ERR_MSG_MAX]; /* not fit */
    bool has_engine;
    char engine[256]; /* where it was looked for */
};
struct runtime_choice {
    const char *name;                /* "native", "docker" */
    char why[FAAS_ERR_MSG_MAX + 64]; /* a sentence for people, without its full stop */
};
/* kept: the file that remembers the choice; has_data: functions may be registered already. */
FAAS_MUST_CHECK faas_code runtime_choose(const char *bin_dir, const char *kept, bool has_data,
                                         struct runtime_choice *out_choice, faas_err *err);
/* Auto, by what is known.  before: what was chosen the last time, or "". */
FAAS_MUST_CHECK faas_code runtime_decide(const struct runtime_facts *facts, const char *before,
                                         struct runtime_choice *out_choice, faas_err *err);

#endif
