/* Streams on a real server: who wins a race, what is removed, what a full one says. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "net/stream.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/unit/unit.h"

#define LONG_MS 30000
#define RACERS  20

static struct nats *nats;
static struct process member;
static faas_stream *stream, *small;

static int start(void **state)
{
    const struct faas_stream_conf conf = {
        .name = "THINGS", .subjects = "things.>", .max_bytes = -1, .replicas = 1};
    const struct faas_stream_conf full = {
        .name = "SMALL", .subjects = "small.>", .max_bytes = 4096, .replicas = 1};
    faas_err err = {0};

    (void)state;
    nats = nats_start(1, NULL);
    process_start(&member,
                  &(struct process_conf){.urls = nats_url(nats, 0), .service = "st", .id = "m0"});
    assert_ok(faas_stream_open(member.rpc, &conf, faas_deadline_in_ms(LONG_MS), &stream, &err));
    assert_ok(faas_stream_open(member.rpc, &full, faas_deadline_in_ms(LONG_MS), &small, &err));
    return 0;
}

static void close_streams(void *arg)
{
    (void)arg;
    faas_stream_close(stream);
    faas_stream_close(small);
}

static int stop(void **state)
{
    (void)state;
    process_stop(&member, close_streams, NULL);
    nats_stop(nats);
    return 0;
}

/* ---- from the test's thread ---- */

struct asked { /* one operation: what is wanted, and what came of it */
    enum { PUT, LAST, NEXT, DELETE, PURGE } what;
    faas_stream *on;
    const char *subject, *text;
    int64_t expected;
    uint64_t seq;
    uint64_t deadline_ns;
    pthread_mutex_t mu;
    pthread_cond_t woken;
    bool is_done;
    faas_code code;
    faas_err err;
    char got[64], got_subject[64];
    uint64_t got_seq;
};

static void done(void *arg, faas_code code, const struct faas_stream_msg *msg, const faas_err *err)
{
    struct asked *asked = arg;

    pthread_mutex_lock(&asked->mu);
    asked->code = code;
    asked->err = *err;
    if (msg != NULL) {
        asked->got_seq = msg->seq;
        (void)snprintf(asked->got, sizeof asked->got, "%.*s", (int)msg->len,
                       (const char *)msg->data);
        (void)snprintf(asked->got_subject, sizeof asked->got_subject, "%s",
                       msg->subject != NULL ? msg->subject : "");
    }
    asked->is_done = true;
    pthread_cond_signal(&asked->woken);
    pthread_mutex_unlock(&asked->mu);
}

static void on_loop(void *arg)
{
    struct asked *asked = arg;
    const struct faas_stream_put put = {.subject = asked->subject,
                                        .expected = asked->expected,
                                        .data = asked->text,
                                        .len = asked->text != NULL ? strlen(asked->text) : 0,
                                        .deadline_ns = asked->deadline_ns};

    switch (asked->what) {
    case PUT:
        faas_stream_put(asked->on, &put, done, asked);
        break;
    case LAST:
        faas_stream_last(asked->on, asked->subject, asked->deadline_ns, done, asked);
        break;
    case NEXT:
        faas_stream_next(asked->on, asked->seq, asked->subject, asked->deadline_ns, done, asked);
        break;
    case DELETE:
        faas_stream_delete(asked->on, asked->seq, asked->deadline_ns, done, asked);
        break;
    case PURGE:
        faas_stream_purge(asked->on, asked->subject, asked->deadline_ns, done, asked);
        break;
    }
}

static void begin(struct asked *asked)
{
    pthread_mutex_init(&asked->mu, NULL);
    pthread_cond_init(&asked->woken, NULL);
    if (asked->on == NULL)
        asked->on = stream;
    if (asked->deadline_ns == 0)
        asked->deadline_ns = faas_deadline_in_ms(LONG_MS);
    faas_loop_post(member.loop, on_loop, asked);
}

static faas_code end(struct asked *asked)
{
    pthread_mutex_lock(&asked->mu);
    while (!asked->is_done)
        pthread_cond_wait(&asked->woken, &asked->mu);
    pthread_mutex_unlock(&asked->mu);
    return asked->code;
}

static faas_code ask(struct asked *asked)
{
    begin(asked);
    return end(asked);
}

static uint64_t put(const char *subject, const char *text, int64_t expected)
{
    struct asked asked = {.what = PUT, .subject = subject, .text = text, .expected = expected};

    assert_int_equal(ask(&asked), FAAS_OK);
    return asked.got_seq;
}

/* ---- claims ---- */

static void a_subject_keeps_its_newest_message(void **state)
{
    struct asked last = {.what = LAST, .subject = "things.a"};
    uint64_t first = put("things.a", "one", 0), second = put("things.a", "two", (int64_t)first);

    (void)state;
    assert_true(second > first);
    assert_int_equal(ask(&last), FAAS_OK);
    assert_string_equal(last.got, "two");
    assert_string_equal(last.got_subject, "things.a");
    assert_int_equal(last.got_seq, second);
}

