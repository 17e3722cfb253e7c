/* Three registry programs on three real NATS servers: records, races, read your writes, faults. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "tests/support/shop.h"
#include "tests/unit/unit.h"

#define LOOKS 12 /* enough for every replica to be asked */

/* ---- records ---- */

static void a_record_reads_the_same_everywhere(void **state)
{
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"Walk\",\"payload\":\"good\"}");

    (void)state;
    assert_string_equal(shop_text(made, "uuid"), SHOP_ANN);
    assert_int_equal(shop_number(made, "version"), 1);
    assert_string_equal(shop_text(made, "payload"), "good");
    for (int i = 0; i < LOOKS; i++) {
        FAAS_AUTO(json_t) *got = shop_must("retrieve", "{\"name\":\"Walk\"}");
        FAAS_AUTO(json_t) *list = shop_must("list", "{\"uuid\":\"" SHOP_ANN "\"}");

        assert_true(json_equal(got, made));
        assert_int_equal(json_array_size(list), 1);
        assert_true(json_equal(json_array_get(list, 0), made));
    }
    assert_null(shop_must("delete", "{\"name\":\"Walk\"}"));
}

static void a_second_function_of_a_name_is_a_conflict(void **state)
{
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"twice\",\"payload\":\"good\"}");
    int asked = shop_asked();

    (void)state;
    shop_refuses("register", "{\"name\":\"twice\",\"payload\":\"good\"}", FAAS_CONFLICT,
                 "name: you have a function of this name");
    assert_int_equal(shop_asked(), asked);
}

static void every_change_is_seen_by_the_next_look(void **state)
{
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"seen\",\"payload\":\"good\"}");
    char body[100];

    (void)state;
    for (int turn = 1; turn <= 8; turn++) {
        FAAS_AUTO(json_t) *changed = NULL;

        (void)snprintf(body, sizeof body, "{\"name\":\"seen\",\"env\":{\"ROUND\":\"%d\"}}", turn);
        changed = shop_must("update", body);
        assert_int_equal(shop_number(changed, "version"), turn + 1);
        for (int i = 0; i < LOOKS; i++) {
            FAAS_AUTO(json_t) *page = shop_must("page", "{\"q\":\"seen\"}");

            assert_true(json_equal(json_array_get(json_object_get(page, "items"), 0), changed));
        }
    }
    assert_null(shop_must("delete", "{\"name\":\"seen\"}"));
    for (int i = 0; i < LOOKS; i++) {
        FAAS_AUTO(json_t) *page = shop_must("page", "{\"q\":\"seen\"}");

        assert_int_equal(json_array_size(json_object_get(page, "items")), 0);
        shop_refuses("retrieve", "{\"name\":\"seen\"}", FAAS_NOT_FOUND, "no function");
    }
}

static void an_update_asks_a_spawner_only_for_a_payload(void **state)
{
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"ask\",\"payload\":\"good\"}");
    int asked = shop_asked();
    FAAS_AUTO(json_t) *same = NULL;
    FAAS_AUTO(json_t) *other = NULL;
    FAAS_AUTO(json_t) *fields = shop_must("update", "{\"name\":\"ask\",\"timeout_ms\":500}");

    (void)state;
    assert_int_equal(shop_asked(), asked);
    assert_int_equal(shop_number(fields, "version"), 2);
    assert_true(json_equal(json_object_get(fields, "digest"), json_object_get(made, "digest")));
    same = shop_must("update", "{\"name\":\"ask\"}");
    assert_int_equal(shop_number(same, "version"), 2);
    shop_build++;
    other = shop_must("update", "{\"name\":\"ask\",\"payload\":\"other\"}");
    assert_int_equal(shop_asked(), asked + 1);
    assert_int_equal(shop_number(other, "version"), 3);
    assert_string_equal(shop_text(other, "payload"), "other");
    assert_int_equal(shop_number(other, "timeout_ms"), 500);
    assert_false(json_equal(json_object_get(other, "digest"), json_object_get(made, "digest")));
}

