/* The allow-lists of contract.c in a real server: each service can do its work, and no more. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "contract.h"
#include "net/feed.h"
#include "net/nkey.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/unit/unit.h"

#define USERS_MAX 16
#define LONG_MS   20000

static struct nats *nats;
static char dir[] = "/tmp/faas-test-keys-XXXXXX";
static char publics[USERS_MAX][FAAS_NKEY_PUBLIC_TEXT];

static void key_path(char out_path[128], const char *service)
{
    (void)snprintf(out_path, 128, "%s/%s", dir, service);
}

static void write_key(const char *service, char out_public[FAAS_NKEY_PUBLIC_TEXT], mode_t mode)
{
    char seed[FAAS_NKEY_SEED_TEXT], path[128];
    faas_err err = {0};
    int fd;

    assert_ok(faas_nkey_new(seed, out_public, &err));
    key_path(path, service);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, seed, strlen(seed)), (ssize_t)strlen(seed));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int start(void **state)
{
    struct faas_bus_key keys[USERS_MAX + 1] = {{NULL, NULL}};
    const struct faas_bus_user *user;
    char *block = NULL;
    size_t size = 0;
    FILE *to;

    (void)state;
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; (user = faas_contract_user(i)) != NULL; i++) {
        assert_true(i < USERS_MAX);
        write_key(user->service, publics[i], 0600);
        keys[i] = (struct faas_bus_key){user->service, publics[i]};
    }
    to = open_memstream(&block, &size);
    assert_non_null(to);
    faas_contract_authorization(keys, to);
    assert_int_equal(fclose(to), 0);
    nats = nats_start(1, block);
    free(block);
    return 0;
}

static int stop(void **state)
{
    const struct faas_bus_user *user;
    char path[128];

    (void)state;
    nats_stop(nats);
    for (size_t i = 0; (user = faas_contract_user(i)) != NULL; i++) {
        key_path(path, user->service);
        (void)unlink(path);
    }
    key_path(path, "extra");
    (void)unlink(path);
    (void)rmdir(dir);
    return 0;
}

/* ---- the server's log ---- */

static int count_violations(void)
{
    char path[256], line[2048];
    FILE *log;
    int count = 0;

    (void)snprintf(path, sizeof path, "%s/0.log", nats_dir(nats));
    log = fopen(path, "re");
    assert_non_null(log);
    while (fgets(line, sizeof line, log) != NULL) {
        if (strstr(line, "Violation") != NULL) {
            count++;
            print_message("%s", line);
        }
    }
    (void)fclose(log);
    return count;
}

/* ---- services ---- */

static struct process procs[5];
enum { GATEWAY, AUTH, REGISTRY, PUBLISHER, SPAWNER };
static const char *const names[] = {"gateway", "auth", "registry", "publisher", "spawner"};
static faas_members *members[5];
static _Atomic int heard; /* messages that reached anybody */

static void on_any(void *state, faas_msg *take_msg)
{
    struct process *p = state;

    atomic_fetch_add(&heard, 1);
    faas_rpc_answer(p->rpc, take_msg, "{}", 2);
    faas_msg_free(take_msg);
}

#define ROW(word, subj, group)                                                                     \
    {                                                                                              \
        .name = (word), .subject = (subj), .queue = (group), .body_max = 65536,                    \
        .on_message = on_any                                                                       \
    }
