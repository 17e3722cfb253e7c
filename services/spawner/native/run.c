/* run.c - a call in its lane: ordered, running, ended. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "native.h"
#include "services/spawner/spec_copy.h"
#include "services/spawner/zygote/packet.h"

static void maybe_end(struct rt_call *call);
static void run(struct rt_call *call);

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void call_stop_io(struct rt_call *call, ev_io *io, int *fd)
{
    ev_io_stop(call->nt->ev, io);
    close_fd(fd);
}

/* ---- its end ---- */

static void call_free(struct rt_call *call)
{
    struct native *nt = call->nt;

    ev_timer_stop(nt->ev, &call->start_timer);
    ev_timer_stop(nt->ev, &call->run_timer);
    ev_timer_stop(nt->ev, &call->later);
    call_stop_io(call, &call->in_io, &call->in);
    call_stop_io(call, &call->out_io, &call->out);
    call_stop_io(call, &call->err_io, &call->err);
    call_stop_io(call, &call->pid_io, &call->pidfd);
    puller_cancel(call->image_wait);
    spec_copy_free(call->spec);
    secret_set_unref(call->secrets);
    free(call->order.data);
    free(call->input);
    free(call);
}

static double ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return from_ns == 0 || to_ns <= from_ns ? 0.0 : (double)(to_ns - from_ns) / 1e6;
}

static void note_memory(struct rt_call *call)
{
    call->facts.was_oom_killed = cgroup_oom_kills(call->lane->group) > call->lane->oom_kills;
}

void calls_drop(struct native *nt)
{
    struct rt_call *call;

    while ((call = LIST_FIRST(&nt->calls)) != NULL) {
        LIST_REMOVE(call, link);
        if (call->lane != NULL)
            call->lane->call = NULL;
        call_free(call);
    }
}

/* The one place where end is told.  Nothing of the call runs any more. */
static void tell_end(struct rt_call *call)
{
    struct rt_outcome outcome = {
        .start_ms = ms_between(call->begun_ns, call->started_ns),
        .run_ms = ms_between(call->started_ns, call->exited_ns),
        .start = !call->is_prewarmed ? "cold"
                 : call->key.is_warm ? "warm"
                                     : "prewarmed",
    };
    struct rt_sink sink = call->sink;

    call->stage = STAGE_OVER;
    if (call->lane != NULL) {
        if (call->facts.exit_code != 0)
            note_memory(call);
        lane_release(call->lane);
    }
    if (call->failure.code != FAAS_OK)
        call->facts.failure = &call->failure;
    outcome_decide(&call->facts, &outcome);
    outcome.may_have_run |= outcome.code == FAAS_LOST;
    LIST_REMOVE(call, link);
    call_free(call);
    sink.end(sink.arg, &outcome);
}

/* Failures found inside call() are told from the loop: end never runs before call() returned. */
static void end_later(struct rt_call *call)
{
    if (!ev_is_active(&call->later))
        ev_timer_start(call->nt->ev, &call->later);
}

static void on_later(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct rt_call *call = timer->data;

    (void)ev, (void)events;
    if (call->has_exited)
        maybe_end(call);
    else
        tell_end(call);
}

void call_fail(struct rt_call *call, const faas_err *err)
{
    call->failure = *err;
    if (err->code == FAAS_INTERNAL)
        FAAS_LOG(ERROR, "a call cannot be run", FAAS_LSTR("why", err->msg),
                 FAAS_LSTR("detail", err->detail));
    end_later(call);
}

/* ---- stopping ---- */

static void kill_call(struct rt_call *call)
{
    ev_timer_stop(call->nt->ev, &call->run_timer);
    if (call->pidfd >= 0) /* the first process of its namespace: all others end with it */
        (void)pidfd_send_signal(call->pidfd, SIGKILL, NULL, 0);
    else if (!call->has_exited)
        warm_kill(call->lane);
    native_resume(call); /* what it still wrote is read and dropped */
}

static void stop(struct rt_call *call, enum stop_reason reason)
{
    if (call->stage == STAGE_OVER || call->facts.stop != STOP_NONE)
        return;
    if (call->has_exited && reason == STOP_TIMEOUT) /* in time; only its output is on the way */
        return;
    call->facts.stop = reason;
    if (call->stage == STAGE_RUN) {
        kill_call(call);
    } else if (call->stage == STAGE_WAIT) {
        puller_cancel(call->image_wait);
        call->image_wait = NULL;
        if (call->lane != NULL)
            call->lane->call = NULL; /* is made all the same, for the next one */
        call->lane = NULL;
        end_later(call);
    } /* else killed when it began */
}

