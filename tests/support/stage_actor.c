#include "tests/support/stage_internal.h"

#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/envelope.h"
#include "contract.h"

/* ---- a spawner: loop thread of its process ---- */

static void beat_through(struct actor *actor, struct process *process)
{
    FAAS_AUTO(json_t) *doc = NULL;
    char subject[FAAS_SUBJECT_MAX];

    pthread_mutex_lock(&actor->mu);
    doc = json_pack("{s:i, s:s, s:I, s:s, s:I, s:I, s:i, s:i, s:{}}", "v", 1, "epoch", actor->epoch,
                    "beat", (json_int_t)++actor->beat, "state", "ready", "free",
                    (json_int_t)actor->free, "slots", (json_int_t)actor->slots, "running", 0,
                    "running_seq", 0, "applied");
    if (actor->level > 0)
        json_object_set_new(doc, "level", json_integer(actor->level));
    pthread_mutex_unlock(&actor->mu);
    snprintf(subject, sizeof subject, FAAS_SUBJ_BEAT, "spawner", actor->id);
    stage_publish_json(process, subject, doc, NULL);
}

static void beat(struct actor *actor)
{
    beat_through(actor, &actor->process);
}

static void on_beat_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    beat(timer->data);
}

static json_t *event_of(const struct actor *actor, const struct placement *p, const char *event)
{
    return json_pack("{s:i, s:s, s:I, s:s, s:s}", "v", 1, "event", event, "place",
                     (json_int_t)p->place, "spawner", actor->id, "epoch", actor->epoch);
}

static void event_subject(const struct placement *p, char out_subject[FAAS_SUBJECT_MAX])
{
    snprintf(out_subject, FAAS_SUBJECT_MAX, "faas.call.%s.%s.ev", p->publisher, p->id);
}

static void say(struct actor *actor, const struct placement *p, const char *event)
{
    FAAS_AUTO(json_t) *doc = event_of(actor, p, event);
    char subject[FAAS_SUBJECT_MAX];

    if (strcmp(event, "busy") == 0) {
        json_object_set_new(doc, "reason", json_string(actor->reason));
        json_object_set_new(doc, "detail", json_string("as the test says"));
        if (strcmp(actor->reason, "epoch") == 0)
            json_object_set_new(doc, "epoch", json_string("ffffffffffffffffffffffffffffffff"));
    } else {
        json_object_set_new(doc, "budget_ms", json_integer(20000));
    }
    event_subject(p, subject);
    stage_publish_json(&actor->process, subject, doc, p->id);
}

static void on_end_reply(void *arg, const struct faas_rpc_reply *reply)
{
    struct actor *actor = arg;

    if (reply->code != FAAS_OK)
        return;
    pthread_mutex_lock(&actor->mu);
    actor->ends_acknowledged++;
    pthread_mutex_unlock(&actor->mu);
}

static void say_end(struct actor *actor, const struct placement *p, const char *code)
{
    const struct faas_header untold[] = {{FAAS_H_UNTOLD, "1"}, {NULL, NULL}};
    FAAS_AUTO(json_t) *doc = event_of(actor, p, "end");
    FAAS_AUTO(char) *text = NULL;
    char subject[FAAS_SUBJECT_MAX];
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(3000)};
    struct faas_rpc_request req = {
        .subject = subject, .ctx = &ctx, .retry = FAAS_RPC_SAFE, .attempt_ms = 300};

    if (strcmp(code, "lost") == 0 && json_is_true(json_object_get(p->meta, "again")))
        req.headers = untold; /* as any spawner does that knows the word */
    json_object_set_new(doc, "code", json_string(code));
    json_object_set_new(doc, "exit_code", json_integer(strcmp(code, "ok") == 0 ? 0 : 1));
    text = json_dumps(doc, 0);
    assert_non_null(text);
    snprintf(ctx.id, sizeof ctx.id, "%s", p->id);
    event_subject(p, subject);
    req.data = text;
    req.len = strlen(text);
    faas_rpc_call(actor->process.rpc, &req, on_end_reply, actor);
}

static void copy_header(const faas_msg *msg, const char *name, char *out, size_t size)
{
    const char *value = faas_msg_header(msg, name);

    snprintf(out, size, "%s", value != NULL ? value : "");
}

