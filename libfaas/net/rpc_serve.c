/* Endpoints: the server half of rpc.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/rpc_internal.h"

#define TIME_LEFT_MAX_MS INT64_C(86400000)
#define ANSWER_MS        300

/* A request on its way through the pool. */
struct job {
    struct faas_rpc_end *end;
    faas_msg *msg;
    struct faas_ctx ctx;
};

/* ---- what a message says of its sender ---- */

static void copy_uuid(char out_text[FAAS_UUID_TEXT], const char *text)
{
    out_text[0] = '\0';
    if (text != NULL && faas_uuid_is(text))
        memcpy(out_text, text, FAAS_UUID_TEXT);
}

void faas_ctx_from_msg(const faas_msg *msg, int64_t default_ms, struct faas_ctx *out_ctx)
{
    const char *trace = faas_msg_header(msg, FAAS_H_TRACE);
    int64_t left = faas_msg_header_int(msg, FAAS_H_TIME_LEFT, -1);

    memset(out_ctx, 0, sizeof *out_ctx);
    copy_uuid(out_ctx->id, faas_msg_header(msg, FAAS_H_ID));
    copy_uuid(out_ctx->user, faas_msg_header(msg, FAAS_H_USER));
    copy_uuid(out_ctx->tenant, faas_msg_header(msg, FAAS_H_TENANT));
    out_ctx->is_again = faas_msg_header(msg, FAAS_H_AGAIN) != NULL;
    if (trace != NULL)
        (void)faas_trace_read(trace, out_ctx->traceparent);
    if (left < 0 || left > TIME_LEFT_MAX_MS)
        left = default_ms;
    /* Time since the message may have arrived counts. */
    out_ctx->deadline_ns = msg->arrived_ns + (uint64_t)(left > 0 ? left : 0) * FAAS_MS_NS;
}

/* ---- answers: any thread ---- */

static void count(const faas_msg *msg, uint64_t since_ns)
{
    struct faas_rpc_end *end = msg->endpoint;

    if (end != NULL)
        atomic_fetch_add(&end->time_ns, (int64_t)(faas_now_ns() - since_ns));
}

static void count_error(const faas_msg *msg, const faas_err *failure)
{
    struct faas_rpc_end *end = msg->endpoint;

    if (end == NULL)
        return;
    atomic_fetch_add(&end->errors, 1);
    pthread_mutex_lock(&end->mu);
    (void)snprintf(end->last_error, sizeof end->last_error, "%d:%s",
                   faas_code_status(failure->code), failure->msg);
    pthread_mutex_unlock(&end->mu);
}

static void log_failure(const faas_msg *msg, const faas_err *failure)
{
    const struct faas_rpc_end *end = msg->endpoint;
    const char *id = faas_msg_header(msg, FAAS_H_ID);
    enum faas_log_level level = FAAS_LOG_INFO;

    if (failure->code == FAAS_INTERNAL)
        level = FAAS_LOG_ERROR;
    else if (faas_code_status(failure->code) >= 500)
        level = FAAS_LOG_WARN;
    faas_log_write(level, "request failed",
                   (const struct faas_log_field[]){
                       FAAS_LSTR("request", id != NULL ? id : ""),
                       FAAS_LSTR("endpoint", end != NULL ? end->row.name : ""),
                       FAAS_LSTR("code", faas_code_slug(failure->code)),
                       FAAS_LSTR("error", failure->msg),
                       FAAS_LSTR("detail", failure->detail),
                       {.key = NULL},
                   });
}

enum faas_lane faas_rpc_lane_of(const faas_msg *msg)
{
    const struct faas_rpc_end *end = msg->endpoint;

    return end != NULL ? end->row.lane : FAAS_DATA;
}

