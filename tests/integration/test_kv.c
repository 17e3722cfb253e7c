/* Buckets on three real servers: races, deletes, elections. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "net/kv.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/unit/unit.h"

#define REPLICAS 3
#define RACERS   50
#define ROUNDS   5
#define LONG_MS  30000

static struct nats *nats;
static struct process members[REPLICAS]; /* one per server */
static faas_kv *kvs[REPLICAS];

static int start(void **state)
{
    faas_err err = {0};

    (void)state;
    nats = nats_start(3, NULL);
    for (int i = 0; i < REPLICAS; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "m%d", i);
        process_start(&members[i],
                      &(struct process_conf){.urls = nats_url(nats, i), .service = "kv", .id = id});
        assert_ok(
            faas_kv_open(members[i].rpc, "races", 3, faas_deadline_in_ms(LONG_MS), &kvs[i], &err));
    }
    return 0;
}

static void close_kv(void *arg)
{
    faas_kv_close(arg);
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < REPLICAS; i++)
        process_stop(&members[i], close_kv, kvs[i]);
    nats_stop(nats);
    return 0;
}

static faas_code put(int who, const char *key, uint64_t expected, const char *value,
                     uint64_t *out_revision, faas_err *err)
{
    return faas_kv_put(kvs[who], key, expected, value, strlen(value), faas_deadline_in_ms(LONG_MS),
                       out_revision, err);
}

static faas_code get(int who, const char *key, struct faas_kv_entry *out_entry, faas_err *err)
{
    return faas_kv_get(kvs[who], key, faas_deadline_in_ms(LONG_MS), out_entry, err);
}

/* ---- one key ---- */

static void a_value_is_read_back_byte_for_byte_with_its_revision(void **state)
{
    static const char value[] = "{\"op\":\"1\"}\0binary\xff";
    struct faas_kv_entry entry = {0};
    uint64_t revision = 0;
    faas_err err = {0};

    (void)state;
    assert_ok(faas_kv_put(kvs[0], "bytes", 0, value, sizeof value, faas_deadline_in_ms(LONG_MS),
                          &revision, &err));
    assert_ok(get(1, "bytes", &entry, &err));
    assert_int_equal(entry.len, sizeof value);
    assert_memory_equal(entry.value, value, sizeof value);
    assert_int_equal(entry.revision, revision);
    faas_kv_entry_done(&entry);
}

static void the_largest_value_fits_and_one_byte_more_is_refused(void **state)
{
    size_t len = FAAS_KV_VALUE_MAX;
    FAAS_AUTO(char) *value = malloc(len + 1);
    struct faas_kv_entry entry = {0};
    faas_err err = {0};

    (void)state;
    assert_non_null(value);
    memset(value, 'x', len + 1);
    assert_ok(
        faas_kv_put(kvs[0], "large", 0, value, len, faas_deadline_in_ms(LONG_MS), NULL, &err));
    assert_ok(get(2, "large", &entry, &err));
    assert_int_equal(entry.len, len);
    faas_kv_entry_done(&entry);
    assert_int_equal(
        faas_kv_put(kvs[0], "larger", 0, value, len + 1, faas_deadline_in_ms(LONG_MS), NULL, &err),
        FAAS_TOO_LARGE);
    assert_contains(err.msg, "524288");
}

static void an_absent_key_is_not_found(void **state)
{
    struct faas_kv_entry entry = {0};
    faas_err err = {0};

    (void)state;
    assert_int_equal(get(0, "absent", &entry, &err), FAAS_NOT_FOUND);
}

static void text_that_is_no_key_is_refused(void **state)
{
    static const char *const bad[] = {"", ".a", "a.", "a..b", "a b", "a*", "a.>", "\xc3\xa9"};
    struct faas_kv_entry entry = {0};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        faas_err err = {0};

        assert_int_equal(get(0, bad[i], &entry, &err), FAAS_INVALID);
    }
}

static void creating_twice_is_a_conflict(void **state)
{
    faas_err err = {0};

    (void)state;
    assert_ok(put(0, "twice", 0, "first", NULL, &err));
    assert_int_equal(put(1, "twice", 0, "second", NULL, &err), FAAS_CONFLICT);
}

