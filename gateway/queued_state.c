/* GET /v1/calls/ID[?wait=SECONDS] and DELETE /v1/calls/ID of queued calls: questions to publishers,
 * asked again until there is an answer or the time is up. */
#include "gateway/queued.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "contract.h"
#include "gateway/forward.h"
#include "gateway/problem.h"

#define PART_MS   5000 /* of a long wait: whoever is asked may die meanwhile */
#define SLACK_MS  6000 /* for looking in the store, an election excepted */
#define SEARCH_MS 3000
#define AGAIN_S   0.1
#define CANCEL_MS 15000 /* for all publishers: nothing runs afterwards */
#define TAKEN_MS  12000 /* until another publisher has taken over a dead one's calls */
#define TAKEN_S   0.3

struct question {
    TAILQ_ENTRY(question) link;
    struct gateway *gw;
    http_exchange *x;
    bool is_cancel;
    bool is_result;           /* a caller waits for it */
    uint64_t until_ns;        /* end of the client's own wait, or of the search for the call */
    uint64_t search_until_ns; /* for a publisher that listens */
    size_t out;               /* cancels under way */
    bool is_cancelled, is_done, is_doubtful;
    ev_timer again;
};

static void ask(struct question *q);
static void ask_all(struct question *q);

static void end(struct question *q)
{
    ev_timer_stop(faas_loop_ev(q->gw->rt->loop), &q->again);
    TAILQ_REMOVE(&q->gw->questions, q, link);
    free(q);
}

static void fail(struct question *q, faas_code code, const char *text)
{
    faas_err err = {0};

    (void)faas_fail(&err, code, "%s", text);
    problem_from_err(q->x, &err, "publisher");
    end(q);
}

static void later(struct question *q, double s)
{
    ev_timer_set(&q->again, s, 0.0);
    ev_timer_start(faas_loop_ev(q->gw->rt->loop), &q->again);
}

static void on_again(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct question *q = timer->data;

    (void)ev;
    (void)events;
    if (q->is_cancel)
        ask_all(q);
    else
        ask(q);
}

static bool has_ended(const json_t *doc)
{
    const char *status = json_string_value(json_object_get(doc, "status"));

    return status != NULL && strcmp(status, "queued") != 0 && strcmp(status, "running") != 0;
}

/* ---- state ---- */

static void answer(struct question *q, const faas_msg *msg)
{
    size_t len = faas_msg_len(msg);
    char *copy = malloc(len + 1);

    if (copy == NULL) {
        fail(q, FAAS_INTERNAL, "internal error");
        return;
    }
    memcpy(copy, faas_msg_data(msg), len);
    http_answer_bytes(q->x, q->x->match.route->status, "application/json", copy, len);
    end(q);
}

/* A cancel found nobody who has the call: what does the store say? */
static void decide_cancel(struct question *q, const json_t *doc)
{
    if (has_ended(doc))
        fail(q, FAAS_CONFLICT, "the call has ended already");
    else if (faas_now_ns() < q->until_ns)
        later(q, TAKEN_S); /* its publisher died, or its end is being stored */
    else
        fail(q, FAAS_UNAVAILABLE,
             "the call's publisher is gone and no other one has taken the "
             "call over yet; try again");
}

static void go_for_result(struct question *q)
{
    struct gateway *gw = q->gw;
    http_exchange *x = q->x;

    end(q);
    result_answer(gw, x);
}

static void ask_registry(struct question *q)
{
    struct gateway *gw = q->gw;
    http_exchange *x = q->x;

    end(q);
    x->query = NULL; /* it was ours */
    forward_begin(gw, x);
}

