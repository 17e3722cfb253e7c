/* A registry is asked again for what another one did that is gone: the same answer, and nothing is
 * done twice.  Another request with the same body shows what doing it twice would look like. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/done.h"
#include "contract.h"
#include "tests/support/program.h"
#include "tests/support/shop.h"
#include "tests/unit/unit.h"

static _Thread_local int64_t patience_ms = SHOP_LONG_MS;

struct answer {
    faas_code code;
    faas_err err;
    json_t *doc; /* NULL: an empty body */
};

/* faas.registry.<op> as Ann, to that registry and no other. */
static struct answer ask(int registry, const char *id, bool is_again, const char *op,
                         const char *body)
{
    const struct faas_header again[] = {{FAAS_H_AGAIN, is_again ? "1" : NULL}, {NULL, NULL}};
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(patience_ms), .user = SHOP_ANN};
    char subject[80], instance[8];
    const struct faas_rpc_request req = {.subject = subject,
                                         .ctx = &ctx,
                                         .headers = again,
                                         .data = body,
                                         .len = strlen(body),
                                         .attempt_ms = SHOP_LONG_MS};
    struct answer answer = {.code = FAAS_OK};
    faas_msg *msg = NULL;

    shop_tenant(SHOP_ANN, ctx.tenant);
    (void)snprintf(ctx.id, sizeof ctx.id, "%s", id);
    (void)snprintf(instance, sizeof instance, "r%d", registry);
    (void)snprintf(subject, sizeof subject, FAAS_SUBJ_DIRECTLY, "registry", instance, op);
    answer.code = faas_rpc_wait(shop.gateway.rpc, &req, &msg, &answer.err);
    if (answer.code == FAAS_OK && faas_msg_len(msg) > 0)
        answer.doc = json_loadb(faas_msg_data(msg), faas_msg_len(msg), 0, NULL);
    faas_msg_free(msg);
    return answer;
}

static void answer_done(struct answer *answer)
{
    json_decref(answer->doc);
}

static uint64_t newest(void)
{
    uint64_t revision = 0;
    faas_err err = {0};

    assert_ok(faas_kv_last(shop.functions, faas_deadline_in_ms(SHOP_LONG_MS), &revision, &err));
    return revision;
}

/* Of heads: a version's entry follows its head by itself. */
static uint64_t head_of(const char *name)
{
    struct faas_kv_entry entry = {0};
    char key[120];
    uint64_t revision;
    faas_err err = {0};

    shop_head_key(name, key);
    assert_ok(faas_kv_look(shop.functions, key, faas_deadline_in_ms(SHOP_LONG_MS), &entry, &err));
    revision = entry.revision;
    faas_kv_entry_done(&entry);
    return revision;
}

static void assert_same(const char *op, const struct answer *first, const struct answer *second)
{
    if (first->code != FAAS_OK || second->code != FAAS_OK)
        fail_msg("%s: %s %s, then %s %s", op, faas_code_slug(first->code), first->err.msg,
                 faas_code_slug(second->code), second->err.msg);
    if (first->doc == NULL ? second->doc != NULL : !json_equal(first->doc, second->doc))
        fail_msg("%s: another answer", op);
}

#define NAME "\"name\":\"twice\""

static const struct {
    const char *op, *body;
} changes[] = {
    {"register", "{" NAME ",\"payload\":\"good\"}"},
    {"update", "{" NAME ",\"description\":\"one\",\"version\":1}"},
    {"update", "{" NAME ",\"payload\":\"cmd\"}"},
    {"replace", "{" NAME ",\"payload\":\"good\",\"timeout_ms\":4000}"},
    {"rollback", "{" NAME ",\"version\":1}"},
    {"alias", "{" NAME ",\"alias\":\"live\",\"version\":2}"},
    {"unalias", "{" NAME ",\"alias\":\"live\"}"},
    {"delete", "{" NAME "}"},
    {"register", "{" NAME ",\"payload\":\"good\"}"},
};

static void every_change_is_made_once_and_answered_alike(void **state)
{
    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(changes); i++) {
        const char *op = changes[i].op, *body = changes[i].body;
        char id[FAAS_UUID_TEXT], other[FAAS_UUID_TEXT];
        struct answer first, second, another;
        uint64_t head;

        faas_uuid_new(id);
        faas_uuid_new(other);
        first = ask(0, id, false, op, body);
        head = head_of("twice");
        second = ask(1, id, true, op, body);
        assert_same(op, &first, &second);
        assert_int_equal(head_of("twice"), head);
        another = ask(1, other, true, op, body);
        if (strcmp(op, "register") == 0)
            assert_int_equal(another.code, FAAS_CONFLICT);
        if (strcmp(op, "delete") == 0 || strcmp(op, "unalias") == 0)
            assert_int_equal(another.code, FAAS_NOT_FOUND);
        answer_done(&first);
        answer_done(&second);
        answer_done(&another);
    }
}

/* "replaced" tells whether it was there before: of a request that is asked again, before the first. */
static void a_secret_is_set_and_removed_once(void **state)
{
    static const char set[] = "{\"name\":\"token\",\"value\":\"hush\"}";
    static const char drop[] = "{\"name\":\"token\"}";

    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *op = i == 0 ? "secret_set" : "secret_remove", *body = i == 0 ? set : drop;
        char id[FAAS_UUID_TEXT], other[FAAS_UUID_TEXT];
        struct answer first, second, another;

        faas_uuid_new(id);
        faas_uuid_new(other);
        first = ask(0, id, false, op, body);
        second = ask(1, id, true, op, body);
        assert_same(op, &first, &second);
        another = ask(1, other, true, op, body);
        assert_int_equal(another.code, i == 0 ? FAAS_OK : FAAS_NOT_FOUND);
        if (i == 0)
            assert_true(json_is_true(json_object_get(another.doc, "replaced")));
        answer_done(&first);
        answer_done(&second);
        answer_done(&another);
    }
}

