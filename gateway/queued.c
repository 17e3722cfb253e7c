#include "gateway/queued.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "contract.h"
#include "gateway/forward.h"
#include "gateway/invoke_internal.h"
#include "gateway/params.h"
#include "gateway/problem.h"

#define OWNER_AGE_MS 1000
#define SEARCH_MS    3000 /* for a publisher that listens */
#define SEARCH_GAP_S 0.05
#define STORE_MS     17000 /* a publisher gives its write 15 s */
#define AGAIN_MS     2000  /* of silence, before it is sent again: it or its answer may be lost */

struct queued {
    TAILQ_ENTRY(queued) link;
    struct gateway *gw;
    http_exchange *x;
    struct invoke *inv; /* envelope and key; never sent as a call */
    char owner[40], epoch[33];
    uint32_t attempt;
    uint64_t search_until_ns, store_until_ns;
    bool may_be_there; /* its owner may have it: nobody else is asked while that one lives */
    ev_timer again;
    struct try *try; /* the request under way; NULL: none that counts */
};
struct
try { /* outlives its call when another owner is asked */
    struct queued *queued;
};

static void send(struct queued *q);

static void queued_free(struct queued *q)
{
    invoke_free(q->inv);
    free(q);
}

static void end(struct queued *q)
{
    ev_timer_stop(faas_loop_ev(q->gw->rt->loop), &q->again);
    if (q->try != NULL)
        q->try->queued = NULL;
    TAILQ_REMOVE(&q->gw->queued, q, link);
    queued_free(q);
}

static void fail(struct queued *q, faas_code code, const char *text)
{
    faas_err err = {0};

    (void)faas_fail(&err, code, "%s", text);
    problem_from_err(q->x, &err, "publisher");
    end(q);
}

/* The call that this one repeats, or this one. */
static void take_call_id(struct queued *q, const faas_msg *msg)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *id;

    if (faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, NULL) != FAAS_OK)
        return;
    id = json_string_value(json_object_get(doc, "call_id"));
    if (id != NULL && faas_uuid_is(id))
        memcpy(q->x->id, id, FAAS_UUID_TEXT);
}

/* A synchronous call with a key: its client waits for the kept result. */
static void wait_for_result(struct queued *q)
{
    struct gateway *gw = q->gw;
    http_exchange *x = q->x;

    end(q);
    queued_wait(gw, x);
}

static void accept(struct queued *q)
{
    FAAS_AUTO(json_t) *doc = json_pack("{s:s}", "call_id", q->x->id);
    char *text;
    size_t len = 0;

    text = doc != NULL ? faas_json_text(doc, &len) : NULL;
    http_header(q->x, "Location", "/v1/calls/%s", q->x->id);
    http_answer_bytes(q->x, q->x->match.route->status, "application/json", text, len);
    end(q);
}

static void publish(struct queued *q);

static void sleep_a_moment(struct queued *q)
{
    ev_timer_set(&q->again, SEARCH_GAP_S, 0.0);
    ev_timer_start(faas_loop_ev(q->gw->rt->loop), &q->again);
}

static void search_again(struct queued *q)
{
    if (faas_now_ns() >= q->search_until_ns || q->gw->is_stopped) {
        fail(q, FAAS_UNAVAILABLE,
             "no publisher can be reached at the moment; the call was not queued, try again");
        return;
    }
    sleep_a_moment(q);
}

/* No answer, or nobody listens at the moment, and it may have been heard before. */
static void publish_again(struct queued *q, bool is_at_once)
{
    q->may_be_there = true;
    if (faas_now_ns() >= q->store_until_ns)
        fail(q, FAAS_TIMEOUT,
             "the queue did not confirm the call in time; it may be queued all the same: look at "
             "GET /v1/calls/ID of this call_id before sending it again");
    else if (is_at_once)
        publish(q);
    else
        sleep_a_moment(q);
}

static void on_again(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct queued *q = timer->data;

    (void)ev;
    (void)events;
    if (q->may_be_there)
        publish(q);
    else
        send(q);
}

static void on_reply(void *arg, const struct faas_rpc_reply *reply)
{
    FAAS_AUTO(void) *owned = arg;
    struct try *try = arg;
    struct queued *q = try->queued;

    if (q == NULL)
        return;
    q->try = NULL;
    if (reply->code == FAAS_OK) {
        take_call_id(q, reply->msg);
        if (q->x->match.route->what == GW_ASYNC)
            accept(q);
        else
            wait_for_result(q);
    } else if (reply->code == FAAS_UNAVAILABLE && reply->msg == NULL) {
        if (q->may_be_there)
            publish_again(q, false);
        else
            search_again(q); /* nobody listens there */
    } else if (reply->code == FAAS_TIMEOUT) {
        publish_again(q, true);
    } else {
        problem_from_err(q->x, reply->err, "publisher");
        end(q);
    }
}

