/* The end of a call: tell its caller, those who wait for its end, the log and the figures; leave a
 * tomb that refuses repetitions. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <stdio.h>
#include <string.h>

#define MS_MAX 1e9 /* more is no time that a call took */

/* A call that ended before its accept was told: a beat since its placing counts it as running. */
static void note_unseen_end(struct live *call)
{
    const struct faas_member *spawner =
        faas_members_find(call->pub->rt->members, "spawner", call->at.id);

    place_ledger_ended_unseen(&call->pub->ledger, &call->at,
                              spawner != NULL ? spawner->beat : call->at.beat);
    call->ledger = LIVE_NOT_SENT;
}

void finish_ledger(struct live *call, enum place_news news)
{
    bool was_sent = call->ledger == LIVE_SENT, was_accepted = call->ledger == LIVE_ACCEPTED;

    if (news == PLACE_ACCEPTED ? !was_sent : call->ledger == LIVE_NOT_SENT)
        return;
    if (news != PLACE_ACCEPTED)
        news = was_accepted ? PLACE_ENDED : PLACE_REFUSED;
    place_ledger_note(&call->pub->ledger, call->at.id, call->at.epoch, news);
    call->ledger = news == PLACE_ACCEPTED ? LIVE_ACCEPTED : LIVE_NOT_SENT;
}

/* ---- log ---- */

static int64_t end_int(const json_t *end, const char *key, int64_t absent)
{
    const json_t *value = json_object_get(end, key);

    return json_is_integer(value) ? json_integer_value(value) : absent;
}

/* The end alone came: what it says it took came after the accept. */
static void note_accept_time(struct live *call)
{
    const json_t *times = json_object_get(call->end, "times_ms");
    double took_ms = json_number_value(json_object_get(times, "start")) +
                     json_number_value(json_object_get(times, "run"));
    uint64_t now = faas_now_ns();

    call->accepted_ns = call->taken_ns;
    if (took_ms >= 0 && took_ms < (double)(now - call->taken_ns) / FAAS_MS_NS)
        call->accepted_ns = now - (uint64_t)(took_ms * FAAS_MS_NS);
    metric_time(M_ACCEPT_TIME, call->accepted_ns - call->taken_ns);
}

static int64_t ms_between(uint64_t from, uint64_t to)
{
    return from != 0 && to > from ? (int64_t)((to - from) / FAAS_MS_NS) : 0;
}

/* What the spawner says of its part. */
static void count_run(const struct live *call)
{
    static const struct {
        const char *key;
        enum publisher_metric metric;
    } parts[] = {{"place", M_PLACE_TIME}, {"start", M_START_TIME}, {"run", M_RUN_TIME}},
      starts[] = {{"cold", M_COLD}, {"prewarmed", M_PREWARMED}, {"warm", M_WARM}};
    const json_t *times = json_object_get(call->end, "times_ms");
    const char *start = json_string_value(json_object_get(call->end, "start"));

    for (size_t i = 0; i < FAAS_ARRAY_LEN(parts); i++) {
        const json_t *value = json_object_get(times, parts[i].key);
        double ms = json_is_number(value) ? json_number_value(value) : -1;

        if (ms >= 0 && ms < MS_MAX)
            metric_time(parts[i].metric, (uint64_t)(ms * FAAS_MS_NS));
    }
    for (size_t i = 0; start != NULL && i < FAAS_ARRAY_LEN(starts); i++)
        if (strcmp(start, starts[i].key) == 0)
            metric_count(starts[i].metric);
}

static void count_end(const struct live *call, const char *code, uint64_t now)
{
    const struct series_call seen = {.tenant = call->tenant,
                                     .function = call->ref.name,
                                     .code = faas_code_from_slug(code),
                                     .took_ns = now - call->taken_ns,
                                     .now_ns = now};

    metric_time(M_CALL_TIME, seen.took_ns);
    if (call->rec != NULL) /* a function that there is, not any name */
        series_note(call->pub->series, &seen);
    if (call->end != NULL)
        count_run(call);
}

static void log_end(const struct live *call, const char *code)
{
    uint64_t now = faas_now_ns();
    char trace_id[FAAS_TRACE_ID];

    faas_trace_id(call->trace, trace_id);
    count_end(call, code, now);
    FAAS_LOG(INFO, "call ended", FAAS_LSTR("call", call->page.id), FAAS_LSTR("code", code),
             FAAS_LSTR("trace", trace_id), FAAS_LSTR("tenant", call->tenant),
             FAAS_LSTR("name", call->ref.name),
             FAAS_LSTR("function", call->rec != NULL ? call->rec->id : ""),
             FAAS_LINT("version", call->rec != NULL ? call->rec->version : 0),
             FAAS_LSTR("spawner", call->tries > 0 ? call->at.id : ""),
             FAAS_LINT("place", call->place),
             FAAS_LINT("exit_code", end_int(call->end, "exit_code", -1)),
             FAAS_LINT("accept_ms", ms_between(call->taken_ns, call->accepted_ns)),
             FAAS_LINT("total_ms", ms_between(call->taken_ns, now)),
             FAAS_LSTR("msg_to_caller", call->err.msg), FAAS_LSTR("detail", call->err.detail));
}

/* ---- those who asked for the end ---- */

