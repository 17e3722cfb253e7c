/* Requests, replies and endpoints over one real server. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/unit/unit.h"

#define MS(n) ((uint64_t)(n)*FAAS_MS_NS)

static struct nats *nats;
static struct process client, server;

/* ---- a service ---- */

static _Atomic int runs;                                 /* handler calls so far */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* on_gate waits for it */

static faas_code on_echo(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    (void)state;
    (void)err;
    atomic_fetch_add(&runs, 1);
    *out_reply =
        json_pack("{s:O, s:s, s:s, s:b}", "body", call->body, "user", call->ctx->user, "id",
                  call->ctx->id, "deadline", call->ctx->deadline_ns < faas_now_ns() + MS(5000));
    return FAAS_OK;
}

static faas_code on_refuse(void *state, const struct faas_call *call, json_t **out_reply,
                           faas_err *err)
{
    (void)state;
    (void)call;
    (void)out_reply;
    faas_fail(err, FAAS_CONFLICT, "name: taken already");
    return faas_err_detail(err, "secret detail");
}

static faas_code on_gate(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    (void)state;
    (void)call;
    (void)out_reply;
    (void)err;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return FAAS_OK;
}

/* As handlers do that wait for a store which does not come back. */
static faas_code on_wait(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    (void)state;
    (void)out_reply;
    poll(NULL, 0, (int)faas_left_ms(call->ctx->deadline_ns));
    return faas_fail(err, FAAS_UNAVAILABLE, "the store is away");
}

static void on_raw(void *state, faas_msg *take_msg)
{
    (void)state;
    faas_rpc_answer(server.rpc, take_msg, faas_msg_data(take_msg), faas_msg_len(take_msg));
    faas_msg_free(take_msg);
}

static void on_silence(void *state, faas_msg *take_msg)
{
    (void)state;
    faas_msg_free(take_msg);
}

static const struct faas_endpoint endpoints[] = {
    {.name = "echo", .subject = "test.echo", .queue = "q", .body_max = 1024, .handler = on_echo},
    {.name = "refuse",
     .subject = "test.refuse",
     .queue = "q",
     .body_max = 64,
     .handler = on_refuse},
    {.name = "gate", .subject = "test.gate", .queue = "q", .body_max = 64, .handler = on_gate},
    {.name = "wait", .subject = "test.wait", .queue = "q", .body_max = 64, .handler = on_wait},
    {.name = "raw", .subject = "test.i.%s.raw", .body_max = 2000000, .on_message = on_raw},
    {.name = "silence", .subject = "test.silence", .body_max = 64, .on_message = on_silence},
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

/* ---- asking ---- */

static faas_code ask(const char *subject, const char *body, int64_t ms, json_t **out_doc,
                     faas_err *err)
{
    struct faas_ctx ctx = {.user = "0190a000-0000-7000-8000-000000000001",
                           .id = "0190a000-0000-7000-8000-000000000002",
                           .deadline_ns = faas_deadline_in_ms(ms)};
    struct faas_rpc_request req = {
        .subject = subject, .ctx = &ctx, .data = body, .len = strlen(body)};
    FAAS_AUTO(faas_msg) *msg = NULL;

    *out_doc = NULL;
    FAAS_TRY(faas_rpc_wait(client.rpc, &req, &msg, err));
    if (faas_msg_len(msg) > 0)
        *out_doc = json_loadb(faas_msg_data(msg), faas_msg_len(msg), 0, NULL);
    return FAAS_OK;
}

static void a_reply_carries_the_handlers_json(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(ask("test.echo", "{\"a\":1}", 2000, &doc, &err));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(doc, "body"), "a")), 1);
    assert_string_equal(json_string_value(json_object_get(doc, "user")),
                        "0190a000-0000-7000-8000-000000000001");
    assert_string_equal(json_string_value(json_object_get(doc, "id")),
                        "0190a000-0000-7000-8000-000000000002");
    assert_true(json_is_true(json_object_get(doc, "deadline")));
}

static void an_empty_body_reads_as_an_empty_object(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(ask("test.echo", "", 2000, &doc, &err));
    assert_int_equal(json_object_size(json_object_get(doc, "body")), 0);
}

