/* What a real gateway makes of API keys: what it remembers, what it does while auth is away, when a
 * key was ended, and with many wrong ones.  Auth is this test, and says what it likes. */
#include "tests/support/gate.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "contract.h"
#include "crypto/apikey.h"
#include "net/kv.h"
#include "tests/unit/unit.h"

#define BOUND_MS  30000
#define BAD_LIMIT 5 /* wrong keys, with the burst of two seconds twice as many */
#define CROWD     8

static struct gate gate;
static struct reply reply;
static struct process auth; /* besides the gate's, which knows signing keys alone */
static faas_kv *revocations;
static char key[FAAS_APIKEY_TEXT], id[FAAS_APIKEY_ID_TEXT], hash[FAAS_HASH_TEXT];

/* What auth says of that key. */
static struct {
    _Atomic int checks;
    _Atomic int64_t ends, life_s;
    _Atomic bool is_gone, is_held;
    _Atomic(const char *) verbs, functions;
} says;

static faas_code on_check(void *state, const struct faas_call *call, json_t **out_reply,
                          faas_err *err)
{
    const char *asked = json_string_value(json_object_get(call->body, "id"));
    const char *with = json_string_value(json_object_get(call->body, "hash"));

    (void)state;
    atomic_fetch_add(&says.checks, 1);
    while (atomic_load(&says.is_held) && faas_now_ns() < call->ctx->deadline_ns)
        usleep(1000); /* until the test lets go */
    if (json_object_size(call->body) != 2 || atomic_load(&says.is_gone) || asked == NULL ||
        with == NULL || strcmp(asked, id) != 0 || strcmp(with, hash) != 0)
        return faas_fail(err, FAAS_UNAUTHENTICATED, "there is no such API key");
    *out_reply = json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:[s], s:[s], s:s}", "v", 1, "user",
                           GATE_USER, "tenant", GATE_TENANT, "username", "ann", "expires_at",
                           (json_int_t)(faas_wall_ms() / 1000 + atomic_load(&says.life_s)), "ends",
                           (json_int_t)atomic_load(&says.ends), "verbs", atomic_load(&says.verbs),
                           "functions", atomic_load(&says.functions), "later", "ignored");
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, 12, "encode reply");
}

static void start_auth(void)
{
    static const struct faas_endpoint endpoints[] = {
        {.name = "apikey_check",
         .subject = FAAS_SUBJ_AUTH_APIKEY_CHECK,
         .queue = FAAS_QUEUE,
         .body_max = 1024,
         .handler = on_check},
        {.name = NULL},
    };

    process_start(&auth, &(struct process_conf){.urls = nats_urls(gate.nats),
                                                .service = "auth",
                                                .id = "a2",
                                                .endpoints = endpoints});
}

static int open_with(const char *const *settings)
{
    faas_err err = {0};

    gate_open(&gate, settings);
    gate_serve_registry(&gate);
    gate_join(&gate, 0, false);
    gate_join(&gate, 1, false);
    start_auth();
    return faas_kv_open(auth.rpc, FAAS_BUCKET_REVOCATIONS, 1, faas_deadline_in_ms(BOUND_MS),
                        &revocations, &err) == FAAS_OK
               ? 0
               : -1;
}

static int open_gate(void **state)
{
    static const char *const settings[] = {"RATE_BAD_KEYS=5", "RATE_USER=0", NULL};

    (void)state;
    return open_with(settings);
}

/* Where a key is asked for again after a second. */
static int open_eager_gate(void **state)
{
    static const char *const settings[] = {"GATEWAY_KEY_FRESH_S=1", "RATE_USER=0", NULL};

    (void)state;
    return open_with(settings);
}

static int close_gate(void **state)
{
    (void)state;
    faas_kv_close(revocations);
    process_stop(&auth, NULL, NULL);
    gate_close(&gate);
    return 0;
}

/* Each test has a key that the gateway has not seen. */
static int begin(void **state)
{
    (void)state;
    gate_calm(&gate);
    faas_apikey_new(key);
    assert_true(faas_apikey_parse(key, id, hash));
    atomic_store(&says.checks, 0);
    atomic_store(&says.life_s, 1000);
    atomic_store(&says.is_gone, false);
    atomic_store(&says.verbs, "*");
    atomic_store(&says.functions, "*");
    return 0;
}

static int end(void **state)
{
    (void)state;
    reply_done(&reply);
    return 0;
}

static void ask_with(const char *text, const char *method, const char *path, const char *body)
{
    char fields[256];

    reply_done(&reply);
    (void)snprintf(fields, sizeof fields, "Authorization: Bearer %s\r\n", text);
    gate_ask(&gate, method, path, fields, body, &reply);
}

