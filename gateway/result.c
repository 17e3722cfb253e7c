/* GET /v1/calls/ID/result: the kept result of a queued call, as its caller would have got it.  A
 * publisher sends it in frames; when they stop coming another publisher is asked. */
#include "gateway/queued.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"
#include "gateway/forward.h"
#include "gateway/invoke_internal.h"
#include "gateway/problem.h"

#define SILENCE_S 4.0 /* between two messages of a result */
#define AGAIN_S   0.1
#define TRIES     4

struct result {
    TAILQ_ENTRY(result) link;
    struct invoke inv; /* what the answer is made of: exchange, frames */
    struct gateway *gw;
    ev_timer timer;
    int tries;
    bool is_pausing;
};

static void ask(struct result *res);

static void forget_frames(struct result *res)
{
    faas_inbox_close(res->inv.inbox);
    faas_frames_in_free(res->inv.in);
    res->inv.inbox = NULL;
    res->inv.in = NULL;
}

static void end(struct result *res)
{
    ev_timer_stop(faas_loop_ev(res->gw->rt->loop), &res->timer);
    TAILQ_REMOVE(&res->gw->results, res, link);
    forget_frames(res);
    free(res);
}

static void fail(struct result *res, faas_code code, const char *text)
{
    faas_err err = {0};

    (void)faas_fail(&err, code, "%s", text);
    problem_from_err(res->inv.x, &err, "publisher");
    end(res);
}

static void arm(struct result *res, double s)
{
    struct ev_loop *ev = faas_loop_ev(res->gw->rt->loop);

    ev_timer_stop(ev, &res->timer);
    ev_timer_set(&res->timer, s, 0.0);
    ev_timer_start(ev, &res->timer);
}

static void try_again(struct result *res)
{
    forget_frames(res);
    if (++res->tries >= TRIES) {
        fail(res, FAAS_UNAVAILABLE, "the result could not be read at the moment; try again");
        return;
    }
    res->is_pausing = true;
    arm(res, AGAIN_S);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct result *res = timer->data;

    (void)ev;
    (void)events;
    if (res->is_pausing)
        ask(res);
    else
        try_again(res);
}

/* ---- frames ---- */

static enum faas_frames_state take(struct result *res, const faas_msg *msg)
{
    enum faas_frames_state state = FAAS_FRAMES_OPEN;
    struct faas_frame frame;
    bool more = true;
    size_t pos = 0;

    while (state == FAAS_FRAMES_OPEN && more) {
        if (faas_frame_next(faas_msg_data(msg), faas_msg_len(msg), &pos, &frame, &more, NULL) !=
            FAAS_OK)
            break;
        if (more)
            state = faas_frames_in_take(res->inv.in, &frame, faas_msg_reply(msg));
    }
    faas_frames_in_credit(res->inv.in, faas_msg_reply(msg));
    return state;
}

static void refuse(struct result *res, const faas_msg *msg, const char *number)
{
    const char *slug = faas_msg_header(msg, FAAS_H_CODE);
    faas_err err = {0};

    (void)number;
    (void)faas_fail(&err, faas_code_from_slug(slug), "%s",
                    faas_msg_header(msg, FAAS_H_SERVICE_ERR));
    problem_from_err(res->inv.x, &err, "publisher");
    end(res);
}

static void on_message(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct result *res = arg;
    const char *number = faas_msg_header(msg, FAAS_H_SERVICE_NUM);

    if (faas_msg_is_no_responders(msg)) {
        try_again(res);
        return;
    }
    if (number != NULL) {
        refuse(res, msg, number);
        return;
    }
    switch (take(res, msg)) {
    case FAAS_FRAMES_OPEN:
        arm(res, SILENCE_S);
        break;
    case FAAS_FRAMES_BROKEN:
        fail(res, FAAS_UNAVAILABLE, "the result arrived damaged, or there was no room for it");
        break;
    case FAAS_FRAMES_COMPLETE:
        invoke_answer_end(&res->inv);
        end(res);
        break;
    }
}