static void an_error_travels_as_code_and_text_without_detail(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};

    (void)state;
    assert_int_equal(ask("test.refuse", "{}", 2000, &doc, &err), FAAS_CONFLICT);
    assert_string_equal(err.msg, "name: taken already");
    assert_null(strstr(err.detail, "secret"));
}

static void bodies_that_are_not_one_object_are_invalid(void **state)
{
    static const char *const bodies[] = {"[1]", "{\"a\":1,\"a\":2}", "{} x", "{", "\xff"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bodies); i++) {
        FAAS_AUTO(json_t) *doc = NULL;
        faas_err err = {0};

        assert_int_equal(ask("test.echo", bodies[i], 2000, &doc, &err), FAAS_INVALID);
    }
}

static void a_body_above_the_limit_is_refused_with_the_limit(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    char body[1026] = "{}";
    faas_err err = {0};

    (void)state;
    memset(body + 2, ' ', 1022);
    assert_ok(ask("test.echo", body, 2000, &doc, &err));
    json_decref(FAAS_STEAL(doc));
    body[1024] = ' ';
    assert_int_equal(ask("test.echo", body, 2000, &doc, &err), FAAS_TOO_LARGE);
    assert_contains(err.msg, "1024 bytes");
}

static void nobody_listening_is_unavailable_at_once(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    uint64_t began = faas_now_ns();
    faas_err err = {0};

    (void)state;
    assert_int_equal(ask("test.nobody", "{}", 5000, &doc, &err), FAAS_UNAVAILABLE);
    assert_true(faas_now_ns() < began + MS(1000));
}

static void silence_is_a_timeout_at_the_deadline(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    uint64_t began = faas_now_ns();
    faas_err err = {0};

    (void)state;
    assert_int_equal(ask("test.silence", "{}", 150, &doc, &err), FAAS_TIMEOUT);
    assert_true(faas_now_ns() >= began + MS(150));
    assert_true(faas_now_ns() < began + MS(1000));
}

static void a_handler_that_used_all_its_time_still_says_why(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};

    (void)state;
    assert_int_equal(ask("test.wait", "{}", 3000, &doc, &err), FAAS_UNAVAILABLE);
    assert_contains(err.msg, "the store is away");
}

static void a_request_whose_time_is_up_is_not_run(void **state)
{
    struct faas_header late[] = {{"Faas-Time-Left-Ms", "0"}, {NULL, NULL}};
    struct faas_out out = {.subject = "test.echo", .headers = late};
    int before = atomic_load(&runs);
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(faas_bus_publish(client.bus, FAAS_DATA, &out, &err));
    assert_ok(ask("test.echo", "{}", 2000, &doc, &err)); /* taken after it by the same pool */
    assert_int_equal(atomic_load(&runs), before + 1);
}

static void loop_endpoints_get_and_return_raw_bytes(void **state)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(5000)};
    static char bytes[1500000];
    struct faas_rpc_request req = {
        .subject = "test.i.s1.raw", .ctx = &ctx, .data = bytes, .len = sizeof bytes};
    FAAS_AUTO(faas_msg) *msg = NULL;
    faas_err err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 31 >> 3);
    assert_ok(faas_rpc_wait(client.rpc, &req, &msg, &err));
    assert_int_equal(faas_msg_len(msg), sizeof bytes);
    assert_memory_equal(faas_msg_data(msg), bytes, sizeof bytes);
}

struct tally {
    _Atomic int busy, done;
};

static void count_busy(void *arg, const struct faas_rpc_reply *reply)
{
    struct tally *tally = arg;

    if (reply->code == FAAS_BUSY)
        atomic_fetch_add(&tally->busy, 1);
    atomic_fetch_add(&tally->done, 1);
}

static bool has_300(void *arg)
{
    return atomic_load(&((struct tally *)arg)->done) == 300;
}

static bool has_40_busy(void *arg)
{
    return atomic_load(&((struct tally *)arg)->busy) >= 40;
}

/* The pool of the server: 4 threads, 256 waiting. */
static void a_full_queue_answers_busy(void **state)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(10000)};
    struct faas_rpc_request req = {.subject = "test.gate", .ctx = &ctx};
    static struct tally tally;

    (void)state;
    pthread_mutex_lock(&gate);
    for (int i = 0; i < 300; i++)
        faas_rpc_call(client.rpc, &req, count_busy, &tally);
    wait_until(has_40_busy, &tally, 5000, "busy answers");
    pthread_mutex_unlock(&gate);
    wait_until(has_300, &tally, 5000, "every answer");
    assert_in_range(atomic_load(&tally.busy), 40, 44);
}