static faas_code send_answer(faas_rpc *rpc, const faas_msg *msg, const void *data, size_t len)
{
    static const struct faas_header headers[] = {{FAAS_H_PROTO, FAAS_PROTO}, {NULL, NULL}};
    struct faas_out out = {
        .subject = faas_msg_reply(msg), .headers = headers, .data = data, .len = len};
    faas_err err = {0};
    faas_code rc;

    faas_rpc_once_keep(msg, NULL, data, len);
    if (out.subject == NULL)
        return FAAS_OK;
    rc = faas_bus_publish(rpc->bus, faas_rpc_lane_of(msg), &out, &err);
    if (rc == FAAS_TOO_LARGE) { /* the requester must not wait for what cannot be sent */
        faas_fail(&err, FAAS_INTERNAL, "the answer is larger than a message can be");
        faas_err_detail(&err, "%zu bytes", len);
        faas_rpc_answer_err(rpc, msg, &err);
    } else if (rc != FAAS_OK) {
        log_failure(msg, &err);
    }
    return rc;
}

void faas_rpc_count(const faas_msg *msg)
{
    count(msg, msg->arrived_ns);
}

void faas_rpc_answer(faas_rpc *rpc, const faas_msg *msg, const void *data, size_t len)
{
    count(msg, msg->arrived_ns);
    (void)send_answer(rpc, msg, data, len);
}

void faas_rpc_answer_json(faas_rpc *rpc, const faas_msg *msg, const json_t *doc)
{
    size_t len = 0;
    FAAS_AUTO(char) *text = doc != NULL ? faas_json_text(doc, &len) : NULL;
    faas_err err = {0};

    if (text == NULL) {
        faas_fail_sys(&err, ENOMEM, "encode the reply");
        faas_rpc_answer_err(rpc, msg, &err);
        return;
    }
    faas_rpc_answer(rpc, msg, text, len);
}

static void send_error(faas_rpc *rpc, const faas_msg *msg, const faas_err *failure)
{
    char number[16], retry[16];
    const struct faas_header headers[] = {
        {FAAS_H_PROTO, FAAS_PROTO},
        {FAAS_H_SERVICE_ERR,
         failure->msg[0] != '\0' ? failure->msg : faas_code_title(failure->code)},
        {FAAS_H_SERVICE_NUM, number},
        {FAAS_H_CODE, faas_code_slug(failure->code)},
        {FAAS_H_COMPONENT, rpc->conf.service},
        {FAAS_H_RETRY_AFTER, failure->retry_after_s > 0 ? retry : NULL},
        {NULL, NULL},
    };
    struct faas_out out = {.subject = faas_msg_reply(msg), .headers = headers};
    faas_err err = {0};

    if (out.subject == NULL)
        return;
    (void)snprintf(number, sizeof number, "%d", faas_code_status(failure->code));
    (void)snprintf(retry, sizeof retry, "%d", failure->retry_after_s);
    if (faas_bus_publish(rpc->bus, faas_rpc_lane_of(msg), &out, &err) != FAAS_OK)
        log_failure(msg, &err);
}

static void answer_failure(faas_rpc *rpc, const faas_msg *msg, const faas_err *failure)
{
    count_error(msg, failure);
    log_failure(msg, failure);
    faas_rpc_once_keep(msg, failure, NULL, 0);
    send_error(rpc, msg, failure);
}

void faas_rpc_answer_err(faas_rpc *rpc, const faas_msg *msg, const faas_err *err)
{
    count(msg, msg->arrived_ns);
    answer_failure(rpc, msg, err);
}

void faas_rpc_send_again(faas_rpc *rpc, const faas_msg *msg, const faas_err *err, const void *data,
                         size_t len)
{
    static const struct faas_header headers[] = {{FAAS_H_PROTO, FAAS_PROTO}, {NULL, NULL}};
    const struct faas_out out = {
        .subject = faas_msg_reply(msg), .headers = headers, .data = data, .len = len};
    faas_err failure = {0};

    if (err != NULL)
        send_error(rpc, msg, err);
    else if (out.subject != NULL &&
             faas_bus_publish(rpc->bus, faas_rpc_lane_of(msg), &out, &failure) != FAAS_OK)
        log_failure(msg, &failure);
}

/* ---- pool endpoints ---- */

static void on_answered(void *arg);

static faas_code run_handler(const struct job *job, json_t **out_reply, faas_err *err)
{
    const struct faas_endpoint *row = &job->end->row;
    FAAS_AUTO(json_t) *body = NULL;
    struct faas_call call = {.ctx = &job->ctx, .msg = job->msg};
    faas_code rc;

    if (faas_left_ms(job->ctx.deadline_ns) == 0)
        return faas_fail(err, FAAS_TIMEOUT, "time was up before the request could be started");
    FAAS_TRY(faas_json_parse(faas_msg_data(job->msg), faas_msg_len(job->msg), true, &body, err));
    call.body = body;
    rc = row->handler(job->end->state, &call, out_reply, err);
    if (rc != FAAS_OK && err->code != rc) /* the handler said what and not why */
        faas_fail(err, rc, "%s", faas_code_title(rc));
    return rc;
}

