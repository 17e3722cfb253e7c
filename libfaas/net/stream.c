/* Each operation is a small state machine on the loop thread: a request, a look at the answer, and
 * perhaps another request after a pause, until the deadline. */
#include "net/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "net/js.h"
#include "net/rpc_internal.h"

#define READ_ATTEMPT_MS  500
#define WRITE_ATTEMPT_MS 1000
#define PAUSE_MIN_MS     20
#define PAUSE_MAX_MS     500
#define H_EXPECTED       "Nats-Expected-Last-Subject-Sequence"
#define H_OP_ID          "Faas-Op"

enum kind { OPEN, PUT, LAST, NEXT, DELETE, PURGE };

struct faas_stream {
    faas_rpc *rpc;
    faas_loop *loop;
    char name[32];
    _Atomic int refs;       /* the opener's and one per operation */
    LIST_HEAD(, op) pauses; /* operations between two tries; loop thread */
};

struct op {
    LIST_ENTRY(op) link; /* in pauses while the timer runs */
    faas_stream *stream;
    struct faas_post post;
    enum kind kind;
    bool is_probing;  /* OPEN: is the stream there already? */
    bool is_settling; /* a write met "wrong sequence" and reads what is there */
    int64_t expected;
    uint64_t seq; /* NEXT: from; DELETE: which */
    void *data;   /* owned; OPEN: the configuration */
    size_t len;
    char op_id[33];
    uint64_t deadline_ns;
    ev_timer pause;
    int pauses;
    faas_err trouble; /* why the newest try did not do it */
    faas_stream_done *done;
    void *arg;
    char subject[]; /* or filter */
};

static void start(void *arg);

static void stream_unref(faas_stream *stream)
{
    if (atomic_fetch_sub(&stream->refs, 1) != 1)
        return;
    faas_rpc_unref(stream->rpc);
    free(stream);
}

/* ---- the end of an operation ---- */

static void finish(struct op *op, faas_code code, const struct faas_stream_msg *msg,
                   const faas_err *err)
{
    op->done(op->arg, code, msg, err);
    stream_unref(op->stream);
    free(op->data);
    free(op);
}

static void succeed(struct op *op, uint64_t seq)
{
    const struct faas_stream_msg msg = {.seq = seq, .data = ""};
    const faas_err none = {0};

    finish(op, FAAS_OK, &msg, &none);
}

static void fail(struct op *op, faas_code code, const char *text)
{
    faas_err err = {0};

    (void)faas_fail(&err, code, "%s", text);
    (void)faas_err_detail(&err, "stream %s %s: %s", op->stream->name, op->subject,
                          op->trouble.detail);
    finish(op, code, NULL, &err);
}

static void give_up(struct op *op)
{
    fail(op, FAAS_UNAVAILABLE, "the store is not available at the moment");
}

static void try_again(struct op *op)
{
    uint64_t ms = PAUSE_MIN_MS << (op->pauses < 5 ? op->pauses : 5);

    if (ms > PAUSE_MAX_MS)
        ms = PAUSE_MAX_MS;
    if (faas_rpc_is_cancelled(op->stream->rpc) ||
        faas_now_ns() + ms * FAAS_MS_NS >= op->deadline_ns) {
        give_up(op);
        return;
    }
    op->pauses++;
    LIST_INSERT_HEAD(&op->stream->pauses, op, link);
    ev_timer_set(&op->pause, (double)ms / 1e3, 0.0);
    ev_timer_start(faas_loop_ev(op->stream->loop), &op->pause);
}

static void on_pause(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct op *op = timer->data;

    (void)ev;
    (void)events;
    LIST_REMOVE(op, link);
    start(op);
}

/* ---- answers ---- */

static void on_js_error(struct op *op, const struct faas_js_reply *reply)
{
    switch (reply->error) {
    case FAAS_JS_NO_STREAM:
        fail(op, FAAS_TOO_LARGE, "the NATS servers have no room for a stream of this size");
        return;
    case FAAS_JS_NO_STORAGE:
    case FAAS_JS_STORE_FAILED:
        fail(op, FAAS_UNAVAILABLE, "the store is full at the moment");
        return;
    case FAAS_JS_MESSAGE_TOO_LARGE:
        fail(op, FAAS_TOO_LARGE, "too large for the store");
        return;
    case FAAS_JS_NO_MESSAGE:
    case FAAS_JS_NO_SEQUENCE:
    case FAAS_JS_DELETE_FAILED:
        fail(op, FAAS_NOT_FOUND, "not found");
        return;
    case FAAS_JS_REPLICAS_NOT_SUPPORTED:
        fail(op, FAAS_INVALID, "REPLICAS: more than 1 needs that many NATS servers in one cluster");
        return;
    default:
        if (faas_js_may_pass(reply))
            try_again(op);
        else
            fail(op, FAAS_INTERNAL, "internal error");
    }
}

