/* stack_job.h - what `faas deploy -f` has to do for one function, what became of it, how it is told.
 * Threads   the main thread only.
 */
#ifndef CLI_STACK_JOB_H
#define CLI_STACK_JOB_H

#include "cli/stack.h"

enum stack_change {
    STACK_UNKNOWN, /* comparing failed: err */
    STACK_NEW,
    STACK_CHANGED,
    STACK_SAME,
    STACK_GONE, /* of an earlier deploy, no longer in the file */
};

enum stack_outcome {
    STACK_PENDING,
    STACK_CREATED,
    STACK_UPDATED,
    STACK_REBUILT, /* nothing but the image behind its tag is another */
    STACK_UNCHANGED,
    STACK_REMOVED,
    STACK_FAILED,  /* err */
    STACK_SKIPPED, /* not removed: another function failed before */
};

struct stack_job {
    char *name;                            /* owned */
    const struct stack_function *function; /* borrowed; NULL: STACK_GONE */
    enum stack_change change;
    json_t *record, *changes, *patch; /* owned; NULL where there is none */
    enum stack_outcome outcome;
    json_int_t version; /* 0: unknown */
    faas_err err;
};

struct stack_jobs {
    struct stack_job *items;
    size_t count, room;
};

FAAS_MUST_CHECK faas_code stack_jobs_add(struct stack_jobs *jobs, const char *name,
                                         const struct stack_function *function,
                                         struct stack_job **out_job, faas_err *err);
void stack_jobs_done(struct stack_jobs *jobs);
bool stack_jobs_have(const struct stack_jobs *jobs, enum stack_outcome outcome);

/* The differences, as a table; env values are not in them. */
FAAS_MUST_CHECK faas_code stack_report_changes(const struct stack_jobs *jobs, faas_err *err);
/* A line for a function whose outcome is known. */
void stack_report_outcome(const struct stack_job *job);
void stack_report_sum(const struct stack_jobs *jobs);
/* All of it, as one document. */
FAAS_MUST_CHECK faas_code stack_report_json(const struct stack *stack,
                                            const struct stack_jobs *jobs, faas_err *err);

#endif