static void read_placement(const faas_msg *msg, struct placement *p)
{
    struct faas_envelope env = {0};
    faas_err err = {0};

    memset(p, 0, sizeof *p);
    stage_must(faas_envelope_open(faas_msg_data(msg), faas_msg_len(msg), &env, &err), &err);
    copy_header(msg, FAAS_H_ID, p->id, sizeof p->id);
    copy_header(msg, FAAS_H_PUBLISHER, p->publisher, sizeof p->publisher);
    copy_header(msg, FAAS_H_EPOCH, p->epoch, sizeof p->epoch);
    copy_header(msg, FAAS_H_TENANT, p->tenant, sizeof p->tenant);
    snprintf(p->reply, sizeof p->reply, "%s", faas_msg_reply(msg));
    copy_header(msg, FAAS_H_INBOX, p->inbox, sizeof p->inbox);
    p->place = faas_msg_header_int(msg, FAAS_H_PLACE, -1);
    p->attempt = faas_msg_header_int(msg, FAAS_H_ATTEMPT, -1);
    p->age_ms = faas_msg_header_int(msg, FAAS_H_AGE, -1);
    p->left_ms = faas_msg_header_int(msg, FAAS_H_TIME_LEFT, -1);
    p->beat = faas_msg_header_int(msg, FAAS_H_BEAT, -1);
    p->is_pull = json_is_true(json_object_get(env.meta, "pull"));
    p->timeout_ms = json_integer_value(json_object_get(env.meta, "timeout_ms"));
    p->version = json_integer_value(json_object_get(env.meta, "version"));
    p->arg_len = env.len;
    p->meta = json_incref(env.meta);
    faas_envelope_done(&env);
}

static void react(struct actor *actor, const struct placement *p, enum actor_mood mood)
{
    if (mood == ACTOR_REFUSES && !p->is_pull) {
        say(actor, p, "busy");
        return;
    }
    if (mood == ACTOR_SILENT)
        return;
    say(actor, p, "accept");
    if (mood != ACTOR_RUNS)
        return;
    say(actor, p, "started");
    say_end(actor, p, "ok");
}

static void on_call(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct actor *actor = state;
    struct placement *p;
    enum actor_mood mood;

    pthread_mutex_lock(&actor->mu);
    p = &actor->placements[actor->placed % STAGE_KEPT];
    json_decref(p->meta);
    read_placement(msg, p);
    mood = actor->mood;
    actor->placed++;
    pthread_mutex_unlock(&actor->mu);
    react(actor, p, mood);
}

static void answer(struct actor *actor, const faas_msg *msg, const char *state)
{
    FAAS_AUTO(json_t) *doc = NULL;

    if (state == NULL)
        return;
    doc = json_pack("{s:i, s:s}", "v", 1, "state", state);
    faas_rpc_answer_json(actor->process.rpc, msg, doc);
}

/* mu is held.  What a sound spawner says to a fence. */
static const char *truth(const struct actor *actor, const faas_msg *msg)
{
    FAAS_AUTO(json_t) *doc = json_loadb(faas_msg_data(msg), faas_msg_len(msg), 0, NULL);
    const char *id = json_string_value(json_object_get(doc, "id"));

    for (int i = 0; id != NULL && i < STAGE_KEPT; i++)
        if (strcmp(actor->placements[i].id, id) == 0 && actor->mood == ACTOR_RUNS)
            return "done";
    return "never";
}

static void on_fence(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct actor *actor = state;
    const char *word;

    pthread_mutex_lock(&actor->mu);
    actor->fences++;
    word = actor->fence;
    if (word != NULL && word[0] == '\0')
        word = truth(actor, msg);
    pthread_mutex_unlock(&actor->mu);
    answer(actor, msg, word);
}

static void on_cancel(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct actor *actor = state;
    const char *word;

    pthread_mutex_lock(&actor->mu);
    actor->cancels++;
    word = actor->cancel;
    pthread_mutex_unlock(&actor->mu);
    answer(actor, msg, word);
}

static void on_probe(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:b, s:s}", "ok", 1, "epoch", ((struct actor *)state)->epoch);

    faas_rpc_answer_json(((struct actor *)state)->process.rpc, msg, doc);
}

static const struct faas_endpoint spawner_endpoints[] = {
    {.name = "call", .subject = FAAS_SUBJ_SPAWNER_CALL, .body_max = 2 << 20, .on_message = on_call},
    {.name = "fence",
     .subject = FAAS_SUBJ_SPAWNER_FENCE,
     .body_max = 65536,
     .on_message = on_fence,
     .lane = FAAS_CONTROL},
    {.name = "cancel",
     .subject = FAAS_SUBJ_SPAWNER_CANCEL,
     .body_max = 65536,
     .on_message = on_cancel,
     .lane = FAAS_CONTROL},
    {.name = "probe",
     .subject = "faas.spawner.i.%s.probe",
     .body_max = 65536,
     .on_message = on_probe,
     .lane = FAAS_CONTROL},
    {.name = NULL},
};

/* ---- spawners: the test's thread ---- */

static void start_beating(void *arg)
{
    struct actor *actor = arg;

    ev_timer_init(&actor->timer, on_beat_timer, 0.0, 0.2);
    actor->timer.data = actor;
    ev_timer_start(faas_loop_ev(actor->process.loop), &actor->timer);
}

static void stop_beating(void *arg)
{
    struct actor *actor = arg;

    ev_timer_stop(faas_loop_ev(actor->process.loop), &actor->timer);
}

static void beat_now(void *arg)
{
    beat(arg);
}

