#include "tests/support/stage_internal.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/envelope.h"
#include "contract.h"

void stage_must(faas_code rc, const faas_err *err)
{
    if (rc != FAAS_OK)
        fail_msg("%s: %s (%s)", faas_code_slug(rc), err->msg, err->detail);
}

void stage_publish(struct process *from, const struct faas_out *out)
{
    faas_err err = {0};

    stage_must(faas_bus_publish(from->bus, FAAS_DATA, out, &err), &err);
}

void stage_publish_json(struct process *from, const char *subject, const json_t *doc,
                        const char *id)
{
    const struct faas_header headers[] = {
        {FAAS_H_PROTO, FAAS_PROTO}, {FAAS_H_ID, id}, {NULL, NULL}};
    FAAS_AUTO(char) *text = json_dumps(doc, JSON_COMPACT);

    assert_non_null(text);
    stage_publish(from,
                  &(struct faas_out){
                      .subject = subject, .headers = headers, .data = text, .len = strlen(text)});
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

    stage_must(faas_inbox_open(stage->gateway.rpc, on_inbox, stage, &stage->inbox, &err), &err);
    stage_must(faas_members_start(stage->gateway.rpc, &conf, &stage->gateway_members, &err), &err);
}

static void leave_members(void *arg)
{
    struct stage *stage = arg;

    faas_members_stop(stage->gateway_members);
    stage->gateway_members = NULL;
}

void stage_gateway_leaves(struct stage *stage)
{
    process_on_loop(&stage->gateway, leave_members, stage);
}

static void close_inbox(void *arg)
{
    struct stage *stage = arg;

    faas_inbox_close(stage->inbox);
    leave_members(stage);
}

struct sight {
    struct stage *stage;
    const char *service, *id;
    bool is_there;
    int64_t free;
    char epoch[33];
};

static void look(void *arg)
{
    struct sight *sight = arg;
    const struct faas_member *member =
        faas_members_find(sight->stage->gateway_members, sight->service, sight->id);

    sight->is_there = member != NULL && faas_member_is_usable(member);
    sight->free = member != NULL ? member->free : -1;
    if (member != NULL)
        memcpy(sight->epoch, member->epoch, sizeof sight->epoch);
}

static bool is_seen(void *arg)
{
    struct sight *sight = arg;

    process_on_loop(&sight->stage->gateway, look, sight);
    return sight->is_there;
}

/* The publisher hears what we hear, from the same server at the same time. */
bool stage_is_usable(void *arg)
{
    struct actor *actor = arg;
    struct sight sight = {.stage = actor->stage, .service = "spawner", .id = actor->id};

    return is_seen(&sight) && strcmp(sight.epoch, actor->epoch) == 0;
}

bool stage_is_beat_heard(void *arg)
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
    setenv("REPLICAS", stage->servers == 3 ? "3" : "1", 1);
    setenv("DATA_DIR", stage->dir, 1);
    setenv("LOG_LEVEL", getenv("FAAS_TEST_LOG") != NULL ? "debug" : "error", 1);
    for (; settings != NULL && *settings != NULL; settings++)
        putenv((char *)(uintptr_t)*settings);
    snprintf(path, sizeof path, "%s/bin/faas-publisher", build != NULL ? build : "build/release");
    execl(path, "faas-publisher", (char *)NULL);
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    _exit(127);
}

void stage_open(struct stage *stage, int servers, const char *const *settings)
{
    faas_err err = {0};

    memset(stage, 0, sizeof *stage);
    pthread_mutex_init(&stage->mu, NULL);
    for (int i = 0; i < STAGE_SPAWNERS; i++) {
        stage->spawners[i].stage = stage;
        stage->spawners[i].level = FAAS_LEVEL;
        snprintf(stage->spawners[i].id, sizeof stage->spawners[i].id, "s%c", 'a' + i);
        pthread_mutex_init(&stage->spawners[i].mu, NULL);
    }
    snprintf(stage->dir, sizeof stage->dir, "/tmp/faas-stage-XXXXXX");
    assert_non_null(mkdtemp(stage->dir));
    stage->servers = servers;
    stage->nats = nats_start(servers, NULL);
    process_start(
        &stage->gateway,
        &(struct process_conf){.urls = nats_urls(stage->nats), .service = "gateway", .id = "g1"});
    process_on_loop(&stage->gateway, open_inbox, stage);
    snprintf(stage->inbox_subject, sizeof stage->inbox_subject, "%s",
             faas_inbox_subject(stage->inbox));
    stage_must(faas_kv_open(stage->gateway.rpc, FAAS_BUCKET_FUNCTIONS, servers,
                            faas_deadline_in_ms(20000), &stage->functions, &err),
               &err);
    stage_launch(stage, settings);
}

static bool is_unseen(void *arg)
{
    return !is_seen(arg);
}