void native_cancel(struct rt_call *call)
{
    stop(call, STOP_CANCEL);
}

static void on_start_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct rt_call *call = timer->data;
    struct lane *lane = call->lane;

    (void)ev, (void)events;
    stop(call, STOP_START_TIMEOUT);
    if (call->stage == STAGE_START) /* the end follows when nothing of the lane is left */
        lane_end(lane, true);
}

static void on_run_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)events;
    stop(timer->data, STOP_TIMEOUT);
}

/* ---- its output and input ---- */

static void take_out(struct rt_call *call, const char *data, size_t len)
{
    if (call->facts.stop != STOP_NONE)
        return;
    call->out_bytes += len;
    if (call->out_bytes > (uint64_t)call->output_bytes) {
        stop(call, STOP_OUTPUT);
        return;
    }
    if (!call->sink.out(call->sink.arg, data, len)) {
        call->is_paused = true;
        ev_io_stop(call->nt->ev, &call->out_io);
    }
}

static void take_err(struct rt_call *call, const char *data, size_t len)
{
    if (call->sink.err(call->sink.arg, data, len) || call->facts.stop != STOP_NONE)
        return;
    call->is_paused = true;
    ev_io_stop(call->nt->ev, &call->out_io);
    ev_io_stop(call->nt->ev, &call->err_io);
}

/* One piece; false: there is none, now or ever. */
static bool read_out(struct rt_call *call)
{
    ssize_t len;

    if (call->out < 0)
        return false;
    len = read(call->out, call->nt->buffer, sizeof call->nt->buffer);
    if (len > 0)
        take_out(call, call->nt->buffer, (size_t)len);
    else if (len == 0 || errno != EAGAIN)
        call_stop_io(call, &call->out_io, &call->out);
    return len > 0;
}

static bool read_err(struct rt_call *call)
{
    ssize_t len;

    if (call->err < 0)
        return false;
    len = read(call->err, call->nt->buffer, sizeof call->nt->buffer);
    if (len > 0)
        take_err(call, call->nt->buffer, (size_t)len);
    else if (len == 0 || errno != EAGAIN)
        call_stop_io(call, &call->err_io, &call->err);
    return len > 0;
}

static void on_out(struct ev_loop *ev, ev_io *io, int events)
{
    (void)ev, (void)events;
    (void)read_out(io->data);
}

static void on_err(struct ev_loop *ev, ev_io *io, int events)
{
    (void)ev, (void)events;
    (void)read_err(io->data);
}

void native_resume(struct rt_call *call)
{
    if (!call->is_paused)
        return;
    call->is_paused = false;
    if (call->out >= 0)
        ev_io_start(call->nt->ev, &call->out_io);
    if (call->err >= 0)
        ev_io_start(call->nt->ev, &call->err_io);
    if (call->has_exited)
        end_later(call);
}

/* ---- its process ---- */

/* Everybody who could write is dead: what is not in the pipes now never comes, whoever still holds
 * an end of them. */
static void maybe_end(struct rt_call *call)
{
    while (!call->is_paused && read_out(call))
        ;
    while (!call->is_paused && read_err(call))
        ;
    if (!call->is_paused)
        tell_end(call);
}

void call_exited(struct rt_call *call, int exit_code)
{
    ev_timer_stop(call->nt->ev, &call->run_timer);
    call->exited_ns = faas_now_ns();
    call->has_exited = true;
    call->facts.exit_code = exit_code;
    maybe_end(call);
}

static void on_pid(struct ev_loop *ev, ev_io *io, int events)
{
    struct rt_call *call = io->data;
    siginfo_t info = {0};
    int rc = waitid(P_PIDFD, (id_t)call->pidfd, &info, WEXITED | WNOHANG);

    (void)ev, (void)events;
    if (rc == 0 && info.si_pid == 0)
        return;
    if (rc != 0)
        call->facts.is_lost = call->failure.code == FAAS_OK;
    call_stop_io(call, &call->pid_io, &call->pidfd);
    call_exited(call,
                info.si_code == CLD_EXITED ? info.si_status : OUTCOME_SIGNAL_BASE + info.si_status);
}

static void watch(struct rt_call *call, ev_io *io, int fd, int events)
{
    if (fd < 0)
        return;
    ev_io_set(io, fd, events);
    ev_io_start(call->nt->ev, io);
}

