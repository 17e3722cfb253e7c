/* A kept result on its way to a gateway: as frames, like a call's. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <errno.h>
#include <string.h>

#define SENDS_MAX  256
#define LOOK_MS    5000
#define GIVE_UP_MS 10000
#define AHEAD_MAX  (2 * JOB_CHUNK) /* read before it was taken */

struct result_send {
    LIST_ENTRY(result_send) link;
    struct jobs *jobs;
    faas_msg *msg; /* its reply subject is where the frames go */
    char id[FAAS_UUID_TEXT], tenant[FAAS_UUID_TEXT];
    json_t *end;
    size_t chunk, chunks;
    bool is_reading, is_ended, is_last_look;
    faas_inbox *credits;
    faas_frames_out *out;
    ev_timer stall; /* nobody takes anything */
};

static void send_free(struct result_send *self)
{
    if (self->jobs->pub != NULL)
        ev_timer_stop(faas_loop_ev(self->jobs->pub->rt->loop), &self->stall);
    LIST_REMOVE(self, link);
    faas_inbox_close(self->credits);
    faas_frames_out_free(self->out);
    json_decref(self->end);
    faas_msg_free(self->msg);
    free(self);
}

static void refuse(struct result_send *self, faas_code code, const char *text)
{
    faas_err err = {0};

    (void)faas_fail(&err, code, "%s", text);
    faas_rpc_answer_err(self->jobs->pub->rt->rpc, self->msg, &err);
    send_free(self);
}

/* The reader misses frames, and asks again. */
static void break_off(struct result_send *self, const char *why)
{
    FAAS_LOG(WARN, "a kept result was not sent to its end", FAAS_LSTR("call", self->id),
             FAAS_LSTR("why", why));
    send_free(self);
}

/* ---- sending ---- */

static void send_message(void *arg, const void *msg, size_t len)
{
    struct result_send *self = arg;
    const struct faas_header headers[] = {{FAAS_H_PROTO, FAAS_PROTO}, {NULL, NULL}};
    const struct faas_out out = {.subject = faas_msg_reply(self->msg),
                                 .reply = faas_inbox_subject(self->credits),
                                 .headers = headers,
                                 .data = msg,
                                 .len = len};
    faas_err err = {0};

    if (faas_bus_publish(self->jobs->pub->rt->bus, FAAS_DATA, &out, &err) != FAAS_OK)
        FAAS_LOG(DEBUG, "frames not sent", FAAS_LSTR("call", self->id),
                 FAAS_LSTR("why", err.msg)); /* they are sent again */
}

static void on_sent(void *arg, bool is_acknowledged)
{
    (void)is_acknowledged;
    send_free(arg);
}

static void on_stall(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    break_off(timer->data, "nobody takes it");
}

static void go_on(struct result_send *self);

static void on_chunk(void *arg, faas_code code, const struct faas_stream_msg *msg,
                     const faas_err *err)
{
    struct result_send *self = arg;
    faas_err why = {0};

    self->is_reading = false;
    if (self->jobs->is_stopped)
        return;
    if (code != FAAS_OK) {
        break_off(self, err->msg);
        return;
    }
    if (faas_frames_out_write(self->out, FAAS_FRAME_STDOUT, msg->data, msg->len, &why) != FAAS_OK) {
        break_off(self, why.msg);
        return;
    }
    self->chunk++;
    faas_frames_out_flush(self->out);
    go_on(self);
}

/* Reads the next chunk when enough of the last ones was taken, or ends. */
static void go_on(struct result_send *self)
{
    struct ev_loop *ev = faas_loop_ev(self->jobs->pub->rt->loop);
    char subject[JOB_SUBJECT_MAX];
    faas_err err = {0};

    if (self->is_reading || self->is_ended)
        return;
    if (self->chunk < self->chunks) {
        if (faas_frames_out_pending(self->out) > AHEAD_MAX) {
            ev_timer_again(ev, &self->stall);
            return;
        }
        job_chunk_subject(self->tenant, self->id, self->chunk, subject);
        self->is_reading = true;
        ev_timer_stop(ev, &self->stall);
        faas_stream_last(self->jobs->results, subject, faas_deadline_in_ms(LOOK_MS), on_chunk,
                         self);
        return;
    }
    self->is_ended = true;
    ev_timer_stop(ev, &self->stall);
    if (faas_frames_out_end(self->out, self->end, &err) != FAAS_OK)
        break_off(self, err.msg);
}

static void on_credit(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct result_send *self = arg;
    bool was_ended = self->is_ended;
    struct faas_frame frame;
    faas_err err = {0};
    bool more = false;
    size_t pos = 0;

    if (faas_frame_next(faas_msg_data(msg), faas_msg_len(msg), &pos, &frame, &more, &err) !=
            FAAS_OK ||
        !more || frame.type != FAAS_FRAME_CREDIT)
        return;
    faas_frames_out_credit(self->out, &frame);
    if (!was_ended) /* else self may be gone */
        go_on(self);
}

static faas_code open_ways(struct result_send *self, faas_err *err)
{
    const struct faas_runtime *rt = self->jobs->pub->rt;
    struct faas_frames_out_conf conf = {.loop = rt->loop,
                                        .place = 1,
                                        .send = send_message,
                                        .done = on_sent,
                                        .arg = self,
                                        .give_up_ms = GIVE_UP_MS};
    FAAS_AUTO(json_t) *head = json_pack("{s:i, s:s}", "v", 1, "kind", "exec");

    if (head == NULL)
        return faas_fail_sys(err, ENOMEM, "send a result");
    memcpy(conf.id, self->id, sizeof conf.id);
    FAAS_TRY(faas_inbox_open(rt->rpc, on_credit, self, &self->credits, err));
    FAAS_TRY(faas_frames_out_new(&conf, &self->out, err));
    return faas_frames_out_head(self->out, head, err);
}