static void an_old_sequence_is_a_conflict_and_so_is_a_second_creation(void **state)
{
    uint64_t first = put("things.b", "one", 0);
    struct asked again = {.what = PUT, .subject = "things.b", .text = "x", .expected = 0};
    struct asked old = {
        .what = PUT, .subject = "things.b", .text = "x", .expected = (int64_t)first};

    (void)state;
    (void)put("things.b", "two", FAAS_STREAM_ANY);
    assert_int_equal(ask(&again), FAAS_CONFLICT);
    assert_int_equal(ask(&old), FAAS_CONFLICT);
}

static void of_20_creations_at_once_one_wins(void **state)
{
    struct asked racers[RACERS];
    int won = 0;

    (void)state;
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct asked){.what = PUT, .subject = "things.race", .text = "x"};
        begin(&racers[i]);
    }
    for (int i = 0; i < RACERS; i++)
        won += end(&racers[i]) == FAAS_OK;
    assert_int_equal(won, 1);
}

static void what_is_removed_is_gone_and_no_other(void **state)
{
    uint64_t seq = put("things.c.1", "one", 0);
    struct asked delete = {.what = DELETE, .seq = seq}, twice = {.what = DELETE, .seq = seq};
    struct asked last = {.what = LAST, .subject = "things.c.1"};
    struct asked other = {.what = LAST, .subject = "things.c.2"};

    (void)state;
    (void)put("things.c.2", "two", 0);
    assert_int_equal(ask(&delete), FAAS_OK);
    assert_int_equal(ask(&last), FAAS_NOT_FOUND);
    assert_int_equal(ask(&twice), FAAS_NOT_FOUND);
    assert_int_equal(ask(&other), FAAS_OK);
    (void)put("things.c.1", "again", 0); /* nothing is left that counts as there */
}

static void a_changed_message_is_not_removed_by_its_old_sequence(void **state)
{
    uint64_t old = put("things.d", "one", 0);
    struct asked delete = {.what = DELETE, .seq = old};
    struct asked last = {.what = LAST, .subject = "things.d"};

    (void)state;
    (void)put("things.d", "two", (int64_t)old);
    assert_int_equal(ask(&delete), FAAS_NOT_FOUND);
    assert_int_equal(ask(&last), FAAS_OK);
    assert_string_equal(last.got, "two");
}

static void a_filter_is_read_in_order_and_purged_alone(void **state)
{
    uint64_t from = put("things.e.1", "1", 0);
    struct asked first = {.what = NEXT, .subject = "things.e.*", .seq = from};
    struct asked second = {.what = NEXT, .subject = "things.e.*"};
    struct asked purge = {.what = PURGE, .subject = "things.e.*"};
    struct asked none = {.what = NEXT, .subject = "things.e.*", .seq = from};
    struct asked other = {.what = LAST, .subject = "things.f"};

    (void)state;
    (void)put("things.f", "f", 0);
    (void)put("things.e.2", "2", 0);
    assert_int_equal(ask(&first), FAAS_OK);
    assert_string_equal(first.got, "1");
    second.seq = first.got_seq + 1;
    assert_int_equal(ask(&second), FAAS_OK);
    assert_string_equal(second.got, "2");
    assert_int_equal(ask(&purge), FAAS_OK);
    assert_int_equal(ask(&none), FAAS_NOT_FOUND);
    assert_int_equal(ask(&other), FAAS_OK);
}

static void a_full_stream_refuses_at_once_and_keeps_what_it_has(void **state)
{
    char text[1000];
    struct asked last = {.what = LAST, .on = NULL, .subject = "small.0"};
    int kept = 0;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 8; i++) {
        char subject[32];
        struct asked more = {.what = PUT, .on = small, .subject = subject, .text = text};
        faas_code code;

        (void)snprintf(subject, sizeof subject, "small.%d", i);
        code = ask(&more);
        assert_true(code == FAAS_OK || code == FAAS_UNAVAILABLE);
        assert_true(code == FAAS_OK || strstr(more.err.msg, "full") != NULL);
        kept += code == FAAS_OK;
    }
    assert_in_range(kept, 1, 4);
    last.on = small;
    assert_int_equal(ask(&last), FAAS_OK);
}

static void without_a_server_the_store_is_unavailable_at_the_deadline(void **state)
{
    struct asked write = {.what = PUT, .subject = "things.late", .text = "x"};
    uint64_t deadline = faas_deadline_in_ms(700);

    (void)state;
    nats_kill(nats, 0);
    write.deadline_ns = deadline;
    assert_int_equal(ask(&write), FAAS_UNAVAILABLE);
    nats_restart(nats, 0);
    write.is_done = false;
    write.deadline_ns = faas_deadline_in_ms(LONG_MS);
    write.expected = FAAS_STREAM_ANY;
    assert_int_equal(ask(&write), FAAS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subject_keeps_its_newest_message),
        cmocka_unit_test(an_old_sequence_is_a_conflict_and_so_is_a_second_creation),
        cmocka_unit_test(of_20_creations_at_once_one_wins),
        cmocka_unit_test(what_is_removed_is_gone_and_no_other),
        cmocka_unit_test(a_changed_message_is_not_removed_by_its_old_sequence),
        cmocka_unit_test(a_filter_is_read_in_order_and_purged_alone),
        cmocka_unit_test(a_full_stream_refuses_at_once_and_keeps_what_it_has),
        cmocka_unit_test(without_a_server_the_store_is_unavailable_at_the_deadline),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
