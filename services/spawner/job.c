#include "job.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"
#include "job_internal.h"
#include "outcome.h"

#define BUDGET_SLACK_MS 10000 /* kill, last frames */
#define TOGETHER_MAX    4096  /* bytes: no more than that may be in a heartbeat's way */
#define END_TRY_MS      300
#define END_DIRECT_MS   900 /* three tries */
#define END_ANYBODY_MS  10000

/* ---- what is told ---- */

void job_send(void *arg, const void *msg, size_t len)
{
    job *self = arg;
    const struct faas_header headers[] = {{FAAS_H_PROTO, FAAS_PROTO}, {NULL, NULL}};
    struct faas_out out = {.subject = self->inbox,
                           .reply = faas_inbox_subject(self->host->credits),
                           .headers = headers,
                           .data = msg,
                           .len = len};
    /* A small result leaves in one write with the event of its end. */
    enum faas_lane lane =
        self->has_sent || self->stage != JOB_SENT || len > TOGETHER_MAX ? FAAS_DATA : FAAS_CONTROL;
    faas_err err = {0};

    self->has_sent = true;
    if (faas_bus_publish(faas_rpc_bus(self->host->rpc), lane, &out, &err) != FAAS_OK)
        FAAS_LOG(DEBUG, "frames not sent", FAAS_LSTR("call", self->spec.id),
                 FAAS_LSTR("why", err.msg)); /* they are sent again */
}

static void send_accept_frame(job *self)
{
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:i,s:s,s:s,s:I,s:I}", "v", 1, "spawner", self->host->spawner, "epoch",
                  faas_members_epoch(self->host->members), "version",
                  (json_int_t)self->spec.version, "budget_ms",
                  (json_int_t)(self->spec.run.start_timeout_ms + self->spec.run.timeout_ms +
                               BUDGET_SLACK_MS));
    struct faas_frame frame = {.type = FAAS_FRAME_ACCEPT, .place = self->spec.place};
    FAAS_AUTO(char) *text = doc != NULL ? faas_json_text(doc, &frame.len) : NULL;
    uint8_t wire[FAAS_FRAME_HEAD + 512];

    if (text == NULL || frame.len > sizeof wire - FAAS_FRAME_HEAD)
        return;
    memcpy(frame.id, self->spec.id, sizeof frame.id);
    frame.payload = text;
    job_send(self, wire, faas_frame_write(&frame, wire));
}

static void tell_named_event(job *self, const char *name)
{
    FAAS_AUTO(json_t) *event = job_event_json(self->host, self->spec.place, name);

    job_tell_event(self->host, &self->spec, event);
}

void job_tell_accept(job *self)
{
    if (self->stage != JOB_RUNNING)
        return; /* still checking: the answer comes by itself */
    self->is_told = true;
    tell_named_event(self, "accept");
    send_accept_frame(self);
    if (self->is_started)
        tell_named_event(self, "started");
}

void job_tell_soon(job *self)
{
    if (!self->is_told)
        job_tell_accept(self);
}

static void on_tell(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)events;
    job_tell_soon(timer->data);
}

/* ---- the end of a job ---- */

void job_drop_message(job *self)
{
    faas_envelope_done(&self->env);
    memset(&self->env, 0, sizeof self->env);
    faas_msg_free(self->msg);
    self->msg = NULL;
    self->spec.inbox = self->spec.epoch = self->spec.isolation = NULL;
    self->spec.run.image = (struct rt_image){.reference = NULL};
    self->spec.run.command = self->spec.run.env = NULL;
    self->spec.run.argument = NULL;
    self->spec.secrets = NULL;
    secret_set_unref(self->spec.run.secrets);
    self->spec.run.secrets = NULL;
}

void job_free(job *self)
{
    struct cancel *cancel;

    if (self == NULL)
        return;
    while ((cancel = SLIST_FIRST(&self->cancels)) != NULL) {
        SLIST_REMOVE_HEAD(&self->cancels, link);
        faas_msg_free(cancel->msg);
        free(cancel);
    }
    ev_timer_stop(faas_loop_ev(self->host->loop), &self->stall);
    ev_timer_stop(faas_loop_ev(self->host->loop), &self->tell);
    secrets_cancel(self->secrets);
    job_input_close(self);
    faas_frames_out_free(self->frames);
    job_drop_message(self);
    stderr_tail_done(&self->tail);
    json_decref(self->withheld);
    free(self->end_text);
    free(self->inbox);
    free(self);
}