static void a_safe_request_waits_for_its_service(void **state)
{
    static const struct faas_endpoint late[] = {
        {.name = "late", .subject = "test.late", .body_max = 64, .on_message = on_raw},
        {.name = NULL},
    };
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(10000)};
    struct faas_rpc_request req = {
        .subject = "test.late", .ctx = &ctx, .retry = FAAS_RPC_SAFE, .data = "x", .len = 1};
    static struct tally tally;
    FAAS_AUTO(faas_msg) *msg = NULL;
    faas_err err = {0};

    (void)state;
    faas_rpc_call(client.rpc, &req, count_busy, &tally);
    assert_ok(faas_rpc_serve(server.rpc, late, NULL, &err));
    assert_ok(faas_rpc_wait(client.rpc, &req, &msg, &err));
    assert_int_equal(faas_msg_len(msg), 1);
    ctx.deadline_ns = faas_deadline_in_ms(100);
    req.subject = "test.never";
    assert_int_equal(faas_rpc_wait(client.rpc, &req, &msg, &err), FAAS_UNAVAILABLE);
}

static void a_header_with_a_control_character_is_invalid(void **state)
{
    struct faas_header bad[] = {{"X", "a\r\nEvil: b"}, {NULL, NULL}};
    struct faas_out out = {.subject = "test.echo", .headers = bad};
    faas_err err = {0};

    (void)state;
    assert_int_equal(faas_bus_publish(client.bus, FAAS_DATA, &out, &err), FAAS_INVALID);
}

static void a_blocking_call_on_the_loop_is_refused(void **state);

static void call_blocking(void *arg)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(100)};
    struct faas_rpc_request req = {.subject = "test.echo", .ctx = &ctx};
    FAAS_AUTO(faas_msg) *msg = NULL;
    faas_err err = {0};

    *(faas_code *)arg = faas_rpc_wait(client.rpc, &req, &msg, &err);
}

static void a_blocking_call_on_the_loop_is_refused(void **state)
{
    faas_code rc = FAAS_OK;

    (void)state;
    process_on_loop(&client, call_blocking, &rc);
    assert_int_equal(rc, FAAS_INTERNAL);
}

/* ---- inboxes ---- */

struct inbox {
    faas_inbox *inbox;
    char label[FAAS_INBOX_LABEL]; /* of the newest message */
    _Atomic int got, unheard;
};

static void on_inbox(void *arg, faas_msg *take_msg)
{
    struct inbox *inbox = arg;

    faas_inbox_label(inbox->inbox, take_msg, inbox->label);
    atomic_fetch_add(&inbox->unheard, faas_msg_is_no_responders(take_msg));
    atomic_fetch_add(&inbox->got, 1);
    faas_msg_free(take_msg);
}

static void open_inbox(void *arg)
{
    struct inbox *inbox = arg;
    faas_err err = {0};

    if (faas_inbox_open(client.rpc, on_inbox, inbox, &inbox->inbox, &err) != FAAS_OK)
        inbox->inbox = NULL;
}

static void close_inbox(void *arg)
{
    struct inbox *inbox = arg;

    faas_inbox_close(FAAS_STEAL(inbox->inbox));
}

static bool has_2(void *arg)
{
    return atomic_load(&((struct inbox *)arg)->got) == 2;
}

static bool has_3(void *arg)
{
    return atomic_load(&((struct inbox *)arg)->got) == 3;
}

static void an_inbox_gets_a_stream_of_messages_until_closed(void **state)
{
    static struct inbox inbox;
    char subject[200];
    struct faas_out out = {.subject = subject, .data = "x", .len = 1};
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};

    (void)state;
    process_on_loop(&client, open_inbox, &inbox);
    assert_non_null(inbox.inbox);
    (void)snprintf(subject, sizeof subject, "%s", faas_inbox_subject(inbox.inbox));
    for (int i = 0; i < 3; i++)
        assert_ok(faas_bus_publish(server.bus, FAAS_DATA, &out, &err));
    wait_until(has_3, &inbox, 2000, "three messages");
    process_on_loop(&client, close_inbox, &inbox);
    assert_ok(faas_bus_publish(client.bus, FAAS_DATA, &out, &err));
    assert_ok(ask("test.echo", "{}", 2000, &doc, &err)); /* behind it on the same connection */
    assert_int_equal(atomic_load(&inbox.got), 3);
}