static void a_refresh_makes_a_version_only_of_another_image(void **state)
{
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"fresh\",\"payload\":\"good\"}");
    FAAS_AUTO(json_t) *same = shop_must("refresh", "{\"name\":\"fresh\"}");
    FAAS_AUTO(json_t) *newer = NULL;

    (void)state;
    assert_true(json_equal(same, made));
    shop_build++;
    newer = shop_must("refresh", "{\"name\":\"fresh\"}");
    assert_int_equal(shop_number(newer, "version"), 2);
    assert_false(json_equal(json_object_get(newer, "digest"), json_object_get(made, "digest")));
}

static void replacing_resets_and_needs_the_function(void **state)
{
    FAAS_AUTO(json_t) *made =
        shop_must("register", "{\"name\":\"whole\",\"payload\":\"good\",\"timeout_ms\":500}");
    FAAS_AUTO(json_t) *replaced =
        shop_must("replace", "{\"name\":\"whole\",\"payload\":\"cmd\",\"description\":\"d\"}");

    (void)state;
    assert_string_equal(shop_text(replaced, "id"), shop_text(made, "id"));
    assert_int_equal(shop_number(replaced, "timeout_ms"), 30000);
    assert_string_equal(shop_text(replaced, "description"), "d");
    shop_refuses("replace", "{\"name\":\"nobody\",\"payload\":\"good\"}", FAAS_NOT_FOUND,
                 "no function");
}

static void deleted_and_made_again_is_another_function(void **state)
{
    FAAS_AUTO(json_t) *first = shop_must("register", "{\"name\":\"again\",\"payload\":\"good\"}");
    FAAS_AUTO(json_t) *second = NULL;

    (void)state;
    json_decref(shop_must("update", "{\"name\":\"again\",\"timeout_ms\":500}"));
    assert_null(shop_must("delete", "{\"name\":\"again\"}"));
    shop_refuses("delete", "{\"name\":\"again\"}", FAAS_NOT_FOUND, "no function");
    shop_refuses("update", "{\"name\":\"again\",\"timeout_ms\":500}", FAAS_NOT_FOUND,
                 "no function");
    second = shop_must("register", "{\"name\":\"again\",\"payload\":\"good\"}");
    assert_string_not_equal(shop_text(second, "id"), shop_text(first, "id"));
    assert_int_equal(shop_number(second, "version"), 1);
}

/* ---- whose ---- */

static void tenants_do_not_see_each_other(void **state)
{
    static const char *const ops[] = {"retrieve", "delete", "refresh", "versions"};
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"mine\",\"payload\":\"good\"}");
    FAAS_AUTO(json_t) *list = NULL;
    FAAS_AUTO(json_t) *theirs = NULL;
    json_t *reply = NULL;
    faas_err err;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(ops); i++)
        assert_int_equal(shop_ask(SHOP_BOB, ops[i], "{\"name\":\"mine\"}", &reply, &err),
                         FAAS_NOT_FOUND);
    assert_int_equal(
        shop_ask(SHOP_BOB, "update", "{\"name\":\"mine\",\"description\":\"x\"}", &reply, &err),
        FAAS_NOT_FOUND);
    assert_ok(shop_ask(SHOP_BOB, "list", "{}", &list, &err));
    assert_int_equal(json_array_size(list), 0);
    assert_ok(
        shop_ask(SHOP_BOB, "register", "{\"name\":\"mine\",\"payload\":\"cmd\"}", &theirs, &err));
    assert_string_equal(shop_text(theirs, "uuid"), SHOP_BOB);
    assert_null(reply);
    test_promise(4, "0 of %zu operations reached another tenant's function",
                 FAAS_ARRAY_LEN(ops) + 2);
}

static void callers_are_named_by_their_token_alone(void **state)
{
    static const char *const ops[] = {"register", "retrieve", "list",     "page",   "update",
                                      "replace",  "delete",   "versions", "refresh"};
    json_t *reply = NULL;
    faas_err err;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(ops); i++) {
        assert_int_equal(shop_ask(NULL, ops[i], "{\"name\":\"mine\"}", &reply, &err),
                         FAAS_UNAUTHENTICATED);
        if (strcmp(ops[i], "list") != 0 && strcmp(ops[i], "page") != 0)
            shop_refuses(ops[i], "{\"name\":\"f\",\"payload\":\"good\",\"uuid\":\"" SHOP_BOB "\"}",
                         strcmp(ops[i], "register") == 0 || strcmp(ops[i], "update") == 0 ||
                                 strcmp(ops[i], "replace") == 0
                             ? FAAS_DENIED
                             : FAAS_INVALID,
                         "");
        else
            shop_refuses(ops[i], "{\"uui\":\"" SHOP_BOB "\"}", FAAS_DENIED, "uuid: not the id");
    }
    assert_null(reply);
}

