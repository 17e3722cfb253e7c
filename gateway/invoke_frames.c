/* What a call's publisher and spawner say of it, frame by frame. */
#include "invoke_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define SLACK_MS  500   /* past a budget that was named */
#define FRAMES_MS 10000 /* between two parts of a result that has begun to arrive */

static int64_t take_words(struct invoke *inv, const struct faas_frame *frame)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *spawner, *epoch;
    int64_t budget_ms;

    if (faas_json_parse(frame->payload, frame->len, false, &doc, NULL) != FAAS_OK)
        return -1;
    budget_ms = json_integer_value(json_object_get(doc, "budget_ms"));
    spawner = json_string_value(json_object_get(doc, "spawner"));
    epoch = json_string_value(json_object_get(doc, "epoch"));
    if (json_integer_value(json_object_get(doc, "version")) > 0)
        inv->version = json_integer_value(json_object_get(doc, "version"));
    if (frame->type == FAAS_FRAME_ACCEPT && spawner != NULL && epoch != NULL) {
        (void)snprintf(inv->spawner.id, sizeof inv->spawner.id, "%s", spawner);
        (void)snprintf(inv->spawner.epoch, sizeof inv->spawner.epoch, "%s", epoch);
    }
    if (budget_ms < 0 || budget_ms > 2 * (int64_t)FAAS_TIMEOUT_MS_MAX)
        return -1;
    return budget_ms;
}

/* A TAKEN with a try's number: that placement is given up, and the call placed again.  It may come
 * late, when the next spawner has accepted. */
static bool tries_again(const struct invoke *inv, const struct faas_frame *frame)
{
    return (frame->place & 255) > inv->given_up_try && (frame->place & 255) >= inv->accepted_try;
}

static void on_taken(struct invoke *inv, const struct faas_frame *frame)
{
    bool is_again = tries_again(inv, frame);
    int64_t budget_ms;

    if ((inv->phase == INVOKE_RUNNING || inv->phase == INVOKE_LOST) && !is_again)
        return;
    budget_ms = take_words(inv, frame);
    if (budget_ms < 0)
        return; /* as if it had not come: silence is asked about */
    inv->is_torn = is_again && inv->has_begun && !inv->is_left;
    if (inv->is_torn)
        return;
    if (is_again && !invoke_begin_anew(inv, frame->place & 255))
        return; /* likewise */
    inv->phase = INVOKE_TAKEN;
    invoke_arm(inv, budget_ms + SLACK_MS);
}

static void on_accept(struct invoke *inv, const struct faas_frame *frame)
{
    int64_t budget_ms = take_words(inv, frame);

    if (budget_ms < 0)
        return;
    inv->accepted_try = frame->place & 255;
    if (inv->accepted_ns == 0)
        inv->accepted_ns = faas_now_ns();
    inv->phase = INVOKE_RUNNING;
    invoke_arm(inv, budget_ms + SLACK_MS);
}

void invoke_await_frames(struct invoke *inv)
{
    if (inv->phase == INVOKE_RUNNING &&
        ev_timer_remaining(faas_loop_ev(inv->gw->rt->loop), &inv->timer) < FRAMES_MS / 1000.0)
        invoke_arm(inv, FRAMES_MS);
}

/* True when the call has ended. */
static bool on_stream(struct invoke *inv, const struct faas_frame *frame)
{
    switch (faas_frames_in_take(inv->in, frame, NULL)) {
    case FAAS_FRAMES_COMPLETE:
        return true;
    case FAAS_FRAMES_BROKEN:
        return true;
    case FAAS_FRAMES_OPEN:
        break;
    }
    invoke_await_frames(inv); /* a long result may outlast the budget */
    return false;
}

/* Frames of another call cannot arrive here, those of another attempt can. */
static bool is_ours(const struct invoke *inv, const struct faas_frame *frame)
{
    bool is_words = frame->type == FAAS_FRAME_TAKEN || frame->type == FAAS_FRAME_FAIL;

    if (strcmp(frame->id, inv->x->id) != 0)
        return false;
    /* Two runs must not be mixed: what a lost owner's call sends counts no more. */
    if (inv->losses > 0 && (inv->phase == INVOKE_SEARCH || frame->place >> 8 != inv->attempt))
        return false;
    if (is_words)
        return frame->place == 0 || frame->place >> 8 == inv->attempt;
    return (frame->place & 255) > inv->given_up_try || inv->given_up_try == 0;
}

static enum invoke_outcome on_fail(const struct faas_frame *frame)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *reason;

    if (faas_json_parse(frame->payload, frame->len, false, &doc, NULL) != FAAS_OK)
        return INVOKE_FAILED;
    reason = json_string_value(json_object_get(doc, "reason"));
    return reason != NULL && strcmp(reason, "epoch") == 0 ? INVOKE_UNTAKEN : INVOKE_FAILED;
}

static enum invoke_outcome on_frame(struct invoke *inv, const struct faas_frame *frame)
{
    switch (frame->type) {
    case FAAS_FRAME_TAKEN:
        on_taken(inv, frame);
        return inv->is_torn ? INVOKE_TORN : INVOKE_GOES_ON;
    case FAAS_FRAME_ACCEPT:
        on_accept(inv, frame);
        return INVOKE_GOES_ON;
    case FAAS_FRAME_FAIL:
        return on_fail(frame);
    default:
        if (!on_stream(inv, frame))
            return INVOKE_GOES_ON;
        return faas_frames_in_end(inv->in) != NULL ? INVOKE_COMPLETE : INVOKE_BROKEN;
    }
}

enum invoke_outcome invoke_take_message(struct invoke *inv, const faas_msg *msg,
                                        struct faas_frame *out_last)
{
    enum invoke_outcome outcome = INVOKE_GOES_ON;
    faas_err err = {0};
    size_t pos = 0;
    bool more, is_own = false;

    while (outcome == INVOKE_GOES_ON) {
        if (faas_frame_next(faas_msg_data(msg), faas_msg_len(msg), &pos, out_last, &more, &err) !=
            FAAS_OK) {
            FAAS_LOG(WARN, "a message is no frames", FAAS_LSTR("call", inv->x->id),
                     FAAS_LSTR("error", err.msg));
            break;
        }
        if (!more)
            break;
        if (!is_ours(inv, out_last))
            continue;
        if (out_last->type == FAAS_FRAME_CREDIT) {
            invoke_input_credit(inv, out_last, faas_msg_reply(msg));
            continue;
        }
        is_own = true;
        outcome = on_frame(inv, out_last);
    }
    if (!is_own)
        return outcome; /* its sender is told nothing */
    if (inv->shape != GW_WHOLE)
        invoke_stream_credit(inv, faas_msg_reply(msg));
    else
        faas_frames_in_credit(inv->in, faas_msg_reply(msg));
    return outcome;
}
