/* Moves calls along the table of call.h until a spawner has accepted them; finish.c ends them. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <stdio.h>
#include <string.h>

#define TICK_NS (100 * FAAS_MS_NS)

/* ---- timers ---- */

static void on_step(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct live *call = timer->data;

    (void)ev;
    (void)events;
    drive(call, call->state == CALL_WAITING ? CALL_EV_WAITED : CALL_EV_SILENT);
}

static void on_guard(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    drive(timer->data, CALL_EV_TIME_UP);
}

/* Most calls end sooner, and need not be told of. */
static void on_told(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    wire_taken(timer->data);
}

void drive_timers_init(struct live *call)
{
    ev_init(&call->step, on_step);
    ev_init(&call->guard, on_guard);
    call->step.data = call;
    call->guard.data = call;
    ev_init(&call->told, on_told);
    call->told.data = call;
}

void drive_arm(struct live *call, ev_timer *timer, int64_t ms)
{
    struct ev_loop *ev = faas_loop_ev(call->pub->rt->loop);

    ev_now_update(ev); /* a long batch of messages must not eat the time */
    ev_timer_stop(ev, timer);
    ev_timer_set(timer, (double)(ms > 0 ? ms : 0) / 1000.0, 0);
    ev_timer_start(ev, timer);
}

static void disarm(struct live *call, ev_timer *timer)
{
    ev_timer_stop(faas_loop_ev(call->pub->rt->loop), timer);
}

int64_t drive_timeout_ms(const struct live *call)
{
    int64_t most = call->rec->timeout_ms;

    return call->asked_ms > 0 && call->asked_ms < most ? call->asked_ms : most;
}

/* ---- RESOLVING ---- */

static void on_looked_up(void *arg, struct record *rec, const faas_err *err)
{
    struct live *call = arg;

    if (rec == NULL) {
        call->err = *err;
        drive(call, CALL_EV_REFUSED);
        return;
    }
    call->rec = record_ref(rec);
    if (!ev_is_active(&call->told))
        wire_taken(call); /* it was told a budget for the search */
    drive(call, CALL_EV_FOUND);
}

struct resolve_want drive_want(const struct live *call)
{
    return (struct resolve_want){
        .tenant = call->tenant, .ref = &call->ref, .call_id = call->page.id};
}

static void do_read(struct live *call)
{
    const struct resolve_want want = drive_want(call);

    call->look.done = on_looked_up;
    call->look.arg = call;
    resolve_ask(&call->pub->resolve, &want, &call->look);
}

/* ---- SEEKING ---- */

/* call->err keeps what the last spawner said when none is able. */
static void explain(struct live *call, enum place_verdict why)
{
    call->retry_after_s = 1;
    if (why == PLACE_NOBODY)
        (void)faas_fail(&call->err, FAAS_UNAVAILABLE, "no spawner is running; nothing was started");
    else if (why == PLACE_UNABLE && call->err.code == FAAS_OK)
        (void)faas_fail(&call->err, FAAS_UNAVAILABLE,
                        "no spawner can run this function at the moment; nothing was started");
    else if (why == PLACE_PASSING)
        (void)faas_fail(&call->err, FAAS_UNAVAILABLE,
                        "no spawner took the call; nothing was started, try again");
    else if (why == PLACE_ALL_BUSY || why == PLACE_MAY_PULL)
        (void)faas_fail(&call->err, FAAS_BUSY, "%s; try again, or set max_wait_ms to wait for room",
                        call->is_left_to_others ? "you have your share, and others need theirs"
                                                : "every spawner is full");
}

static int64_t max_wait_ms(const struct live *call)
{
    return call->job != NULL ? JOBS_WAIT_MS : call->rec->max_wait_ms;
}

/* grace_ms: it may wait so long whatever its function says, once. */
static void no_room(struct live *call, uint64_t grace_ms)
{
    uint64_t now = faas_now_ns();

    call->retry_after_s = 1;
    if (grace_ms > 0 && call->grace_until_ns == 0)
        call->grace_until_ns = now + grace_ms * FAAS_MS_NS;
    call->wait_until_ns = call->taken_ns + (uint64_t)max_wait_ms(call) * FAAS_MS_NS;
    if (grace_ms > 0 && call->grace_until_ns > call->wait_until_ns)
        call->wait_until_ns = call->grace_until_ns;
    drive(call, now < call->wait_until_ns ? CALL_EV_FULL : CALL_EV_REFUSED);
}

/* Was there one a moment ago?  Then it may be restarting. */
static bool spawner_may_return(const struct publisher *pub)
{
    const struct faas_member *member;
    uint64_t now = faas_now_ns();

    for (size_t i = 0; (member = faas_members_at(pub->rt->members, "spawner", i)) != NULL; i++)
        if (now < member->seen_ns + RESTART_MS * FAAS_MS_NS)
            return true;
    return false;
}

