/* Three auth programs on three real NATS servers: accounts, races, tokens, bad starts. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "contract.h"
#include "crypto/token.h"
#include "net/kv.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/support/program.h"
#include "tests/unit/unit.h"

#define REPLICAS 3
#define RACERS   50
#define ROUNDS   4
#define LONG_MS  30000
#define PASSWORD "correct horse 77"

static struct nats *nats;
static struct process client;
static pid_t pids[REPLICAS];
static char log_file[300], key_file[300], old_key_file[300];

/* ---- the stage ---- */

static pid_t start_auth(const char *id, const char *keys, const char *signup, const char *log)
{
    char urls[300], id_set[60], keys_set[700], signup_set[60], data[360];
    const char *const settings[] = {urls, id_set,       keys_set,         signup_set,
                                    data, "REPLICAS=3", "TOKEN_TTL=1000", NULL};

    (void)snprintf(urls, sizeof urls, "NATS_URL=%s", nats_urls(nats));
    (void)snprintf(id_set, sizeof id_set, "INSTANCE_ID=%s", id);
    (void)snprintf(keys_set, sizeof keys_set, "AUTH_KEY_FILES=%s", keys);
    (void)snprintf(signup_set, sizeof signup_set, "SIGNUP=%s", signup);
    (void)snprintf(data, sizeof data, "DATA_DIR=%s/auth", nats_dir(nats));
    return program_start("auth", settings, log);
}

static faas_code ask(const char *subject, const char *body, json_t **out_reply, faas_err *err)
{
    const struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(LONG_MS)};
    struct faas_rpc_request req = {
        .subject = subject, .ctx = &ctx, .data = body, .len = strlen(body), .attempt_ms = 1000};
    faas_msg *msg = NULL;
    faas_code rc;

    if (strcmp(subject, FAAS_SUBJ_AUTH_HEALTH) == 0)
        req.retry = FAAS_RPC_SAFE; /* as the gateway does: reads are sent again, a write once */
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

static int count_ready(void)
{
    char line[4096];
    int count = 0;
    FILE *log = fopen(log_file, "r");

    while (log != NULL && fgets(line, sizeof line, log) != NULL)
        count += strstr(line, "\"msg\":\"started\"") != NULL;
    if (log != NULL)
        fclose(log);
    return count;
}

static bool are_all_ready(void *arg)
{
    (void)arg;
    return count_ready() >= REPLICAS && is_healthy(NULL);
}

static int start(void **state)
{
    char keys[700];

    (void)state;
    nats = nats_start(3, NULL);
    process_start(&client,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "gateway", .id = "t"});
    (void)snprintf(key_file, sizeof key_file, "%s/new.pem", nats_dir(nats));
    (void)snprintf(old_key_file, sizeof old_key_file, "%s/old.pem", nats_dir(nats));
    program_make_key(key_file);
    program_make_key(old_key_file);
    (void)snprintf(log_file, sizeof log_file, "%s/auth.log", nats_dir(nats));
    (void)snprintf(keys, sizeof keys, "%s,%s", key_file, old_key_file);
    for (int i = 0; i < REPLICAS; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "a%d", i);
        pids[i] = start_auth(id, keys, "open", log_file);
    }
    wait_until(are_all_ready, NULL, LONG_MS, "three auth programs are ready");
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

/* ---- requests ---- */

static faas_code credentials(const char *subject, const char *name, const char *password,
                             json_t **out_reply, faas_err *err)
{
    FAAS_AUTO(json_t) *body = json_pack("{s:s, s:s}", "username", name, "password", password);
    FAAS_AUTO(char) *text = faas_json_text(body, NULL);

    assert_non_null(text);
    return ask(subject, text, out_reply, err);
}

static const char *text_of(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    assert_non_null(text);
    return text;
}

