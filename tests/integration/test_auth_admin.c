/* Administrators at the real auth programs, several of which start at once: the first one, who may
 * ask, and keys that are made while their session ends.  The gateway is this test. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/done.h"
#include "contract.h"
#include "crypto/token.h"
#include "net/kv.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/support/program.h"
#include "tests/unit/unit.h"

#define REPLICAS 3
#define LONG_MS  30000
#define PASSWORD "correct horse 77"
#define FIRST    "a long first password"

static struct nats *nats;
static struct process client;
static pid_t pids[REPLICAS];
static char key_file[300], admin_file[300], log_file[300];

struct user {
    char id[FAAS_UUID_TEXT], tenant[FAAS_UUID_TEXT];
    char generation[24]; /* of a token of theirs */
};
static struct user admin, walker;

/* ---- the stage ---- */

static pid_t start_auth(const char *id, const char *name, const char *file, const char *log)
{
    char urls[300], id_set[60], keys[400], data[360], name_set[60], file_set[360];
    const char *const settings[] = {urls, id_set, keys, data, name_set, file_set, NULL};

    (void)snprintf(urls, sizeof urls, "NATS_URL=%s", nats_urls(nats));
    (void)snprintf(id_set, sizeof id_set, "INSTANCE_ID=%s", id);
    (void)snprintf(keys, sizeof keys, "AUTH_KEY_FILES=%s", key_file);
    (void)snprintf(data, sizeof data, "DATA_DIR=%s/auth", nats_dir(nats));
    (void)snprintf(name_set, sizeof name_set, "AUTH_ADMIN=%s", name);
    (void)snprintf(file_set, sizeof file_set, "AUTH_ADMIN_FILE=%s", file);
    return program_start("auth", settings, log);
}

/* As a gateway asks, with that id, for that user (NULL: nobody), who came with a token. */
static faas_code ask_as(const char *id, bool is_again, const struct user *user, const char *subject,
                        const char *body, json_t **out_reply, faas_err *err)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(LONG_MS)};
    const struct faas_header headers[] = {
        {FAAS_H_AGAIN, is_again ? "1" : NULL},
        {FAAS_H_USERNAME, "walker"},
        {FAAS_H_GENERATION, user != NULL ? user->generation : "0"},
        {NULL, NULL},
    };
    const struct faas_rpc_request req = {.subject = subject,
                                         .ctx = &ctx,
                                         .headers = headers,
                                         .data = body,
                                         .len = strlen(body),
                                         .retry = FAAS_RPC_SAFE,
                                         .attempt_ms = LONG_MS};
    faas_msg *msg = NULL;
    faas_code rc;

    (void)snprintf(ctx.id, sizeof ctx.id, "%s", id);
    if (user != NULL) {
        memcpy(ctx.user, user->id, sizeof ctx.user);
        memcpy(ctx.tenant, user->tenant, sizeof ctx.tenant);
    }
    rc = faas_rpc_wait(client.rpc, &req, &msg, err);
    if (rc == FAAS_OK)
        rc = faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), true, out_reply, err);
    faas_msg_free(msg);
    return rc;
}

static faas_code ask(const struct user *user, const char *subject, const char *body,
                     json_t **out_reply, faas_err *err)
{
    return ask_as("", false, user, subject, body, out_reply, err);
}