static bool has_1_unheard(void *arg)
{
    return atomic_load(&((struct inbox *)arg)->unheard) == 1;
}

static void that_nobody_listened_is_said_with_the_messages_label(void **state)
{
    static struct inbox inbox;
    char reply[FAAS_INBOX_SUBJECT];
    struct faas_out out = {.subject = "test.nobody", .reply = reply, .data = "x", .len = 1};
    faas_err err = {0};

    (void)state;
    process_on_loop(&client, open_inbox, &inbox);
    assert_non_null(inbox.inbox);
    faas_inbox_labelled(inbox.inbox, "call-257", reply);
    assert_ok(faas_bus_publish(client.bus, FAAS_DATA, &out, &err));
    wait_until(has_1_unheard, &inbox, 2000, "nobody listened");
    assert_string_equal(inbox.label, "call-257");
    out.subject = faas_inbox_subject(inbox.inbox);
    assert_ok(faas_bus_publish(server.bus, FAAS_DATA, &out, &err));
    wait_until(has_2, &inbox, 2000, "a message without a label");
    assert_string_equal(inbox.label, "");
    process_on_loop(&client, close_inbox, &inbox);
}

/* ---- draining ---- */

static _Atomic bool is_drained;

static void on_drained(void *arg)
{
    (void)arg;
    atomic_store(&is_drained, true);
}

static void drain(void *arg)
{
    (void)arg;
    faas_rpc_drain(server.rpc, 5000, on_drained, NULL);
}

static bool drained(void *arg)
{
    (void)arg;
    return atomic_load(&is_drained);
}

static bool has_4(void *arg)
{
    return atomic_load(&((struct tally *)arg)->done) == 4;
}

/* Last: the server serves nothing afterwards. */
static void draining_answers_what_was_taken_and_leaves(void **state)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(10000)};
    struct faas_rpc_request req = {.subject = "test.gate", .ctx = &ctx};
    static struct tally tally;
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};

    (void)state;
    pthread_mutex_lock(&gate);
    for (int i = 0; i < 4; i++)
        faas_rpc_call(client.rpc, &req, count_busy, &tally);
    assert_ok(ask("test.i.s1.raw", "{}", 2000, &doc, &err)); /* the four arrived before it */
    process_on_loop(&server, drain, NULL);
    assert_false(atomic_load(&is_drained));
    pthread_mutex_unlock(&gate);
    wait_until(drained, NULL, 3000, "drained");
    json_decref(FAAS_STEAL(doc));
    wait_until(has_4, &tally, 3000, "the answers of what ran");
    assert_int_equal(atomic_load(&tally.busy), 0);
    assert_int_equal(ask("test.echo", "{}", 1000, &doc, &err), FAAS_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_carries_the_handlers_json),
        cmocka_unit_test(an_empty_body_reads_as_an_empty_object),
        cmocka_unit_test(an_error_travels_as_code_and_text_without_detail),
        cmocka_unit_test(bodies_that_are_not_one_object_are_invalid),
        cmocka_unit_test(a_body_above_the_limit_is_refused_with_the_limit),
        cmocka_unit_test(nobody_listening_is_unavailable_at_once),
        cmocka_unit_test(silence_is_a_timeout_at_the_deadline),
        cmocka_unit_test(a_handler_that_used_all_its_time_still_says_why),
        cmocka_unit_test(a_request_whose_time_is_up_is_not_run),
        cmocka_unit_test(loop_endpoints_get_and_return_raw_bytes),
        cmocka_unit_test(a_full_queue_answers_busy),
        cmocka_unit_test(a_safe_request_waits_for_its_service),
        cmocka_unit_test(a_header_with_a_control_character_is_invalid),
        cmocka_unit_test(a_blocking_call_on_the_loop_is_refused),
        cmocka_unit_test(an_inbox_gets_a_stream_of_messages_until_closed),
        cmocka_unit_test(that_nobody_listened_is_said_with_the_messages_label),
        cmocka_unit_test(draining_answers_what_was_taken_and_leaves),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
