#include "invoke_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/params.h"
#include "gateway/problem.h"

#define SEARCH_MS    5000 /* for an owner that listens; islands of the bus have met by then */
#define SEARCH_GAP   50   /* ms between two rounds through all of them */
#define ASK_AGAIN_MS 1000 /* while a peer says that the call goes on, past its budget */
#define ASKS         30   /* ... so many times */
#define SILENT_MS    200  /* between two questions to an owner that said nothing yet */
#define FOLLOW_MS    1200 /* after a loss, for another owner; a process that died is back by then */
/* A call that may not run again is told to be lost within 3 s.  Its publisher dies or falls silent
 *   before its first word: from the sending, FAAS_TAKEN_MS 500 + a fence 400 + a last word 1500,
 *   while it is asked again;
 *   behind TAKEN: from the death, FAAS_BEAT_DEAD_MS 2000 + FAAS_BEAT_MS 200 + a probe of 300, and no
 *   last word, which 2 s of silence are enough for;
 * that is 2.4 and 2.5 s, and 0.3 s more until the next owner says so, which looks for the function.
 * Where there is no other one, FOLLOW_MS come on top.  services/publisher/publisher.h has the sum of
 * a spawner's death. */
#define LAST_WORD_MS 1500 /* frames or the publisher's FAIL may be on their way */

void invoke_arm(struct invoke *inv, int64_t ms)
{
    struct ev_loop *ev = faas_loop_ev(inv->gw->rt->loop);

    ev_timer_stop(ev, &inv->timer);
    ev_timer_set(&inv->timer, (double)ms / 1000.0, 0.0);
    ev_timer_start(ev, &inv->timer);
}

/* The exchange was answered: nothing of the call is left. */
static void end(struct invoke *inv)
{
    ev_timer_stop(faas_loop_ev(inv->gw->rt->loop), &inv->timer);
    invoke_stream_stop(inv);
    invoke_forget_asks(inv);
    TAILQ_REMOVE(&inv->gw->invokes, inv, link);
    inv->gw->running--;
    invoke_free(inv);
}

static void fail(struct invoke *inv, faas_code code, const char *why)
{
    faas_err err = {0};

    (void)faas_fail(&err, code, "%s", why);
    invoke_answer_err(inv, &err, code == FAAS_LOST);
    end(inv);
}

static void lose(struct invoke *inv)
{
    fail(inv, FAAS_LOST,
         "whoever ran the call was lost before it answered; the function may have run: look at "
         "its effects before calling it again");
}

/* A last word may be on its way; without one the call is lost. */
static void wait_for_last_word(struct invoke *inv)
{
    inv->phase = INVOKE_LOST;
    invoke_arm(inv, LAST_WORD_MS);
}

/* ---- finding an owner ---- */

/* All that were known do not listen: after a while there may be others. */
static void search_again(struct invoke *inv)
{
    inv->phase = INVOKE_SEARCH;
    inv->tried_count = 0;
    if (faas_now_ns() >= inv->search_until_ns) {
        if (inv->losses > 0)
            lose(inv);
        else
            fail(inv, FAAS_UNAVAILABLE,
                 "no publisher can be reached at the moment; the function was not started, try "
                 "again");
        return;
    }
    invoke_arm(inv, SEARCH_GAP);
}

static void send_attempt(struct invoke *inv)
{
    const struct faas_member *owner = invoke_next_owner(inv);
    faas_err err = {0};
    faas_code rc;

    if (owner == NULL) {
        search_again(inv);
        return;
    }
    if (inv->is_picked && owner->level < FAAS_LEVEL_VERSIONS) {
        fail(inv, FAAS_UNAVAILABLE, INVOKE_OLDER);
        return;
    }
    if (inv->input_bytes > 0 && owner->level < FAAS_LEVEL_INPUT) {
        fail(inv, FAAS_UNAVAILABLE, INVOKE_NO_INPUT);
        return;
    }
    memcpy(inv->owner.id, owner->id, sizeof inv->owner.id);
    memcpy(inv->owner.epoch, owner->epoch, sizeof inv->owner.epoch);
    inv->attempt++;
    inv->accepted_try = inv->given_up_try = 0; /* another publisher counts from 1 */
    inv->may_run_again = false;
    invoke_forget_asks(inv); /* they are about the attempt before */
    inv->phase = INVOKE_SENT;
    rc = invoke_publish(inv, &err);
    if (rc == FAAS_UNAVAILABLE) { /* not connected: it never left */
        search_again(inv);
    } else if (rc != FAAS_OK) {
        invoke_answer_err(inv, &err, inv->losses > 0);
        end(inv);
    } else {
        invoke_arm(inv, FAAS_TAKEN_MS);
    }
}

