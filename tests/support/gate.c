#include "tests/support/gate.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "contract.h"
#include "tests/support/program.h"
#include "tests/unit/unit.h"

#define GATEWAY_PORTS 20000
#define PORTS         3000 /* two programs of a test run get different ones by their number */

static void must(faas_code rc, const faas_err *err)
{
    if (rc != FAAS_OK)
        fail_msg("%s: %s (%s)", faas_code_slug(rc), err->msg, err->detail);
}

/* ---- auth and registry ---- */

static faas_code on_jwks(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    struct gate *gate = state;
    const char *const file = gate->keys[atomic_load(&gate->key)].public_file;

    (void)call;
    atomic_fetch_add(&gate->jwks_calls, 1);
    return faas_token_jwks(&file, 1, out_reply, err);
}

static faas_code on_registry(void *state, const struct faas_call *call, json_t **out_reply,
                             faas_err *err)
{
    struct gate *gate = state;
    bool is_first = atomic_fetch_add(&gate->registry_calls, 1) == 0;
    json_int_t after_s = json_integer_value(json_object_get(call->body, "after_s"));
    json_int_t fail = json_integer_value(json_object_get(call->body, "fail"));

    if (fail != 0) {
        (void)faas_fail(err, (faas_code)fail, "as the test says");
        err->retry_after_s = (int)after_s;
        return err->code;
    }
    if (is_first && atomic_load(&gate->is_registry_silent))
        usleep(1500 * 1000); /* longer than the gateway's patience with a read */
    *out_reply = json_pack("{s:O, s:s}", "got", call->body, "user", call->ctx->user);
    return FAAS_OK;
}

static const struct faas_endpoint auth_endpoints[] = {
    {.name = "jwks",
     .subject = FAAS_SUBJ_AUTH_JWKS,
     .queue = FAAS_QUEUE,
     .body_max = 1024,
     .handler = on_jwks},
    {.name = NULL},
};
static const struct faas_endpoint registry_endpoints[] = {
    {.name = "register",
     .subject = FAAS_SUBJ_REGISTRY_REGISTER,
     .queue = FAAS_QUEUE,
     .body_max = 65536,
     .handler = on_registry},
    {.name = "retrieve",
     .subject = FAAS_SUBJ_REGISTRY_RETRIEVE,
     .queue = FAAS_QUEUE,
     .body_max = 65536,
     .handler = on_registry},
    {.name = "delete",
     .subject = FAAS_SUBJ_REGISTRY_DELETE,
     .queue = FAAS_QUEUE,
     .body_max = 65536,
     .handler = on_registry},
    {.name = NULL},
};

void gate_serve_registry(struct gate *gate)
{
    const struct process_conf conf = {.urls = nats_urls(gate->nats),
                                      .service = "registry",
                                      .id = "r1",
                                      .endpoints = registry_endpoints,
                                      .state = gate};

    process_start(&gate->registry, &conf);
}

/* ---- the spawner: only what the gateway asks it ---- */

static void answer_state(faas_rpc *rpc, faas_msg *msg, const char *state, const char *epoch)
{
    FAAS_AUTO(json_t) *doc = json_pack("{s:i, s:s, s:s*}", "v", 1, "state", state, "epoch", epoch);

    faas_rpc_answer_json(rpc, msg, doc);
    faas_msg_free(msg);
}

static void on_spawner_cancel(void *arg, faas_msg *take_msg)
{
    struct gate *gate = arg;

    atomic_fetch_add(&gate->spawner_cancels, 1);
    answer_state(gate->spawner.rpc, take_msg, "cancelled", NULL);
}

static void on_spawner_fence(void *arg, faas_msg *take_msg)
{
    struct gate *gate = arg;

    atomic_fetch_add(&gate->spawner_fences, 1);
    answer_state(gate->spawner.rpc, take_msg, "done", NULL);
}

static void join_spawner(void *arg)
{
    struct gate *gate = arg;
    const struct faas_members_conf conf = {.service = "spawner", .id = "s1"};
    faas_err err = {0};

    must(faas_members_start(gate->spawner.rpc, &conf, &gate->spawner_members, &err), &err);
}

static void leave_spawner(void *arg)
{
    struct gate *gate = arg;

    faas_members_stop(gate->spawner_members);
    gate->spawner_members = NULL;
}

