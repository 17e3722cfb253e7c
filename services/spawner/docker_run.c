/* docker_run.c - a call on its way from the order to a running container. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "docker.h"

#define CREATE_MS        60000
#define ANSWER_MS        60000 /* start: bounded by start_timeout_ms first */
#define EXPIRES_SLACK_MS 60000

static void find_image(struct rt_call *call);

static void fail_engine(struct rt_call *call, const struct engine_reply *reply)
{
    char text[FAAS_ERR_MSG_MAX];
    faas_err err;

    engine_reply_text(reply, text);
    /* A refusal is about this container; a broken connection is about the engine. */
    (void)faas_fail(&err, reply->status >= 400 ? FAAS_START_FAILED : FAAS_UNAVAILABLE, "%s", text);
    docker_fail(call, &err);
}

/* ---- the running container ---- */

static void on_slice(void *arg, enum stream_kind kind, const uint8_t *data, size_t len)
{
    struct rt_call *call = arg;

    if (kind == STREAM_STDERR) {
        if (!call->sink.err(call->sink.arg, data, len) && call->facts.stop == STOP_NONE)
            call->is_paused = true;
        return;
    }
    if (kind != STREAM_STDOUT || call->facts.stop != STOP_NONE)
        return;
    call->out_bytes += len;
    if (call->out_bytes > (uint64_t)call->spec.output_bytes) {
        docker_stop(call, STOP_OUTPUT);
        return;
    }
    if (!call->sink.out(call->sink.arg, data, len))
        call->is_paused = true;
}

static void on_output(void *arg, const uint8_t *data, size_t len)
{
    struct rt_call *call = arg;
    faas_err err;

    if (stream_feed(&call->stream, data, len, on_slice, call, &err) != FAAS_OK) {
        call->facts.is_output_broken = true;
        call->is_eof = true;
        attach_pause(call->out, true);
        docker_stop(call, STOP_BROKEN);
        return;
    }
    if (call->has_exited) /* still making progress: the bound on silence starts again */
        ev_timer_again(call->dk->ev, &call->eof_timer);
    if (call->is_paused)
        attach_pause(call->out, true);
}

void docker_resume(struct rt_call *call)
{
    if (!call->is_paused)
        return;
    call->is_paused = false;
    if (call->out != NULL)
        attach_pause(call->out, false);
}

static void on_output_end(void *arg, const faas_err *err)
{
    struct rt_call *call = arg;

    attach_close(call->out);
    call->out = NULL;
    if (call->stage == RUN_CONNECT && !call->is_out_ready) {
        docker_fail(call, err);
        return;
    }
    if (err != NULL || !stream_is_whole(&call->stream))
        call->facts.is_output_broken = true;
    call->is_eof = true;
    docker_maybe_end(call);
}

static void on_wait_done(void *arg, const struct engine_reply *reply)
{
    struct rt_call *call = arg;
    FAAS_AUTO(json_t) *doc = engine_reply_json(reply);
    const json_t *code = json_object_get(doc, "StatusCode");

    call->wait = NULL;
    if (!reply->is_complete || reply->status != 200 || !json_is_integer(code) ||
        json_is_object(json_object_get(doc, "Error"))) {
        if (call->stage < RUN_START)
            fail_engine(call, reply);
        else
            docker_lost(call);
        return;
    }
    if (call->stage < RUN_START) /* it exited without having been started by us */
        return;
    call->facts.exit_code = (int)json_integer_value(code);
    call->exited_ns = faas_now_ns();
    call->has_exited = true;
    docker_maybe_end(call);
}

/* ---- start ---- */

static void on_run_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)events;
    docker_stop(timer->data, STOP_TIMEOUT);
}

static void on_start_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)events;
    docker_stop(timer->data, STOP_START_TIMEOUT);
}

