/* docker_end.c - a call on its way out: stopped or exited, told, removed. */
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "docker.h"

#define KILL_EVERY_S   2.0
#define KILL_TRIES     15
#define EOF_WAIT_S     5.0  /* silence of the output after the exit; then it is broken */
#define EOF_KILLED_S   0.25 /* the same for a killed container, whose stdout nobody gets */
#define INSPECT_MS     5000
#define OOM_LOOKS      5 /* after SIGKILL: that memory ran out the engine may learn after the exit */
#define OOM_LOOK_S     0.1
#define REMOVE_MS      60000
#define REMOVE_TRIES   5
#define REMOVE_FIRST_S 0.2

static void remove_container(struct rt_call *call);

/* ---- telling ---- */

static double ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return from_ns == 0 || to_ns <= from_ns ? 0.0 : (double)(to_ns - from_ns) / 1e6;
}

/* The one place where end is told.  The container, if there is one, is removed behind it. */
static void tell_end(struct rt_call *call)
{
    struct docker *dk = call->dk;
    struct rt_outcome outcome = {
        .start_ms = ms_between(call->begun_ns, call->started_ns),
        .run_ms = ms_between(call->started_ns, call->exited_ns),
    };

    outcome_decide(&call->facts, &outcome);
    call->stage = RUN_OVER;
    ev_timer_stop(dk->ev, &call->start_timer);
    ev_timer_stop(dk->ev, &call->run_timer);
    ev_timer_stop(dk->ev, &call->retry_timer);
    ev_timer_stop(dk->ev, &call->eof_timer);
    images_cancel(call->image);
    engine_abort(call->req);
    engine_abort(call->wait);
    engine_abort(call->kill);
    attach_close(call->out);
    call->image = NULL;
    call->req = call->wait = call->kill = NULL;
    call->out = NULL;
    dk->running--;
    dk->removing++;
    docker_turn_leave(call);
    call->sink.end(call->sink.arg, &outcome);
    call->tries = 0;
    remove_container(call);
}

void docker_fail(struct rt_call *call, const faas_err *err)
{
    faas_err copy = *err;

    if (call->stage == RUN_OVER)
        return;
    call->facts.failure = &copy;
    tell_end(call);
}

void docker_lost(struct rt_call *call)
{
    if (call->stage == RUN_OVER)
        return;
    call->facts.is_lost = true;
    engine_suspect(call->dk->eng);
    tell_end(call);
}

/* ---- exit ---- */

static void inspect(struct rt_call *call);

static void on_look_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)events;
    inspect(timer->data);
}

static void on_inspected(void *arg, const struct engine_reply *reply)
{
    struct rt_call *call = arg;
    FAAS_AUTO(json_t) *doc = engine_reply_json(reply);

    call->req = NULL; /* without an answer the cause stays unsaid; the status is known anyway */
    call->facts.was_oom_killed =
        json_is_true(json_object_get(json_object_get(doc, "State"), "OOMKilled"));
    if (doc == NULL || call->facts.was_oom_killed ||
        outcome_signal(call->facts.exit_code) != SIGKILL || ++call->looks == OOM_LOOKS) {
        tell_end(call);
        return;
    }
    ev_set_cb(&call->retry_timer, on_look_timer);
    ev_timer_set(&call->retry_timer, OOM_LOOK_S, 0.0);
    ev_timer_start(call->dk->ev, &call->retry_timer);
}

static void inspect(struct rt_call *call)
{
    char path[160];
    struct engine_call order = {
        .method = "GET", .path = path, .timeout_ms = INSPECT_MS, .done = on_inspected, .arg = call};
    faas_err err;

    call->stage = RUN_INSPECT;
    ev_timer_stop(call->dk->ev, &call->run_timer);
    snprintf(path, sizeof path, "/containers/%s/json", call->container);
    if (engine_send(call->dk->eng, &order, &call->req, &err) != FAAS_OK)
        tell_end(call);
}

static void on_eof_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct rt_call *call = timer->data;

    (void)ev, (void)events;
    ev_timer_stop(call->dk->ev, &call->eof_timer);
    if (call->is_paused) { /* our own reader is the slow one */
        ev_timer_again(call->dk->ev, &call->eof_timer);
        return;
    }
    call->is_eof = true;
    call->facts.is_output_broken = true;
    docker_maybe_end(call);
}

void docker_maybe_end(struct rt_call *call)
{
    bool is_stopped = call->facts.stop != STOP_NONE;

    if (call->stage == RUN_CONNECT && is_stopped) { /* created, never started */
        tell_end(call);
        return;
    }
    if (call->stage != RUN_RUNS || !call->has_exited)
        return;
    if (!call->is_eof) {
        if (!ev_is_active(&call->eof_timer)) {
            call->eof_timer.repeat = is_stopped ? EOF_KILLED_S : EOF_WAIT_S;
            ev_timer_again(call->dk->ev, &call->eof_timer);
        }
        return;
    }
    if (!is_stopped && call->facts.exit_code != 0)
        inspect(call);
    else
        tell_end(call);
}

