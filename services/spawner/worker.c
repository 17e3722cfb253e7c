#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "contract.h"
#include "job.h"
#include "ledger.h"

#define RESOLVE_MS 30000
#define CLOSE_STEP 0.05

struct place { /* a job's entry */
    job *job;
    LIST_ENTRY(place) link;
};
struct resolve { /* a question that the runtime has not answered */
    worker *self;
    faas_msg *msg;
    LIST_ENTRY(resolve) link;
};
struct worker {
    struct worker_conf conf;
    struct job_host host;
    ledger *book;
    LIST_HEAD(, place) places;
    LIST_HEAD(, resolve) resolves;
    int64_t used; /* slots */
    int64_t sent; /* jobs that only wait for their receiver */
    uint64_t changes;
    bool is_draining, has_drained;
    ev_timer drain_timer;
};

/* ---- slots ---- */

static void set_used(worker *self, int64_t by)
{
    bool was_full = self->used >= self->conf.slots;

    self->used += by;
    self->changes++;
    if (was_full != (self->used >= self->conf.slots))
        faas_members_beat_now(self->conf.rt->members);
}

static bool has_room(const worker *self)
{
    struct runtime *runtime = self->conf.runtime;
    int64_t lingering = self->sent + (int64_t)runtime->ops->lingering(runtime);

    return self->used < self->conf.slots &&
           lingering < WORKER_LINGER * self->conf.slots + WORKER_LINGER_MIN;
}

faas_code worker_take_slot(worker *self, faas_err *err)
{
    if (self->is_draining)
        return faas_fail(err, FAAS_UNAVAILABLE, "the spawner is about to stop");
    if (!has_room(self))
        return faas_fail(err, FAAS_BUSY, "all %lld slots are taken (SPAWNER_SLOTS)",
                         (long long)self->conf.slots);
    set_used(self, 1);
    return FAAS_OK;
}

void worker_give_slot(worker *self)
{
    set_used(self, -1);
}

/* As whoever calls would be told. */
static void fill_trouble(struct runtime *runtime, struct faas_beat *beat)
{
    faas_err err = {0};

    if (runtime->ops->usable(runtime, &err) != FAAS_OK)
        memcpy(beat->trouble, err.msg,
               faas_utf8_cut(err.msg, strlen(err.msg), sizeof beat->trouble - 1));
}

void worker_fill(worker *self, struct faas_beat *beat)
{
    struct place *place;

    /* A call without a word counts as never seen once its spawner says good-bye, which is a beat. */
    LIST_FOREACH (place, &self->places, link)
        job_tell_soon(place->job);
    ledger_forget_old(self->book);
    beat->isolation = self->conf.runtime->ops->isolation;
    fill_trouble(self->conf.runtime, beat);
    beat->slots = self->conf.slots;
    beat->free = self->is_draining ? 0 : self->conf.slots - self->used;
    beat->running = self->used;
    beat->running_seq = self->changes;
}

/* ---- jobs ---- */

static struct place *find(worker *self, const char *id)
{
    struct place *place;

    LIST_FOREACH (place, &self->places, link)
        if (strcmp(job_id(place->job), id) == 0)
            return place;
    return NULL;
}

static void on_ended(void *arg, job *ended)
{
    worker *self = arg;
    faas_err err = {0};

    if (ledger_note_done(self->book, job_id(ended), &err) != FAAS_OK)
        FAAS_LOG(ERROR, "an ended call could not be noted", FAAS_LSTR("call", job_id(ended)));
    self->sent++;
    set_used(self, -1);
}

static void on_gone(void *arg, job *gone)
{
    worker *self = arg;
    struct place *place;

    if (job_stage(gone) == JOB_SENT)
        self->sent--;
    else
        set_used(self, -1);
    LIST_FOREACH (place, &self->places, link)
        if (place->job == gone)
            break;
    if (place != NULL) {
        LIST_REMOVE(place, link);
        free(place);
    }
}