static void start_spawner(struct gate *gate)
{
    static const struct faas_endpoint endpoints[] = {
        {.name = "cancel",
         .subject = FAAS_SUBJ_SPAWNER_CANCEL,
         .body_max = 1024,
         .on_message = on_spawner_cancel,
         .lane = FAAS_CONTROL},
        {.name = "fence",
         .subject = FAAS_SUBJ_SPAWNER_FENCE,
         .body_max = 1024,
         .on_message = on_spawner_fence,
         .lane = FAAS_CONTROL},
        {.name = NULL},
    };
    const struct process_conf conf = {.urls = nats_urls(gate->nats),
                                      .service = "spawner",
                                      .id = "s1",
                                      .endpoints = endpoints,
                                      .state = gate};

    process_start(&gate->spawner, &conf);
    process_on_loop(&gate->spawner, join_spawner, gate);
}

/* ---- a publisher ---- */

static void publish_from(struct puppet *p, const char *reply, const void *msg, size_t len)
{
    const struct faas_out out = {.subject = p->inbox, .reply = reply, .data = msg, .len = len};
    faas_err err = {0};

    must(faas_bus_publish(p->process.bus, FAAS_DATA, &out, &err), &err);
}

static void say(struct puppet *p, const char *id, struct faas_frame frame, json_t *take_doc)
{
    FAAS_AUTO(json_t) *doc = take_doc;
    FAAS_AUTO(char) *text = faas_json_text(doc, &frame.len);
    uint8_t msg[1024];

    assert_non_null(text);
    frame.payload = text;
    memcpy(frame.id, id, sizeof frame.id);
    publish_from(p, NULL, msg, faas_frame_write(&frame, msg));
}

static void say_fail(struct puppet *p, const char *id, uint32_t place)
{
    say(p, id, (struct faas_frame){.type = FAAS_FRAME_FAIL, .place = place},
        json_pack("{s:i, s:s, s:s, s:s, s:i}", "v", 1, "code", "busy", "detail", "as the test says",
                  "component", "publisher", "retry_after_s", 7));
}

static void say_foreign(struct puppet *p, const char *id, uint32_t place)
{
    say(p, id, (struct faas_frame){.type = FAAS_FRAME_FAIL, .place = place},
        json_pack("{s:i, s:s, s:s, s:s}", "v", 1, "code", "unavailable", "detail",
                  "as the test says", "reason", "epoch"));
}

static void send_frames(void *arg, const void *msg, size_t len)
{
    struct puppet *p = arg;
    FAAS_AUTO(char) *copy = malloc(len);

    assert_non_null(copy);
    memcpy(copy, msg, len);
    if (p->is_tampering)
        copy[FAAS_FRAME_HEAD + 1] ^= 1;
    if (++p->sent != p->lose)
        publish_from(p, faas_inbox_subject(p->credits), copy, len);
}

static void on_frames_done(void *arg, bool is_acknowledged)
{
    (void)arg;
    (void)is_acknowledged;
}

static void on_credit(void *arg, faas_msg *take_msg)
{
    struct puppet *p = arg;
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct faas_frame frame;
    size_t pos = 0;
    bool more = false;

    assert_ok(faas_frame_next(faas_msg_data(msg), faas_msg_len(msg), &pos, &frame, &more, NULL));
    if (more && p->out != NULL)
        faas_frames_out_credit(p->out, &frame);
}

static void forget_result(struct puppet *p)
{
    faas_frames_out_free(p->out);
    p->out = NULL;
    faas_inbox_close(p->credits);
    p->credits = NULL;
}

/* HEAD and stdout. */
static void begin_result(struct puppet *p, const char *id, uint32_t place)
{
    struct faas_frames_out_conf conf = {.loop = p->process.loop,
                                        .place = place,
                                        .send = send_frames,
                                        .done = on_frames_done,
                                        .arg = p,
                                        .give_up_ms = 3000};
    FAAS_AUTO(json_t) *head = json_pack("{s:s, s:s}", "spawner", "s1", "start", "cold");
    FAAS_AUTO(char) *bytes = malloc(p->result_len + 1);
    faas_err err = {0};

    forget_result(p);
    p->sent = 0;
    memcpy(conf.id, id, sizeof conf.id);
    must(faas_inbox_open(p->process.rpc, on_credit, p, &p->credits, &err), &err);
    must(faas_frames_out_new(&conf, &p->out, &err), &err);
    assert_non_null(bytes);
    for (size_t i = 0; i < p->result_len; i++)
        bytes[i] = (char)('a' + (i ^ i >> 8) % 26);
    must(faas_frames_out_head(p->out, head, &err), &err);
    must(faas_frames_out_write(p->out, FAAS_FRAME_STDOUT, bytes, p->result_len, &err), &err);
}

