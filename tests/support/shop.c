#include "tests/support/shop.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "contract.h"
#include "crypto/sealed.h"
#include "tests/support/program.h"
#include "tests/unit/unit.h"

struct shop shop;
_Atomic bool shop_is_over;
_Atomic int shop_build = 1;
_Atomic int64_t shop_gateway_applied = -1;

/* ---- spawners ---- */

static faas_code describe(const char *image, json_t **out_reply, faas_err *err)
{
    char digest[80];
    const char *entrypoint = "[\"/main\"]", *cmd = "[\"-x\"]";
    FAAS_AUTO(char) *text = NULL;

    if (strcmp(image, "missing") == 0)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "pull access denied for missing, repository does not exist");
    if (strcmp(image, "shell") == 0)
        entrypoint = "[\"/bin/sh\",\"-c\",\"main\"]";
    if (strcmp(image, "nothing") == 0 || strcmp(image, "cmd") == 0)
        entrypoint = "null";
    if (strcmp(image, "nothing") == 0)
        cmd = "null";
    (void)snprintf(digest, sizeof digest, "sha256:%064d", shop_build);
    if (asprintf(&text,
                 "{\"v\":1,\"digest\":{\"kind\":\"docker-id\",\"value\":\"%s\"},"
                 "\"reference\":\"docker.io/library/%s:latest\",\"entrypoint\":%s,\"cmd\":%s,"
                 "\"user\":\"\",\"size_bytes\":1,\"architecture\":\"amd64\"}",
                 digest, image, entrypoint, cmd) < 0)
        text = NULL;
    *out_reply = text == NULL ? NULL : json_loads(text, 0, NULL);
    return *out_reply != NULL ? FAAS_OK : FAAS_INTERNAL;
}

static faas_code on_resolve(void *state, const struct faas_call *call, json_t **out_reply,
                            faas_err *err)
{
    struct shop_spawner *spawner = state;
    const struct timespec time = {.tv_nsec = 5000000};
    const char *image = json_string_value(json_object_get(call->body, "image"));
    enum shop_mood mood = spawner->mood;

    spawner->asked++;
    if (mood == SHOP_SILENT_ONCE)
        spawner->mood = SHOP_RESOLVES;
    while (spawner->mood == SHOP_SILENT || (mood == SHOP_SILENT_ONCE && !shop_is_over))
        nanosleep(&time, NULL);
    if (spawner->mood == SHOP_BUSY)
        return faas_fail(err, FAAS_BUSY, "too many pulls");
    if (spawner->mood == SHOP_NO_ENGINE)
        return faas_fail(err, FAAS_UNAVAILABLE, "no engine answers; set DOCKER_HOST");
    return describe(image != NULL ? image : "nothing", out_reply, err);
}

static const struct faas_endpoint spawner_endpoints[] = {
    {.name = "resolve",
     .subject = FAAS_SUBJ_SPAWNER_RESOLVE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .handler = on_resolve},
    {.name = NULL},
};

static void beat(void *arg)
{
    struct shop_spawner *spawner = arg;
    const struct faas_members_conf conf = {.service = "spawner", .id = spawner->id};
    faas_err err = {0};

    if (faas_members_start(spawner->process.rpc, &conf, &spawner->members, &err) != FAAS_OK)
        abort();
}

static void leave(void *arg)
{
    struct shop_spawner *spawner = arg;

    faas_members_stop(FAAS_STEAL(spawner->members));
}

struct view { /* what the gateway sees of the members, taken on its loop */
    faas_members *members;
    const char *service;
    size_t usable, wanted;
};

static faas_members *gateway_members;

static void count_usable(void *arg)
{
    struct view *view = arg;

    view->usable = faas_members_usable(gateway_members, view->service);
}

static bool has_wanted(void *arg)
{
    struct view *view = arg;

    process_on_loop(&shop.gateway, count_usable, view);
    return view->usable == view->wanted;
}

static size_t spawners_there(void)
{
    size_t count = 0;

    for (int i = 0; i < SHOP_SPAWNERS; i++)
        count += shop.spawners[i].members != NULL;
    return count;
}

