/* Questions about one call: what became of it, and cancel it, to its publisher or its spawner; may it
 * run again, to the publisher that would be next.  A question may outlive its call. */
#include "invoke_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define FENCE_MS  400 /* for an answer; a fence is sent again inside it */
#define AGAIN_MS  200
#define CANCEL_MS 10000

struct ask {
    TAILQ_ENTRY(ask) link;
    struct invoke *inv; /* NULL: the call has ended */
    enum ask_kind { ASK_STATE, ASK_CANCEL, ASK_FOLLOWER, ASK_LEAVE } kind;
    struct peer peer;
    char id[FAAS_UUID_TEXT];
};

static enum invoke_state state_in(const struct ask *ask, const struct faas_rpc_reply *reply)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *state, *epoch;

    if (reply->code != FAAS_OK ||
        faas_json_parse(faas_msg_data(reply->msg), faas_msg_len(reply->msg), false, &doc, NULL) !=
            FAAS_OK)
        return INVOKE_NO_WORD;
    state = json_string_value(json_object_get(doc, "state"));
    if (state == NULL)
        return INVOKE_NO_WORD;
    epoch = json_string_value(json_object_get(doc, "epoch"));
    /* Whoever took the place of the process that was sent the call cannot know what that one did. */
    if (strcmp(state, "never") == 0)
        return epoch == NULL || strcmp(epoch, ask->peer.epoch) == 0 ? INVOKE_NEVER : INVOKE_NO_WORD;
    return strcmp(state, "done") == 0 ? INVOKE_DONE : INVOKE_GOING_ON;
}

static bool may_run_in(const struct faas_rpc_reply *reply)
{
    FAAS_AUTO(json_t) *doc = NULL;

    return reply->code == FAAS_OK &&
           faas_json_parse(faas_msg_data(reply->msg), faas_msg_len(reply->msg), false, &doc,
                           NULL) == FAAS_OK &&
           json_is_true(json_object_get(doc, "may_run"));
}

static void on_reply(void *arg, const struct faas_rpc_reply *reply)
{
    FAAS_AUTO(void) *owned = arg;
    struct ask *ask = arg;
    struct invoke *inv = ask->inv;

    if (ask->kind == ASK_CANCEL && reply->code != FAAS_OK)
        FAAS_LOG(WARN, "a cancelled call was not confirmed", FAAS_LSTR("call", ask->id),
                 FAAS_LSTR("peer", ask->peer.id), FAAS_LSTR("code", faas_code_slug(reply->code)));
    if (inv == NULL)
        return;
    TAILQ_REMOVE(&inv->asks, ask, link);
    if (ask->kind == ASK_STATE) {
        invoke_on_state(inv, state_in(ask, reply));
    } else if (ask->kind == ASK_FOLLOWER) {
        if (may_run_in(reply))
            invoke_on_may_run(inv);
    } else if (ask->kind == ASK_CANCEL && TAILQ_EMPTY(&inv->asks)) {
        invoke_on_cancelled(inv);
    }
}

struct question {
    const struct peer *peer;
    const char *subject; /* "%s": peer's id */
    const json_t *body;
    int64_t ms;
    enum ask_kind kind;
    bool is_of_epoch; /* another process of that id does nothing */
};

/* False when it could not be sent: nothing comes of it. */
static bool send(struct invoke *inv, const struct question *q)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(q->ms)};
    const struct faas_header headers[] = {{FAAS_H_EPOCH, q->is_of_epoch ? q->peer->epoch : NULL},
                                          {NULL, NULL}};
    struct faas_rpc_request req = {
        .ctx = &ctx, .lane = FAAS_CONTROL, .retry = FAAS_RPC_SAFE, .attempt_ms = AGAIN_MS};
    struct ask *ask = calloc(1, sizeof *ask);
    char subject[FAAS_SUBJECT_MAX];
    FAAS_AUTO(char) *text = q->body == NULL ? NULL : faas_json_text(q->body, &req.len);

    if (ask == NULL || text == NULL || !faas_subject(subject, q->subject, q->peer->id)) {
        free(ask);
        return false;
    }
    ask->inv = inv;
    ask->kind = q->kind;
    ask->peer = *q->peer;
    memcpy(ask->id, inv->x->id, sizeof ask->id);
    memcpy(ctx.id, inv->x->id, sizeof ctx.id);
    memcpy(ctx.user, inv->x->caller.user, sizeof ctx.user);
    memcpy(ctx.tenant, inv->x->caller.tenant, sizeof ctx.tenant);
    req.subject = subject;
    req.headers = headers;
    req.data = text;
    TAILQ_INSERT_TAIL(&inv->asks, ask, link);
    faas_rpc_call(inv->gw->rt->rpc, &req, on_reply, ask);
    return true;
}