/* ---- stopping ---- */

static void on_killed(void *arg, const struct engine_reply *reply)
{
    struct rt_call *call = arg;

    (void)reply; /* 204; 409 and 404: dead already.  wait tells, or the timer asks again */
    call->kill = NULL;
}

static void kill_container(struct rt_call *call)
{
    char path[160];
    struct engine_call order = {.method = "POST",
                                .path = path,
                                .timeout_ms = (int64_t)(KILL_EVERY_S * 1000),
                                .done = on_killed,
                                .arg = call};
    faas_err err;

    if (call->kill != NULL)
        return;
    snprintf(path, sizeof path, "/containers/%s/kill?signal=KILL", call->container);
    if (engine_send(call->dk->eng, &order, &call->kill, &err) != FAAS_OK)
        call->kill = NULL; /* the engine is gone: wait breaks, or the timer gives up */
}

static void on_kill_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct rt_call *call = timer->data;

    (void)ev, (void)events;
    if (call->has_exited)
        return;
    if (++call->tries > KILL_TRIES) {
        FAAS_LOG(ERROR, "a container would not die", FAAS_LSTR("call", call->call_id),
                 FAAS_LSTR("container", call->container));
        docker_lost(call);
        return;
    }
    kill_container(call);
    ev_timer_set(&call->retry_timer, KILL_EVERY_S, 0.0);
    ev_timer_start(call->dk->ev, &call->retry_timer);
}

void docker_kill(struct rt_call *call)
{
    ev_timer_stop(call->dk->ev, &call->run_timer);
    if (!call->facts.is_output_broken) /* what it still wrote is read and dropped */
        docker_resume(call);
    if (call->has_exited)
        return;
    ev_set_cb(&call->retry_timer, on_kill_timer);
    call->tries = 0;
    kill_container(call);
    ev_timer_set(&call->retry_timer, KILL_EVERY_S, 0.0);
    ev_timer_start(call->dk->ev, &call->retry_timer);
}

void docker_stop(struct rt_call *call, enum stop_reason reason)
{
    if (call->stage >= RUN_INSPECT || call->facts.stop != STOP_NONE)
        return;
    if (call->has_exited && reason == STOP_TIMEOUT) /* in time; only its output is on the way */
        return;
    call->facts.stop = reason;
    if (call->stage == RUN_IMAGE || call->stage == RUN_CONNECT) {
        tell_end(call);
    } else if (call->stage == RUN_RUNS) { /* else decided when create or start answered */
        docker_kill(call);
        docker_maybe_end(call);
    }
}

void docker_cancel(struct rt_call *call)
{
    docker_stop(call, STOP_CANCEL);
}

/* ---- removing ---- */

static void call_gone(struct rt_call *call)
{
    LIST_REMOVE(call, link);
    call->dk->removing--;
    docker_call_free(call);
}

static void on_remove_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)events;
    remove_container(timer->data);
}

static void remove_later(struct rt_call *call, const char *why)
{
    if (++call->tries >= REMOVE_TRIES) { /* the sweep finds it */
        FAAS_LOG(WARN, "a container could not be removed", FAAS_LSTR("container", call->container),
                 FAAS_LSTR("why", why));
        call_gone(call);
        return;
    }
    ev_set_cb(&call->retry_timer, on_remove_timer);
    ev_timer_set(&call->retry_timer, REMOVE_FIRST_S * (1 << call->tries), 0.0);
    ev_timer_start(call->dk->ev, &call->retry_timer);
}

static void on_removed(void *arg, const struct engine_reply *reply)
{
    struct rt_call *call = arg;
    char text[FAAS_ERR_MSG_MAX];

    call->req = NULL;
    if (reply->status == 204 || reply->status == 404) {
        call_gone(call);
        return;
    }
    engine_reply_text(reply, text);
    remove_later(call, text);
}

static void remove_container(struct rt_call *call)
{
    char path[160];
    struct engine_call order = {
        .method = "DELETE", .path = path, .timeout_ms = REMOVE_MS, .done = on_removed, .arg = call};
    faas_err err;

    if (call->container[0] == '\0') {
        call_gone(call);
        return;
    }
    snprintf(path, sizeof path, "/containers/%s?force=1&v=1", call->container);
    if (engine_send(call->dk->eng, &order, &call->req, &err) != FAAS_OK)
        remove_later(call, err.msg);
}

void docker_end_init(struct rt_call *call)
{
    ev_init(&call->retry_timer, on_remove_timer);
    ev_init(&call->eof_timer, on_eof_timer);
    call->retry_timer.data = call->eof_timer.data = call;
}
