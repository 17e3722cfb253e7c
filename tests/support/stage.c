#include "tests/support/stage.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/envelope.h"
#include "contract.h"

static void must(faas_code rc, const faas_err *err)
{
    if (rc != FAAS_OK)
        fail_msg("%s: %s (%s)", faas_code_slug(rc), err->msg, err->detail);
}

static void publish(struct process *from, const struct faas_out *out)
{
    faas_err err = {0};

    must(faas_bus_publish(from->bus, FAAS_DATA, out, &err), &err);
}

static void publish_json(struct process *from, const char *subject, const json_t *doc,
                         const char *id)
{
    const struct faas_header headers[] = {
        {FAAS_H_PROTO, FAAS_PROTO}, {FAAS_H_ID, id}, {NULL, NULL}};
    FAAS_AUTO(char) *text = json_dumps(doc, JSON_COMPACT);

    assert_non_null(text);
    publish(from, &(struct faas_out){
                      .subject = subject, .headers = headers, .data = text, .len = strlen(text)});
}

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
    pthread_mutex_unlock(&actor->mu);
    snprintf(subject, sizeof subject, FAAS_SUBJ_BEAT, "spawner", actor->id);
    publish_json(process, subject, doc, NULL);
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
    } else {
        json_object_set_new(doc, "budget_ms", json_integer(20000));
    }
    event_subject(p, subject);
    publish_json(&actor->process, subject, doc, p->id);
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
    FAAS_AUTO(json_t) *doc = event_of(actor, p, "end");
    FAAS_AUTO(char) *text = NULL;
    char subject[FAAS_SUBJECT_MAX];
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(1000)};
    struct faas_rpc_request req = {.subject = subject, .ctx = &ctx};

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
    must(faas_envelope_open(faas_msg_data(msg), faas_msg_len(msg), &env, &err), &err);
    copy_header(msg, FAAS_H_ID, p->id, sizeof p->id);
    copy_header(msg, FAAS_H_PUBLISHER, p->publisher, sizeof p->publisher);
    copy_header(msg, FAAS_H_EPOCH, p->epoch, sizeof p->epoch);
    copy_header(msg, FAAS_H_TENANT, p->tenant, sizeof p->tenant);
    snprintf(p->inbox, sizeof p->inbox, "%s", faas_msg_reply(msg));
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

static void on_fence(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct actor *actor = state;

    pthread_mutex_lock(&actor->mu);
    actor->fences++;
    pthread_mutex_unlock(&actor->mu);
    answer(actor, msg, actor->fence);
}