static void on_state(void *arg, const struct faas_rpc_reply *reply)
{
    struct question *q = arg;
    FAAS_AUTO(json_t) *doc = NULL;

    if (q->x == NULL) {
        free(q);
        return;
    }
    if ((reply->code == FAAS_UNAVAILABLE && reply->msg == NULL) || reply->code == FAAS_TIMEOUT) {
        if (faas_now_ns() < q->search_until_ns)
            later(q, AGAIN_S);
        else
            fail(q, FAAS_UNAVAILABLE, "no publisher can be reached at the moment; try again");
        return;
    }
    if (reply->code == FAAS_NOT_FOUND && q->is_result) {
        fail(q, FAAS_CONFLICT,
             "this key was used for a call that has ended, and whose result is no longer kept");
        return;
    }
    if (reply->code == FAAS_NOT_FOUND && !q->is_cancel) {
        ask_registry(q);
        return;
    }
    if (reply->code != FAAS_OK) {
        problem_from_err(q->x, reply->err, "publisher");
        end(q);
        return;
    }
    q->search_until_ns = faas_deadline_in_ms(SEARCH_MS);
    if (faas_json_parse(faas_msg_data(reply->msg), faas_msg_len(reply->msg), false, &doc, NULL) !=
        FAAS_OK)
        fail(q, FAAS_INTERNAL, "internal error");
    else if (q->is_cancel)
        decide_cancel(q, doc);
    else if (has_ended(doc) && q->is_result)
        go_for_result(q);
    else if (faas_now_ns() >= q->until_ns && q->is_result)
        fail(q, FAAS_TIMEOUT, "the call goes on: ask GET /v1/calls/ID of this call_id for it");
    else if (has_ended(doc) || faas_now_ns() >= q->until_ns)
        answer(q, reply->msg);
    else
        ask(q);
}

static void ask(struct question *q)
{
    int64_t wait_ms = q->is_cancel ? 0 : faas_left_ms(q->until_ns);
    struct faas_ctx ctx = {.id = ""};
    struct faas_rpc_request req = {.subject = FAAS_SUBJ_PUBLISHER_STATE,
                                   .ctx = &ctx,
                                   .lane = FAAS_DATA,
                                   .retry = FAAS_RPC_ONCE};
    FAAS_AUTO(json_t) *body = NULL;
    FAAS_AUTO(char) *text = NULL;

    if (wait_ms > PART_MS)
        wait_ms = PART_MS;
    body = json_pack("{s:i, s:s, s:I}", "v", 1, "id", q->x->id, "wait_ms", (json_int_t)wait_ms);
    text = body != NULL ? faas_json_text(body, &req.len) : NULL;
    if (text == NULL) {
        fail(q, FAAS_INTERNAL, "internal error");
        return;
    }
    req.data = text;
    forward_fill_ctx(&ctx, q->x);
    ctx.deadline_ns = faas_deadline_in_ms(wait_ms + SLACK_MS);
    faas_rpc_call(q->gw->rt->rpc, &req, on_state, q);
}

/* ---- cancel ---- */

static void all_answered(struct question *q)
{
    if (q->is_cancelled) {
        http_answer_bytes(q->x, q->x->match.route->status, NULL, NULL, 0);
        end(q);
    } else {
        ask(q); /* ended, or its publisher has just died */
    }
}

static void on_cancelled(void *arg, const struct faas_rpc_reply *reply)
{
    struct question *q = arg;
    FAAS_AUTO(json_t) *doc = NULL;
    const char *state = NULL;

    q->out--;
    if (q->x == NULL) {
        if (q->out == 0)
            free(q);
        return;
    }
    if (reply->code == FAAS_OK &&
        faas_json_parse(faas_msg_data(reply->msg), faas_msg_len(reply->msg), false, &doc, NULL) ==
            FAAS_OK)
        state = json_string_value(json_object_get(doc, "state"));
    if (state != NULL && strcmp(state, "cancelled") == 0)
        q->is_cancelled = true;
    if (q->out == 0)
        all_answered(q);
}

static void ask_one(struct question *q, const char *publisher, const char *text)
{
    char subject[FAAS_SUBJECT_MAX];
    struct faas_ctx ctx = {.id = ""};
    struct faas_rpc_request req = {.subject = subject,
                                   .ctx = &ctx,
                                   .data = text,
                                   .len = strlen(text),
                                   .lane = FAAS_CONTROL,
                                   .retry = FAAS_RPC_ONCE};

    if (!faas_subject(subject, FAAS_SUBJ_PUBLISHER_CANCEL, publisher))
        return;
    forward_fill_ctx(&ctx, q->x);
    ctx.deadline_ns = faas_deadline_in_ms(CANCEL_MS);
    q->out++;
    faas_rpc_call(q->gw->rt->rpc, &req, on_cancelled, q);
}

