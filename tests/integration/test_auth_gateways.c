/* What auth waits for: a new signing key signs, and a logout answers, only once every gateway has
 * applied it.  The gateway here is this test, and lags for as long as it likes. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "contract.h"
#include "crypto/token.h"
#include "net/kv.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/support/program.h"
#include "tests/unit/unit.h"

#define LONG_MS  30000
#define NAME     "walker"
#define PASSWORD "correct horse 77"
#define ALL      INT64_MAX /* applied whatever there is */

static struct nats *nats;
static struct process gateway;
static faas_members *members;
static faas_kv *revocations;
static pid_t auth;
static char key_file[300], user[FAAS_UUID_TEXT];
static _Atomic int64_t applied = ALL;
static _Atomic int beats;

/* ---- the stage ---- */

static void fill(void *arg, struct faas_beat *beat)
{
    (void)arg;
    beat->applied[0].bucket = FAAS_BUCKET_REVOCATIONS;
    beat->applied[0].seq = (uint64_t)atomic_load(&applied);
    atomic_fetch_add(&beats, 1);
}

static void start_members(void *arg)
{
    const struct faas_members_conf conf = {.service = "gateway", .id = "slow", .fill = fill};
    faas_err err = {0};

    (void)arg;
    assert_ok(faas_members_start(gateway.rpc, &conf, &members, &err));
}

static void stop_members(void *arg)
{
    (void)arg;
    faas_members_stop(members);
}

static bool have_beats(void *arg)
{
    return atomic_load(&beats) >= *(const int *)arg;
}

/* From now on the beats say so; two were sent since, so one at least was filled after. */
static void say_applied(int64_t seq)
{
    int enough = atomic_load(&beats) + 2;

    atomic_store(&applied, seq);
    wait_until(have_beats, &enough, LONG_MS, "two beats");
}

static pid_t start_auth(void)
{
    char urls[300], keys[400], data[360], log[320];
    const char *const settings[] = {urls, "INSTANCE_ID=a1", keys, data, NULL};

    (void)snprintf(urls, sizeof urls, "NATS_URL=%s", nats_urls(nats));
    (void)snprintf(keys, sizeof keys, "AUTH_KEY_FILES=%s", key_file);
    (void)snprintf(data, sizeof data, "DATA_DIR=%s/auth", nats_dir(nats));
    (void)snprintf(log, sizeof log, "%s/auth.log", nats_dir(nats));
    return program_start("auth", settings, log);
}

/* ---- requests ---- */

static faas_code ask(const char *subject, const char *body, json_t **out_reply, faas_err *err)
{
    const struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(LONG_MS)};
    const struct faas_rpc_request req = {.subject = subject,
                                         .ctx = &ctx,
                                         .data = body,
                                         .len = strlen(body),
                                         .retry = FAAS_RPC_SAFE,
                                         .attempt_ms = LONG_MS};
    faas_msg *msg = NULL;
    faas_code rc = faas_rpc_wait(gateway.rpc, &req, &msg, err);

    if (rc == FAAS_OK)
        rc = faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), true, out_reply, err);
    faas_msg_free(msg);
    return rc;
}

static bool is_healthy(void *arg)
{
    FAAS_AUTO(json_t) *reply = NULL;
    faas_err err = {0};

    (void)arg;
    return ask(FAAS_SUBJ_AUTH_HEALTH, "{}", &reply, &err) == FAAS_OK;
}

static size_t published(char out_newest[32])
{
    FAAS_AUTO(json_t) *reply = NULL;
    const json_t *keys;
    faas_err err = {0};

    assert_ok(ask(FAAS_SUBJ_AUTH_JWKS, "{}", &reply, &err));
    keys = json_object_get(reply, "keys");
    (void)snprintf(out_newest, 32, "%s",
                   json_string_value(json_object_get(json_array_get(keys, 0), "kid")));
    return json_array_size(keys);
}

static void signing(char out_kid[32])
{
    FAAS_AUTO(json_t) *reply = NULL;
    faas_err err = {0};

    assert_ok(ask("faas.auth.i.a1.keys", "{}", &reply, &err));
    (void)snprintf(out_kid, 32, "%s", json_string_value(json_object_get(reply, "signing")));
}

static json_t *credentials(const char *subject)
{
    static const char body[] = "{\"username\":\"" NAME "\",\"password\":\"" PASSWORD "\"}";
    json_t *reply = NULL;
    faas_err err = {0};

    assert_ok(ask(subject, body, &reply, &err));
    return reply;
}

/* Logs in; which key signed the token? */
static void login(char out_kid[32])
{
    FAAS_AUTO(json_t) *reply = credentials(FAAS_SUBJ_AUTH_LOGIN);
    FAAS_AUTO(json_t) *jwks = NULL;
    const char *token = json_string_value(json_object_get(reply, "token"));
    struct faas_token_claims claims;
    const json_t *key;
    faas_err err = {0};
    size_t i;

    assert_ok(ask(FAAS_SUBJ_AUTH_JWKS, "{}", &jwks, &err));
    out_kid[0] = '\0';
    json_array_foreach (json_object_get(jwks, "keys"), i, key) {
        FAAS_AUTO(json_t) *alone = json_pack("{s:[O]}", "keys", key);
        faas_token_verifier *verifier = NULL;

        assert_ok(faas_token_verifier_new(alone, &verifier, &err));
        if (faas_token_verify(verifier, token, faas_wall_ms() / 1000, &claims, NULL, NULL) ==
            FAAS_OK)
            (void)snprintf(out_kid, 32, "%s", json_string_value(json_object_get(key, "kid")));
        faas_token_verifier_free(verifier);
    }
    assert_string_not_equal(out_kid, "");
}

