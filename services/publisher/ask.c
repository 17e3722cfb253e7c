/* Questions to a spawner about one call: what became of it (fence), and stop it (cancel).
 * The call may end while a question is out, so answers find it again by id and placement. */
#include "publisher.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FENCE_MS          300
#define CANCEL_MS         3000 /* the container must be gone before the spawner answers */
#define FENCES_UNANSWERED 2
#define ASK_AGAIN_MS      100  /* after an answer that decides nothing */
#define DONE_GRACE_MS     1000 /* it ended by itself: its END is on the way */

struct ask {
    struct publisher *pub;
    char id[FAAS_UUID_TEXT];
    uint32_t place;
    void (*answered)(struct live *call, const struct faas_rpc_reply *reply);
};

static void on_reply(void *arg, const struct faas_rpc_reply *reply)
{
    struct ask *ask = arg;
    struct live *call = NULL;

    if (ask->pub->rt != NULL)
        call = (struct live *)book_find(&ask->pub->book, ask->id);
    if (call != NULL && call->place == ask->place && ask->answered != NULL)
        ask->answered(call, reply);
    free(ask);
}

static struct ask *ask_new(const struct live *call)
{
    struct ask *ask = calloc(1, sizeof *ask);

    if (ask == NULL)
        return NULL;
    ask->pub = call->pub;
    snprintf(ask->id, sizeof ask->id, "%s", call->page.id);
    ask->place = call->place;
    return ask;
}

static struct faas_ctx ctx_of(const struct live *call, int64_t ms)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(ms)};

    snprintf(ctx.id, sizeof ctx.id, "%s", call->page.id);
    snprintf(ctx.tenant, sizeof ctx.tenant, "%s", call->tenant);
    snprintf(ctx.traceparent, sizeof ctx.traceparent, "%s", call->trace);
    return ctx;
}

/* False: there was no memory to ask. */
static bool send_ask(const struct live *call, const char *pattern, const json_t *body, int64_t ms,
                     void (*answered)(struct live *call, const struct faas_rpc_reply *reply))
{
    const struct faas_header headers[] = {{FAAS_H_EPOCH, call->at.epoch}, {NULL, NULL}};
    struct faas_ctx ctx = ctx_of(call, ms);
    char subject[FAAS_SUBJECT_MAX];
    struct faas_rpc_request req = {.subject = subject,
                                   .ctx = &ctx,
                                   .headers = headers,
                                   .lane = FAAS_CONTROL,
                                   .retry = FAAS_RPC_ONCE};
    FAAS_AUTO(char) *text = body != NULL ? faas_json_text(body, &req.len) : NULL;
    struct ask *ask = text != NULL ? ask_new(call) : NULL;

    if (ask == NULL || !faas_subject(subject, pattern, call->at.id)) {
        free(ask);
        return false;
    }
    ask->answered = answered;
    req.data = text;
    faas_rpc_call(call->pub->rt->rpc, &req, on_reply, ask);
    return true;
}

/* The answer's "state", "" when there is none.  False: it comes from another process than the one
 * that was sent the call. */
static bool read_state(const struct live *call, const faas_msg *msg, char *out_state, size_t size)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *state, *epoch;
    faas_err err;

    out_state[0] = '\0';
    if (faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), true, &doc, &err) != FAAS_OK)
        return true;
    state = json_string_value(json_object_get(doc, "state"));
    epoch = json_string_value(json_object_get(doc, "epoch"));
    snprintf(out_state, size, "%s", state != NULL ? state : "");
    return epoch == NULL || strcmp(epoch, call->at.epoch) == 0;
}

static const struct faas_member *spawner_of(const struct live *call)
{
    return faas_members_find(call->pub->rt->members, "spawner", call->at.id);
}

/* ---- fence ---- */

void ask_never(struct live *call)
{
    struct place_answer answer = call->at;
    faas_err err;

    answer.reason = PLACE_SILENT;
    if (place_round_note(&call->round, &answer, &err) != FAAS_OK)
        FAAS_LOG(ERROR, "no memory for a spawner's answer", FAAS_LSTR("call", call->page.id));
    drive(call, CALL_EV_NEVER);
}

static void fenced(struct live *call)
{
    call->is_repeat = true;
    ask_never(call);
}

static void fence_state(struct live *call, const faas_msg *msg)
{
    const struct faas_member *member = spawner_of(call);
    char state[16];

    if (!read_state(call, msg, state, sizeof state) ||
        (member != NULL && strcmp(member->epoch, call->at.epoch) != 0))
        drive_died(call); /* a new process knows nothing of the old one's calls */
    else if (strcmp(state, "never") == 0)
        fenced(call);
    else if (strcmp(state, "running") == 0 || strcmp(state, "done") == 0)
        drive(call, CALL_EV_ADOPTED);
    else
        drive_arm(call, &call->step, ASK_AGAIN_MS);
}