static void a_registered_user_gets_a_token_with_the_claims(void **state)
{
    FAAS_AUTO(json_t) *made = NULL;
    FAAS_AUTO(json_t) *login = NULL;
    FAAS_AUTO(json_t) *jwks = NULL;
    faas_token_verifier *verifier = NULL;
    struct faas_token_claims claims;
    faas_err err = {0};

    (void)state;
    assert_ok(credentials(FAAS_SUBJ_AUTH_REGISTER, "Walker", PASSWORD, &made, &err));
    assert_int_equal(json_object_size(made), 2);
    assert_string_equal(text_of(made, "username"), "walker");
    assert_ok(credentials(FAAS_SUBJ_AUTH_LOGIN, "WALKER", PASSWORD, &login, &err));
    assert_string_equal(text_of(login, "token_type"), "Bearer");
    assert_int_equal(json_integer_value(json_object_get(login, "expires_in")), 1000);
    assert_ok(ask(FAAS_SUBJ_AUTH_JWKS, "{}", &jwks, &err));
    assert_int_equal(json_array_size(json_object_get(jwks, "keys")), 2);
    assert_ok(faas_token_verifier_new(jwks, &verifier, &err));
    assert_ok(faas_token_verify(verifier, text_of(login, "token"), faas_wall_ms() / 1000, &claims,
                                NULL, &err));
    assert_string_equal(claims.user, text_of(made, "id"));
    assert_string_equal(claims.username, "walker");
    assert_true(faas_uuid_is(claims.tenant));
    assert_string_not_equal(claims.tenant, claims.user);
    assert_int_equal(claims.expires_at - claims.issued_at, 1000);
    faas_token_verifier_free(verifier);
}

static void a_name_is_taken_whatever_its_case(void **state)
{
    FAAS_AUTO(json_t) *made = NULL;
    FAAS_AUTO(json_t) *again = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(credentials(FAAS_SUBJ_AUTH_REGISTER, "once", PASSWORD, &made, &err));
    assert_int_equal(credentials(FAAS_SUBJ_AUTH_REGISTER, "ONCE", PASSWORD, &again, &err),
                     FAAS_CONFLICT);
    assert_string_equal(err.msg, "username: taken; choose another one");
}

static void unknown_users_and_wrong_passwords_answer_alike(void **state)
{
    static const char *const names[] = {"known", "nobody-here", "not a name", ""};
    FAAS_AUTO(json_t) *made = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(credentials(FAAS_SUBJ_AUTH_REGISTER, "known", PASSWORD, &made, &err));
    for (size_t i = 0; i < FAAS_ARRAY_LEN(names); i++) {
        json_t *reply = NULL;

        err = (faas_err){0};
        assert_int_equal(
            credentials(FAAS_SUBJ_AUTH_LOGIN, names[i], "wrong password", &reply, &err),
            FAAS_UNAUTHENTICATED);
        assert_string_equal(err.msg, "the user name or the password is wrong");
    }
}

static void bad_bodies_name_their_field(void **state)
{
    static const char *const rows[][2] = {
        {"{\"username\":\"a\",\"password\":\"" PASSWORD "\"}", "username: "},
        {"{\"username\":\"okay\",\"password\":\"short\"}", "password: "},
        {"{\"username\":\"okay\",\"password\":\"password\"}", "password: "},
        {"{\"username\":\"longname12\",\"password\":\"LongName12\"}", "password: "},
        {"{\"username\":\"okay\"}", "password: required"},
        {"{\"username\":\"okay\",\"password\":\"" PASSWORD "\",\"role\":1}", "role: unknown"},
        {"{\"username\":\"x\",\"username\":\"okay\",\"password\":\"" PASSWORD "\"}", "username"},
        {"not json", "JSON"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        json_t *reply = NULL;
        faas_err err = {0};

        assert_int_equal(ask(FAAS_SUBJ_AUTH_REGISTER, rows[i][0], &reply, &err), FAAS_INVALID);
        assert_contains(err.msg, rows[i][1]);
    }
}

/* ---- the race for a name ---- */

struct race {
    char name[32];
    _Atomic int won, lost, busy, other;
    pthread_mutex_t mu;
    char winner[FAAS_UUID_TEXT]; /* guarded by mu */
};

static void *racer(void *arg)
{
    struct race *race = arg;
    FAAS_AUTO(json_t) *reply = NULL;
    faas_err err = {0};
    faas_code rc = credentials(FAAS_SUBJ_AUTH_REGISTER, race->name, PASSWORD, &reply, &err);

    if (rc == FAAS_OK) {
        pthread_mutex_lock(&race->mu);
        (void)snprintf(race->winner, sizeof race->winner, "%s", text_of(reply, "id"));
        pthread_mutex_unlock(&race->mu);
        race->won++;
    } else if (rc == FAAS_CONFLICT) {
        race->lost++;
    } else if (rc == FAAS_BUSY) {
        race->busy++;
    } else {
        print_error("a racer got %s: %s (%s)\n", faas_code_slug(rc), err.msg, err.detail);
        race->other++;
    }
    return NULL;
}

static void exactly_one_of_fifty_registrations_of_a_name_wins(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct race race = {.mu = PTHREAD_MUTEX_INITIALIZER};
        pthread_t threads[RACERS];
        FAAS_AUTO(json_t) *login = NULL;
        faas_err err = {0};

        (void)snprintf(race.name, sizeof race.name, "racer-%d", round);
        for (int i = 0; i < RACERS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, racer, &race), 0);
        for (int i = 0; i < RACERS; i++)
            pthread_join(threads[i], NULL);
        print_message("round %d: %d won, %d conflict, %d busy, %d other\n", round, race.won,
                      race.lost, race.busy, race.other);
        assert_int_equal(race.won, 1);
        assert_int_equal(race.other, 0);
        assert_int_equal(race.won + race.lost + race.busy, RACERS);
        assert_ok(credentials(FAAS_SUBJ_AUTH_LOGIN, race.name, PASSWORD, &login, &err));
    }
    test_promise(5, "1 winner of %d user registrations, in %d of %d rounds", RACERS, ROUNDS,
                 ROUNDS);
}

