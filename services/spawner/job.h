/* job.h - one placed call: from the publisher's message to the acknowledged END.
 * Stages    checking (is the image here?), running (accepted; holds a slot), sent (END is on its
 *           way; holds memory only), gone.
 * Told      busy at once; accept, as event and frame, and started, where the call has not ended
 *           within FAAS_ACCEPT_AFTER_MS; the frames; end as a request that is repeated, then handed
 *           to any publisher (PROTOCOL.md 4.3).
 * Memory    stdout is not read from the runtime while JOB_PENDING_MAX bytes wait for credit; a
 *           receiver that gives none for JOB_STALL_MS has left.
 * Streams   what the call asks to have streamed leaves when it is read; stderr then waits for credit
 *           like stdout, and no more than JOB_STREAM_MAX is kept: what an ended call leaves waits for
 *           a client here, in a place that others may need.
 * Hooks     ended: nothing of it runs any more; gone: the job is about to be freed.
 * Threads   loop thread.
 */
#ifndef SPAWNER_JOB_H
#define SPAWNER_JOB_H

#include "call_spec.h"
#include "contract.h"
#include "net/frames.h"
#include "net/members.h"
#include "runtime.h"
#include "secrets.h"

#define JOB_PENDING_MAX (4 * 1024 * 1024)
#define JOB_STREAM_MAX  (512 * 1024)
#define JOB_STALL_MS    15000
#define JOB_GIVE_UP_MS  10000 /* END without any sign of its receiver */

typedef struct job job;
enum job_stage { JOB_CHECKING, JOB_RUNNING, JOB_SENT };

struct job_host { /* the same for all jobs of a process */
    faas_loop *loop;
    faas_rpc *rpc;
    faas_members *members;
    const char *spawner; /* instance id */
    faas_inbox *credits; /* of all jobs: its owner hands them to job_credit() */
    struct runtime *runtime;
    secrets *secrets;     /* NULL: the runtime gives calls none */
    int64_t stream_bytes; /* limit of a streamed output, in place of the function's */
    bool is_stopping;     /* calls that are stopped now were not cancelled by anybody */
    void (*ended)(void *arg, job *ended);
    void (*gone)(void *arg, job *gone);
    void *arg;
};

/* NULL without memory; the message is taken over in any case. */
job *job_new(struct job_host *host, const struct call_spec *head, faas_msg *take_msg);
/* Decodes the message and accepts or refuses, now or when the image was looked for; the job tells
 * it itself.  A refused job is gone, perhaps before this returned. */
void job_judge(job *self);
void job_free(job *self); /* without hooks; the process ends */

const char *job_id(const job *self);
uint32_t job_place(const job *self);
enum job_stage job_stage(const job *self);
void job_tell_accept(job *self); /* again, to a repeated message */
void job_tell_soon(job *self);   /* the accept, where it was not told yet: something follows it */
/* Gives up a checking job silently (it is freed); false: it runs or has ended. */
bool job_withdraw(job *self);
/* Its call was placed again elsewhere: nobody takes its result.  The job may be gone when this
 * returns; one that runs goes on. */
void job_drop_result(job *self);
/* Takes a credit, a borrowed frame; the job may be gone when this returns. */
void job_credit(job *self, const struct faas_frame *credit);
/* Answers the message once nothing of the call runs any more. */
void job_cancel(job *self, faas_msg *take_msg);

/* ---- job_event.c ---- */
json_t *job_event_json(const struct job_host *host, uint32_t place, const char *name);
bool job_event_subject(char out_subject[FAAS_SUBJECT_MAX], const struct call_spec *spec);
void job_tell_event(const struct job_host *host, const struct call_spec *spec, const json_t *event);
/* A refusal that needs no job. */
void job_tell_busy(const struct job_host *host, const struct call_spec *head, const char *reason,
                   const char *detail);
void job_answer_state(const struct job_host *host, const faas_msg *msg, const char *state);

#endif