void stage_launch(struct stage *stage, const char *const *settings)
{
    struct sight sight = {.stage = stage, .service = "publisher", .id = "p1"};

    wait_until(is_unseen, &sight, 5000, "the publisher before is not heard any more");
    stage->publisher = fork();
    if (stage->publisher == 0)
        become_publisher(stage, settings);
    wait_until(is_seen, &sight, 15000, "the publisher is ready");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
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

void stage_replace_publisher(struct stage *stage, char out_epoch[33])
{
    struct sight sight = {.stage = stage, .service = "publisher", .id = "p1"};

    process_on_loop(&stage->gateway, look, &sight);
    memcpy(out_epoch, sight.epoch, sizeof sight.epoch);
    stage_signal(stage, SIGKILL);
    assert_int_equal(stage_wait_exit(stage, 5000), -1);
    stage_launch(stage, NULL);
}

void stage_close(struct stage *stage)
{
    for (int i = 0; i < STAGE_SPAWNERS; i++) {
        stage_crash(stage, i);
        stage_forget(&stage->spawners[i]);
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
    (void)nftw(stage->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- functions ---- */

static const char *tenant_of(const struct stage *stage)
{
    return stage->tenant != NULL ? stage->tenant : STAGE_TENANT;
}

static void function_key(const struct stage *stage, const char *name, char out_key[128])
{
    char hash[FAAS_HASH_TEXT];

    faas_hash_text(name, strlen(name), hash);
    snprintf(out_key, 128, "f.%s.%.32s", tenant_of(stage), hash);
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

    stage_must(faas_members_wait_applied(stage->gateway_members, FAAS_BUCKET_FUNCTIONS, seq,
                                         faas_deadline_in_ms(15000), &err),
               &err);
}

struct stored { /* a record's text and the key of its function's head */
    char key[128], id[FAAS_UUID_TEXT], text[2048];
};

static void make_record(const struct stage *stage, const char *name, int version, const char *more,
                        struct stored *out)
{
    char op[33];

    function_key(stage, name, out->key);
    faas_random_token(op);
    snprintf(out->id, sizeof out->id, "0190a000-0000-7000-8000-%.12s", strrchr(out->key, '.') + 1);
    snprintf(out->text, sizeof out->text,
             "{\"v\":1,\"op\":\"%s\",\"id\":\"%s\",\"uuid\":\"" STAGE_USER
             "\",\"name\":\"%s\",\"reference\":\"docker.io/library/x:latest\",%s"
             "\"digest\":{\"kind\":\"docker-id\",\"value\":\"sha256:00\"},\"version\":%d}",
             op, out->id, name, more != NULL ? more : "", version);
}

static uint64_t put_record(struct stage *stage, const char *key, const char *text)
{
    uint64_t seq = 0;
    faas_err err = {0};

    stage_must(faas_kv_put(stage->functions, key, revision_of(stage, key), text, strlen(text),
                           faas_deadline_in_ms(5000), &seq, &err),
               &err);
    return seq;
}

void stage_function(struct stage *stage, const char *name, int version, const char *more)
{
    struct stored stored;

    make_record(stage, name, version, more, &stored);
    wait_applied(stage, put_record(stage, stored.key, stored.text));
}

void stage_version(struct stage *stage, const char *name, int version, const char *more)
{
    struct stored stored;

    make_record(stage, name, version, more != NULL ? more : "", &stored);
    snprintf(stored.key, sizeof stored.key, "v.%s.%s.%d", tenant_of(stage), stored.id, version);
    if (more != NULL)
        put_record(stage, stored.key, stored.text);
    else
        stage_must(faas_kv_delete(stage->functions, stored.key, revision_of(stage, stored.key),
                                  faas_deadline_in_ms(5000), NULL, NULL),
                   NULL);
}

void stage_function_delete(struct stage *stage, const char *name)
{
    char key[128];
    uint64_t seq = 0;
    faas_err err = {0};

    function_key(stage, name, key);
    stage_must(faas_kv_delete(stage->functions, key, revision_of(stage, key),
                              faas_deadline_in_ms(5000), &seq, &err),
               &err);
    wait_applied(stage, seq);
}

/* ---- calls ---- */

void stage_call(struct stage *stage, const struct stage_call *call, char out_id[FAAS_UUID_TEXT])
{
    char attempt[24], lost[24], version[24];
    const struct faas_header headers[] = {
        {FAAS_H_PROTO, FAAS_PROTO},
        {FAAS_H_ID, out_id},
        {FAAS_H_ATTEMPT, attempt},
        {FAAS_H_LOST, call->lost > 0 ? lost : NULL},
        {FAAS_H_VERSION, call->version > 0 ? version : NULL},
        {FAAS_H_EPOCH, call->epoch},
        {FAAS_H_AGE, "7"},
        {FAAS_H_TIME_LEFT, "60000"},
        {FAAS_H_USER, STAGE_USER},
        {FAAS_H_TENANT, call->tenant != NULL ? call->tenant : tenant_of(stage)},
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
    snprintf(lost, sizeof lost, "%" PRId64, call->lost);
    snprintf(version, sizeof version, "%" PRId64, call->version);
    if (call->timeout_ms > 0)
        json_object_set_new(meta, "timeout_ms", json_integer(call->timeout_ms));
    stage_must(faas_envelope_pack(meta, call->arg != NULL ? call->arg : "x",
                                  call->arg != NULL ? call->arg_len : 1, &msg, &len, &err),
               &err);
    stage_publish(&stage->gateway, &(struct faas_out){.subject = "faas.publisher.i.p1.call",
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
    if (faas_rpc_wait(stage->gateway.rpc, &req, &reply, &err) != FAAS_OK) {
        out_state[0] = '\0';
        return;
    }
    doc = json_loadb(faas_msg_data(reply), faas_msg_len(reply), 0, NULL);
    state = json_string_value(json_object_get(doc, "state"));
    snprintf(out_state, 16, "%s", state != NULL ? state : "");
}