/* Keys of the bucket that match and hold a value; each value is shown to look (or NULL). */
static size_t live_keys(faas_kv *kv, const char *filter, void (*look)(const char *value))
{
    char body[200];
    FAAS_AUTO(json_t) *reply = NULL;
    const char *subject;
    json_t *count;
    size_t live = 0;
    faas_err err = {0};

    (void)snprintf(body, sizeof body, "{\"subjects_filter\":\"$KV.users.%s\"}", filter);
    assert_ok(ask("$JS.API.STREAM.INFO.KV_users", body, &reply, &err));
    json_object_foreach (json_object_get(json_object_get(reply, "state"), "subjects"), subject,
                         count) {
        struct faas_kv_entry entry = {0};
        faas_code rc = faas_kv_get(kv, subject + strlen("$KV.users."), faas_deadline_in_ms(LONG_MS),
                                   &entry, &err);

        assert_true(rc == FAAS_OK || rc == FAAS_NOT_FOUND);
        live += rc == FAAS_OK;
        if (rc == FAAS_OK && look != NULL)
            look(entry.value);
        faas_kv_entry_done(&entry);
    }
    return live;
}

static void is_hashed(const char *value)
{
    assert_null(strstr(value, PASSWORD));
    assert_contains(value, "$argon2id$");
}

static void losers_leave_no_account_behind(void **state)
{
    faas_kv *kv = NULL;
    faas_err err = {0};
    size_t names, users;

    (void)state;
    assert_ok(
        faas_kv_open(client.rpc, FAAS_BUCKET_USERS, 3, faas_deadline_in_ms(LONG_MS), &kv, &err));
    names = live_keys(kv, "n.*", NULL);
    users = live_keys(kv, "u.*", is_hashed);
    assert_true(names > ROUNDS);
    assert_int_equal(users, names);
    faas_kv_close(kv);
}

/* ---- faults ---- */

static void registering_survives_the_death_of_a_nats_server(void **state)
{
    FAAS_AUTO(json_t) *made = NULL;
    FAAS_AUTO(json_t) *login = NULL;
    faas_err err = {0};
    int leader = nats_leader_of(nats, "KV_users");

    (void)state;
    assert_true(leader >= 0);
    nats_kill(nats, leader);
    wait_until(is_healthy, NULL, LONG_MS, "an auth program answers again");
    assert_ok(credentials(FAAS_SUBJ_AUTH_REGISTER, "survivor", PASSWORD, &made, &err));
    assert_ok(credentials(FAAS_SUBJ_AUTH_LOGIN, "survivor", PASSWORD, &login, &err));
    nats_restart(nats, leader);
}

static int refused_starts;

