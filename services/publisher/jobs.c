/* The table of queued calls, and what belongs to all of them. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RESULT_AGE_S (24 * 3600)
#define KEYS_BYTES   (16 * 1024 * 1024)
#define BYTES_MIN    (1024 * 1024) /* of a stream */

static int by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Jobs that are being written do not count: nobody was told of them. */
static void measure(const struct jobs *jobs)
{
    metric_level(M_JOBS_WAITING, (int64_t)jobs->count[JOB_WAITING]);
    metric_level(M_JOBS_RUNNING, (int64_t)(jobs->count[JOB_READYING] + jobs->count[JOB_RUNNING] +
                                           jobs->count[JOB_ENDING]));
}

/* ---- one job ---- */

static void on_job_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct job *job = timer->data;

    (void)ev;
    (void)events;
    job->on_timer(job);
}

struct job *job_new(struct jobs *jobs)
{
    struct job *job = calloc(1, sizeof *job);

    if (job == NULL)
        return NULL;
    job->jobs = jobs;
    job->result_fd = -1;
    ev_init(&job->timer, on_job_timer);
    job->timer.data = job;
    return job;
}

void job_set_phase(struct job *job, enum job_phase phase)
{
    struct jobs *jobs = job->jobs;

    jobs->count[job->phase]--;
    job->phase = phase;
    if (phase == JOB_WAITING)
        job->ready_ns = faas_now_ns();
    jobs->count[phase]++;
    measure(jobs);
}

void job_arm(struct job *job, int64_t ms, void (*then)(struct job *job))
{
    struct ev_loop *ev = faas_loop_ev(job->jobs->pub->rt->loop);

    ev_now_update(ev);
    ev_timer_stop(ev, &job->timer);
    job->on_timer = then;
    ev_timer_set(&job->timer, (double)ms / 1e3, 0.0);
    ev_timer_start(ev, &job->timer);
}

void job_hold_argument(struct job *job, const void *arg, size_t len)
{
    void *copy;

    job_drop_argument(job);
    job->stored_bytes = len;
    copy = malloc(len + 1); /* an argument may be empty, and is still one */
    if (copy == NULL)
        return;
    memcpy(copy, arg, len);
    job->arg = copy;
    job->arg_len = len;
    job->jobs->held += len;
}

void job_drop_argument(struct job *job)
{
    if (job->arg == NULL)
        return;
    job->jobs->held -= job->arg_len;
    free(job->arg);
    job->arg = NULL;
    job->arg_len = 0;
}

void job_release_run(struct job *job)
{
    if (job->live != NULL)
        job->live->job = NULL;
    job->live = NULL;
    resolve_cancel(&job->look);
    faas_inbox_close(job->inbox);
    job->inbox = NULL;
    faas_frames_in_free(job->in);
    job->in = NULL;
    free(job->credit_to);
    job->credit_to = NULL;
}

void job_free(struct job *job)
{
    struct jobs *jobs = job->jobs;

    if (jobs->pub != NULL)
        ev_timer_stop(faas_loop_ev(jobs->pub->rt->loop), &job->timer);
    job_release_run(job);
    callback_forget(job);
    job_answer_cancels(job, NULL);
    job_drop_askers(job);
    record_unref(job->rec);
    json_decref(job->end);
    job_drop_argument(job);
    free(job->result);
    if (job->result_fd >= 0)
        close(job->result_fd);
    if (job->item.line != NULL) {
        (void)tdelete(job, &jobs->root, by_id);
        TAILQ_REMOVE(&jobs->all, job, link);
        job_lines_leave(&jobs->lines, &job->item);
        jobs->bytes -= job->stored_bytes;
        jobs->len--;
        jobs->count[job->phase]--;
        measure(jobs);
    }
    job_state_done(&job->state);
    free(job);
}

/* ---- the table ---- */

struct job *jobs_find(const struct jobs *jobs, const char *id)
{
    void *const *node = tfind(id, &jobs->root, by_id);

    return node != NULL ? *node : NULL;
}

faas_code jobs_add(struct jobs *jobs, struct job *job, faas_err *err)
{
    memcpy(job->id, job->state.id, sizeof job->id);
    FAAS_TRY(job_lines_enter(&jobs->lines, job->state.tenant, job->state.name, &job->item, err));
    if (tsearch(job, &jobs->root, by_id) == NULL) {
        job_lines_leave(&jobs->lines, &job->item);
        return faas_fail_sys(err, ENOMEM, "queue a call");
    }
    TAILQ_INSERT_TAIL(&jobs->all, job, link);
    job_lines_weigh(&job->item, job->stored_bytes);
    jobs->bytes += job->stored_bytes;
    jobs->len++;
    jobs->count[job->phase]++;
    measure(jobs);
    return FAAS_OK;
}