static void answer_job(const struct job *job)
{
    faas_rpc *rpc = job->end->rpc;
    FAAS_AUTO(json_t) *reply = NULL;
    FAAS_AUTO(char) *text = NULL;
    size_t len = 0;
    faas_err err = {0};
    uint64_t began = faas_now_ns();
    faas_code rc = run_handler(job, &reply, &err);

    if (rc == FAAS_OK && reply != NULL) {
        text = faas_json_text(reply, &len);
        if (text == NULL)
            rc = faas_fail_sys(&err, ENOMEM, "encode the reply");
    }
    count(job->msg, began);
    if (rc == FAAS_OK)
        (void)send_answer(rpc, job->msg, text, len);
    else
        answer_failure(rpc, job->msg, &err);
}

static void job_free(struct job *job)
{
    faas_rpc *rpc = job->end->rpc;

    faas_msg_free(job->msg);
    free(job);
    if (atomic_fetch_sub(&rpc->running, 1) == 1 && atomic_load(&rpc->is_draining))
        faas_loop_post(rpc->loop, on_answered, rpc);
}

static void run_job(void *arg)
{
    answer_job(arg);
    job_free(arg);
}

/* A handler's time ends before the caller's: why it failed still has to get there. */
static void keep_time_for_answer(struct faas_ctx *ctx)
{
    int64_t part = faas_left_ms(ctx->deadline_ns) / 10;

    ctx->deadline_ns -= (uint64_t)(part < ANSWER_MS ? part : ANSWER_MS) * FAAS_MS_NS;
}

static void submit(struct faas_rpc_end *end, faas_msg *take_msg)
{
    struct job *job = calloc(1, sizeof *job);
    faas_err err = {0};
    faas_code rc;

    if (job == NULL) {
        faas_fail_sys(&err, ENOMEM, "take a request");
        faas_rpc_answer_err(end->rpc, take_msg, &err);
        faas_msg_free(take_msg);
        return;
    }
    *job = (struct job){.end = end, .msg = take_msg};
    faas_ctx_from_msg(take_msg, FAAS_RPC_WAIT_MS, &job->ctx);
    keep_time_for_answer(&job->ctx);
    atomic_fetch_add(&end->rpc->running, 1);
    rc = end->rpc->conf.pool != NULL
             ? faas_pool_submit(end->rpc->conf.pool, run_job, job, &err)
             : faas_fail(&err, FAAS_INTERNAL, "endpoint without worker threads");
    if (rc == FAAS_OK)
        return;
    faas_rpc_answer_err(end->rpc, take_msg, &err);
    job_free(job);
}

/* ---- taking messages ---- */

static void on_request(void *arg, faas_msg *take_msg)
{
    struct faas_rpc_end *end = arg;
    faas_err err = {0};

    take_msg->endpoint = end;
    atomic_fetch_add(&end->requests, 1);
    if (faas_msg_len(take_msg) > end->row.body_max) {
        faas_fail(&err, FAAS_TOO_LARGE, "request body of %zu bytes: at most %zu bytes are allowed",
                  faas_msg_len(take_msg), end->row.body_max);
        faas_rpc_answer_err(end->rpc, take_msg, &err);
        faas_msg_free(take_msg);
    } else if (end->row.on_message != NULL) {
        end->row.on_message(end->state, take_msg);
    } else if (!end->row.is_once || faas_rpc_once_begin(end, take_msg)) {
        submit(end, take_msg);
    }
}

