#include "net/rpc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/rpc_internal.h"

#define ATTEMPT_MS     500
#define BACKOFF_MAX_MS 50
#define HEADERS_MAX    16 /* further headers of one request */
#define NUMBER_TEXT    24

/* One call between faas_rpc_call() and done; strings and data follow in the same block. */
struct pending {
    struct faas_rpc_slot slot; /* first member */
    faas_rpc *rpc;
    struct faas_post post; /* its begin, or its end without an answer */
    struct faas_ctx ctx;
    char *subject;
    struct faas_header headers[HEADERS_MAX + 1];
    const void *data;
    size_t len;
    enum faas_lane lane;
    enum faas_rpc_retry retry;
    uint64_t attempt_ns; /* length of an attempt */
    uint64_t silent_ns;  /* when the current attempt ends, UINT64_MAX: with the deadline */
    ev_timer timer;
    int tries;
    int unanswered; /* copies on their way that nobody has said anything of */
    bool is_backing_off;
    bool is_refused;            /* the newest attempt met no responders or no connection */
    bool is_wait;               /* done takes the message over */
    bool is_receipt, is_shared; /* its answer may be, and is, one for several requests */
    faas_rpc_done *done;
    bool (*is_gone)(void *arg);
    void *arg;
    faas_err failure; /* of a call that ends before it began */
};

static void send_attempt(struct pending *p);

void faas_rpc_ref(faas_rpc *rpc)
{
    atomic_fetch_add(&rpc->refs, 1);
}

void faas_rpc_unref(faas_rpc *rpc)
{
    if (atomic_fetch_sub(&rpc->refs, 1) != 1)
        return;
    faas_rpc_once_free(rpc->once);
    free(rpc);
}

/* ---- tokens ---- */

static struct faas_rpc_slots *bucket_of(faas_rpc *rpc, const char *token)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (; *token != '\0'; token++)
        hash = (hash ^ (unsigned char)*token) * 16777619u;
    return &rpc->slots[hash & (FAAS_RPC_BUCKETS - 1)];
}

void faas_rpc_slot_add(faas_rpc *rpc, struct faas_rpc_slot *slot)
{
    LIST_INSERT_HEAD(bucket_of(rpc, slot->token), slot, link);
}

static struct faas_rpc_slot *slot_find(faas_rpc *rpc, const char *token)
{
    struct faas_rpc_slot *slot;

    LIST_FOREACH (slot, bucket_of(rpc, token), link) {
        if (strcmp(slot->token, token) == 0)
            return slot;
    }
    return NULL;
}

/* ---- the end of a call ---- */

/* The caller has taken p out of the table. */
static void conclude(struct pending *p, faas_code code, const faas_err *err, faas_msg *take_msg)
{
    faas_rpc *rpc = p->rpc;
    struct faas_rpc_reply reply = {
        .code = code, .err = err, .msg = take_msg, .may_be_done = p->unanswered > 0};

    p->done(p->arg, &reply);
    if (!p->is_shared && (!p->is_wait || code != FAAS_OK))
        faas_msg_free(take_msg);
    free(p);
    faas_rpc_unref(rpc);
}

static void finish(struct pending *p, faas_code code, const faas_err *err, faas_msg *take_msg)
{
    LIST_REMOVE(&p->slot, link);
    ev_timer_stop(faas_loop_ev(p->rpc->loop), &p->timer);
    conclude(p, code, err, take_msg);
}

static void conclude_failed(void *arg)
{
    struct pending *p = arg;

    conclude(p, p->failure.code, &p->failure, NULL);
}

/* Out of the table at once, done from the mailbox: never inside faas_rpc_call(). */
static void finish_soon(struct pending *p)
{
    LIST_REMOVE(&p->slot, link);
    ev_timer_stop(faas_loop_ev(p->rpc->loop), &p->timer);
    faas_loop_post_with(p->rpc->loop, &p->post, conclude_failed, p);
}

static bool is_gone(const struct pending *p)
{
    return p->is_gone != NULL && p->unanswered > 0 && p->is_gone(p->arg);
}

