/* Turns of queued calls, and one run of one of them: a live call like a gateway's, but its frames
 * come to this process. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STARVED_NS  (5 * FAAS_S_NS)
#define STARVED_MAX 8 /* jobs that wait for a place although none is free */
#define KEPT_PART   4 /* of the places one user's jobs leave to others */
#define CAP_LOOK_MS 100
/* Many jobs may wait so, and for long. */
#define DISABLED_LOOK_MS 2000

static void ready(struct job *job);

/* ---- turns ---- */

/* One user's jobs, however long they run, leave places to others. */
static bool may_go(void *arg, const struct job_user *user)
{
    const struct publisher *pub = arg;
    int64_t all = pub->places.all, kept = all / KEPT_PART;

    if (kept == 0 && all > 1)
        kept = 1;
    return usage_placed(&pub->usage, user->tenant) + (int64_t)user->going < all - kept ||
           (all <= 1 && user->going == 0);
}

static bool has_room(struct jobs *jobs)
{
    struct publisher *pub = jobs->pub;
    size_t soon = jobs->count[JOB_READYING] + jobs->placing;

    pub->places = room_places(pub);
    if (pub->places.free > 0 && (size_t)pub->places.free > jobs->count[JOB_READYING])
        return pub->book.live_len < (size_t)pub->conf.calls_max;
    return faas_now_ns() > jobs->begun_ns + STARVED_NS && soon < STARVED_MAX;
}

static struct job *of_item(struct job_item *item)
{
    return (struct job *)(void *)((char *)item - offsetof(struct job, item));
}

static void pump_now(struct jobs *jobs)
{
    struct job_item *item;

    while (!jobs->is_draining && jobs->lines.waiting > 0 && has_room(jobs)) {
        item = job_lines_take(&jobs->lines, may_go, jobs->pub);
        if (item == NULL)
            break;
        jobs->begun_ns = faas_now_ns();
        job_set_phase(of_item(item), JOB_READYING);
        ready(of_item(item));
    }
    if (jobs->lines.waiting == 0 || jobs->is_draining)
        ev_timer_stop(faas_loop_ev(jobs->pub->rt->loop), &jobs->pump);
    else if (!ev_is_active(&jobs->pump))
        ev_timer_again(faas_loop_ev(jobs->pub->rt->loop), &jobs->pump);
}

void jobs_on_pump(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    pump_now(timer->data);
}

static void pump_posted(void *arg)
{
    struct jobs *jobs = arg;

    jobs->is_pump_posted = false;
    if (jobs->pub != NULL)
        pump_now(jobs);
}

void jobs_pump(struct jobs *jobs)
{
    if (jobs->is_pump_posted || jobs->pub == NULL || jobs->lines.waiting == 0)
        return;
    jobs->is_pump_posted = true;
    faas_loop_post(jobs->pub->rt->loop, pump_posted, jobs);
}

void job_line_up(struct job *job, bool is_first)
{
    struct jobs *jobs = job->jobs;

    if (jobs->lines.waiting == 0)
        jobs->begun_ns = faas_now_ns();
    if (job->phase != JOB_WAITING)
        job_set_phase(job, JOB_WAITING);
    job_lines_wait(&jobs->lines, &job->item, is_first);
    jobs_pump(jobs);
}

/* ---- before a run: the function, the argument, the mark ---- */

static void no_function(struct job *job)
{
    job_fail(job, FAAS_NOT_FOUND, "the function was deleted while the call waited in the queue");
}

static void rest(struct job *job, int64_t ms);

/* It waits here, unmarked, where a change of the function still finds it; the letter of what waited
 * for too long can be redriven. */
static bool is_too_old(const struct job *job)
{
    return faas_wall_ms() - job->state.queued_ms >= JOB_AGE_MS;
}

static void wait_for_enabling(struct job *job)
{
    if (is_too_old(job))
        job_fail(job, FAAS_UNAVAILABLE,
                 "the function, or the account, has been disabled for as long as a queued call may "
                 "wait");
    else
        rest(job, DISABLED_LOOK_MS);
}

static void take_record(struct job *job, struct record *rec)
{
    if (strcmp(rec->id, job->state.function) != 0) {
        no_function(job); /* another one has the name */
        return;
    }
    job->rec = record_ref(rec);
    ready(job);
}

static void on_looked_up(void *arg, struct record *rec, const faas_err *err)
{
    struct job *job = arg;

    job->is_busy = false;
    if (rec != NULL)
        take_record(job, rec);
    else if (err->code == FAAS_NOT_FOUND)
        no_function(job);
    else if (err->code == FAAS_CONFLICT)
        wait_for_enabling(job);
    else
        job_fail(job, err->code, err->msg);
}

