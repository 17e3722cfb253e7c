/* What becomes of a job after a run; its end, and the result, are kept before the job is removed. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#define AGAIN_MS 1000

static void keep(struct job *job);

/* ---- leaving the table ---- */

void job_answer_cancels(struct job *job, const char *word)
{
    struct cancel_wait *wait;

    while ((wait = job->cancels) != NULL) {
        job->cancels = wait->next;
        if (word != NULL) {
            FAAS_AUTO(json_t) *doc = json_pack("{s:i, s:s}", "v", 1, "state", word);

            faas_rpc_answer_json(job->jobs->pub->rt->rpc, wait->msg, doc);
        }
        faas_msg_free(wait->msg);
        free(wait);
    }
}

static void leave(struct job *job)
{
    struct jobs *jobs = job->jobs;

    job_free(job);
    jobs_pump(jobs);
    publisher_check_drained(jobs->pub);
}

void job_forget(struct job *job)
{
    FAAS_LOG(INFO, "another publisher owns a queued call now", FAAS_LSTR("call", job->id));
    metric_count(M_JOBS_LEFT);
    job_answer_cancels(job, "unknown"); /* asked again, it is found elsewhere */
    leave(job);
}

/* What came is kept, or is not needed: the spawner may forget it. */
static void credit(struct job *job)
{
    if (job->in != NULL && job->credit_to != NULL)
        faas_frames_in_credit(job->in, job->credit_to);
}

static void count_end(const struct job *job)
{
    if (job->was_ended)
        metric_count(M_JOBS_LEFT);
    else if (job->is_dead)
        metric_count(M_JOBS_DEAD);
    else if (job->code == FAAS_OK)
        metric_count(M_JOBS_DONE);
    else if (job->is_cancelled && job->code == FAAS_CLIENT_GONE)
        metric_count(M_JOBS_CANCELLED);
    else
        metric_count(M_JOBS_FAILED);
}

static void finish(struct job *job)
{
    struct jobs *jobs = job->jobs;

    count_end(job);
    if (!job->was_ended)
        job_note_end(job);
    FAAS_LOG(INFO, "queued call ended", FAAS_LSTR("call", job->id),
             FAAS_LSTR("tenant", job->state.tenant), FAAS_LSTR("name", job->state.name),
             FAAS_LSTR("status", job->status), FAAS_LSTR("code", faas_code_slug(job->code)),
             FAAS_LINT("runs", job->state.runs), FAAS_LINT("dead", job->is_dead));
    /* A request for it that comes late is not a new call. */
    (void)book_bury(&jobs->pub->book, job->id, UINT32_MAX, true, faas_now_ns());
    leave(job);
}

/* The end is stored: whoever waits for it is told, and the spawner may forget it. */
static void tell_end(struct job *job)
{
    bool was_cancelled = !job->was_ended && job->code == FAAS_CLIENT_GONE;

    job->is_end_told = true;
    credit(job);
    jobs_say_ended(job->jobs, job->id);
    job_answer_cancels(job, was_cancelled ? "cancelled" : "done");
}

/* ---- keeping ---- */

static void step_done(struct job *job, faas_code code)
{
    job->is_busy = false;
    if (job->jobs->is_stopped)
        return;
    if (code == FAAS_OK)
        keep(job);
    else
        job_arm(job, AGAIN_MS, keep);
}

static void on_chunk(void *arg, faas_code code, const struct faas_stream_msg *msg,
                     const faas_err *err)
{
    struct job *job = arg;

    (void)msg;
    (void)err;
    if (code == FAAS_OK)
        job->chunk++;
    step_done(job, code);
}

static void on_dead(void *arg, faas_code code, const struct faas_stream_msg *msg,
                    const faas_err *err)
{
    struct job *job = arg;

    (void)msg;
    (void)err;
    job->is_dead_kept = code == FAAS_OK;
    step_done(job, code);
}

static void on_end(void *arg, faas_code code, const struct faas_stream_msg *msg,
                   const faas_err *err)
{
    struct job *job = arg;

    (void)msg;
    if (code == FAAS_OK || code == FAAS_CONFLICT) {
        job->is_end_kept = true;
        job->was_ended = code == FAAS_CONFLICT;
        job->is_callback_done = job->was_ended; /* whoever ended it tells */
        code = FAAS_OK;
    } else {
        FAAS_LOG(WARN, "a queued call's end was not stored yet", FAAS_LSTR("call", job->id),
                 FAAS_LSTR("code", faas_code_slug(code)), FAAS_LSTR("detail", err->detail));
    }
    step_done(job, code);
}