static bool has_token(struct live *call)
{
    if (!call->is_repeat)
        return true;
    call->is_repeat = false;
    if (call->pub->repeat_tokens < REPEAT_TOKENS_COST) {
        (void)faas_fail(&call->err, FAAS_UNAVAILABLE,
                        "too many spawners do not answer; nothing was started, try again");
        return false;
    }
    call->pub->repeat_tokens -= REPEAT_TOKENS_COST;
    metric_count(M_REPLACED);
    return true;
}

static uint64_t grace_ms(const struct live *call, enum place_verdict why)
{
    if (why == PLACE_PASSING || (why == PLACE_NOBODY && spawner_may_return(call->pub)))
        return PASSING_MS;
    return why == PLACE_ALL_BUSY && (call->lost > 0 || room_is_owed(call)) ? OWED_MS : 0;
}

/* Of another version than the one that an owner before may have run nothing is known. */
static bool may_follow(struct live *call)
{
    const struct again_loss loss = {.rec = call->rec,
                                    .ref = &call->ref,
                                    .lost = call->lost,
                                    .sent_ns = again_sent_ns(call->taken_ns, call->age_ms)};

    return again_may_run(call->pub, &loss);
}

/* Once for each call, when its function is known. */
static faas_code check(struct live *call)
{
    if (call->is_checked)
        return FAAS_OK;
    call->is_checked = true;
    if (call->lost > 0 && !may_follow(call))
        return faas_fail(&call->err, FAAS_LOST, "it may have run, and may not run again");
    if (call->input_bytes > 0)
        return record_check_input(call->rec, call->input_bytes, &call->err);
    return record_check_argument(call->rec, call->arg, call->arg_len, &call->err);
}

static void do_seek(struct live *call)
{
    enum place_verdict why = PLACE_ALL_BUSY;

    disarm(call, &call->step);
    if (call->ledger == LIVE_SENT) /* it refused, or never saw it */
        finish_ledger(call, PLACE_REFUSED);
    if (check(call) != FAAS_OK) {
        drive(call, CALL_EV_REFUSED);
        return;
    }
    if (!has_token(call)) {
        drive(call, CALL_EV_REFUSED);
        return;
    }
    call->is_hungry = false;
    if (room_is_capped(call)) {
        no_room(call, 0);
        return;
    }
    if (tally_of(&call->pub->waiting_by_function, call->rec->id) > 0 && !call->is_counted) {
        /* Those that came before go first, and what they wait for, this one may wait for, too. */
        why = room_places(call->pub).all > 0 ? PLACE_ALL_BUSY : PLACE_NOBODY;
        explain(call, why);
        call->is_hungry = why == PLACE_ALL_BUSY;
        no_room(call, grace_ms(call, why));
        return;
    }
    if (room_choose(call, &why)) {
        drive(call, CALL_EV_ROOM);
        return;
    }
    explain(call, why);
    call->is_hungry = why == PLACE_ALL_BUSY;
    no_room(call, grace_ms(call, why));
}

/* ---- WAITING ---- */

static void do_queue(struct live *call)
{
    faas_err err = {0};

    disarm(call, &call->guard);
    if (room_queue(call, &err) != FAAS_OK) {
        call->err = err;
        drive(call, CALL_EV_REFUSED);
        return;
    }
    drive_arm(call, &call->step, faas_left_ms(call->wait_until_ns));
    history_on_queued(call);
}

/* ---- PLACING ---- */

static void do_send(struct live *call)
{
    if (call->tries >= PUBLISHER_TRIES) {
        (void)faas_fail(&call->err, FAAS_BUSY, "%d spawners refused the call; try again later",
                        PUBLISHER_TRIES);
        drive(call, CALL_EV_REFUSED);
        return;
    }
    call->tries++;
    call->place = call->attempt * 256 + call->tries;
    call->err = (faas_err){0};
    call->unanswered = 0;
    if (room_count_in(call) != FAAS_OK || wire_place(call, &call->err) != FAAS_OK) {
        drive(call, CALL_EV_REFUSED);
        return;
    }
    metric_count(M_PLACED);
    call->sent_ns = faas_now_ns();
    place_ledger_note(&call->pub->ledger, call->at.id, call->at.epoch, PLACE_SENT);
    call->ledger = LIVE_SENT;
    drive_arm(call, &call->step, FAAS_ACCEPT_MS);
    if (!ev_is_active(&call->guard))
        drive_arm(call, &call->guard, PLACE_BUDGET_MS);
}

void drive_release_message(struct live *call)
{
    if (call->msg == NULL)
        return;
    call->pub->bytes_held -= faas_msg_len(call->msg);
    usage_release_bytes(call->usage, faas_msg_len(call->msg));
    faas_msg_free(call->msg);
    call->msg = NULL;
    call->arg = NULL;
}

