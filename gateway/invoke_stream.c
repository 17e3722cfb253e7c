/* A call whose output leaves as it is written.  Its frames' bytes go to the exchange's stream, and what
 * that has room for decides how many more may come: a slow client is felt by the function. */
#include "invoke_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/problem.h"
#include "gateway/sse.h"

#define QUIET_S  15.0 /* without an event, until a comment shows that the stream lives */
#define REMIND_S 1.0  /* between signs of life to a spawner that is held */

/* ---- how much may come ---- */

static void on_remind(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct invoke *inv = timer->data;

    (void)ev;
    (void)events;
    faas_frames_in_remind(inv->in, inv->credit_to);
}

static void on_quiet(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct invoke *inv = timer->data;

    (void)ev;
    (void)events;
    if (!inv->is_left && !invoke_stream_is_full(inv))
        http_stream_keep_alive(inv->x);
}

void invoke_stream_start(struct invoke *inv)
{
    ev_init(&inv->quiet, on_quiet);
    inv->quiet.repeat = (double)inv->gw->conf.stall_s / 2;
    if (inv->quiet.repeat > QUIET_S)
        inv->quiet.repeat = QUIET_S;
    inv->quiet.data = inv;
    ev_timer_init(&inv->remind, on_remind, REMIND_S, REMIND_S);
    inv->remind.data = inv;
}

void invoke_stream_stop(struct invoke *inv)
{
    if (inv->shape == GW_WHOLE)
        return;
    ev_timer_stop(faas_loop_ev(inv->gw->rt->loop), &inv->remind);
    ev_timer_stop(faas_loop_ev(inv->gw->rt->loop), &inv->quiet);
}

bool invoke_stream_is_full(struct invoke *inv)
{
    return inv->shape != GW_WHOLE && ev_is_active(&inv->remind);
}

static void set_window(struct invoke *inv)
{
    struct ev_loop *ev = faas_loop_ev(inv->gw->rt->loop);
    size_t room = HTTP_STREAM_MAX;

    if (inv->has_begun && !inv->is_left)
        room = http_stream_room(inv->x);
    faas_frames_in_set_window(inv->in, (uint32_t)(room / FAAS_FRAME_MAX));
    if (room < FAAS_FRAME_MAX && !ev_is_active(&inv->remind))
        ev_timer_again(ev, &inv->remind);
    else if (room >= FAAS_FRAME_MAX)
        ev_timer_stop(ev, &inv->remind);
}

void invoke_stream_credit(struct invoke *inv, const char *reply)
{
    if (reply != NULL)
        (void)snprintf(inv->credit_to, sizeof inv->credit_to, "%s", reply);
    set_window(inv);
    faas_frames_in_credit(inv->in, reply);
}

static void go_on(struct invoke *inv)
{
    bool was_full = invoke_stream_is_full(inv);

    set_window(inv);
    if (was_full)
        invoke_await_frames(inv);
    if (inv->credit_to[0] != '\0')
        faas_frames_in_remind(inv->in, inv->credit_to);
}

static void on_room(http_exchange *x)
{
    struct invoke *inv = x->state;

    if (inv->phase != INVOKE_LEAVING)
        go_on(inv);
}

/* ---- the client ---- */

static void on_gone(http_exchange *x)
{
    struct invoke *inv = x->state;

    if (inv->phase == INVOKE_LEAVING || inv->is_left)
        return;
    if (!inv->is_going_on) {
        invoke_on_client_gone(x);
        return;
    }
    inv->is_left = true; /* what comes is dropped */
    go_on(inv);
}

static faas_code begin(struct invoke *inv, faas_err *err)
{
    struct http_stream_conf conf = {.status = inv->x->match.route->status,
                                    .type = inv->shape == GW_EVENTS ? "text/event-stream"
                                                                    : "application/octet-stream",
                                    .is_events = inv->shape == GW_EVENTS,
                                    .room = on_room,
                                    .gone = on_gone};
    const json_t *head = faas_frames_in_head(inv->in);
    const char *spawner = json_string_value(json_object_get(head, "spawner"));

    if (spawner != NULL && faas_frames_in_end(inv->in) == NULL) /* else it is there already */
        http_header(inv->x, "X-Served-By", "%s", spawner);
    if (inv->shape != GW_EVENTS && invoke_answer_type(inv, head))
        conf.type = NULL;
    http_header(inv->x, "X-Accel-Buffering", "no"); /* a proxy must not collect it */
    FAAS_TRY(http_stream_begin(inv->x, &conf, err));
    inv->has_begun = true;
    return FAAS_OK;
}

bool invoke_stream_take(void *arg, enum faas_frame_type type, const void *data, size_t len)
{
    struct invoke *inv = arg;
    bool is_stderr = type == FAAS_FRAME_STDERR;
    faas_err err = {0};

    if (inv->is_left || (is_stderr && inv->shape != GW_EVENTS))
        return true;
    if (!inv->has_begun && begin(inv, &err) != FAAS_OK)
        return false;
    if (inv->shape == GW_EVENTS)
        ev_timer_again(faas_loop_ev(inv->gw->rt->loop), &inv->quiet);
    return http_stream_write(inv->x, is_stderr, data, len);
}

/* ---- the end ---- */

static void copy(json_t *to, const json_t *end, const char *key)
{
    json_t *value = json_object_get(end, key);

    if (value != NULL && !json_is_null(value))
        (void)json_object_set(to, key, value);
}

/* The last event: the call's end as far as it is known, and the problem where it failed. */
static json_t *record(const struct invoke *inv, const json_t *end, const struct problem *problem)
{
    static const char *const kept[] = {"exit_code", "signal",       "oom",         "start",
                                       "spawner",   "stdout_bytes", "stderr_bytes"};
    json_t *run = json_object_get(json_object_get(end, "times_ms"), "run");
    FAAS_AUTO(json_t) *doc = json_pack("{s:s, s:s}", "call_id", inv->x->id, "code", inv->x->code);

    if (doc == NULL)
        return NULL;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(kept); i++)
        copy(doc, end, kept[i]);
    if (json_is_number(run))
        (void)json_object_set(doc, "duration_ms", run);
    if (problem != NULL &&
        json_object_set_new(doc, "problem", problem_document(inv->x, problem)) != 0)
        return NULL;
    return FAAS_STEAL(doc);
}

static void end_events(struct invoke *inv, const json_t *end, const struct problem *problem)
{
    FAAS_AUTO(json_t) *doc = record(inv, end, problem);
    FAAS_AUTO(char) *json = doc != NULL ? faas_json_text(doc, NULL) : NULL;
    size_t len = 0;
    FAAS_AUTO(char) *last = json != NULL ? sse_end(json, &len) : NULL;

    if (last != NULL)
        http_stream_end(inv->x, last, len);
    else
        http_stream_break(inv->x);
}

bool invoke_stream_close(struct invoke *inv, const json_t *end, const struct problem *problem)
{
    bool is_empty_success = inv->shape == GW_EVENTS && problem == NULL;
    faas_err err = {0};

    if (!inv->has_begun && (!is_empty_success || begin(inv, &err) != FAAS_OK))
        return false;
    if (problem != NULL)
        inv->x->code = faas_code_slug(problem->code);
    if (inv->shape == GW_EVENTS)
        end_events(inv, end, problem);
    else if (problem == NULL)
        http_stream_end(inv->x, NULL, 0);
    else
        http_stream_break(inv->x);
    return true;
}