static void on_started(void *arg, const struct engine_reply *reply)
{
    struct rt_call *call = arg;

    call->req = NULL;
    if (reply->status >= 400) {
        fail_engine(call, reply);
        return;
    }
    if (!reply->is_complete || reply->status != 204) {
        docker_lost(call);
        return;
    }
    call->stage = RUN_RUNS;
    docker_turn_leave(call);
    call->facts.has_started = true;
    call->started_ns = faas_now_ns();
    ev_timer_stop(call->dk->ev, &call->start_timer);
    if (call->facts.stop != STOP_NONE) { /* asked for while the engine was starting it */
        docker_kill(call);
    } else {
        ev_now_update(call->dk->ev); /* not a millisecond early */
        ev_timer_start(call->dk->ev, &call->run_timer);
        call->sink.started(call->sink.arg);
    }
    docker_maybe_end(call);
}

static void start_when_ready(struct rt_call *call)
{
    char path[160];
    struct engine_call order = {.method = "POST",
                                .path = path,
                                .timeout_ms = call->spec.start_timeout_ms + ANSWER_MS,
                                .done = on_started,
                                .arg = call};
    faas_err err;

    if (!call->is_out_ready || !call->is_wait_ready || call->stage != RUN_CONNECT)
        return;
    snprintf(path, sizeof path, "/containers/%s/start", call->container);
    if (engine_send(call->dk->eng, &order, &call->req, &err) != FAAS_OK)
        docker_fail(call, &err);
    else
        call->stage = RUN_START;
}

static void on_output_ready(void *arg)
{
    struct rt_call *call = arg;

    call->is_out_ready = true;
    start_when_ready(call);
}

static void on_wait_head(void *arg, int status)
{
    struct rt_call *call = arg;

    if (status != 200)
        return; /* its end says why */
    call->is_wait_ready = true;
    start_when_ready(call);
}

static void on_fed(void *arg)
{
    struct rt_call *call = arg;

    call->sink.fed(call->sink.arg);
}

bool docker_feed(struct rt_call *call, const void *data, size_t len)
{
    if (call->out == NULL || call->facts.stop != STOP_NONE || attach_is_input_over(call->out))
        return false;
    if (attach_feed(call->out, data, len))
        return true;
    docker_cancel(call); /* without memory: what it has read is not all of its input */
    return false;
}

static faas_code connect_to(struct rt_call *call, faas_err *err)
{
    char path[160];
    struct engine_call wait = {
        .method = "POST", .path = path, .head = on_wait_head, .done = on_wait_done, .arg = call};
    struct attach_conf conf = {
        .eng = call->dk->eng,
        .container = call->container,
        .input = call->spec.is_stdin ? call->argument : NULL,
        .input_len = call->spec.argument_len,
        .is_fed = call->spec.is_fed,
        .fed = on_fed,
        .ready = on_output_ready,
        .data = on_output,
        .end = on_output_end,
        .arg = call,
    };

    if (call->input != NULL) {
        conf.input = call->input;
        conf.input_len = call->input_len;
    }
    snprintf(path, sizeof path, "/containers/%s/wait?condition=next-exit", call->container);
    FAAS_TRY(engine_send(call->dk->eng, &wait, &call->wait, err));
    return attach_open(&conf, &call->out, err);
}

/* ---- create ---- */

static void connect_now(struct rt_call *call)
{
    faas_err err;

    call->stage = RUN_CONNECT;
    if (call->facts.stop != STOP_NONE)
        docker_maybe_end(call);
    else if (connect_to(call, &err) != FAAS_OK)
        docker_fail(call, &err);
}

static void on_entered(void *arg, const struct engine_reply *reply)
{
    struct rt_call *call = arg;

    call->req = NULL;
    if (reply->status != 200)
        fail_engine(call, reply);
    else
        connect_now(call);
}