void job_leave(job *self)
{
    self->host->gone(self->host->arg, self);
    job_free(self);
}

static void leave_if_done(job *self)
{
    if (self->is_frames_done && self->is_event_done)
        job_leave(self);
}

void job_on_frames_done(void *arg, bool is_acknowledged)
{
    job *self = arg;

    if (!is_acknowledged)
        FAAS_LOG(INFO, "nobody took a call's result", FAAS_LSTR("call", self->spec.id));
    self->is_frames_done = true;
    if (self->stage == JOB_SENT)
        leave_if_done(self);
}

static void on_end_told(void *arg, const struct faas_rpc_reply *reply);

/* END to the caller; NULL: there was no memory for it. */
static void send_end(job *self, json_t *end)
{
    faas_err err = {0};

    if (end != NULL && !self->is_frames_done &&
        faas_frames_out_end(self->frames, end, &err) == FAAS_OK)
        return;
    FAAS_LOG(ERROR, "the result of a call could not be sent", FAAS_LSTR("call", self->spec.id),
             FAAS_LSTR("why", err.msg));
    self->is_frames_done = true;
}

static void send_withheld(job *self)
{
    FAAS_AUTO(json_t) *end = FAAS_STEAL(self->withheld);

    if (end != NULL)
        send_end(self, end);
}

static void tell_end_to(job *self, const char *subject, int64_t time_ms)
{
    const struct faas_header untold[] = {{FAAS_H_UNTOLD, "1"}, {NULL, NULL}};
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(time_ms)};
    struct faas_rpc_request req = {.subject = subject,
                                   .ctx = &ctx,
                                   .headers = self->withheld != NULL ? untold : NULL,
                                   .data = self->end_text,
                                   .len = self->end_len,
                                   .lane = FAAS_CONTROL,
                                   .retry = FAAS_RPC_SAFE,
                                   .attempt_ms = END_TRY_MS,
                                   .is_receipt = true};

    memcpy(ctx.id, self->spec.id, sizeof ctx.id);
    faas_rpc_call(self->host->rpc, &req, on_end_told, self);
}

static void tell_end_anybody(job *self)
{
    send_withheld(self);
    self->spec.publisher[0] = '\0'; /* the own one had its chance */
    tell_end_to(self, FAAS_SUBJ_PUBLISHER_END, END_ANYBODY_MS);
}

static void on_end_told(void *arg, const struct faas_rpc_reply *reply)
{
    job *self = arg;

    /* At the end of this process the good-bye says as much to a publisher that runs it again. */
    bool is_good_bye = self->withheld != NULL && faas_rpc_is_cancelled(self->host->rpc);

    if (reply->code != FAAS_OK && self->spec.publisher[0] != '\0' && !is_good_bye) {
        tell_end_anybody(self);
        return;
    }
    if (reply->code != FAAS_OK && !is_good_bye)
        FAAS_LOG(WARN, "no publisher took the end of a call", FAAS_LSTR("call", self->spec.id),
                 FAAS_LSTR("why", reply->err->msg));
    self->is_event_done = true;
    self->is_frames_done |= self->withheld != NULL; /* it is the publisher's now */
    leave_if_done(self);
}

static void tell_end_event(job *self, json_t *end)
{
    FAAS_AUTO(json_t) *event = job_event_json(self->host, self->spec.place, "end");
    const struct faas_member *publisher =
        faas_members_find(self->host->members, "publisher", self->spec.publisher);
    char subject[FAAS_SUBJECT_MAX];

    if (event == NULL || json_object_update_missing(event, end) != 0 ||
        json_object_set_new(event, "id", json_string(self->spec.id)) != 0 ||
        outcome_add_record(event, self->spec.tenant, self->spec.function, &self->tail) != 0 ||
        (self->end_text = faas_json_text(event, &self->end_len)) == NULL ||
        !job_event_subject(subject, &self->spec)) {
        FAAS_LOG(ERROR, "the end of a call could not be told", FAAS_LSTR("call", self->spec.id));
        send_withheld(self);
        self->is_event_done = true;
    } else if (publisher != NULL && publisher->is_dead) {
        tell_end_anybody(self);
    } else {
        tell_end_to(self, subject, END_DIRECT_MS);
    }
}

