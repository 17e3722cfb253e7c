/* Who may register, with real auth programs on a real NATS server: invitations, caps, and that an
 * unknown name costs a login the same hash as a known one. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "contract.h"
#include "net/kv.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/support/program.h"
#include "tests/unit/unit.h"

#define LONG_MS  30000
#define RACERS   12
#define PASSWORD "correct horse 77"

static struct nats *nats;
static struct process client;
static pid_t pid; /* of the auth program under test; 0: none */
static char key_file[300];

/* ---- the stage ---- */

static faas_code ask(const char *subject, const char *body, json_t **out_reply, faas_err *err)
{
    static const struct faas_header headers[] = {{FAAS_H_CLIENT, "192.0.2.1"}, {NULL, NULL}};
    const struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(LONG_MS)};
    struct faas_rpc_request req = {.subject = subject,
                                   .headers = headers,
                                   .ctx = &ctx,
                                   .data = body,
                                   .len = strlen(body),
                                   .attempt_ms = 1000};
    faas_msg *msg = NULL;
    faas_code rc;

    if (strstr(subject, ".health") != NULL)
        req.retry = FAAS_RPC_SAFE;
    rc = faas_rpc_wait(client.rpc, &req, &msg, err);
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

static int open_stage(void **state)
{
    (void)state;
    nats = nats_start(1, NULL);
    process_start(&client,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "gateway", .id = "t"});
    (void)snprintf(key_file, sizeof key_file, "%s/key.pem", nats_dir(nats));
    program_make_key(key_file);
    return 0;
}

static int close_stage(void **state)
{
    (void)state;
    process_stop(&client, NULL, NULL);
    nats_stop(nats);
    return 0;
}

static int end_auth(void **state)
{
    (void)state;
    if (pid != 0)
        assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 0);
    pid = 0;
    return 0;
}

static void begin_auth(const char *setting, const char *further)
{
    char urls[300], keys[320], data[360], log[360];
    const char *const settings[] = {urls, keys, data, "INSTANCE_ID=a", setting, further, NULL};

    (void)snprintf(urls, sizeof urls, "NATS_URL=%s", nats_urls(nats));
    (void)snprintf(keys, sizeof keys, "AUTH_KEY_FILES=%s", key_file);
    (void)snprintf(data, sizeof data, "DATA_DIR=%s/auth", nats_dir(nats));
    (void)snprintf(log, sizeof log, "%s/auth.log", nats_dir(nats));
    pid = program_start("auth", settings, log);
    wait_until(is_healthy, NULL, LONG_MS, "auth is ready");
}

/* ---- requests ---- */

static faas_code sign_up(const char *name, const char *invitation, faas_err *err)
{
    FAAS_AUTO(json_t) *body = json_pack("{s:s, s:s, s:s*}", "username", name, "password", PASSWORD,
                                        "invitation", invitation);
    FAAS_AUTO(char) *text = faas_json_text(body, NULL);
    FAAS_AUTO(json_t) *reply = NULL;

    assert_non_null(text);
    *err = (faas_err){0};
    return ask(FAAS_SUBJ_AUTH_REGISTER, text, &reply, err);
}

static faas_code log_in(const char *name, const char *password)
{
    char body[200];
    FAAS_AUTO(json_t) *reply = NULL;
    faas_err err = {0};

    (void)snprintf(body, sizeof body, "{\"username\":\"%s\",\"password\":\"%s\"}", name, password);
    return ask(FAAS_SUBJ_AUTH_LOGIN, body, &reply, &err);
}

static void invite(char out_code[33])
{
    FAAS_AUTO(json_t) *reply = NULL;
    faas_err err = {0};
    const char *code;

    assert_ok(ask(FAAS_SUBJ_AUTH_INVITE, "{\"expires_in\":3600}", &reply, &err));
    code = json_string_value(json_object_get(reply, "invitation"));
    assert_non_null(code);
    assert_int_equal(strlen(code), 32);
    assert_non_null(json_object_get(reply, "expires_at"));
    (void)snprintf(out_code, 33, "%s", code);
}

