/* A call for the queue: looked at, stored, and then promised. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOOK_AGAIN_MS 1000

struct meta { /* the envelope's JSON; borrowed */
    const char *kind, *function, *label, *callback, *key;
    int64_t timeout_ms;
};
static const struct faas_json_field meta_fields[] = {
    FAAS_FIELD(STR, struct meta, kind, "kind", 1, 32, false),
    FAAS_FIELD(STR, struct meta, function, "function", 0, 4096, true),
    FAAS_FIELD(STR, struct meta, label, "client_call_id", 0, JOB_LABEL_MAX, false),
    FAAS_FIELD(STR, struct meta, callback, "callback", 0, JOB_URL_MAX, false),
    FAAS_FIELD(STR, struct meta, key, "key", 64, 64, false),
    FAAS_FIELD(INT, struct meta, timeout_ms, "timeout_ms", 1, FAAS_TIMEOUT_MS_MAX, false),
    FAAS_FIELD_END,
};

static void on_letter_removed(void *arg, faas_code code, const struct faas_stream_msg *msg,
                              const faas_err *err)
{
    (void)arg;
    (void)msg;
    (void)err;
    if (code != FAAS_OK && code != FAAS_NOT_FOUND)
        FAAS_LOG(WARN, "a redriven dead letter stays"); /* redriven again it is the same call */
}

static void say_accepted(struct job *job)
{
    FAAS_AUTO(json_t) *doc = json_pack("{s:s}", "call_id", job->state.id);

    if (job->letter[0] != '\0') {
        (void)json_object_set_new(doc, "redrive_of", json_string(job->letter));
        faas_stream_delete(job->jobs->dead, job->letter_seq, faas_deadline_in_ms(JOBS_KEEP_MS),
                           on_letter_removed, NULL);
    }
    job_answer_askers(job, doc);
}

/* ---- storing ---- */

static void line_up(struct job *job)
{
    if (job->jobs->held > JOBS_HELD_MAX)
        job_drop_argument(job);
    if (job->is_cancelled)
        job_cancel(job);
    else
        job_line_up(job, false);
}

static void look_beside(struct job *job);
static void look_at_stored(struct job *job);

/* Its end is from before: only the message is left to be removed, which the scan does. */
static void on_looked_beside(void *arg, faas_code code, const struct faas_stream_msg *msg,
                             const faas_err *err)
{
    struct job *job = arg;
    struct jobs *jobs = job->jobs;

    (void)msg;
    (void)err;
    job->is_busy = false;
    if (jobs->is_stopped)
        return;
    if (code == FAAS_NOT_FOUND) {
        line_up(job);
    } else if (code == FAAS_OK) {
        job_free(job);
        jobs_scan_soon(jobs, 0);
    } else {
        job_arm(job, LOOK_AGAIN_MS, look_beside);
    }
}

/* Its message may have come late: another publisher was asked meanwhile, and has ended the call. */
static void look_beside(struct job *job)
{
    char subject[JOB_SUBJECT_MAX];

    job_end_subject(job->state.tenant, job->state.id, subject);
    job->is_busy = true;
    faas_stream_last(job->jobs->results, subject, faas_deadline_in_ms(JOBS_KEEP_MS),
                     on_looked_beside, job);
}

/* It is stored: from here on it is kept whatever happens. */
static void begin(struct job *job)
{
    say_accepted(job);
    if (job->is_once)
        look_beside(job);
    else
        line_up(job);
}

static void on_stored(void *arg, faas_code code, const struct faas_stream_msg *msg,
                      const faas_err *err)
{
    struct job *job = arg;
    struct jobs *jobs = job->jobs;
    faas_err why = *err;

    job->is_busy = false;
    if (jobs->is_stopped)
        return;
    if (code == FAAS_OK) {
        job->seq = msg->seq;
        metric_count(M_JOBS_ACCEPTED);
        job_note_queued(job);
        if (job->key[0] != '\0') {
            job_confirm_key(job, begin);
            return;
        }
        begin(job);
        return;
    }
    if (code == FAAS_CONFLICT) {
        look_at_stored(job);
        return;
    }
    if (code == FAAS_UNAVAILABLE) {
        (void)faas_fail(&why, FAAS_UNAVAILABLE,
                        "the queue could not store the call at the moment; it was not queued, try "
                        "again");
        /* It may have been stored all the same: then the scan removes it.  A key stays new: the next
         * call with it is this one. */
        jobs_scan_soon(jobs, 1000);
    }
    job_refuse(job, &why);
}

