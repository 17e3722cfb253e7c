/* The bus itself, where a connection is lost or encrypted: nothing crossed, in order, none too many. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/bus_internal.h"
#include "tests/support/cert.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/unit/unit.h"

#define LONG_MS  20000
#define SUBJECT  "faas.test.bus"
#define LARGE    (512 * 1024)
#define MESSAGES 200

static struct nats *nats;
static struct process sender, receiver;
static faas_sub *sub;
static int said; /* messages */

/* ---- what has arrived ---- */

static struct {
    pthread_mutex_t mu;
    int count; /* guarded by mu, like what follows */
    int next;  /* number of the message that is due */
    bool is_strange;
} heard = {.mu = PTHREAD_MUTEX_INITIALIZER};

static void fill(char *data, size_t len, int number)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (char)('a' + (i * 7 + (size_t)number) % 26);
}

/* "<number> <letters>": all of one message, and behind the one before it. */
static void on_message(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(char) *expected = malloc(faas_msg_len(msg) + 1);
    const char *space = memchr(faas_msg_data(msg), ' ', faas_msg_len(msg));
    int number = (int)strtol(faas_msg_data(msg), NULL, 10);
    size_t head;

    (void)arg;
    pthread_mutex_lock(&heard.mu);
    head = space != NULL ? (size_t)(space - (const char *)faas_msg_data(msg)) + 1 : 0;
    fill(expected, faas_msg_len(msg) - head, number);
    if (space == NULL || number < heard.next ||
        memcmp(space + 1, expected, faas_msg_len(msg) - head) != 0)
        heard.is_strange = true;
    heard.next = number + 1;
    heard.count++;
    pthread_mutex_unlock(&heard.mu);
}

static bool has_heard(void *arg)
{
    bool has;

    pthread_mutex_lock(&heard.mu);
    has = heard.count >= *(const int *)arg || heard.is_strange;
    pthread_mutex_unlock(&heard.mu);
    return has;
}

static bool is_past(void *arg)
{
    bool is;

    pthread_mutex_lock(&heard.mu);
    is = heard.next >= *(const int *)arg || heard.is_strange;
    pthread_mutex_unlock(&heard.mu);
    return is;
}

static void assert_nothing_strange(void)
{
    pthread_mutex_lock(&heard.mu);
    assert_false(heard.is_strange);
    pthread_mutex_unlock(&heard.mu);
}

static void say(int number, size_t len)
{
    FAAS_AUTO(char) *text = malloc(len + 16);
    int head = snprintf(text, 16, "%d ", number);
    struct faas_out out = {.subject = SUBJECT, .data = text, .len = (size_t)head + len};
    faas_err err = {0};

    fill(text + head, len, number);
    assert_ok(faas_bus_publish(sender.bus, FAAS_DATA, &out, &err));
}

/* Says more until something is heard: from then on the server knows both. */
static void settle(void)
{
    uint64_t deadline = faas_deadline_in_ms(LONG_MS);
    int target;

    pthread_mutex_lock(&heard.mu);
    target = heard.count + 1;
    pthread_mutex_unlock(&heard.mu);
    while (!has_heard(&target)) {
        assert_true(faas_left_ms(deadline) > 0);
        say(said++, 8);
        usleep(10000);
    }
}

/* ---- setting up ---- */

static void join(const char *extra, const char *ca_file)
{
    faas_err err = {0};

    heard.count = heard.next = said = 0; /* nobody else runs yet */
    heard.is_strange = false;
    nats = nats_start(1, extra);
    process_start(
        &sender, &(struct process_conf){
                     .urls = nats_urls(nats), .service = "sender", .id = "s1", .ca_file = ca_file});
    process_start(&receiver, &(struct process_conf){.urls = nats_urls(nats),
                                                    .service = "receiver",
                                                    .id = "r1",
                                                    .ca_file = ca_file});
    assert_ok(
        faas_bus_subscribe(receiver.bus, FAAS_DATA, SUBJECT, NULL, on_message, NULL, &sub, &err));
    settle();
}

static void leave_sub(void *arg)
{
    faas_sub_free(arg);
}

static int leave(void **state)
{
    (void)state;
    process_stop(&sender, NULL, NULL);
    process_stop(&receiver, leave_sub, sub);
    nats_stop(nats);
    return 0;
}