struct written {
    _Atomic bool is_done;
    faas_code code;
    uint64_t revision;
};

static void on_written(void *arg, faas_code code, const struct faas_kv_entry *entry,
                       const faas_err *err)
{
    struct written *written = arg;

    (void)err;
    written->code = code;
    written->revision = entry != NULL ? entry->revision : 0;
    atomic_store(&written->is_done, true);
}

static bool is_written(void *arg)
{
    return atomic_load(&((struct written *)arg)->is_done);
}

static faas_code post(const char *key, const char *value, struct written *out_written)
{
    *out_written = (struct written){0};
    faas_kv_put_async(kvs[0], key, 0, value, strlen(value), faas_deadline_in_ms(LONG_MS),
                      on_written, out_written);
    wait_until(is_written, out_written, LONG_MS, "the write is told");
    return out_written->code;
}

static void a_write_that_nobody_waits_for_is_told_with_its_revision(void **state)
{
    struct faas_kv_entry entry = {0};
    struct written first, second;
    faas_err err = {0};

    (void)state;
    assert_int_equal(post("posted", "one", &first), FAAS_OK);
    assert_int_equal(get(1, "posted", &entry, &err), FAAS_OK);
    assert_string_equal(entry.value, "one");
    assert_true(entry.revision == first.revision);
    faas_kv_entry_done(&entry);
    assert_int_equal(post("posted", "two", &second), FAAS_CONFLICT);
    assert_int_equal(post("no key", "three", &second), FAAS_INVALID);
}

static void an_old_revision_is_a_conflict(void **state)
{
    uint64_t first = 0, second = 0;
    faas_err err = {0};

    (void)state;
    assert_ok(put(0, "old", 0, "1", &first, &err));
    assert_ok(put(1, "old", first, "2", &second, &err));
    assert_true(second > first);
    assert_int_equal(put(2, "old", first, "3", NULL, &err), FAAS_CONFLICT);
}

/* What a writer does whose first answer was lost. */
static void writing_the_same_bytes_again_is_the_same_write(void **state)
{
    uint64_t first = 0, again = 0;
    faas_err err = {0};

    (void)state;
    assert_ok(put(0, "again", 0, "op-77", &first, &err));
    assert_ok(put(0, "again", 0, "op-77", &again, &err));
    assert_int_equal(again, first);
}

static void a_deleted_key_can_be_created_again(void **state)
{
    struct faas_kv_entry entry = {0};
    uint64_t created = 0, deleted = 0, again = 0;
    faas_err err = {0};

    (void)state;
    assert_ok(put(0, "phoenix", 0, "1", &created, &err));
    assert_int_equal(
        faas_kv_delete(kvs[1], "phoenix", created + 1000, faas_deadline_in_ms(LONG_MS), NULL, &err),
        FAAS_CONFLICT);
    assert_ok(
        faas_kv_delete(kvs[1], "phoenix", created, faas_deadline_in_ms(LONG_MS), &deleted, &err));
    assert_true(deleted > created);
    assert_int_equal(get(0, "phoenix", &entry, &err), FAAS_NOT_FOUND);
    assert_ok(put(2, "phoenix", 0, "2", &again, &err));
    assert_true(again > deleted);
    assert_int_equal(put(2, "phoenix", 0, "3", NULL, &err), FAAS_CONFLICT);
}

static void a_delete_leaves_its_word_to_whoever_looks(void **state)
{
    struct faas_kv_entry entry = {0};
    uint64_t created = 0, buried = 0;
    uint64_t deadline_ns = faas_deadline_in_ms(LONG_MS);
    faas_err err = {0};

    (void)state;
    assert_int_equal(faas_kv_look(kvs[0], "grave", deadline_ns, &entry, &err), FAAS_NOT_FOUND);
    assert_ok(put(0, "grave", 0, "1", &created, &err));
    assert_ok(faas_kv_bury(kvs[1], "grave", created, "why", 3, deadline_ns, &buried, &err));
    assert_int_equal(get(0, "grave", &entry, &err), FAAS_NOT_FOUND);
    assert_ok(faas_kv_look(kvs[2], "grave", deadline_ns, &entry, &err));
    assert_true(entry.is_delete);
    assert_string_equal(entry.value, "why");
    assert_int_equal(entry.revision, buried);
    faas_kv_entry_done(&entry);
    assert_int_equal(put(2, "grave", created, "2", NULL, &err), FAAS_CONFLICT);
    assert_ok(put(2, "grave", buried, "2", NULL, &err)); /* in the place of what was looked at */
    assert_ok(faas_kv_look(kvs[0], "grave", deadline_ns, &entry, &err));
    assert_false(entry.is_delete);
    faas_kv_entry_done(&entry);
}