static void send_result(struct puppet *p, const char *id, uint32_t place)
{
    FAAS_AUTO(json_t) *end =
        json_pack("{s:s, s:s, s:i, s:s, s:s, s:{s:f, s:f, s:f}, s:s}", "code", p->code, "detail",
                  "exit status 3", "exit_code", strcmp(p->code, "ok") == 0 ? 0 : 3, "stderr_tail",
                  "went wrong", "start", "cold", "times_ms", "place", 0.5, "start", 12.25, "run",
                  7.5, "spawner", "s1");
    faas_err err = {0};

    begin_result(p, id, place);
    must(faas_frames_out_end(p->out, end, &err), &err);
}

static void say_taken(struct puppet *p, const char *id, uint32_t place)
{
    say(p, id, (struct faas_frame){.type = FAAS_FRAME_TAKEN, .place = place},
        json_pack("{s:i, s:s, s:i, s:i}", "v", 1, "publisher", p->id, "budget_ms",
                  p->mood == MOOD_TAKES ? 100 : 20000, "version", 1));
}

static void say_accept(struct puppet *p, const char *id, uint32_t place)
{
    say(p, id, (struct faas_frame){.type = FAAS_FRAME_ACCEPT, .place = place},
        json_pack("{s:i, s:s, s:s, s:i}", "v", 1, "spawner", "s1", "epoch", "e", "budget_ms",
                  20000));
}

/* The first spawner is lost with half a result; its words and the publisher's come late, too. */
static void run_again(struct puppet *p, const char *id, uint32_t first)
{
    begin_result(p, id, first);
    faas_frames_out_flush(p->out);
    say_taken(p, id, first);
    say_accept(p, id, first + 1);
    say_accept(p, id, first);
    say_taken(p, id, first);
    send_result(p, id, first + 1);
}

static void act(struct puppet *p, const char *id, uint32_t attempt)
{
    uint32_t first = attempt * 256 + 1;

    if (p->mood == MOOD_STALE)
        say_fail(p, id, (attempt - 1) * 256);
    if (p->mood == MOOD_FOREIGN)
        say_foreign(p, id, attempt * 256);
    if (p->mood == MOOD_LEAVES)
        faas_members_stop(FAAS_STEAL(p->members));
    if (p->mood == MOOD_SILENT || p->mood == MOOD_FOREIGN || p->mood == MOOD_LEAVES)
        return;
    say_taken(p, id, attempt * 256);
    if (p->mood == MOOD_FAILS)
        say_fail(p, id, attempt * 256);
    if (p->mood == MOOD_TAKES || p->mood == MOOD_FAILS)
        return;
    say_accept(p, id, first);
    if (p->mood == MOOD_AGAIN)
        run_again(p, id, first);
    else if (p->mood != MOOD_ACCEPTS)
        send_result(p, id, first);
}

static void on_call(void *arg, faas_msg *take_msg)
{
    struct puppet *p = arg;
    FAAS_AUTO(faas_msg) *msg = take_msg;
    int64_t attempt = faas_msg_header_int(msg, FAAS_H_ATTEMPT, 0);

    const char *epoch = faas_msg_header(msg, FAAS_H_EPOCH);

    (void)snprintf(p->inbox, sizeof p->inbox, "%s", faas_msg_reply(msg));
    (void)snprintf(p->call_epoch, sizeof p->call_epoch, "%s", epoch != NULL ? epoch : "");
    atomic_store(&p->attempt, (int)attempt);
    atomic_store(&p->lost, (int)faas_msg_header_int(msg, FAAS_H_LOST, 0));
    atomic_store(&p->version, (int)faas_msg_header_int(msg, FAAS_H_VERSION, -1));
    act(p, faas_msg_header(msg, FAAS_H_ID), (uint32_t)attempt);
    atomic_fetch_add(&p->calls, 1);
}