static int start(void **state)
{
    FAAS_AUTO(json_t) *made = NULL;
    faas_err err = {0};

    (void)state;
    nats = nats_start(1, NULL);
    process_start(&gateway,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "gateway", .id = "t"});
    process_on_loop(&gateway, start_members, NULL);
    (void)snprintf(key_file, sizeof key_file, "%s/key.pem", nats_dir(nats));
    program_make_key(key_file);
    auth = start_auth();
    wait_until(is_healthy, NULL, LONG_MS, "auth is ready");
    made = credentials(FAAS_SUBJ_AUTH_REGISTER);
    (void)snprintf(user, sizeof user, "%s", json_string_value(json_object_get(made, "id")));
    return faas_kv_open(gateway.rpc, FAAS_BUCKET_REVOCATIONS, 1, faas_deadline_in_ms(LONG_MS),
                        &revocations, &err) == FAAS_OK
               ? 0
               : -1;
}

static int stop(void **state)
{
    (void)state;
    assert_int_equal(program_stop(auth, SIGTERM, LONG_MS), 0);
    faas_kv_close(revocations);
    process_stop(&gateway, stop_members, NULL);
    nats_stop(nats);
    return 0;
}

/* ---- keys ---- */

static bool has_two_keys(void *arg)
{
    return published(arg) == 2;
}

static bool signs_with(void *arg)
{
    char kid[32];

    signing(kid);
    return strcmp(kid, arg) == 0;
}

static void a_new_key_signs_only_once_every_gateway_knows_it(void **state)
{
    char old[32], newest[32], kid[32];

    (void)state;
    login(old);
    say_applied(0);
    program_make_key(key_file);
    wait_until(has_two_keys, newest, LONG_MS, "the new key is published");
    assert_string_not_equal(newest, old);
    for (int i = 0; i < 10; i++) {
        login(kid);
        assert_string_equal(kid, old);
    }
    signing(kid);
    assert_string_equal(kid, old);
    say_applied(ALL);
    wait_until(signs_with, newest, LONG_MS, "the new key signs");
    login(kid);
    assert_string_equal(kid, newest);
}

/* ---- logout ---- */

struct logout {
    atomic_bool is_answered;
    faas_code code;
    faas_err err;
    char jti[FAAS_UUID_TEXT];
};

static void *run_logout(void *arg)
{
    struct logout *logout = arg;
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(20000)};
    char end[24];
    const struct faas_header headers[] = {
        {FAAS_H_TOKEN, logout->jti}, {FAAS_H_TOKEN_END, end}, {NULL, NULL}};
    const struct faas_rpc_request req = {.subject = FAAS_SUBJ_AUTH_LOGOUT,
                                         .ctx = &ctx,
                                         .headers = headers,
                                         .data = "{}",
                                         .len = 2,
                                         .attempt_ms = LONG_MS};
    FAAS_AUTO(faas_msg) *msg = NULL;

    memcpy(ctx.user, user, sizeof ctx.user);
    (void)snprintf(end, sizeof end, "%lld", (long long)(faas_wall_ms() / 1000 + 1000));
    logout->code = faas_rpc_wait(gateway.rpc, &req, &msg, &logout->err);
    atomic_store(&logout->is_answered, true);
    return NULL;
}

static bool is_stored(void *arg)
{
    const struct logout *logout = arg;
    struct faas_kv_entry entry = {0};
    char key[64];
    faas_err err = {0};
    bool is_there;

    (void)snprintf(key, sizeof key, "u.%s", user);
    if (faas_kv_get(revocations, key, faas_deadline_in_ms(LONG_MS), &entry, &err) != FAAS_OK)
        return false;
    is_there = strstr(entry.value, logout->jti) != NULL;
    faas_kv_entry_done(&entry);
    return is_there;
}

static void a_logout_answers_only_once_every_gateway_has_seen_it(void **state)
{
    struct logout logout = {.code = FAAS_OK};
    pthread_t thread;
    char kid[32];

    (void)state;
    faas_uuid_new(logout.jti);
    say_applied(0);
    assert_int_equal(pthread_create(&thread, NULL, run_logout, &logout), 0);
    wait_until(is_stored, &logout, LONG_MS, "the end of the session is stored");
    for (int i = 0; i < 5; i++) /* auth does other things meanwhile */
        login(kid);
    assert_false(atomic_load(&logout.is_answered));
    say_applied(ALL);
    pthread_join(thread, NULL);
    assert_int_equal(logout.code, FAAS_OK);
}

static void a_logout_that_a_gateway_has_not_seen_in_time_says_so(void **state)
{
    struct logout logout = {.code = FAAS_OK};

    (void)state;
    faas_uuid_new(logout.jti);
    say_applied(0);
    (void)run_logout(&logout);
    assert_int_equal(logout.code, FAAS_UNAVAILABLE);
    assert_contains(logout.err.msg, "not every gateway has confirmed");
    assert_true(is_stored(&logout));
    say_applied(ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_key_signs_only_once_every_gateway_knows_it),
        cmocka_unit_test(a_logout_answers_only_once_every_gateway_has_seen_it),
        cmocka_unit_test(a_logout_that_a_gateway_has_not_seen_in_time_says_so),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