static bool log_says(const char *log, const char *text, int times)
{
    char line[4096];
    int count = 0;
    FILE *file = fopen(log, "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        count += strstr(line, text) != NULL;
    if (file != NULL)
        fclose(file);
    return count >= times;
}

static bool have_all_started(void *arg)
{
    (void)arg;
    return log_says(log_file, "\"msg\":\"started\"", REPLICAS);
}

static bool has_started(void *log)
{
    return log_says(log, "\"msg\":\"started\"", 1);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* Who the claims of their newest token say they are. */
static void log_in(const char *name, const char *password, struct user *out_user)
{
    FAAS_AUTO(json_t) *body = json_pack("{s:s, s:s}", "username", name, "password", password);
    FAAS_AUTO(char) *text = faas_json_text(body, NULL);
    FAAS_AUTO(json_t) *reply = NULL;
    FAAS_AUTO(json_t) *jwks = NULL;
    faas_token_verifier *verifier = NULL;
    struct faas_token_claims claims;
    faas_err err = {0};

    assert_ok(ask(NULL, FAAS_SUBJ_AUTH_LOGIN, text, &reply, &err));
    assert_ok(ask(NULL, FAAS_SUBJ_AUTH_JWKS, "{}", &jwks, &err));
    assert_ok(faas_token_verifier_new(jwks, &verifier, &err));
    assert_ok(faas_token_verify(verifier, json_string_value(json_object_get(reply, "token")),
                                faas_wall_ms() / 1000, &claims, NULL, &err));
    faas_token_verifier_free(verifier);
    memcpy(out_user->id, claims.user, sizeof out_user->id);
    memcpy(out_user->tenant, claims.tenant, sizeof out_user->tenant);
    (void)snprintf(out_user->generation, sizeof out_user->generation, "%lld",
                   (long long)claims.generation);
}

static int start(void **state)
{
    static const char body[] = "{\"username\":\"walker\",\"password\":\"" PASSWORD "\"}";
    FAAS_AUTO(json_t) *made = NULL;
    faas_err err = {0};

    (void)state;
    nats = nats_start(1, NULL);
    process_start(&client,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "gateway", .id = "t"});
    (void)snprintf(key_file, sizeof key_file, "%s/key.pem", nats_dir(nats));
    (void)snprintf(admin_file, sizeof admin_file, "%s/admin.password", nats_dir(nats));
    (void)snprintf(log_file, sizeof log_file, "%s/auth.log", nats_dir(nats));
    program_make_key(key_file);
    write_file(admin_file, FIRST "\n", 0600);
    for (int i = 0; i < REPLICAS; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "a%d", i);
        pids[i] = start_auth(id, "Boss", admin_file, log_file);
    }
    wait_until(have_all_started, NULL, LONG_MS, "three auth programs are ready");
    assert_ok(ask(NULL, FAAS_SUBJ_AUTH_REGISTER, body, &made, &err));
    log_in("boss", FIRST, &admin);
    log_in("walker", PASSWORD, &walker);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < REPLICAS; i++)
        assert_int_equal(program_stop(pids[i], SIGTERM, LONG_MS), 0);
    process_stop(&client, NULL, NULL);
    nats_stop(nats);
    return 0;
}

static faas_code change(const char *fields, faas_err *err)
{
    FAAS_AUTO(json_t) *reply = NULL;
    char body[200];

    (void)snprintf(body, sizeof body, "{\"name\":\"walker\",%s}", fields);
    return ask(&admin, FAAS_SUBJ_AUTH_ADMIN_SET, body, &reply, err);
}

/* ---- tests ---- */

static void three_that_start_at_once_make_one_administrator(void **state)
{
    FAAS_AUTO(json_t) *page = NULL;
    const json_t *items;
    faas_err err = {0};

    (void)state;
    assert_ok(ask(&admin, FAAS_SUBJ_AUTH_ADMIN_USERS, "{}", &page, &err));
    items = json_object_get(page, "items");
    assert_int_equal(json_array_size(items), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(items, 0), "username")),
                        "boss");
    assert_string_equal(json_string_value(json_object_get(json_array_get(items, 0), "role")),
                        "admin");
    assert_true(log_says(log_file, "the first administrator was made", 1));
    assert_false(log_says(log_file, "the first administrator was made", 2));
    assert_false(log_says(log_file, FIRST, 1));
}

static void auth_itself_asks_who_asks(void **state)
{
    static const char *const subjects[] = {FAAS_SUBJ_AUTH_ADMIN_USERS, FAAS_SUBJ_AUTH_ADMIN_USER,
                                           FAAS_SUBJ_AUTH_ADMIN_SET, FAAS_SUBJ_AUTH_ADMIN_WHOIS,
                                           FAAS_SUBJ_AUTH_ADMIN_END};
    const struct user nobody = {.id = "0190a000-0000-7000-8000-000000000001"};
    const struct user *const others[] = {&walker, &nobody, NULL};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(subjects); i++) {
        for (size_t j = 0; j < FAAS_ARRAY_LEN(others); j++) {
            json_t *reply = NULL;
            faas_err err = {0};

            assert_int_equal(ask(others[j], subjects[i], "{\"name\":\"walker\"}", &reply, &err),
                             FAAS_DENIED);
            assert_contains(err.msg, "administrator");
        }
    }
}

/* The request was let in by a gateway, and arrives here once all sessions have ended. */
static void a_key_asked_for_before_the_end_of_sessions_is_not_left(void **state)
{
    static const char wanted[] = "{\"name\":\"late\"}";
    FAAS_AUTO(json_t) *made = NULL;
    FAAS_AUTO(json_t) *keys = NULL;
    FAAS_AUTO(json_t) *later = NULL;
    struct user old = walker;
    json_t *reply = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(ask(&walker, FAAS_SUBJ_AUTH_APIKEY_NEW, wanted, &made, &err));
    assert_ok(change("\"disabled\":true", &err));
    assert_ok(change("\"disabled\":false", &err));
    assert_int_equal(ask(&old, FAAS_SUBJ_AUTH_APIKEY_NEW, wanted, &reply, &err),
                     FAAS_UNAUTHENTICATED);
    assert_ok(ask(&walker, FAAS_SUBJ_AUTH_APIKEY_LIST, "{}", &keys, &err));
    assert_int_equal(json_array_size(json_object_get(keys, "items")), 1);
    log_in("walker", PASSWORD, &walker);
    assert_ok(ask(&walker, FAAS_SUBJ_AUTH_APIKEY_NEW, wanted, &later, &err));
}

