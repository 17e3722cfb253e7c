/* The wire's side in: calls, fences and cancels from gateways. */
#include "jobs.h"

#include "base/clock.h"
#include "base/envelope.h"
#include "base/log.h"
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CALL_MESSAGE_MAX (2 * 1024 * 1024) /* the servers' max_payload */

/* ---- a call ---- */

struct meta { /* the envelope's JSON; borrowed */
    const char *kind, *function, *gateway, *client_call_id, *stream;
    int64_t timeout_ms, input_bytes;
};
static const struct faas_json_field meta_fields[] = {
    FAAS_FIELD(STR, struct meta, kind, "kind", 1, 32, false),
    FAAS_FIELD(STR, struct meta, function, "function", 0, 4096, true),
    FAAS_FIELD(STR, struct meta, gateway, "gateway", 0, 39, false),
    FAAS_FIELD(STR, struct meta, client_call_id, "client_call_id", 0, FAAS_LABEL_MAX, false),
    FAAS_FIELD(INT, struct meta, timeout_ms, "timeout_ms", 1, FAAS_TIMEOUT_MS_MAX, false),
    FAAS_FIELD(STR, struct meta, stream, "stream", 0, 32, false),
    FAAS_FIELD(INT, struct meta, input_bytes, "input_bytes", 1, 1e15, false),
    FAAS_FIELD_END,
};

static faas_code fill_from_meta(struct live *call, const struct faas_envelope *env, faas_err *err)
{
    struct meta meta = {.kind = "exec", .gateway = "", .client_call_id = "", .stream = ""};

    FAAS_TRY(faas_json_decode(env->meta, meta_fields, FAAS_JSON_TOLERANT, &meta, err));
    if (strcmp(meta.kind, FAAS_KIND_EXEC) != 0 && strcmp(meta.kind, FAAS_KIND_INPUT) != 0)
        return faas_fail(err, FAAS_INVALID, "kind: this platform knows \"exec\" and \"input\"");
    call->input_bytes = strcmp(meta.kind, FAAS_KIND_INPUT) == 0 ? meta.input_bytes : 0;
    FAAS_TRY(faas_function_ref_parse(meta.function, &call->ref, err));
    again_name_version(&call->ref, call->lost_version);
    snprintf(call->gateway, sizeof call->gateway, "%s", meta.gateway);
    snprintf(call->history.client_call_id, sizeof call->history.client_call_id, "%s",
             meta.client_call_id);
    call->asked_ms = meta.timeout_ms;
    if (strcmp(meta.stream, FAAS_STREAMED_STDOUT) == 0)
        call->stream = FAAS_STREAMED_STDOUT;
    else if (strcmp(meta.stream, FAAS_STREAMED_ALL) == 0)
        call->stream = FAAS_STREAMED_ALL;
    call->arg = env->bytes;
    call->arg_len = env->len;
    return FAAS_OK;
}

static faas_code fill_from_headers(struct live *call, const struct faas_ctx *ctx, faas_err *err)
{
    const faas_msg *msg = call->msg;

    if (ctx->tenant[0] == '\0')
        return faas_fail(err, FAAS_INVALID, "header " FAAS_H_TENANT ": must be a UUID");
    memcpy(call->tenant, ctx->tenant, sizeof call->tenant);
    memcpy(call->user, ctx->user, sizeof call->user);
    memcpy(call->trace, ctx->traceparent, sizeof call->trace);
    call->age_ms = faas_msg_header_int(msg, FAAS_H_AGE, 0);
    if (call->age_ms < 0)
        call->age_ms = 0;
    call->lost = faas_msg_header_int(msg, FAAS_H_LOST, 0);
    if (call->lost < 0)
        return faas_fail(err, FAAS_INVALID, "header " FAAS_H_LOST ": must not be negative");
    call->lost_version = call->lost > 0 ? faas_msg_header_int(msg, FAAS_H_VERSION, 0) : 0;
    return FAAS_OK;
}

static faas_code read_call(struct live *call, const struct faas_ctx *ctx, faas_err *err)
{
    struct faas_envelope env = {0};
    faas_code rc;

    FAAS_TRY(fill_from_headers(call, ctx, err));
    FAAS_TRY(faas_envelope_open(faas_msg_data(call->msg), faas_msg_len(call->msg), &env, err));
    rc = fill_from_meta(call, &env, err);
    faas_envelope_done(&env);
    return rc;
}

