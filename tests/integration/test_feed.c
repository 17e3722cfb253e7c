/* A bucket followed over three real servers, two of which die in turn. */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "net/feed.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/unit/unit.h"

#define LONG_MS 60000
#define KEYS    100
#define MANY    2000

static struct nats *nats;
static struct process writer, reader;
static faas_kv *kv, *reader_kv;
static faas_members *members; /* the reader's, in the last test */

/* What a reader has seen; loop thread, but for the atomics. */
struct seen {
    faas_feed *feed;
    _Atomic int events, disorder, deletes, saves;
    _Atomic uint64_t first_seq;
    uint64_t last_seq;
    pthread_mutex_t mu;
    int values[KEYS]; /* guarded by mu: the number written last; -1: deleted */
};

static int start(void **state)
{
    faas_err err = {0};

    (void)state;
    nats = nats_start(3, NULL);
    process_start(&writer,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "writer", .id = "w1"});
    process_start(&reader,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "reader", .id = "r1"});
    assert_ok(faas_kv_open(writer.rpc, "fed", 3, faas_deadline_in_ms(LONG_MS), &kv, &err));
    assert_ok(faas_kv_open(reader.rpc, "fed", 3, faas_deadline_in_ms(LONG_MS), &reader_kv, &err));
    return 0;
}

static void close_kv(void *arg)
{
    faas_kv_close(arg);
}

static int stop(void **state)
{
    (void)state;
    process_stop(&reader, close_kv, reader_kv);
    process_stop(&writer, close_kv, kv);
    nats_stop(nats);
    return 0;
}

/* ---- reading ---- */

static void on_event(void *arg, const struct faas_feed_event *event)
{
    struct seen *seen = arg;
    int key, number;

    atomic_fetch_add(&seen->events, 1);
    if (atomic_load(&seen->first_seq) == 0)
        atomic_store(&seen->first_seq, event->seq);
    if (event->seq <= seen->last_seq)
        atomic_fetch_add(&seen->disorder, 1);
    seen->last_seq = event->seq;
    if (event->is_delete)
        atomic_fetch_add(&seen->deletes, 1);
    if (sscanf(event->key, "k.%d", &key) != 1 || key < 0 || key >= KEYS)
        return;
    pthread_mutex_lock(&seen->mu);
    if (event->is_delete)
        seen->values[key] = -1;
    else if (sscanf(event->value, "%d", &number) == 1)
        seen->values[key] = number;
    pthread_mutex_unlock(&seen->mu);
}

static void on_applied(void *arg)
{
    atomic_fetch_add(&((struct seen *)arg)->saves, 1);
}

static void follow_awaited(struct seen *seen, uint64_t applied, const char *awaited)
{
    const struct faas_feed_conf conf = {.kv = reader_kv,
                                        .applied = applied,
                                        .apply = on_event,
                                        .awaited = awaited,
                                        .on_applied = on_applied,
                                        .members = members,
                                        .arg = seen};
    faas_err err = {0};

    memset(seen, 0, sizeof *seen);
    pthread_mutex_init(&seen->mu, NULL);
    assert_ok(faas_feed_start(&conf, &seen->feed, &err));
}

static void follow(struct seen *seen, uint64_t applied)
{
    follow_awaited(seen, applied, NULL);
}

static void stop_feed(void *arg)
{
    faas_feed_stop(((struct seen *)arg)->feed);
}

struct goal {
    const struct seen *seen;
    uint64_t seq;
};

static bool is_reached(void *arg)
{
    const struct goal *goal = arg;

    return faas_feed_applied(goal->seen->feed) >= goal->seq;
}

static void wait_applied(const struct seen *seen, uint64_t seq)
{
    struct goal goal = {seen, seq};

    wait_until(is_reached, &goal, LONG_MS, "the newest change applied");
}

static bool is_fresh(void *arg)
{
    return faas_feed_age_ms(((struct seen *)arg)->feed) < FAAS_FEED_FRESH_MS;
}