/* ---- the newest sequence ---- */

struct last {
    _Atomic bool is_done;
    faas_code code;
    uint64_t seq;
};

static void on_last(void *arg, faas_code code, const struct faas_kv_entry *entry,
                    const faas_err *err)
{
    struct last *last = arg;

    (void)err;
    last->code = code;
    last->seq = entry != NULL ? entry->revision : 0;
    atomic_store(&last->is_done, true);
}

static bool has_last(void *arg)
{
    return atomic_load(&((struct last *)arg)->is_done);
}

static void the_newest_sequence_is_that_of_the_last_write(void **state)
{
    static struct last last;
    uint64_t revision = 0;
    faas_err err = {0};

    (void)state;
    assert_ok(put(0, "newest", 0, "1", &revision, &err));
    faas_kv_last_async(kvs[1], faas_deadline_in_ms(LONG_MS), on_last, &last);
    wait_until(has_last, &last, LONG_MS, "the newest sequence");
    assert_int_equal(last.code, FAAS_OK);
    assert_int_equal(last.seq, revision);
}

static void an_empty_bucket_has_sequence_0(void **state)
{
    static struct last last;
    faas_kv *empty = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(faas_kv_open(members[0].rpc, "empty", 3, faas_deadline_in_ms(LONG_MS), &empty, &err));
    faas_kv_last_async(empty, faas_deadline_in_ms(LONG_MS), on_last, &last);
    wait_until(has_last, &last, LONG_MS, "the newest sequence");
    assert_int_equal(last.code, FAAS_OK);
    assert_int_equal(last.seq, 0);
    process_on_loop(&members[0], close_kv, empty);
}

static void a_bucket_is_read_change_by_change(void **state)
{
    uint64_t deadline_ns = faas_deadline_in_ms(LONG_MS), revision = 0;
    struct faas_kv_change change = {.key = ""};
    faas_kv *kv = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(faas_kv_open(members[0].rpc, "walked", 3, deadline_ns, &kv, &err));
    assert_int_equal(faas_kv_next(kv, 1, deadline_ns, &change, &err), FAAS_NOT_FOUND);
    assert_ok(faas_kv_put(kv, "a.1", 0, "one", 3, deadline_ns, NULL, &err));
    assert_ok(faas_kv_put(kv, "b", 0, "two", 3, deadline_ns, NULL, &err));
    assert_ok(faas_kv_put(kv, "a.1", 1, "more", 4, deadline_ns, NULL, &err));
    assert_ok(faas_kv_delete(kv, "b", 2, deadline_ns, NULL, &err));
    assert_ok(faas_kv_last(kv, deadline_ns, &revision, &err));
    assert_int_equal(revision, 4);
    assert_ok(faas_kv_next(kv, 1, deadline_ns, &change, &err)); /* 1 and 2 were replaced */
    assert_string_equal(change.key, "a.1");
    assert_int_equal(change.entry.revision, 3);
    assert_string_equal(change.entry.value, "more");
    assert_false(change.is_delete);
    faas_kv_entry_done(&change.entry);
    assert_ok(faas_kv_next(kv, 4, deadline_ns, &change, &err));
    assert_string_equal(change.key, "b");
    assert_true(change.is_delete);
    faas_kv_entry_done(&change.entry);
    assert_int_equal(faas_kv_next(kv, 5, deadline_ns, &change, &err), FAAS_NOT_FOUND);
    assert_ok(faas_kv_next_of(kv, "a.", 1, deadline_ns, &change, &err));
    assert_string_equal(change.key, "a.1");
    faas_kv_entry_done(&change.entry);
    assert_int_equal(faas_kv_next_of(kv, "a.", 4, deadline_ns, &change, &err), FAAS_NOT_FOUND);
    process_on_loop(&members[0], close_kv, kv);
}