static const struct faas_endpoint auth_rows[] = {
    ROW("login", FAAS_SUBJ_AUTH_LOGIN, "q"),
    ROW("register", FAAS_SUBJ_AUTH_REGISTER, "q"),
    {.name = NULL},
};
static const struct faas_endpoint registry_rows[] = {
    ROW("register", FAAS_SUBJ_REGISTRY_REGISTER, "q"),
    ROW("health", FAAS_SUBJ_REGISTRY_HEALTH, "q"),
    {.name = NULL},
};
static const struct faas_endpoint publisher_rows[] = {
    ROW("call", FAAS_SUBJ_PUBLISHER_CALL, NULL),
    ROW("cancel", FAAS_SUBJ_PUBLISHER_CANCEL, NULL),
    ROW("fence", FAAS_SUBJ_PUBLISHER_FENCE, NULL),
    ROW("events", FAAS_SUBJ_PUBLISHER_EVENTS, NULL),
    ROW("end", FAAS_SUBJ_PUBLISHER_END, FAAS_QUEUE),
    {.name = NULL},
};
static const struct faas_endpoint spawner_rows[] = {
    ROW("call", FAAS_SUBJ_SPAWNER_CALL, NULL),
    ROW("cancel", FAAS_SUBJ_SPAWNER_CANCEL, NULL),
    ROW("fence", FAAS_SUBJ_SPAWNER_FENCE, NULL),
    ROW("resolve", FAAS_SUBJ_SPAWNER_RESOLVE, NULL),
    ROW("direct", FAAS_SUBJ_DIRECT, FAAS_QUEUE_DIRECT),
    {.name = NULL},
};
static const struct faas_endpoint *const rows[] = {NULL, auth_rows, registry_rows, publisher_rows,
                                                   spawner_rows};

static void begin_members(void *arg)
{
    size_t i = (size_t)((struct process *)arg - procs);
    struct faas_members_conf conf = {.service = procs[i].service, .id = procs[i].id};
    faas_err err = {0};

    if (faas_members_start(procs[i].rpc, &conf, &members[i], &err) != FAAS_OK)
        members[i] = NULL;
}

static void end_members(void *arg)
{
    size_t i = (size_t)((struct process *)arg - procs);

    faas_members_stop(members[i]);
}

static void start_services(void)
{
    for (size_t i = 0; i < FAAS_ARRAY_LEN(names); i++) {
        char path[128];

        key_path(path, names[i]);
        process_start(&procs[i], &(struct process_conf){.urls = nats_urls(nats),
                                                        .service = names[i],
                                                        .id = "x1",
                                                        .nkey_file = path,
                                                        .endpoints = rows[i],
                                                        .state = &procs[i]});
        process_on_loop(&procs[i], begin_members, &procs[i]);
        assert_non_null(members[i]);
    }
}

static void stop_services(void)
{
    for (size_t i = 0; i < FAAS_ARRAY_LEN(names); i++)
        process_stop(&procs[i], end_members, &procs[i]);
}

static faas_code ask(int who, const char *subject)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(5000)};
    struct faas_rpc_request req = {
        .subject = subject, .ctx = &ctx, .data = "{}", .len = 2, .retry = FAAS_RPC_SAFE};
    FAAS_AUTO(faas_msg) *msg = NULL;
    faas_err err = {0};
    faas_code rc = faas_rpc_wait(procs[who].rpc, &req, &msg, &err);

    if (rc != FAAS_OK)
        print_message("%s asks %s: %s\n", names[who], subject, err.msg);
    return rc;
}

struct view {
    size_t who;
    bool is_whole;
};

static void look(void *arg)
{
    struct view *view = arg;

    view->is_whole = true;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(names); i++) {
        if (faas_members_usable(members[view->who], names[i]) != 1)
            view->is_whole = false;
    }
}

static bool all_see_all(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(names); i++) {
        struct view view = {.who = i};

        process_on_loop(&procs[i], look, &view);
        if (!view.is_whole)
            return false;
    }
    return true;
}

/* ---- feeds and buckets ---- */

static _Atomic int changes;

static void on_change(void *arg, const struct faas_feed_event *event)
{
    (void)arg;
    (void)event;
    atomic_fetch_add(&changes, 1);
}

static bool has_changes(void *arg)
{
    return atomic_load(&changes) >= *(int *)arg;
}

struct follower {
    faas_kv *kv;
    faas_feed *feed;
};

static void end_follower(void *arg)
{
    struct follower *follower = arg;

    faas_feed_stop(follower->feed);
    faas_kv_close(follower->kv);
}

static void end_kv(void *arg)
{
    faas_kv_close(arg);
}