static bool is_not_fresh(void *arg)
{
    return !is_fresh(arg);
}

/* ---- writing ---- */

static struct {
    int values[KEYS];
    uint64_t revisions[KEYS];
    uint64_t newest;
} truth;

static void write_key(int key, int number)
{
    char name[16], text[64];
    faas_err err = {0};

    (void)snprintf(name, sizeof name, "k.%d", key);
    (void)snprintf(text, sizeof text, "%d op-%d-%d", number, key, number);
    if (faas_kv_put(kv, name, truth.revisions[key], text, strlen(text) + 1,
                    faas_deadline_in_ms(LONG_MS), &truth.revisions[key], &err) != FAAS_OK)
        fail_msg("put: %s (%s)", err.msg, err.detail);
    truth.values[key] = number;
    truth.newest = truth.revisions[key];
}

static void delete_key(int key)
{
    char name[16];
    faas_err err = {0};

    (void)snprintf(name, sizeof name, "k.%d", key);
    assert_ok(faas_kv_delete(kv, name, truth.revisions[key], faas_deadline_in_ms(LONG_MS),
                             &truth.newest, &err));
    truth.values[key] = -1;
    truth.revisions[key] = 0;
}

static void assert_equals_truth(struct seen *seen)
{
    pthread_mutex_lock(&seen->mu);
    for (int key = 0; key < KEYS; key++)
        assert_int_equal(seen->values[key], truth.values[key]);
    pthread_mutex_unlock(&seen->mu);
    assert_int_equal(atomic_load(&seen->disorder), 0);
}

/* ---- the claims ---- */

static void every_change_is_applied_once_in_order(void **state)
{
    static struct seen seen;

    (void)state;
    follow(&seen, 0);
    for (int number = 1; number <= 2; number++) {
        for (int key = 0; key < KEYS; key++)
            write_key(key, number);
    }
    delete_key(7);
    wait_applied(&seen, truth.newest);
    assert_equals_truth(&seen);
    assert_int_equal(atomic_load(&seen.deletes), 1);
    assert_int_equal(faas_feed_applied(seen.feed), truth.newest);
    assert_true(atomic_load(&seen.saves) > 0);
    process_on_loop(&reader, stop_feed, &seen);
}

static void hold(void *arg)
{
    (void)sem_wait(arg);
}

/* Changes that arrive while the reader is at something else are one batch for it, or few. */
static void a_burst_is_told_in_few_batches(void **state)
{
    static struct seen seen;
    sem_t go;
    int events, saves;

    (void)state;
    follow(&seen, truth.newest);
    wait_until(is_fresh, &seen, LONG_MS, "the reader follows");
    events = atomic_load(&seen.events);
    saves = atomic_load(&seen.saves);
    assert_int_equal(sem_init(&go, 0, 0), 0);
    faas_loop_post(reader.loop, hold, &go);
    for (int key = 0; key < KEYS; key++)
        write_key(key, 3);
    (void)sem_post(&go);
    wait_applied(&seen, truth.newest);
    process_on_loop(&reader, stop_feed, &seen);
    assert_int_equal(atomic_load(&seen.events) - events, KEYS);
    assert_int_equal(atomic_load(&seen.disorder), 0);
    assert_true(atomic_load(&seen.saves) - saves < KEYS / 2);
    (void)sem_destroy(&go);
}

static bool has_been_told(void *arg)
{
    return atomic_load(&((struct seen *)arg)->saves) > 0;
}

/* What nobody waits for is applied at once, and told of together. */
static void the_reader_is_told_of_what_is_not_awaited_once_in_a_while(void **state)
{
    static struct seen seen;
    int64_t whiles;
    uint64_t began;

    (void)state;
    follow_awaited(&seen, truth.newest, "other.");
    wait_until(is_fresh, &seen, LONG_MS, "the reader follows");
    atomic_store(&seen.saves, 0);
    began = faas_now_ns();
    for (int i = 0; i < 2 * KEYS; i++)
        write_key(i % KEYS, 4 + i / KEYS);
    wait_applied(&seen, truth.newest);
    whiles = (int64_t)((faas_now_ns() - began) / FAAS_MS_NS) / 20;
    assert_true(atomic_load(&seen.saves) <= whiles + 1);
    wait_until(has_been_told, &seen, LONG_MS, "the reader is told");
    process_on_loop(&reader, stop_feed, &seen);
}