/* Whoever holds it: only that one compares the tenant (DESIGN.md 4.10). */
static void ask_all(struct question *q)
{
    const struct faas_member *member;
    FAAS_AUTO(json_t) *body =
        json_pack("{s:i, s:s, s:s}", "v", 1, "id", q->x->id, "reason", "cancelled");
    FAAS_AUTO(char) *text = body != NULL ? faas_json_text(body, NULL) : NULL;

    if (text == NULL) {
        fail(q, FAAS_INTERNAL, "internal error");
        return;
    }
    for (size_t i = 0; (member = faas_members_at(q->gw->rt->members, "publisher", i)) != NULL; i++)
        if (!member->is_dead)
            ask_one(q, member->id, text);
    if (q->out == 0)
        all_answered(q);
}

/* ---- life ---- */

static void start(http_exchange *x)
{
    struct question *q = x->state;

    TAILQ_INSERT_TAIL(&q->gw->questions, q, link);
    ev_init(&q->again, on_again);
    q->again.data = q;
    q->search_until_ns = faas_deadline_in_ms(SEARCH_MS);
    if (q->gw->is_stopped)
        fail(q, FAAS_UNAVAILABLE, "the gateway is shutting down");
    else if (q->is_cancel)
        ask_all(q);
    else
        ask(q);
}

static faas_code make(http_exchange *x, struct question *q, faas_err *err)
{
    int64_t wait_ms = 0;

    FAAS_TRY(queued_take_id(x, err));
    FAAS_TRY(queued_question(x, &wait_ms, err));
    if (q->is_cancel && wait_ms > 0)
        return faas_fail(err, FAAS_INVALID, "wait: not a parameter of this request");
    q->until_ns = faas_deadline_in_ms(q->is_cancel ? TAKEN_MS : wait_ms);
    return FAAS_OK;
}

static void begin(struct gateway *gw, http_exchange *x, bool is_cancel)
{
    struct question *q = calloc(1, sizeof *q);
    faas_err err = {0};

    if (q == NULL) {
        (void)faas_fail_sys(&err, errno, "ask for a call");
        problem_from_err(x, &err, NULL);
        return;
    }
    *q = (struct question){.gw = gw, .x = x, .is_cancel = is_cancel};
    if (make(x, q, &err) == FAAS_OK) {
        x->state = q;
        if (http_defer(x, start))
            return;
        (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    }
    free(q);
    problem_from_err(x, &err, NULL);
}

void queued_wait(struct gateway *gw, http_exchange *x)
{
    struct question *q = calloc(1, sizeof *q);
    faas_err err = {0};

    if (q == NULL) {
        (void)faas_fail_sys(&err, errno, "wait for a call");
        problem_from_err(x, &err, NULL);
        return;
    }
    *q = (struct question){.gw = gw, .x = x, .is_result = true};
    q->until_ns = x->began_ns + (uint64_t)x->match.route->time_ms * FAAS_MS_NS;
    x->state = q;
    start(x);
}

bool queued_is_wait(const http_exchange *x)
{
    return x->query != NULL &&
           (strncmp(x->query, "wait", 4) == 0 || strstr(x->query, "&wait") != NULL);
}

void queued_state_begin(struct gateway *gw, http_exchange *x)
{
    begin(gw, x, false);
}

void cancel_begin(struct gateway *gw, http_exchange *x)
{
    begin(gw, x, true);
}

/* Requests under way end later, with nobody to tell. */
void queued_state_stop(struct gateway *gw)
{
    struct question *q;
    faas_err err = {0};

    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    while ((q = TAILQ_FIRST(&gw->questions)) != NULL) {
        bool is_asking = !ev_is_active(&q->again);

        ev_timer_stop(faas_loop_ev(gw->rt->loop), &q->again);
        TAILQ_REMOVE(&gw->questions, q, link);
        problem_from_err(q->x, &err, NULL);
        q->x = NULL;
        if (!is_asking)
            free(q);
    }
}