static void on_removed(void *arg, faas_code code, const struct faas_stream_msg *msg,
                       const faas_err *err)
{
    struct job *job = arg;

    (void)msg;
    (void)err;
    job->is_busy = false;
    if (job->jobs->is_stopped)
        return;
    if (code == FAAS_OK || code == FAAS_NOT_FOUND)
        finish(job);
    else
        job_arm(job, AGAIN_MS, keep);
}

static size_t chunks_of(const struct job *job)
{
    return job->result_len > JOB_INLINE_MAX ? (job->result_len + JOB_CHUNK - 1) / JOB_CHUNK : 0;
}

/* A part of the result: in memory, or read into the caller's buffer.  NULL: it cannot be read. */
static const void *part_of(const struct job *job, size_t at, size_t len, void *buffer)
{
    if (job->result_fd < 0)
        return job->result != NULL ? (const char *)job->result + at : "";
    return pread(job->result_fd, buffer, len, (off_t)at) == (ssize_t)len ? buffer : NULL;
}

static void put(struct job *job, faas_stream *stream, struct faas_stream_put *what,
                faas_stream_done *done)
{
    what->deadline_ns = faas_deadline_in_ms(JOBS_KEEP_MS);
    job->is_busy = true;
    faas_stream_put(stream, what, done, job);
}

static void keep_chunk(struct job *job)
{
    size_t at = job->chunk * JOB_CHUNK;
    size_t len = job->result_len - at < JOB_CHUNK ? job->result_len - at : JOB_CHUNK;
    FAAS_AUTO(void) *buffer = malloc(JOB_CHUNK);
    char subject[JOB_SUBJECT_MAX];
    struct faas_stream_put what = {.subject = subject, .expected = FAAS_STREAM_ANY, .len = len};

    what.data = buffer != NULL ? part_of(job, at, len, buffer) : NULL;
    if (what.data == NULL) {
        job_arm(job, AGAIN_MS, keep);
        return;
    }
    job_chunk_subject(job->state.tenant, job->id, job->chunk, subject);
    put(job, job->jobs->results, &what, on_chunk);
}

static json_t *end_json(const struct job *job)
{
    const struct job_end end = {.status = job->status,
                                .is_dead = job->is_dead,
                                .ended_ms = faas_wall_ms(),
                                .bytes = job->result_len,
                                .chunks = chunks_of(job),
                                .is_text = job->is_text,
                                .end = job->end};

    return job_end_json(&job->state, &end);
}

static void keep_end(struct job *job)
{
    FAAS_AUTO(json_t) *doc = end_json(job);
    FAAS_AUTO(void) *buffer = malloc(JOB_INLINE_MAX);
    FAAS_AUTO(void) *bytes = NULL;
    char subject[JOB_SUBJECT_MAX];
    struct faas_stream_put what = {.subject = subject};
    size_t len = chunks_of(job) == 0 ? job->result_len : 0;
    const void *result = buffer != NULL ? part_of(job, 0, len, buffer) : NULL;
    faas_err err = {0};

    if (doc == NULL || result == NULL ||
        faas_envelope_pack(doc, result, len, &bytes, &what.len, &err) != FAAS_OK) {
        job_arm(job, AGAIN_MS, keep);
        return;
    }
    what.data = bytes;
    job_end_subject(job->state.tenant, job->id, subject);
    put(job, job->jobs->results, &what, on_end);
}

static void keep_dead(struct job *job)
{
    FAAS_AUTO(json_t) *doc = end_json(job);
    FAAS_AUTO(void) *bytes = NULL;
    char subject[JOB_SUBJECT_MAX];
    struct faas_stream_put what = {.subject = subject, .expected = FAAS_STREAM_ANY};
    faas_err err = {0};

    if (doc == NULL || json_object_set_new(doc, "job", job_state_letter(&job->state)) != 0 ||
        faas_envelope_pack(doc, job->arg, job->arg_len, &bytes, &what.len, &err) != FAAS_OK) {
        job_arm(job, AGAIN_MS, keep);
        return;
    }
    what.data = bytes;
    job_subject(JOB_IN_DEAD, job->state.tenant, job->id, subject);
    put(job, job->jobs->dead, &what, on_dead);
}

/* The next step, until there is none. */
static void keep(struct job *job)
{
    if (job->chunk < chunks_of(job)) {
        keep_chunk(job);
    } else if (job->is_dead && job->arg == NULL) {
        job_need_argument(job, keep);
    } else if (job->is_dead && !job->is_dead_kept) {
        keep_dead(job);
    } else if (!job->is_end_kept) {
        keep_end(job);
    } else if (!job->is_end_told) {
        tell_end(job);
        keep(job);
    } else if (job->state.callback != NULL && !job->is_callback_done) {
        callback_send(job, keep);
    } else {
        job->is_busy = true;
        faas_stream_delete(job->jobs->queue, job->seq, faas_deadline_in_ms(JOBS_KEEP_MS),
                           on_removed, job);
    }
}

