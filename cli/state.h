/* state.h - DIR/state.json: what a supervisor says of its processes.
 * Shape     {"v":1,"pid","url","data","ready","started_at","nats_servers","nats_ca_file"?,"processes":[{"name",
 *           "service","number","pid"|null,"state","restarts","since","last_exit"|null,"url"|null,
 *           "monitor_port"|null}]}
 * Truth     the file is only as good as its writer: readers look whether the lock of the directory
 *           is held, and ask the processes themselves (status.c).
 * Threads   the main thread.
 */
#ifndef CLI_STATE_H
#define CLI_STATE_H

#include "cli/plan.h"

FAAS_MUST_CHECK faas_code state_write(const struct plan *plan, const struct process *processes,
                                      bool is_ready, int64_t started_ms, faas_err *err);

#endif
