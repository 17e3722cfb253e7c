/* The bus, requests and endpoints over a real server, without memory and when the connection takes
 * no more; the claims are in fault.h and fault_net.h. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/fault_net.h"
#include "tests/unit/unit.h"

#define LONG_MS  10000
#define SHORT_MS 500 /* of a request that is sent once: its answer may be lost */
#define USER     "0190a000-0000-7000-8000-000000000001"

static struct nats *nats;
static struct process client, server;

/* ---- a service ---- */

static faas_code on_echo(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    (void)state;
    *out_reply = json_pack("{s:O, s:s}", "body", call->body, "user", call->ctx->user);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode");
}

static faas_code on_refuse(void *state, const struct faas_call *call, json_t **out_reply,
                           faas_err *err)
{
    (void)state, (void)call, (void)out_reply;
    return faas_fail(err, FAAS_CONFLICT, "name: taken already");
}

static void on_raw(void *state, faas_msg *take_msg)
{
    (void)state;
    faas_rpc_answer(server.rpc, take_msg, faas_msg_data(take_msg), faas_msg_len(take_msg));
    faas_msg_free(take_msg);
}

static const struct faas_endpoint endpoints[] = {
    {.name = "echo", .subject = "test.echo", .queue = "q", .body_max = 1024, .handler = on_echo},
    {.name = "refuse", .subject = "test.refuse", .body_max = 64, .handler = on_refuse},
    {.name = "raw", .subject = "test.i.%s.raw", .body_max = 64, .on_message = on_raw},
    {.name = NULL},
};

static faas_code wait_for_echo(void *state, faas_err *err);

static int start(void **state)
{
    faas_err err = {0};

    (void)state;
    alarm(FAULT_PROGRAM_S);
    nats = nats_start(1, NULL);
    process_start(&server, &(struct process_conf){.urls = nats_urls(nats),
                                                  .service = "server",
                                                  .id = "s1",
                                                  .endpoints = endpoints});
    process_start(&client,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "client", .id = "c1"});
    assert_ok(wait_for_echo(NULL, &err)); /* the server's subscriptions are there */
    return 0;
}

static int stop(void **state)
{
    (void)state;
    process_stop(&client, NULL, NULL);
    process_stop(&server, NULL, NULL);
    nats_stop(nats);
    fault_calls_check();
    return 0;
}

/* ---- requests ---- */

static struct fault_call *ask(const char *subject, const char *body, enum faas_rpc_retry retry)
{
    const struct faas_header headers[] = {{"X-Further", "header"}, {NULL, NULL}};
    struct faas_ctx ctx = {.user = USER,
                           .deadline_ns =
                               faas_deadline_in_ms(retry == FAAS_RPC_SAFE ? LONG_MS : SHORT_MS)};
    struct faas_rpc_request req = {.subject = subject,
                                   .ctx = &ctx,
                                   .headers = headers,
                                   .data = body,
                                   .len = strlen(body),
                                   .retry = retry,
                                   .attempt_ms = 100};
    struct fault_call *call = fault_call_new();

    faas_rpc_call(client.rpc, &req, fault_on_reply, call);
    return call;
}

/* A machine may be too slow for SHORT_MS without any fault. */
static faas_code answer(const char *subject, const char *body, enum faas_rpc_retry retry,
                        struct fault_call **out_call, faas_err *err)
{
    faas_code rc;

    do {
        *out_call = ask(subject, body, retry);
        rc = fault_call_wait(*out_call, err);
    } while (rc == FAAS_TIMEOUT && strcmp(fault_met(), "none") == 0);
    if (retry == FAAS_RPC_SAFE && rc == FAAS_TIMEOUT)
        fail_msg("%s failed, and trying again did not help", fault_met());
    return rc;
}

static faas_code echo(enum faas_rpc_retry retry, faas_err *err)
{
    struct fault_call *call;

    FAAS_TRY(answer("test.echo", "{\"a\":[1,\"b\"]}", retry, &call, err));
    fault_pause(true);
    assert_string_equal(call->data, "{\"body\":{\"a\":[1,\"b\"]},\"user\":\"" USER "\"}");
    return FAAS_OK;
}

static faas_code echo_once(void *state, faas_err *err)
{
    (void)state;
    return echo(FAAS_RPC_ONCE, err);
}

static faas_code echo_safe(void *state, faas_err *err)
{
    (void)state;
    return echo(FAAS_RPC_SAFE, err);
}