static faas_code check_room(const struct publisher *pub, const faas_msg *msg, faas_err *err)
{
    if (pub->book.live_len >= (size_t)pub->conf.calls_max)
        return faas_fail(err, FAAS_BUSY,
                         "%lld calls run through this publisher already, the most "
                         "it may handle at once",
                         (long long)pub->conf.calls_max);
    if (pub->bytes_held + faas_msg_len(msg) > (size_t)pub->conf.calls_mb << 20)
        return faas_fail(err, FAAS_BUSY,
                         "arguments of waiting calls take %lld MB already, the most "
                         "they may",
                         (long long)pub->conf.calls_mb);
    return FAAS_OK;
}

int64_t publisher_calls_cap(const struct publisher *pub, const char *user)
{
    int64_t platform = pub->conf.tenant_concurrency > 0 ? pub->conf.tenant_concurrency : INT64_MAX;
    struct faas_standing standing;

    standings_of(&pub->standings, user, &standing);
    return faas_quota_of(&standing, FAAS_QUOTA_CONCURRENCY, platform);
}

/* Enters the call into the book; from then on finish.c ends it. */
static faas_code enter(struct live *call, const struct faas_ctx *ctx, faas_err *err)
{
    struct publisher *pub = call->pub;
    struct usage_caps caps = {.bytes = ((size_t)pub->conf.calls_mb << 20) / 2};
    size_t len = faas_msg_len(call->msg);

    FAAS_TRY(check_room(pub, call->msg, err));
    FAAS_TRY(read_call(call, ctx, err));
    caps.calls = publisher_calls_cap(pub, call->user);
    FAAS_TRY(usage_enter(&pub->usage, call->tenant, len, &caps, &call->usage, err));
    call->inbox = strdup(faas_msg_reply(call->msg));
    if (call->inbox == NULL)
        (void)faas_fail_sys(err, ENOMEM, "take a call");
    if (call->inbox == NULL || book_add(&pub->book, &call->page, err) != FAAS_OK) {
        usage_release_bytes(call->usage, len);
        usage_leave(call->usage);
        free(call->inbox);
        return err->code;
    }
    pub->bytes_held += faas_msg_len(call->msg);
    if (pub->repeat_tokens < REPEAT_TOKENS_MAX)
        pub->repeat_tokens++;
    metric_level(M_LIVE, (int64_t)pub->book.live_len);
    return FAAS_OK;
}

static void begin(struct live *call)
{
    const struct resolve_want want = drive_want(call);
    struct record *rec = resolve_now(&call->pub->resolve, &want);

    drive_arm(call, &call->told, FAAS_TAKEN_AFTER_MS);
    if (rec == NULL) {
        drive(call, CALL_EV_MISS);
        return;
    }
    call->rec = record_ref(rec);
    drive(call, CALL_EV_FOUND);
}

static struct wire_fail fail_of(const faas_msg *msg, const char *id, const faas_err *err)
{
    return (struct wire_fail){
        .inbox = faas_msg_reply(msg),
        .id = id,
        .place = 256 * (uint32_t)faas_msg_header_int(msg, FAAS_H_ATTEMPT, 1),
        .err = err,
        .component = "publisher",
    };
}

/* A call that could not even be entered. */
static void refuse(struct publisher *pub, const faas_msg *msg, const char *id, const faas_err *err)
{
    struct wire_fail fail = fail_of(msg, id, err);

    metric_count(M_REFUSED);
    if (err->code == FAAS_BUSY) {
        metric_count(M_BUSY);
        fail.retry_after_s = 1;
    }
    wire_fail(pub, &fail);
    FAAS_LOG(INFO, "call refused", FAAS_LSTR("call", id),
             FAAS_LSTR("code", faas_code_slug(err->code)), FAAS_LSTR("msg_to_caller", err->msg),
             FAAS_LSTR("detail", err->detail));
}

static void take(struct publisher *pub, faas_msg *take_msg, const struct faas_ctx *ctx,
                 uint32_t attempt)
{
    struct live *call = calloc(1, sizeof *call);
    faas_err err = {0};

    if (call == NULL) {
        (void)faas_fail_sys(&err, ENOMEM, "take a call");
        refuse(pub, take_msg, ctx->id, &err);
        faas_msg_free(take_msg);
        return;
    }
    call->pub = pub;
    call->state = CALL_RECEIVED;
    call->msg = take_msg;
    call->attempt = attempt;
    call->taken_ns = faas_now_ns();
    memcpy(call->page.id, ctx->id, sizeof call->page.id);
    drive_timers_init(call);
    metric_count(M_CALLS);
    if (enter(call, ctx, &err) == FAAS_OK) {
        begin(call);
        return;
    }
    refuse(pub, take_msg, ctx->id, &err);
    faas_msg_free(take_msg);
    free(call);
}

