/* What is known of a queued call, now or once it has ended: from this publisher's table, else from
 * what is stored.  Nobody is held: a question that waits is a row in a list. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <errno.h>
#include <string.h>

#define WAITS_MAX  10000
#define LOOK_MS    5000
#define RECHECK_MS 2000 /* the word that it ended may be lost */

struct state_wait {
    TAILQ_ENTRY(state_wait) link;
    struct jobs *jobs;
    faas_msg *msg;
    char id[FAAS_UUID_TEXT], tenant[FAAS_UUID_TEXT];
    uint64_t until_ns;
    bool is_looking, is_poked;
    bool is_last_look; /* it is not in the queue: is there an end after all? */
    ev_timer timer;
};

static void look(struct state_wait *wait);

static void wait_free(struct state_wait *wait)
{
    if (wait->jobs->pub != NULL)
        ev_timer_stop(faas_loop_ev(wait->jobs->pub->rt->loop), &wait->timer);
    TAILQ_REMOVE(&wait->jobs->waits, wait, link);
    faas_msg_free(wait->msg);
    free(wait);
}

static void answer(struct state_wait *wait, const json_t *doc)
{
    faas_rpc_answer_json(wait->jobs->pub->rt->rpc, wait->msg, doc);
    wait_free(wait);
}

static void answer_err(struct state_wait *wait, faas_code code, const char *text)
{
    faas_err err = {0};

    (void)faas_fail(&err, code, "%s", text);
    faas_rpc_answer_err(wait->jobs->pub->rt->rpc, wait->msg, &err);
    wait_free(wait);
}

/* ---- what is shown ---- */

static bool add_time(json_t *doc, const char *key, int64_t wall_ms)
{
    char text[FAAS_TIME_TEXT];

    if (wall_ms <= 0)
        return true;
    faas_time_format(wall_ms, text);
    return json_object_set_new(doc, key, json_string(text)) == 0;
}

static void copy(json_t *doc, const char *name, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);

    if (value != NULL && !json_is_null(value) &&
        !(json_is_string(value) && json_string_length(value) == 0))
        (void)json_object_set(doc, name, value);
}

static json_t *pending_json(const struct job_state *state, bool is_running)
{
    FAAS_AUTO(json_t) *doc = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:b, s:I}", "id", state->id, "status",
        is_running ? "running" : "queued", "function", state->name, "function_id", state->function,
        "version", (json_int_t)state->version, "queued", 1, "attempt", (json_int_t)state->runs + 1);

    if (doc == NULL || !add_time(doc, "queued_at", state->queued_ms))
        return NULL;
    if (state->label[0] != '\0')
        (void)json_object_set_new(doc, "client_call_id", json_string(state->label));
    return FAAS_STEAL(doc);
}

/* The fields of a call's record (docs/openapi.yaml, Call). */
json_t *job_shown(const json_t *stored)
{
    static const char *const same[] = {"id", "status", "version", "client_call_id"};
    static const char *const outcome[] = {"code",    "detail",       "exit_code", "signal",
                                          "oom",     "may_have_run", "start",     "times_ms",
                                          "spawner", "stderr_bytes"};
    const json_t *end = json_object_get(stored, "end");
    int64_t runs = json_integer_value(json_object_get(stored, "runs"));
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:b, s:I}", "queued", 1, "attempt", (json_int_t)(runs > 0 ? runs : 1));

    if (doc == NULL)
        return NULL;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(same); i++)
        copy(doc, same[i], stored, same[i]);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(outcome); i++)
        copy(doc, outcome[i], end, outcome[i]);
    copy(doc, "function", stored, "name");
    copy(doc, "function_id", stored, "function");
    copy(doc, "result_bytes", stored, "bytes");
    copy(doc, "result_hash", end, "hash");
    if (!add_time(doc, "queued_at", json_integer_value(json_object_get(stored, "queued_at"))) ||
        !add_time(doc, "ended_at", json_integer_value(json_object_get(stored, "ended_at"))))
        return NULL;
    return FAAS_STEAL(doc);
}

/* ---- looking ---- */