static void store(struct job *job)
{
    struct jobs *jobs = job->jobs;
    char subject[JOB_SUBJECT_MAX];
    FAAS_AUTO(void) *bytes = NULL;
    struct faas_stream_put put = {.subject = subject,
                                  .expected = (int64_t)job->seq,
                                  .deadline_ns = faas_deadline_in_ms(JOBS_STORE_MS)};
    faas_err err = {0};

    job->state.queued_ms = faas_wall_ms();
    if (job_state_pack(&job->state, job->arg, job->arg_len, &bytes, &put.len, &err) != FAAS_OK) {
        job_refuse(job, &err);
        return;
    }
    put.data = bytes;
    job_subject(JOB_IN_QUEUE, job->state.tenant, job->state.id, subject);
    job->is_busy = true;
    faas_stream_put(jobs->queue, &put, on_stored, job);
}

/* Another publisher was asked before us, and has it; or this one, which told a caller since that it was
 * not stored, and may be about to remove it: then it is written anew. */
static void on_stored_before(void *arg, faas_code code, const struct faas_stream_msg *msg,
                             const faas_err *err)
{
    struct job *job = arg;
    struct job_state state = {.version = 0};
    struct faas_envelope env = {0};
    faas_err why = *err;

    job->is_busy = false;
    if (job->jobs->is_stopped)
        return;
    if (code == FAAS_NOT_FOUND) {
        job->seq = 0;
        store(job);
        return;
    }
    if (code != FAAS_OK) { /* somebody has stored it: of that nothing else may be said */
        job_arm(job, LOOK_AGAIN_MS, look_at_stored);
        return;
    }
    if (job_state_open(msg->data, msg->len, &state, &env, &why) != FAAS_OK) {
        job_refuse(job, &why);
    } else if (job_is_own(job->jobs, &state)) {
        job->seq = msg->seq;
        store(job);
    } else {
        say_accepted(job);
        job_free(job);
    }
    job_state_done(&state);
    faas_envelope_done(&env);
}

static void look_at_stored(struct job *job)
{
    char subject[JOB_SUBJECT_MAX];

    job_subject(JOB_IN_QUEUE, job->state.tenant, job->state.id, subject);
    job->is_busy = true;
    faas_stream_last(job->jobs->queue, subject, faas_deadline_in_ms(JOBS_KEEP_MS), on_stored_before,
                     job);
}

/* From here on whoever sends it again finds it here. */
static void enter(struct job *job)
{
    faas_err err = {0};

    if (job_join(job, job->state.id))
        return;
    if (jobs_add(job->jobs, job, &err) != FAAS_OK)
        job_refuse(job, &err);
    else
        store(job);
}

/* ---- its function ---- */

static void check_argument(struct job *job, const struct record *rec)
{
    faas_err err = {0};

    if (job_join(job, job->state.id)) /* asked again meanwhile */
        return;
    if (record_check_argument(rec, job->arg, job->arg_len, &err) != FAAS_OK) {
        job_refuse(job, &err);
        return;
    }
    memcpy(job->state.function, rec->id, sizeof job->state.function);
    job->state.version = rec->version;
    job->is_once = !rec->retry.is_idempotent;
    if (job->key[0] != '\0')
        job_claim_key(job, enter);
    else
        enter(job);
}

static void on_looked_up(void *arg, struct record *rec, const faas_err *err)
{
    if (rec != NULL)
        check_argument(arg, rec);
    else
        job_refuse(arg, err);
}