/* The newest attempt reached nobody, or a process that it was not for: nobody has it, or will. */
static void on_untaken(struct invoke *inv)
{
    if (inv->phase != INVOKE_SENT && inv->phase != INVOKE_SILENT && inv->phase != INVOKE_LOST)
        return;
    if (inv->tried_count == INVOKE_TRIED) {
        search_again(inv);
        return;
    }
    memcpy(inv->tried[inv->tried_count++], inv->owner.id, sizeof inv->owner.id);
    send_attempt(inv);
}

/* What came so far counts no more. */
bool invoke_begin_anew(struct invoke *inv, uint32_t given_up_try)
{
    faas_err err = {0};

    if (invoke_receive(inv, &err) != FAAS_OK)
        return false;
    inv->spawner = (struct peer){.id = ""};
    inv->given_up_try = given_up_try;
    inv->accepted_try = 0;
    inv->accepted_ns = 0;
    inv->asks_left = ASKS;
    invoke_forget_asks(inv);
    return true;
}

static bool can_follow(const struct invoke *inv)
{
    bool is_shown = inv->has_begun && !inv->is_left; /* a part of its output: not twice */

    return !is_shown && inv->losses < INVOKE_LOSSES;
}

/* Its owner is gone, and it may have begun.  What may be done then is the function's to say, and the
 * next owner knows the function: it runs an idempotent one again, and says `lost` of any other. */
static void follow(struct invoke *inv)
{
    if (!can_follow(inv) || !invoke_begin_anew(inv, 0)) {
        lose(inv);
        return;
    }
    invoke_leave_owner(inv);
    memcpy(inv->lost_with[inv->losses++], inv->owner.epoch, sizeof inv->owner.epoch);
    inv->tried_count = 0;
    inv->search_until_ns = faas_deadline_in_ms(FOLLOW_MS);
    send_attempt(inv);
}

/* ---- silence ---- */

/* It stands still, or one of us had no connection for a moment.  Then it may still say that it never
 * got the call; and a function that may run again need not wait for that. */
static void stay_silent(struct invoke *inv)
{
    if (faas_now_ns() >= inv->silent_until_ns ||
        (inv->may_run_again && !invoke_is_owner_heard(inv))) {
        follow(inv);
        return;
    }
    invoke_arm(inv, SILENT_MS);
    if (!inv->may_run_again && can_follow(inv))
        invoke_ask_follower(inv);
    invoke_ask_state(inv);
}

static void fall_silent(struct invoke *inv)
{
    inv->phase = INVOKE_SILENT;
    inv->silent_until_ns = faas_deadline_in_ms(LAST_WORD_MS);
    stay_silent(inv);
}

void invoke_on_may_run(struct invoke *inv)
{
    inv->may_run_again = true;
    if (inv->phase == INVOKE_SILENT && !invoke_is_owner_heard(inv))
        follow(inv);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct invoke *inv = timer->data;

    (void)ev;
    (void)events;
    switch (inv->phase) {
    case INVOKE_SEARCH:
        send_attempt(inv);
        break;
    case INVOKE_SENT:
        invoke_ask_follower(inv); /* the answer is there when that of its owner should be */
        invoke_ask_state(inv);
        break;
    case INVOKE_SILENT:
        stay_silent(inv);
        break;
    case INVOKE_TAKEN:
        invoke_ask_state(inv);
        break;
    case INVOKE_RUNNING:
        if (invoke_stream_is_full(inv)) /* nothing can come: it is the client that is waited for */
            invoke_arm(inv, ASK_AGAIN_MS);
        else
            invoke_ask_state(inv);
        break;
    case INVOKE_LOST:
        follow(inv);
        break;
    case INVOKE_LEAVING:
        break; /* cancels have their own deadline */
    }
}