/* A message may bring the credits of many calls. */
static void on_credits(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    worker *self = arg;
    struct faas_frame frame;
    struct place *place;
    bool has_more = true;
    size_t pos = 0;
    faas_err err;

    while (faas_frame_next(faas_msg_data(msg), faas_msg_len(msg), &pos, &frame, &has_more, &err) ==
               FAAS_OK &&
           has_more) {
        place = frame.type == FAAS_FRAME_CREDIT ? find(self, frame.id) : NULL;
        if (place != NULL)
            job_credit(place->job, &frame);
    }
}

/* NULL: nothing is against it.  What the caller's number and our memory say. */
static const char *refusal(worker *self, const struct call_spec *head, const char **out_detail)
{
    *out_detail = "";
    if (head->epoch != NULL &&
        strcmp(head->epoch, faas_members_epoch(self->conf.rt->members)) != 0) {
        *out_detail = "meant for an earlier process of this name";
        return "epoch";
    }
    if (ledger_is_refused(self->book, head->id, head->place)) {
        *out_detail = "this call was given up or has ended here";
        return "fenced";
    }
    if (head->beat >= 0 && !beats_is_fresh(self->conf.beats, head->beat)) {
        *out_detail = "placed on a heartbeat that is over a second old";
        return "stale";
    }
    if (self->is_draining) {
        *out_detail = "the spawner is about to stop";
        return "draining";
    }
    if (!has_room(self)) {
        *out_detail = "all slots are taken";
        return "slots";
    }
    return NULL;
}

static void take(worker *self, const struct call_spec *head, faas_msg *take_msg)
{
    struct place *place = calloc(1, sizeof *place);

    if (place == NULL) {
        faas_msg_free(take_msg);
        return; /* the publisher asks what became of it */
    }
    place->job = job_new(&self->host, head, take_msg);
    if (place->job == NULL) {
        free(place);
        return;
    }
    LIST_INSERT_HEAD(&self->places, place, link);
    set_used(self, 1);
    job_judge(place->job);
}

void worker_on_call(worker *self, faas_msg *take_msg)
{
    struct call_spec head;
    struct place *known;
    const char *reason, *detail;
    faas_err err;

    if (call_spec_head(take_msg, &head, &err) != FAAS_OK) {
        FAAS_LOG(ERROR, "a call without what is needed to answer it", FAAS_LSTR("why", err.msg));
        faas_msg_free(take_msg);
        return;
    }
    known = find(self, head.id);
    if (known != NULL && job_stage(known->job) != JOB_SENT && job_place(known->job) == head.place) {
        job_tell_accept(known->job);
        faas_msg_free(take_msg);
        return;
    }
    reason = known != NULL ? "fenced" : refusal(self, &head, &detail);
    if (reason == NULL) {
        take(self, &head, take_msg);
        return;
    }
    job_tell_busy(&self->host, &head, reason,
                  known != NULL ? "this call is here under another number" : detail);
    faas_msg_free(take_msg);
}

/* ---- questions ---- */

struct question {
    const char *id;
    int64_t place;
    bool is_drop;
};
static const struct faas_json_field question_fields[] = {
    FAAS_FIELD(STR, struct question, id, "id", 36, 36, true),
    FAAS_FIELD(INT, struct question, place, "place", 0, UINT32_MAX, false),
    FAAS_FIELD(BOOL, struct question, is_drop, "drop", 0, 0, false),
    FAAS_FIELD_END,
};

/* The question borrows from *out_doc.  A bad one is answered here. */
static bool read_question(worker *self, const faas_msg *msg, json_t **out_doc,
                          struct question *out_question)
{
    faas_err err = {0};
    faas_code rc = faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, out_doc, &err);

    *out_question = (struct question){.id = NULL};
    if (rc == FAAS_OK)
        rc = faas_json_decode(*out_doc, question_fields, FAAS_JSON_TOLERANT, out_question, &err);
    if (rc == FAAS_OK && !faas_uuid_is(out_question->id))
        rc = faas_fail(&err, FAAS_INVALID, "id: expected a UUID");
    if (rc != FAAS_OK)
        faas_rpc_answer_err(self->conf.rt->rpc, msg, &err);
    return rc == FAAS_OK;
}