static bool is_foreign(const struct publisher *pub, const faas_msg *msg)
{
    const char *epoch = faas_msg_header(msg, FAAS_H_EPOCH);

    return epoch != NULL && strcmp(epoch, faas_members_epoch(pub->rt->members)) != 0;
}

/* It was for a process that had this name before.  What was sent since is another attempt, which
 * this process may have: of that one nothing is said. */
static void refuse_foreign(struct publisher *pub, const faas_msg *msg, const char *id)
{
    struct wire_fail fail;
    faas_err err = {0};

    (void)faas_fail(&err, FAAS_UNAVAILABLE,
                    "meant for an earlier process of this name; nothing was started, try again");
    fail = fail_of(msg, id, &err);
    fail.reason = "epoch";
    metric_count(M_FOREIGN);
    wire_fail(pub, &fail);
}

/* Known already: the gateway missed our first answer, and listens to its newest attempt only. */
static void take_again(struct live *call, uint32_t attempt)
{
    metric_count(M_REPEATED);
    if (attempt > call->attempt)
        call->attempt = attempt;
    wire_taken(call);
}

static void on_call(void *state, faas_msg *take_msg)
{
    struct publisher *pub = state;
    int64_t attempt = faas_msg_header_int(take_msg, FAAS_H_ATTEMPT, 1);
    const struct book_tomb *tomb;
    struct book_page *page;
    struct faas_ctx ctx;

    drive_check_late(pub);
    faas_ctx_from_msg(take_msg, FAAS_TIMEOUT_MS, &ctx);
    if (ctx.id[0] == '\0' || faas_msg_reply(take_msg) == NULL || attempt < 1 ||
        attempt > PUBLISHER_ATTEMPTS) {
        metric_count(M_MALFORMED);
        faas_msg_free(take_msg);
        return;
    }
    if (is_foreign(pub, take_msg)) {
        refuse_foreign(pub, take_msg, ctx.id);
        faas_msg_free(take_msg);
        return;
    }
    page = book_find(&pub->book, ctx.id);
    tomb = page == NULL ? book_tomb_find(&pub->book, ctx.id, faas_now_ns()) : NULL;
    if (page == NULL && (tomb == NULL || (uint64_t)attempt * 256 + 255 > tomb->refuse_to)) {
        take(pub, take_msg, &ctx, (uint32_t)attempt);
        return;
    }
    /* Ended or fenced: whatever its caller waits for comes from elsewhere, so not a word. */
    if (page != NULL)
        take_again((struct live *)page, (uint32_t)attempt);
    else
        metric_count(M_REPEATED);
    faas_msg_free(take_msg);
}

/* ---- fence and cancel ---- */

struct question {
    const char *id, *reason;
    int64_t place;
};
static const struct faas_json_field question_fields[] = {
    FAAS_FIELD(STR, struct question, id, "id", 36, 36, true),
    FAAS_FIELD(INT, struct question, place, "place", 0, UINT32_MAX, false),
    FAAS_FIELD(STR, struct question, reason, "reason", 0, 64, false),
    FAAS_FIELD_END,
};

static faas_code read_question(const faas_msg *msg, json_t **out_doc, struct question *out_question,
                               faas_err *err)
{
    FAAS_TRY(faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, out_doc, err));
    FAAS_TRY(faas_json_decode(*out_doc, question_fields, FAAS_JSON_TOLERANT, out_question, err));
    if (!faas_uuid_is(out_question->id))
        return faas_fail(err, FAAS_INVALID, "id: must be a UUID");
    return FAAS_OK;
}

static void answer_state(struct publisher *pub, const faas_msg *msg, const char *state)
{
    FAAS_AUTO(json_t) *doc = json_pack("{s:i, s:s, s:s}", "v", 1, "state", state, "epoch",
                                       faas_members_epoch(pub->rt->members));

    faas_rpc_answer_json(pub->rt->rpc, msg, doc);
}

/* What a call is that is not here (any more). */
static const char *fence_absent(struct publisher *pub, const struct question *question)
{
    struct book_tomb *tomb = book_tomb_find(&pub->book, question->id, faas_now_ns());

    if (tomb != NULL && tomb->was_placed) {
        if (tomb->frame != NULL)
            wire_send(pub, tomb->inbox, tomb->frame, tomb->frame_len);
        return "done";
    }
    /* Also for a call that ended before anything was started: it may be sent again. */
    if (book_bury(&pub->book, question->id, (uint32_t)question->place, false, faas_now_ns()) ==
        NULL)
        return "running"; /* without memory for the promise there is none; asked again */
    return "never";
}