static void start_says(const char *keys, const char *signup, const char *message)
{
    char log[320], text[4096] = "";
    pid_t pid;
    int fd;

    (void)snprintf(log, sizeof log, "%s/bad.log", nats_dir(nats));
    (void)unlink(log);
    pid = start_auth("bad", keys, signup, log);
    assert_int_equal(program_wait(pid, LONG_MS), 1);
    fd = open(log, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    assert_contains(text, "cannot start");
    assert_contains(text, message);
    refused_starts++;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void bad_keys_and_settings_stop_the_start(void **state)
{
    char path[320], list[700];

    (void)state;
    start_says("", "open", "AUTH_KEY_FILES");
    start_says("/nowhere/key.pem", "open", "/nowhere/key.pem");
    start_says(key_file, "maybe", "SIGNUP: open, invite or closed");
    (void)snprintf(path, sizeof path, "%s/empty.pem", nats_dir(nats));
    write_file(path, "", 0600);
    start_says(path, "open", "empty.pem");
    (void)snprintf(list, sizeof list, "%s,%s", key_file, path);
    start_says(list, "open", "empty.pem");
    (void)snprintf(path, sizeof path, "%s/short.pem", nats_dir(nats));
    write_file(path, "secret", 0600);
    start_says(path, "open", "short.pem");
    assert_int_equal(chmod(old_key_file, 0640), 0);
    start_says(old_key_file, "open", "old.pem");
    (void)snprintf(list, sizeof list, "%s,%s", key_file, old_key_file);
    start_says(list, "open", "old.pem");
    assert_int_equal(chmod(old_key_file, 0600), 0);
    test_promise(3, "%d of %d starts refused: keys missing, empty, short, readable by others",
                 refused_starts, refused_starts);
}

static void a_closed_sign_up_lets_nobody_in(void **state)
{
    char log[320];
    pid_t pid;
    int denied = 0;

    (void)state;
    (void)snprintf(log, sizeof log, "%s/closed.log", nats_dir(nats));
    for (int i = 0; i < REPLICAS; i++)
        assert_int_equal(program_stop(pids[i], SIGTERM, LONG_MS), 0);
    pid = start_auth("closed", key_file, "closed", log);
    wait_until(is_healthy, NULL, LONG_MS, "the closed auth program is ready");
    for (int i = 0; i < 3; i++) {
        json_t *reply = NULL;
        faas_err err = {0};

        denied +=
            credentials(FAAS_SUBJ_AUTH_REGISTER, "late", PASSWORD, &reply, &err) == FAAS_DENIED;
        assert_contains(err.msg, "sign-up is closed");
    }
    assert_int_equal(denied, 3);
    {
        FAAS_AUTO(json_t) *login = NULL;
        faas_err err = {0};

        assert_ok(credentials(FAAS_SUBJ_AUTH_LOGIN, "walker", PASSWORD, &login, &err));
    }
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 0);
    for (int i = 0; i < REPLICAS; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "b%d", i);
        pids[i] = start_auth(id, key_file, "open", log_file);
    }
    wait_until(is_healthy, NULL, LONG_MS, "auth is back");
}

/* Last: everything above went through these processes. */
static void no_password_and_no_token_is_in_a_log(void **state)
{
    char line[8192];
    int lines = 0;
    FILE *log = fopen(log_file, "r");

    (void)state;
    assert_non_null(log);
    while (fgets(line, sizeof line, log) != NULL) {
        lines++;
        assert_null(strstr(line, PASSWORD));
        assert_null(strstr(line, "wrong password"));
        assert_null(strstr(line, "eyJ"));
        assert_null(strstr(line, "$argon2id"));
    }
    assert_true(lines > 10);
    fclose(log);
    test_promise(40, "0 passwords, hashes and tokens in the logs of all tests above");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_registered_user_gets_a_token_with_the_claims),
        cmocka_unit_test(a_name_is_taken_whatever_its_case),
        cmocka_unit_test(unknown_users_and_wrong_passwords_answer_alike),
        cmocka_unit_test(bad_bodies_name_their_field),
        cmocka_unit_test(exactly_one_of_fifty_registrations_of_a_name_wins),
        cmocka_unit_test(losers_leave_no_account_behind),
        cmocka_unit_test(registering_survives_the_death_of_a_nats_server),
        cmocka_unit_test(bad_keys_and_settings_stop_the_start),
        cmocka_unit_test(a_closed_sign_up_lets_nobody_in),
        cmocka_unit_test(no_password_and_no_token_is_in_a_log),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