static void take_stored(struct op *op, const json_t *message)
{
    FAAS_AUTO(void) *headers = NULL;
    FAAS_AUTO(void) *data = NULL;
    struct faas_stream_msg msg = {
        .subject = json_string_value(json_object_get(message, "subject")),
        .seq = (uint64_t)json_integer_value(json_object_get(message, "seq"))};
    const faas_err none = {0};
    char op_id[33] = "";
    size_t headers_len;

    if (msg.subject == NULL ||
        !faas_js_decode(json_object_get(message, "hdrs"), &headers, &headers_len) ||
        !faas_js_decode(json_object_get(message, "data"), &data, &msg.len)) {
        fail(op, FAAS_INTERNAL, "internal error");
        return;
    }
    msg.data = data;
    if (!op->is_settling) {
        finish(op, FAAS_OK, &msg, &none);
        return;
    }
    op->is_settling = false;
    faas_js_header(headers, H_OP_ID, op_id, sizeof op_id);
    if (strcmp(op_id, op->op_id) == 0)
        succeed(op, msg.seq);
    else if (op->expected > 0 && msg.seq == (uint64_t)op->expected)
        try_again(op); /* the write that was in the way is under way, and may be ours */
    else
        fail(op, FAAS_CONFLICT, "changed by somebody else at the same time");
}

/* A write that expected nothing found something in its way, which is gone again. */
static void settle_absent(struct op *op)
{
    op->is_settling = false;
    if (op->expected == 0)
        try_again(op);
    else
        fail(op, FAAS_CONFLICT, "removed by somebody else at the same time");
}

static void take_answer(struct op *op, const struct faas_js_reply *js)
{
    json_int_t seq = json_integer_value(json_object_get(js->doc, "seq"));

    if (op->kind == PUT && !op->is_settling &&
        (js->error == FAAS_JS_WRONG_SEQUENCE || js->error == FAAS_JS_OVERTAKEN)) {
        op->is_settling = true;
        start(op);
    } else if (op->is_settling && js->error == FAAS_JS_NO_MESSAGE) {
        settle_absent(op);
    } else if (op->kind == OPEN &&
               (js->error == FAAS_JS_NAME_IN_USE ||
                (op->is_probing && (js->error == 0 || js->error == FAAS_JS_NO_MESSAGE)))) {
        succeed(op, 0);
    } else if (op->kind == OPEN && js->error == FAAS_JS_NO_STORAGE && !op->is_probing) {
        op->is_probing = true;
        start(op);
    } else if (js->error != 0) {
        on_js_error(op, js);
    } else if (op->is_settling || op->kind == LAST || op->kind == NEXT) {
        take_stored(op, json_object_get(js->doc, "message"));
    } else if (op->kind == PUT && seq <= 0) {
        fail(op, FAAS_INTERNAL, "internal error");
    } else {
        succeed(op, (uint64_t)seq);
    }
}

static void on_reply(void *arg, const struct faas_rpc_reply *reply)
{
    struct op *op = arg;
    struct faas_js_reply js = {0};

    if (reply->code != FAAS_OK) {
        op->trouble = *reply->err;
        if (reply->code == FAAS_UNAVAILABLE || reply->code == FAAS_TIMEOUT)
            try_again(op);
        else
            fail(op, FAAS_INTERNAL, "internal error");
        return;
    }
    if (faas_js_parse(reply->msg, &js, &op->trouble))
        take_answer(op, &js);
    else
        try_again(op);
    json_decref(js.doc);
}

/* ---- requests ---- */

static void request(struct op *op, struct faas_rpc_request *req)
{
    struct faas_ctx ctx = {.deadline_ns = op->deadline_ns};

    req->ctx = &ctx;
    req->lane = FAAS_DATA;
    req->retry = FAAS_RPC_SAFE;
    faas_rpc_call(op->stream->rpc, req, on_reply, op);
}

static void api(struct op *op, const char *verb, const void *body, size_t len)
{
    char subject[FAAS_SUBJECT_MAX];
    struct faas_rpc_request req = {
        .subject = subject,
        .data = body,
        .len = len,
        .attempt_ms = op->kind == LAST || op->kind == NEXT ? READ_ATTEMPT_MS : WRITE_ATTEMPT_MS};

    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.%s.%s", verb, op->stream->name);
    request(op, &req);
}

