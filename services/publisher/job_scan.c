/* Jobs whose publisher is gone: found by reading the queue from its beginning, message by message.
 * A scan follows each change among the publishers, and goes on until no job is without a living
 * owner.  It also settles what this process itself does not know for certain: a job that it was told
 * is not stored, and one that another publisher took over while this process was held up. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define STEP_MS      5000
#define AGAIN_MS     1000 /* after a scan that could not be finished */
#define ORPHANS_MS   2000 /* while there are jobs whose new owner has not taken them yet */
#define OWNER_AGE_MS 1000

static void step(struct jobs *jobs);

/* ---- taking over ---- */

static void give_up_on(struct job *job)
{
    jobs_scan_soon(job->jobs, AGAIN_MS);
    job_free(job);
}

static void end_as_lost(struct job *job)
{
    job->has_outcome = true;
    job->may_have_run = true;
    job->code = FAAS_LOST;
    job->end = json_pack("{s:i, s:s, s:s, s:b, s:s}", "v", 1, "code", "lost", "detail",
                         "the publisher that ran the call was lost; the function may have run, and "
                         "is not marked idempotent",
                         "may_have_run", 1, "component", "publisher");
    job_ended(job);
}

/* An idempotent function is run again whatever the lost owner had begun, under another id: who ran
 * it before refuses the old one. */
static void on_taken(void *arg, faas_code code, const struct faas_stream_msg *msg,
                     const faas_err *err)
{
    struct job *job = arg;
    struct jobs *jobs = job->jobs;

    (void)err;
    job->is_busy = false;
    if (jobs->is_stopped)
        return;
    if (code != FAAS_OK) {
        if (code == FAAS_CONFLICT)
            job_free(job); /* somebody else was faster */
        else
            give_up_on(job);
        return;
    }
    job->seq = msg->seq;
    metric_count(M_JOBS_TAKEN);
    job_set_phase(job, JOB_WAITING);
    if (job->state.is_started)
        end_as_lost(job);
    else if (job->is_cancelled)
        job_cancel(job);
    else
        job_line_up(job, false);
    if (jobs->held > JOBS_HELD_MAX && job->phase == JOB_WAITING)
        job_drop_argument(job);
}

static void take_over(struct job *job)
{
    struct jobs *jobs = job->jobs;
    char subject[JOB_SUBJECT_MAX];
    FAAS_AUTO(void) *bytes = NULL;
    struct faas_stream_put put = {.subject = subject,
                                  .expected = (int64_t)job->seq,
                                  .deadline_ns = faas_deadline_in_ms(JOBS_KEEP_MS)};
    faas_err err = {0};

    job_own(job);
    if (!job->state.is_started)
        faas_uuid_new(job->state.run);
    if (job_state_pack(&job->state, job->arg, job->arg_len, &bytes, &put.len, &err) != FAAS_OK) {
        give_up_on(job);
        return;
    }
    put.data = bytes;
    job_subject(JOB_IN_QUEUE, job->state.tenant, job->id, subject);
    job->is_busy = true;
    faas_stream_put(jobs->queue, &put, on_taken, job);
}

static void on_removed(void *arg, faas_code code, const struct faas_stream_msg *msg,
                       const faas_err *err)
{
    struct jobs *jobs = arg;

    (void)msg;
    (void)err;
    if (code != FAAS_OK && code != FAAS_NOT_FOUND && !jobs->is_stopped)
        jobs_scan_soon(jobs, AGAIN_MS);
}

static void remove_message(struct jobs *jobs, uint64_t seq)
{
    faas_stream_delete(jobs->queue, seq, faas_deadline_in_ms(JOBS_KEEP_MS), on_removed, jobs);
}