static void on_fence(void *arg, faas_msg *take_msg)
{
    struct puppet *p = arg;

    if (atomic_fetch_add(&p->fences, 1) < p->fences_unanswered || p->fence == NULL) {
        faas_msg_free(take_msg);
        return;
    }
    if (strcmp(p->fence, "running") == 0) { /* found again: it goes on */
        p->mood = MOOD_RUNS;
        send_result(p, faas_msg_header(take_msg, FAAS_H_ID), 257);
    }
    answer_state(p->process.rpc, take_msg, p->fence, p->epoch);
    if (strcmp(p->fence, "never") == 0)
        p->mood = p->later;
}

static void on_cancel(void *arg, faas_msg *take_msg)
{
    struct puppet *p = arg;

    atomic_fetch_add(&p->cancels, 1);
    answer_state(p->process.rpc, take_msg, "cancelled", NULL);
}

static void on_again(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct puppet *p = arg;
    FAAS_AUTO(json_t) *doc = json_pack("{s:i, s:b}", "v", 1, "may_run", p->may_run);

    atomic_fetch_add(&p->agains, 1);
    faas_rpc_answer_json(p->process.rpc, msg, doc);
}

static void on_queue(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct puppet *p = arg;
    FAAS_AUTO(json_t) *doc = json_pack("{s:s}", "call_id", faas_msg_header(msg, FAAS_H_ID));

    atomic_store(&p->attempt, (int)faas_msg_header_int(msg, FAAS_H_ATTEMPT, 0));
    if (atomic_fetch_add(&p->queues, 1) >= p->queues_unanswered)
        faas_rpc_answer_json(p->process.rpc, msg, doc);
}

static const struct faas_endpoint publisher_endpoints[] = {
    {.name = "queue",
     .subject = FAAS_SUBJ_PUBLISHER_QUEUE,
     .body_max = 2 * 1024 * 1024,
     .on_message = on_queue},
    {.name = "again",
     .subject = FAAS_SUBJ_PUBLISHER_AGAIN,
     .body_max = 1024,
     .on_message = on_again,
     .lane = FAAS_CONTROL},
    {.name = "fence",
     .subject = FAAS_SUBJ_PUBLISHER_FENCE,
     .body_max = 1024,
     .on_message = on_fence,
     .lane = FAAS_CONTROL},
    {.name = "cancel",
     .subject = FAAS_SUBJ_PUBLISHER_CANCEL,
     .body_max = 1024,
     .on_message = on_cancel,
     .lane = FAAS_CONTROL},
    {.name = "call",
     .subject = FAAS_SUBJ_PUBLISHER_CALL,
     .body_max = 2 * 1024 * 1024,
     .on_message = on_call},
    {.name = NULL},
};

static void join(void *arg)
{
    struct puppet *p = arg;
    const struct faas_members_conf conf = {.service = "publisher", .id = p->id};
    faas_err err = {0};

    must(faas_members_start(p->process.rpc, &conf, &p->members, &err), &err);
}

static void leave(void *arg)
{
    struct puppet *p = arg;

    forget_result(p);
    if (p->members != NULL)
        faas_members_stop(FAAS_STEAL(p->members));
}

void gate_join(struct gate *gate, int which, bool is_deaf)
{
    struct puppet *p = &gate->publishers[which];
    static const struct faas_endpoint none[] = {{.name = NULL}};
    struct process_conf conf = {.urls = nats_urls(gate->nats),
                                .service = "publisher",
                                .id = p->id,
                                .endpoints = is_deaf ? none : publisher_endpoints,
                                .state = p};

    process_start(&p->process, &conf);
    process_on_loop(&p->process, join, p);
    p->is_deaf = is_deaf;
    usleep(1300 * 1000); /* an owner has at least a second of heartbeats: no event tells */
}

void gate_leave(struct gate *gate, int which)
{
    struct puppet *p = &gate->publishers[which];

    process_stop(&p->process, leave, p);
}

static void calm_one(void *arg)
{
    struct puppet *p = arg;

    p->mood = p->later = MOOD_RUNS;
    p->fence = p->epoch = NULL;
    p->result_len = 5;
    p->code = "ok";
    p->lose = 0;
    p->is_tampering = p->may_run = false;
    p->fences_unanswered = p->queues_unanswered = 0;
    p->calls = p->fences = p->cancels = p->attempt = p->agains = p->queues = p->lost = 0;
}