static void answer_or_wait(struct state_wait *wait, const struct job_state *state, bool is_running)
{
    int64_t left = faas_left_ms(wait->until_ns);

    if (left <= 0) {
        FAAS_AUTO(json_t) *doc = pending_json(state, is_running);

        answer(wait, doc);
        return;
    }
    if (wait->is_poked) {
        look(wait);
        return;
    }
    if (left > RECHECK_MS)
        left = RECHECK_MS;
    ev_timer_set(&wait->timer, (double)left / 1e3, 0.0);
    ev_timer_start(faas_loop_ev(wait->jobs->pub->rt->loop), &wait->timer);
}

static void look_for_end(struct state_wait *wait);

static void on_state(void *arg, faas_code code, const struct faas_stream_msg *msg,
                     const faas_err *err)
{
    struct state_wait *wait = arg;
    struct job_state state = {.version = 0};
    struct faas_envelope env = {0};
    faas_err why = {0};

    wait->is_looking = false;
    if (wait->jobs->is_stopped)
        return;
    if (code == FAAS_NOT_FOUND && !wait->is_last_look) {
        wait->is_last_look = true; /* it may have ended between the two questions */
        look_for_end(wait);
    } else if (code == FAAS_NOT_FOUND) {
        answer_err(wait, code, "no queued call of yours has this id; ends are kept for 24 hours");
    } else if (code != FAAS_OK) {
        answer_err(wait, code, err->msg);
    } else if (job_state_open(msg->data, msg->len, &state, &env, &why) != FAAS_OK) {
        answer_err(wait, FAAS_INTERNAL, "internal error");
    } else {
        answer_or_wait(wait, &state, state.is_started);
    }
    job_state_done(&state);
    faas_envelope_done(&env);
}

static void look_in_queue(struct state_wait *wait)
{
    char subject[JOB_SUBJECT_MAX];

    job_subject(JOB_IN_QUEUE, wait->tenant, wait->id, subject);
    wait->is_looking = true;
    faas_stream_last(wait->jobs->queue, subject, faas_deadline_in_ms(LOOK_MS), on_state, wait);
}

static void on_end(void *arg, faas_code code, const struct faas_stream_msg *msg,
                   const faas_err *err)
{
    struct state_wait *wait = arg;
    struct faas_envelope env = {0};
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err why = {0};

    wait->is_looking = false;
    if (wait->jobs->is_stopped)
        return;
    if (code == FAAS_NOT_FOUND) {
        look_in_queue(wait);
        return;
    }
    if (code != FAAS_OK) {
        answer_err(wait, code, err->msg);
        return;
    }
    if (faas_envelope_open(msg->data, msg->len, &env, &why) == FAAS_OK)
        doc = job_shown(env.meta);
    faas_envelope_done(&env);
    answer(wait, doc);
}

static void look_for_end(struct state_wait *wait)
{
    char subject[JOB_SUBJECT_MAX];

    job_end_subject(wait->tenant, wait->id, subject);
    wait->is_looking = true;
    faas_stream_last(wait->jobs->results, subject, faas_deadline_in_ms(LOOK_MS), on_end, wait);
}

static void look(struct state_wait *wait)
{
    const struct job *job = jobs_find(wait->jobs, wait->id);

    wait->is_poked = wait->is_last_look = false;
    if (job != NULL && job->seq != 0 && strcmp(job->state.tenant, wait->tenant) == 0)
        answer_or_wait(wait, &job->state, job->phase != JOB_WAITING);
    else
        look_for_end(wait);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    look(timer->data);
}

/* ---- the wire ---- */

struct question {
    const char *id;
    int64_t wait_ms;
};
static const struct faas_json_field question_fields[] = {
    FAAS_FIELD(STR, struct question, id, "id", 36, 36, true),
    FAAS_FIELD(INT, struct question, wait_ms, "wait_ms", 0, JOBS_WAIT_S_MAX * 1000, false),
    FAAS_FIELD_END,
};