static void wait_spawners(void)
{
    struct view view = {.service = "spawner", .wanted = spawners_there()};
    const struct timespec settle = {.tv_nsec = 2 * FAAS_BEAT_MS * 1000000L};

    wait_until(has_wanted, &view, SHOP_LONG_MS, "the spawners are seen");
    nanosleep(&settle, NULL); /* every registry has had its beats, too */
}

void shop_join(int which)
{
    struct shop_spawner *spawner = &shop.spawners[which];

    spawner->mood = SHOP_RESOLVES;
    if (spawner->process.loop == NULL) {
        (void)snprintf(spawner->id, sizeof spawner->id, "s%d", which);
        process_start(&spawner->process, &(struct process_conf){
                                             .urls = nats_urls(shop.nats),
                                             .service = "spawner",
                                             .id = spawner->id,
                                             .endpoints = spawner_endpoints,
                                             .state = spawner,
                                         });
    }
    process_on_loop(&spawner->process, beat, spawner);
    wait_spawners();
}

void shop_leave(int which)
{
    process_on_loop(&shop.spawners[which].process, leave, &shop.spawners[which]);
    wait_spawners();
}

int shop_asked(void)
{
    return shop.spawners[0].asked + shop.spawners[1].asked;
}

/* ---- registries ---- */

void shop_start_registry(int which)
{
    char urls[300], id[40], data[340], key[340];
    const char *const settings[] = {urls, id, data, key, "REPLICAS=3", "REGISTRY_VERSIONS=30",
                                    NULL};

    (void)snprintf(urls, sizeof urls, "NATS_URL=%s", nats_urls(shop.nats));
    (void)snprintf(id, sizeof id, "INSTANCE_ID=r%d", which);
    (void)snprintf(data, sizeof data, "DATA_DIR=%s", shop.data_dir);
    (void)snprintf(key, sizeof key, "REGISTRY_SECRETS_KEY_FILE=%s/secrets.key",
                   nats_dir(shop.nats));
    shop.registries[which] = program_start("registry", settings, shop.log_file);
}

void shop_kill_registry(int which)
{
    assert_int_equal(program_stop(shop.registries[which], SIGKILL, SHOP_LONG_MS), 128 + SIGKILL);
    shop.registries[which] = 0;
}

void shop_wait_ready(int registries)
{
    struct view view = {.service = "registry", .wanted = (size_t)registries};

    wait_until(has_wanted, &view, SHOP_LONG_MS, "the registries are ready");
}

static void make_key(void)
{
    char path[340], text[FAAS_SEALED_KEY_TEXT + 1];
    int fd;

    (void)snprintf(path, sizeof path, "%s/secrets.key", nats_dir(shop.nats));
    faas_random_token(text); /* 32 hex digits */
    faas_random_token(text + 32);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, FAAS_SEALED_KEY_TEXT), FAAS_SEALED_KEY_TEXT);
    close(fd);
}

static void fill_gateway(void *arg, struct faas_beat *out_beat)
{
    (void)arg;
    if (shop_gateway_applied < 0)
        return;
    out_beat->applied[0].bucket = FAAS_BUCKET_FUNCTIONS;
    out_beat->applied[0].seq = (uint64_t)shop_gateway_applied;
}

static void start_gateway_members(void *arg)
{
    const struct faas_members_conf conf = {.service = "gateway", .id = "g1", .fill = fill_gateway};
    faas_err err = {0};

    (void)arg;
    if (faas_members_start(shop.gateway.rpc, &conf, &gateway_members, &err) != FAAS_OK)
        abort();
}

int shop_open(void **state)
{
    faas_err err = {0};

    (void)state;
    shop.nats = nats_start(3, NULL);
    (void)snprintf(shop.log_file, sizeof shop.log_file, "%s/registry.log", nats_dir(shop.nats));
    (void)snprintf(shop.data_dir, sizeof shop.data_dir, "%s/services", nats_dir(shop.nats));
    process_start(
        &shop.gateway,
        &(struct process_conf){.urls = nats_urls(shop.nats), .service = "gateway", .id = "g1"});
    process_on_loop(&shop.gateway, start_gateway_members, NULL);
    make_key();
    for (int i = 0; i < SHOP_REPLICAS; i++)
        shop_start_registry(i);
    assert_ok(faas_kv_open(shop.gateway.rpc, FAAS_BUCKET_FUNCTIONS, 3,
                           faas_deadline_in_ms(SHOP_LONG_MS), &shop.functions, &err));
    for (int i = 0; i < SHOP_SPAWNERS; i++)
        shop_join(i);
    shop_wait_ready(SHOP_REPLICAS);
    return 0;
}