/* The call runs the version that was chosen when it was queued. */
static void find_record(struct job *job)
{
    struct resolve *resolve = &job->jobs->pub->resolve;
    const struct resolve_want want = {
        .tenant = job->state.tenant, .ref = &job->ref, .call_id = job->state.id};
    struct faas_standing standing;
    struct record *rec;

    standings_of(&job->jobs->pub->standings, job->state.user, &standing);
    if (standing.is_deleted) {
        job_cancel(job);
        return;
    }
    if (standing.is_disabled) {
        wait_for_enabling(job);
        return;
    }
    job->ref = (struct faas_function_ref){.version = job->state.version};
    memcpy(job->ref.name, job->state.name, sizeof job->ref.name);
    rec = resolve_now(resolve, &want);
    if (rec != NULL) {
        take_record(job, rec);
        return;
    }
    job->is_busy = true;
    job->look.done = on_looked_up;
    job->look.arg = job;
    resolve_ask(resolve, &want, &job->look);
}

/* ---- its frames ---- */

static void send_credit(void *arg, const char *reply, const void *msg, size_t len)
{
    struct job *job = arg;
    const struct faas_header headers[] = {{FAAS_H_PROTO, FAAS_PROTO}, {NULL, NULL}};
    const struct faas_out out = {.subject = reply, .headers = headers, .data = msg, .len = len};
    faas_err err = {0};

    if (faas_bus_publish(job->jobs->pub->rt->bus, FAAS_DATA, &out, &err) != FAAS_OK)
        FAAS_LOG(DEBUG, "a credit was not sent", FAAS_LSTR("call", job->id),
                 FAAS_LSTR("error", err.msg)); /* the sender repeats itself, and so do we */
}

/* The live call goes on to its own end, which tells nobody. */
static void part(struct job *job)
{
    struct jobs *jobs = job->jobs;

    if (job->live == NULL)
        return;
    if (job->item.is_going)
        jobs->placing--;
    job_lines_settled(&job->item);
    job->live->job = NULL;
    job->live = NULL;
}

static void on_complete(struct job *job, const char *reply)
{
    const json_t *end = faas_frames_in_end(job->in);

    part(job);
    job->has_outcome = true;
    job->credit_to = reply != NULL ? strdup(reply) : NULL;
    if (end == NULL) { /* BROKEN */
        faas_frames_in_credit(job->in, reply);
        job->code = FAAS_UNAVAILABLE;
        job->may_have_run = true;
        job->end = json_pack("{s:i, s:s, s:s, s:b}", "v", 1, "code", "unavailable", "detail",
                             "the function ran, but its result arrived damaged or there was no "
                             "room to keep it",
                             "may_have_run", 1);
    } else {
        job->end = faas_json_copy(end);
        job->code = strcmp(job_text(end, "code"), "ok") == 0
                        ? FAAS_OK
                        : faas_code_from_slug(job_text(end, "code"));
        /* Of an internal error it is not known what ran. */
        job->may_have_run =
            job->code == FAAS_INTERNAL || json_is_true(json_object_get(end, "may_have_run"));
        job->is_text = faas_frames_in_is_text(job->in);
        job->result = faas_frames_in_steal(job->in, &job->result_len, &job->result_fd);
    }
    job_ended(job);
}

static void on_message(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct job *job = arg;
    enum faas_frames_state state = FAAS_FRAMES_OPEN;
    struct faas_frame frame;
    faas_err err = {0};
    size_t pos = 0;
    bool more = true;

    if (job->has_outcome)
        return; /* until it is kept, nothing is credited */
    while (state == FAAS_FRAMES_OPEN && more) {
        if (faas_frame_next(faas_msg_data(msg), faas_msg_len(msg), &pos, &frame, &more, &err) !=
            FAAS_OK)
            return;
        if (more)
            state = faas_frames_in_take(job->in, &frame, faas_msg_reply(msg));
    }
    if (state == FAAS_FRAMES_OPEN)
        faas_frames_in_credit(job->in, faas_msg_reply(msg));
    else
        on_complete(job, faas_msg_reply(msg));
}

/* ---- the run ---- */

static struct live *live_new(struct job *job)
{
    struct live *call = calloc(1, sizeof *call);

    if (call == NULL)
        return NULL;
    call->inbox = strdup(faas_inbox_subject(job->inbox));
    if (call->inbox == NULL) {
        free(call);
        return NULL;
    }
    call->pub = job->jobs->pub;
    call->state = CALL_RECEIVED;
    call->attempt = ++job->attempt;
    call->taken_ns = faas_now_ns();
    call->asked_ms = job->state.asked_ms;
    call->arg = job->arg;
    call->arg_len = job->arg_len;
    memcpy(call->page.id, job->state.run, sizeof call->page.id);
    memcpy(call->tenant, job->state.tenant, sizeof call->tenant);
    memcpy(call->user, job->state.user, sizeof call->user);
    memcpy(call->trace, job->state.trace, sizeof call->trace);
    memcpy(call->ref.name, job->state.name, sizeof call->ref.name);
    call->history.is_queued = true;
    call->history.attempt = job->state.runs + 1;
    call->history.queued_ms = job->state.queued_ms;
    memcpy(call->history.call_id, job->state.id, sizeof call->history.call_id);
    memcpy(call->history.client_call_id, job->state.label, sizeof call->history.client_call_id);
    drive_timers_init(call);
    return call;
}