static void on_created(void *arg, const struct engine_reply *reply)
{
    struct rt_call *call = arg;
    FAAS_AUTO(json_t) *doc = engine_reply_json(reply);
    const char *id = json_string_value(json_object_get(doc, "Id"));
    faas_err err;

    call->req = NULL;
    if (reply->status == 404 && !call->was_retried &&
        call->facts.stop == STOP_NONE) { /* the image went since it was seen */
        call->was_retried = true;
        images_forget(call->dk->imgs, call->name);
        find_image(call);
        return;
    }
    if (reply->status != 201 || id == NULL || strlen(id) >= sizeof call->container ||
        strspn(id, "0123456789abcdef") != strlen(id)) {
        fail_engine(call, reply);
        return;
    }
    snprintf(call->container, sizeof call->container, "%s", id);
    if (call->input == NULL || call->facts.stop != STOP_NONE)
        connect_now(call);
    else if (docker_secrets_send(call, on_entered, &err) != FAAS_OK)
        docker_fail(call, &err);
}

static faas_code create(struct rt_call *call, const struct image_info *info, faas_err *err)
{
    struct docker *dk = call->dk;
    struct docker_spec spec = {
        .call = &call->spec,
        .image = call->name,
        .info = info,
        .owner = dk->conf.owner,
        .engine_cpus = engine_facts(dk->eng)->cpus,
        .expires_s = (faas_wall_ms() + call->spec.start_timeout_ms + call->spec.timeout_ms +
                      EXPIRES_SLACK_MS) /
                     1000,
    };
    FAAS_AUTO(json_t) *body = NULL;
    FAAS_AUTO(char) *text = NULL;
    struct engine_call order = {.method = "POST",
                                .path = "/containers/create",
                                .timeout_ms = CREATE_MS,
                                .done = on_created,
                                .arg = call};

    FAAS_TRY(docker_spec_json(&spec, &body, err));
    if (call->spec.secrets != NULL && call->input == NULL)
        FAAS_TRY(docker_secrets_input(call, err));
    text = faas_json_text(body, NULL);
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "container");
    order.body = text;
    FAAS_TRY(engine_send(dk->eng, &order, &call->req, err));
    call->stage = RUN_CREATE;
    return FAAS_OK;
}

static void on_image(void *arg, faas_code code, const struct image_info *info, const faas_err *err)
{
    struct rt_call *call = arg;
    faas_err why;

    call->image = NULL;
    if (code == FAAS_OK) {
        if (create(call, info, &why) != FAAS_OK)
            docker_fail(call, &why);
        return;
    }
    /* Nothing has begun: whatever the engine said about the image, the call is unavailable. */
    (void)faas_fail(&why, FAAS_UNAVAILABLE, "%s", err->msg);
    docker_fail(call, &why);
}

static void on_retry_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct rt_call *call = timer->data;
    faas_err err = call->failure;

    (void)ev, (void)events;
    docker_fail(call, &err);
}

/* Failures found inside call() are told from the loop: end never runs before call() returned. */
static void fail_later(struct rt_call *call, const faas_err *err)
{
    call->failure = *err;
    ev_set_cb(&call->retry_timer, on_retry_timer);
    ev_timer_set(&call->retry_timer, 0.0, 0.0);
    ev_timer_start(call->dk->ev, &call->retry_timer);
}

static void find_image(struct rt_call *call)
{
    const struct image_info *info = images_known(call->dk->imgs, call->name);
    struct image_want want = {
        .name = call->name,
        .may_pull = call->may_pull || call->was_retried,
        .timeout_ms = call->spec.start_timeout_ms,
        .done = on_image,
        .arg = call,
    };
    faas_err err;
    faas_code rc;

    call->stage = RUN_IMAGE;
    if (info != NULL)
        rc = create(call, info, &err);
    else
        rc = images_ensure(call->dk->imgs, &want, &call->image, &err);
    if (rc != FAAS_OK)
        fail_later(call, &err);
}

void docker_begin(struct rt_call *call)
{
    find_image(call);
}

/* ---- the order ---- */

