/* Requests that may come more than once and are done once, over one real server. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "contract.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/unit/unit.h"

static struct nats *nats;
static struct process client, server;
static _Atomic int runs, copies;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* on_gate waits for it */

static faas_code on_count(void *state, const struct faas_call *call, json_t **out_reply,
                          faas_err *err)
{
    (void)state;
    (void)call;
    (void)err;
    *out_reply = json_pack("{s:i}", "run", atomic_fetch_add(&runs, 1) + 1);
    return FAAS_OK;
}

static faas_code on_refuse(void *state, const struct faas_call *call, json_t **out_reply,
                           faas_err *err)
{
    (void)state;
    (void)call;
    (void)out_reply;
    return faas_fail(err, FAAS_CONFLICT, "refused %d times", atomic_fetch_add(&runs, 1) + 1);
}

static faas_code on_gate(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    atomic_fetch_add(&copies, 1);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return on_count(state, call, out_reply, err);
}

/* Deaf to the first copy. */
static void on_second(void *state, faas_msg *take_msg)
{
    (void)state;
    if (atomic_fetch_add(&copies, 1) > 0)
        faas_rpc_answer(server.rpc, take_msg, "heard", 5);
    faas_msg_free(take_msg);
}

static const struct faas_endpoint endpoints[] = {
    {.name = "count",
     .subject = "test.count",
     .queue = "q",
     .is_once = true,
     .body_max = 64,
     .handler = on_count},
    {.name = "refuse",
     .subject = "test.refuse",
     .queue = "q",
     .is_once = true,
     .body_max = 64,
     .handler = on_refuse},
    {.name = "gate",
     .subject = "test.gate",
     .queue = "q",
     .is_once = true,
     .body_max = 64,
     .handler = on_gate},
    {.name = "second", .subject = "test.second", .body_max = 64, .on_message = on_second},
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
    faas_rpc_set_epoch(server.rpc, "this one");
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

static int reset(void **state)
{
    (void)state;
    atomic_store(&runs, 0);
    atomic_store(&copies, 0);
    return 0;
}

/* One request and what came of it. */
struct asked {
    const char *subject, *id, *epoch;
    int64_t ms;
    enum faas_rpc_retry retry;
    faas_code code;
    bool may_be_done;
    char text[FAAS_ERR_MSG_MAX]; /* of the answer or the error */
    atomic_bool is_done;
};

static void on_reply(void *arg, const struct faas_rpc_reply *reply)
{
    struct asked *asked = arg;

    asked->code = reply->code;
    asked->may_be_done = reply->may_be_done;
    if (reply->code == FAAS_OK)
        snprintf(asked->text, sizeof asked->text, "%.*s", (int)faas_msg_len(reply->msg),
                 (const char *)faas_msg_data(reply->msg));
    else
        snprintf(asked->text, sizeof asked->text, "%s", reply->err->msg);
    atomic_store(&asked->is_done, true);
}

static void begin(struct asked *asked)
{
    const struct faas_header headers[] = {{FAAS_H_EPOCH, asked->epoch}, {NULL, NULL}};
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(asked->ms > 0 ? asked->ms : 5000)};
    const struct faas_rpc_request req = {.subject = asked->subject,
                                         .ctx = &ctx,
                                         .headers = headers,
                                         .data = "{}",
                                         .len = 2,
                                         .retry = asked->retry,
                                         .attempt_ms = 50};

    snprintf(ctx.id, sizeof ctx.id, "%s", asked->id);
    faas_rpc_call(client.rpc, &req, on_reply, asked);
}

static bool is_done(void *arg)
{
    struct asked *asked = arg;

    return atomic_load(&asked->is_done);
}

static void finish(struct asked *asked)
{
    wait_until(is_done, asked, 10000, "the end of a request");
}

static bool has_copy(void *arg)
{
    (void)arg;
    return atomic_load(&copies) > 0;
}

static void ask(struct asked *asked)
{
    begin(asked);
    finish(asked);
}

#define ID(n) "0190a000-0000-7000-8000-00000000000" #n

static void a_copy_gets_the_first_ones_answer(void **state)
{
    struct asked first = {.subject = "test.count", .id = ID(1)}, again = first;
    struct asked direct = {.subject = "faas.server.i.s1.count", .id = ID(2)}, copy = direct;

    (void)state;
    ask(&first);
    ask(&again);
    assert_string_equal(first.text, "{\"run\":1}");
    assert_string_equal(again.text, first.text);
    ask(&direct);
    ask(&copy);
    assert_string_equal(direct.text, "{\"run\":2}");
    assert_string_equal(copy.text, direct.text);
    assert_int_equal(atomic_load(&runs), 2);
}

static void a_refusal_is_repeated_word_for_word(void **state)
{
    struct asked first = {.subject = "test.refuse", .id = ID(3)}, again = first;

    (void)state;
    ask(&first);
    ask(&again);
    assert_int_equal(again.code, FAAS_CONFLICT);
    assert_string_equal(again.text, "refused 1 times");
}

static void copies_of_what_runs_are_dropped_and_all_get_its_answer(void **state)
{
    struct asked same = {
        .subject = "faas.server.i.s1.gate", .id = ID(4), .retry = FAAS_RPC_SAME, .ms = 10000};
    struct asked copy = {.subject = "faas.server.i.s1.gate", .id = ID(4), .ms = 300};

    (void)state;
    pthread_mutex_lock(&gate);
    begin(&same);
    wait_until(has_copy, NULL, 10000, "the handler runs");
    ask(&copy); /* while the first one is sent again and again */
    assert_int_equal(copy.code, FAAS_TIMEOUT);
    pthread_mutex_unlock(&gate);
    finish(&same);
    assert_string_equal(same.text, "{\"run\":1}");
    assert_int_equal(atomic_load(&copies), 1);
}

static void another_process_of_that_name_refuses(void **state)
{
    struct asked other = {.subject = "test.count", .id = ID(5), .epoch = "that one"};
    struct asked own = {.subject = "test.count", .id = ID(5), .epoch = "this one"};

    (void)state;
    other.retry = FAAS_RPC_SAME;
    ask(&other);
    assert_int_equal(other.code, FAAS_LOST);
    assert_false(other.may_be_done);
    assert_int_equal(atomic_load(&runs), 0);
    ask(&own);
    assert_int_equal(own.code, FAAS_OK);
}

static void nobody_there_means_nothing_was_done(void **state)
{
    struct asked asked = {.subject = "test.nobody", .id = ID(6), .retry = FAAS_RPC_SAME};

    (void)state;
    ask(&asked);
    assert_int_equal(asked.code, FAAS_UNAVAILABLE);
    assert_false(asked.may_be_done);
}

static void what_was_not_heard_is_sent_again_to_the_same(void **state)
{
    struct asked asked = {.subject = "test.second", .id = ID(7), .retry = FAAS_RPC_SAME};

    (void)state;
    ask(&asked);
    assert_string_equal(asked.text, "heard");
    assert_true(asked.may_be_done); /* of the first copy nobody said anything */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_copy_gets_the_first_ones_answer, reset),
        cmocka_unit_test_setup(a_refusal_is_repeated_word_for_word, reset),
        cmocka_unit_test_setup(copies_of_what_runs_are_dropped_and_all_get_its_answer, reset),
        cmocka_unit_test_setup(another_process_of_that_name_refuses, reset),
        cmocka_unit_test_setup(nobody_there_means_nothing_was_done, reset),
        cmocka_unit_test_setup(what_was_not_heard_is_sent_again_to_the_same, reset),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