static int status_with(const char *text)
{
    ask_with(text, "GET", "/auth/validate", NULL);
    return reply.status;
}

static void assert_reason(const char *reason)
{
    reply_assert_problem(&reply, 401, "unauthenticated");
    assert_contains(reply.body, reason);
    assert_contains(reply_field(&reply, "WWW-Authenticate"), "invalid_token");
}

/* ---- what is remembered ---- */

static void a_key_is_asked_for_once_and_calls_functions(void **state)
{
    char name[16], path[64];

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(status_with(key), 200);
    assert_contains(reply.body, "\"id\":\"" GATE_USER "\"");
    assert_contains(reply.body, id);
    gate_name(0, name);
    (void)snprintf(path, sizeof path, "/function/%s", name);
    ask_with(key, "POST", path, "argument");
    assert_int_equal(reply.status, 200);
    ask_with(key, "GET", "/registry/retrieve?name=x", NULL);
    assert_int_equal(reply.status, 200);
    assert_contains(reply.body, "\"user\":\"" GATE_USER "\"");
    assert_int_equal(atomic_load(&says.checks), 1);
}

static void a_crowd_with_one_new_key_asks_once(void **state)
{
    char request[256];
    int fds[CROWD];

    (void)state;
    atomic_store(&says.is_held, true);
    (void)snprintf(request, sizeof request,
                   "GET /auth/validate HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                   "Authorization: Bearer %s\r\n\r\n",
                   key);
    for (int i = 0; i < CROWD; i++) {
        fds[i] = gate_connect(&gate);
        gate_put(fds[i], request);
    }
    /* another request on a connection of its own passes meanwhile */
    reply_done(&reply);
    gate_ask(&gate, "GET", "/auth/validate", NULL, NULL, &reply);
    atomic_store(&says.is_held, false);
    for (int i = 0; i < CROWD; i++) {
        reply_done(&reply);
        gate_read(fds[i], &reply);
        assert_int_equal(reply.status, 200);
    }
    assert_int_equal(atomic_load(&says.checks), 1);
}