static void not_begun(struct rt_call *call, const struct zy_reply *reply)
{
    const char *text = zy_step_text(reply->step), *why = strerror(reply->error);

    if (reply->step == ZY_STEP_EXEC)
        (void)faas_fail(&call->failure, FAAS_START_FAILED, "%s: %s: %s",
                        order_program(&call->order), text, why);
    else if (reply->step == ZY_STEP_CWD)
        (void)faas_fail(&call->failure, FAAS_START_FAILED, "%s: %s: %s",
                        order_directory(&call->order), text, why);
    else
        (void)faas_fail(&call->failure, FAAS_UNAVAILABLE, "no sandbox can be made: %s (%s)", text,
                        why);
}

void call_began(struct rt_call *call, const struct zy_reply *reply, int take_pidfd)
{
    struct native *nt = call->nt;

    call->stage = STAGE_RUN;
    secret_set_unref(call->secrets);
    call->secrets = NULL;
    call->pidfd = take_pidfd;
    call->pid = reply->pid;
    ev_timer_stop(nt->ev, &call->start_timer);
    watch(call, &call->pid_io, call->pidfd, EV_READ);
    if (reply->step != ZY_STEP_NONE || (take_pidfd < 0 && !call->key.is_warm)) {
        not_begun(call, reply);
        if (take_pidfd < 0)
            end_later(call);
        return; /* its exit follows */
    }
    call->facts.has_started = true;
    call->started_ns = call->ordered_ns; /* not a moment after the function's own clock began */
    watch(call, &call->out_io, call->out, EV_READ);
    watch(call, &call->err_io, call->err, EV_READ);
    watch(call, &call->in_io, call->in, EV_WRITE);
    if (call->facts.stop != STOP_NONE) { /* asked for while it began */
        kill_call(call);
        return;
    }
    ev_now_update(nt->ev); /* not a millisecond early */
    ev_timer_start(nt->ev, &call->run_timer);
    call->sink.started(call->sink.arg);
}

/* ---- the lane ---- */

void call_lane_failed(struct rt_call *call, const faas_err *err)
{
    call->lane = NULL;
    call_fail(call, err);
}

void call_lane_gone(struct rt_call *call)
{
    call->lane = NULL;
    if (call->facts.stop == STOP_NONE)
        (void)faas_fail(&call->failure, call->stage == STAGE_WAIT ? FAAS_UNAVAILABLE : FAAS_LOST,
                        "the sandbox's own process died");
    tell_end(call);
}

void call_lane_ready(struct rt_call *call)
{
    run(call);
}

static void another_lane(struct rt_call *call)
{
    struct lane *lane = call->lane;
    faas_err err = {0};

    FAAS_LOG(WARN, "a lane died while nobody used it", FAAS_LSTR("tenant", lane->key.tenant));
    lane->call = NULL;
    call->lane = NULL;
    call->was_retried = true;
    if (lane_new(call->nt, &call->key,
                 &(struct lane_parts){.image = lane->image, .secrets = call->secrets}, &call->lane,
                 &err) == FAAS_OK)
        call->lane->call = call;
    else
        call_fail(call, &err);
    lane_end(lane, true);
}

/* The pipes that its lane has ready, and one for its input.  False, with errno. */
static bool order(struct rt_call *call)
{
    struct lane *lane = call->lane;
    int in[2] = {-1, -1};
    bool is_sent =
        (call->input == NULL || lane_pipe(lane, in, 1)) && lane_order(lane, &call->order, in[0]);
    int error = errno;

    close_fd(&in[0]);
    call->in = in[1];
    if (is_sent) {
        call->out = lane->out[0];
        call->err = lane->err[0];
        lane->out[0] = lane->err[0] = -1;
    }
    errno = error;
    return is_sent;
}

static void run(struct rt_call *call)
{
    faas_err err = {0};
    int error;

    call->ordered_ns = faas_now_ns();
    call->is_prewarmed = call->lane->is_parked;
    if (order(call)) {
        call->stage = STAGE_START;
        return;
    }
    error = errno;
    close_fd(&call->in);
    if (error != EMFILE && error != ENFILE && !call->was_retried) {
        another_lane(call);
        return;
    }
    (void)faas_fail_sys(&err, error, "pipes of a call");
    err.code = FAAS_UNAVAILABLE;
    call_fail(call, &err);
}