static bool is_out(const struct invoke *inv, enum ask_kind kind)
{
    const struct ask *ask;

    TAILQ_FOREACH (ask, &inv->asks, link)
        if (ask->kind == kind)
            return true;
    return false;
}

void invoke_ask_follower(struct invoke *inv)
{
    const struct faas_member *next = invoke_follower(inv);
    FAAS_AUTO(json_t) *body = json_pack(
        "{s:i, s:s, s:s, s:I, s:I, s:I}", "v", 1, "id", inv->x->id, "function", inv->function,
        "lost", (json_int_t)inv->losses + 1, "version", (json_int_t)inv->version, "age_ms",
        (json_int_t)((faas_now_ns() - inv->sent_ns) / FAAS_MS_NS));
    struct peer peer = {.id = ""};
    const struct question q = {.peer = &peer,
                               .subject = FAAS_SUBJ_PUBLISHER_AGAIN,
                               .body = body,
                               .ms = AGAIN_MS * 2,
                               .kind = ASK_FOLLOWER};

    if (next == NULL || is_out(inv, ASK_FOLLOWER))
        return;
    memcpy(peer.id, next->id, sizeof peer.id);
    (void)send(inv, &q); /* if it is not sent, it is asked later */
}

void invoke_ask_state(struct invoke *inv)
{
    bool is_spawner = inv->phase == INVOKE_RUNNING;
    /* To a spawner the number is nobody's: the question must not refuse anything there. */
    uint32_t place = is_spawner ? 0 : inv->attempt * 256 + 255;
    FAAS_AUTO(json_t) *body =
        json_pack("{s:i, s:s, s:I}", "v", 1, "id", inv->x->id, "place", (json_int_t)place);
    const struct question q = {.peer = is_spawner ? &inv->spawner : &inv->owner,
                               .subject =
                                   is_spawner ? FAAS_SUBJ_SPAWNER_FENCE : FAAS_SUBJ_PUBLISHER_FENCE,
                               .body = body,
                               .ms = FENCE_MS};

    if (is_out(inv, ASK_STATE))
        return; /* its answer comes */
    if (!send(inv, &q))
        invoke_on_state(inv, INVOKE_NO_WORD);
}

bool invoke_cancel(struct invoke *inv)
{
    FAAS_AUTO(json_t) *body =
        json_pack("{s:i, s:s, s:s}", "v", 1, "id", inv->x->id, "reason", "client_gone");
    struct question q = {.peer = &inv->owner,
                         .subject = FAAS_SUBJ_PUBLISHER_CANCEL,
                         .body = body,
                         .ms = CANCEL_MS,
                         .kind = ASK_CANCEL};
    bool is_sent = inv->owner.id[0] != '\0' && send(inv, &q);

    if (inv->spawner.id[0] != '\0') {
        q.peer = &inv->spawner;
        q.subject = FAAS_SUBJ_SPAWNER_CANCEL;
        is_sent |= send(inv, &q);
    }
    return is_sent;
}

void invoke_leave_owner(struct invoke *inv)
{
    const struct faas_member *owner =
        faas_members_find(inv->gw->rt->members, "publisher", inv->owner.id);
    FAAS_AUTO(json_t) *body =
        json_pack("{s:i, s:s, s:s}", "v", 1, "id", inv->x->id, "reason", "given_up");
    const struct question q = {.peer = &inv->owner,
                               .subject = FAAS_SUBJ_PUBLISHER_CANCEL,
                               .body = body,
                               .ms = CANCEL_MS,
                               .kind = ASK_LEAVE,
                               .is_of_epoch = true};

    if (owner != NULL && owner->level >= FAAS_LEVEL_GIVEN_UP)
        (void)send(inv, &q);
}

void invoke_forget_asks(struct invoke *inv)
{
    struct ask *ask;

    while ((ask = TAILQ_FIRST(&inv->asks)) != NULL) {
        TAILQ_REMOVE(&inv->asks, ask, link);
        ask->inv = NULL;
    }
}