static void send_credit(void *arg, const char *reply, const void *msg, size_t len)
{
    struct result *res = arg;
    const struct faas_header headers[] = {{FAAS_H_PROTO, FAAS_PROTO}, {NULL, NULL}};
    const struct faas_out out = {.subject = reply, .headers = headers, .data = msg, .len = len};
    faas_err err = {0};

    if (faas_bus_publish(res->gw->rt->bus, FAAS_DATA, &out, &err) != FAAS_OK)
        FAAS_LOG(DEBUG, "a credit was not sent", FAAS_LSTR("call", res->inv.x->id));
}

/* ---- asking ---- */

static faas_code open_ways(struct result *res, faas_err *err)
{
    struct faas_frames_in_conf in = {.spill_dir = res->gw->conf.spill_dir,
                                     .credit = send_credit,
                                     .arg = res,
                                     .is_batched = true};

    memcpy(in.id, res->inv.x->id, sizeof in.id);
    FAAS_TRY(faas_frames_in_new(&in, &res->inv.in, err));
    return faas_inbox_open(res->gw->rt->rpc, on_message, res, &res->inv.inbox, err);
}

static faas_code publish(struct result *res, faas_err *err)
{
    const http_exchange *x = res->inv.x;
    FAAS_AUTO(json_t) *body = json_pack("{s:i, s:s}", "v", 1, "id", x->id);
    const struct faas_header headers[] = {{FAAS_H_PROTO, FAAS_PROTO},
                                          {FAAS_H_ID, x->id},
                                          {FAAS_H_USER, x->caller.user},
                                          {FAAS_H_TENANT, x->caller.tenant},
                                          {NULL, NULL}};
    struct faas_out out = {.subject = FAAS_SUBJ_PUBLISHER_RESULT,
                           .reply = faas_inbox_subject(res->inv.inbox),
                           .headers = headers};
    FAAS_AUTO(char) *text = body != NULL ? faas_json_text(body, &out.len) : NULL;

    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "ask for a result");
    out.data = text;
    return faas_bus_publish(res->gw->rt->bus, FAAS_DATA, &out, err);
}

static void ask(struct result *res)
{
    faas_err err = {0};
    faas_code rc = open_ways(res, &err);

    res->is_pausing = false;
    if (rc == FAAS_OK)
        rc = publish(res, &err);
    if (rc == FAAS_UNAVAILABLE) {
        try_again(res);
    } else if (rc != FAAS_OK) {
        problem_from_err(res->inv.x, &err, NULL);
        end(res);
    } else {
        arm(res, SILENCE_S);
    }
}

/* ---- life ---- */

static void on_client_gone(http_exchange *x)
{
    fail(x->state, FAAS_CLIENT_GONE, "the client left before the result was read");
}

static void start(http_exchange *x)
{
    struct result *res = x->state;

    TAILQ_INSERT_TAIL(&res->gw->results, res, link);
    ev_init(&res->timer, on_timer);
    res->timer.data = res;
    res->inv.sent_ns = faas_now_ns();
    if (res->gw->is_stopped) {
        fail(res, FAAS_UNAVAILABLE, "the gateway is shutting down");
        return;
    }
    http_watch(x, on_client_gone);
    ask(res);
}

static faas_code check(http_exchange *x, faas_err *err)
{
    int64_t wait_ms = 0;

    FAAS_TRY(queued_take_id(x, err));
    FAAS_TRY(queued_question(x, &wait_ms, err));
    if (wait_ms > 0)
        return faas_fail(err, FAAS_INVALID,
                         "wait: not a parameter of this request; GET /v1/calls/ID?wait=60 waits");
    return FAAS_OK;
}

void result_answer(struct gateway *gw, http_exchange *x)
{
    struct result *res = calloc(1, sizeof *res);
    faas_err err = {0};

    if (res == NULL) {
        (void)faas_fail_sys(&err, errno, "ask for a result");
    } else {
        res->gw = res->inv.gw = gw;
        res->inv.x = x;
        x->state = res;
        if (http_defer(x, start))
            return;
        free(res);
        (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    }
    problem_from_err(x, &err, NULL);
}

void result_begin(struct gateway *gw, http_exchange *x)
{
    faas_err err = {0};

    if (check(x, &err) == FAAS_OK)
        result_answer(gw, x);
    else
        problem_from_err(x, &err, NULL);
}

void result_stop(struct gateway *gw)
{
    struct result *res;

    while ((res = TAILQ_FIRST(&gw->results)) != NULL)
        fail(res, FAAS_UNAVAILABLE, "the gateway is shutting down");
}