static void on_fence(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(json_t) *doc = NULL;
    struct publisher *pub = state;
    struct question question = {.id = ""};
    const struct book_page *page;
    faas_err err = {0};

    drive_check_late(pub);
    if (read_question(msg, &doc, &question, &err) != FAAS_OK) {
        metric_count(M_MALFORMED);
        faas_rpc_answer_err(pub->rt->rpc, msg, &err);
        return;
    }
    page = book_find(&pub->book, question.id);
    if (page != NULL)
        answer_state(pub, msg, call_state_for_fence(((const struct live *)page)->state));
    else
        answer_state(pub, msg, fence_absent(pub, &question));
}

static const char *reason_of(const struct question *question)
{
    static const char *const known[] = {"client_gone", "gateway_lost", "timeout", "given_up"};

    for (size_t i = 0; question->reason != NULL && i < FAAS_ARRAY_LEN(known); i++)
        if (strcmp(question->reason, known[i]) == 0)
            return known[i];
    return "cancelled";
}

/* Its gateway has told the client that it may have run, and it is not run again: half a run would be
 * worse than one. */
static bool is_left_running(const struct live *call, const struct question *question)
{
    return strcmp(reason_of(question), "given_up") == 0 && call_is_placed(call->state) &&
           !call->rec->retry.is_idempotent;
}

/* Answered when nothing of it runs: finish.c. */
static void cancel_live(struct live *call, const struct question *question, faas_msg *take_msg)
{
    struct cancel_wait *wait;

    if (is_left_running(call, question)) {
        answer_state(call->pub, take_msg, "running");
        faas_msg_free(take_msg);
        return;
    }
    wait = calloc(1, sizeof *wait);
    if (wait == NULL) {
        faas_err err = {0};

        (void)faas_fail_sys(&err, ENOMEM, "wait for a call's end");
        faas_rpc_answer_err(call->pub->rt->rpc, take_msg, &err);
        faas_msg_free(take_msg);
        return;
    }
    *wait = (struct cancel_wait){.next = call->cancels, .msg = take_msg};
    call->cancels = wait;
    if (call->cancel_why == NULL)
        call->cancel_why = reason_of(question);
    drive(call, CALL_EV_CANCEL);
}

static void cancel_absent(struct publisher *pub, const struct question *question,
                          const faas_msg *msg)
{
    const struct book_tomb *tomb = book_tomb_find(&pub->book, question->id, faas_now_ns());

    if (tomb != NULL && tomb->was_placed) {
        answer_state(pub, msg, "done");
        return;
    }
    /* The cancel may have overtaken its call. */
    (void)book_bury(&pub->book, question->id, UINT32_MAX, false, faas_now_ns());
    answer_state(pub, msg, "unknown");
}

static void on_cancel(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct publisher *pub = state;
    struct question question = {.id = ""};
    struct faas_ctx ctx;
    struct live *call;
    faas_err err = {0};

    drive_check_late(pub);
    if (read_question(take_msg, &doc, &question, &err) != FAAS_OK) {
        metric_count(M_MALFORMED);
        faas_rpc_answer_err(pub->rt->rpc, take_msg, &err);
        faas_msg_free(take_msg);
        return;
    }
    faas_ctx_from_msg(take_msg, FAAS_TIMEOUT_MS, &ctx);
    if (is_foreign(pub, take_msg)) { /* the process before is gone, and this one may get the call */
        answer_state(pub, take_msg, "unknown");
        faas_msg_free(take_msg);
        return;
    }
    if (jobs_cancel(pub->jobs, question.id, ctx.tenant, take_msg))
        return;
    call = (struct live *)book_find(&pub->book, question.id);
    if (call != NULL && (ctx.tenant[0] == '\0' || strcmp(ctx.tenant, call->tenant) == 0)) {
        cancel_live(call, &question, take_msg);
        return;
    }
    if (call == NULL)
        cancel_absent(pub, &question, take_msg);
    else
        answer_state(pub, take_msg, "unknown"); /* somebody else's: DESIGN.md 4.10 */
    faas_msg_free(take_msg);
}

/* ---- other publishers ---- */

static void on_use(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(json_t) *doc = NULL;
    struct publisher *pub = state;
    faas_err err = {0};

    if (faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, &err) == FAAS_OK &&
        usage_hear(&pub->usage, doc, pub->rt->id, faas_now_ns(), &err) == FAAS_OK)
        return;
    metric_count(M_MALFORMED);
}