static void write_message(struct op *op)
{
    char expected[24];
    const struct faas_header headers[] = {
        {FAAS_H_PROTO, FAAS_PROTO},
        {H_EXPECTED, op->expected < 0 ? NULL : expected},
        {H_OP_ID, op->op_id},
        {NULL, NULL},
    };
    struct faas_rpc_request req = {.subject = op->subject,
                                   .headers = headers,
                                   .data = op->data,
                                   .len = op->len,
                                   .attempt_ms = WRITE_ATTEMPT_MS};

    (void)snprintf(expected, sizeof expected, "%" PRId64, op->expected);
    request(op, &req);
}

static void start(void *arg)
{
    struct op *op = arg;
    char body[FAAS_SUBJECT_MAX + 64];
    const char *verb = "MSG.GET";

    if (faas_rpc_is_cancelled(op->stream->rpc)) { /* its connection may be gone */
        give_up(op);
        return;
    }
    if (op->kind == OPEN && !op->is_probing) {
        api(op, "CREATE", op->data, op->len);
        return;
    }
    if (op->kind == PUT && !op->is_settling) {
        write_message(op);
        return;
    }
    if (op->kind == NEXT) {
        (void)snprintf(body, sizeof body, "{\"seq\":%" PRIu64 ",\"next_by_subj\":\"%s\"}", op->seq,
                       op->subject);
    } else if (op->kind == DELETE) {
        verb = "MSG.DELETE";
        (void)snprintf(body, sizeof body, "{\"seq\":%" PRIu64 ",\"no_erase\":true}", op->seq);
    } else if (op->kind == PURGE) {
        verb = "PURGE";
        (void)snprintf(body, sizeof body, "{\"filter\":\"%s\"}", op->subject);
    } else {
        (void)snprintf(body, sizeof body, "{\"last_by_subj\":\"%s\"}",
                       op->is_probing ? ">" : op->subject);
    }
    api(op, verb, body, strlen(body));
}

/* ---- making operations ---- */

/* For an operation that there was no memory for: done runs from the mailbox. */
struct orphan {
    faas_stream_done *done;
    void *arg;
};

static void orphan_done(void *arg)
{
    struct orphan *orphan = arg;
    faas_err err = {0};
    faas_code rc = faas_fail_sys(&err, ENOMEM, "use a stream");

    orphan->done(orphan->arg, rc, NULL, &err);
    free(orphan);
}

static void run_orphan(faas_stream *stream, faas_stream_done *done, void *arg)
{
    struct orphan *orphan = malloc(sizeof *orphan);

    if (orphan == NULL)
        abort(); /* as faas_loop_post(): a caller left waiting for ever would be worse */
    *orphan = (struct orphan){done, arg};
    faas_loop_post(stream->loop, orphan_done, orphan);
}

static struct op *op_new(faas_stream *stream, enum kind kind, const char *subject,
                         uint64_t deadline_ns)
{
    struct op *op = calloc(1, sizeof *op + strlen(subject) + 1);

    if (op == NULL)
        return NULL;
    atomic_fetch_add(&stream->refs, 1);
    op->stream = stream;
    op->kind = kind;
    op->expected = FAAS_STREAM_ANY;
    op->deadline_ns = deadline_ns;
    memcpy(op->subject, subject, strlen(subject) + 1);
    ev_init(&op->pause, on_pause);
    op->pause.data = op;
    return op;
}

/* take_op NULL: there was no memory for it. */
static void run(faas_stream *stream, struct op *take_op, faas_stream_done *done, void *arg)
{
    if (take_op == NULL) {
        run_orphan(stream, done, arg);
        return;
    }
    take_op->done = done;
    take_op->arg = arg;
    faas_loop_post_with(stream->loop, &take_op->post, start, take_op);
}

void faas_stream_put(faas_stream *stream, const struct faas_stream_put *put, faas_stream_done *done,
                     void *arg)
{
    struct op *op = op_new(stream, PUT, put->subject, put->deadline_ns);
    void *copy = malloc(put->len + 1);

    if (op == NULL || copy == NULL) {
        free(copy);
        if (op != NULL)
            stream_unref(stream);
        free(op);
        run_orphan(stream, done, arg);
        return;
    }
    memcpy(copy, put->data, put->len);
    op->data = copy;
    op->len = put->len;
    op->expected = put->expected;
    faas_random_token(op->op_id);
    run(stream, op, done, arg);
}

void faas_stream_last(faas_stream *stream, const char *subject, uint64_t deadline_ns,
                      faas_stream_done *done, void *arg)
{
    run(stream, op_new(stream, LAST, subject, deadline_ns), done, arg);
}

static void run_at(faas_stream *stream, struct op *take_op, uint64_t seq, faas_stream_done *done,
                   void *arg)
{
    if (take_op != NULL)
        take_op->seq = seq;
    run(stream, take_op, done, arg);
}