static void begin(struct result_send *self, const struct faas_envelope *env)
{
    const json_t *end = json_object_get(env->meta, "end");
    faas_err err = {0};
    faas_code rc;

    if (strcmp(job_text(env->meta, "status"), "cancelled") == 0) {
        refuse(self, FAAS_CONFLICT, "the call was cancelled: it has no result");
        return;
    }
    self->chunks = (size_t)json_integer_value(json_object_get(env->meta, "chunks"));
    self->end = json_is_object(end) ? faas_json_copy(end) : NULL;
    if (self->end == NULL) {
        refuse(self, FAAS_INTERNAL, "internal error");
        return;
    }
    rc = open_ways(self, &err);
    if (rc == FAAS_OK && env->len > 0)
        rc = faas_frames_out_write(self->out, FAAS_FRAME_STDOUT, env->bytes, env->len, &err);
    if (rc != FAAS_OK)
        refuse(self, rc, err.msg);
    else
        go_on(self);
}

/* ---- finding it ---- */

static void look_for_end(struct result_send *self);

static void on_state(void *arg, faas_code code, const struct faas_stream_msg *msg,
                     const faas_err *err)
{
    struct result_send *self = arg;

    (void)msg;
    if (self->jobs->is_stopped)
        return;
    if (code == FAAS_OK) {
        refuse(self, FAAS_CONFLICT,
               "the call has not ended yet: wait for it with GET /v1/calls/ID?wait=60");
    } else if (code != FAAS_NOT_FOUND) {
        refuse(self, code, err->msg);
    } else if (!self->is_last_look) {
        self->is_last_look = true; /* it may have ended between the two questions */
        look_for_end(self);
    } else {
        refuse(self, code, "no queued call of yours has this id; results are kept for 24 hours");
    }
}

static void on_end(void *arg, faas_code code, const struct faas_stream_msg *msg,
                   const faas_err *err)
{
    struct result_send *self = arg;
    struct faas_envelope env = {0};
    char subject[JOB_SUBJECT_MAX];
    faas_err why = {0};

    if (self->jobs->is_stopped)
        return;
    if (code == FAAS_NOT_FOUND) {
        job_subject(JOB_IN_QUEUE, self->tenant, self->id, subject);
        faas_stream_last(self->jobs->queue, subject, faas_deadline_in_ms(LOOK_MS), on_state, self);
    } else if (code != FAAS_OK) {
        refuse(self, code, err->msg);
    } else if (faas_envelope_open(msg->data, msg->len, &env, &why) != FAAS_OK) {
        refuse(self, FAAS_INTERNAL, "internal error");
    } else {
        begin(self, &env);
    }
    faas_envelope_done(&env);
}

static void look_for_end(struct result_send *self)
{
    char subject[JOB_SUBJECT_MAX];

    job_end_subject(self->tenant, self->id, subject);
    faas_stream_last(self->jobs->results, subject, faas_deadline_in_ms(LOOK_MS), on_end, self);
}

static faas_code read_id(const faas_msg *msg, char out_id[FAAS_UUID_TEXT], faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *id;

    FAAS_TRY(faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, err));
    id = job_text(doc, "id");
    if (!faas_uuid_is(id))
        return faas_fail(err, FAAS_INVALID, "id: must be a UUID");
    memcpy(out_id, id, FAAS_UUID_TEXT);
    return FAAS_OK;
}

static faas_code make(struct jobs *jobs, const faas_msg *msg, struct result_send *self,
                      faas_err *err)
{
    const struct result_send *other;
    struct faas_ctx ctx;
    size_t n = 0;

    LIST_FOREACH (other, &jobs->sends, link)
        n++;
    if (n >= SENDS_MAX)
        return faas_fail_busy(err, 1, "%d results are being sent already, the most allowed",
                              SENDS_MAX);
    FAAS_TRY(read_id(msg, self->id, err));
    faas_ctx_from_msg(msg, LOOK_MS, &ctx);
    if (ctx.tenant[0] == '\0')
        return faas_fail(err, FAAS_INVALID, "header " FAAS_H_TENANT ": must be a UUID");
    memcpy(self->tenant, ctx.tenant, sizeof self->tenant);
    self->jobs = jobs;
    ev_init(&self->stall, on_stall);
    self->stall.repeat = GIVE_UP_MS / 1e3;
    self->stall.data = self;
    return FAAS_OK;
}

void jobs_on_result(void *state, faas_msg *take_msg)
{
    struct publisher *pub = state;
    struct result_send *self;
    faas_err err = {0};

    if (faas_msg_reply(take_msg) == NULL) {
        metric_count(M_MALFORMED);
        faas_msg_free(take_msg);
        return;
    }
    self = calloc(1, sizeof *self);
    if (self == NULL)
        (void)faas_fail_sys(&err, ENOMEM, "send a result");
    if (self == NULL || make(pub->jobs, take_msg, self, &err) != FAAS_OK) {
        faas_rpc_answer_err(pub->rt->rpc, take_msg, &err);
        faas_msg_free(take_msg);
        free(self);
        return;
    }
    self->msg = take_msg;
    LIST_INSERT_HEAD(&pub->jobs->sends, self, link);
    look_for_end(self);
}

void jobs_stop_sends(struct jobs *jobs)
{
    struct result_send *self;

    while ((self = LIST_FIRST(&jobs->sends)) != NULL)
        send_free(self);
}