void gate_calm(struct gate *gate)
{
    for (int i = 0; i < 2; i++) {
        struct puppet *p = &gate->publishers[i];

        if (p->process.loop != NULL) { /* a repeated question may still be on its way to it */
            process_on_loop(&p->process, calm_one, p);
            continue;
        }
        p->gate = gate;
        (void)snprintf(p->id, sizeof p->id, "p%d", i + 1);
        calm_one(p);
    }
    gate->spawner_cancels = gate->spawner_fences = gate->registry_calls = 0;
}

void gate_name(int owner, char out_name[16])
{
    char key[FAAS_UUID_TEXT + 16];

    for (int i = 0;; i++) {
        (void)snprintf(out_name, 16, "f%d", i);
        (void)snprintf(key, sizeof key, "%s/%s", GATE_TENANT, out_name);
        if ((faas_rendezvous(key, "p2") > faas_rendezvous(key, "p1")) == (owner == 1))
            return;
    }
}

/* ---- the gateway ---- */

int gate_free_port(int from)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port;

    assert_true(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    for (port = from + getpid() % PORTS;; port++) {
        at.sin_port = htons((uint16_t)port);
        if (bind(fd, (struct sockaddr *)&at, sizeof at) == 0)
            break;
        assert_true(port < from + 2 * PORTS);
    }
    close(fd);
    return port;
}

static bool is_ready(void *arg)
{
    struct gate *gate = arg;
    FAAS_AUTO(char) *token = NULL;
    struct reply reply;
    int fd = gate_connect(gate);
    bool is;

    if (fd < 0)
        return false;
    close(fd);
    gate_ask(gate, "GET", "/auth/validate", NULL, NULL, &reply);
    is = reply.status == 200;
    reply_done(&reply);
    return is;
}

static void start_gateway(struct gate *gate, const char *const *settings)
{
    char listen[64], urls[256], data[96], log[96];
    const char *all[16] = {urls, listen, data, "INSTANCE_ID=g1", "DRAIN_MS=2000"};
    size_t count = 5;

    (void)snprintf(listen, sizeof listen, "LISTEN_ADDR=127.0.0.1:%d", gate->port);
    (void)snprintf(urls, sizeof urls, "NATS_URL=%s", nats_urls(gate->nats));
    (void)snprintf(data, sizeof data, "DATA_DIR=%s", gate->dir);
    (void)snprintf(log, sizeof log, "%s/gateway.log", gate->dir);
    for (; settings != NULL && *settings != NULL && count < FAAS_ARRAY_LEN(all) - 1; settings++)
        all[count++] = *settings;
    gate->gateway = program_start("gateway", all, log);
    wait_until(is_ready, gate, 10000, "the gateway answers");
}

void gate_open(struct gate *gate, const char *const *settings)
{
    struct process_conf auth = {
        .service = "auth", .id = "a1", .endpoints = auth_endpoints, .state = gate};

    memset(gate, 0, sizeof *gate);
    gate_calm(gate);
    forge_init();
    for (int i = 0; i < 2; i++)
        forge_key_new(&gate->keys[i], "P-256", 0600);
    gate->nats = nats_start(1, NULL);
    (void)snprintf(gate->dir, sizeof gate->dir, "%s/gateway", nats_dir(gate->nats));
    assert_int_equal(mkdir(gate->dir, 0700), 0);
    auth.urls = nats_urls(gate->nats);
    process_start(&gate->auth, &auth);
    start_spawner(gate);
    gate->port = gate_free_port(GATEWAY_PORTS);
    start_gateway(gate, settings);
}

void gate_close(struct gate *gate)
{
    if (gate->gateway > 0)
        assert_int_equal(program_stop(gate->gateway, SIGTERM, 60000), 0);
    for (int i = 0; i < 2; i++) {
        gate_leave(gate, i);
        forge_key_done(&gate->keys[i]);
    }
    process_stop(&gate->registry, NULL, NULL);
    process_stop(&gate->spawner, leave_spawner, gate);
    process_stop(&gate->auth, NULL, NULL);
    nats_stop(gate->nats);
    forge_done();
}