/* The caller's quotas that publishers keep to. */
static void on_quota(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct publisher *pub = state;
    struct faas_standing standing;
    struct faas_ctx ctx;
    int64_t calls;
    FAAS_AUTO(json_t) *doc = NULL;

    faas_ctx_from_msg(msg, FAAS_TIMEOUT_MS, &ctx);
    standings_of(&pub->standings, ctx.user, &standing);
    calls = publisher_calls_cap(pub, ctx.user);
    doc = json_pack("{s:{s:o, s:I}, s:{s:I}}", faas_quota_name(FAAS_QUOTA_CONCURRENCY), "limit",
                    calls != INT64_MAX ? json_integer(calls) : json_null(), "used",
                    (json_int_t)usage_calls(&pub->usage, ctx.tenant),
                    faas_quota_name(FAAS_QUOTA_QUEUED_BYTES), "limit",
                    (json_int_t)faas_quota_of(&standing, FAAS_QUOTA_QUEUED_BYTES,
                                              pub->jobs->conf.tenant_mb << 20));
    faas_rpc_answer_json(pub->rt->rpc, msg, doc);
}

/* Events stay on the lane that is not drained: running calls end through them. */
const struct faas_endpoint publisher_endpoints[] = {
    {.name = "call",
     .subject = FAAS_SUBJ_PUBLISHER_CALL,
     .body_max = CALL_MESSAGE_MAX,
     .on_message = on_call,
     .lane = FAAS_DATA},
    {.name = "cancel",
     .subject = FAAS_SUBJ_PUBLISHER_CANCEL,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = on_cancel,
     .lane = FAAS_CONTROL},
    {.name = "fence",
     .subject = FAAS_SUBJ_PUBLISHER_FENCE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = on_fence,
     .lane = FAAS_CONTROL},
    {.name = "again",
     .subject = FAAS_SUBJ_PUBLISHER_AGAIN,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = again_take,
     .lane = FAAS_CONTROL},
    {.name = "events",
     .subject = FAAS_SUBJ_PUBLISHER_EVENTS,
     .body_max = PUBLISHER_EVENT_MAX,
     .on_message = events_take,
     .lane = FAAS_CONTROL},
    {.name = "queue",
     .subject = FAAS_SUBJ_PUBLISHER_QUEUE,
     .body_max = CALL_MESSAGE_MAX,
     .on_message = jobs_on_queue,
     .lane = FAAS_DATA},
    {.name = "quota",
     .subject = FAAS_SUBJ_PUBLISHER_QUOTA,
     .queue = FAAS_QUEUE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = on_quota,
     .lane = FAAS_CONTROL},
    {.name = "purge",
     .subject = FAAS_SUBJ_PUBLISHER_PURGE,
     .queue = FAAS_QUEUE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = jobs_on_purge,
     .lane = FAAS_DATA},
    {.name = "state",
     .subject = FAAS_SUBJ_PUBLISHER_STATE,
     .queue = FAAS_QUEUE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = jobs_on_state,
     .lane = FAAS_DATA},
    {.name = "result",
     .subject = FAAS_SUBJ_PUBLISHER_RESULT,
     .queue = FAAS_QUEUE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = jobs_on_result,
     .lane = FAAS_DATA},
    {.name = "dead_list",
     .subject = FAAS_SUBJ_PUBLISHER_DEAD,
     .queue = FAAS_QUEUE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = jobs_on_dead_list,
     .lane = FAAS_DATA},
    {.name = "dead_show",
     .subject = FAAS_SUBJ_PUBLISHER_SHOW,
     .queue = FAAS_QUEUE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = jobs_on_dead_show,
     .lane = FAAS_DATA},
    {.name = "dead_redrive",
     .subject = FAAS_SUBJ_PUBLISHER_REDRIVE,
     .queue = FAAS_QUEUE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = jobs_on_dead_redrive,
     .lane = FAAS_DATA},
    {.name = "redrive",
     .subject = FAAS_SUBJ_PUBLISHER_REDRIVE_AT,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = jobs_on_dead_redrive,
     .lane = FAAS_DATA},
    {.name = "ended",
     .subject = FAAS_SUBJ_PUBLISHER_ENDED,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = jobs_on_ended,
     .lane = FAAS_CONTROL},
    {.name = "use",
     .subject = FAAS_SUBJ_PUBLISHER_USE,
     .body_max = PUBLISHER_EVENT_MAX,
     .on_message = on_use,
     .lane = FAAS_CONTROL},
    {.name = "end",
     .subject = FAAS_SUBJ_PUBLISHER_END,
     .queue = FAAS_QUEUE,
     .body_max = PUBLISHER_EVENT_MAX,
     .on_message = events_take,
     .lane = FAAS_DATA},
    {.name = NULL},
};