static void opening_twice_keeps_what_is_there(void **state)
{
    struct faas_kv_entry entry = {0};
    faas_kv *again = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(put(0, "kept", 0, "1", NULL, &err));
    assert_ok(faas_kv_open(members[0].rpc, "races", 1, faas_deadline_in_ms(LONG_MS), &again, &err));
    assert_ok(faas_kv_get(again, "kept", faas_deadline_in_ms(LONG_MS), &entry, &err));
    faas_kv_entry_done(&entry);
    process_on_loop(&members[0], close_kv, again);
}

/* ---- races ---- */

struct racer {
    int number;
    const char *key;
    uint64_t expected;
    pthread_barrier_t *gun;
    faas_code code;
    faas_err err;
    pthread_t thread;
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    char value[32];

    (void)snprintf(value, sizeof value, "op-%d", racer->number);
    pthread_barrier_wait(racer->gun);
    racer->code =
        put(racer->number % REPLICAS, racer->key, racer->expected, value, NULL, &racer->err);
    return NULL;
}

/* RACERS writers at once; how many said OK, and the winner's value is what is stored. */
static int run_race(const char *key, uint64_t expected)
{
    static struct racer racers[RACERS];
    pthread_barrier_t gun;
    struct faas_kv_entry entry = {0};
    faas_err err = {0};
    int winners = 0, winner = -1;
    char value[32];

    pthread_barrier_init(&gun, NULL, RACERS);
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.number = i, .key = key, .expected = expected, .gun = &gun};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++)
        pthread_join(racers[i].thread, NULL);
    pthread_barrier_destroy(&gun);
    for (int i = 0; i < RACERS; i++) {
        if (racers[i].code != FAAS_OK && racers[i].code != FAAS_CONFLICT)
            fail_msg("%s: %s", racers[i].err.msg, racers[i].err.detail);
        if (racers[i].code == FAAS_OK) {
            winners++;
            winner = i;
        }
    }
    assert_ok(get(0, key, &entry, &err));
    (void)snprintf(value, sizeof value, "op-%d", winner);
    assert_string_equal(entry.value, value);
    faas_kv_entry_done(&entry);
    return winners;
}

static void of_50_concurrent_creates_one_wins(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        char key[32];

        (void)snprintf(key, sizeof key, "create.%d", round);
        assert_int_equal(run_race(key, 0), 1);
    }
    test_promise(5, "1 winner of %d creates at once, in %d of %d rounds", RACERS, ROUNDS, ROUNDS);
}

static void of_50_concurrent_updates_one_wins(void **state)
{
    faas_err err = {0};

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t revision = 0;
        char key[32];

        (void)snprintf(key, sizeof key, "update.%d", round);
        assert_ok(put(0, key, 0, "start", &revision, &err));
        assert_int_equal(run_race(key, revision), 1);
    }
    test_promise(5, "1 winner of %d updates at once, in %d of %d rounds", RACERS, ROUNDS, ROUNDS);
}

/* ---- a leader dies ---- */

static bool has_leader(void *arg)
{
    (void)arg;
    return nats_leader_of(nats, "KV_races") >= 0;
}

/* Every acknowledged write is there afterwards, and none failed: the writes waited. */
static void writes_wait_for_a_new_leader_and_none_is_lost(void **state)
{
    int leader, writer;
    faas_err err = {0};

    (void)state;
    wait_until(has_leader, NULL, LONG_MS, "a leader");
    leader = nats_leader_of(nats, "KV_races");
    writer = (leader + 1) % REPLICAS;
    for (int i = 0; i < 20; i++) {
        char key[32];

        (void)snprintf(key, sizeof key, "election.%d", i);
        if (i == 5)
            nats_kill(nats, leader);
        if (put(writer, key, 0, key, NULL, &err) != FAAS_OK)
            fail_msg("write %d: %s (%s)", i, err.msg, err.detail);
    }
    for (int i = 0; i < 20; i++) {
        struct faas_kv_entry entry = {0};
        char key[32];

        (void)snprintf(key, sizeof key, "election.%d", i);
        assert_ok(get(writer, key, &entry, &err));
        assert_string_equal(entry.value, key);
        faas_kv_entry_done(&entry);
    }
    nats_restart(nats, leader);
    test_promise(34, "0 of 20 acknowledged writes lost when the leader was killed");
}

