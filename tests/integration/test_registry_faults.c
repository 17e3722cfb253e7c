/* Registries when spawners, processes, files and servers fail: nothing wrong is stored, nothing
 * that was answered is lost. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "contract.h"
#include "tests/support/program.h"
#include "tests/support/shop.h"
#include "tests/unit/unit.h"

static void nothing_is_stored(const char *name)
{
    char body[100];

    (void)snprintf(body, sizeof body, "{\"name\":\"%s\"}", name);
    shop_refuses("retrieve", body, FAAS_NOT_FOUND, "no function");
}

/* ---- images ---- */

static void what_cannot_run_is_refused_and_not_stored(void **state)
{
    (void)state;
    shop_refuses("register", "{\"name\":\"bad\",\"payload\":\"missing\"}", FAAS_UNPROCESSABLE,
                 "pull access denied for missing, repository does not exist");
    shop_refuses("register", "{\"name\":\"bad\",\"payload\":\"nothing\"}", FAAS_UNPROCESSABLE,
                 "neither ENTRYPOINT nor CMD");
    shop_refuses("register", "{\"name\":\"bad\",\"payload\":\"shell\"}", FAAS_UNPROCESSABLE,
                 "exec form");
    shop_refuses("register", "{\"name\":\"bad\",\"payload\":\"a//b\"}", FAAS_INVALID,
                 "payload: not an image reference");
    nothing_is_stored("bad");
    json_decref(
        shop_must("register", "{\"name\":\"bad\",\"payload\":\"shell\",\"input\":\"stdin\"}"));
    shop_refuses("update", "{\"name\":\"bad\",\"input\":\"argv\"}", FAAS_UNPROCESSABLE,
                 "exec form");
    shop_refuses("update", "{\"name\":\"bad\",\"payload\":\"missing\"}", FAAS_UNPROCESSABLE,
                 "pull access denied");
    FAAS_AUTO(json_t) *kept = shop_must("retrieve", "{\"name\":\"bad\"}");
    assert_int_equal(shop_number(kept, "version"), 1);
}

static void a_busy_spawner_is_followed_by_the_next(void **state)
{
    char body[100];
    int first = shop.spawners[0].asked, second = shop.spawners[1].asked;

    (void)state;
    shop.spawners[0].mood = SHOP_BUSY;
    for (int i = 0; i < 8; i++) {
        (void)snprintf(body, sizeof body, "{\"name\":\"next-%d\",\"payload\":\"good%d\"}", i, i);
        json_decref(shop_must("register", body));
    }
    assert_true(shop.spawners[0].asked > first); /* some references' first choice */
    assert_int_equal(shop.spawners[1].asked, second + 8);
}

static void when_no_spawner_can_answer_the_last_ones_reason_comes_back(void **state)
{
    (void)state;
    shop.spawners[0].mood = shop.spawners[1].mood = SHOP_BUSY;
    shop_refuses("register", "{\"name\":\"none\",\"payload\":\"good\"}", FAAS_BUSY,
                 "too many pulls");
    shop.spawners[0].mood = shop.spawners[1].mood = SHOP_NO_ENGINE;
    shop_refuses("register", "{\"name\":\"none\",\"payload\":\"good\"}", FAAS_UNAVAILABLE,
                 "DOCKER_HOST");
    nothing_is_stored("none");
    shop.spawners[0].mood = shop.spawners[1].mood = SHOP_RESOLVES;
}

struct late { /* a registration under way */
    char body[100];
    faas_code rc;
    faas_err err;
};

static void *register_late(void *arg)
{
    struct late *late = arg;
    FAAS_AUTO(json_t) *reply = NULL;

    late->rc = shop_ask(SHOP_ANN, "register", late->body, &reply, &late->err);
    return NULL;
}

static bool was_asked(void *arg)
{
    return shop.spawners[0].asked > *(int *)arg;
}