static void a_late_reader_gets_the_newest_of_each_key(void **state)
{
    static struct seen seen;

    (void)state;
    follow(&seen, 0);
    wait_applied(&seen, truth.newest);
    assert_equals_truth(&seen);
    assert_int_equal(atomic_load(&seen.events), KEYS);
    wait_until(is_fresh, &seen, LONG_MS, "a fresh feed");
    process_on_loop(&reader, stop_feed, &seen);
}

static void a_reader_goes_on_from_its_stored_sequence(void **state)
{
    static struct seen seen;
    uint64_t before = truth.newest;

    (void)state;
    write_key(3, 30);
    write_key(4, 40);
    follow(&seen, before);
    wait_applied(&seen, truth.newest);
    assert_int_equal(atomic_load(&seen.events), 2);
    assert_int_equal(atomic_load(&seen.first_seq), before + 1);
    process_on_loop(&reader, stop_feed, &seen);
}

static void a_cache_sees_only_what_comes_later(void **state)
{
    static struct seen seen;

    (void)state;
    follow(&seen, UINT64_MAX);
    wait_until(is_fresh, &seen, LONG_MS, "a fresh feed");
    assert_int_equal(atomic_load(&seen.events), 0);
    assert_int_equal(faas_feed_applied(seen.feed), truth.newest);
    write_key(5, 50);
    wait_applied(&seen, truth.newest);
    assert_int_equal(atomic_load(&seen.events), 1);
    process_on_loop(&reader, stop_feed, &seen);
}

static void a_reader_with_a_future_sequence_starts_anew(void **state)
{
    static struct seen seen;

    (void)state;
    follow(&seen, truth.newest + 1000000);
    wait_until(is_fresh, &seen, LONG_MS, "a fresh feed");
    assert_int_equal(faas_feed_applied(seen.feed), truth.newest);
    pthread_mutex_lock(&seen.mu);
    for (int key = 0; key < KEYS; key++)
        assert_int_equal(seen.values[key], truth.values[key]);
    pthread_mutex_unlock(&seen.mu);
    process_on_loop(&reader, stop_feed, &seen);
}

/* More than one batch of the consumer that reads the stream. */
static void a_long_bucket_is_read_whole(void **state)
{
    static struct seen seen;
    faas_err err = {0};

    (void)state;
    for (int i = 0; i < MANY; i++) {
        char name[32];

        (void)snprintf(name, sizeof name, "many.%d", i);
        assert_ok(faas_kv_put(kv, name, 0, name, strlen(name) + 1, faas_deadline_in_ms(LONG_MS),
                              &truth.newest, &err));
    }
    follow(&seen, 0);
    wait_applied(&seen, truth.newest);
    assert_int_equal(atomic_load(&seen.events), KEYS + MANY);
    assert_equals_truth(&seen);
    process_on_loop(&reader, stop_feed, &seen);
}

/* The reader's server dies while changes go on, then the stream's leader, then both return. */
static void no_change_is_missed_over_the_death_of_servers(void **state)
{
    static struct seen seen;
    int victim, leader;

    (void)state;
    follow(&seen, 0);
    wait_until(is_fresh, &seen, LONG_MS, "a fresh feed");
    victim = nats_server_of(nats, "reader-r1-data");
    assert_in_range(victim, 0, 2);
    for (int i = 0; i < 60; i++) {
        if (i == 20)
            nats_kill(nats, victim);
        write_key(i % KEYS, 1000 + i);
    }
    wait_applied(&seen, truth.newest);
    assert_equals_truth(&seen);
    nats_restart(nats, victim);
    leader = nats_leader_of(nats, "KV_fed");
    for (int i = 0; i < 60; i++) {
        if (i == 20 && leader >= 0)
            nats_kill(nats, leader);
        write_key(i % KEYS, 2000 + i);
    }
    wait_applied(&seen, truth.newest);
    assert_equals_truth(&seen);
    if (leader >= 0)
        nats_restart(nats, leader);
    wait_until(is_fresh, &seen, LONG_MS, "a fresh feed again");
    process_on_loop(&reader, stop_feed, &seen);
}