/* The registry writes; it and the publisher read the old change from the stream, the new live. */
static void use_bucket(void)
{
    struct follower followers[2] = {{0}};
    static const int who[] = {REGISTRY, PUBLISHER};
    faas_kv *kv = NULL;
    faas_err err = {0};
    int want = 2;

    assert_ok(faas_kv_open(procs[REGISTRY].rpc, FAAS_BUCKET_FUNCTIONS, 1,
                           faas_deadline_in_ms(LONG_MS), &kv, &err));
    assert_ok(faas_kv_put(kv, "old", 0, "1", 1, faas_deadline_in_ms(LONG_MS), NULL, &err));
    for (size_t i = 0; i < 2; i++) {
        struct faas_feed_conf conf = {.apply = on_change};

        assert_ok(faas_kv_open(procs[who[i]].rpc, FAAS_BUCKET_FUNCTIONS, 1,
                               faas_deadline_in_ms(LONG_MS), &followers[i].kv, &err));
        conf.kv = followers[i].kv;
        assert_ok(faas_feed_start(&conf, &followers[i].feed, &err));
    }
    wait_until(has_changes, &want, LONG_MS, "the old change read by both");
    assert_ok(faas_kv_put(kv, "new", 0, "2", 1, faas_deadline_in_ms(LONG_MS), NULL, &err));
    want = 4;
    wait_until(has_changes, &want, LONG_MS, "the new change read by both");
    for (size_t i = 0; i < 2; i++)
        process_on_loop(&procs[who[i]], end_follower, &followers[i]);
    process_on_loop(&procs[REGISTRY], end_kv, kv);
    assert_ok(faas_kv_open(procs[AUTH].rpc, FAAS_BUCKET_USERS, 1, faas_deadline_in_ms(LONG_MS), &kv,
                           &err));
    assert_ok(faas_kv_put(kv, "u", 0, "1", 1, faas_deadline_in_ms(LONG_MS), NULL, &err));
    process_on_loop(&procs[AUTH], end_kv, kv);
}

/* ---- inboxes ---- */

static _Atomic int frames;
static faas_inbox *inbox;

static void on_frame(void *arg, faas_msg *take_msg)
{
    (void)arg;
    atomic_fetch_add(&frames, 1);
    faas_msg_free(take_msg);
}

static void open_inbox(void *arg)
{
    faas_err err = {0};

    (void)arg;
    if (faas_inbox_open(procs[GATEWAY].rpc, on_frame, NULL, &inbox, &err) != FAAS_OK)
        inbox = NULL;
}

static void close_inbox(void *arg)
{
    (void)arg;
    faas_inbox_close(FAAS_STEAL(inbox));
}

static bool has_6_frames(void *arg)
{
    (void)arg;
    return atomic_load(&frames) == 6;
}

static void send_frames(void)
{
    char subject[200];
    struct faas_out out = {.subject = subject, .data = "F", .len = 1};
    faas_err err = {0};

    process_on_loop(&procs[GATEWAY], open_inbox, NULL);
    assert_non_null(inbox);
    (void)snprintf(subject, sizeof subject, "%s", faas_inbox_subject(inbox));
    for (int i = 0; i < 3; i++) {
        assert_ok(faas_bus_publish(procs[SPAWNER].bus, FAAS_DATA, &out, &err));
        assert_ok(faas_bus_publish(procs[PUBLISHER].bus, FAAS_DATA, &out, &err));
    }
    wait_until(has_6_frames, NULL, LONG_MS, "frames from spawner and publisher");
    process_on_loop(&procs[GATEWAY], close_inbox, NULL);
}

static void each_service_can_do_its_work(void **state)
{
    (void)state;
    start_services();
    assert_ok(ask(GATEWAY, FAAS_SUBJ_AUTH_LOGIN));
    assert_ok(ask(GATEWAY, FAAS_SUBJ_REGISTRY_REGISTER));
    assert_ok(ask(GATEWAY, FAAS_SUBJ_REGISTRY_HEALTH));
    assert_ok(ask(GATEWAY, "faas.publisher.i.x1.call"));
    assert_ok(ask(GATEWAY, "faas.publisher.i.x1.cancel"));
    assert_ok(ask(GATEWAY, "faas.publisher.i.x1.fence"));
    assert_ok(ask(GATEWAY, "$SRV.PING.auth"));
    assert_ok(ask(REGISTRY, "faas.spawner.i.x1.resolve"));
    assert_ok(ask(PUBLISHER, "faas.spawner.i.x1.call"));
    assert_ok(ask(PUBLISHER, "faas.spawner.i.x1.cancel"));
    assert_ok(ask(PUBLISHER, "faas.spawner.i.x1.fence"));
    assert_ok(ask(SPAWNER, "faas.call.x1.some-call.ev"));
    assert_ok(ask(SPAWNER, FAAS_SUBJ_PUBLISHER_END));
    send_frames();
    use_bucket();
    wait_until(all_see_all, NULL, LONG_MS, "every member");
    stop_services();
    assert_int_equal(count_violations(), 0);
}

