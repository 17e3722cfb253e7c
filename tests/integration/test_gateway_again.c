/* A gateway whose registry is gone with a change asks another one, with the same id and the mark of
 * it: a real gateway and nats-server, registries as the test tells them. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "contract.h"
#include "tests/support/gate.h"
#include "tests/unit/unit.h"

#define LONG_MS 20000

static struct gate gate;
static struct reply reply;

static struct shelf { /* a registry */
    struct process process;
    faas_members *members;
    char id[4];
    _Atomic int marked, asked;
    char request[FAAS_UUID_TEXT]; /* the newest one's; read once it was counted */
} shelves[2];
static _Atomic bool is_held;         /* the first request of all stays unanswered */
static _Atomic faas_code then_fails; /* what the others are told */
static _Atomic int unavailable;      /* so many of them are told that first */

static faas_code on_change(void *state, const struct faas_call *call, json_t **out_reply,
                           faas_err *err)
{
    struct shelf *shelf = state;
    bool is_first = shelves[0].asked + shelves[1].asked == 0;

    memcpy(shelf->request, call->ctx->id, sizeof shelf->request);
    shelf->marked += call->ctx->is_again;
    shelf->asked++;
    while (is_first && is_held)
        usleep(10 * 1000);
    if (!is_first && unavailable > 0) {
        unavailable--;
        return faas_fail(err, FAAS_UNAVAILABLE, "not yet");
    }
    if (!is_first && then_fails != FAAS_OK)
        return faas_fail(err, then_fails, "as the test says");
    *out_reply = json_pack("{s:s}", "by", shelf->id);
    return FAAS_OK;
}

static const struct faas_endpoint endpoints[] = {
    {.name = "register",
     .subject = FAAS_SUBJ_REGISTRY_REGISTER,
     .queue = FAAS_QUEUE,
     .is_once = true,
     .body_max = 65536,
     .handler = on_change},
    {.name = NULL},
};

static void begin_beats(void *arg)
{
    struct shelf *shelf = arg;
    const struct faas_members_conf conf = {.service = "registry", .id = shelf->id};
    faas_err err = {0};

    assert_ok(faas_members_start(shelf->process.rpc, &conf, &shelf->members, &err));
    faas_rpc_set_epoch(shelf->process.rpc, faas_members_epoch(shelf->members));
}

static void end_beats(void *arg)
{
    struct shelf *shelf = arg;

    if (shelf->members != NULL)
        faas_members_stop(FAAS_STEAL(shelf->members));
}

static bool are_both_asked(void *arg)
{
    struct reply answer = {0};

    (void)arg;
    gate_ask(&gate, "POST", "/v1/functions", NULL, "{}", &answer);
    reply_done(&answer);
    return shelves[0].asked > 0 && shelves[1].asked > 0;
}

static int open_all(void **state)
{
    (void)state;
    gate_open(&gate, NULL);
    for (int i = 0; i < 2; i++) {
        struct shelf *shelf = &shelves[i];
        const struct process_conf conf = {.urls = nats_urls(gate.nats),
                                          .service = "registry",
                                          .id = shelf->id,
                                          .endpoints = endpoints,
                                          .state = shelf};

        *shelf = (struct shelf){.id = "r1"};
        shelf->id[1] = (char)('1' + i);
        process_start(&shelf->process, &conf);
        process_on_loop(&shelf->process, begin_beats, shelf);
    }
    is_held = false;
    then_fails = FAAS_OK;
    wait_until(are_both_asked, NULL, LONG_MS, "the gateway knows both registries");
    for (int i = 0; i < 2; i++)
        shelves[i].asked = shelves[i].marked = 0;
    is_held = true;
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    is_held = false;
    for (int i = 0; i < 2; i++)
        process_stop(&shelves[i].process, end_beats, &shelves[i]);
    reply_done(&reply);
    gate_close(&gate);
    return 0;
}

static void *ask(void *arg)
{
    (void)arg;
    gate_ask(&gate, "POST", "/v1/functions", NULL, "{}", &reply);
    return NULL;
}

static bool is_asked(void *arg)
{
    (void)arg;
    return shelves[0].asked + shelves[1].asked > 0;
}

/* The registry that has the request leaves without an answer to it.  Returns the other. */
static struct shelf *ask_and_leave(void)
{
    pthread_t thread;
    int had;

    assert_int_equal(pthread_create(&thread, NULL, ask, NULL), 0);
    wait_until(is_asked, NULL, LONG_MS, "a registry is asked");
    had = shelves[0].asked > 0 ? 0 : 1;
    process_on_loop(&shelves[had].process, end_beats, &shelves[had]);
    pthread_join(thread, NULL);
    assert_int_equal(shelves[had].marked, 0);
    assert_true(shelves[1 - had].asked >= 1);
    assert_int_equal(shelves[1 - had].marked, shelves[1 - had].asked);
    assert_string_equal(shelves[0].request, shelves[1].request);
    return &shelves[1 - had];
}

static void another_registry_is_asked_with_the_same_id(void **state)
{
    const struct shelf *other = ask_and_leave();

    (void)state;
    assert_int_equal(reply.status, 201);
    assert_non_null(strstr(reply.body, other->id));
}

/* What the first one did, or may still do, this error does not say. */
static void trouble_of_the_other_leaves_it_unsure(void **state)
{
    (void)state;
    then_fails = FAAS_BUSY;
    (void)ask_and_leave();
    reply_assert_problem(&reply, 504, "timeout");
    assert_non_null(strstr(reply.body, "look before trying again"));
}

/* What passes is waited for: the other one is not ready at first. */
static void an_instance_that_is_not_ready_yet_is_asked_until_it_is(void **state)
{
    const struct shelf *other;

    (void)state;
    unavailable = 3;
    other = ask_and_leave();
    assert_int_equal(reply.status, 201);
    assert_non_null(strstr(reply.body, other->id));
}

static void what_the_other_refuses_is_refused(void **state)
{
    (void)state;
    then_fails = FAAS_CONFLICT;
    (void)ask_and_leave();
    reply_assert_problem(&reply, 409, "conflict");
}

int main(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)
    const struct CMUnitTest tests[] = {
        test(another_registry_is_asked_with_the_same_id),
        test(trouble_of_the_other_leaves_it_unsure),
        test(an_instance_that_is_not_ready_yet_is_asked_until_it_is),
        test(what_the_other_refuses_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
