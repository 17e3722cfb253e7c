/* A job's stored message: written again when its state changed, read again for its argument. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

#define AGAIN_MS 1000

static void write_now(struct job *job);
static void read_now(struct job *job);

static bool is_mine(const struct job *job, const struct job_state *state)
{
    return strcmp(state->owner, job->state.owner) == 0 &&
           strcmp(state->epoch, job->state.epoch) == 0;
}

/* Only this process writes under its epoch, one write at a time: a newer message of ours is the
 * write whose answer was lost. */
static void on_looked(void *arg, faas_code code, const struct faas_stream_msg *msg,
                      const faas_err *err)
{
    struct job *job = arg;
    struct job_state state = {.version = 0};
    struct faas_envelope env = {0};
    faas_err why = {0};
    bool is_ours;

    (void)err;
    job->is_busy = false;
    if (job->jobs->is_stopped)
        return;
    if (code != FAAS_OK && code != FAAS_NOT_FOUND) {
        job_arm(job, AGAIN_MS, write_now);
        return;
    }
    is_ours = code == FAAS_OK &&
              job_state_open(msg->data, msg->len, &state, &env, &why) == FAAS_OK &&
              is_mine(job, &state);
    if (!is_ours) {
        job_forget(job);
    } else if (msg->seq == job->seq) {
        job_arm(job, AGAIN_MS, write_now);
    } else {
        job->seq = msg->seq;
        write_now(job); /* what it says may be older than what we want */
    }
    job_state_done(&state);
    faas_envelope_done(&env);
}

static void look(struct job *job)
{
    char subject[JOB_SUBJECT_MAX];

    job_subject(JOB_IN_QUEUE, job->state.tenant, job->state.id, subject);
    job->is_busy = true;
    faas_stream_last(job->jobs->queue, subject, faas_deadline_in_ms(JOBS_KEEP_MS), on_looked, job);
}

static void on_written(void *arg, faas_code code, const struct faas_stream_msg *msg,
                       const faas_err *err)
{
    struct job *job = arg;

    job->is_busy = false;
    if (job->jobs->is_stopped)
        return;
    if (code == FAAS_OK) {
        job->seq = msg->seq;
        job->then(job);
        return;
    }
    FAAS_LOG(WARN, "a queued call's state was not stored yet", FAAS_LSTR("call", job->id),
             FAAS_LSTR("code", faas_code_slug(code)), FAAS_LSTR("detail", err->detail));
    look(job);
}

static void write_now(struct job *job)
{
    char subject[JOB_SUBJECT_MAX];
    FAAS_AUTO(void) *bytes = NULL;
    struct faas_stream_put put = {.subject = subject,
                                  .expected = (int64_t)job->seq,
                                  .deadline_ns = faas_deadline_in_ms(JOBS_KEEP_MS)};
    faas_err err = {0};

    if (job_state_pack(&job->state, job->arg, job->arg_len, &bytes, &put.len, &err) != FAAS_OK) {
        job_arm(job, AGAIN_MS, write_now);
        return;
    }
    put.data = bytes;
    job_subject(JOB_IN_QUEUE, job->state.tenant, job->state.id, subject);
    job->is_busy = true;
    faas_stream_put(job->jobs->queue, &put, on_written, job);
}

void job_write(struct job *job, void (*then)(struct job *job))
{
    job->then = then;
    write_now(job);
}

/* ---- the argument ---- */

static void on_read(void *arg, faas_code code, const struct faas_stream_msg *msg,
                    const faas_err *err)
{
    struct job *job = arg;
    struct job_state state = {.version = 0};
    struct faas_envelope env = {0};
    faas_err why = {0};
    bool is_ours;

    (void)err;
    job->is_busy = false;
    if (job->jobs->is_stopped)
        return;
    if (code != FAAS_OK && code != FAAS_NOT_FOUND) {
        job_arm(job, AGAIN_MS, read_now);
        return;
    }
    is_ours = code == FAAS_OK && msg->seq == job->seq &&
              job_state_open(msg->data, msg->len, &state, &env, &why) == FAAS_OK;
    if (!is_ours) {
        job_forget(job);
    } else {
        job_hold_argument(job, env.bytes, env.len);
        if (job->arg == NULL)
            job_arm(job, AGAIN_MS, read_now); /* without memory */
        else
            job->then(job);
    }
    job_state_done(&state);
    faas_envelope_done(&env);
}

static void read_now(struct job *job)
{
    char subject[JOB_SUBJECT_MAX];

    job_subject(JOB_IN_QUEUE, job->state.tenant, job->state.id, subject);
    job->is_busy = true;
    faas_stream_last(job->jobs->queue, subject, faas_deadline_in_ms(JOBS_KEEP_MS), on_read, job);
}

void job_need_argument(struct job *job, void (*then)(struct job *job))
{
    job->then = then;
    if (job->arg != NULL)
        then(job);
    else
        read_now(job);
}