/* ---- lists ---- */

static json_t *names_of(const json_t *items)
{
    json_t *names = json_array();
    size_t i;
    json_t *item;

    json_array_foreach (items, i, item)
        json_array_append_new(names, json_string(shop_text(item, "name")));
    return names;
}

static json_t *bobs_page(const char *body)
{
    json_t *page = NULL;
    faas_err err;

    if (shop_ask(SHOP_BOB, "page", body, &page, &err) != FAAS_OK)
        fail_msg("page %s: %s", body, err.msg);
    return page;
}

static void pages_are_walked_by_their_cursor(void **state)
{
    static const char *const names[] = {"p-one", "p-three", "p-two"};
    char body[300];
    json_t *cursor;
    faas_err err;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(names); i++) {
        FAAS_AUTO(json_t) *made = NULL;

        (void)snprintf(body, sizeof body, "{\"name\":\"%s\",\"payload\":\"good\"}", names[i]);
        assert_ok(shop_ask(SHOP_BOB, "register", body, &made, &err));
    }
    FAAS_AUTO(json_t) *first = bobs_page("{\"limit\":\"2\",\"q\":\"P-\"}");
    FAAS_AUTO(json_t) *first_names = names_of(json_object_get(first, "items"));
    FAAS_AUTO(json_t) *want_first = json_pack("[ss]", "p-one", "p-three");
    assert_true(json_equal(first_names, want_first));
    (void)snprintf(body, sizeof body, "{\"limit\":2,\"q\":\"p-\",\"cursor\":\"%s\"}",
                   shop_text(first, "next_cursor"));
    FAAS_AUTO(json_t) *second = bobs_page(body);
    FAAS_AUTO(json_t) *second_names = names_of(json_object_get(second, "items"));
    FAAS_AUTO(json_t) *want_second = json_pack("[s]", "p-two");
    assert_true(json_equal(second_names, want_second));
    cursor = json_object_get(second, "next_cursor");
    assert_true(json_is_null(cursor));
    shop_refuses("page", "{\"limit\":0}", FAAS_INVALID, "limit: 1 to 200");
    shop_refuses("page", "{\"limit\":\"many\"}", FAAS_INVALID, "limit: expected an integer");
    shop_refuses("page", "{\"cursor\":\"%%%\"}", FAAS_INVALID, "cursor: ");
    shop_refuses("page", "{\"surprise\":1}", FAAS_INVALID, "surprise: unknown field");
}

/* Without what is the function's own and no version's. */
static json_t *version_of(const json_t *record)
{
    json_t *version = json_copy((json_t *)(uintptr_t)record);

    assert_int_equal(json_object_del(version, "aliases"), 0);
    assert_int_equal(json_object_del(version, "disabled"), 0);
    return version;
}

static json_t *version_made(const char *op, const char *body)
{
    FAAS_AUTO(json_t) *record = shop_must(op, body);

    return version_of(record);
}

static void versions_stay_as_they_were(void **state)
{
    FAAS_AUTO(json_t) *first = version_made("register", "{\"name\":\"vers\",\"payload\":\"good\"}");
    FAAS_AUTO(json_t) *second = version_made("update", "{\"name\":\"vers\",\"timeout_ms\":500}");
    FAAS_AUTO(json_t) *third = version_made("update", "{\"name\":\"vers\",\"timeout_ms\":600}");
    FAAS_AUTO(json_t) *one = shop_must("versions", "{\"name\":\"vers\",\"version\":1}");
    FAAS_AUTO(json_t) *three = shop_must("versions", "{\"name\":\"vers\",\"version\":\"3\"}");
    FAAS_AUTO(json_t) *page = shop_must("versions", "{\"name\":\"vers\",\"limit\":2}");
    FAAS_AUTO(json_t) *rest = NULL;
    const json_t *items = json_object_get(page, "items");
    char body[200];

    (void)state;
    assert_true(json_equal(one, first));
    assert_true(json_equal(three, third));
    assert_int_equal(json_array_size(items), 2);
    assert_true(json_equal(json_array_get(items, 0), third));
    assert_true(json_equal(json_array_get(items, 1), second));
    (void)snprintf(body, sizeof body, "{\"name\":\"vers\",\"cursor\":\"%s\"}",
                   shop_text(page, "next_cursor"));
    rest = shop_must("versions", body);
    assert_int_equal(json_array_size(json_object_get(rest, "items")), 1);
    assert_true(json_equal(json_array_get(json_object_get(rest, "items"), 0), first));
    shop_refuses("versions", "{\"name\":\"vers\",\"version\":4}", FAAS_NOT_FOUND, "version 4");
    shop_refuses("versions", "{\"name\":\"nobody\"}", FAAS_NOT_FOUND, "no function");
}

