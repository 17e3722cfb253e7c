/* outcome.h - how a call ended, told apart by rules and written as the END frame's JSON.
 * Rules     first match decides: the engine was lost, the call was stopped by us (time, output,
 *           cancel), it did not start, exit status; exit status 0 with incomplete output is LOST.
 * Status    an exit status of 128 + n, n in 1..64, is how the engine shows death by signal n; both
 *           exit_code and signal are given then (`exit 137` of a shell looks the same).
 * Memory    oom only with an exit status other than 0: a killed child of a function that goes on to
 *           succeed is the function's own affair.
 * Stderr    the last bytes are kept: FAAS_STDERR_TAIL of them for the failure report, where bytes
 *           that are not UTF-8, and NUL, become U+FFFD; FAAS_STDERR_KEPT, as they are, for the call's
 *           record.  Memory is taken as they come.
 * Threads   pure values.
 */
#ifndef SPAWNER_OUTCOME_H
#define SPAWNER_OUTCOME_H

#include "contract.h"
#include "runtime.h"

#define OUTCOME_SIGNAL_BASE 128 /* exit status of a death by signal 0 */

enum stop_reason {
    STOP_NONE,
    STOP_TIMEOUT,
    STOP_OUTPUT,
    STOP_CANCEL,
    STOP_START_TIMEOUT,
    STOP_BROKEN /* its output could not be read any more */
};

struct run_facts {
    enum stop_reason stop;
    bool is_lost;          /* the engine went away after start was sent */
    bool is_output_broken; /* the output may be incomplete */
    bool has_started;
    const faas_err *failure; /* why it never started; or NULL */
    int exit_code;           /* when it ran */
    bool was_oom_killed;     /* as the engine says */
    int64_t timeout_ms, start_timeout_ms, memory_mb, output_bytes; /* for the messages */
    bool is_stream;                                                /* likewise */
};
/* Fills code, exit_code, is_oom, may_have_run, detail; leaves the times. */
void outcome_decide(const struct run_facts *facts, struct rt_outcome *out_outcome);
int outcome_signal(int exit_code); /* 0: not by a signal */

struct stderr_tail { /* zeroed: ready */
    char *ring;      /* owned; newest byte before `total % size` */
    size_t size;     /* of the ring: as large as was needed, at most FAAS_STDERR_KEPT */
    uint64_t total;
};
void stderr_tail_done(struct stderr_tail *tail);
/* Without memory fewer bytes are kept. */
void stderr_tail_add(struct stderr_tail *tail, const void *data, size_t len);
/* At most `max` (and FAAS_STDERR_TAIL) newest bytes as valid UTF-8; the caller frees.  NULL only without memory. */
char *stderr_tail_text(const struct stderr_tail *tail, size_t max);

/* The END object without stdout_bytes and hash, which the frame sender adds.  place_ms < 0: not
 * known.  A new reference, NULL without memory. */
struct outcome_report {
    const struct rt_outcome *outcome;
    const struct stderr_tail *tail;
    size_t tail_max;
    const char *spawner;
    double place_ms;
    const char *content_type; /* NULL or "": not said */
};
json_t *outcome_to_json(const struct outcome_report *report);
/* What an END event says besides, for the call's record: whose the call was, and its stderr in
 * base64.  Non-zero without memory. */
int outcome_add_record(json_t *event, const char *tenant, const char *function,
                       const struct stderr_tail *tail);

#endif