/* All that is left to do is its callback, perhaps for the second time. */
static void finish_for(struct job *job, const struct faas_stream_msg *msg)
{
    struct faas_envelope env = {0};
    faas_err err = {0};

    if (faas_envelope_open(msg->data, msg->len, &env, &err) != FAAS_OK) {
        job_free(job); /* no publisher of ours wrote it */
        return;
    }
    job->end = faas_json_copy(json_object_get(env.meta, "end"));
    job->code = strcmp(job_text(job->end, "code"), "ok") == 0
                    ? FAAS_OK
                    : faas_code_from_slug(job_text(job->end, "code"));
    job->status = "ended";
    job->is_text = json_is_true(json_object_get(env.meta, "text"));
    job->result_len = (size_t)json_integer_value(json_object_get(env.meta, "bytes"));
    job->result = malloc(env.len + 1);
    if (job->end == NULL || job->result == NULL ||
        (job->result_len <= JOB_INLINE_MAX && job->result_len != env.len)) {
        faas_envelope_done(&env);
        give_up_on(job);
        return;
    }
    memcpy(job->result, env.bytes, env.len);
    faas_envelope_done(&env);
    metric_count(M_JOBS_TAKEN);
    job_keep_on(job);
}

/* Its owner may have written its end, and died before it removed the job. */
static void on_end(void *arg, faas_code code, const struct faas_stream_msg *msg,
                   const faas_err *err)
{
    struct job *job = arg;

    (void)err;
    job->is_busy = false;
    if (job->jobs->is_stopped)
        return;
    if (code == FAAS_NOT_FOUND) {
        take_over(job);
    } else if (code == FAAS_OK && job->state.callback != NULL) {
        finish_for(job, msg);
    } else if (code == FAAS_OK) {
        remove_message(job->jobs, job->seq);
        job_free(job);
    } else {
        give_up_on(job);
    }
}

/* take_state is the job's afterwards. */
static void adopt(struct jobs *jobs, struct job_state *take_state, const struct faas_envelope *env,
                  uint64_t seq)
{
    struct job *job = job_new(jobs);
    char subject[JOB_SUBJECT_MAX];
    faas_err err = {0};

    if (job == NULL) {
        jobs_scan_soon(jobs, AGAIN_MS);
        return;
    }
    job->state = *take_state;
    take_state->callback = NULL;
    job->seq = seq;
    job->seen_scan = jobs->scan.number;
    job_hold_argument(job, env->bytes, env->len);
    if (job->arg == NULL || jobs_add(jobs, job, &err) != FAAS_OK) {
        give_up_on(job);
        return;
    }
    job_end_subject(job->state.tenant, job->id, subject);
    job->is_busy = true;
    faas_stream_last(jobs->results, subject, faas_deadline_in_ms(JOBS_KEEP_MS), on_end, job);
}

/* ---- one message ---- */

static bool is_alive(const struct jobs *jobs, const struct job_state *state)
{
    const struct faas_runtime *rt = jobs->pub->rt;
    const struct faas_member *member;

    if (strcmp(state->owner, rt->id) == 0)
        return strcmp(state->epoch, faas_members_epoch(rt->members)) == 0;
    member = faas_members_find(rt->members, "publisher", state->owner);
    return member != NULL && !member->is_dead && strcmp(member->epoch, state->epoch) == 0;
}

bool job_is_own(const struct jobs *jobs, const struct job_state *state)
{
    const struct faas_runtime *rt = jobs->pub->rt;

    return strcmp(state->owner, rt->id) == 0 &&
           strcmp(state->epoch, faas_members_epoch(rt->members)) == 0;
}

/* The owner of its function, as gateways see it; with nobody ready it is anybody's. */
static bool is_mine_to_take(const struct jobs *jobs, const struct job_state *state)
{
    const struct faas_runtime *rt = jobs->pub->rt;
    char key[FAAS_UUID_TEXT + FAAS_FUNCTION_NAME_MAX + 1];
    const struct faas_member *owner;

    (void)snprintf(key, sizeof key, "%s/%s", state->tenant, state->name);
    owner = faas_members_owner(rt->members, "publisher", key, OWNER_AGE_MS);
    return owner == NULL || strcmp(owner->id, rt->id) == 0;
}