static void publish(struct queued *q)
{
    char subject[FAAS_SUBJECT_MAX], attempt[12];
    const struct faas_header headers[] = {{FAAS_H_ATTEMPT, attempt}, {NULL, NULL}};
    struct faas_ctx ctx = {.id = ""};
    struct faas_rpc_request req = {.subject = subject,
                                   .headers = headers,
                                   .ctx = &ctx,
                                   .data = q->inv->envelope,
                                   .len = q->inv->envelope_len,
                                   .lane = FAAS_DATA,
                                   .retry = FAAS_RPC_ONCE};

    q->try = malloc(sizeof *q->try);
    if (q->try == NULL || !faas_subject(subject, FAAS_SUBJ_PUBLISHER_QUEUE, q->owner)) {
        fail(q, FAAS_INTERNAL, "internal error");
        return;
    }
    q->try->queued = q;
    forward_fill_ctx(&ctx, q->x);
    ctx.deadline_ns = faas_deadline_in_ms(AGAIN_MS);
    if (ctx.deadline_ns > q->store_until_ns)
        ctx.deadline_ns = q->store_until_ns;
    (void)snprintf(attempt, sizeof attempt, "%" PRIu32, ++q->attempt);
    faas_rpc_call(q->gw->rt->rpc, &req, on_reply, q->try);
}

static void send(struct queued *q)
{
    const struct faas_member *owner =
        faas_members_owner(q->gw->rt->members, "publisher", q->inv->key, OWNER_AGE_MS);

    if (owner == NULL) {
        search_again(q);
        return;
    }
    if (q->inv->is_picked && owner->level < FAAS_LEVEL_VERSIONS) {
        fail(q, FAAS_UNAVAILABLE, INVOKE_OLDER);
        return;
    }
    (void)snprintf(q->owner, sizeof q->owner, "%s", owner->id);
    (void)snprintf(q->epoch, sizeof q->epoch, "%s", owner->epoch);
    q->store_until_ns = faas_deadline_in_ms(STORE_MS);
    publish(q);
}

/* What a dead publisher stored, the next one finds. */
void queued_on_member(struct gateway *gw, const struct faas_member *member,
                      enum faas_member_change change)
{
    struct queued *q, *next;

    if (change == FAAS_MEMBER_JOINED || strcmp(member->service, "publisher") != 0)
        return;
    for (q = TAILQ_FIRST(&gw->queued); q != NULL; q = next) {
        next = TAILQ_NEXT(q, link);
        if ((q->try == NULL && !q->may_be_there) || strcmp(q->owner, member->id) != 0 ||
            (change == FAAS_MEMBER_RESTARTED && strcmp(q->epoch, member->epoch) == 0))
            continue;
        if (q->try != NULL)
            FAAS_STEAL(q->try)->queued = NULL;
        ev_timer_stop(faas_loop_ev(gw->rt->loop), &q->again);
        q->may_be_there = false;
        q->search_until_ns = faas_deadline_in_ms(SEARCH_MS);
        search_again(q);
    }
}

/* ---- life ---- */

static void start(http_exchange *x)
{
    struct queued *q = x->state;

    TAILQ_INSERT_TAIL(&q->gw->queued, q, link);
    ev_init(&q->again, on_again);
    q->again.data = q;
    q->search_until_ns = faas_deadline_in_ms(SEARCH_MS);
    if (q->gw->is_stopped)
        fail(q, FAAS_UNAVAILABLE, "the gateway is shutting down");
    else
        send(q);
}

void queued_begin(struct gateway *gw, http_exchange *x)
{
    struct queued *q = calloc(1, sizeof *q);
    faas_err err = {0};

    if (q == NULL || invoke_new(gw, x, &q->inv, &err) != FAAS_OK) {
        if (q == NULL)
            (void)faas_fail_sys(&err, errno, "queue a call");
        free(q);
        problem_from_err(x, &err, NULL);
        return;
    }
    q->gw = gw;
    q->x = x;
    x->state = q;
    if (http_defer(x, start))
        return;
    queued_free(q);
    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    problem_from_err(x, &err, NULL);
}

void queued_stop(struct gateway *gw)
{
    struct queued *q;

    while ((q = TAILQ_FIRST(&gw->queued)) != NULL)
        fail(q, FAAS_TIMEOUT,
             "the gateway was stopped before the queue confirmed the call; it may be queued");
}

/* ---- ids and questions ---- */

faas_code queued_take_id(http_exchange *x, faas_err *err)
{
    const char *id = x->match.params[0].value;

    if (!faas_uuid_is(id))
        return faas_fail(err, FAAS_NOT_FOUND, "no call has this id");
    memcpy(x->id, id, FAAS_UUID_TEXT);
    return FAAS_OK;
}

static faas_code read_wait(const json_t *query, int64_t *out_wait_ms, faas_err *err)
{
    const char *key;
    json_t *value;

    *out_wait_ms = 0;
    json_object_foreach ((json_t *)(uintptr_t)query, key, value) {
        const char *text = json_string_value(value);
        size_t digits = strspn(text, "0123456789");

        if (strcmp(key, "wait") != 0)
            return faas_fail(err, FAAS_INVALID, "%s: unknown parameter; there is \"wait\"", key);
        if (digits == 0 || digits > 4 || text[digits] != '\0' ||
            strtol(text, NULL, 10) > QUEUED_WAIT_S_MAX)
            return faas_fail(err, FAAS_INVALID, "wait: seconds, 0 to %d", QUEUED_WAIT_S_MAX);
        *out_wait_ms = strtol(text, NULL, 10) * 1000;
    }
    return FAAS_OK;
}

faas_code queued_question(const http_exchange *x, int64_t *out_wait_ms, faas_err *err)
{
    FAAS_AUTO(json_t) *query = NULL;

    if (x->body_len > 0)
        return faas_fail(err, FAAS_INVALID, "parameters of this request go in its query");
    FAAS_TRY(gw_query_json(x->query, &query, err));
    return read_wait(query, out_wait_ms, err);
}