static bool do_agree(void *arg)
{
    (void)arg;
    return nats_streams_agree(nats);
}

static void the_servers_hold_the_same_afterwards(void **state)
{
    (void)state;
    wait_until(do_agree, NULL, LONG_MS, "the same streams on all servers");
}

static void join(void *arg)
{
    struct faas_members_conf conf = {.service = "reader", .id = "r1"};
    faas_err err = {0};

    (void)arg;
    if (faas_members_start(reader.rpc, &conf, &members, &err) != FAAS_OK)
        members = NULL;
}

static void leave(void *arg)
{
    stop_feed(arg);
    faas_members_stop(members);
}

struct look {
    const faas_feed *feed;
    bool is_unanswered;
};

static void look_on_loop(void *arg)
{
    struct look *look = arg;

    look->is_unanswered = faas_feed_is_unanswered(look->feed);
}

static bool is_unanswered(const struct seen *seen)
{
    struct look look = {.feed = seen->feed};

    process_on_loop(&reader, look_on_loop, &look);
    return look.is_unanswered;
}

/* Nothing can have been acknowledged without us as long as all are heard. */
static bool is_leadless(void *arg)
{
    const struct seen *seen = arg;

    return is_unanswered(seen) && faas_feed_age_ms(seen->feed) > FAAS_FEED_STALE_MS &&
           faas_feed_may_serve(seen->feed);
}

static bool is_over(void *arg)
{
    return !faas_feed_may_serve(((struct seen *)arg)->feed);
}

/* Last: two of three servers stay dead.  A leader that is left alone notices after 10 to 20 s. */
static void without_a_leader_the_age_grows(void **state)
{
    static struct seen seen;
    int stays;

    (void)state;
    process_on_loop(&reader, join, NULL);
    assert_non_null(members);
    follow(&seen, UINT64_MAX);
    wait_until(is_fresh, &seen, LONG_MS, "a fresh feed");
    assert_false(is_unanswered(&seen));
    stays = nats_server_of(nats, "reader-r1-data");
    for (int i = 0; i < 3; i++) {
        if (i != stays)
            nats_kill(nats, i);
    }
    wait_until(is_not_fresh, &seen, LONG_MS, "an aged feed");
    wait_until(is_leadless, &seen, LONG_MS, "an old feed that still counts");
    wait_until(is_over, &seen, LONG_MS, "one that is too old");
    assert_true(faas_feed_age_ms(seen.feed) > FAAS_FEED_LEADLESS_MS);
    process_on_loop(&reader, leave, &seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_is_applied_once_in_order),
        cmocka_unit_test(a_burst_is_told_in_few_batches),
        cmocka_unit_test(the_reader_is_told_of_what_is_not_awaited_once_in_a_while),
        cmocka_unit_test(a_late_reader_gets_the_newest_of_each_key),
        cmocka_unit_test(a_reader_goes_on_from_its_stored_sequence),
        cmocka_unit_test(a_cache_sees_only_what_comes_later),
        cmocka_unit_test(a_reader_with_a_future_sequence_starts_anew),
        cmocka_unit_test(a_long_bucket_is_read_whole),
        cmocka_unit_test(no_change_is_missed_over_the_death_of_servers),
        cmocka_unit_test(the_servers_hold_the_same_afterwards),
        cmocka_unit_test(without_a_leader_the_age_grows),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