/* ---- invitations ---- */

static void an_invitation_lets_one_in_once(void **state)
{
    char code[33];
    faas_err err;

    (void)state;
    begin_auth("SIGNUP=invite", NULL);
    assert_int_equal(sign_up("stranger", NULL, &err), FAAS_DENIED);
    assert_contains(err.msg, "takes an invitation");
    assert_int_equal(sign_up("stranger", "0123456789abcdef0123456789abcdef", &err), FAAS_DENIED);
    assert_contains(err.msg, "not known, used already, or expired");
    assert_int_equal(sign_up("stranger", "*", &err), FAAS_DENIED);
    invite(code);
    assert_ok(sign_up("guest", code, &err));
    assert_ok(log_in("guest", PASSWORD));
    assert_int_equal(sign_up("second", code, &err), FAAS_DENIED);
    assert_int_equal(log_in("second", PASSWORD), FAAS_UNAUTHENTICATED);
}

static void a_taken_name_does_not_use_the_invitation_up(void **state)
{
    char code[33];
    faas_err err;

    (void)state;
    begin_auth("SIGNUP=invite", NULL);
    invite(code);
    assert_int_equal(sign_up("guest", code, &err), FAAS_CONFLICT);
    assert_int_equal(sign_up("guest", NULL, &err), FAAS_DENIED); /* tells no names */
    assert_ok(sign_up("guest-two", code, &err));
}

static void an_expired_invitation_is_refused(void **state)
{
    static const char code[] = "00112233445566778899aabbccddeeff";
    char hash[FAAS_HASH_TEXT], key[80], value[120];
    faas_kv *kv = NULL;
    faas_err err = {0};

    (void)state;
    begin_auth("SIGNUP=invite", NULL);
    faas_hash_text(code, sizeof code - 1, hash);
    (void)snprintf(key, sizeof key, "i.%s", hash);
    (void)snprintf(value, sizeof value,
                   "{\"v\":1,\"op\":\"x\",\"expires_at\":%lld,\"claimed\":false}",
                   (long long)(faas_wall_ms() - 1));
    assert_ok(
        faas_kv_open(client.rpc, FAAS_BUCKET_USERS, 1, faas_deadline_in_ms(LONG_MS), &kv, &err));
    assert_ok(
        faas_kv_put(kv, key, 0, value, strlen(value), faas_deadline_in_ms(LONG_MS), NULL, &err));
    assert_int_equal(sign_up("belated", code, &err), FAAS_DENIED);
    assert_contains(err.msg, "expired");
    faas_kv_close(kv);
}

struct race {
    const char *code;
    _Atomic int number, won, denied, other;
};

static void *racer(void *arg)
{
    struct race *race = arg;
    char name[32];
    faas_err err;
    faas_code rc;

    (void)snprintf(name, sizeof name, "racer-%d", atomic_fetch_add(&race->number, 1));
    rc = sign_up(name, race->code, &err);
    race->won += rc == FAAS_OK;
    race->denied += rc == FAAS_DENIED;
    race->other += rc != FAAS_OK && rc != FAAS_DENIED && rc != FAAS_BUSY;
    return NULL;
}

static void one_of_many_who_share_an_invitation_gets_in(void **state)
{
    char code[33];
    struct race race = {.code = code};
    pthread_t threads[RACERS];

    (void)state;
    begin_auth("SIGNUP=invite", NULL);
    invite(code);
    for (int i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, racer, &race), 0);
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(race.won, 1);
    assert_int_equal(race.other, 0);
}

static void the_operators_request_is_checked_too(void **state)
{
    FAAS_AUTO(json_t) *reply = NULL;
    faas_err err = {0};

    (void)state;
    begin_auth("SIGNUP=invite", NULL);
    assert_int_equal(ask(FAAS_SUBJ_AUTH_INVITE, "{\"expires_in\":1}", &reply, &err), FAAS_INVALID);
    assert_contains(err.msg, "expires_in");
    assert_int_equal(ask(FAAS_SUBJ_AUTH_INVITE, "{\"name\":1}", &reply, &err), FAAS_INVALID);
}