static bool has_violations(void *arg)
{
    return count_violations() >= *(int *)arg;
}

/* One forbidden message each: the store, a forged change, a foreign service, a beat of another. */
static void what_is_not_its_work_is_refused(void **state)
{
    static const struct {
        int who;
        const char *subject;
    } forbidden[] = {
        {SPAWNER, "$KV.users.u"},
        {REGISTRY, "rp.functions.f"},
        {GATEWAY, "$JS.API.STREAM.DELETE.KV_users"},
        {AUTH, "faas.registry.delete"},
        {SPAWNER, "faas.hb.publisher.x1"},
        {PUBLISHER, "$KV.functions.f"},
        {GATEWAY, "$KV.revocations.u"},
        {GATEWAY, "$JS.API.STREAM.MSG.GET.KV_users"},
        {REGISTRY, "$JS.API.STREAM.PURGE.KV_functions"},
        {GATEWAY, FAAS_SUBJ_REGISTRY_PURGE},
        {GATEWAY, FAAS_SUBJ_PUBLISHER_PURGE},
        {GATEWAY, FAAS_SUBJ_REGISTRY_SECRET},
    };
    faas_sub *sub = NULL;
    faas_err err = {0};
    int want = FAAS_ARRAY_LEN(forbidden) + 1;

    (void)state;
    start_services();
    for (size_t i = 0; i < FAAS_ARRAY_LEN(forbidden); i++) {
        struct faas_out out = {.subject = forbidden[i].subject, .data = "x", .len = 1};

        assert_ok(faas_bus_publish(procs[forbidden[i].who].bus, FAAS_DATA, &out, &err));
    }
    assert_ok(faas_bus_subscribe(procs[SPAWNER].bus, FAAS_DATA, "_INBOX_gateway.>", NULL, on_frame,
                                 NULL, &sub, &err));
    wait_until(has_violations, &want, LONG_MS, "the refusals in the server's log");
    faas_sub_free(sub);
    stop_services();
}

static void a_seed_readable_by_others_is_refused(void **state)
{
    char path[128], public_key[FAAS_NKEY_PUBLIC_TEXT];
    struct faas_bus_conf conf = {
        .urls = nats_urls(nats), .service = "auth", .id = "x1", .nkey_file = path};
    faas_loop *loop = NULL;
    faas_bus *bus = NULL;
    faas_err err = {0};

    (void)state;
    write_key("extra", public_key, 0640);
    key_path(path, "extra");
    assert_ok(faas_loop_new(&loop, &err));
    assert_int_equal(faas_bus_open(&conf, loop, &bus, &err), FAAS_INVALID);
    assert_contains(err.msg, "0600");
    faas_loop_free(loop);
}

/* The loop stops by itself: the program that runs it ends with status 1. */
static void a_key_unknown_to_the_server_loses_the_bus(void **state)
{
    char path[128], public_key[FAAS_NKEY_PUBLIC_TEXT];
    struct faas_bus_conf conf = {
        .urls = nats_urls(nats), .service = "auth", .id = "x1", .nkey_file = path};
    faas_loop *loop = NULL;
    faas_bus *bus = NULL;
    faas_err err = {0};

    (void)state;
    write_key("extra", public_key, 0600);
    key_path(path, "extra");
    assert_ok(faas_loop_new(&loop, &err));
    if (faas_bus_open(&conf, loop, &bus, &err) == FAAS_OK) {
        faas_loop_run(loop);
        assert_true(faas_bus_is_lost(bus));
        faas_bus_close(bus, 0);
    }
    faas_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_service_can_do_its_work),
        cmocka_unit_test(what_is_not_its_work_is_refused),
        cmocka_unit_test(a_seed_readable_by_others_is_refused),
        cmocka_unit_test(a_key_unknown_to_the_server_loses_the_bus),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