static void look_at(struct jobs *jobs, const struct faas_stream_msg *msg)
{
    struct job_state state = {.version = 0};
    struct faas_envelope env = {0};
    faas_err err = {0};
    struct job *known;

    if (job_state_open(msg->data, msg->len, &state, &env, &err) != FAAS_OK) {
        FAAS_LOG(ERROR, "a queued call cannot be read", FAAS_LSTR("subject", msg->subject),
                 FAAS_LSTR("msg", err.msg));
        metric_count(M_MALFORMED);
        job_state_done(&state);
        return;
    }
    known = jobs_find(jobs, state.id);
    if (known != NULL) {
        if (known->seq == msg->seq || known->is_busy)
            known->seen_scan = jobs->scan.number;
    } else if (job_is_own(jobs, &state)) {
        remove_message(jobs, msg->seq); /* whoever sent it was told that it is not queued */
    } else if (!is_alive(jobs, &state)) {
        jobs->scan.has_orphans = true;
        if (is_mine_to_take(jobs, &state))
            adopt(jobs, &state, &env, msg->seq);
    }
    job_state_done(&state);
    faas_envelope_done(&env);
}

/* ---- the scan ---- */

/* What waits here, and was not there as we know it, is another's. */
static void drop_unseen(struct jobs *jobs)
{
    struct job *job, *next;

    for (job = TAILQ_FIRST(&jobs->all); job != NULL; job = next) {
        next = TAILQ_NEXT(job, link);
        if (job->phase == JOB_WAITING && !job->is_busy && job->seen_scan != jobs->scan.number &&
            job->ready_ns < jobs->scan.began_ns)
            job_forget(job);
    }
}

static void end_scan(struct jobs *jobs)
{
    jobs->scan.is_running = false;
    drop_unseen(jobs);
    if (jobs->scan.is_wanted)
        jobs_scan_soon(jobs, 0);
    else if (jobs->scan.has_orphans)
        jobs_scan_soon(jobs, ORPHANS_MS);
}

static void on_step(void *arg, faas_code code, const struct faas_stream_msg *msg,
                    const faas_err *err)
{
    struct jobs *jobs = arg;

    (void)err;
    if (jobs->is_stopped)
        return;
    if (code == FAAS_NOT_FOUND) {
        end_scan(jobs);
        return;
    }
    if (code != FAAS_OK) {
        jobs->scan.is_running = false;
        jobs_scan_soon(jobs, AGAIN_MS);
        return;
    }
    jobs->scan.from = msg->seq + 1;
    look_at(jobs, msg);
    step(jobs);
}

static void step(struct jobs *jobs)
{
    faas_stream_next(jobs->queue, jobs->scan.from, "job.>", faas_deadline_in_ms(STEP_MS), on_step,
                     jobs);
}

void jobs_on_scan_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct jobs *jobs = timer->data;

    (void)ev;
    (void)events;
    if (jobs->is_draining)
        return;
    jobs->scan.is_running = true;
    jobs->scan.is_wanted = jobs->scan.has_orphans = false;
    jobs->scan.number++;
    jobs->scan.from = 1;
    jobs->scan.began_ns = faas_now_ns();
    step(jobs);
}

void jobs_scan_soon(struct jobs *jobs, int64_t ms)
{
    struct ev_loop *ev;

    if (jobs->pub == NULL || jobs->is_stopped)
        return;
    if (jobs->scan.is_running) {
        jobs->scan.is_wanted = true;
        return;
    }
    ev = faas_loop_ev(jobs->pub->rt->loop);
    if (ev_is_active(&jobs->scan.timer) &&
        ev_timer_remaining(ev, &jobs->scan.timer) <= (double)ms / 1e3)
        return;
    ev_timer_stop(ev, &jobs->scan.timer);
    ev_timer_set(&jobs->scan.timer, (double)ms / 1e3, 0.0);
    ev_timer_start(ev, &jobs->scan.timer);
}