static void too_many_versions_are_refused_with_the_number(void **state)
{
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"many\",\"payload\":\"good\"}");

    (void)state;
    for (int i = 2; i <= 30; i++)
        json_decref(shop_must("update", "{\"name\":\"many\",\"timeout_ms\":500}"));
    shop_refuses("update", "{\"name\":\"many\",\"timeout_ms\":600}", FAAS_BUSY, "30 versions");
}

/* ---- races ---- */

struct race {
    const char *op, *body;
    _Atomic int won, conflict, other;
};

static void *racer(void *arg)
{
    struct race *race = arg;
    FAAS_AUTO(json_t) *reply = NULL;
    faas_err err;
    faas_code rc = shop_ask(SHOP_ANN, race->op, race->body, &reply, &err);

    race->won += rc == FAAS_OK;
    race->conflict += rc == FAAS_CONFLICT;
    if (rc != FAAS_OK && rc != FAAS_CONFLICT) {
        print_error("a racer got %s: %s\n", faas_code_slug(rc), err.msg);
        race->other++;
    }
    return NULL;
}

static void run_race(struct race *race, int racers)
{
    pthread_t threads[32];

    for (int i = 0; i < racers; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, racer, race), 0);
    for (int i = 0; i < racers; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(race->other, 0);
}

static void one_of_twenty_registrations_of_a_name_wins(void **state)
{
    char body[100];

    (void)state;
    for (int round = 0; round < 4; round++) {
        struct race race = {.op = "register", .body = body};

        (void)snprintf(body, sizeof body, "{\"name\":\"race-%d\",\"payload\":\"good\"}", round);
        run_race(&race, 20);
        assert_int_equal(race.won, 1);
        assert_int_equal(race.conflict, 19);
    }
    test_promise(5, "1 winner of 20 function registrations, in 4 of 4 rounds");
}

static void updates_at_the_same_time_all_count_unless_they_name_a_version(void **state)
{
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"busy\",\"payload\":\"good\"}");
    struct race blind = {.op = "update", .body = "{\"name\":\"busy\",\"concurrency\":3}"};
    struct race seen = {.op = "update",
                        .body = "{\"name\":\"busy\",\"version\":6,\"concurrency\":4}"};
    FAAS_AUTO(json_t) *after = NULL;

    (void)state;
    run_race(&blind, 5);
    assert_int_equal(blind.won, 5);
    run_race(&seen, 8);
    assert_int_equal(seen.won, 1);
    after = shop_must("retrieve", "{\"name\":\"busy\"}");
    assert_int_equal(shop_number(after, "version"), 7);
    shop_refuses("update", "{\"name\":\"busy\",\"version\":6}", FAAS_CONFLICT, "at version 7");
}

/* ---- read your writes ---- */

struct write {
    const char *op, *body;
    faas_code rc;
    faas_err err;
    _Atomic bool has_ended;
};

static void *run_write(void *arg)
{
    struct write *write = arg;
    FAAS_AUTO(json_t) *reply = NULL;

    write->rc = shop_ask(SHOP_ANN, write->op, write->body, &reply, &write->err);
    write->has_ended = true;
    return NULL;
}

/* The gateway's beats reach every registry within this. */
static void pause_for_beats(void)
{
    const struct timespec time = {.tv_nsec = 3 * FAAS_BEAT_MS * 1000000L};

    nanosleep(&time, NULL);
}

