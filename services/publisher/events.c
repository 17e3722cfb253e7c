/* What spawners say of the calls they were given. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <string.h>

struct event {
    const char *event, *spawner, *epoch, *reason, *detail;
    int64_t place, budget_ms;
    const json_t *doc;
    bool is_untold; /* of this end the spawner has told nobody else */
};
static const struct faas_json_field event_fields[] = {
    FAAS_FIELD(STR, struct event, event, "event", 1, 32, true),
    FAAS_FIELD(STR, struct event, spawner, "spawner", 1, 64, true),
    FAAS_FIELD(STR, struct event, epoch, "epoch", 0, 64, false),
    FAAS_FIELD(STR, struct event, reason, "reason", 0, 64, false),
    FAAS_FIELD(STR, struct event, detail, "detail", 0, PUBLISHER_EVENT_MAX, false),
    FAAS_FIELD(INT, struct event, place, "place", 0, UINT32_MAX, true),
    FAAS_FIELD(INT, struct event, budget_ms, "budget_ms", 0, 1e12, false),
    FAAS_FIELD_END,
};

static void ev_accept(struct live *call, const struct event *event)
{
    call->accept_budget_ms = event->budget_ms;
    drive(call, CALL_EV_ACCEPT);
}

static void ev_busy(struct live *call, const struct event *event)
{
    struct place_answer answer = call->at;
    faas_err err = {0};

    if (call_move(call->state, CALL_EV_BUSY) == NULL) {
        metric_count(M_IGNORED);
        return;
    }
    answer.reason = place_reason_parse(event->reason);
    if (answer.reason == PLACE_DRAINING)
        place_ledger_note(&call->pub->ledger, answer.id, answer.epoch, PLACE_LEAVES);
    call->err = (faas_err){0};
    if (answer.reason >= PLACE_ISOLATION)
        (void)faas_fail(
            &call->err, answer.reason == PLACE_INVALID ? FAAS_START_FAILED : FAAS_UNAVAILABLE, "%s",
            event->detail[0] != '\0' ? event->detail : "no spawner can run this function");
    if (place_round_note(&call->round, &answer, &err) != FAAS_OK)
        FAAS_LOG(ERROR, "no memory for a spawner's answer", FAAS_LSTR("call", call->page.id));
    drive(call, CALL_EV_BUSY);
}

static void ev_started(struct live *call, const struct event *event)
{
    (void)event;
    drive(call, CALL_EV_STARTED);
}

static void ev_end(struct live *call, const struct event *event)
{
    if (event->is_untold) {
        drive_died(call);
        return;
    }
    call->end = event->doc;
    drive(call, CALL_EV_END); /* ends every state in which a spawner has the call */
}

/* A refusal for its epoch comes from the process that got the call instead of the one it was for. */
static bool is_ours(const struct live *call, const struct event *event)
{
    bool is_foreign = event->epoch[0] != '\0' && strcmp(event->epoch, call->at.epoch) != 0;

    return event->place == call->place && strcmp(event->spawner, call->at.id) == 0 &&
           (!is_foreign ||
            (strcmp(event->event, "busy") == 0 && strcmp(event->reason, "epoch") == 0));
}

static void handle_event(struct live *call, const struct event *event)
{
    static const struct {
        const char *name;
        void (*handle)(struct live *call, const struct event *event);
    } kinds[] = {
        {"accept", ev_accept}, {"busy", ev_busy}, {"started", ev_started}, {"end", ev_end}};

    for (size_t i = 0; i < FAAS_ARRAY_LEN(kinds); i++)
        if (strcmp(event->event, kinds[i].name) == 0) {
            kinds[i].handle(call, event);
            return;
        }
    metric_count(M_IGNORED); /* of a newer spawner */
}

void events_take(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(json_t) *doc = NULL;
    struct publisher *pub = state;
    struct event event = {.event = "", .spawner = "", .epoch = "", .reason = "", .detail = ""};
    const char *id = faas_msg_header(msg, FAAS_H_ID);
    struct live *call;
    bool is_known;
    faas_err err = {0};

    drive_check_late(pub);
    if (id == NULL ||
        faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, &err) != FAAS_OK ||
        faas_json_decode(doc, event_fields, FAAS_JSON_TOLERANT, &event, &err) != FAAS_OK) {
        metric_count(M_MALFORMED);
        if (err.code == FAAS_OK)
            (void)faas_fail(&err, FAAS_INVALID, "header " FAAS_H_ID ": required");
        faas_rpc_answer_err(pub->rt->rpc, msg, &err); /* logs it, too */
        return;
    }
    event.doc = doc;
    event.is_untold = faas_msg_header(msg, FAAS_H_UNTOLD) != NULL;
    call = (struct live *)book_find(&pub->book, id);
    is_known = call != NULL || book_tomb_find(&pub->book, id, faas_now_ns()) != NULL;
    if (call != NULL && is_ours(call, &event)) {
        handle_event(call, &event);
    } else {
        metric_count(M_STRANGE);
        history_on_foreign_end(pub->history, id, doc);
    }
    /* What is not known here will not be known later.  But then nobody here tells its caller. */
    if (faas_msg_reply(msg) != NULL && (is_known || !event.is_untold))
        faas_rpc_answer_receipt(pub->rt->rpc, msg);
}