static void do_accept(struct live *call)
{
    int64_t budget = call->accept_budget_ms;

    disarm(call, &call->step);
    disarm(call, &call->told); /* the caller hears from the spawner */
    if (!drive_may_run_again(call))
        drive_release_message(call);
    finish_ledger(call, PLACE_ACCEPTED);
    call->accepted_ns = faas_now_ns();
    metric_time(M_ACCEPT_TIME, call->accepted_ns - call->taken_ns);
    if (call->job != NULL)
        job_on_placed(call);
    if (budget <= 0)
        budget = call->rec->start_timeout_ms + drive_timeout_ms(call);
    drive_arm(call, &call->guard, budget + RUN_SLACK_MS);
    history_on_placed(call);
}

static void do_start(struct live *call)
{
    if (call->accepted_ns == 0) /* that event was lost */
        do_accept(call);
    call->started_ns = faas_now_ns();
    history_on_started(call);
}

static void do_kill(struct live *call)
{
    if (call->accepted_ns == 0)
        do_accept(call);
    ask_cancel(call);
}

/* ---- running again ---- */

/* A queued call's runs are counted by job_policy.c. */
bool drive_may_run_again(const struct live *call)
{
    return call->job == NULL && call->rec != NULL &&
           job_retry_allows_loss(&call->rec->retry, call->lost + 1);
}

void drive_died(struct live *call)
{
    bool may = drive_may_run_again(call) && call_move(call->state, CALL_EV_AGAIN) != NULL;

    drive(call, may ? CALL_EV_AGAIN : CALL_EV_DIED);
}

static void do_redo(struct live *call)
{
    struct place_answer answer = call->at;
    faas_err err;

    FAAS_LOG(WARN, "an idempotent call is placed again", FAAS_LSTR("call", call->page.id),
             FAAS_LSTR("spawner", call->at.id), FAAS_LINT("place", call->place));
    metric_count(M_REDONE);
    ask_give_up(call);
    finish_ledger(call, PLACE_ENDED);
    call->lost++;
    call->accepted_ns = call->started_ns = 0;
    call->accept_budget_ms = 0;
    call->grace_until_ns = 0;
    disarm(call, &call->guard);
    disarm(call, &call->told);
    wire_taken_again(call);
    answer.reason = PLACE_SILENT;
    if (place_round_note(&call->round, &answer, &err) != FAAS_OK)
        FAAS_LOG(ERROR, "no memory for a spawner's answer", FAAS_LSTR("call", call->page.id));
    do_seek(call);
}

/* ---- lateness ---- */

static void give_up(struct publisher *pub)
{
    struct book_page *page, *next;
    int count = 0;

    for (page = TAILQ_FIRST(&pub->book.live); page != NULL; page = next) {
        struct live *call = (struct live *)page;

        next = TAILQ_NEXT(page, link);
        if (call_is_placed(call->state))
            continue;
        (void)faas_fail(&call->err, FAAS_UNAVAILABLE,
                        "the platform was held up; nothing was started, try again");
        metric_count(M_GIVEN_UP);
        count++;
        drive(call, CALL_EV_GIVE_UP);
    }
    FAAS_LOG(WARN, "the loop was over a second late", FAAS_LINT("calls_given_up", count));
}

void drive_check_late(struct publisher *pub)
{
    uint64_t now = faas_now_ns();
    bool is_late = now > pub->tick_due_ns + FAAS_S_NS;

    if (!is_late)
        return;
    pub->tick_due_ns = now + TICK_NS;
    resolve_was_late(&pub->resolve);
    jobs_scan_soon(pub->jobs, 0);
    give_up(pub);
}

void drive_on_tick(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct publisher *pub = timer->data;
    uint64_t now;

    (void)ev;
    (void)events;
    drive_check_late(pub);
    now = faas_now_ns();
    pub->tick_due_ns = now + TICK_NS;
    usage_sweep(&pub->usage, now);
    book_forget_old(&pub->book, now);
    wire_use(pub);
}

/* ---- the table ---- */

static void do_fail(struct live *call)
{
    finish_failed(call, call->lost > 0);
}

static void do_lose(struct live *call)
{
    ask_cancel_only(call);
    finish_failed(call, true);
}

static void do_hold(struct live *call)
{
    (void)call; /* the answer to the fence, which is on its way, decides */
}

void drive(struct live *call, enum call_event event)
{
    static void (*const actions[CALL_ACTION_END])(struct live *) = {
        [CALL_DO_READ] = do_read,        [CALL_DO_SEEK] = do_seek,
        [CALL_DO_QUEUE] = do_queue,      [CALL_DO_SEND] = do_send,
        [CALL_DO_FENCE] = ask_fence,     [CALL_DO_HOLD] = do_hold,
        [CALL_DO_ACCEPT] = do_accept,    [CALL_DO_START] = do_start,
        [CALL_DO_KILL] = do_kill,        [CALL_DO_FINISH] = finish_ended,
        [CALL_DO_DROP] = finish_dropped, [CALL_DO_REDO] = do_redo,
        [CALL_DO_FAIL] = do_fail,        [CALL_DO_LOSE] = do_lose,
    };
    const struct call_move *move = call_move(call->state, event);

    if (move == NULL) {
        metric_count(M_IGNORED);
        return;
    }
    call->state = move->next;
    actions[move->action](call);
}