/* Enters it as endpoints.c does; from then on finish.c ends it. */
static faas_code enter(struct job *job, struct live *call, faas_err *err)
{
    struct publisher *pub = job->jobs->pub;
    const struct usage_caps caps = {.calls = publisher_calls_cap(pub, call->user),
                                    .bytes = SIZE_MAX};

    FAAS_TRY(usage_enter(&pub->usage, call->tenant, 0, &caps, &call->usage, err));
    if (book_add(&pub->book, &call->page, err) != FAAS_OK) {
        usage_leave(call->usage);
        return err->code;
    }
    call->rec = record_ref(job->rec);
    call->job = job;
    job->live = call;
    job->jobs->placing++;
    metric_count(M_CALLS);
    metric_count(M_JOBS_RUNS);
    if (job->state.runs > 0)
        metric_count(M_JOBS_RETRIES);
    metric_level(M_LIVE, (int64_t)pub->book.live_len);
    return FAAS_OK;
}

static faas_code open_ways(struct job *job, faas_err *err)
{
    struct faas_frames_in_conf conf = {.credit = send_credit, .arg = job, .is_batched = true};

    memcpy(conf.id, job->state.run, sizeof conf.id);
    FAAS_TRY(faas_frames_in_new(&conf, &job->in, err));
    return faas_inbox_open(job->jobs->pub->rt->rpc, on_message, job, &job->inbox, err);
}

static void run(struct job *job)
{
    struct live *call;
    faas_err err = {0};

    if (open_ways(job, &err) != FAAS_OK) {
        job_fail(job, err.code, err.msg);
        return;
    }
    call = live_new(job);
    if (call == NULL || enter(job, call, &err) != FAAS_OK) {
        if (call == NULL)
            (void)faas_fail_sys(&err, ENOMEM, "run a queued call");
        else
            free(call->inbox);
        free(call);
        job_fail(job, err.code, err.msg);
        return;
    }
    job_set_phase(job, JOB_RUNNING);
    drive(call, CALL_EV_FOUND); /* both may be gone afterwards */
}

static void after_rest(struct job *job)
{
    if (job->is_cancelled)
        job_cancel(job);
    else
        job_line_up(job, true);
}

static void rest(struct job *job, int64_t ms)
{
    record_unref(job->rec);
    job->rec = NULL;
    job_lines_rest(&job->jobs->lines, &job->item);
    job_set_phase(job, JOB_WAITING);
    job_arm(job, ms, after_rest);
}

static bool is_at_cap(const struct job *job)
{
    struct publisher *pub = job->jobs->pub;

    return room_is_at_cap(pub, job->rec) ||
           usage_calls(&pub->usage, job->state.tenant) >= publisher_calls_cap(pub, job->state.user);
}

static void ready(struct job *job)
{
    if (job->is_cancelled)
        job_cancel(job);
    else if (job->rec == NULL)
        find_record(job);
    else if (!job->state.is_started && is_at_cap(job) && is_too_old(job))
        job_fail(job, FAAS_BUSY,
                 "its turn has not come for as long as a queued call may wait: the most calls at "
                 "once of the function, or of its user, are too few");
    else if (!job->state.is_started && is_at_cap(job))
        rest(job, CAP_LOOK_MS); /* unmarked: a change of the function still finds it */
    else if (job->arg == NULL)
        job_need_argument(job, ready);
    else if (job->rec->retry.is_idempotent || job->state.is_started)
        run(job);
    else {
        job->state.is_started = true;
        job_write(job, ready);
    }
}

/* ---- hooks ---- */

void job_on_placed(struct live *call)
{
    struct job *job = call->job;

    if (job->item.is_going)
        job->jobs->placing--;
    job_lines_settled(&job->item);
    jobs_pump(job->jobs);
}

void job_on_fail(struct live *call, const struct wire_fail *fail)
{
    struct job *job = call->job;

    if (job->has_outcome)
        return;
    job->has_outcome = true;
    job->code = fail->err->code;
    job->may_have_run = fail->may_have_run;
    job->end = json_pack("{s:i, s:s, s:s, s:s}", "v", 1, "code", faas_code_slug(fail->err->code),
                         "detail", fail->err->msg, "component", fail->component);
    if (fail->may_have_run)
        (void)json_object_set_new(job->end, "may_have_run", json_true());
}

static void on_frames_late(struct job *job)
{
    job->has_outcome = true;
    job->code = FAAS_LOST;
    job->may_have_run = true;
    job->end = json_pack("{s:i, s:s, s:s, s:b}", "v", 1, "code", "lost", "detail",
                         "the spawner that ran the call was lost before its result arrived",
                         "may_have_run", 1);
    job_ended(job);
}

void job_on_gone(struct live *call)
{
    struct job *job = call->job;

    part(job);
    if (job->has_outcome)
        job_ended(job);
    else
        job_arm(job, JOBS_FRAMES_MS, on_frames_late);
}