void worker_on_cancel(worker *self, faas_msg *take_msg)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct question question;
    struct place *known;

    if (!read_question(self, take_msg, &doc, &question)) {
        faas_msg_free(take_msg);
        return;
    }
    known = find(self, question.id);
    /* A publisher's says which placement it is about. */
    if (known != NULL && question.place != 0 && job_place(known->job) > question.place)
        known = NULL;
    if (known != NULL) {
        bool is_given_up = question.is_drop && job_stage(known->job) == JOB_SENT;

        job_cancel(known->job, take_msg);
        if (is_given_up)
            job_drop_result(known->job);
        return;
    }
    job_answer_state(&self->host, take_msg,
                     ledger_is_done(self->book, question.id) ? "done" : "unknown");
    faas_msg_free(take_msg);
}

/* What a fence may be told; a call that is not accepted yet is given up for it. */
static const char *fence_state(worker *self, const struct question *question, faas_err *err)
{
    struct place *known = find(self, question->id);

    if (known != NULL && job_stage(known->job) == JOB_RUNNING)
        return "running";
    if ((known != NULL && job_stage(known->job) == JOB_SENT) ||
        ledger_is_done(self->book, question->id))
        return "done";
    if (ledger_note_fence(self->book, question->id, (uint32_t)question->place, err) != FAAS_OK)
        return NULL;
    if (known != NULL && job_place(known->job) > question->place)
        return "running"; /* placed again since; its answer is on the way */
    if (known != NULL)
        (void)job_withdraw(known->job);
    return "never";
}

void worker_on_fence(worker *self, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(json_t) *doc = NULL;
    struct question question;
    const char *state;
    faas_err err = {0};

    if (!read_question(self, msg, &doc, &question))
        return;
    state = fence_state(self, &question, &err);
    if (state == NULL)
        faas_rpc_answer_err(self->conf.rt->rpc, msg, &err);
    else
        job_answer_state(&self->host, msg, state);
}

/* ---- resolving ---- */

static void resolve_free(struct resolve *res)
{
    LIST_REMOVE(res, link);
    faas_msg_free(res->msg);
    free(res);
}

static void on_resolved(void *arg, faas_code code, const json_t *reply, const faas_err *err)
{
    struct resolve *res = arg;

    if (code == FAAS_OK)
        faas_rpc_answer_json(res->self->conf.rt->rpc, res->msg, reply);
    else
        faas_rpc_answer_err(res->self->conf.rt->rpc, res->msg, err);
    resolve_free(res);
}

static faas_code read_image(const faas_msg *msg, json_t **out_doc, struct rt_image *out_image,
                            faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct rt_image, reference, "image", 1, FAAS_IMAGE_REF_MAX, true),
        FAAS_FIELD(STR, struct rt_image, tenant, "tenant", 0, FAAS_UUID_TEXT - 1, false),
        FAAS_FIELD_END,
    };

    FAAS_TRY(faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, out_doc, err));
    return faas_json_decode(*out_doc, fields, FAAS_JSON_TOLERANT, out_image, err);
}

/* A copy of a question that is being answered; its answer goes where the first one's does. */
static bool is_being_resolved(const worker *self, const faas_msg *msg)
{
    const char *reply = faas_msg_reply(msg);
    const struct resolve *res;

    LIST_FOREACH (res, &self->resolves, link) {
        const char *first = faas_msg_reply(res->msg);

        if (reply != NULL && first != NULL && strcmp(first, reply) == 0)
            return true;
    }
    return false;
}