static void ask_later(struct invoke *inv)
{
    if (inv->asks_left-- > 0)
        invoke_arm(inv, ASK_AGAIN_MS);
    else
        lose(inv);
}

void invoke_on_state(struct invoke *inv, enum invoke_state state)
{
    bool is_untold = inv->phase == INVOKE_SENT || inv->phase == INVOKE_SILENT;

    if (inv->phase == INVOKE_LEAVING || inv->phase == INVOKE_SEARCH)
        return;
    if (state == INVOKE_NEVER && is_untold) {
        /* It now refuses this attempt, so a higher one may go to whoever owns the function. */
        if (faas_now_ns() < inv->search_until_ns)
            send_attempt(inv);
        else
            search_again(inv);
    } else if (ev_is_active(&inv->timer) && inv->phase != INVOKE_SILENT) {
        return; /* it spoke meanwhile */
    } else if (state == INVOKE_GOING_ON) {
        if (is_untold)
            inv->phase = INVOKE_TAKEN; /* TAKEN itself was lost */
        ask_later(inv);
    } else if (inv->phase == INVOKE_SENT && state == INVOKE_NO_WORD) {
        fall_silent(inv);
    } else if (inv->phase != INVOKE_SILENT || state != INVOKE_NO_WORD) {
        wait_for_last_word(inv);
    }
}

/* ---- frames ---- */

/* That nobody listened may be said of an attempt before, late. */
static bool is_newest(const struct invoke *inv, const faas_msg *msg)
{
    char label[FAAS_INBOX_LABEL];

    faas_inbox_label(inv->inbox, msg, label);
    return strtoul(label, NULL, 10) == inv->attempt;
}

static void on_message(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct invoke *inv = arg;
    struct faas_frame last;
    faas_err err = {0};

    if (faas_msg_is_no_responders(msg)) {
        if (is_newest(inv, msg))
            on_untaken(inv);
        return;
    }
    if (inv->phase == INVOKE_LEAVING)
        return;
    switch (invoke_take_message(inv, msg, &last)) {
    case INVOKE_GOES_ON:
        return;
    case INVOKE_COMPLETE:
        invoke_answer_end(inv);
        break;
    case INVOKE_FAILED:
        if (inv->losses > 0) { /* whatever the reason: an attempt before may have run */
            lose(inv);
            return;
        }
        invoke_answer_fail(inv, &last);
        break;
    case INVOKE_UNTAKEN:
        on_untaken(inv);
        return;
    case INVOKE_TORN: /* its first part cannot be taken back */
        (void)invoke_cancel(inv);
        lose(inv);
        return;
    case INVOKE_BROKEN:
        (void)invoke_cancel(inv); /* its answer is not waited for */
        (void)faas_fail(
            &err, FAAS_UNAVAILABLE,
            "the function ran, but its result arrived damaged or there was no room to keep it");
        invoke_answer_err(inv, &err, true);
        break;
    }
    end(inv);
}

static void send_credit(void *arg, const char *reply, const void *msg, size_t len)
{
    struct invoke *inv = arg;
    const struct faas_header headers[] = {{FAAS_H_PROTO, FAAS_PROTO}, {NULL, NULL}};
    const struct faas_out out = {.subject = reply, .headers = headers, .data = msg, .len = len};
    faas_err err = {0};

    if (faas_frames_in_end(inv->in) != NULL) { /* the sender only keeps it until then */
        faas_gather_add(&inv->gw->credits, FAAS_DATA, reply, msg, len);
        return;
    }
    if (faas_bus_publish(inv->gw->rt->bus, FAAS_DATA, &out, &err) != FAAS_OK)
        FAAS_LOG(DEBUG, "a credit was not sent", FAAS_LSTR("call", inv->x->id),
                 FAAS_LSTR("error", err.msg)); /* the sender repeats itself, and so do we */
}

faas_code invoke_receive(struct invoke *inv, faas_err *err)
{
    struct faas_frames_in_conf conf = {.spill_dir = inv->gw->conf.spill_dir,
                                       .credit = send_credit,
                                       .sink = inv->shape != GW_WHOLE ? invoke_stream_take : NULL,
                                       .arg = inv,
                                       .is_batched = true};
    faas_frames_in *in;

    memcpy(conf.id, inv->x->id, sizeof conf.id);
    FAAS_TRY(faas_frames_in_new(&conf, &in, err));
    faas_frames_in_free(inv->in);
    inv->in = in;
    return FAAS_OK;
}