static faas_code make(struct jobs *jobs, const faas_msg *msg, struct state_wait *wait,
                      faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct question question = {.id = ""};
    struct faas_ctx ctx;

    faas_ctx_from_msg(msg, LOOK_MS, &ctx);
    FAAS_TRY(faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, err));
    FAAS_TRY(faas_json_decode(doc, question_fields, FAAS_JSON_TOLERANT, &question, err));
    if (!faas_uuid_is(question.id) || ctx.tenant[0] == '\0')
        return faas_fail(err, FAAS_INVALID, "id: must be a UUID");
    wait->jobs = jobs;
    memcpy(wait->id, question.id, sizeof wait->id);
    memcpy(wait->tenant, ctx.tenant, sizeof wait->tenant);
    wait->until_ns = faas_deadline_in_ms(question.wait_ms);
    ev_init(&wait->timer, on_timer);
    wait->timer.data = wait;
    return FAAS_OK;
}

static size_t count(const struct jobs *jobs)
{
    const struct state_wait *wait;
    size_t n = 0;

    TAILQ_FOREACH (wait, &jobs->waits, link)
        n++;
    return n;
}

void jobs_on_state(void *state, faas_msg *take_msg)
{
    struct publisher *pub = state;
    struct state_wait *wait = calloc(1, sizeof *wait);
    faas_err err = {0};

    if (wait == NULL)
        (void)faas_fail_sys(&err, ENOMEM, "look for a call");
    else if (count(pub->jobs) >= WAITS_MAX)
        (void)faas_fail_busy(&err, 1, "%d questions wait already, the most allowed", WAITS_MAX);
    if (err.code != FAAS_OK || make(pub->jobs, take_msg, wait, &err) != FAAS_OK) {
        faas_rpc_answer_err(pub->rt->rpc, take_msg, &err);
        faas_msg_free(take_msg);
        free(wait);
        return;
    }
    wait->msg = take_msg;
    TAILQ_INSERT_TAIL(&pub->jobs->waits, wait, link);
    look(wait);
}

static void poke(struct jobs *jobs, const char *id)
{
    struct state_wait *wait, *next;

    for (wait = TAILQ_FIRST(&jobs->waits); wait != NULL; wait = next) {
        next = TAILQ_NEXT(wait, link);
        if (strcmp(wait->id, id) != 0)
            continue;
        wait->is_poked = true;
        if (wait->is_looking)
            continue;
        ev_timer_stop(faas_loop_ev(jobs->pub->rt->loop), &wait->timer);
        look_for_end(wait);
    }
}

void jobs_on_ended(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct publisher *pub = state;
    const char *id = faas_msg_header(msg, FAAS_H_ID);

    if (id != NULL && faas_uuid_is(id))
        poke(pub->jobs, id);
}

/* To all publishers, this one among them: somebody may wait for it there. */
void jobs_say_ended(struct jobs *jobs, const char *id)
{
    const struct faas_header headers[] = {
        {FAAS_H_PROTO, FAAS_PROTO}, {FAAS_H_ID, id}, {NULL, NULL}};
    const struct faas_out out = {
        .subject = FAAS_SUBJ_PUBLISHER_ENDED, .headers = headers, .data = ""};
    faas_err err = {0};

    if (faas_bus_publish(jobs->pub->rt->bus, FAAS_CONTROL, &out, &err) != FAAS_OK)
        FAAS_LOG(DEBUG, "an end was not told", FAAS_LSTR("call", id)); /* who waits looks again */
}

void jobs_stop_waits(struct jobs *jobs)
{
    struct state_wait *wait;

    while ((wait = TAILQ_FIRST(&jobs->waits)) != NULL)
        wait_free(wait);
}

/* ---- cancelling ---- */

bool jobs_cancel(struct jobs *jobs, const char *id, const char *tenant, faas_msg *take_msg)
{
    struct job *job = jobs_find(jobs, id);
    struct cancel_wait *wait;
    faas_err err = {0};

    if (job == NULL || strcmp(job->state.tenant, tenant) != 0)
        return false;
    wait = calloc(1, sizeof *wait);
    if (wait == NULL) {
        (void)faas_fail_sys(&err, ENOMEM, "wait for a call's end");
        faas_rpc_answer_err(jobs->pub->rt->rpc, take_msg, &err);
        faas_msg_free(take_msg);
        return true;
    }
    *wait = (struct cancel_wait){.next = job->cancels, .msg = take_msg};
    job->cancels = wait;
    job_cancel(job);
    return true;
}