static void a_spawner_that_leaves_meanwhile_is_followed_by_the_next(void **state)
{
    struct late late;
    char image[16] = "";
    int asked = shop.spawners[0].asked;
    pthread_t thread;

    (void)state;
    for (int i = 0; image[0] == '\0' || faas_rendezvous(image, "s0") < faas_rendezvous(image, "s1");
         i++)
        (void)snprintf(image, sizeof image, "pick%d", i);
    (void)snprintf(late.body, sizeof late.body, "{\"name\":\"late\",\"payload\":\"%s\"}", image);
    shop.spawners[0].mood = SHOP_SILENT;
    assert_int_equal(pthread_create(&thread, NULL, register_late, &late), 0);
    wait_until(was_asked, &asked, SHOP_LONG_MS, "the silent spawner is asked");
    shop_leave(0);
    pthread_join(thread, NULL);
    if (late.rc != FAAS_OK)
        fail_msg("%s", late.err.msg);
    shop_join(0);
}

/* The question, or its answer, is lost on the way. */
static void a_spawner_that_does_not_answer_is_asked_again(void **state)
{
    int asked = shop_asked();

    (void)state;
    shop_is_over = false;
    for (int i = 0; i < SHOP_SPAWNERS; i++)
        shop.spawners[i].mood = SHOP_SILENT_ONCE;
    json_decref(shop_must("register", "{\"name\":\"again\",\"payload\":\"good\"}"));
    shop_is_over = true;
    assert_int_equal(shop_asked(), asked + 2);
    for (int i = 0; i < SHOP_SPAWNERS; i++)
        shop.spawners[i].mood = SHOP_RESOLVES;
}

static void no_spawner_is_said(void **state)
{
    (void)state;
    shop_leave(0);
    shop_leave(1);
    shop_refuses("register", "{\"name\":\"none\",\"payload\":\"good\"}", FAAS_UNAVAILABLE,
                 "no spawner");
    nothing_is_stored("none");
    shop_join(0);
    shop_join(1);
}

/* ---- processes and files ---- */

/* Ann's list as the one running registry gives it. */
static json_t *list_of_only(int which)
{
    for (int i = 0; i < SHOP_REPLICAS; i++)
        if (i != which && shop.registries[i] != 0)
            shop_kill_registry(i);
    if (shop.registries[which] == 0)
        shop_start_registry(which);
    shop_wait_ready(1);
    return shop_must("list", "{}");
}

static void start_all(void)
{
    for (int i = 0; i < SHOP_REPLICAS; i++)
        if (shop.registries[i] == 0)
            shop_start_registry(i);
    shop_wait_ready(SHOP_REPLICAS);
}

static void a_registry_that_was_killed_catches_up(void **state)
{
    FAAS_AUTO(json_t) *want = NULL;
    FAAS_AUTO(json_t) *got = NULL;

    (void)state;
    shop_kill_registry(0);
    shop_wait_ready(2);
    json_decref(shop_must("register", "{\"name\":\"missed\",\"payload\":\"good\"}"));
    json_decref(shop_must("update", "{\"name\":\"next-1\",\"description\":\"changed\"}"));
    assert_null(shop_must("delete", "{\"name\":\"next-2\"}"));
    want = shop_must("list", "{}");
    assert_true(json_array_size(want) >= 8);
    got = list_of_only(0);
    assert_true(json_equal(got, want));
    start_all();
}

static void a_damaged_file_is_built_again(void **state)
{
    char path[400], junk[8192];
    FAAS_AUTO(json_t) *want = shop_must("list", "{}");
    FAAS_AUTO(json_t) *got = NULL;
    int fd;

    (void)state;
    shop_kill_registry(1);
    (void)snprintf(path, sizeof path, "%s/registry/r1.db", shop.data_dir);
    fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    memset(junk, 0x5a, sizeof junk);
    assert_int_equal(write(fd, junk, sizeof junk), sizeof junk);
    close(fd);
    got = list_of_only(1);
    assert_true(json_equal(got, want));
    start_all();
}

