#include "jobs.h"

#include "base/clock.h"
#include "base/envelope.h"
#include "base/log.h"
#include "contract.h"
#include "net/frames.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void *frame_new(const struct faas_frame *head, const json_t *doc, size_t *out_len)
{
    FAAS_AUTO(char) *text = NULL;
    struct faas_frame frame = *head;
    uint8_t *out;

    text = doc != NULL ? faas_json_text(doc, &frame.len) : NULL;
    if (text == NULL)
        return NULL;
    frame.payload = text;
    out = malloc(FAAS_FRAME_HEAD + frame.len);
    if (out != NULL)
        *out_len = faas_frame_write(&frame, out);
    return out;
}

void wire_send(struct publisher *pub, const char *inbox, const void *data, size_t len)
{
    const struct faas_header headers[] = {{FAAS_H_PROTO, FAAS_PROTO}, {NULL, NULL}};
    struct faas_out out = {.subject = inbox, .headers = headers, .data = data, .len = len};
    faas_err err = {0};

    if (faas_bus_publish(pub->rt->bus, FAAS_DATA, &out, &err) != FAAS_OK)
        FAAS_LOG(WARN, "a frame could not be sent", FAAS_LSTR("subject", inbox),
                 FAAS_LSTR("msg", err.msg), FAAS_LSTR("detail", err.detail));
}

void wire_use(struct publisher *pub)
{
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *text = NULL;
    size_t len = 0;

    if (faas_members_usable(pub->rt->members, "publisher") < 2)
        return;
    doc = usage_say(&pub->usage, pub->rt->id);
    text = doc != NULL ? faas_json_text(doc, &len) : NULL;
    if (text != NULL)
        wire_send(pub, FAAS_SUBJ_PUBLISHER_USE, text, len);
}

void *wire_fail_frame(const struct wire_fail *fail, size_t *out_len)
{
    struct faas_frame frame = {.type = FAAS_FRAME_FAIL, .place = fail->place};
    FAAS_AUTO(json_t) *doc = NULL;

    snprintf(frame.id, sizeof frame.id, "%s", fail->id);
    doc = json_pack("{s:i, s:s, s:s, s:s}", "v", 1, "code", faas_code_slug(fail->err->code),
                    "detail", fail->err->msg, "component", fail->component);
    if (doc == NULL)
        return NULL;
    if (fail->reason != NULL && json_object_set_new(doc, "reason", json_string(fail->reason)) != 0)
        return NULL;
    if (fail->retry_after_s > 0 &&
        json_object_set_new(doc, "retry_after_s", json_integer(fail->retry_after_s)) != 0)
        return NULL;
    if (fail->may_have_run && json_object_set_new(doc, "may_have_run", json_true()) != 0)
        return NULL; /* without it the caller would think that nothing had begun */
    return frame_new(&frame, doc, out_len);
}

void wire_fail(struct publisher *pub, const struct wire_fail *fail)
{
    size_t len = 0;
    FAAS_AUTO(void) *frame = NULL;

    if (fail->call != NULL && fail->call->job != NULL) {
        job_on_fail(fail->call, fail);
        return;
    }
    frame = wire_fail_frame(fail, &len);
    if (frame == NULL)
        FAAS_LOG(ERROR, "no memory for a failure's frame", FAAS_LSTR("call", fail->id));
    else
        wire_send(pub, fail->inbox, frame, len);
}

static int64_t taken_budget_ms(const struct live *call)
{
    if (call->rec == NULL)
        return 2 * RESOLVE_READ_MS + PLACE_BUDGET_MS + PLACE_SLACK_MS;
    if (call->accepted_ns != 0)
        return call->rec->start_timeout_ms + drive_timeout_ms(call) + RUN_SLACK_MS;
    return call->rec->max_wait_ms + PLACE_BUDGET_MS + PLACE_SLACK_MS;
}

static void send_taken(struct live *call, uint32_t try)
{
    struct faas_frame frame = {.type = FAAS_FRAME_TAKEN, .place = call->attempt * 256 + try};
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(void) *bytes = NULL;
    size_t len = 0;

    snprintf(frame.id, sizeof frame.id, "%s", call->page.id);
    doc = json_pack("{s:i, s:s, s:I, s:I}", "v", 1, "publisher", call->pub->rt->id, "budget_ms",
                    (json_int_t)taken_budget_ms(call), "version",
                    (json_int_t)(call->rec != NULL ? call->rec->version : 0));
    bytes = frame_new(&frame, doc, &len);
    if (bytes == NULL)
        FAAS_LOG(ERROR, "no memory for a frame", FAAS_LSTR("call", call->page.id));
    else
        wire_send(call->pub, call->inbox, bytes, len);
}