void worker_on_resolve(worker *self, faas_msg *take_msg)
{
    struct runtime *runtime = self->conf.runtime;
    FAAS_AUTO(json_t) *doc = NULL;
    struct rt_image image = {.reference = NULL};
    struct faas_ctx ctx;
    faas_err err = {0};
    struct resolve *res = NULL;
    faas_code rc;

    if (is_being_resolved(self, take_msg)) {
        faas_msg_free(take_msg);
        return;
    }
    rc = read_image(take_msg, &doc, &image, &err);
    faas_ctx_from_msg(take_msg, RESOLVE_MS, &ctx);
    if (rc == FAAS_OK) {
        res = malloc(sizeof *res);
        rc = res != NULL ? FAAS_OK : faas_fail_sys(&err, ENOMEM, "resolve");
    }
    if (rc != FAAS_OK) {
        faas_rpc_answer_err(self->conf.rt->rpc, take_msg, &err);
        faas_msg_free(take_msg);
        return;
    }
    *res = (struct resolve){.self = self, .msg = take_msg};
    LIST_INSERT_HEAD(&self->resolves, res, link);
    runtime->ops->resolve(runtime, &image, faas_left_ms(ctx.deadline_ns), on_resolved, res);
}

/* ---- life ---- */

static void on_drain_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    worker *self = timer->data;
    struct runtime *runtime = self->conf.runtime;

    (void)events;
    if (self->used > 0 || self->sent > 0 || runtime->ops->lingering(runtime) > 0)
        return;
    ev_timer_stop(ev, timer);
    faas_service_drained();
}

void worker_drain(worker *self)
{
    self->is_draining = true;
    self->drain_timer.repeat = CLOSE_STEP;
    ev_timer_again(faas_loop_ev(self->conf.rt->loop), &self->drain_timer);
    faas_members_beat_now(self->conf.rt->members);
}

faas_code worker_new(const struct worker_conf *conf, worker **out_worker, faas_err *err)
{
    worker *self = calloc(1, sizeof *self);
    faas_code rc;

    if (self == NULL)
        return faas_fail_sys(err, ENOMEM, "worker");
    self->conf = *conf;
    self->host = (struct job_host){.loop = conf->rt->loop,
                                   .rpc = conf->rt->rpc,
                                   .members = conf->rt->members,
                                   .spawner = conf->rt->id,
                                   .runtime = conf->runtime,
                                   .stream_bytes = conf->stream_mb << 20,
                                   .secrets = conf->secrets,
                                   .ended = on_ended,
                                   .gone = on_gone,
                                   .arg = self};
    LIST_INIT(&self->places);
    LIST_INIT(&self->resolves);
    ev_init(&self->drain_timer, on_drain_timer);
    self->drain_timer.data = self;
    rc = ledger_new(&self->book, err);
    if (rc == FAAS_OK)
        rc = faas_inbox_open(conf->rt->rpc, on_credits, self, &self->host.credits, err);
    if (rc != FAAS_OK) {
        ledger_free(self->book);
        free(self);
        return rc;
    }
    *out_worker = self;
    return FAAS_OK;
}

static void on_step(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)timer, (void)events; /* wakes ev_run */
}

void worker_close(worker *self, int64_t time_ms)
{
    struct ev_loop *ev;
    struct runtime *runtime;
    uint64_t deadline = faas_deadline_in_ms(time_ms);
    struct resolve *resolve;
    struct place *place;
    ev_timer step;
    size_t left = 0;

    if (self == NULL)
        return;
    ev = faas_loop_ev(self->conf.rt->loop);
    runtime = self->conf.runtime;
    self->host.is_stopping = self->is_draining = true;
    ev_timer_stop(ev, &self->drain_timer);
    ev_timer_init(&step, on_step, CLOSE_STEP, CLOSE_STEP);
    ev_timer_start(ev, &step);
    for (runtime->ops->drain(runtime, &left); left > 0 && faas_left_ms(deadline) > 0;
         runtime->ops->drain(runtime, &left))
        ev_run(ev, EVRUN_ONCE);
    ev_timer_stop(ev, &step);
    if (left > 0)
        FAAS_LOG(WARN, "containers are left to the sweep", FAAS_LINT("left", (int64_t)left));
    while ((place = LIST_FIRST(&self->places)) != NULL) {
        LIST_REMOVE(place, link);
        job_free(place->job);
        free(place);
    }
    while ((resolve = LIST_FIRST(&self->resolves)) != NULL)
        resolve_free(resolve);
    faas_inbox_close(self->host.credits);
    ledger_free(self->book);
    free(self);
}
