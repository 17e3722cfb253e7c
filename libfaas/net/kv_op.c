/* What is done to buckets, over the JetStream API subjects.  Each operation is a small state machine
 * on the loop thread: a request, a look at the answer, and perhaps another request after a pause,
 * until the deadline. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/js.h"
#include "net/kv_internal.h"

#define READ_ATTEMPT_MS  500
#define PEEK_ATTEMPT_MS  200
#define WRITE_ATTEMPT_MS 1000
#define OPEN_ATTEMPT_MS  1000 /* a request that met no leader is dropped without an answer */
#define PAUSE_MIN_MS     20
#define PAUSE_MAX_MS     500
#define NUMBER_TEXT      24
#define H_EXPECTED       "Nats-Expected-Last-Subject-Sequence"
#define H_OPERATION      "KV-Operation"
#define H_SEQUENCE       "Nats-Sequence"
#define H_OP_ID          "Faas-Op" /* tells our own delete from another's */
#define H_MSG_ID         "Nats-Msg-Id"
#define WINDOW_NS        (120 * FAAS_S_NS) /* in which one id is stored once */

static void start(void *arg);

void faas_kv_unref(faas_kv *kv)
{
    if (atomic_fetch_sub(&kv->refs, 1) != 1)
        return;
    faas_rpc_unref(kv->rpc);
    free(kv);
}

/* ---- the end of an operation ---- */

void faas_kv_op_free(struct faas_kv_op *op)
{
    faas_kv_unref(op->kv);
    free(op->value);
    free(op);
}

static void finish(struct faas_kv_op *op, faas_code code, const struct faas_kv_entry *entry,
                   const faas_err *err)
{
    op->done(op->arg, code, entry, err);
    faas_kv_op_free(op);
}

static void succeed(struct faas_kv_op *op, uint64_t revision)
{
    const struct faas_kv_entry entry = {.value = NULL, .revision = revision};
    const faas_err none = {0};

    finish(op, FAAS_OK, &entry, &none);
}

static void fail(struct faas_kv_op *op, faas_code code, const char *msg)
{
    faas_err err = {0};

    faas_fail(&err, code, "%s", msg);
    faas_err_detail(&err, "bucket %s key %s: %s", op->kv->bucket, op->key, op->trouble.detail);
    finish(op, code, NULL, &err);
}

void faas_kv_op_give_up(struct faas_kv_op *op)
{
    fail(op, FAAS_UNAVAILABLE, "the store is not available at the moment");
}

/* Tries again after a growing pause, or gives up when the deadline comes before it. */
static void try_again(struct faas_kv_op *op)
{
    uint64_t ms = PAUSE_MIN_MS << (op->pauses < 5 ? op->pauses : 5);
    uint64_t now = faas_now_ns();

    if (ms > PAUSE_MAX_MS)
        ms = PAUSE_MAX_MS;
    if (faas_rpc_is_cancelled(op->kv->rpc) || now + ms * FAAS_MS_NS >= op->deadline_ns) {
        faas_kv_op_give_up(op);
        return;
    }
    op->pauses++;
    LIST_INSERT_HEAD(&op->kv->pauses, op, link);
    ev_timer_set(&op->pause, (double)ms / 1e3, 0.0);
    ev_timer_start(faas_loop_ev(op->kv->loop), &op->pause);
}

static void on_pause(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct faas_kv_op *op = timer->data;

    (void)ev;
    (void)events;
    LIST_REMOVE(op, link);
    start(op);
}

/* ---- JetStream's answers ---- */

static void on_js_error(struct faas_kv_op *op, const struct faas_js_reply *reply)
{
    if (faas_js_may_pass(reply))
        try_again(op);
    else if (reply->error == FAAS_JS_MESSAGE_TOO_LARGE)
        fail(op, FAAS_TOO_LARGE, "the record is too large for the store");
    else
        fail(op, FAAS_INTERNAL, "internal error");
}