static faas_code copy_order(struct rt_call *call, const struct rt_spec *spec, faas_err *err)
{
    FAAS_TRY(images_name(&spec->image, call->name, err));
    call->spec = *spec;
    call->spec.secrets = secret_set_ref(spec->secrets);
    snprintf(call->call_id, sizeof call->call_id, "%s", spec->call_id);
    call->spec.call_id = call->call_id;
    snprintf(call->tenant, sizeof call->tenant, "%s", spec->tenant);
    call->spec.tenant = call->tenant;
    call->may_pull = spec->may_pull;
    call->argument = malloc(spec->argument_len + 1);
    call->command = spec->command != NULL ? faas_json_deep_copy(spec->command) : NULL;
    call->env = spec->env != NULL ? faas_json_deep_copy(spec->env) : NULL;
    if (call->argument == NULL || (spec->command != NULL && call->command == NULL) ||
        (spec->env != NULL && call->env == NULL))
        return faas_fail_sys(err, ENOMEM, "call");
    if (spec->argument_len > 0)
        memcpy(call->argument, spec->argument, spec->argument_len);
    call->spec.argument = call->argument;
    call->spec.command = call->command;
    call->spec.env = call->env;
    call->spec.image = (struct rt_image){.reference = NULL};
    call->facts.timeout_ms = spec->timeout_ms;
    call->facts.start_timeout_ms = spec->start_timeout_ms;
    call->facts.memory_mb = spec->memory_mb;
    call->facts.output_bytes = spec->output_bytes;
    call->facts.is_stream = spec->is_stream;
    return FAAS_OK;
}

void docker_call_free(struct rt_call *call)
{
    ev_timer_stop(call->dk->ev, &call->start_timer);
    ev_timer_stop(call->dk->ev, &call->run_timer);
    ev_timer_stop(call->dk->ev, &call->retry_timer);
    ev_timer_stop(call->dk->ev, &call->eof_timer);
    faas_fair_remove(&call->dk->waiting, &call->turn);
    images_cancel(call->image);
    engine_abort(call->req);
    engine_abort(call->wait);
    engine_abort(call->kill);
    attach_close(call->out);
    json_decref(call->command);
    json_decref(call->env);
    secret_set_unref(call->spec.secrets);
    sodium_free(call->input);
    free(call->argument);
    free(call);
}

faas_code docker_call(struct runtime *rt, const struct rt_spec *spec, const struct rt_sink *sink,
                      struct rt_call **out_call, faas_err *err)
{
    struct docker *dk = (struct docker *)rt;
    struct rt_call *call;
    faas_err why;
    bool is_now;
    faas_code rc;

    FAAS_TRY(engine_usable(dk->eng, err));
    call = calloc(1, sizeof *call);
    if (call == NULL)
        return faas_fail_sys(err, ENOMEM, "call");
    call->dk = dk;
    call->sink = *sink;
    call->begun_ns = faas_now_ns();
    docker_end_init(call);
    ev_timer_init(&call->start_timer, on_start_timer, (double)spec->start_timeout_ms / 1000.0, 0.0);
    ev_timer_init(&call->run_timer, on_run_timer, (double)spec->timeout_ms / 1000.0, 0.0);
    call->start_timer.data = call->run_timer.data = call;
    rc = copy_order(call, spec, err);
    if (rc != FAAS_OK) {
        docker_call_free(call);
        return rc;
    }
    LIST_INSERT_HEAD(&dk->calls, call, link);
    dk->running++;
    ev_now_update(dk->ev);
    ev_timer_start(dk->ev, &call->start_timer);
    *out_call = call;
    if (images_known(dk->imgs, call->name) == NULL) { /* a pull takes nobody's turn */
        find_image(call);
        return FAAS_OK;
    }
    if (docker_turn_ask(call, &is_now, &why) != FAAS_OK)
        fail_later(call, &why);
    else if (is_now)
        find_image(call);
    return FAAS_OK;
}
