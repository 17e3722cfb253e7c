/* Requests that may be repeated survive the death of any server: none fails, whichever dies. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/unit/unit.h"

#define LONG_MS 20000
#define ASKERS  4
#define FIRST   200 /* answers before the trouble */
#define AFTER   500 /* answers after it */

static struct nats *nats;
static struct process client, server;

static faas_code on_echo(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    (void)state;
    (void)err;
    *out_reply = json_incref(call->body);
    return FAAS_OK;
}

static const struct faas_endpoint endpoints[] = {
    {.name = "echo", .subject = "test.echo", .queue = "q", .body_max = 1024, .handler = on_echo},
    {.name = NULL},
};

static void start_server(const char *urls)
{
    process_start(&server,
                  &(struct process_conf){
                      .urls = urls, .service = "server", .id = "s1", .endpoints = endpoints});
}

static int start(void **state)
{
    (void)state;
    nats = nats_start(3, NULL);
    start_server(nats_urls(nats));
    process_start(&client,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "client", .id = "c1"});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    process_stop(&client, NULL, NULL);
    process_stop(&server, NULL, NULL);
    nats_stop(nats);
    return 0;
}

/* ---- load ---- */

struct load {
    pthread_t threads[ASKERS];
    _Atomic bool must_stop;
    _Atomic int done, failed;
    _Atomic int64_t worst_ms;
    pthread_mutex_t mu;
    faas_err first; /* guarded by mu: the first failure */
};

static void note(struct load *load, faas_code rc, const faas_err *err, int64_t ms)
{
    int64_t worst = atomic_load(&load->worst_ms);

    while (ms > worst && !atomic_compare_exchange_weak(&load->worst_ms, &worst, ms))
        ;
    if (rc != FAAS_OK) {
        pthread_mutex_lock(&load->mu);
        if (atomic_fetch_add(&load->failed, 1) == 0)
            load->first = *err;
        pthread_mutex_unlock(&load->mu);
    }
    atomic_fetch_add(&load->done, 1);
}

static void *keep_asking(void *arg)
{
    struct load *load = arg;
    struct timespec pause = {.tv_nsec = 1000000};

    while (!atomic_load(&load->must_stop)) {
        struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(5000)};
        struct faas_rpc_request req = {
            .subject = "test.echo", .ctx = &ctx, .data = "{}", .len = 2, .retry = FAAS_RPC_SAFE};
        FAAS_AUTO(faas_msg) *msg = NULL;
        faas_err err = {0};
        uint64_t began = faas_now_ns();
        faas_code rc = faas_rpc_wait(client.rpc, &req, &msg, &err);

        note(load, rc, &err, (int64_t)((faas_now_ns() - began) / FAAS_MS_NS));
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void load_start(struct load *load)
{
    memset(load, 0, sizeof *load);
    pthread_mutex_init(&load->mu, NULL);
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_create(&load->threads[i], NULL, keep_asking, load), 0);
}

static void load_stop(struct load *load)
{
    atomic_store(&load->must_stop, true);
    for (int i = 0; i < ASKERS; i++)
        pthread_join(load->threads[i], NULL);
    print_message("%d requests, %d failed, slowest %lld ms\n", atomic_load(&load->done),
                  atomic_load(&load->failed), (long long)atomic_load(&load->worst_ms));
    if (atomic_load(&load->failed) > 0)
        fail_msg("%d failed, first: %s (%s)", atomic_load(&load->failed), load->first.msg,
                 load->first.detail);
}

struct goal {
    struct load *load;
    int done;
};

static bool is_reached(void *arg)
{
    const struct goal *goal = arg;

    return atomic_load(&goal->load->done) >= goal->done;
}

static void wait_done(struct load *load, int more)
{
    struct goal goal = {load, atomic_load(&load->done) + more};

    wait_until(is_reached, &goal, LONG_MS, "answers");
}

static int server_of(const char *name)
{
    int which = nats_server_of(nats, name);

    assert_in_range(which, 0, 2);
    return which;
}

/* ---- the claims ---- */

static void kill_under_load(const char *whose, struct load *load)
{
    int victim = server_of(whose);

    load_start(load);
    wait_done(load, FIRST);
    nats_kill(nats, victim);
    wait_done(load, AFTER);
    nats_restart(nats, victim);
    wait_done(load, AFTER);
    load_stop(load);
}

static void none_fails_when_the_askers_server_is_killed(void **state)
{
    static struct load load;

    (void)state;
    kill_under_load("client-c1-data", &load);
}

static void none_fails_when_the_answerers_server_is_killed(void **state)
{
    static struct load load;

    (void)state;
    kill_under_load("server-s1-data", &load);
}

/* It takes 0.6 s to find out: the pings of the client.  The answerer is elsewhere: what is routed
 * to a frozen server's own clients is lost until somebody kills it, which a watchdog must do. */
static void none_fails_when_the_askers_server_freezes(void **state)
{
    static struct load load;
    int victim, away;

    (void)state;
    victim = server_of("client-c1-data");
    away = (victim + 1) % 3;
    process_stop(&server, NULL, NULL);
    start_server(nats_url(nats, away));
    load_start(&load);
    wait_done(&load, FIRST);
    nats_pause(nats, victim);
    wait_done(&load, AFTER);
    nats_resume(nats, victim);
    wait_done(&load, AFTER);
    load_stop(&load);
}

static bool is_connected(void *arg)
{
    return faas_bus_is_connected(((struct process *)arg)->bus);
}

static bool is_not_connected(void *arg)
{
    return !is_connected(arg);
}

/* All of them gone for a moment: requests wait and then go through. */
static void requests_wait_out_the_loss_of_all_servers(void **state)
{
    static struct load load;

    (void)state;
    load_start(&load);
    wait_done(&load, FIRST);
    for (int i = 0; i < 3; i++)
        nats_kill(nats, i);
    wait_until(is_not_connected, &client, LONG_MS, "no connection");
    for (int i = 0; i < 3; i++)
        nats_launch(nats, i);
    wait_until(is_connected, &client, LONG_MS, "a connection");
    wait_done(&load, AFTER);
    load_stop(&load);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_fails_when_the_askers_server_is_killed),
        cmocka_unit_test(none_fails_when_the_answerers_server_is_killed),
        cmocka_unit_test(none_fails_when_the_askers_server_freezes),
        cmocka_unit_test(requests_wait_out_the_loss_of_all_servers),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