/* ---- life ---- */

/* On a small disk the stream is smaller than was asked for. */
static faas_code open_one(const struct faas_runtime *rt, struct faas_stream_conf conf,
                          uint64_t deadline_ns, faas_stream **out, faas_err *err)
{
    faas_code rc;

    conf.replicas = rt->replicas;
    do {
        rc = faas_stream_open(rt->rpc, &conf, deadline_ns, out, err);
        if (rc != FAAS_TOO_LARGE || conf.max_bytes / 2 < BYTES_MIN)
            return rc;
        conf.max_bytes /= 2;
        FAAS_LOG(WARN, "no room for a stream of the size that was asked for",
                 FAAS_LSTR("stream", conf.name), FAAS_LINT("now_mb", conf.max_bytes >> 20));
    } while (true);
}

faas_code jobs_open(struct jobs *jobs, const struct faas_runtime *rt, uint64_t deadline_ns,
                    faas_err *err)
{
    /* Bounded by its publishers: a limit here would also refuse the changes of what is stored. */
    const struct faas_stream_conf queue = {
        .name = FAAS_STREAM_JOBS, .subjects = "job.>", .max_bytes = -1};
    /* A key that was dropped to make room could let its call run again: new ones are refused. */
    const struct faas_stream_conf keys = {.name = FAAS_STREAM_KEYS,
                                          .subjects = "key.>",
                                          .max_bytes = KEYS_BYTES,
                                          .max_age_s = RESULT_AGE_S};
    const struct faas_stream_conf results = {.name = FAAS_STREAM_RESULTS,
                                             .subjects = "res.>",
                                             .max_bytes = jobs->conf.results_mb << 20,
                                             .max_age_s = RESULT_AGE_S,
                                             .is_discard_old = true};
    const struct faas_stream_conf dead = {.name = FAAS_STREAM_DEAD,
                                          .subjects = "dead.>",
                                          .max_bytes = jobs->conf.dead_mb << 20,
                                          .is_discard_old = true};

    FAAS_TRY(callbacks_open(jobs->conf.callback_allow, rt, &jobs->callbacks, err));
    FAAS_TRY(open_one(rt, keys, deadline_ns, &jobs->keys, err));
    FAAS_TRY(open_one(rt, queue, deadline_ns, &jobs->queue, err));
    FAAS_TRY(open_one(rt, results, deadline_ns, &jobs->results, err));
    return open_one(rt, dead, deadline_ns, &jobs->dead, err);
}

void jobs_start(struct jobs *jobs, struct publisher *pub)
{
    jobs->pub = pub;
    TAILQ_INIT(&jobs->all);
    TAILQ_INIT(&jobs->waits);
    LIST_INIT(&jobs->sends);
    job_lines_init(&jobs->lines);
    ev_init(&jobs->pump, jobs_on_pump);
    jobs->pump.repeat = JOBS_PUMP_S;
    jobs->pump.data = jobs;
    ev_init(&jobs->scan.timer, jobs_on_scan_timer);
    jobs->scan.timer.data = jobs;
    jobs_scan_soon(jobs, 2000); /* by then the other publishers were heard */
}

void jobs_drain(struct jobs *jobs)
{
    jobs->is_draining = true;
    if (jobs->pub != NULL)
        ev_timer_stop(faas_loop_ev(jobs->pub->rt->loop), &jobs->pump);
}

bool job_is_idle(const struct job *job)
{
    return job->phase == JOB_WAITING && !job->is_busy;
}

bool jobs_are_idle(const struct jobs *jobs)
{
    const struct job *job;

    if (jobs->pub == NULL)
        return true;
    TAILQ_FOREACH (job, &jobs->all, link)
        if (!job_is_idle(job))
            return false;
    return true;
}

void jobs_stop(struct jobs *jobs)
{
    struct job *job;

    jobs->is_stopped = true;
    callbacks_close(jobs->callbacks);
    jobs->callbacks = NULL;
    /* First: operations between two tries end, and tell the jobs they belong to. */
    faas_stream_close(jobs->keys);
    faas_stream_close(jobs->queue);
    faas_stream_close(jobs->results);
    faas_stream_close(jobs->dead);
    jobs->keys = jobs->queue = jobs->results = jobs->dead = NULL;
    if (jobs->pub == NULL)
        return;
    ev_timer_stop(faas_loop_ev(jobs->pub->rt->loop), &jobs->pump);
    ev_timer_stop(faas_loop_ev(jobs->pub->rt->loop), &jobs->scan.timer);
    jobs_stop_waits(jobs);
    jobs_stop_sends(jobs);
    while ((job = TAILQ_FIRST(&jobs->all)) != NULL)
        job_free(job);
    jobs->pub = NULL;
}