/* ---- what the runtime says ---- */

static void on_started(void *arg)
{
    job *self = arg;
    faas_err err = {0};

    self->is_started = true;
    if (self->is_told)
        tell_named_event(self, "started");
    if (self->spec.run.is_fed && job_input_open(self, &err) != FAAS_OK) {
        self->is_out_of_memory = true;
        self->host->runtime->ops->cancel(self->run);
    }
}

static void on_fed(void *arg)
{
    job_input_fed(arg);
}

static void on_stall(struct ev_loop *ev, ev_timer *timer, int events)
{
    job *self = timer->data;

    (void)ev, (void)events;
    ev_timer_stop(ev, timer);
    FAAS_LOG(INFO, "the receiver of a result has left", FAAS_LSTR("call", self->spec.id));
    if (self->run != NULL)
        self->host->runtime->ops->cancel(self->run);
}

static size_t pending_max(const job *self)
{
    return self->spec.stream != CALL_STREAM_NONE ? JOB_STREAM_MAX : JOB_PENDING_MAX;
}

/* False: take no more for now. */
static bool put(job *self, enum faas_frame_type type, const void *data, size_t len)
{
    faas_err err;

    if (self->is_out_of_memory || self->is_frames_done)
        return true;
    if (faas_frames_out_write(self->frames, type, data, len, &err) != FAAS_OK) {
        self->is_out_of_memory = true;
        self->host->runtime->ops->cancel(self->run);
        return true;
    }
    if (faas_frames_out_pending(self->frames) < pending_max(self))
        return true;
    ev_timer_again(faas_loop_ev(self->host->loop), &self->stall);
    return false;
}

static bool on_out(void *arg, const void *data, size_t len)
{
    return put(arg, FAAS_FRAME_STDOUT, data, len);
}

static bool on_err(void *arg, const void *data, size_t len)
{
    job *self = arg;

    stderr_tail_add(&self->tail, data, len);
    if (self->spec.stream != CALL_STREAM_ALL ||
        self->tail.total > (uint64_t)self->host->stream_bytes)
        return true;
    return put(self, FAAS_FRAME_STDERR, data, len);
}

/* Stopped by us for reasons the runtime does not know. */
static void adjust(const job *self, struct rt_outcome *outcome)
{
    const char *text = "the spawner was stopped before the call ended";

    if (outcome->code != FAAS_CLIENT_GONE)
        return;
    if (self->is_out_of_memory) {
        outcome->code = FAAS_INTERNAL;
        text = "the spawner ran out of memory";
    } else if (self->is_input_broken) {
        outcome->code = FAAS_UNAVAILABLE;
        outcome->may_have_run = true;
        text = "the argument arrived damaged";
    } else if (self->host->is_stopping) {
        outcome->code = FAAS_LOST;
        outcome->may_have_run = true;
    } else {
        return;
    }
    snprintf(outcome->detail, sizeof outcome->detail, "%s", text);
}

static void answer_cancels(job *self, faas_code code)
{
    struct cancel *cancel;

    while ((cancel = SLIST_FIRST(&self->cancels)) != NULL) {
        SLIST_REMOVE_HEAD(&self->cancels, link);
        job_answer_state(self->host, cancel->msg, code == FAAS_CLIENT_GONE ? "cancelled" : "done");
        faas_msg_free(cancel->msg);
        free(cancel);
    }
}