static void every_write_waits_for_the_slowest_reader(void **state)
{
    static const char *const writes[][2] = {
        {"register", "{\"name\":\"slow\",\"payload\":\"good\"}"},
        {"update", "{\"name\":\"slow\",\"timeout_ms\":500}"},
        {"replace", "{\"name\":\"slow\",\"payload\":\"good\"}"},
        {"delete", "{\"name\":\"slow\"}"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(writes); i++) {
        struct write write = {.op = writes[i][0], .body = writes[i][1]};
        pthread_t thread;

        shop_gateway_applied = 0;
        pause_for_beats();
        assert_int_equal(pthread_create(&thread, NULL, run_write, &write), 0);
        pause_for_beats();
        assert_false(write.has_ended);
        shop_gateway_applied = INT64_MAX;
        pthread_join(thread, NULL);
        if (write.rc != FAAS_OK)
            fail_msg("%s: %s", write.op, write.err.msg);
    }
    shop_gateway_applied = -1;
    pause_for_beats();
}

/* ---- stored values ---- */

static void fields_of_a_later_release_survive_an_update(void **state)
{
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"later\",\"payload\":\"cmd\"}");
    struct faas_kv_entry entry = {0};
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *after = NULL;
    FAAS_AUTO(char) *text = NULL;
    char key[120];
    faas_err err = {0};

    (void)state;
    shop_head_key("later", key);
    assert_ok(faas_kv_get(shop.functions, key, faas_deadline_in_ms(SHOP_LONG_MS), &entry, &err));
    doc = json_loadb(entry.value, entry.len, 0, NULL);
    assert_int_equal(shop_number(doc, "v"), 1);
    assert_string_equal(shop_text(doc, "reference"), "docker.io/library/cmd:latest");
    assert_int_equal(json_array_size(json_object_get(doc, "command")), 1);
    json_object_set_new(doc, "from_later", json_string("kept"));
    text = json_dumps(doc, JSON_COMPACT);
    assert_ok(faas_kv_put(shop.functions, key, entry.revision, text, strlen(text),
                          faas_deadline_in_ms(SHOP_LONG_MS), NULL, &err));
    faas_kv_entry_done(&entry);
    json_decref(shop_must("update", "{\"name\":\"later\",\"timeout_ms\":500}"));
    assert_ok(faas_kv_get(shop.functions, key, faas_deadline_in_ms(SHOP_LONG_MS), &entry, &err));
    after = json_loadb(entry.value, entry.len, 0, NULL);
    assert_string_equal(shop_text(after, "from_later"), "kept");
    assert_string_not_equal(shop_text(after, "op"), shop_text(doc, "op"));
    faas_kv_entry_done(&entry);
}

/* A head as another registry writes it, straight to the bucket, that dies before anything else. */
static void write_head_alone(const char *name, int version, const char *description)
{
    struct faas_kv_entry entry = {0};
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *text = NULL;
    char key[120];
    faas_err err = {0};

    shop_head_key(name, key);
    assert_ok(faas_kv_get(shop.functions, key, faas_deadline_in_ms(SHOP_LONG_MS), &entry, &err));
    doc = json_loadb(entry.value, entry.len, 0, NULL);
    json_object_set_new(doc, "version", json_integer(version));
    json_object_set_new(doc, "description", json_string(description));
    text = json_dumps(doc, JSON_COMPACT);
    assert_ok(faas_kv_put(shop.functions, key, entry.revision, text, strlen(text),
                          faas_deadline_in_ms(SHOP_LONG_MS), NULL, &err));
    faas_kv_entry_done(&entry);
}

static void a_missing_version_entry_is_made_by_the_next_writer(void **state)
{
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"hole\",\"payload\":\"good\"}");
    FAAS_AUTO(json_t) *head = NULL;
    FAAS_AUTO(json_t) *healed = NULL;
    FAAS_AUTO(json_t) *list = NULL;

    (void)state;
    assert_int_equal(shop_number(made, "version"), 1);
    write_head_alone("hole", 2, "by a writer that died");
    head = version_made("retrieve", "{\"name\":\"hole\"}");
    list = shop_must("versions", "{\"name\":\"hole\"}");
    assert_true(json_equal(json_array_get(json_object_get(list, "items"), 0), head));
    json_decref(shop_must("update", "{\"name\":\"hole\",\"timeout_ms\":500}"));
    healed = shop_must("versions", "{\"name\":\"hole\",\"version\":2}");
    assert_true(json_equal(healed, head));
}