/* A reply, or NULL after the operation was dealt with. */
static faas_msg *js_answer(struct faas_kv_op *op, const struct faas_rpc_reply *reply)
{
    if (reply->code == FAAS_OK)
        return reply->msg;
    op->trouble = *reply->err;
    if (reply->code == FAAS_UNAVAILABLE || reply->code == FAAS_TIMEOUT)
        try_again(op);
    else
        fail(op, FAAS_INTERNAL, "internal error");
    return NULL;
}

static void request(struct faas_kv_op *op, struct faas_rpc_request *req, faas_rpc_done *done)
{
    struct faas_ctx ctx = {.deadline_ns = op->deadline_ns};

    req->ctx = &ctx;
    req->lane = FAAS_DATA;
    req->retry = FAAS_RPC_SAFE;
    faas_rpc_call(op->kv->rpc, req, done, op);
}

/* ---- opening: the stream behind the bucket ---- */

static json_t *stream_config(const struct faas_kv_op *op)
{
    const char *bucket = op->kv->bucket;
    const bool is_log = op->bounds.max_bytes > 0;
    const char *discard = is_log ? "old" : "new";
    json_int_t max_bytes = is_log ? op->bounds.max_bytes : -1;
    json_int_t max_age_ns = op->bounds.max_age_ms * (json_int_t)FAAS_MS_NS;
    char name[64], subject[64], mirror[64];

    (void)snprintf(name, sizeof name, "KV_%s", bucket);
    (void)snprintf(subject, sizeof subject, "$KV.%s.>", bucket);
    (void)snprintf(mirror, sizeof mirror, "rp.%s.>", bucket);
    return json_pack(
        "{s:s, s:[s], s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:i, s:i, s:I, s:i, s:b, s:b, s:b, "
        "s:{s:s, s:s}}",
        "name", name, "subjects", subject, "retention", "limits", "storage", "file", "discard",
        discard, "max_consumers", -1, "max_msgs", -1, "max_bytes", max_bytes, "max_age", max_age_ns,
        "max_msgs_per_subject", is_log ? -1 : 1, "max_msg_size", -1, "duplicate_window",
        (json_int_t)WINDOW_NS, "num_replicas", op->bounds.replicas, "allow_rollup_hdrs", 1,
        "deny_delete", 1, "allow_direct", 1, "republish", "src", subject, "dest", mirror);
}

static void on_opened(void *arg, const struct faas_rpc_reply *reply)
{
    struct faas_kv_op *op = arg;
    const faas_msg *msg = js_answer(op, reply);
    struct faas_js_reply js;

    if (msg == NULL)
        return;
    if (!faas_js_parse(msg, &js, &op->trouble))
        try_again(op);
    else if (js.error == 0 || js.error == FAAS_JS_NAME_IN_USE) /* another's settings are theirs */
        succeed(op, 0);
    else if (js.error == FAAS_JS_NO_STORAGE) {
        op->kind = FAAS_KV_LAST; /* it may be there, and have its room */
        start(op);
    } else if (js.error == FAAS_JS_REPLICAS_NOT_SUPPORTED)
        fail(op, FAAS_INVALID, "REPLICAS: more than 1 needs that many NATS servers in one cluster");
    else
        on_js_error(op, &js);
    json_decref(js.doc);
}

static void start_open(struct faas_kv_op *op)
{
    FAAS_AUTO(json_t) *config = stream_config(op);
    FAAS_AUTO(char) *text = NULL;
    char subject[FAAS_SUBJECT_MAX];
    struct faas_rpc_request req = {.subject = subject, .attempt_ms = OPEN_ATTEMPT_MS};

    text = config != NULL ? faas_json_text(config, &req.len) : NULL;
    if (text == NULL) {
        fail(op, FAAS_INTERNAL, "internal error");
        return;
    }
    req.data = text;
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE.KV_%s", op->kv->bucket);
    request(op, &req, on_opened);
}

/* ---- reading ---- */