static void on_cancel(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct actor *actor = state;

    pthread_mutex_lock(&actor->mu);
    actor->cancels++;
    pthread_mutex_unlock(&actor->mu);
    answer(actor, msg, actor->cancel);
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

static void forget(struct actor *actor)
{
    for (int i = 0; i < STAGE_KEPT; i++)
        json_decref(actor->placements[i].meta);
    memset(actor->placements, 0, sizeof actor->placements);
    actor->placed = actor->fences = actor->cancels = actor->ends_acknowledged = 0;
}

static bool publisher_sees(void *arg);
static bool is_beat_heard(void *arg);

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
    actor->fence = "never";
    actor->cancel = "cancelled";
    actor->reason = "slots";
    actor->beat = 0;
    forget(actor);
    process_start(&actor->process, &conf);
    process_on_loop(&actor->process, start_beating, actor);
    actor->is_up = true;
    wait_until(publisher_sees, actor, 3000, "the new spawner's beat is heard");
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
    wait_until(publisher_sees, actor, 3000, "the last beat is heard");
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
    publish_json(&actor->process, subject, doc, NULL);
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
    wait_until(is_beat_heard, actor, 3000, "the beat is heard");
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

int stage_placed(struct stage *stage, int which)
{
    struct actor *actor = &stage->spawners[which];
    int placed;

    pthread_mutex_lock(&actor->mu);
    placed = actor->placed;
    pthread_mutex_unlock(&actor->mu);
    return placed;
}

/* ---- the gateway ---- */

static void keep_frame(struct stage *stage, const struct faas_frame *frame)
{
    struct seen *seen;

    pthread_mutex_lock(&stage->mu);
    if (stage->seen_len < (int)FAAS_ARRAY_LEN(stage->seen)) {
        seen = &stage->seen[stage->seen_len++];
        memcpy(seen->id, frame->id, sizeof seen->id);
        seen->type = frame->type;
        seen->place = frame->place;
        seen->doc = json_loadb(frame->payload, frame->len, 0, NULL);
    }
    pthread_mutex_unlock(&stage->mu);
}

static void on_inbox(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct faas_frame frame;
    size_t pos = 0;
    bool more = true;
    faas_err err;

    /* NATS tells a placement's reply subject when nobody listened: not for a gateway. */
    if (faas_msg_is_no_responders(msg))
        return;
    while (more &&
           faas_frame_next(faas_msg_data(msg), faas_msg_len(msg), &pos, &frame, &more, &err) ==
               FAAS_OK &&
           more)
        keep_frame(arg, &frame);
}

static void open_inbox(void *arg)
{
    struct stage *stage = arg;
    const struct faas_members_conf conf = {.service = "gateway", .id = "g1"};
    faas_err err = {0};

    must(faas_inbox_open(stage->gateway.rpc, on_inbox, stage, &stage->inbox, &err), &err);
    must(faas_members_start(stage->gateway.rpc, &conf, &stage->gateway_members, &err), &err);
}

static void close_inbox(void *arg)
{
    struct stage *stage = arg;

    faas_inbox_close(stage->inbox);
    faas_members_stop(stage->gateway_members);
}

struct sight {
    struct stage *stage;
    const char *service, *id;
    bool is_there;
    int64_t free;
};

static void look(void *arg)
{
    struct sight *sight = arg;
    const struct faas_member *member =
        faas_members_find(sight->stage->gateway_members, sight->service, sight->id);

    sight->is_there = member != NULL && faas_member_is_usable(member);
    sight->free = member != NULL ? member->free : -1;
}

static bool is_seen(void *arg)
{
    struct sight *sight = arg;

    process_on_loop(&sight->stage->gateway, look, sight);
    return sight->is_there;
}

/* The publisher hears what we hear, from the same server at the same time. */
static bool publisher_sees(void *arg)
{
    struct actor *actor = arg;
    struct sight sight = {.stage = actor->stage, .service = "spawner", .id = actor->id};

    return is_seen(&sight);
}

static bool is_beat_heard(void *arg)
{
    struct actor *actor = arg;
    struct sight sight = {.stage = actor->stage, .service = "spawner", .id = actor->id};

    return is_seen(&sight) && sight.free == actor->free;
}

/* ---- the publisher ---- */

static void become_publisher(const struct stage *stage, const char *const *settings)
{
    const char *build = getenv("FAAS_BUILD");
    char path[PATH_MAX];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("NATS_URL", nats_urls(stage->nats), 1);
    setenv("INSTANCE_ID", "p1", 1);
    setenv("DATA_DIR", stage->dir, 1);
    setenv("LOG_LEVEL", getenv("FAAS_TEST_LOG") != NULL ? "debug" : "error", 1);
    for (; settings != NULL && *settings != NULL; settings++)
        putenv((char *)(uintptr_t)*settings);
    snprintf(path, sizeof path, "%s/bin/faas-publisher", build != NULL ? build : "build/release");
    execl(path, "faas-publisher", (char *)NULL);
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    _exit(127);
}

void stage_open(struct stage *stage, const char *const *settings)
{
    struct sight sight = {.stage = stage, .service = "publisher", .id = "p1"};
    faas_err err = {0};

    memset(stage, 0, sizeof *stage);
    pthread_mutex_init(&stage->mu, NULL);
    for (int i = 0; i < STAGE_SPAWNERS; i++) {
        stage->spawners[i].stage = stage;
        snprintf(stage->spawners[i].id, sizeof stage->spawners[i].id, "s%c", 'a' + i);
        pthread_mutex_init(&stage->spawners[i].mu, NULL);
    }
    snprintf(stage->dir, sizeof stage->dir, "/tmp/faas-stage-XXXXXX");
    assert_non_null(mkdtemp(stage->dir));
    stage->nats = nats_start(1, NULL);
    process_start(
        &stage->gateway,
        &(struct process_conf){.urls = nats_urls(stage->nats), .service = "gateway", .id = "g1"});
    process_on_loop(&stage->gateway, open_inbox, stage);
    snprintf(stage->inbox_subject, sizeof stage->inbox_subject, "%s",
             faas_inbox_subject(stage->inbox));
    must(faas_kv_open(stage->gateway.rpc, FAAS_BUCKET_FUNCTIONS, 1, faas_deadline_in_ms(20000),
                      &stage->functions, &err),
         &err);
    stage->publisher = fork();
    if (stage->publisher == 0)
        become_publisher(stage, settings);
    wait_until(is_seen, &sight, 15000, "the publisher is ready");
}

void stage_signal(struct stage *stage, int signal)
{
    assert_int_equal(kill(stage->publisher, signal), 0);
}

struct exit_wait {
    pid_t pid;
    int status;
};

static bool has_exited(void *arg)
{
    struct exit_wait *wait = arg;

    return waitpid(wait->pid, &wait->status, WNOHANG) == wait->pid;
}

int stage_wait_exit(struct stage *stage, int64_t ms)
{
    struct exit_wait wait = {.pid = stage->publisher};

    wait_until(has_exited, &wait, ms, "the publisher ends");
    stage->publisher = 0;
    return WIFEXITED(wait.status) ? WEXITSTATUS(wait.status) : -1;
}

void stage_close(struct stage *stage)
{
    for (int i = 0; i < STAGE_SPAWNERS; i++) {
        stage_crash(stage, i);
        forget(&stage->spawners[i]);
    }
    if (stage->publisher > 0) {
        kill(stage->publisher, SIGTERM);
        assert_int_equal(stage_wait_exit(stage, 40000), 0);
    }
    faas_kv_close(stage->functions);
    process_stop(&stage->gateway, close_inbox, stage);
    nats_stop(stage->nats);
    for (int i = 0; i < stage->seen_len; i++)
        json_decref(stage->seen[i].doc);
    rmdir(stage->dir);
}

/* ---- functions ---- */

static void function_key(const char *name, char out_key[128])
{
    char hash[FAAS_HASH_TEXT];

    faas_hash_text(name, strlen(name), hash);
    snprintf(out_key, 128, "f.%s.%.32s", STAGE_TENANT, hash);
}

static uint64_t revision_of(struct stage *stage, const char *key)
{
    struct faas_kv_entry entry = {0};
    faas_err err = {0};
    uint64_t revision = 0;

    if (faas_kv_get(stage->functions, key, faas_deadline_in_ms(5000), &entry, &err) == FAAS_OK)
        revision = entry.revision;
    faas_kv_entry_done(&entry);
    return revision;
}

struct applied {
    struct stage *stage;
    uint64_t seq;
};

static void wait_applied(struct stage *stage, uint64_t seq)
{
    faas_err err = {0};

    must(faas_members_wait_applied(stage->gateway_members, FAAS_BUCKET_FUNCTIONS, seq,
                                   faas_deadline_in_ms(15000), &err),
         &err);
}

void stage_function(struct stage *stage, const char *name, int version, const char *more)
{
    char key[128], op[33], text[2048];
    uint64_t seq = 0;
    faas_err err = {0};

    function_key(name, key);
    faas_random_token(op);
    snprintf(
        text, sizeof text,
        "{\"v\":1,\"op\":\"%s\",\"id\":\"0190a000-0000-7000-8000-%.12s\",\"uuid\":\"" STAGE_USER
        "\",\"name\":\"%s\",\"reference\":\"docker.io/library/x:latest\",%s"
        "\"digest\":{\"kind\":\"docker-id\",\"value\":\"sha256:00\"},\"version\":%d}",
        op, strrchr(key, '.') + 1, name, more != NULL ? more : "", version);
    must(faas_kv_put(stage->functions, key, revision_of(stage, key), text, strlen(text),
                     faas_deadline_in_ms(5000), &seq, &err),
         &err);
    wait_applied(stage, seq);
}

void stage_function_delete(struct stage *stage, const char *name)
{
    char key[128];
    uint64_t seq = 0;
    faas_err err = {0};

    function_key(name, key);
    must(faas_kv_delete(stage->functions, key, revision_of(stage, key), faas_deadline_in_ms(5000),
                        &seq, &err),
         &err);
    wait_applied(stage, seq);
}

/* ---- calls ---- */

void stage_call(struct stage *stage, const struct stage_call *call, char out_id[FAAS_UUID_TEXT])
{
    char attempt[24];
    const struct faas_header headers[] = {
        {FAAS_H_PROTO, FAAS_PROTO},
        {FAAS_H_ID, out_id},
        {FAAS_H_ATTEMPT, attempt},
        {FAAS_H_AGE, "7"},
        {FAAS_H_TIME_LEFT, "60000"},
        {FAAS_H_USER, STAGE_USER},
        {FAAS_H_TENANT, call->tenant != NULL ? call->tenant : STAGE_TENANT},
        {NULL, NULL}};
    FAAS_AUTO(json_t) *meta = json_pack("{s:i, s:s, s:s, s:s}", "v", 1, "kind", "exec", "function",
                                        call->function, "gateway", "g1");
    FAAS_AUTO(void) *msg = NULL;
    size_t len = 0;
    faas_err err = {0};

    if (call->id != NULL)
        memmove(out_id, call->id, FAAS_UUID_TEXT);
    else
        faas_uuid_new(out_id);
    snprintf(attempt, sizeof attempt, "%" PRId64, call->attempt > 0 ? call->attempt : 1);
    if (call->timeout_ms > 0)
        json_object_set_new(meta, "timeout_ms", json_integer(call->timeout_ms));
    must(faas_envelope_pack(meta, call->arg != NULL ? call->arg : "x",
                            call->arg != NULL ? call->arg_len : 1, &msg, &len, &err),
         &err);
    publish(&stage->gateway, &(struct faas_out){.subject = "faas.publisher.i.p1.call",
                                                .reply = stage->inbox_subject,
                                                .headers = headers,
                                                .data = msg,
                                                .len = len});
}

struct search {
    struct stage *stage;
    const char *id;
    enum faas_frame_type type;
    const json_t *doc;
};

static bool frame_is_there(void *arg)
{
    struct search *search = arg;

    pthread_mutex_lock(&search->stage->mu);
    for (int i = 0; i < search->stage->seen_len; i++) {
        const struct seen *seen = &search->stage->seen[i];

        if (seen->type == search->type && strcmp(seen->id, search->id) == 0)
            search->doc = seen->doc; /* the newest */
    }
    pthread_mutex_unlock(&search->stage->mu);
    return search->doc != NULL;
}

const json_t *stage_frame(struct stage *stage, const char *id, enum faas_frame_type type,
                          int64_t ms)
{
    struct search search = {.stage = stage, .id = id, .type = type};
    char what[64];

    snprintf(what, sizeof what, "a frame of type %d", type);
    wait_until(frame_is_there, &search, ms, what);
    return search.doc;
}

int stage_frames(struct stage *stage, const char *id, enum faas_frame_type type)
{
    int count = 0;

    pthread_mutex_lock(&stage->mu);
    for (int i = 0; i < stage->seen_len; i++)
        count += stage->seen[i].type == type && strcmp(stage->seen[i].id, id) == 0;
    pthread_mutex_unlock(&stage->mu);
    return count;
}

void stage_ask(struct stage *stage, const char *what, const char *id, int64_t place,
               char out_state[16])
{
    struct faas_ctx ctx = {.tenant = STAGE_TENANT, .deadline_ns = faas_deadline_in_ms(5000)};
    char subject[64];
    FAAS_AUTO(json_t) *body = json_pack("{s:i, s:s, s:I, s:s}", "v", 1, "id", id, "place",
                                        (json_int_t)place, "reason", "client_gone");
    FAAS_AUTO(char) *text = json_dumps(body, 0);
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(faas_msg) *reply = NULL;
    struct faas_rpc_request req = {.subject = subject, .ctx = &ctx, .lane = FAAS_CONTROL};
    const char *state;
    faas_err err = {0};

    assert_non_null(text);
    req.data = text;
    req.len = strlen(text);
    snprintf(subject, sizeof subject, "faas.publisher.i.p1.%s", what);
    must(faas_rpc_wait(stage->gateway.rpc, &req, &reply, &err), &err);
    doc = json_loadb(faas_msg_data(reply), faas_msg_len(reply), 0, NULL);
    state = json_string_value(json_object_get(doc, "state"));
    snprintf(out_state, 16, "%s", state != NULL ? state : "");
}