void job_on_end(void *arg, const struct rt_outcome *told)
{
    job *self = arg;
    struct rt_outcome outcome = *told;
    struct outcome_report report = {.outcome = &outcome,
                                    .tail = &self->tail,
                                    .tail_max = (size_t)self->spec.stderr_max,
                                    .spawner = self->host->spawner,
                                    .place_ms = self->spec.age_ms,
                                    .content_type = self->spec.content_type};
    FAAS_AUTO(json_t) *end = NULL;
    char trace_id[FAAS_TRACE_ID];

    adjust(self, &outcome);
    self->run = NULL;
    job_input_close(self);
    self->stage = JOB_SENT;
    ev_timer_stop(faas_loop_ev(self->host->loop), &self->stall);
    ev_timer_stop(faas_loop_ev(self->host->loop), &self->tell);
    end = outcome_to_json(&report);
    if (end != NULL && outcome.code == FAAS_LOST && self->spec.may_run_again)
        self->withheld = json_incref(end);
    else
        send_end(self, end);
    faas_trace_id(self->spec.trace, trace_id);
    if (outcome.code != FAAS_OK) /* without detail: it may show the argument */
        FAAS_LOG(INFO, "call ended", FAAS_LSTR("call", self->spec.id), FAAS_LSTR("trace", trace_id),
                 FAAS_LSTR("code", faas_code_slug(outcome.code)),
                 FAAS_LINT("exit_code", outcome.exit_code));
    answer_cancels(self, outcome.code);
    if (end != NULL)
        tell_end_event(self, end);
    else
        self->is_event_done = true;
    self->host->ended(self->host->arg, self);
    leave_if_done(self);
}

struct rt_sink job_sink(job *self)
{
    return (struct rt_sink){.started = on_started,
                            .out = on_out,
                            .err = on_err,
                            .fed = on_fed,
                            .end = job_on_end,
                            .arg = self};
}

/* A credit came: the receiver is there, and perhaps took enough to go on. */
static void resume(job *self)
{
    if (!ev_is_active(&self->stall))
        return;
    if (faas_frames_out_pending(self->frames) >= pending_max(self) / 2) {
        ev_timer_again(faas_loop_ev(self->host->loop), &self->stall);
        return;
    }
    ev_timer_stop(faas_loop_ev(self->host->loop), &self->stall);
    self->host->runtime->ops->resume(self->run);
}

void job_credit(job *self, const struct faas_frame *credit)
{
    bool is_running = self->stage == JOB_RUNNING;

    if (self->stage == JOB_CHECKING || self->is_frames_done)
        return;
    faas_frames_out_credit(self->frames, credit);
    if (is_running) /* else self may be gone: the sender tells its end in here */
        resume(self);
}

job *job_new(struct job_host *host, const struct call_spec *head, faas_msg *take_msg)
{
    job *self = calloc(1, sizeof *self);

    if (self == NULL || (self->inbox = strdup(head->inbox)) == NULL) {
        free(self);
        faas_msg_free(take_msg);
        return NULL;
    }
    self->host = host;
    self->spec = *head;
    self->msg = take_msg;
    SLIST_INIT(&self->cancels);
    ev_init(&self->stall, on_stall);
    self->stall.data = self;
    self->stall.repeat = JOB_STALL_MS / 1000.0;
    ev_timer_init(&self->tell, on_tell, FAAS_ACCEPT_AFTER_MS / 1000.0, 0.0);
    self->tell.data = self;
    return self;
}

/* ---- questions ---- */

const char *job_id(const job *self)
{
    return self->spec.id;
}

uint32_t job_place(const job *self)
{
    return self->spec.place;
}

enum job_stage job_stage(const job *self)
{
    return self->stage;
}

bool job_withdraw(job *self)
{
    if (self->stage != JOB_CHECKING)
        return false;
    self->is_withdrawn = true;
    self->host->gone(self->host->arg, self);
    return true; /* freed when the check comes back */
}

void job_drop_result(job *self)
{
    if (self->stage == JOB_SENT && !self->is_frames_done)
        faas_frames_out_give_up(self->frames);
}

void job_cancel(job *self, faas_msg *take_msg)
{
    struct cancel *cancel;

    if (self->stage == JOB_CHECKING || self->stage == JOB_SENT) {
        job_answer_state(self->host, take_msg, job_withdraw(self) ? "cancelled" : "done");
        faas_msg_free(take_msg);
        return;
    }
    cancel = malloc(sizeof *cancel);
    if (cancel == NULL) {
        faas_msg_free(take_msg); /* asked again */
    } else {
        cancel->msg = take_msg;
        SLIST_INSERT_HEAD(&self->cancels, cancel, link);
    }
    if (self->secrets == NULL) {
        self->host->runtime->ops->cancel(self->run);
        return;
    }
    secrets_cancel(self->secrets);
    self->secrets = NULL;
    job_end_unbegun(self, FAAS_CLIENT_GONE, "cancelled before it began");
}