static void who_is_disabled_cannot_log_in_and_has_no_key(void **state)
{
    static const char body[] = "{\"username\":\"walker\",\"password\":\"" PASSWORD "\"}";
    json_t *reply = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(change("\"disabled\":true", &err));
    assert_int_equal(ask(NULL, FAAS_SUBJ_AUTH_LOGIN, body, &reply, &err), FAAS_DENIED);
    assert_contains(err.msg, "disabled");
    assert_ok(change("\"disabled\":false", &err));
    log_in("walker", PASSWORD, &walker);
}

/* Asks that instance to disable the walker, or to enable them; are they disabled behind it? */
static faas_code change_at(const char *instance, const char *id, bool is_again, bool is_disabled,
                           bool *out_is_disabled)
{
    FAAS_AUTO(json_t) *reply = NULL;
    char subject[80], body[80];
    faas_err err = {0};

    (void)snprintf(subject, sizeof subject, FAAS_SUBJ_DIRECTLY, "auth", instance, "admin_set");
    (void)snprintf(body, sizeof body, "{\"name\":\"walker\",\"disabled\":%s}",
                   is_disabled ? "true" : "false");
    FAAS_TRY(ask_as(id, is_again, &admin, subject, body, &reply, &err));
    *out_is_disabled = json_is_true(json_object_get(reply, "disabled"));
    return FAAS_OK;
}

/* a0 stood still with it, and goes on when others have done it, and then something else. */
static void a_change_that_comes_late_changes_nothing(void **state)
{
    char id[FAAS_UUID_TEXT], next[FAAS_UUID_TEXT];
    FAAS_AUTO(json_t) *shown = NULL;
    faas_err err = {0};
    bool is_disabled;

    (void)state;
    faas_uuid_new(id);
    assert_ok(change_at("a1", id, true, false, &is_disabled));
    assert_false(is_disabled);
    for (int i = 0; i <= FAAS_DONE_MAX; i++) {
        faas_uuid_new(next);
        assert_ok(change_at("a1", next, false, true, &is_disabled));
        assert_true(is_disabled);
        if (i == 0)
            assert_ok(change_at("a0", id, false, false, &is_disabled));
        assert_true(is_disabled);
    }
    assert_int_equal(change_at("a2", id, false, false, &is_disabled), FAAS_TIMEOUT); /* forgotten */
    assert_ok(ask(&admin, FAAS_SUBJ_AUTH_ADMIN_USER, "{\"name\":\"walker\"}", &shown, &err));
    assert_true(json_is_true(json_object_get(shown, "disabled")));
    assert_ok(change("\"disabled\":false", &err));
    log_in("walker", PASSWORD, &walker);
}

struct leaver {
    struct user user;
    char keys[4][100]; /* of the bucket "users" */
    faas_kv *users;
};

static bool has_left(void *arg)
{
    const struct leaver *leaver = arg;
    struct faas_kv_entry entry = {0};
    bool has_any = false;

    for (size_t i = 0; i < FAAS_ARRAY_LEN(leaver->keys); i++) {
        has_any |= faas_kv_look(leaver->users, leaver->keys[i], faas_deadline_in_ms(LONG_MS),
                                &entry, NULL) == FAAS_OK &&
                   (leaver->keys[i][0] != 'k' || !entry.is_delete);
        faas_kv_entry_done(&entry);
    }
    return !has_any;
}

/* As much as an auth leaves that dies as soon as it may: the note. */
static void note_leaver(const struct leaver *leaver)
{
    FAAS_AUTO(json_t) *note =
        json_pack("{s:i, s:s, s:s, s:s, s:i, s:s}", "v", 1, "op", "x", "tenant",
                  leaver->user.tenant, "username", "walker-2", "at", 1000, "by", "");
    FAAS_AUTO(char) *text = faas_json_text(note, NULL);
    char key[100];
    faas_err err = {0};

    (void)snprintf(key, sizeof key, "d.%s", leaver->user.id);
    assert_ok(faas_kv_put(leaver->users, key, 0, text, strlen(text), faas_deadline_in_ms(LONG_MS),
                          NULL, &err));
}