void wire_taken(struct live *call)
{
    send_taken(call, 0);
}

void wire_taken_again(struct live *call)
{
    send_taken(call, call->place & 255);
}

/* ---- publisher to spawner ---- */

struct numbers { /* header values that are numbers */
    char attempt[12], place[12], age[24], left[24], beat[24];
};

static void numbers_fill(struct numbers *n, const struct live *call)
{
    int64_t here_ms = (int64_t)((faas_now_ns() - call->taken_ns) / FAAS_MS_NS);

    snprintf(n->attempt, sizeof n->attempt, "%" PRIu32, call->attempt);
    snprintf(n->place, sizeof n->place, "%" PRIu32, call->place);
    snprintf(n->age, sizeof n->age, "%" PRId64, call->age_ms + here_ms);
    snprintf(n->left, sizeof n->left, "%" PRId64,
             call->rec->start_timeout_ms + drive_timeout_ms(call));
    snprintf(n->beat, sizeof n->beat, "%" PRIu64, call->at.beat);
}

static const char *or_none(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

/* One of an older release takes the reply subject for the caller's inbox. */
static bool reads_inbox(const struct live *call)
{
    const struct faas_member *spawner =
        faas_members_find(call->pub->rt->members, "spawner", call->at.id);

    return spawner != NULL && spawner->level >= FAAS_LEVEL_INBOX &&
           strcmp(spawner->epoch, call->at.epoch) == 0;
}

static faas_code publish_call(struct live *call, const void *data, size_t len, faas_err *err)
{
    char subject[FAAS_SUBJECT_MAX], own[FAAS_INBOX_SUBJECT];
    bool is_own = reads_inbox(call);
    struct numbers n;
    const struct faas_header headers[] = {
        {FAAS_H_PROTO, FAAS_PROTO},
        {FAAS_H_ID, call->page.id},
        {FAAS_H_ATTEMPT, n.attempt},
        {FAAS_H_PLACE, n.place},
        {FAAS_H_AGE, n.age},
        {FAAS_H_TIME_LEFT, n.left},
        {FAAS_H_USER, or_none(call->user)},
        {FAAS_H_TENANT, call->tenant},
        {FAAS_H_PUBLISHER, call->pub->rt->id},
        {FAAS_H_EPOCH, call->at.epoch},
        {FAAS_H_BEAT, n.beat},
        {FAAS_H_INBOX, is_own ? call->inbox : NULL},
        {FAAS_H_TRACE, or_none(call->trace)},
        {NULL, NULL},
    };
    struct faas_out out = {.subject = subject,
                           .reply = is_own ? own : call->inbox,
                           .headers = headers,
                           .data = data,
                           .len = len};

    if (!faas_subject(subject, FAAS_SUBJ_SPAWNER_CALL, call->at.id))
        return faas_fail(err, FAAS_INTERNAL, "a spawner has an id that is no subject token");
    numbers_fill(&n, call);
    unheard_subject(call, own);
    return faas_bus_publish(call->pub->rt->bus, FAAS_DATA, &out, err);
}

faas_code wire_place(struct live *call, faas_err *err)
{
    struct faas_envelope_parts parts = {.bytes = call->arg, .len = call->arg_len};
    const struct record_run run = {.timeout_ms = drive_timeout_ms(call),
                                   .is_pull = call->round.is_pull,
                                   .stream = call->stream,
                                   .input_bytes = call->input_bytes,
                                   .may_run_again = drive_may_run_again(call)};
    FAAS_AUTO(char) *meta = record_placement(call->rec, &run, &parts.json_len);
    FAAS_AUTO(void) *msg = NULL;
    size_t len = 0;

    if (meta == NULL)
        return faas_fail_sys(err, ENOMEM, "build a placement");
    parts.json = meta;
    FAAS_TRY(faas_envelope_join(&parts, &msg, &len, err));
    return publish_call(call, msg, len, err);
}