void stage_forget(struct actor *actor)
{
    for (int i = 0; i < STAGE_KEPT; i++)
        json_decref(actor->placements[i].meta);
    memset(actor->placements, 0, sizeof actor->placements);
    actor->placed = actor->fences = actor->cancels = actor->ends_acknowledged = 0;
}

void stage_join(struct stage *stage, int which)
{
    struct actor *actor = &stage->spawners[which];
    struct process_conf conf = {.urls = nats_urls(stage->nats),
                                .service = "spawner",
                                .id = actor->id,
                                .endpoints = spawner_endpoints,
                                .state = actor};

    assert_false(actor->is_up);
    faas_random_token(actor->epoch);
    actor->mood = ACTOR_RUNS;
    actor->free = actor->slots = 8;
    actor->fence = "";
    actor->cancel = "cancelled";
    actor->reason = "slots";
    actor->beat = 0;
    stage_forget(actor);
    process_start(&actor->process, &conf);
    process_on_loop(&actor->process, start_beating, actor);
    actor->is_up = true;
    wait_until(stage_is_usable, actor, 3000, "the new spawner's beat is heard");
}

void stage_crash(struct stage *stage, int which)
{
    struct actor *actor = &stage->spawners[which];

    if (!actor->is_up)
        return;
    process_stop(&actor->process, stop_beating, actor);
    actor->is_up = false;
}

void stage_last_beat(struct stage *stage, int which)
{
    struct actor *actor = &stage->spawners[which];
    char answer[16];

    assert_false(actor->is_up);
    beat_through(actor, &stage->gateway);
    wait_until(stage_is_usable, actor, 3000, "the last beat is heard");
    stage_ask(stage, "fence", STAGE_USER, 0, answer);
}

static void say_bye(void *arg)
{
    struct actor *actor = arg;
    char subject[FAAS_SUBJECT_MAX];
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:i, s:s, s:I, s:s, s:b}", "v", 1, "epoch", actor->epoch, "beat",
                  (json_int_t)++actor->beat, "state", "draining", "bye", 1);

    stop_beating(actor);
    snprintf(subject, sizeof subject, FAAS_SUBJ_BEAT, "spawner", actor->id);
    stage_publish_json(&actor->process, subject, doc, NULL);
}

void stage_leave(struct stage *stage, int which)
{
    struct actor *actor = &stage->spawners[which];

    if (!actor->is_up)
        return;
    process_stop(&actor->process, say_bye, actor);
    actor->is_up = false;
}

void stage_free(struct stage *stage, int which, int64_t free)
{
    struct actor *actor = &stage->spawners[which];
    char answer[16];

    pthread_mutex_lock(&actor->mu);
    actor->free = free;
    pthread_mutex_unlock(&actor->mu);
    process_on_loop(&actor->process, beat_now, actor);
    wait_until(stage_is_beat_heard, actor, 3000, "the beat is heard");
    /* It came to the publisher by the connection that brings this, too. */
    stage_ask(stage, "fence", STAGE_USER, 0, answer);
}

void stage_mood(struct stage *stage, int which, enum actor_mood mood, const char *reason)
{
    struct actor *actor = &stage->spawners[which];

    pthread_mutex_lock(&actor->mu);
    actor->mood = mood;
    if (reason != NULL)
        actor->reason = reason;
    pthread_mutex_unlock(&actor->mu);
}

void stage_answers(struct stage *stage, int which, const char *fence, const char *cancel)
{
    struct actor *actor = &stage->spawners[which];

    pthread_mutex_lock(&actor->mu);
    actor->fence = fence;
    actor->cancel = cancel;
    pthread_mutex_unlock(&actor->mu);
}

struct ending {
    struct actor *actor;
    int idx;
    const char *code;
};

static void end_now(void *arg)
{
    const struct ending *ending = arg;

    say_end(ending->actor, &ending->actor->placements[ending->idx % STAGE_KEPT], ending->code);
}

void stage_end(struct stage *stage, int which, int idx, const char *code)
{
    struct ending ending = {&stage->spawners[which], idx, code};

    process_on_loop(&ending.actor->process, end_now, &ending);
}

static int read_count(struct actor *actor, const int *count)
{
    int value;

    pthread_mutex_lock(&actor->mu);
    value = *count;
    pthread_mutex_unlock(&actor->mu);
    return value;
}

int stage_placed(struct stage *stage, int which)
{
    return read_count(&stage->spawners[which], &stage->spawners[which].placed);
}

int stage_fences(struct stage *stage, int which)
{
    return read_count(&stage->spawners[which], &stage->spawners[which].fences);
}

int stage_cancels(struct stage *stage, int which)
{
    return read_count(&stage->spawners[which], &stage->spawners[which].cancels);
}

int stage_ends(struct stage *stage, int which)
{
    return read_count(&stage->spawners[which], &stage->spawners[which].ends_acknowledged);
}