static void stop_gateway(void *arg)
{
    (void)arg;
    faas_members_stop(gateway_members);
    faas_kv_close(shop.functions);
}

int shop_close(void **state)
{
    (void)state;
    for (int i = 0; i < SHOP_REPLICAS; i++)
        if (shop.registries[i] != 0)
            assert_int_equal(program_stop(shop.registries[i], SIGTERM, SHOP_LONG_MS), 0);
    for (int i = 0; i < SHOP_SPAWNERS; i++) {
        shop.spawners[i].mood = SHOP_RESOLVES;
        process_stop(&shop.spawners[i].process, leave, &shop.spawners[i]);
    }
    process_stop(&shop.gateway, stop_gateway, NULL);
    nats_stop(shop.nats);
    return 0;
}

faas_members *shop_members(void)
{
    return gateway_members;
}

/* ---- requests ---- */

void shop_tenant(const char *user, char out_tenant[FAAS_UUID_TEXT])
{
    memcpy(out_tenant, user, FAAS_UUID_TEXT);
    out_tenant[9] = '7'; /* another UUID than the user's */
}

void shop_head_key(const char *name, char out_key[120])
{
    char tenant[FAAS_UUID_TEXT], hash[FAAS_HASH_TEXT];

    shop_tenant(SHOP_ANN, tenant);
    faas_hash_text(name, strlen(name), hash);
    (void)snprintf(out_key, 120, "f.%s.%.32s", tenant, hash);
}

faas_code shop_ask(const char *user, const char *op, const char *body, json_t **out_reply,
                   faas_err *err)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(SHOP_LONG_MS)};
    char subject[64];
    struct faas_rpc_request req = {
        .subject = subject, .ctx = &ctx, .data = body, .len = strlen(body), .attempt_ms = 1000};
    faas_msg *msg = NULL;
    faas_code rc;

    /* As the gateway does: reads are sent again, a write once. */
    if (strcmp(op, "list") == 0 || strcmp(op, "page") == 0 || strcmp(op, "retrieve") == 0)
        req.retry = FAAS_RPC_SAFE;

    if (user != NULL) {
        (void)snprintf(ctx.user, sizeof ctx.user, "%s", user);
        shop_tenant(user, ctx.tenant);
    }
    (void)snprintf(subject, sizeof subject, "faas.registry.%s", op);
    *err = (faas_err){0};
    rc = faas_rpc_wait(shop.gateway.rpc, &req, &msg, err);
    if (rc == FAAS_OK && faas_msg_len(msg) > 0) {
        *out_reply = json_loadb(faas_msg_data(msg), faas_msg_len(msg), 0, NULL);
        if (*out_reply == NULL)
            rc = faas_fail(err, FAAS_INTERNAL, "the reply is not JSON");
    }
    faas_msg_free(msg);
    return rc;
}

json_t *shop_must(const char *op, const char *body)
{
    json_t *reply = NULL;
    faas_err err;

    if (shop_ask(SHOP_ANN, op, body, &reply, &err) != FAAS_OK)
        fail_msg("%s %s: %s: %s", op, body, faas_code_slug(err.code), err.msg);
    return reply;
}

void shop_refuses(const char *op, const char *body, faas_code code, const char *part)
{
    FAAS_AUTO(json_t) *reply = NULL;
    faas_err err;
    faas_code rc = shop_ask(SHOP_ANN, op, body, &reply, &err);

    if (rc != code || strstr(err.msg, part) == NULL)
        fail_msg("%s %s: %s \"%s\", expected %s \"%s\"", op, body, faas_code_slug(rc), err.msg,
                 faas_code_slug(code), part);
}

const char *shop_text(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    if (text == NULL)
        fail_msg("no text \"%s\" in the reply", key);
    return text;
}

int64_t shop_number(const json_t *doc, const char *key)
{
    if (!json_is_integer(json_object_get(doc, key)))
        fail_msg("no number \"%s\" in the reply", key);
    return json_integer_value(json_object_get(doc, key));
}