void faas_stream_next(faas_stream *stream, uint64_t from, const char *filter, uint64_t deadline_ns,
                      faas_stream_done *done, void *arg)
{
    run_at(stream, op_new(stream, NEXT, filter, deadline_ns), from, done, arg);
}

void faas_stream_delete(faas_stream *stream, uint64_t seq, uint64_t deadline_ns,
                        faas_stream_done *done, void *arg)
{
    run_at(stream, op_new(stream, DELETE, "", deadline_ns), seq, done, arg);
}

void faas_stream_purge(faas_stream *stream, const char *filter, uint64_t deadline_ns,
                       faas_stream_done *done, void *arg)
{
    run(stream, op_new(stream, PURGE, filter, deadline_ns), done, arg);
}

/* ---- opening ---- */

static char *config_text(const struct faas_stream_conf *conf, size_t *out_len)
{
    FAAS_AUTO(json_t) *config = json_pack(
        "{s:s, s:[s], s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:i, s:I, s:i, s:b, s:b}", "name",
        conf->name, "subjects", conf->subjects, "retention", "limits", "storage", "file", "discard",
        conf->is_discard_old ? "old" : "new", "max_consumers", -1, "max_msgs", -1, "max_bytes",
        (json_int_t)conf->max_bytes, "max_age", (json_int_t)conf->max_age_s * (json_int_t)FAAS_S_NS,
        "max_msgs_per_subject", 1, "duplicate_window", (json_int_t)FAAS_S_NS, "num_replicas",
        conf->replicas, "allow_rollup_hdrs", 0, "allow_direct", 0);

    return config != NULL ? faas_json_text(config, out_len) : NULL;
}

struct waiter {
    pthread_mutex_t mu;
    pthread_cond_t woken;
    bool is_done; /* guarded by mu, as code and err */
    faas_code code;
    faas_err err;
};

static void wake(void *arg, faas_code code, const struct faas_stream_msg *msg, const faas_err *err)
{
    struct waiter *w = arg;

    (void)msg;
    pthread_mutex_lock(&w->mu);
    w->code = code;
    w->err = *err;
    w->is_done = true;
    pthread_cond_signal(&w->woken);
    pthread_mutex_unlock(&w->mu);
}

static faas_code create(faas_stream *stream, const struct faas_stream_conf *conf,
                        uint64_t deadline_ns, faas_err *err)
{
    struct waiter w = {.mu = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER};
    struct op *op = op_new(stream, OPEN, "", deadline_ns);

    if (op == NULL)
        return faas_fail_sys(err, ENOMEM, "open stream %s", conf->name);
    op->data = config_text(conf, &op->len);
    if (op->data == NULL) {
        stream_unref(stream);
        free(op);
        return faas_fail_sys(err, ENOMEM, "open stream %s", conf->name);
    }
    run(stream, op, wake, &w);
    pthread_mutex_lock(&w.mu);
    while (!w.is_done) /* bounded: done runs at the operation's deadline */
        pthread_cond_wait(&w.woken, &w.mu);
    pthread_mutex_unlock(&w.mu);
    pthread_cond_destroy(&w.woken);
    pthread_mutex_destroy(&w.mu);
    if (w.code != FAAS_OK)
        *err = w.err;
    return w.code;
}

faas_code faas_stream_open(faas_rpc *rpc, const struct faas_stream_conf *conf, uint64_t deadline_ns,
                           faas_stream **out_stream, faas_err *err)
{
    faas_stream *stream = calloc(1, sizeof *stream);
    faas_code rc;

    if (stream == NULL)
        return faas_fail_sys(err, ENOMEM, "open stream %s", conf->name);
    atomic_init(&stream->refs, 1);
    LIST_INIT(&stream->pauses);
    faas_rpc_ref(rpc); /* operations may be on their way when it is closed */
    stream->rpc = rpc;
    stream->loop = faas_bus_loop(faas_rpc_bus(rpc));
    (void)snprintf(stream->name, sizeof stream->name, "%s", conf->name);
    rc = create(stream, conf, deadline_ns, err);
    if (rc != FAAS_OK) {
        stream_unref(stream);
        return rc;
    }
    *out_stream = stream;
    return FAAS_OK;
}

void faas_stream_close(faas_stream *stream)
{
    struct op *op;

    if (stream == NULL)
        return;
    while ((op = LIST_FIRST(&stream->pauses)) != NULL) {
        LIST_REMOVE(op, link);
        ev_timer_stop(faas_loop_ev(stream->loop), &op->pause);
        give_up(op);
    }
    stream_unref(stream);
}