static void a_request_is_answered_right_or_fails_once(void **state)
{
    (void)state;
    fault_each(echo_once, NULL, 40);
    fault_each(echo_safe, NULL, 40);
}

static faas_code raw(void *state, faas_err *err)
{
    struct fault_call *call;

    (void)state;
    FAAS_TRY(answer("test.i.s1.raw", "bytes", FAAS_RPC_SAFE, &call, err));
    assert_string_equal(call->data, "bytes");
    return FAAS_OK;
}

static void a_loop_endpoint_answers_or_is_asked_again(void **state)
{
    (void)state;
    fault_each(raw, NULL, 15);
}

/* Whatever fails on its way, a refusal is no success. */
static faas_code refused(void *state, faas_err *err)
{
    struct fault_call *call;
    faas_code rc = answer("test.refuse", "{}", FAAS_RPC_SAFE, &call, err);

    (void)state;
    if (rc == FAAS_OK)
        fail_msg("%s failed, and a refusal reads as an answer", fault_met());
    return rc == FAAS_CONFLICT ? FAAS_OK : rc;
}

static faas_code unheard(void *state, faas_err *err)
{
    struct fault_call *call;
    faas_code rc = answer("test.nobody", "{}", FAAS_RPC_ONCE, &call, err);

    (void)state;
    if (rc == FAAS_OK)
        fail_msg("%s failed, and nobody's answer reads as one", fault_met());
    return rc == FAAS_UNAVAILABLE ? FAAS_OK : rc;
}

static void no_refusal_reads_as_a_success(void **state)
{
    (void)state;
    fault_each(refused, NULL, 20);
    fault_each(unheard, NULL, 8);
}

static faas_code wait_for_echo(void *state, faas_err *err)
{
    struct faas_ctx ctx = {.user = USER, .deadline_ns = faas_deadline_in_ms(LONG_MS)};
    struct faas_rpc_request req = {
        .subject = "test.echo", .ctx = &ctx, .retry = FAAS_RPC_SAFE, .attempt_ms = 100};
    FAAS_AUTO(faas_msg) *msg = NULL;

    (void)state;
    FAAS_TRY(faas_rpc_wait(client.rpc, &req, &msg, err));
    fault_pause(true);
    assert_int_equal(faas_msg_len(msg), strlen("{\"body\":{},\"user\":\"" USER "\"}"));
    return FAAS_OK;
}

static void a_waiting_thread_is_told(void **state)
{
    (void)state;
    fault_each(wait_for_echo, NULL, 30);
}

/* ---- the service protocol ---- */

static faas_code discover(void *state, faas_err *err)
{
    struct fault_call *call;

    FAAS_TRY(answer(state, "", FAAS_RPC_SAFE, &call, err));
    assert_true(call->len > 60);
    assert_memory_equal(call->data, "{\"type\":\"io.nats.micro.v1.", 26);
    return FAAS_OK;
}

static void a_service_describes_itself_or_says_why_not(void **state)
{
    (void)state;
    fault_each(discover, (char[]){"$SRV.PING.server.s1"}, 40);
    fault_each(discover, (char[]){"$SRV.INFO.server.s1"}, 80);
    fault_each(discover, (char[]){"$SRV.STATS.server.s1"}, 100);
}

/* ---- inboxes ---- */

struct box {
    faas_inbox *inbox;
    faas_code rc;
    faas_err err;
    _Atomic int got;
};

static void on_box(void *arg, faas_msg *take_msg)
{
    atomic_fetch_add(&((struct box *)arg)->got, 1);
    faas_msg_free(take_msg);
}

static void open_box(void *arg)
{
    struct box *box = arg;

    box->rc = faas_inbox_open(client.rpc, on_box, box, &box->inbox, &box->err);
}

static void close_box(void *arg)
{
    faas_inbox_close(((struct box *)arg)->inbox);
}

static bool has_got(void *arg)
{
    return atomic_load(&((struct box *)arg)->got) > 0;
}

static faas_code send_to(const struct box *box, faas_err *err)
{
    struct faas_out out = {.subject = faas_inbox_subject(box->inbox), .data = "x", .len = 1};

    return faas_bus_publish(server.bus, FAAS_DATA, &out, err);
}