/* Other writers' heads that the read models may not show yet are never written over. */
static void a_head_that_was_guessed_wrong_is_asked_for(void **state)
{
    json_decref(shop_must("register", "{\"name\":\"guess\",\"payload\":\"good\"}"));

    (void)state;
    for (int turn = 0; turn < LOOKS; turn++) {
        FAAS_AUTO(json_t) *changed = NULL;
        char body[100], description[20];

        (void)snprintf(description, sizeof description, "turn %d", turn);
        (void)snprintf(body, sizeof body, "{\"name\":\"guess\",\"timeout_ms\":%d}", 500 + turn);
        write_head_alone("guess", 2 * turn + 2, description);
        changed = shop_must("update", body);
        assert_int_equal(shop_number(changed, "version"), 2 * turn + 3);
        assert_string_equal(shop_text(changed, "description"), description);
        assert_int_equal(shop_number(changed, "timeout_ms"), 500 + turn);
    }
}

static _Atomic int heads_asked;

static bool is_asked(void *arg)
{
    (void)arg;
    return heads_asked > 0;
}

static void unsubscribe(void *arg)
{
    faas_sub_free(arg);
}

static void on_read(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(json_t) *body = json_loadb(faas_msg_data(msg), faas_msg_len(msg), 0, NULL);
    const char *subject = json_string_value(json_object_get(body, "last_by_subj"));

    (void)arg;
    if (subject != NULL && strncmp(subject, "$KV.functions.f.", 16) == 0)
        heads_asked++;
}

/* Whichever replica made the change before. */
static void a_change_of_what_everybody_has_seen_asks_no_leader(void **state)
{
    FAAS_AUTO(json_t) *got = NULL;
    faas_sub *sub = NULL;
    faas_err err = {0};

    (void)state;
    json_decref(shop_must("register", "{\"name\":\"known\",\"payload\":\"good\"}"));
    assert_ok(faas_bus_subscribe(shop.gateway.bus, FAAS_DATA, "$JS.API.STREAM.MSG.GET.KV_functions",
                                 NULL, on_read, NULL, &sub, &err));
    got = shop_must("retrieve", "{\"name\":\"known\"}"); /* that does ask */
    wait_until(is_asked, NULL, SHOP_LONG_MS, "the question of a look-up");
    for (int turn = 0; turn < LOOKS; turn++)
        json_decref(shop_must("update", "{\"name\":\"known\",\"description\":\"again\"}"));
    assert_int_equal(heads_asked, 1);
    process_on_loop(&shop.gateway, unsubscribe, sub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_reads_the_same_everywhere),
        cmocka_unit_test(a_second_function_of_a_name_is_a_conflict),
        cmocka_unit_test(every_change_is_seen_by_the_next_look),
        cmocka_unit_test(an_update_asks_a_spawner_only_for_a_payload),
        cmocka_unit_test(a_refresh_makes_a_version_only_of_another_image),
        cmocka_unit_test(replacing_resets_and_needs_the_function),
        cmocka_unit_test(deleted_and_made_again_is_another_function),
        cmocka_unit_test(tenants_do_not_see_each_other),
        cmocka_unit_test(callers_are_named_by_their_token_alone),
        cmocka_unit_test(pages_are_walked_by_their_cursor),
        cmocka_unit_test(versions_stay_as_they_were),
        cmocka_unit_test(too_many_versions_are_refused_with_the_number),
        cmocka_unit_test(one_of_twenty_registrations_of_a_name_wins),
        cmocka_unit_test(updates_at_the_same_time_all_count_unless_they_name_a_version),
        cmocka_unit_test(every_write_waits_for_the_slowest_reader),
        cmocka_unit_test(fields_of_a_later_release_survive_an_update),
        cmocka_unit_test(a_missing_version_entry_is_made_by_the_next_writer),
        cmocka_unit_test(a_head_that_was_guessed_wrong_is_asked_for),
        cmocka_unit_test(a_change_of_what_everybody_has_seen_asks_no_leader),
    };

    return cmocka_run_group_tests(tests, shop_open, shop_close);
}