bool faas_kv_is_delete(const char *operation)
{
    return operation != NULL && (strcmp(operation, "DEL") == 0 || strcmp(operation, "PURGE") == 0);
}

static bool stored_parse(const json_t *message, struct faas_kv_message *out_stored)
{
    FAAS_AUTO(void) *headers = NULL;
    char operation[16];
    size_t len;

    *out_stored = (struct faas_kv_message){0};
    if (!faas_js_decode(json_object_get(message, "hdrs"), &headers, &len))
        return false;
    faas_js_header(headers, H_OPERATION, operation, sizeof operation);
    faas_js_header(headers, H_OP_ID, out_stored->op_id, sizeof out_stored->op_id);
    out_stored->entry.is_delete = faas_kv_is_delete(operation);
    out_stored->subject = json_string_value(json_object_get(message, "subject"));
    if (out_stored->subject == NULL)
        return false;
    out_stored->entry.revision = (uint64_t)json_integer_value(json_object_get(message, "seq"));
    return faas_js_decode(json_object_get(message, "data"), &out_stored->entry.value,
                          &out_stored->entry.len);
}

static void answer_read(struct faas_kv_op *op, const struct faas_kv_message *stored)
{
    const faas_err none = {0};

    if (op->kind == FAAS_KV_LAST)
        succeed(op, stored != NULL ? stored->entry.revision : 0);
    else if (stored == NULL || (stored->entry.is_delete && op->kind == FAAS_KV_GET))
        fail(op, FAAS_NOT_FOUND, "not found");
    else
        finish(op, FAAS_OK, &stored->entry, &none);
}

/* A write met "wrong sequence": was it our own earlier try, a tombstone, or somebody else?  When
 * nothing has changed, the write that was in the way is still on its way, and may be ours. */
static void settle(struct faas_kv_op *op, const struct faas_kv_message *stored)
{
    uint64_t revision = stored != NULL ? stored->entry.revision : 0;
    bool is_there = stored != NULL && !stored->entry.is_delete;
    bool is_ours = false;

    op->is_settling = false;
    if (stored != NULL && op->kind == FAAS_KV_DELETE)
        is_ours = stored->entry.is_delete && strcmp(stored->op_id, op->op_id) == 0;
    else if (stored != NULL)
        is_ours = is_there && stored->entry.len == op->len &&
                  memcmp(stored->entry.value, op->value, op->len) == 0;
    if (is_ours) {
        succeed(op, revision);
    } else if (op->expected == 0 ? !is_there : revision == op->expected) {
        bool is_news = revision != op->sent;

        op->sent = revision;
        if (is_news)
            start(op);
        else
            try_again(op);
    } else {
        fail(op, FAAS_CONFLICT, "changed by somebody else at the same time");
    }
}

static void on_read(void *arg, const struct faas_rpc_reply *reply)
{
    struct faas_kv_op *op = arg;
    const faas_msg *msg = js_answer(op, reply);
    struct faas_kv_message stored = {0};
    struct faas_js_reply js;
    const struct faas_kv_message *found = NULL;

    if (msg == NULL)
        return;
    if (!faas_js_parse(msg, &js, &op->trouble)) {
        try_again(op);
    } else if (js.error != 0 && js.error != FAAS_JS_NO_MESSAGE) {
        on_js_error(op, &js);
    } else if (js.error == 0 && !stored_parse(json_object_get(js.doc, "message"), &stored)) {
        fail(op, FAAS_INTERNAL, "internal error");
    } else {
        found = js.error == 0 ? &stored : NULL;
        if (op->is_settling)
            settle(op, found);
        else
            answer_read(op, found);
    }
    faas_kv_entry_done(&stored.entry);
    json_decref(js.doc);
}