/* ---- the order ---- */

static faas_code check(struct native *nt, const struct rt_spec *spec, faas_err *err)
{
    FAAS_TRY(nt->rt.ops->usable(&nt->rt, err));
    if (spec->has_network)
        FAAS_TRY(outbound_usable(nt, err));
    if (cgroups_has(nt->groups) == CGROUP_ALL)
        return FAAS_OK;
    if (!nt->has_tenant)
        (void)snprintf(nt->tenant, sizeof nt->tenant, "%s", spec->tenant);
    nt->has_tenant = true;
    if (strcmp(nt->tenant, spec->tenant) != 0)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "this machine cannot bound what functions use, so its spawner serves one "
                         "user alone; see its log");
    return FAAS_OK;
}

/* Its lane's image says how the order reads. */
static faas_code prepare(struct rt_call *call, const struct rt_spec *spec, faas_err *err)
{
    call->lane->call = call;
    FAAS_TRY(order_build(spec, &call->lane->image->config, &call->order, err));
    return input_take(call, spec, err);
}

static void call_init(struct rt_call *call, const struct rt_spec *spec)
{
    call->begun_ns = faas_now_ns();
    call->in = call->out = call->err = call->pidfd = -1;
    call->output_bytes = spec->output_bytes;
    call->facts = (struct run_facts){.timeout_ms = spec->timeout_ms,
                                     .start_timeout_ms = spec->start_timeout_ms,
                                     .memory_mb = spec->memory_mb,
                                     .output_bytes = spec->output_bytes,
                                     .is_stream = spec->is_stream};
    ev_timer_init(&call->start_timer, on_start_timer, (double)spec->start_timeout_ms / 1000.0, 0.0);
    ev_timer_init(&call->run_timer, on_run_timer, (double)spec->timeout_ms / 1000.0, 0.0);
    ev_timer_init(&call->later, on_later, 0.0, 0.0);
    ev_init(&call->in_io, input_write);
    ev_init(&call->out_io, on_out);
    ev_init(&call->err_io, on_err);
    ev_init(&call->pid_io, on_pid);
    call->start_timer.data = call->run_timer.data = call->later.data = call;
    call->in_io.data = call->out_io.data = call->err_io.data = call->pid_io.data = call;
}

/* The lane that a call could not use. */
static void leave_lane(struct rt_call *call)
{
    struct lane *lane = call->lane;

    if (lane == NULL)
        return;
    call->lane = NULL;
    lane->call = NULL;
    if (lane->state == LANE_BUSY)
        lane_release(lane);
}

/* In the lane it has, or in a new one. */
void call_begin(struct rt_call *call, const struct rt_spec *spec, struct image *image)
{
    faas_err why = {0};
    faas_code rc = FAAS_OK;

    if (call->lane == NULL)
        rc = lane_new(call->nt, &call->key,
                      &(struct lane_parts){.image = image, .secrets = call->secrets}, &call->lane,
                      &why);
    if (rc == FAAS_OK)
        rc = prepare(call, spec, &why);
    if (rc != FAAS_OK) {
        leave_lane(call);
        call_fail(call, &why);
    } else if (call->lane->state == LANE_BUSY) {
        run(call);
    }
}

faas_code native_call(struct runtime *rt, const struct rt_spec *spec, const struct rt_sink *sink,
                      struct rt_call **out_call, faas_err *err)
{
    struct native *nt = (struct native *)rt;
    struct image *image = NULL;
    struct rt_call *call;
    faas_code rc;

    FAAS_TRY(check(nt, spec, err));
    call = calloc(1, sizeof *call);
    if (call == NULL)
        return faas_fail_sys(err, ENOMEM, "call");
    call->nt = nt;
    call->sink = *sink;
    call->secrets = secret_set_ref(spec->secrets);
    call_init(call, spec);
    rc = lane_key_of(spec, &call->key, err);
    if (rc != FAAS_OK) {
        call_free(call);
        return rc;
    }
    LIST_INSERT_HEAD(&nt->calls, call, link);
    *out_call = call;
    ev_now_update(nt->ev);
    ev_timer_start(nt->ev, &call->start_timer);
    call->lane = lane_find(nt, &call->key);
    if (call->lane == NULL)
        image = puller_known(nt->conf.images, call->key.image);
    if (call->lane != NULL || image != NULL)
        call_begin(call, spec, image);
    else
        call_await_image(call, spec);
    return FAAS_OK;
}