void job_keep_on(struct job *job)
{
    job->is_end_kept = job->was_ended = job->is_dead_kept = true;
    job->chunk = chunks_of(job);
    job_set_phase(job, JOB_ENDING);
    keep(job);
}

/* ---- deciding ---- */

static void set_end(struct job *job, faas_code code, const char *text)
{
    json_decref(job->end);
    job->code = code;
    job->end = json_pack("{s:i, s:s, s:s, s:s}", "v", 1, "code", faas_code_slug(code), "detail",
                         text, "component", "publisher");
}

static void drop_result(struct job *job)
{
    credit(job);
    job_release_run(job);
    free(job->result);
    job->result = NULL;
    job->result_len = 0;
    if (job->result_fd >= 0)
        close(job->result_fd);
    job->result_fd = -1;
    json_decref(job->end);
    job->end = NULL;
    job->has_outcome = job->may_have_run = false;
}

static void line_up_again(struct job *job)
{
    if (job->is_cancelled)
        job_cancel(job);
    else
        job_line_up(job, true);
}

static void pause_then_again(struct job *job)
{
    if (job->is_cancelled) {
        job_cancel(job);
        return;
    }
    job_set_phase(job, JOB_WAITING);
    if (job->jobs->held > JOBS_HELD_MAX)
        job_drop_argument(job);
    job_arm(job, job->pause_ms, line_up_again);
}

static void again(struct job *job, const struct job_verdict *verdict)
{
    bool must_write = verdict->has_run || job->state.is_started;

    drop_result(job);
    job_lines_rest(&job->jobs->lines, &job->item);
    job->pause_ms = verdict->pause_ms;
    job->state.is_started = false;
    if (verdict->has_run) {
        faas_uuid_new(job->state.run); /* who ran it remembers the old one, and refuses it */
        job->attempt = 0;
        job->refusals = 0;
        job_note_queued(job);
    }
    record_unref(job->rec);
    job->rec = NULL; /* it may have been deleted meanwhile */
    if (must_write)
        job_write(job, pause_then_again);
    else
        pause_then_again(job);
}

static const char *status_of(enum job_step step)
{
    if (step == JOB_SUCCEEDED)
        return "succeeded";
    if (step == JOB_CANCELLED)
        return "cancelled";
    return step == JOB_REFUSED ? "refused" : "dead";
}

void job_ended(struct job *job)
{
    const struct job_retry none = {.attempts = 1};
    struct job_facts facts = {.code = job->code,
                              .may_have_run = job->may_have_run,
                              .was_asked = job->is_cancelled,
                              .runs = job->state.runs + 1,
                              .refusals = ++job->refusals,
                              .age_ms = faas_wall_ms() - job->state.queued_ms,
                              .chance = randombytes_random()};
    struct job_verdict verdict = job_decide(job->rec != NULL ? &job->rec->retry : &none, &facts);

    ev_timer_stop(faas_loop_ev(job->jobs->pub->rt->loop), &job->timer);
    job->attempt_no = facts.runs;
    job->state.runs += verdict.has_run;
    if (verdict.step == JOB_AGAIN) {
        again(job, &verdict);
        return;
    }
    job->status = status_of(verdict.step);
    job->is_dead = verdict.step == JOB_DEAD;
    if (job->end == NULL)
        set_end(job, job->code, "internal error"); /* without memory for its own words */
    job_lines_rest(&job->jobs->lines, &job->item);
    job_set_phase(job, JOB_ENDING);
    keep(job);
}

void job_fail(struct job *job, faas_code code, const char *text)
{
    set_end(job, code, text);
    job_ended(job);
}

/* ---- cancelling ---- */

void job_cancel(struct job *job)
{
    job->is_cancelled = true;
    if (job->is_busy || job->phase == JOB_ENDING)
        return; /* whoever comes back looks */
    if (job->live != NULL) {
        if (job->live->cancel_why == NULL)
            job->live->cancel_why = "cancelled";
        drive(job->live, CALL_EV_CANCEL);
        return;
    }
    if (job->phase == JOB_RUNNING || job->phase == JOB_STORING)
        return; /* its frames, or its sequence, are awaited */
    job_fail(job, FAAS_CLIENT_GONE, "the call was cancelled");
}