static faas_code receive(void *state, faas_err *err)
{
    struct box box = {.inbox = NULL};
    faas_code rc;

    (void)state;
    process_on_loop(&client, open_box, &box);
    if (box.rc != FAAS_OK) {
        *err = box.err;
        return box.rc;
    }
    rc = send_to(&box, err);
    if (rc == FAAS_OK)
        rc = fault_wait(has_got, &box, "a message", err);
    process_on_loop(&client, close_box, &box);
    assert_in_range(atomic_load(&box.got), rc == FAAS_OK ? 1 : 0, 1);
    return rc;
}

static void an_inbox_gets_a_message_or_loses_it(void **state)
{
    (void)state;
    fault_each(receive, NULL, 4);
}

/* ---- coming and going ---- */

struct guest { /* a member of its own; done by guest_leave(), however far it came */
    faas_loop *loop;
    faas_pool *pool;
    faas_bus *bus;
    faas_rpc *rpc;
    pthread_t thread;
    bool is_running;
    struct fault_call *drained;
};

static void on_guest(void *state, faas_msg *take_msg)
{
    struct guest *guest = state;

    faas_rpc_answer(guest->rpc, take_msg, "here", 4);
    faas_msg_free(take_msg);
}

static void *run_loop(void *arg)
{
    faas_loop_run(arg);
    return NULL;
}

static faas_code guest_come(struct guest *guest, faas_err *err)
{
    static const struct faas_endpoint rows[] = {
        {.name = "echo", .subject = "guest.echo", .queue = "q", .body_max = 9, .handler = on_echo},
        {.name = "own", .subject = "guest.%s", .body_max = 9, .on_message = on_guest},
        {.name = NULL},
    };
    struct faas_bus_conf bus = {.urls = nats_urls(nats), .service = "guest", .id = "g1"};
    struct faas_rpc_conf rpc = {
        .service = "guest", .id = "g1", .version = "0.1.0", .description = "a guest"};
    int errnum;

    FAAS_TRY(faas_loop_new(&guest->loop, err));
    FAAS_TRY(faas_pool_start(2, 8, &guest->pool, err));
    FAAS_TRY(faas_bus_open(&bus, guest->loop, &guest->bus, err));
    rpc.pool = guest->pool;
    FAAS_TRY(faas_rpc_open(guest->bus, &rpc, &guest->rpc, err));
    FAAS_TRY(faas_rpc_serve(guest->rpc, rows, guest, err));
    errnum = pthread_create(&guest->thread, NULL, run_loop, guest->loop);
    if (errnum != 0)
        return faas_fail_sys(err, errnum, "start a thread");
    guest->is_running = true;
    return FAAS_OK;
}

static void drain(void *arg)
{
    struct guest *guest = arg;

    faas_rpc_drain(guest->rpc, FAULT_HANG_MS / 2, fault_call_end, guest->drained);
}

static void guest_leave(struct guest *guest)
{
    faas_err err = {0};

    if (guest->is_running) {
        guest->drained = fault_call_new();
        faas_loop_post(guest->loop, drain, guest);
        assert_ok(fault_call_wait(guest->drained, &err));
    }
    faas_pool_stop(guest->pool);
    if (guest->is_running) {
        faas_loop_stop(guest->loop);
        pthread_join(guest->thread, NULL);
    }
    faas_rpc_close(guest->rpc);
    faas_bus_close(guest->bus, 0);
    faas_loop_free(guest->loop);
}

static faas_code visit(void *state, faas_err *err)
{
    struct guest guest = {.loop = NULL};
    struct fault_call *call;
    faas_code rc = guest_come(&guest, err);

    (void)state;
    if (rc == FAAS_OK)
        rc = answer("guest.g1", "?", FAAS_RPC_SAFE, &call, err);
    if (rc == FAAS_OK)
        assert_string_equal(call->data, "here");
    guest_leave(&guest);
    return rc;
}

static bool has_left(void *arg)
{
    (void)arg;
    return fault_subscriptions(nats, "guest-g1-data") == -1;
}

static void a_member_comes_whole_or_not_at_all(void **state)
{
    (void)state;
    fault_each(visit, NULL, 30);
    wait_until(has_left, NULL, 5000, "the server has no connection of the member's");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_answered_right_or_fails_once),
        cmocka_unit_test(a_loop_endpoint_answers_or_is_asked_again),
        cmocka_unit_test(no_refusal_reads_as_a_success),
        cmocka_unit_test(a_waiting_thread_is_told),
        cmocka_unit_test(a_service_describes_itself_or_says_why_not),
        cmocka_unit_test(an_inbox_gets_a_message_or_loses_it),
        cmocka_unit_test(a_member_comes_whole_or_not_at_all),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