/* ---- caps ---- */

static void an_address_that_made_its_share_waits(void **state)
{
    faas_err err;

    (void)state;
    begin_auth("SIGNUP=open", "SIGNUP_PER_ADDRESS=2");
    assert_ok(sign_up("first-of-two", NULL, &err));
    assert_int_equal(sign_up("first-of-two", NULL, &err), FAAS_CONFLICT); /* not counted */
    assert_ok(sign_up("second-of-two", NULL, &err));
    assert_int_equal(sign_up("third-of-two", NULL, &err), FAAS_BUSY);
    assert_contains(err.msg, "more than 2 new accounts an hour from this address");
    assert_in_range(err.retry_after_s, 1, 1800);
}

static void a_full_platform_takes_nobody_but_lets_all_log_in(void **state)
{
    char limit[60];
    faas_err err;
    int free_places = 0;

    (void)state;
    begin_auth("SIGNUP=open", "SIGNUP_ACCOUNTS=1"); /* others made accounts before */
    assert_int_equal(sign_up("one-too-many", NULL, &err), FAAS_BUSY);
    assert_contains(err.msg, "1 accounts, the most allowed");
    assert_true(err.retry_after_s > 0);
    assert_ok(log_in("guest", PASSWORD));
    assert_int_equal(end_auth(NULL), 0);
    (void)snprintf(limit, sizeof limit, "SIGNUP_ACCOUNTS=%d", 40);
    begin_auth("SIGNUP=open", limit);
    for (int i = 0; i < 40 && free_places == i; i++) {
        char name[32];

        (void)snprintf(name, sizeof name, "filler-%d", i);
        free_places += sign_up(name, NULL, &err) == FAAS_OK;
    }
    assert_int_equal(err.code, FAAS_BUSY);
    /* Made above: guest, guest-two, a racer, and two from one address. */
    assert_int_equal(free_places, 40 - 5);
}

/* ---- unknown names ---- */

static int64_t hashes(void)
{
    FAAS_AUTO(json_t) *stats = NULL;
    const char *text, *row;
    faas_err err = {0};

    assert_ok(ask("$SRV.STATS.auth.a", "", &stats, &err));
    text = json_string_value(json_object_get(stats, "metrics"));
    assert_non_null(text);
    row = strstr(text, "\nfaas_password_hashes_total ");
    assert_non_null(row);
    return strtoll(row + strlen("\nfaas_password_hashes_total "), NULL, 10);
}

static void a_login_costs_one_hash_whether_or_not_the_name_is_known(void **state)
{
    int64_t before;

    (void)state;
    begin_auth("SIGNUP=closed", NULL);
    before = hashes();
    assert_ok(log_in("guest", PASSWORD));
    assert_int_equal(hashes(), before + 1);
    assert_int_equal(log_in("guest", "wrong password"), FAAS_UNAUTHENTICATED);
    assert_int_equal(hashes(), before + 2);
    assert_int_equal(log_in("nobody-at-all", "wrong password"), FAAS_UNAUTHENTICATED);
    assert_int_equal(hashes(), before + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_invitation_lets_one_in_once, end_auth),
        cmocka_unit_test_teardown(a_taken_name_does_not_use_the_invitation_up, end_auth),
        cmocka_unit_test_teardown(an_expired_invitation_is_refused, end_auth),
        cmocka_unit_test_teardown(one_of_many_who_share_an_invitation_gets_in, end_auth),
        cmocka_unit_test_teardown(the_operators_request_is_checked_too, end_auth),
        cmocka_unit_test_teardown(an_address_that_made_its_share_waits, end_auth),
        cmocka_unit_test_teardown(a_full_platform_takes_nobody_but_lets_all_log_in, end_auth),
        cmocka_unit_test_teardown(a_login_costs_one_hash_whether_or_not_the_name_is_known,
                                  end_auth),
    };

    return cmocka_run_group_tests(tests, open_stage, close_stage);
}