static void basic_with_a_key_is_as_good(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char pair[96], fields[256] = "Authorization: Basic ";
    size_t at = strlen(fields), len;

    (void)state;
    len = (size_t)snprintf(pair, sizeof pair, "root:%s", key); /* 75 bytes: no padding */
    assert_int_equal(len % 3, 0);
    for (size_t i = 0; i < len; i += 3) {
        unsigned v = (unsigned)(unsigned char)pair[i] << 16 |
                     (unsigned)(unsigned char)pair[i + 1] << 8 | (unsigned char)pair[i + 2];

        for (int shift = 18; shift >= 0; shift -= 6)
            fields[at++] = alphabet[v >> shift & 63];
    }
    (void)snprintf(fields + at, sizeof fields - at, "\r\n");
    reply_done(&reply);
    gate_ask(&gate, "GET", "/auth/validate", fields, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_contains(reply.body, "\"username\":\"ann\"");
}

static void a_wrong_key_is_refused_and_asked_for_once(void **state)
{
    char wrong[FAAS_APIKEY_TEXT];

    (void)state;
    (void)snprintf(wrong, sizeof wrong, "%s", key); /* the right id, another secret */
    wrong[FAAS_APIKEY_TEXT - 2] = wrong[FAAS_APIKEY_TEXT - 2] == '0' ? '1' : '0';
    for (int i = 0; i < 4; i++) {
        assert_int_equal(status_with(wrong), 401);
        assert_reason("invalid");
    }
    assert_int_equal(atomic_load(&says.checks), 1);
    assert_int_equal(status_with(key), 200); /* which hurts the right one in no way */
}

static void a_malformed_key_reaches_nobody(void **state)
{
    static const char *const bad[] = {"faas_", "faas_x_y", "faas_00112233aabbccdd_00"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        assert_int_equal(status_with(bad[i]), 401);
        assert_reason("invalid");
    }
    assert_int_equal(atomic_load(&says.checks), 0);
}

static void an_expired_key_says_so(void **state)
{
    (void)state;
    atomic_store(&says.life_s, -1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(status_with(key), 401);
        assert_reason("expired");
    }
    assert_int_equal(atomic_load(&says.checks), 1);
}

/* ---- what it is for ---- */

static void a_key_does_what_it_is_for_and_is_told_what_it_lacks(void **state)
{
    (void)state;
    atomic_store(&says.verbs, "read");
    atomic_store(&says.functions, "ci-*");
    ask_with(key, "GET", "/registry/retrieve?name=ci-a", NULL);
    assert_int_equal(reply.status, 200);
    ask_with(key, "GET", "/registry/retrieve?name=other", NULL);
    reply_assert_problem(&reply, 403, "denied");
    assert_contains(reply.body, "some functions only");
    ask_with(key, "DELETE", "/registry/delete?name=ci-a", NULL);
    reply_assert_problem(&reply, 403, "denied");
    assert_contains(reply.body, "verb deploy");
    ask_with(key, "POST", "/function/ci-a", "x");
    reply_assert_problem(&reply, 403, "denied");
    assert_contains(reply.body, "verb invoke");
    ask_with(key, "POST", "/auth/keys", "{\"name\":\"more\"}");
    reply_assert_problem(&reply, 403, "denied");
}

/* ---- ends ---- */

static void count_ends(int64_t count)
{
    FAAS_AUTO(char) *text = NULL;
    FAAS_AUTO(json_t) *doc = json_pack("{s:i, s:s, s:i, s:{}, s:I}", "v", 1, "op", id, "generation",
                                       0, "revoked", "keys", (json_int_t)count);
    struct faas_kv_entry entry = {0};
    uint64_t revision = 0;
    faas_err err = {0};

    text = faas_json_text(doc, NULL);
    if (faas_kv_get(revocations, "u." GATE_USER, faas_deadline_in_ms(BOUND_MS), &entry, &err) ==
        FAAS_OK)
        revision = entry.revision;
    faas_kv_entry_done(&entry);
    assert_ok(faas_kv_put(revocations, "u." GATE_USER, revision, text, strlen(text),
                          faas_deadline_in_ms(BOUND_MS), NULL, &err));
}

static bool is_refused(void *arg)
{
    return status_with(arg) == 401;
}

static void an_ended_key_is_refused_though_it_was_remembered(void **state)
{
    (void)state;
    assert_int_equal(status_with(key), 200);
    atomic_store(&says.is_gone, true);
    assert_int_equal(status_with(key), 200); /* nobody has said anything yet */
    count_ends(atomic_fetch_add(&says.ends, 1) + 1);
    wait_until(is_refused, key, BOUND_MS, "the gateway has heard of the end");
    assert_reason("invalid");
}

static bool is_checked_again(void *arg)
{
    assert_int_equal(status_with(arg), 200);
    return atomic_load(&says.checks) == 2;
}

static void the_end_of_another_key_costs_one_question(void **state)
{
    (void)state;
    assert_int_equal(status_with(key), 200);
    count_ends(atomic_fetch_add(&says.ends, 1) + 1);
    wait_until(is_checked_again, key, BOUND_MS, "the gateway has heard of the end");
    for (int i = 0; i < 3; i++)
        assert_int_equal(status_with(key), 200);
    assert_int_equal(atomic_load(&says.checks), 2);
}

static bool is_unavailable(void *arg)
{
    return status_with(arg) == 503;
}

/* An auth whose answer was made before the end, as a slow one's is: it must not be believed. */
static void an_answer_from_before_an_end_is_not_believed(void **state)
{
    (void)state;
    assert_int_equal(status_with(key), 200);
    count_ends(atomic_load(&says.ends) + 1);
    wait_until(is_unavailable, key, BOUND_MS, "the gateway has heard of the end");
    reply_assert_problem(&reply, 503, "unavailable");
    atomic_fetch_add(&says.ends, 1);
    assert_int_equal(status_with(key), 200);
}

/* ---- auth is away ---- */

static void an_auth_that_is_away_breaks_no_key_in_use(void **state)
{
    char unknown[FAAS_APIKEY_TEXT];

    (void)state;
    assert_int_equal(status_with(key), 200);
    process_stop(&auth, NULL, NULL);
    for (int i = 0; i < 5; i++)
        assert_int_equal(status_with(key), 200);
    faas_apikey_new(unknown);
    for (int i = 0; i < 3; i++) { /* may be good: not 401 */
        assert_int_equal(status_with(unknown), 503);
        reply_assert_problem(&reply, 503, "unavailable");
        assert_string_not_equal(reply_field(&reply, "Retry-After"), "");
    }
    start_auth();
    assert_int_equal(status_with(key), 200);
    assert_int_equal(status_with(unknown), 401);
}

/* ---- asked for again ---- */

static bool has_three_checks(void *arg)
{
    assert_int_equal(status_with(arg), 200);
    return atomic_load(&says.checks) >= 3;
}

/* Also without any word of an end: what auth says now counts from then on. */
static void a_key_in_use_is_asked_for_again_and_again(void **state)
{
    (void)state;
    wait_until(has_three_checks, key, BOUND_MS, "the key is asked for again");
    atomic_store(&says.is_gone, true);
    wait_until(is_refused, key, BOUND_MS, "the gateway has asked again");
    assert_reason("invalid");
}

static bool has_new_scope(void *arg)
{
    ask_with(arg, "DELETE", "/registry/delete?name=x", NULL);
    return reply.status == 403;
}

static void what_a_key_is_for_may_change(void **state)
{
    (void)state;
    assert_int_equal(status_with(key), 200);
    atomic_store(&says.verbs, "read");
    wait_until(has_new_scope, key, BOUND_MS, "the gateway has asked again");
}

/* One question is sent at most seven times before it is given up. */
static bool was_asked_twice_in_vain(void *arg)
{
    assert_int_equal(status_with(arg), 200);
    return atomic_load(&says.checks) > 1 + 2 * 7;
}

static void a_question_that_fails_takes_no_key_away(void **state)
{
    (void)state;
    assert_int_equal(status_with(key), 200);
    atomic_store(&says.is_held, true);
    wait_until(was_asked_twice_in_vain, key, BOUND_MS, "the key is asked for again");
    atomic_store(&says.is_held, false);
}

/* ---- many wrong ones ---- */

static void who_sends_many_wrong_keys_waits_and_good_ones_pass(void **state)
{
    char wrong[FAAS_APIKEY_TEXT];
    int refused = 0, waits = 0;

    (void)state;
    assert_int_equal(status_with(key), 200);
    for (int i = 0; i < 20 * BAD_LIMIT && waits == 0; i++) {
        faas_apikey_new(wrong);
        refused += status_with(wrong) == 401;
        waits += reply.status == 429;
    }
    assert_true(refused >= BAD_LIMIT);
    assert_int_equal(waits, 1);
    reply_assert_problem(&reply, 429, "busy");
    assert_contains(reply.body, "wrong API keys");
    assert_string_not_equal(reply_field(&reply, "Retry-After"), "");
    for (int i = 0; i < 3; i++)
        assert_int_equal(status_with(key), 200);
}

/* ---- what is written down ---- */

static bool log_has(const char *text)
{
    char path[128];
    FAAS_AUTO(char) *line = NULL;
    size_t room = 0;
    bool has = false;
    FILE *log;

    (void)snprintf(path, sizeof path, "%s/gateway.log", gate.dir);
    log = fopen(path, "re");
    assert_non_null(log);
    while (getline(&line, &room, log) > 0)
        has = has || strstr(line, text) != NULL;
    (void)fclose(log);
    return has;
}

static bool is_logged(void *arg)
{
    return log_has(arg);
}

static void the_log_has_the_id_and_never_the_key(void **state)
{
    char path[256], mark[64];

    (void)state;
    assert_int_equal(status_with(key), 200);
    (void)snprintf(path, sizeof path, "/auth/keys/%s", key);
    ask_with(key, "DELETE", path, NULL);
    assert_int_equal(reply.status, 403);
    assert_null(strstr(reply.body, key + FAAS_APIKEY_ID_TEXT + 5));
    (void)snprintf(path, sizeof path, "/auth/validate?token=%s", key);
    reply_done(&reply);
    gate_ask(&gate, "GET", path, "Authorization: \r\n", NULL, &reply);
    reply_assert_problem(&reply, 401, "unauthenticated"); /* a query is no place for it */
    (void)snprintf(mark, sizeof mark, "\"key\":\"%s\"", id);
    wait_until(is_logged, mark, BOUND_MS, "the requests are logged");
    (void)snprintf(mark, sizeof mark, "faas_%s_****", id);
    wait_until(is_logged, mark, BOUND_MS, "the path is logged");
    assert_false(log_has(key + FAAS_APIKEY_ID_TEXT + 5)); /* its secret */
    assert_false(log_has(hash));
}

#define test(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_key_is_asked_for_once_and_calls_functions),
        test(a_crowd_with_one_new_key_asks_once),
        test(basic_with_a_key_is_as_good),
        test(a_wrong_key_is_refused_and_asked_for_once),
        test(a_malformed_key_reaches_nobody),
        test(an_expired_key_says_so),
        test(a_key_does_what_it_is_for_and_is_told_what_it_lacks),
        test(an_ended_key_is_refused_though_it_was_remembered),
        test(the_end_of_another_key_costs_one_question),
        test(an_answer_from_before_an_end_is_not_believed),
        test(an_auth_that_is_away_breaks_no_key_in_use),
        test(the_log_has_the_id_and_never_the_key),
        test(who_sends_many_wrong_keys_waits_and_good_ones_pass),
    };

    const struct CMUnitTest eager[] = {
        test(a_key_in_use_is_asked_for_again_and_again),
        test(what_a_key_is_for_may_change),
        test(a_question_that_fails_takes_no_key_away),
    };
    int failed = cmocka_run_group_tests(tests, open_gate, close_gate);

    atomic_store(&says.ends, 0);
    return failed + cmocka_run_group_tests(eager, open_eager_gate, close_gate);
}