static void finish_late(struct pending *p)
{
    faas_err err = {0};

    if (faas_now_ns() < p->ctx.deadline_ns && is_gone(p))
        faas_fail(&err, FAAS_LOST, "the instance that had the request is gone");
    else if (p->is_refused)
        faas_fail(&err, FAAS_UNAVAILABLE, "the service is not reachable at the moment");
    else
        faas_fail(&err, FAAS_TIMEOUT, "no answer in time");
    faas_err_detail(&err, "%s, %d tries", p->subject, p->tries);
    finish(p, err.code, &err, NULL);
}

/* ---- replies ---- */

static faas_code code_from_number(int64_t number)
{
    for (faas_code code = FAAS_OK + 1; code < FAAS_CODE_END; code++) {
        if (faas_code_status(code) == number)
            return code;
    }
    return number >= 400 && number < 500 ? FAAS_INVALID : FAAS_INTERNAL;
}

/* A slug of a later version says less than the status beside it. */
static faas_code code_of(const char *slug, int64_t number)
{
    faas_code code = slug != NULL ? faas_code_from_slug(slug) : FAAS_INTERNAL;

    return code == FAAS_INTERNAL ? code_from_number(number) : code;
}

/* FAAS_OK when the message is an answer and not a service error. */
static faas_code error_of(const faas_msg *msg, const char *subject, faas_err *err)
{
    const char *text = faas_msg_header(msg, FAAS_H_SERVICE_ERR);
    const char *slug = faas_msg_header(msg, FAAS_H_CODE);
    const char *component = faas_msg_header(msg, FAAS_H_COMPONENT);
    int64_t number = faas_msg_header_int(msg, FAAS_H_SERVICE_NUM, 0);

    if (text == NULL && number == 0)
        return FAAS_OK;
    faas_fail(err, code_of(slug, number), "%s", text != NULL ? text : "error without text");
    err->retry_after_s = (int)faas_msg_header_int(msg, FAAS_H_RETRY_AFTER, 0);
    return faas_err_detail(err, "answered by %s on %s", component != NULL ? component : "?",
                           subject);
}

