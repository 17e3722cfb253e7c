/* Receipts over one real server: answers that only say that a request came. */
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/unit/unit.h"

static struct nats *nats;
static struct process client, server;

static void on_event(void *state, faas_msg *take_msg)
{
    (void)state;
    faas_rpc_answer_receipt(server.rpc, take_msg);
    faas_msg_free(take_msg);
}

static const struct faas_endpoint endpoints[] = {
    {.name = "event", .subject = "test.event", .body_max = 64, .on_message = on_event},
    {.name = NULL},
};

static int start(void **state)
{
    (void)state;
    nats = nats_start(1, NULL);
    process_start(&server, &(struct process_conf){.urls = nats_urls(nats),
                                                  .service = "server",
                                                  .id = "s1",
                                                  .endpoints = endpoints});
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

#define EVENTS 40

struct receipts {
    bool is_receipt;
    _Atomic int done, bad;
    _Atomic int messages; /* that brought them: the newest is kept to tell it from the next */
    const void *newest;
};

static void on_receipt(void *arg, const struct faas_rpc_reply *reply)
{
    struct receipts *got = arg;

    if (reply->code != FAAS_OK || reply->msg == NULL)
        atomic_fetch_add(&got->bad, 1);
    else if (reply->msg != got->newest ||
             strcmp(strrchr(faas_msg_subject(reply->msg), '.'), ".many") != 0)
        atomic_fetch_add(&got->messages, 1);
    got->newest = reply->msg;
    atomic_fetch_add(&got->done, 1);
}

/* In one turn of the loop, so that they arrive together. */
static void send_events(void *arg)
{
    struct receipts *got = arg;
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(5000)};
    struct faas_rpc_request req = {.subject = "test.event",
                                   .ctx = &ctx,
                                   .retry = FAAS_RPC_SAFE,
                                   .is_receipt = got->is_receipt};

    for (int i = 0; i < EVENTS; i++)
        faas_rpc_call(client.rpc, &req, on_receipt, got);
}

static bool has_all_receipts(void *arg)
{
    return atomic_load(&((struct receipts *)arg)->done) == EVENTS;
}

static void receipts_come_several_in_a_message(void **state)
{
    static struct receipts got;

    (void)state;
    got = (struct receipts){.is_receipt = true};
    process_on_loop(&client, send_events, &got);
    wait_until(has_all_receipts, &got, 3000, "a receipt for each");
    assert_int_equal(atomic_load(&got.bad), 0);
    assert_in_range(atomic_load(&got.messages), 1, EVENTS / 2);
}

/* As a client of an earlier version. */
static void who_does_not_ask_for_receipts_gets_an_answer_each(void **state)
{
    static struct receipts got;

    (void)state;
    got = (struct receipts){.is_receipt = false};
    process_on_loop(&client, send_events, &got);
    wait_until(has_all_receipts, &got, 3000, "an answer to each");
    assert_int_equal(atomic_load(&got.bad), 0);
    assert_int_equal(atomic_load(&got.messages), EVENTS);
}

/* What somebody else's hand could write there ends nothing and breaks nothing. */
static void receipts_of_nothing_are_passed_over(void **state)
{
    static const char text[] =
        "\n\n0000000000000000\nfar-too-long-for-any-token-of-ours-whatever\nx";
    char subject[200];
    struct faas_out out = {.subject = subject, .data = text, .len = sizeof text - 1};
    faas_err err = {0};
    static struct receipts got;

    (void)state;
    (void)snprintf(subject, sizeof subject, "%s.many", faas_bus_inbox(client.bus));
    assert_ok(faas_bus_publish(client.bus, FAAS_DATA, &out, &err));
    got = (struct receipts){.is_receipt = true}; /* behind it on the same connection */
    process_on_loop(&client, send_events, &got);
    wait_until(has_all_receipts, &got, 3000, "a receipt for each");
    assert_int_equal(atomic_load(&got.bad), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receipts_come_several_in_a_message),
        cmocka_unit_test(who_does_not_ask_for_receipts_gets_an_answer_each),
        cmocka_unit_test(receipts_of_nothing_are_passed_over),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