/* Sent again, since whoever was asked first did not answer: did that one have it, and end it? */
static void on_end_looked_for(void *arg, faas_code code, const struct faas_stream_msg *msg,
                              const faas_err *err)
{
    struct job *job = arg;
    struct publisher *pub = job->jobs->pub;
    const struct resolve_want want = {
        .tenant = job->state.tenant, .ref = &job->ref, .call_id = job->state.id};
    struct record *rec;

    (void)msg;
    job->is_busy = false;
    if (job->jobs->is_stopped)
        return;
    if (code == FAAS_OK) {
        say_accepted(job);
        job_free(job);
        return;
    }
    if (code != FAAS_NOT_FOUND) { /* whoever was asked first may have it */
        faas_err why = {0};

        (void)faas_fail(&why, FAAS_TIMEOUT, "the results could not be read: %s", err->msg);
        job_refuse(job, &why);
        return;
    }
    job_state_ref(&job->state, &job->ref);
    rec = resolve_now(&pub->resolve, &want);
    if (rec != NULL) {
        check_argument(job, rec);
        return;
    }
    job->look.done = on_looked_up;
    job->look.arg = job;
    resolve_ask(&pub->resolve, &want, &job->look);
}

static void look_for_end(struct job *job)
{
    char subject[JOB_SUBJECT_MAX];

    job_end_subject(job->state.tenant, job->state.id, subject);
    job->is_busy = true;
    faas_stream_last(job->jobs->results, subject, faas_deadline_in_ms(JOBS_KEEP_MS),
                     on_end_looked_for, job);
}

void job_submit(struct job *job, bool was_tried)
{
    const faas_err none = {0};

    if (was_tried)
        look_for_end(job);
    else
        on_end_looked_for(job, FAAS_NOT_FOUND, NULL, &none);
}

void job_own(struct job *job)
{
    const struct faas_runtime *rt = job->jobs->pub->rt;

    (void)snprintf(job->state.owner, sizeof job->state.owner, "%s", rt->id);
    (void)snprintf(job->state.epoch, sizeof job->state.epoch, "%s",
                   faas_members_epoch(rt->members));
}

/* ---- the message ---- */

static faas_code check_quota(const struct jobs *jobs, const struct faas_ctx *ctx, size_t bytes,
                             faas_err *err)
{
    const struct job_user *user = job_lines_of(&jobs->lines, ctx->tenant);
    struct faas_standing standing;
    int64_t most;

    if (user != NULL && user->len >= (size_t)jobs->conf.tenant_max)
        return faas_fail_busy(err, 5, "%lld of your queued calls wait already, the most allowed",
                              (long long)jobs->conf.tenant_max);
    standings_of(&jobs->pub->standings, ctx->user, &standing);
    most = faas_quota_of(&standing, FAAS_QUOTA_QUEUED_BYTES, jobs->conf.tenant_mb << 20);
    if ((int64_t)((user != NULL ? user->bytes : 0) + bytes) > most)
        return faas_fail_busy(err, 5,
                              "arguments of your queued calls would take more than your quota "
                              "queued_bytes (%lld); wait until some have ended",
                              (long long)most);
    return FAAS_OK;
}

faas_code jobs_check_room(const struct jobs *jobs, const struct faas_ctx *ctx, size_t bytes,
                          faas_err *err)
{
    const struct job_conf *conf = &jobs->conf;

    if (jobs->is_draining)
        return faas_fail(err, FAAS_UNAVAILABLE, "the publisher is about to stop");
    if (jobs->len >= (size_t)conf->all_max)
        return faas_fail_busy(err, 5, "%lld queued calls wait already, the most allowed",
                              (long long)conf->all_max);
    if (jobs->bytes + bytes > (size_t)conf->mb << 20)
        return faas_fail_busy(err, 5,
                              "arguments of queued calls take %lld MB already, the most "
                              "they may",
                              (long long)conf->mb);
    return check_quota(jobs, ctx, bytes, err);
}