/* A write as another registry makes it, straight to the bucket; its sequence. */
static uint64_t describe_in_bucket(const char *name, const char *description)
{
    struct faas_kv_entry entry = {0};
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *text = NULL;
    char key[120];
    uint64_t seq = 0;
    faas_err err = {0};

    shop_head_key(name, key);
    assert_ok(faas_kv_get(shop.functions, key, faas_deadline_in_ms(SHOP_LONG_MS), &entry, &err));
    doc = json_loadb(entry.value, entry.len, 0, NULL);
    json_object_set_new(doc, "description", json_string(description));
    text = json_dumps(doc, JSON_COMPACT);
    assert_ok(faas_kv_put(shop.functions, key, entry.revision, text, strlen(text),
                          faas_deadline_in_ms(SHOP_LONG_MS), &seq, &err));
    faas_kv_entry_done(&entry);
    return seq;
}

static void file_of(int which, char out_path[400])
{
    (void)snprintf(out_path, 400, "%s/registry/r%d.db", shop.data_dir, which);
}

static bool is_listed(void *want)
{
    FAAS_AUTO(json_t) *got = NULL;
    faas_err err;

    return shop_ask(SHOP_ANN, "list", "{}", &got, &err) == FAAS_OK && json_equal(got, want);
}

/* Damage that is met while the registry runs; the file is read through pages it may remember, so
 * the harm is done through SQLite. */