static uint64_t backoff_ns(struct pending *p)
{
    uint64_t *x = &p->rpc->random;
    uint64_t ms = p->tries < 6 ? UINT64_C(1) << p->tries : BACKOFF_MAX_MS;

    *x ^= *x << 13; /* xorshift64: jitter needs no secrecy */
    *x ^= *x >> 7;
    *x ^= *x << 17;
    if (ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    return ms * FAAS_MS_NS / 2 + *x % (ms * FAAS_MS_NS / 2 + 1);
}

static void arm(struct pending *p)
{
    uint64_t at = p->silent_ns < p->ctx.deadline_ns ? p->silent_ns : p->ctx.deadline_ns;
    struct ev_loop *ev = faas_loop_ev(p->rpc->loop);

    ev_timer_stop(ev, &p->timer);
    if (at == UINT64_MAX)
        return;
    ev_timer_set(&p->timer, faas_rpc_seconds_until(at, faas_now_ns()), 0.0);
    ev_timer_start(ev, &p->timer);
}

static void back_off(struct pending *p)
{
    p->is_refused = true;
    p->is_backing_off = true;
    p->silent_ns = faas_now_ns() + backoff_ns(p);
    arm(p);
}

static void on_no_responders(struct pending *p)
{
    if (p->retry == FAAS_RPC_SAFE) {
        if (!p->is_backing_off)
            back_off(p);
        return;
    }
    p->is_refused = true;
    if (p->retry == FAAS_RPC_SAME && p->unanswered > 0)
        back_off(p);
    else
        finish_late(p);
}

static void take_reply(struct pending *p, faas_msg *take_msg)
{
    faas_err err = {0};
    faas_code rc;

    p->unanswered--;
    if (faas_msg_is_no_responders(take_msg)) {
        faas_msg_free(take_msg);
        on_no_responders(p);
        return;
    }
    rc = error_of(take_msg, p->subject, &err);
    finish(p, rc, &err, take_msg);
}

void faas_rpc_receipt(faas_rpc *rpc, const char *token, faas_msg *msg)
{
    struct faas_rpc_slot *slot = slot_find(rpc, token);
    struct pending *p = (struct pending *)slot;
    faas_err err = {0};

    if (slot == NULL || slot->is_inbox || !p->is_receipt)
        return;
    p->is_shared = true;
    finish(p, FAAS_OK, &err, msg);
}

void faas_rpc_on_inbox(void *arg, faas_msg *take_msg)
{
    faas_rpc *rpc = arg;
    const char *token = strrchr(faas_msg_subject(take_msg), '.');
    struct faas_rpc_slot *slot = token != NULL ? slot_find(rpc, token + 1) : NULL;

    if (token != NULL && faas_rpc_receipts_are(token + 1)) {
        faas_rpc_receipts_take(rpc, take_msg);
        faas_msg_free(take_msg);
    } else if (slot == NULL) {
        faas_msg_free(take_msg); /* late: its call has ended */
    } else if (slot->is_inbox) {
        struct faas_inbox *inbox = (struct faas_inbox *)slot;

        inbox->handler(inbox->arg, take_msg);
    } else {
        take_reply((struct pending *)slot, take_msg);
    }
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct pending *p = timer->data;
    uint64_t now = faas_now_ns();

    (void)ev;
    (void)events;
    if (now >= p->ctx.deadline_ns || (now >= p->silent_ns && is_gone(p))) {
        finish_late(p);
    } else if (now >= p->silent_ns) {
        if (!p->is_backing_off)
            p->is_refused = false;
        send_attempt(p);
    } else {
        arm(p);
    }
}

/* ---- sending ---- */

static const char *some(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static faas_code publish_attempt(struct pending *p, faas_err *err)
{
    faas_rpc *rpc = p->rpc;
    struct faas_header headers[7 + HEADERS_MAX + 1];
    char reply[160], left[NUMBER_TEXT];
    size_t n = 0;
    struct faas_out out = {
        .subject = p->subject, .reply = reply, .headers = headers, .data = p->data, .len = p->len};

    (void)snprintf(reply, sizeof reply, "%s.%s", rpc->inbox[p->lane], p->slot.token);
    (void)snprintf(left, sizeof left, "%" PRId64, faas_left_ms(p->ctx.deadline_ns));
    headers[n++] = (struct faas_header){FAAS_H_PROTO, FAAS_PROTO};
    headers[n++] = (struct faas_header){FAAS_H_ID, some(p->ctx.id)};
    headers[n++] = (struct faas_header){FAAS_H_USER, some(p->ctx.user)};
    headers[n++] = (struct faas_header){FAAS_H_TENANT, some(p->ctx.tenant)};
    headers[n++] = (struct faas_header){FAAS_H_TRACE, some(p->ctx.traceparent)};
    headers[n++] =
        (struct faas_header){FAAS_H_TIME_LEFT, p->ctx.deadline_ns != UINT64_MAX ? left : NULL};
    headers[n++] = (struct faas_header){FAAS_H_RECEIPTS, p->is_receipt ? "many" : NULL};
    for (size_t i = 0; p->headers[i].name != NULL; i++)
        headers[n++] = p->headers[i];
    headers[n] = (struct faas_header){NULL, NULL};
    return faas_bus_publish(rpc->bus, p->lane, &out, err);
}

static void send_attempt(struct pending *p)
{
    faas_code rc = publish_attempt(p, &p->failure);

    p->tries++;
    if (rc == FAAS_UNAVAILABLE &&
        (p->retry == FAAS_RPC_SAFE || (p->retry == FAAS_RPC_SAME && p->unanswered > 0))) {
        back_off(p);
        return;
    }
    if (rc != FAAS_OK) {
        finish_soon(p);
        return;
    }
    p->unanswered++;
    p->is_backing_off = false;
    p->silent_ns = p->retry != FAAS_RPC_ONCE ? faas_now_ns() + p->attempt_ns : UINT64_MAX;
    arm(p);
}

static void fail_cancelled(struct pending *p)
{
    faas_fail(&p->failure, FAAS_UNAVAILABLE, "the service is shutting down");
    faas_err_detail(&p->failure, "%s", p->subject);
}

static void begin(void *arg)
{
    struct pending *p = arg;
    faas_rpc *rpc = p->rpc;

    (void)snprintf(p->slot.token, sizeof p->slot.token, "%016" PRIx64, rpc->next_token++);
    faas_rpc_slot_add(rpc, &p->slot);
    if (p->failure.code == FAAS_OK && atomic_load(&rpc->is_cancelled))
        fail_cancelled(p);
    if (p->failure.code != FAAS_OK)
        finish_soon(p);
    else
        send_attempt(p);
}

/* A connection came back: what was on its way over the old one may be lost. */
void faas_rpc_resend(faas_rpc *rpc, enum faas_lane lane)
{
    struct faas_rpc_slot *slot, *next;

    for (size_t i = 0; i < FAAS_RPC_BUCKETS; i++) {
        for (slot = LIST_FIRST(&rpc->slots[i]); slot != NULL; slot = next) {
            struct pending *p = (struct pending *)slot;

            next = LIST_NEXT(slot, link);
            if (!slot->is_inbox && p->lane == lane && p->retry != FAAS_RPC_ONCE)
                send_attempt(p);
        }
    }
}

/* ---- making a call ---- */

static size_t extra_size(const struct faas_header *headers)
{
    size_t size = 0;

    for (; headers != NULL && headers->name != NULL; headers++)
        size +=
            strlen(headers->name) + 1 + (headers->value != NULL ? strlen(headers->value) + 1 : 0);
    return size;
}

static char *keep(char **at, const void *bytes, size_t len)
{
    char *kept = *at;

    if (len > 0)
        memcpy(kept, bytes, len);
    *at += len;
    return kept;
}

static void copy_headers(struct pending *p, const struct faas_header *headers, char **at)
{
    size_t n = 0;

    for (; headers != NULL && headers->name != NULL; headers++) {
        if (headers->value == NULL)
            continue;
        if (n == HEADERS_MAX) {
            faas_fail(&p->failure, FAAS_INTERNAL, "internal error");
            faas_err_detail(&p->failure, "more than %d headers on %s", HEADERS_MAX, p->subject);
            return;
        }
        p->headers[n].name = keep(at, headers->name, strlen(headers->name) + 1);
        p->headers[n].value = keep(at, headers->value, strlen(headers->value) + 1);
        n++;
    }
}

static struct pending *pending_new(faas_rpc *rpc, const struct faas_rpc_request *req)
{
    size_t subject_size = strlen(req->subject) + 1;
    struct pending *p = calloc(1, sizeof *p + subject_size + extra_size(req->headers) + req->len);
    char *at = (char *)(p + 1);

    if (p == NULL)
        return NULL;
    p->rpc = rpc;
    p->ctx = *req->ctx;
    p->subject = keep(&at, req->subject, subject_size);
    copy_headers(p, req->headers, &at);
    p->data = keep(&at, req->data, req->len);
    p->len = req->len;
    p->lane = req->lane;
    p->retry = req->retry;
    p->is_gone = req->is_gone;
    p->is_receipt = req->is_receipt;
    p->attempt_ns = (uint64_t)(req->attempt_ms > 0 ? req->attempt_ms : ATTEMPT_MS) * FAAS_MS_NS;
    ev_init(&p->timer, on_timer);
    p->timer.data = p;
    return p;
}

/* A call for which there was no memory: done still runs once, later. */
struct orphan {
    faas_rpc_done *done;
    void *arg;
};

static void orphan_done(void *arg)
{
    struct orphan *orphan = arg;
    faas_err err = {0};
    struct faas_rpc_reply reply = {.err = &err};

    reply.code = faas_fail_sys(&err, ENOMEM, "make a request");
    orphan->done(orphan->arg, &reply);
    free(orphan);
}

static void call_orphaned(faas_rpc *rpc, faas_rpc_done *done, void *arg)
{
    struct orphan *orphan = malloc(sizeof *orphan);

    if (orphan == NULL)
        abort(); /* as faas_loop_post(): a caller left waiting for ever would be worse */
    *orphan = (struct orphan){done, arg};
    faas_loop_post(rpc->loop, orphan_done, orphan);
}

static void call(faas_rpc *rpc, struct pending *take_p)
{
    faas_rpc_ref(rpc);
    if (faas_loop_is_own_thread(rpc->loop))
        begin(take_p);
    else
        faas_loop_post_with(rpc->loop, &take_p->post, begin, take_p);
}

void faas_rpc_call(faas_rpc *rpc, const struct faas_rpc_request *req, faas_rpc_done *done,
                   void *arg)
{
    struct pending *p = pending_new(rpc, req);

    if (p == NULL) {
        call_orphaned(rpc, done, arg);
        return;
    }
    p->done = done;
    p->arg = arg;
    call(rpc, p);
}

struct waiter {
    pthread_mutex_t mu;
    pthread_cond_t woken;
    bool is_done;
    faas_err err;
    faas_code code;
    faas_msg *msg;
};

static void wake(void *arg, const struct faas_rpc_reply *reply)
{
    struct waiter *w = arg;

    pthread_mutex_lock(&w->mu);
    w->code = reply->code;
    w->err = *reply->err;
    w->msg = reply->code == FAAS_OK ? reply->msg : NULL;
    w->is_done = true;
    pthread_cond_signal(&w->woken);
    pthread_mutex_unlock(&w->mu);
}

faas_code faas_rpc_wait(faas_rpc *rpc, const struct faas_rpc_request *req, faas_msg **out_msg,
                        faas_err *err)
{
    struct waiter w = {.mu = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER};
    struct pending *p;

    if (faas_loop_is_own_thread(rpc->loop)) {
        faas_fail(err, FAAS_INTERNAL, "internal error");
        return faas_err_detail(err, "blocking request %s on the loop thread", req->subject);
    }
    p = pending_new(rpc, req);
    if (p == NULL)
        return faas_fail_sys(err, ENOMEM, "make a request");
    p->is_wait = true;
    p->is_receipt = false; /* its message is its own */
    p->done = wake;
    p->arg = &w;
    call(rpc, p);
    pthread_mutex_lock(&w.mu);
    while (!w.is_done) /* bounded: done runs at the request's deadline */
        pthread_cond_wait(&w.woken, &w.mu);
    pthread_mutex_unlock(&w.mu);
    pthread_cond_destroy(&w.woken);
    pthread_mutex_destroy(&w.mu);
    if (w.code != FAAS_OK) {
        if (err != NULL)
            *err = w.err;
        return w.code;
    }
    *out_msg = w.msg;
    return FAAS_OK;
}

/* ---- the end of all ---- */

bool faas_rpc_is_cancelled(const faas_rpc *rpc)
{
    return atomic_load(&rpc->is_cancelled);
}

void faas_rpc_cancel_all(faas_rpc *rpc)
{
    struct faas_rpc_slot *slot, *next;

    atomic_store(&rpc->is_cancelled, true);
    for (size_t i = 0; i < FAAS_RPC_BUCKETS; i++) {
        for (slot = LIST_FIRST(&rpc->slots[i]); slot != NULL; slot = next) {
            next = LIST_NEXT(slot, link);
            if (!slot->is_inbox) {
                fail_cancelled((struct pending *)slot);
                finish_soon((struct pending *)slot);
            }
        }
    }
}

/* done runs here and not from the mailbox: nobody may run the loop again. */
void faas_rpc_conclude_all(faas_rpc *rpc)
{
    atomic_store(&rpc->is_cancelled, true);
    for (size_t i = 0; i < FAAS_RPC_BUCKETS; i++) {
        struct faas_rpc_slot *slot, *next;

        for (slot = LIST_FIRST(&rpc->slots[i]); slot != NULL; slot = next) {
            struct pending *p = (struct pending *)slot;

            next = LIST_NEXT(slot, link);
            if (slot->is_inbox)
                continue;
            fail_cancelled(p);
            finish(p, p->failure.code, &p->failure, NULL);
            next = LIST_FIRST(&rpc->slots[i]); /* done may have closed inboxes next to it */
            while (next != NULL && next->is_inbox)
                next = LIST_NEXT(next, link);
        }
    }
}