static faas_code serve_one(faas_rpc *rpc, const struct faas_endpoint *row, void *state,
                           faas_err *err)
{
    struct faas_rpc_end *end = calloc(1, sizeof *end);

    if (end == NULL)
        return faas_fail_sys(err, ENOMEM, "serve %s", row->name);
    end->row = *row;
    end->rpc = rpc;
    end->state = state;
    pthread_mutex_init(&end->mu, NULL);
    TAILQ_INSERT_TAIL(&rpc->ends, end, link);
    if (!faas_subject(end->subject, row->subject, rpc->conf.id)) {
        faas_fail(err, FAAS_INTERNAL, "internal error");
        return faas_err_detail(err, "subject %s does not fit", row->subject);
    }
    return faas_bus_subscribe(rpc->bus, row->lane, end->subject, row->queue, on_request, end,
                              &end->sub, err);
}

/* The same request to this instance alone: who sends it again must reach the same process. */
static faas_code serve_directly(faas_rpc *rpc, const struct faas_endpoint *row, void *state,
                                faas_err *err)
{
    char subject[FAAS_SUBJECT_MAX];
    struct faas_endpoint direct = *row;

    (void)snprintf(subject, sizeof subject, FAAS_SUBJ_DIRECTLY, rpc->conf.service, rpc->conf.id,
                   row->name);
    direct.subject = subject;
    direct.queue = NULL;
    FAAS_TRY(serve_one(rpc, &direct, state, err));
    TAILQ_LAST(&rpc->ends, faas_rpc_ends)->row.subject = row->subject; /* for good */
    return FAAS_OK;
}

void faas_rpc_set_epoch(faas_rpc *rpc, const char *epoch)
{
    rpc->epoch = epoch;
}

faas_code faas_rpc_serve(faas_rpc *rpc, const struct faas_endpoint *endpoints, void *state,
                         faas_err *err)
{
    for (; endpoints->name != NULL; endpoints++) {
        FAAS_TRY(serve_one(rpc, endpoints, state, err));
        if (endpoints->is_once)
            FAAS_TRY(serve_directly(rpc, endpoints, state, err));
    }
    return FAAS_OK;
}

/* ---- draining ---- */

static void drain_end(faas_rpc *rpc)
{
    faas_task *drained = FAAS_STEAL(rpc->drained);

    ev_timer_stop(faas_loop_ev(rpc->loop), &rpc->drain_timer);
    if (drained != NULL)
        drained(rpc->drained_arg);
}

static void on_answered(void *arg)
{
    faas_rpc *rpc = arg;

    if (rpc->draining_subs == 0 && atomic_load(&rpc->running) == 0)
        drain_end(rpc);
}

static void on_sub_drained(void *arg)
{
    struct faas_rpc_end *end = arg;

    end->rpc->draining_subs--;
    on_answered(end->rpc);
}

static void on_drain_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    drain_end(timer->data);
}

static void drain_now(void *arg)
{
    faas_rpc *rpc = arg;

    on_answered(rpc);
}

void faas_rpc_drain(faas_rpc *rpc, int64_t timeout_ms, faas_task *done, void *arg)
{
    struct faas_rpc_end *end;

    rpc->drained = done;
    rpc->drained_arg = arg;
    atomic_store(&rpc->is_draining, true);
    ev_timer_init(&rpc->drain_timer, on_drain_timer, (double)timeout_ms / 1e3, 0.0);
    rpc->drain_timer.data = rpc;
    ev_timer_start(faas_loop_ev(rpc->loop), &rpc->drain_timer);
    TAILQ_FOREACH (end, &rpc->ends, link) {
        if (end->row.lane == FAAS_CONTROL || end->sub == NULL)
            continue;
        rpc->draining_subs++;
        faas_sub_drain(end->sub, timeout_ms, on_sub_drained, end);
    }
    faas_loop_post(rpc->loop, drain_now, rpc);
}

void faas_rpc_serve_close(faas_rpc *rpc)
{
    struct faas_rpc_end *end;

    rpc->drained = NULL;
    faas_gather_flush(&rpc->receipts);
    ev_timer_stop(faas_loop_ev(rpc->loop), &rpc->drain_timer);
    for (size_t i = 0; i < FAAS_RPC_SRV_SUBS; i++)
        faas_sub_free(rpc->srv_sub[i]);
    while ((end = TAILQ_FIRST(&rpc->ends)) != NULL) {
        TAILQ_REMOVE(&rpc->ends, end, link);
        faas_sub_free(end->sub);
        pthread_mutex_destroy(&end->mu);
        free(end);
    }
}