static void start_read(struct faas_kv_op *op)
{
    char subject[FAAS_SUBJECT_MAX], body[FAAS_SUBJECT_MAX];
    struct faas_rpc_request req = {.subject = subject, .data = body, .attempt_ms = READ_ATTEMPT_MS};

    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.MSG.GET.KV_%s", op->kv->bucket);
    /* ">" alone is answered at once; "$KV.<bucket>.>" means the same here, but makes the server
     * look at every key of the bucket, for each reader's question four times a second. */
    if (op->kind == FAAS_KV_NEXT && op->key[0] != '\0')
        (void)snprintf(body, sizeof body, "{\"seq\":%" PRIu64 ",\"next_by_subj\":\"$KV.%s.%s*\"}",
                       op->from, op->kv->bucket, op->key);
    else if (op->kind == FAAS_KV_NEXT)
        (void)snprintf(body, sizeof body, "{\"seq\":%" PRIu64 ",\"next_by_subj\":\">\"}", op->from);
    else if (op->kind == FAAS_KV_LAST)
        (void)snprintf(body, sizeof body, "{\"last_by_subj\":\">\"}");
    else
        (void)snprintf(body, sizeof body, "{\"last_by_subj\":\"$KV.%s.%s\"}", op->kv->bucket,
                       op->key);
    req.len = strlen(body);
    request(op, &req, on_read);
}

static void on_peeked(void *arg, const struct faas_rpc_reply *reply)
{
    struct faas_kv_op *op = arg;
    const faas_msg *msg = js_answer(op, reply);
    FAAS_AUTO(char) *copy = NULL;
    struct faas_kv_entry entry = {0};
    const faas_err none = {0};
    int64_t sequence;

    if (msg == NULL)
        return;
    sequence = faas_msg_header_int(msg, H_SEQUENCE, 0);
    if (sequence <= 0 || faas_kv_is_delete(faas_msg_header(msg, H_OPERATION))) {
        fail(op, FAAS_NOT_FOUND, "not found");
        return;
    }
    entry.len = faas_msg_len(msg);
    entry.revision = (uint64_t)sequence;
    entry.value = copy = malloc(entry.len + 1);
    if (copy == NULL) {
        fail(op, FAAS_INTERNAL, "internal error");
        return;
    }
    memcpy(copy, faas_msg_data(msg), entry.len);
    copy[entry.len] = '\0';
    finish(op, FAAS_OK, &entry, &none);
}

static void start_peek(struct faas_kv_op *op)
{
    char subject[FAAS_SUBJECT_MAX];
    struct faas_rpc_request req = {.subject = subject, .data = "", .attempt_ms = PEEK_ATTEMPT_MS};

    (void)snprintf(subject, sizeof subject, "$JS.API.DIRECT.GET.KV_%s.$KV.%s.%s", op->kv->bucket,
                   op->kv->bucket, op->key);
    request(op, &req, on_peeked);
}

/* ---- writing ---- */

static void on_written(void *arg, const struct faas_rpc_reply *reply)
{
    struct faas_kv_op *op = arg;
    const faas_msg *msg = js_answer(op, reply);
    struct faas_js_reply js;
    json_int_t seq;

    if (msg == NULL)
        return;
    if (!faas_js_parse(msg, &js, &op->trouble)) {
        try_again(op);
    } else if (js.error == FAAS_JS_WRONG_SEQUENCE || js.error == FAAS_JS_OVERTAKEN) {
        op->is_settling = true;
        start(op);
    } else if (js.error != 0) {
        on_js_error(op, &js);
    } else {
        seq = json_integer_value(json_object_get(js.doc, "seq"));
        if (seq > 0)
            succeed(op, (uint64_t)seq);
        else
            fail(op, FAAS_INTERNAL, "internal error");
    }
    json_decref(js.doc);
}