static faas_code fill(struct job *job, const struct faas_ctx *ctx, const struct faas_envelope *env,
                      faas_err *err)
{
    struct job_state *state = &job->state;
    struct meta meta = {.kind = "exec", .label = "", .callback = "", .key = ""};
    struct faas_function_ref ref;

    if (ctx->id[0] == '\0' || ctx->tenant[0] == '\0')
        return faas_fail(err, FAAS_INVALID,
                         "headers " FAAS_H_ID " and " FAAS_H_TENANT ": must be UUIDs");
    FAAS_TRY(faas_json_decode(env->meta, meta_fields, FAAS_JSON_TOLERANT, &meta, err));
    if (meta.key[strspn(meta.key, "0123456789abcdef")] != '\0')
        return faas_fail(err, FAAS_INVALID, "key: expected hex digits");
    if (strcmp(meta.kind, "exec") != 0)
        return faas_fail(err, FAAS_INVALID, "kind: this platform knows \"exec\" only");
    FAAS_TRY(faas_function_ref_parse(meta.function, &ref, err));
    FAAS_TRY(jobs_check_room(job->jobs, ctx, env->len, err));
    memcpy(state->id, ctx->id, sizeof state->id);
    memcpy(state->run, ctx->id, sizeof state->run);
    memcpy(state->tenant, ctx->tenant, sizeof state->tenant);
    memcpy(state->user, ctx->user, sizeof state->user);
    memcpy(state->trace, ctx->traceparent, sizeof state->trace);
    memcpy(state->name, ref.name, sizeof state->name);
    faas_function_ref_pick(&ref, state->pick);
    (void)snprintf(state->label, sizeof state->label, "%s", meta.label);
    (void)snprintf(job->key, sizeof job->key, "%s", meta.key);
    job_own(job);
    state->asked_ms = meta.timeout_ms;
    if (meta.callback[0] != '\0' && (state->callback = strdup(meta.callback)) == NULL)
        return faas_fail_sys(err, ENOMEM, "queue a call");
    job_hold_argument(job, env->bytes, env->len);
    return job->arg != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "queue a call");
}

static faas_code read_job(struct job *job, const faas_msg *msg, const struct faas_ctx *ctx,
                          faas_err *err)
{
    struct faas_envelope env = {0};
    faas_code rc;

    FAAS_TRY(faas_envelope_open(faas_msg_data(msg), faas_msg_len(msg), &env, err));
    rc = fill(job, ctx, &env, err);
    faas_envelope_done(&env);
    return rc;
}

static void take(struct publisher *pub, faas_msg *take_msg, const struct faas_ctx *ctx)
{
    struct job *job = job_new(pub->jobs);
    faas_err err = {0};
    faas_code rc;
    bool was_tried;

    if (job == NULL) {
        (void)faas_fail_sys(&err, ENOMEM, "queue a call");
        faas_rpc_answer_err(pub->rt->rpc, take_msg, &err);
        faas_msg_free(take_msg);
        return;
    }
    rc = read_job(job, take_msg, ctx, &err);
    was_tried = faas_msg_header_int(take_msg, FAAS_H_ATTEMPT, 1) > 1;
    job_add_asker(job, take_msg);
    if (rc != FAAS_OK)
        job_refuse(job, &err);
    else
        job_submit(job, was_tried);
}

void jobs_on_queue(void *state, faas_msg *take_msg)
{
    struct publisher *pub = state;
    struct faas_ctx ctx;
    struct job *known;

    drive_check_late(pub);
    faas_ctx_from_msg(take_msg, FAAS_TIMEOUT_MS, &ctx);
    known = jobs_find(pub->jobs, ctx.id);
    if (known == NULL && book_tomb_find(&pub->book, ctx.id, faas_now_ns()) == NULL) {
        take(pub, take_msg, &ctx);
        return;
    }
    /* Sent again: the answer comes, or was lost. */
    if (known != NULL && known->phase == JOB_STORING) {
        job_add_asker(known, take_msg);
    } else {
        FAAS_AUTO(json_t) *doc = json_pack("{s:s}", "call_id", ctx.id);

        faas_rpc_answer_json(pub->rt->rpc, take_msg, doc);
        faas_msg_free(take_msg);
    }
}