static void damage_met_while_running_is_repaired(void **state)
{
    FAAS_AUTO(json_t) *want = list_of_only(0);
    sqlite3 *db = NULL;
    char path[400];

    (void)state;
    file_of(0, path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, SHOP_LONG_MS);
    assert_int_equal(sqlite3_exec(db, "UPDATE functions SET record = '{'", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    shop_refuses("list", "{}", FAAS_UNAVAILABLE, "being built");
    json_decref(shop_must("retrieve", "{\"name\":\"next-3\"}"));
    wait_until(is_listed, want, SHOP_LONG_MS, "the list is whole again");
    start_all();
}

/* So many entries that a file without them is far behind. */
static void write_versions(int count)
{
    struct faas_kv_entry entry = {0};
    FAAS_AUTO(json_t) *doc = NULL;
    char key[120], tenant[FAAS_UUID_TEXT];
    faas_err err = {0};

    shop_tenant(SHOP_ANN, tenant);
    shop_head_key("next-3", key);
    assert_ok(faas_kv_get(shop.functions, key, faas_deadline_in_ms(SHOP_LONG_MS), &entry, &err));
    doc = json_loadb(entry.value, entry.len, 0, NULL);
    faas_kv_entry_done(&entry);
    for (int n = 1; n <= count; n++) {
        char subject[200];
        struct faas_out out = {.subject = subject};
        FAAS_AUTO(char) *text = NULL;

        assert_int_equal(json_object_set_new(doc, "version", json_integer(100 + n)), 0);
        text = faas_json_text(doc, &out.len);
        out.data = text;
        (void)snprintf(subject, sizeof subject, "$KV.functions.v.%s.%s.%d", tenant,
                       shop_text(doc, "id"), 100 + n);
        assert_ok(faas_bus_publish(shop.gateway.bus, FAAS_DATA, &out, &err));
    }
    (void)describe_in_bucket("next-3", "behind them all");
}

/* While all is read again, what needs no list is done, and lists and registrations say why not. */
static void a_deleted_file_is_built_again_while_the_rest_goes_on(void **state)
{
    FAAS_AUTO(json_t) *want = NULL;
    FAAS_AUTO(json_t) *got = NULL;
    FAAS_AUTO(json_t) *list = NULL;
    char path[400];

    (void)state;
    write_versions(1500);
    want = list_of_only(1);
    shop_kill_registry(1);
    file_of(1, path);
    assert_int_equal(unlink(path), 0);
    shop_start_registry(1);
    got = shop_must("retrieve", "{\"name\":\"next-3\"}"); /* waits until it answers at all */
    assert_string_equal(shop_text(got, "description"), "behind them all");
    shop_refuses("page", "{}", FAAS_UNAVAILABLE, "being built");
    shop_refuses("page", "{\"q\":\"next\"}", FAAS_UNAVAILABLE, "being built");
    shop_refuses("register", "{\"name\":\"early\",\"payload\":\"good\"}", FAAS_UNAVAILABLE,
                 "cannot be counted");
    json_decref(shop_must("update", "{\"name\":\"next-3\",\"description\":\"now\"}"));
    shop_wait_ready(1);
    list = shop_must("list", "{}");
    assert_int_equal(json_array_size(list), json_array_size(want));
    json_decref(shop_must("register", "{\"name\":\"early\",\"payload\":\"good\"}"));
    start_all();
}

static void a_frozen_registry_delays_a_write_and_never_answers_an_old_list(void **state)
{
    uint64_t seq, began;
    int64_t took_ms;
    faas_err err = {0};

    (void)state;
    json_decref(list_of_only(2));
    assert_int_equal(kill(shop.registries[2], SIGSTOP), 0);
    seq = describe_in_bucket("next-3", "now");
    began = faas_now_ns();
    assert_ok(faas_members_wait_applied(shop_members(), FAAS_BUCKET_FUNCTIONS, seq,
                                        faas_deadline_in_ms(SHOP_LONG_MS), &err));
    took_ms = (int64_t)((faas_now_ns() - began) / FAAS_MS_NS);
    assert_true(took_ms > 1000 && took_ms < 15000);
    assert_int_equal(kill(shop.registries[2], SIGCONT), 0);
    for (int i = 0; i < 5; i++) {
        FAAS_AUTO(json_t) *page = shop_must("page", "{\"q\":\"next-3\"}");
        const json_t *item = json_array_get(json_object_get(page, "items"), 0);

        assert_string_equal(shop_text(item, "description"), "now");
    }
    start_all();
}

/* ---- servers ---- */

static void changes_and_lists_survive_the_leaders_death(void **state)
{
    int leader = nats_leader_of(shop.nats, "KV_functions");
    FAAS_AUTO(json_t) *list = NULL;
    FAAS_AUTO(json_t) *made = NULL;
    FAAS_AUTO(json_t) *page = NULL;

    (void)state;
    assert_true(leader >= 0);
    nats_kill(shop.nats, leader);
    list = shop_must("list", "{}"); /* during the election */
    assert_true(json_array_size(list) >= 8);
    made = shop_must("register", "{\"name\":\"survivor\",\"payload\":\"good\"}");
    page = shop_must("page", "{\"q\":\"survivor\"}");
    assert_true(json_equal(json_array_get(json_object_get(page, "items"), 0), made));
    nats_restart(shop.nats, leader);
    for (int i = 0; i < 6; i++) {
        FAAS_AUTO(json_t) *got = shop_must("retrieve", "{\"name\":\"survivor\"}");

        assert_true(json_equal(got, made));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_run_is_refused_and_not_stored),
        cmocka_unit_test(a_busy_spawner_is_followed_by_the_next),
        cmocka_unit_test(when_no_spawner_can_answer_the_last_ones_reason_comes_back),
        cmocka_unit_test(a_spawner_that_leaves_meanwhile_is_followed_by_the_next),
        cmocka_unit_test(a_spawner_that_does_not_answer_is_asked_again),
        cmocka_unit_test(no_spawner_is_said),
        cmocka_unit_test(a_registry_that_was_killed_catches_up),
        cmocka_unit_test(a_damaged_file_is_built_again),
        cmocka_unit_test(damage_met_while_running_is_repaired),
        cmocka_unit_test(a_deleted_file_is_built_again_while_the_rest_goes_on),
        cmocka_unit_test(a_frozen_registry_delays_a_write_and_never_answers_an_old_list),
        cmocka_unit_test(changes_and_lists_survive_the_leaders_death),
    };

    return cmocka_run_group_tests(tests, shop_open, shop_close);
}