/* A call that may run twice need not wait until its silent spawner is found dead.  Spawners that are
 * only slow must not get more work by that: one in ten calls may go so. */
static bool is_given_up(struct live *call, const struct faas_rpc_reply *reply)
{
    bool is_silent = reply->code == FAAS_TIMEOUT || reply->code == FAAS_UNAVAILABLE;

    if (!is_silent)
        call->unanswered = 0;
    if (!is_silent || !faas_bus_is_connected(call->pub->rt->bus) ||
        ++call->unanswered < FENCES_UNANSWERED || call->state != CALL_FENCING ||
        !drive_may_run_again(call) || call->pub->repeat_tokens < REPEAT_TOKENS_COST)
        return false;
    call->pub->repeat_tokens -= REPEAT_TOKENS_COST;
    return true;
}

static void on_fence(struct live *call, const struct faas_rpc_reply *reply)
{
    if (call->state != CALL_FENCING && call->state != CALL_ABANDONING)
        return;
    if (is_given_up(call, reply)) {
        drive(call, CALL_EV_AGAIN);
        return;
    }
    if (reply->code == FAAS_OK)
        fence_state(call, reply->msg);
    else if (reply->code == FAAS_TIMEOUT)
        drive(call, CALL_EV_SILENT);
    else /* nobody listens: it may have got the call before; it comes back, or is found dead */
        drive_arm(call, &call->step, ASK_AGAIN_MS);
}

void ask_fence(struct live *call)
{
    FAAS_AUTO(json_t) *body =
        json_pack("{s:i, s:s, s:I}", "v", 1, "id", call->page.id, "place", (json_int_t)call->place);

    ev_timer_stop(faas_loop_ev(call->pub->rt->loop), &call->step);
    metric_count(M_FENCES);
    if (!send_ask(call, FAAS_SUBJ_SPAWNER_FENCE, body, FENCE_MS, on_fence))
        drive_arm(call, &call->step, ASK_AGAIN_MS);
}

/* ---- cancel ---- */

static void on_cancel(struct live *call, const struct faas_rpc_reply *reply)
{
    char state[16] = "";

    if (call->state != CALL_CANCELLING)
        return;
    if (reply->code != FAAS_OK) {
        drive_arm(call, &call->step, reply->code == FAAS_TIMEOUT ? 0 : ASK_AGAIN_MS);
        return;
    }
    if (!read_state(call, reply->msg, state, sizeof state)) {
        drive(call, CALL_EV_DIED);
        return;
    }
    if (strcmp(state, "done") == 0 && !call->was_cancel_done) {
        call->was_cancel_done = true;
        drive_arm(call, &call->step, DONE_GRACE_MS);
        return;
    }
    drive(call, CALL_EV_GONE);
}

static json_t *cancel_body(const struct live *call)
{
    /* Of what another publisher has placed since it says nothing. */
    return json_pack("{s:i, s:s, s:s, s:I}", "v", 1, "id", call->page.id, "reason",
                     call->cancel_why != NULL ? call->cancel_why : "given_up", "place",
                     (json_int_t)call->place);
}

void ask_cancel(struct live *call)
{
    FAAS_AUTO(json_t) *body = cancel_body(call);

    ev_timer_stop(faas_loop_ev(call->pub->rt->loop), &call->step);
    if (!send_ask(call, FAAS_SUBJ_SPAWNER_CANCEL, body, CANCEL_MS, on_cancel))
        drive_arm(call, &call->step, ASK_AGAIN_MS);
}

void ask_cancel_only(const struct live *call)
{
    const struct faas_member *member = spawner_of(call);
    FAAS_AUTO(json_t) *body = NULL;

    if (member == NULL || member->is_dead || strcmp(member->epoch, call->at.epoch) != 0)
        return;
    body = cancel_body(call);
    (void)send_ask(call, FAAS_SUBJ_SPAWNER_CANCEL, body, CANCEL_MS, NULL);
}

void ask_give_up(const struct live *call)
{
    const struct faas_member *member = spawner_of(call);
    FAAS_AUTO(json_t) *body = NULL;

    if (member == NULL || member->level < FAAS_LEVEL_GIVEN_UP ||
        strcmp(member->epoch, call->at.epoch) != 0)
        return;
    body = cancel_body(call);
    if (json_object_set_new(body, "drop", json_true()) == 0)
        (void)send_ask(call, FAAS_SUBJ_SPAWNER_CANCEL, body, CANCEL_MS, NULL);
}