static bool do_agree(void *arg)
{
    (void)arg;
    return nats_streams_agree(nats);
}

/* After races and an election: no server has more, less or other messages than the next. */
static void the_servers_hold_the_same_afterwards(void **state)
{
    (void)state;
    wait_until(do_agree, NULL, LONG_MS, "the same streams on all servers");
}

static void without_servers_the_store_is_unavailable_at_the_deadline(void **state)
{
    uint64_t began = faas_now_ns();
    faas_err err = {0};

    (void)state;
    for (int i = 0; i < REPLICAS; i++)
        nats_kill(nats, i);
    assert_int_equal(faas_kv_put(kvs[0], "nobody", 0, "1", 1, faas_deadline_in_ms(500), NULL, &err),
                     FAAS_UNAVAILABLE);
    assert_true(faas_now_ns() < began + 2 * FAAS_S_NS);
}

static void on_told(void *arg, faas_code code, const struct faas_kv_entry *entry,
                    const faas_err *err)
{
    (void)entry, (void)err;
    *(faas_code *)arg = code;
}

/* As a service that stops while one of its reads is still to begin. */
static void a_read_behind_the_last_turn_of_the_loop_is_told_unavailable(void **state)
{
    struct process leaving = {0};
    faas_code told = FAAS_OK;
    faas_kv *kv = NULL;
    faas_err err = {0};

    (void)state;
    process_start(&leaving, &(struct process_conf){
                                .urls = nats_url(nats, 0), .service = "kv", .id = "leaving"});
    assert_ok(faas_kv_open(leaving.rpc, "races", 3, faas_deadline_in_ms(LONG_MS), &kv, &err));
    faas_pool_stop(leaving.pool);
    faas_loop_stop(leaving.loop);
    pthread_join(leaving.thread, NULL);
    faas_kv_get_async(kv, "anything", faas_deadline_in_ms(LONG_MS), on_told, &told);
    faas_kv_close(kv);
    faas_rpc_close(leaving.rpc);
    faas_bus_close(leaving.bus, 500);
    faas_loop_free(leaving.loop);
    assert_int_equal(told, FAAS_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_read_back_byte_for_byte_with_its_revision),
        cmocka_unit_test(the_largest_value_fits_and_one_byte_more_is_refused),
        cmocka_unit_test(an_absent_key_is_not_found),
        cmocka_unit_test(text_that_is_no_key_is_refused),
        cmocka_unit_test(creating_twice_is_a_conflict),
        cmocka_unit_test(a_write_that_nobody_waits_for_is_told_with_its_revision),
        cmocka_unit_test(an_old_revision_is_a_conflict),
        cmocka_unit_test(writing_the_same_bytes_again_is_the_same_write),
        cmocka_unit_test(a_deleted_key_can_be_created_again),
        cmocka_unit_test(a_delete_leaves_its_word_to_whoever_looks),
        cmocka_unit_test(the_newest_sequence_is_that_of_the_last_write),
        cmocka_unit_test(an_empty_bucket_has_sequence_0),
        cmocka_unit_test(a_bucket_is_read_change_by_change),
        cmocka_unit_test(opening_twice_keeps_what_is_there),
        cmocka_unit_test(of_50_concurrent_creates_one_wins),
        cmocka_unit_test(of_50_concurrent_updates_one_wins),
        cmocka_unit_test(a_read_behind_the_last_turn_of_the_loop_is_told_unavailable),
        cmocka_unit_test(writes_wait_for_a_new_leader_and_none_is_lost),
        cmocka_unit_test(the_servers_hold_the_same_afterwards),
        cmocka_unit_test(without_servers_the_store_is_unavailable_at_the_deadline),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