static void a_deletion_that_died_at_its_first_step_is_finished(void **state)
{
    static const char body[] = "{\"username\":\"walker-2\",\"password\":\"" PASSWORD "\"}";
    FAAS_AUTO(json_t) *made = NULL;
    FAAS_AUTO(json_t) *key = NULL;
    FAAS_AUTO(json_t) *again = NULL;
    struct leaver leaver;
    char hash[FAAS_HASH_TEXT], log[320];
    json_t *reply = NULL;
    faas_err err = {0};
    pid_t pid;

    (void)state;
    assert_ok(ask(NULL, FAAS_SUBJ_AUTH_REGISTER, body, &made, &err));
    log_in("walker-2", PASSWORD, &leaver.user);
    assert_ok(ask(&leaver.user, FAAS_SUBJ_AUTH_APIKEY_NEW, "{\"name\":\"x\"}", &key, &err));
    faas_hash_text("walker-2", strlen("walker-2"), hash);
    (void)snprintf(leaver.keys[0], sizeof leaver.keys[0], "u.%s", leaver.user.id);
    (void)snprintf(leaver.keys[1], sizeof leaver.keys[1], "a.%s", leaver.user.id);
    (void)snprintf(leaver.keys[2], sizeof leaver.keys[2], "n.%s", hash);
    (void)snprintf(leaver.keys[3], sizeof leaver.keys[3], "k.%s",
                   json_string_value(json_object_get(key, "id")));
    assert_ok(faas_kv_open(client.rpc, FAAS_BUCKET_USERS, 1, faas_deadline_in_ms(LONG_MS),
                           &leaver.users, &err));
    assert_false(has_left(&leaver));
    note_leaver(&leaver);
    (void)snprintf(log, sizeof log, "%s/late.log", nats_dir(nats));
    pid = start_auth("late", "boss", admin_file, log);
    wait_until(has_left, &leaver, LONG_MS, "nothing is left of the account");
    assert_int_equal(ask(NULL, FAAS_SUBJ_AUTH_LOGIN, body, &reply, &err), FAAS_UNAUTHENTICATED);
    assert_int_equal(ask(&leaver.user, FAAS_SUBJ_AUTH_APIKEY_NEW, "{\"name\":\"y\"}", &reply, &err),
                     FAAS_UNAUTHENTICATED);
    assert_ok(ask(NULL, FAAS_SUBJ_AUTH_REGISTER, body, &again, &err));
    assert_string_not_equal(json_string_value(json_object_get(again, "id")), leaver.user.id);
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 0);
    faas_kv_close(leaver.users);
}

static void a_name_that_is_taken_makes_nobody_an_administrator(void **state)
{
    FAAS_AUTO(json_t) *shown = NULL;
    char log[320];
    faas_err err = {0};
    pid_t pid;

    (void)state;
    (void)snprintf(log, sizeof log, "%s/taken.log", nats_dir(nats));
    pid = start_auth("taken", "walker", admin_file, log);
    wait_until(has_started, log, LONG_MS, "auth is ready");
    assert_true(log_says(log, "is no administrator", 1));
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 0);
    assert_ok(ask(&admin, FAAS_SUBJ_AUTH_ADMIN_USER, "{\"name\":\"walker\"}", &shown, &err));
    assert_string_equal(json_string_value(json_object_get(shown, "role")), "user");
}

static void a_file_that_holds_no_good_password_stops_the_start(void **state)
{
    static const struct {
        const char *text;
        mode_t mode;
    } bad[] = {{"", 0600}, {"short\n", 0600}, {"newboss\n", 0600}, {FIRST "\n", 0644}};
    char log[320], file[320];

    (void)state;
    (void)snprintf(file, sizeof file, "%s/bad.password", nats_dir(nats));
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        (void)snprintf(log, sizeof log, "%s/bad%zu.log", nats_dir(nats), i);
        write_file(file, bad[i].text, bad[i].mode);
        assert_int_equal(program_wait(start_auth("bad", "newboss", file, log), LONG_MS), 1);
        assert_true(log_says(log, "bad.password", 1));
    }
    assert_int_equal(program_wait(start_auth("bad", "newboss", "/nowhere/x", log), LONG_MS), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_that_start_at_once_make_one_administrator),
        cmocka_unit_test(auth_itself_asks_who_asks),
        cmocka_unit_test(a_key_asked_for_before_the_end_of_sessions_is_not_left),
        cmocka_unit_test(who_is_disabled_cannot_log_in_and_has_no_key),
        cmocka_unit_test(a_change_that_comes_late_changes_nothing),
        cmocka_unit_test(a_deletion_that_died_at_its_first_step_is_finished),
        cmocka_unit_test(a_name_that_is_taken_makes_nobody_an_administrator),
        cmocka_unit_test(a_file_that_holds_no_good_password_stops_the_start),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