static void answer_cancels(struct live *call, const char *state)
{
    struct cancel_wait *wait;

    while ((wait = call->cancels) != NULL) {
        call->cancels = wait->next;
        if (state != NULL) {
            FAAS_AUTO(json_t) *doc = json_pack("{s:i, s:s}", "v", 1, "state", state);

            faas_rpc_answer_json(call->pub->rt->rpc, wait->msg, doc);
        }
        faas_msg_free(wait->msg);
        free(wait);
    }
}

/* ---- release ---- */

void finish_free(struct live *call)
{
    struct publisher *pub = call->pub;
    struct ev_loop *ev = faas_loop_ev(pub->rt->loop);

    ev_timer_stop(ev, &call->step);
    ev_timer_stop(ev, &call->guard);
    ev_timer_stop(ev, &call->told);
    resolve_cancel(&call->look);
    if (call->wait.line != NULL)
        room_leave_queue(call);
    finish_ledger(call, PLACE_ENDED);
    history_on_freed(call);
    room_count_out(call);
    drive_release_message(call);
    usage_leave(call->usage);
    answer_cancels(call, NULL);
    book_remove(&pub->book, &call->page);
    record_unref(call->rec);
    place_round_done(&call->round);
    free(call->inbox);
    if (call->job != NULL)
        job_on_gone(call);
    free(call);
    metric_level(M_LIVE, (int64_t)pub->book.live_len);
}

static struct book_tomb *bury(struct live *call, bool was_placed)
{
    uint32_t refuse_to = was_placed ? UINT32_MAX : call->attempt * 256 + 255;

    return book_bury(&call->pub->book, call->page.id, refuse_to, was_placed, faas_now_ns());
}

static void leave(struct live *call)
{
    struct publisher *pub = call->pub;

    finish_free(call);
    room_pump(pub);
    publisher_check_drained(pub);
}

void finish_ended(struct live *call)
{
    const char *code = json_string_value(json_object_get(call->end, "code"));

    if (code == NULL)
        code = faas_code_slug(FAAS_INTERNAL);
    if (call->ledger == LIVE_SENT)
        note_unseen_end(call);
    if (call->accepted_ns == 0)
        note_accept_time(call);
    metric_count(M_ENDED);
    if (strcmp(code, faas_code_slug(FAAS_OK)) == 0)
        metric_count(M_OK);
    log_end(call, code);
    history_on_ended(call, HISTORY_IS_FAILED, code);
    answer_cancels(call,
                   strcmp(code, faas_code_slug(FAAS_CLIENT_GONE)) == 0 ? "cancelled" : "done");
    (void)bury(call, true);
    leave(call);
}

static struct wire_fail fail_of(struct live *call)
{
    return (struct wire_fail){
        .inbox = call->inbox,
        .id = call->page.id,
        .place = call->attempt * 256 + (call->place & 255),
        .err = &call->err,
        .component = "publisher",
        .call = call,
    };
}

void finish_dropped(struct live *call)
{
    struct wire_fail fail = fail_of(call);

    metric_count(M_CANCELLED);
    (void)faas_fail(&call->err, FAAS_CLIENT_GONE, "the call was cancelled");
    wire_fail(call->pub, &fail);
    log_end(call, faas_code_slug(FAAS_CLIENT_GONE));
    history_on_ended(call, HISTORY_IS_CANCELLED, faas_code_slug(FAAS_CLIENT_GONE));
    answer_cancels(call, call->was_cancel_done ? "done" : "cancelled");
    (void)bury(call, true);
    leave(call);
}

/* A lost call's caller may miss the frame in the very trouble that lost the call: a fence repeats
 * it. */
static void keep_frame(struct live *call, const struct wire_fail *fail)
{
    struct book_tomb *tomb = bury(call, true);

    if (tomb == NULL || tomb->frame != NULL)
        return;
    tomb->frame = wire_fail_frame(fail, &tomb->frame_len);
    if (tomb->frame != NULL)
        tomb->inbox = FAAS_STEAL(call->inbox);
}

static void describe_lost(struct live *call)
{
    (void)faas_fail(&call->err, FAAS_LOST,
                    "the %s that had the call was lost or fell silent; the function may have run",
                    call->at.id[0] != '\0' ? "spawner" : "publisher");
    (void)faas_err_detail(&call->err, "spawner %s, epoch %s, state before the end: %s", call->at.id,
                          call->at.epoch,
                          call->started_ns != 0    ? "started"
                          : call->accepted_ns != 0 ? "accepted"
                                                   : "sent");
}

void finish_failed(struct live *call, bool may_have_run)
{
    struct wire_fail fail = fail_of(call);

    if (may_have_run) {
        describe_lost(call);
        fail.component = "spawner";
    }
    metric_count(may_have_run ? M_LOST : M_REFUSED);
    if (call->err.code == FAAS_BUSY) {
        metric_count(M_BUSY);
        fail.retry_after_s = call->retry_after_s > 0 ? call->retry_after_s : 1;
    }
    fail.may_have_run = may_have_run;
    wire_fail(call->pub, &fail);
    log_end(call, faas_code_slug(call->err.code));
    history_on_ended(call, may_have_run ? HISTORY_IS_LOST : HISTORY_IS_REFUSED,
                     faas_code_slug(call->err.code));
    answer_cancels(call, may_have_run ? "done" : "cancelled");
    if (may_have_run)
        keep_frame(call, &fail);
    else
        (void)bury(call, false);
    leave(call);
}