/* ---- claims ---- */

static void what_is_published_while_a_server_is_away_comes_in_order(void **state)
{
    (void)state;
    join(NULL, NULL);
    for (int round = 0; round < 3; round++) {
        nats_kill(nats, 0);
        for (int i = 0; i < MESSAGES; i++)
            say(said++, 32);
        nats_launch(nats, 0);
        settle(); /* who subscribes again after the sender has sent misses what came before */
    }
    assert_nothing_strange();
}

static void too_much_for_a_server_that_is_away_is_refused(void **state)
{
    static char block[1024 * 1024];
    struct faas_out out = {.subject = SUBJECT, .data = block, .len = sizeof block};
    faas_code rc = FAAS_OK;
    faas_err err = {0};

    (void)state;
    join(NULL, NULL);
    nats_kill(nats, 0);
    for (int i = 0; i < 64 && rc == FAAS_OK; i++)
        rc = faas_bus_publish(sender.bus, FAAS_DATA, &out, &err);
    assert_int_equal(rc, FAAS_UNAVAILABLE);
    nats_launch(nats, 0);
}

static void it_speaks_tls_and_keeps_to_it(void **state)
{
    char dir[] = "/tmp/faas-bus-XXXXXX", cert[64], key[64], trust[64], extra[256];
    int last;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    (void)snprintf(key, sizeof key, "%s/key.pem", dir);
    (void)snprintf(trust, sizeof trust, "%s/trust.pem", dir);
    (void)snprintf(extra, sizeof extra, "tls { cert_file: \"%s\", key_file: \"%s\" }\n", cert, key);
    cert_make(1, cert, key, trust);
    join(extra, trust);
    last = said + 20;
    while (said < last)
        say(said++, LARGE); /* many records of TLS, and more than a socket holds */
    wait_until(is_past, &last, LONG_MS, "all of them");
    nats_kill(nats, 0);
    nats_launch(nats, 0);
    settle();
    assert_nothing_strange();
    unlink(cert);
    unlink(key);
    unlink(trust);
    rmdir(dir);
}

static void stop_loop(void *loop)
{
    faas_loop_stop(loop);
}

/* No turn of the loop takes the offers over. */
static void wait_for_offers(faas_bus *bus)
{
    uint64_t deadline = faas_deadline_in_ms(LONG_MS);

    for (int i = 0; i < FAAS_LANES; i++) {
        struct faas_link *offer = NULL;

        while (offer == NULL) {
            assert_true(faas_left_ms(deadline) > 0);
            usleep(1000);
            pthread_mutex_lock(&bus->mu);
            offer = bus->lanes[i].offer;
            pthread_mutex_unlock(&bus->mu);
        }
    }
}

static bool has_left(void *name)
{
    return nats_server_of(nats, name) == -1;
}

static void it_closes_while_a_connection_is_on_offer(void **state)
{
    struct faas_bus_conf conf = {.service = "guest", .id = "g1"};
    faas_loop *loop = NULL;
    faas_bus *bus = NULL;
    faas_err err = {0};

    (void)state;
    join(NULL, NULL);
    conf.urls = nats_urls(nats);
    assert_ok(faas_loop_new(&loop, &err));
    assert_ok(faas_bus_open(&conf, loop, &bus, &err));
    nats_kill(nats, 0);
    for (int i = 0; i < FAAS_LANES; i++)
        while (bus->lanes[i].link != NULL) /* the loop's: nobody else runs it */
            ev_run(faas_loop_ev(loop), EVRUN_ONCE);
    nats_launch(nats, 0);
    wait_for_offers(bus);
    faas_bus_close(bus, 0);
    faas_loop_post(loop, stop_loop, loop);
    faas_loop_run(loop); /* what was told of the offers finds none */
    faas_loop_free(loop);
    wait_until(has_left, "guest-g1-data", LONG_MS, "the server has no connection of the bus's");
    wait_until(has_left, "guest-g1-control", LONG_MS, "nor the other one");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_is_published_while_a_server_is_away_comes_in_order, leave),
        cmocka_unit_test_teardown(too_much_for_a_server_that_is_away_is_refused, leave),
        cmocka_unit_test_teardown(it_speaks_tls_and_keeps_to_it, leave),
        cmocka_unit_test_teardown(it_closes_while_a_connection_is_on_offer, leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