static void describe(int registry, const char *description)
{
    char id[FAAS_UUID_TEXT], body[100];
    struct answer answer;

    faas_uuid_new(id);
    (void)snprintf(body, sizeof body, "{" NAME ",\"description\":\"%s\"}", description);
    answer = ask(registry, id, false, "update", body);
    assert_int_equal(answer.code, FAAS_OK);
    answer_done(&answer);
}

/* Others' writes come in between: the answer is still that of the first, or that nobody can tell. */
static void later_changes_do_not_hide_an_earlier_one(void **state)
{
    static const char mine[] = "{" NAME ",\"description\":\"mine\"}";
    char id[FAAS_UUID_TEXT];
    struct answer first, second, third;

    (void)state;
    faas_uuid_new(id);
    first = ask(0, id, false, "update", mine);
    for (int i = 1; i < FAAS_DONE_MAX; i++)
        describe(0, i % 2 == 0 ? "theirs" : "another's");
    second = ask(1, id, true, "update", mine);
    assert_same("update", &first, &second);
    describe(0, "the last straw");
    third = ask(2, id, true, "update", mine);
    assert_int_equal(third.code, FAAS_TIMEOUT);
    assert_contains(third.err.msg, "look before");
    answer_done(&first);
    answer_done(&second);
}

static void what_was_never_done_is_done_now(void **state)
{
    char id[FAAS_UUID_TEXT];
    struct answer now;

    (void)state;
    faas_uuid_new(id);
    now = ask(1, id, true, "update", "{" NAME ",\"description\":\"late\"}");
    assert_int_equal(now.code, FAAS_OK);
    assert_string_equal(shop_text(now.doc, "description"), "late");
    answer_done(&now);
}

/* Registered, and deleted by somebody else since: nobody can say what to answer. */
static void what_was_undone_since_is_said_to_be_unsure(void **state)
{
    static const char body[] = "{\"name\":\"brief\",\"payload\":\"good\"}";
    char id[FAAS_UUID_TEXT], other[FAAS_UUID_TEXT];
    struct answer made, deleted, again;

    (void)state;
    faas_uuid_new(id);
    faas_uuid_new(other);
    made = ask(0, id, false, "register", body);
    deleted = ask(1, other, false, "delete", "{\"name\":\"brief\"}");
    again = ask(2, id, true, "register", body);
    assert_int_equal(made.code, FAAS_OK);
    assert_int_equal(deleted.code, FAAS_OK);
    assert_int_equal(again.code, FAAS_TIMEOUT);
    shop_refuses("retrieve", "{\"name\":\"brief\"}", FAAS_NOT_FOUND, "no function");
    answer_done(&made);
}

/* ---- a registry that is killed between its write and its answer ---- */

#define HELD_MS 4000 /* nobody answers it */

struct held {
    char id[FAAS_UUID_TEXT];
    struct answer answer;
};

static void *ask_held(void *arg)
{
    struct held *held = arg;

    patience_ms = HELD_MS;
    held->answer = ask(0, held->id, false, "register", "{\"name\":\"cut\",\"payload\":\"good\"}");
    return NULL;
}

static void pause_for_beats(void)
{
    const struct timespec time = {.tv_nsec = 3 * FAAS_BEAT_MS * 1000000L};

    nanosleep(&time, NULL);
}

static bool is_written(void *arg)
{
    return newest() > *(const uint64_t *)arg;
}

/* The write is stored, and its answer waits for a gateway that has not heard of it; then comes the
 * signal.  Whether the entry of the version was written, too, is left to chance. */
static void a_kill_between_write_and_answer_leaves_no_doubt(void **state)
{
    struct held held;
    struct answer again, anew;
    uint64_t before = newest();
    pthread_t thread;

    (void)state;
    faas_uuid_new(held.id);
    shop_gateway_applied = 0;
    pause_for_beats();
    assert_int_equal(pthread_create(&thread, NULL, ask_held, &held), 0);
    wait_until(is_written, &before, SHOP_LONG_MS, "the head is written");
    shop_kill_registry(0);
    shop_gateway_applied = -1;
    again = ask(1, held.id, true, "register", "{\"name\":\"cut\",\"payload\":\"good\"}");
    assert_int_equal(again.code, FAAS_OK);
    assert_int_equal(shop_number(again.doc, "version"), 1);
    anew = ask(1, "0190a000-0000-7000-8000-0000000000ff", true, "register",
               "{\"name\":\"cut\",\"payload\":\"good\"}");
    assert_int_equal(anew.code, FAAS_CONFLICT);
    pthread_join(thread, NULL);
    answer_done(&again);
    answer_done(&held.answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_is_made_once_and_answered_alike),
        cmocka_unit_test(a_secret_is_set_and_removed_once),
        cmocka_unit_test(later_changes_do_not_hide_an_earlier_one),
        cmocka_unit_test(what_was_never_done_is_done_now),
        cmocka_unit_test(what_was_undone_since_is_said_to_be_unsure),
        cmocka_unit_test(a_kill_between_write_and_answer_leaves_no_doubt),
    };

    return cmocka_run_group_tests(tests, shop_open, shop_close);
}