/* ---- death and leaving ---- */

static void on_death(struct invoke *inv, bool is_publisher, bool was_silent)
{
    if (is_publisher && was_silent && (inv->phase == INVOKE_TAKEN || inv->phase == INVOKE_SILENT))
        follow(inv);
    else if (is_publisher && inv->phase == INVOKE_SENT)
        invoke_ask_state(inv); /* perhaps NATS says that it never got the call */
    else if (inv->phase == (is_publisher ? INVOKE_TAKEN : INVOKE_RUNNING))
        wait_for_last_word(inv);
}

void invoke_on_member(struct gateway *gw, const struct faas_member *member,
                      enum faas_member_change change)
{
    bool is_publisher = strcmp(member->service, "publisher") == 0;
    struct invoke *inv, *next;

    if (change == FAAS_MEMBER_JOINED || (!is_publisher && strcmp(member->service, "spawner") != 0))
        return;
    for (inv = TAILQ_FIRST(&gw->invokes); inv != NULL; inv = next) {
        const struct peer *peer = is_publisher ? &inv->owner : &inv->spawner;

        next = TAILQ_NEXT(inv, link);
        /* RESTARTED tells the new epoch: the one we knew is gone. */
        if (strcmp(peer->id, member->id) == 0 &&
            (change != FAAS_MEMBER_RESTARTED || strcmp(peer->epoch, member->epoch) != 0))
            on_death(inv, is_publisher, change == FAAS_MEMBER_DIED);
    }
}

void invoke_on_client_gone(http_exchange *x)
{
    struct invoke *inv = x->state;

    ev_timer_stop(faas_loop_ev(inv->gw->rt->loop), &inv->timer);
    invoke_forget_asks(inv);
    inv->phase = INVOKE_LEAVING;
    if (!invoke_cancel(inv))
        invoke_on_cancelled(inv);
}

void invoke_on_cancelled(struct invoke *inv)
{
    fail(inv, FAAS_CLIENT_GONE,
         "the client closed its side of the connection before the answer; the call was cancelled");
}

/* ---- life ---- */

static void start(http_exchange *x)
{
    struct invoke *inv = x->state;
    struct gateway *gw = inv->gw;
    faas_err err = {0};
    faas_code rc;

    ev_init(&inv->timer, on_timer);
    inv->timer.data = inv;
    invoke_stream_start(inv);
    inv->phase = INVOKE_SEARCH;
    inv->asks_left = ASKS;
    inv->sent_ns = faas_now_ns();
    inv->search_until_ns = faas_deadline_in_ms(SEARCH_MS);
    TAILQ_INSERT_TAIL(&gw->invokes, inv, link);
    gw->running++;
    if (gw->is_stopped) {
        fail(inv, FAAS_UNAVAILABLE, "the gateway is shutting down");
        return;
    }
    rc = invoke_receive(inv, &err);
    if (rc == FAAS_OK)
        rc = faas_inbox_open(gw->rt->rpc, on_message, inv, &inv->inbox, &err);
    if (rc != FAAS_OK) {
        invoke_answer_err(inv, &err, false);
        end(inv);
        return;
    }
    if (!inv->is_going_on)
        http_watch(x, invoke_on_client_gone);
    send_attempt(inv);
}

void invoke_begin(struct gateway *gw, http_exchange *x)
{
    struct invoke *inv = NULL;
    faas_err err = {0};

    if (invoke_new(gw, x, &inv, &err) != FAAS_OK) {
        problem_from_err(x, &err, NULL);
        return;
    }
    x->state = inv;
    if (http_defer(x, start))
        return;
    invoke_free(inv);
    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    problem_from_err(x, &err, NULL);
}

void invoke_stop(struct gateway *gw)
{
    struct invoke *inv;

    while ((inv = TAILQ_FIRST(&gw->invokes)) != NULL)
        fail(inv, FAAS_LOST,
             "the gateway was stopped before the call ended; the function may have run");
}