static void start_write(struct faas_kv_op *op)
{
    char subject[FAAS_SUBJECT_MAX], expected[NUMBER_TEXT];
    const bool is_delete = op->kind == FAAS_KV_DELETE, is_append = op->kind == FAAS_KV_APPEND;
    const struct faas_header headers[] = {
        {H_MSG_ID, is_append ? op->op_id : NULL},
        {H_EXPECTED, is_append || (is_delete && op->expected == 0) ? NULL : expected},
        {H_OPERATION, is_delete ? "DEL" : NULL},
        {H_OP_ID, is_delete ? op->op_id : NULL},
        {NULL, NULL},
    };
    struct faas_rpc_request req = {.subject = subject,
                                   .headers = headers,
                                   .data = op->value,
                                   .len = op->len,
                                   .attempt_ms = WRITE_ATTEMPT_MS};

    (void)snprintf(subject, sizeof subject, "$KV.%s.%s", op->kv->bucket, op->key);
    (void)snprintf(expected, sizeof expected, "%" PRIu64, op->sent);
    request(op, &req, on_written);
}

static void start(void *arg)
{
    struct faas_kv_op *op = arg;

    if (faas_rpc_is_cancelled(op->kv->rpc)) { /* its connection may be gone */
        faas_kv_op_give_up(op);
        return;
    }
    switch (op->kind) {
    case FAAS_KV_OPEN:
        start_open(op);
        break;
    case FAAS_KV_GET:
    case FAAS_KV_LOOK:
    case FAAS_KV_LAST:
    case FAAS_KV_NEXT:
        start_read(op);
        break;
    case FAAS_KV_PEEK:
        start_peek(op);
        break;
    case FAAS_KV_PUT:
    case FAAS_KV_APPEND:
    case FAAS_KV_DELETE:
        if (op->is_settling)
            start_read(op);
        else
            start_write(op);
        break;
    }
}

/* ---- making an operation ---- */

static void refuse(void *arg)
{
    struct faas_kv_op *op = arg;
    faas_err err = op->trouble;

    finish(op, err.code, NULL, &err);
}

static bool is_key(const char *key)
{
    size_t len = strlen(key);

    return len > 0 && len <= FAAS_KV_KEY_MAX && key[0] != '.' && key[len - 1] != '.' &&
           strstr(key, "..") == NULL &&
           key[strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                           "-/_=.")] == '\0';
}

static bool has_key(const struct faas_kv_op *op)
{
    return op->kind == FAAS_KV_GET || op->kind == FAAS_KV_LOOK || op->kind == FAAS_KV_PEEK ||
           op->kind == FAAS_KV_PUT || op->kind == FAAS_KV_DELETE || op->kind == FAAS_KV_APPEND;
}

static void check(struct faas_kv_op *op)
{
    if (has_key(op) && !is_key(op->key))
        faas_fail(&op->trouble, FAAS_INVALID, "store: not a key");
    else if (op->len > FAAS_KV_VALUE_MAX)
        faas_fail(&op->trouble, FAAS_TOO_LARGE, "record of %zu bytes: at most %d bytes are stored",
                  op->len, FAAS_KV_VALUE_MAX);
}

struct faas_kv_op *faas_kv_op_new(faas_kv *kv, enum faas_kv_op_kind kind, const char *key,
                                  uint64_t deadline_ns)
{
    struct faas_kv_op *op = calloc(1, sizeof *op + strlen(key) + 1);

    if (op == NULL)
        return NULL;
    atomic_fetch_add(&kv->refs, 1);
    op->kv = kv;
    op->kind = kind;
    op->deadline_ns = deadline_ns;
    memcpy(op->key, key, strlen(key) + 1);
    ev_init(&op->pause, on_pause);
    op->pause.data = op;
    return op;
}

bool faas_kv_op_value(struct faas_kv_op *op, const void *value, size_t len)
{
    op->len = len;
    if (len == 0 || len > FAAS_KV_VALUE_MAX) /* the latter is refused */
        return true;
    op->value = malloc(len);
    if (op->value == NULL)
        return false;
    memcpy(op->value, value, len);
    return true;
}

void faas_kv_op_run(struct faas_kv_op *take_op, faas_kv_done *done, void *arg)
{
    take_op->done = done;
    take_op->arg = arg;
    check(take_op);
    faas_loop_post_with(take_op->kv->loop, &take_op->post,
                        take_op->trouble.code != FAAS_OK ? refuse : start, take_op);
}
