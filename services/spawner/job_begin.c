/* job_begin.c - a job from its message to the runtime: decoded, its image looked for, accepted or
 * refused, its secrets got. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"
#include "job_internal.h"

static void job_refuse(job *self, const char *reason, const char *detail)
{
    job_tell_busy(self->host, &self->spec, reason, detail);
    job_leave(self);
}

static faas_code open_ways(job *self, faas_err *err)
{
    struct faas_frames_out_conf conf = {.loop = self->host->loop,
                                        .place = self->spec.place,
                                        .send = job_send,
                                        .done = job_on_frames_done,
                                        .arg = self,
                                        .give_up_ms = JOB_GIVE_UP_MS,
                                        .is_eager = self->spec.stream != CALL_STREAM_NONE};
    FAAS_AUTO(json_t) *head =
        json_pack("{s:i,s:s,s:s}", "v", 1, "kind", "exec", "spawner", self->host->spawner);

    if (head == NULL ||
        (self->spec.content_type[0] != '\0' &&
         json_object_set_new(head, "content_type", json_string(self->spec.content_type)) != 0))
        return faas_fail_sys(err, ENOMEM, "head frame");
    memcpy(conf.id, self->spec.id, sizeof conf.id);
    FAAS_TRY(faas_frames_out_new(&conf, &self->frames, err));
    return faas_frames_out_head(self->frames, head, err);
}

/* Most calls' end says it in time.  When this process dies before, the call is lost either way: a
 * publisher takes "nobody listens" for no answer. */
static void be_running(job *self)
{
    self->stage = JOB_RUNNING;
    ev_timer_start(faas_loop_ev(self->host->loop), &self->tell);
}

static faas_code run(job *self, faas_err *err)
{
    struct runtime *runtime = self->host->runtime;
    const struct rt_sink sink = job_sink(self);

    return runtime->ops->call(runtime, &self->spec.run, &sink, &self->run, err);
}

/* The job is accepted, and ends without having begun. */
void job_end_unbegun(job *self, faas_code code, const char *why)
{
    struct rt_outcome outcome = {.code = code, .exit_code = -1};

    snprintf(outcome.detail, sizeof outcome.detail, "%s", why);
    job_drop_message(self);
    job_on_end(self, &outcome);
}

/* What asking took counts as a part of the start. */
static void on_secrets(void *arg, struct secret_set *take_set, const faas_err *why)
{
    job *self = arg;
    int64_t took_ms = (int64_t)((faas_now_ns() - self->asked_ns) / FAAS_MS_NS);
    int64_t *start_ms = &self->spec.run.start_timeout_ms;
    faas_err err = {0};

    self->secrets = NULL;
    self->spec.run.secrets = take_set;
    if (take_set == NULL) {
        job_end_unbegun(self, why->code, why->msg);
        return;
    }
    *start_ms = *start_ms > took_ms ? *start_ms - took_ms : 1;
    if (run(self, &err) == FAAS_OK)
        job_drop_message(self);
    else
        job_end_unbegun(self, FAAS_UNAVAILABLE, err.msg);
}

/* *out_is_asked: on_secrets() follows, and begins the call. */
static faas_code get_secrets(job *self, bool *out_is_asked, faas_err *err)
{
    const struct secrets_want want = {.tenant = self->spec.tenant,
                                      .names = self->spec.secrets,
                                      .time_ms = self->spec.run.start_timeout_ms,
                                      .done = on_secrets,
                                      .arg = self};

    *out_is_asked = false;
    if (self->spec.secrets == NULL)
        return FAAS_OK;
    self->spec.run.secrets = secrets_kept(self->host->secrets, &want);
    if (self->spec.run.secrets != NULL)
        return FAAS_OK;
    self->asked_ns = faas_now_ns();
    self->secrets = secrets_ask(self->host->secrets, &want);
    *out_is_asked = self->secrets != NULL;
    return *out_is_asked ? FAAS_OK : faas_fail_sys(err, ENOMEM, "secrets of a call");
}

static void accept(job *self)
{
    faas_err err = {0};
    bool is_asked = false;
    faas_code rc = open_ways(self, &err);

    if (rc == FAAS_OK)
        rc = get_secrets(self, &is_asked, &err);
    if (rc == FAAS_OK && !is_asked)
        rc = run(self, &err);
    if (rc != FAAS_OK) {
        job_refuse(self, rc == FAAS_UNAVAILABLE ? "engine" : "invalid", err.msg);
        return;
    }
    be_running(self);
    if (!is_asked)
        job_drop_message(self); /* the runtime has copied what it needs */
}

static void on_checked(void *arg, faas_code code, const faas_err *err)
{
    job *self = arg;

    if (self->is_withdrawn) {
        job_free(self);
        return;
    }
    if (code == FAAS_OK) {
        accept(self);
    } else if (code == FAAS_NOT_FOUND) {
        self->host->runtime->ops->prepare(self->host->runtime, &self->spec.run.image, true, NULL,
                                          NULL);
        job_refuse(self, "no_image", err->msg);
    } else {
        job_refuse(self, code == FAAS_INVALID ? "invalid" : "engine", err->msg);
    }
}

static void check(job *self)
{
    struct runtime *runtime = self->host->runtime;

    if (self->spec.run.may_pull ||
        runtime->ops->presence(runtime, &self->spec.run.image) == RT_HERE)
        accept(self);
    else
        runtime->ops->prepare(runtime, &self->spec.run.image, false, on_checked, self);
}

static faas_code decode(job *self, faas_err *err)
{
    FAAS_TRY(
        faas_envelope_open(faas_msg_data(self->msg), faas_msg_len(self->msg), &self->env, err));
    FAAS_TRY(call_spec_body(&self->env, &self->spec, err));
    self->spec.run.is_stream = self->spec.stream != CALL_STREAM_NONE;
    if (self->spec.run.is_stream)
        self->spec.run.output_bytes = self->host->stream_bytes;
    return FAAS_OK;
}

void job_judge(job *self)
{
    struct runtime *runtime = self->host->runtime;
    faas_err err = {0};

    if (decode(self, &err) != FAAS_OK) {
        FAAS_LOG(ERROR, "a call cannot be understood", FAAS_LSTR("call", self->spec.id),
                 FAAS_LSTR("why", err.msg));
        job_refuse(self, err.code == FAAS_UNSUPPORTED ? "isolation" : "invalid", err.msg);
    } else if (strcmp(self->spec.isolation, runtime->ops->isolation) != 0) {
        snprintf(err.msg, sizeof err.msg, "this spawner runs calls with isolation \"%s\" only",
                 runtime->ops->isolation);
        job_refuse(self, "isolation", err.msg);
    } else if (runtime->ops->usable(runtime, &err) != FAAS_OK) {
        job_refuse(self, "engine", err.msg);
    } else {
        check(self);
    }
}
