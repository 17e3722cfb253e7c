/* job_internal.h - a job, for job.c (what is told, its end) and job_begin.c (how it begins). */
#ifndef SPAWNER_JOB_INTERNAL_H
#define SPAWNER_JOB_INTERNAL_H

#include <sys/queue.h>

#include "job.h"
#include "outcome.h"

struct cancel {
    faas_msg *msg;
    SLIST_ENTRY(cancel) link;
};

struct job {
    struct job_host *host;
    enum job_stage stage;
    struct call_spec spec; /* points into msg and env until the call was handed over */
    faas_msg *msg;
    struct faas_envelope env;
    char *inbox; /* of the caller */
    faas_frames_out *frames;
    struct rt_call *run;
    secrets_wait
        *secrets; /* while they are asked for: accepted, and the runtime knows nothing yet */
    uint64_t asked_ns;
    struct stderr_tail tail;
    ev_timer stall;
    ev_timer tell; /* accept and started, of a call that has not ended by then */
    SLIST_HEAD(, cancel) cancels;
    char *end_text; /* the end event, while it is being told */
    size_t end_len;
    json_t *withheld;        /* END of a lost call, while its publisher decides; NULL: none */
    struct job_input *input; /* of a call that is fed; NULL before it has started */
    bool is_started, is_told;
    bool has_sent; /* something to the caller */
    bool is_withdrawn, is_frames_done, is_event_done, is_out_of_memory, is_input_broken;
};

/* job.c */
void job_send(void *arg, const void *msg, size_t len); /* to the caller */
void job_on_frames_done(void *arg, bool is_acknowledged);
struct rt_sink job_sink(job *self);
void job_on_end(void *arg, const struct rt_outcome *told); /* what the sink's end is */
void job_drop_message(job *self);                          /* and what was decoded of it */
void job_leave(job *self);                                 /* told, and freed */

/* job_input.c: the argument of a call that is fed, asked of the caller piece by piece. */
FAAS_MUST_CHECK faas_code job_input_open(job *self, faas_err *err);
void job_input_fed(job *self); /* the runtime has room for more */
void job_input_close(job *self);

/* job_begin.c */
void job_end_unbegun(job *self, faas_code code, const char *why); /* accepted, but never begun */

#endif
