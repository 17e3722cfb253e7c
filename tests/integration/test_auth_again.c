/* An auth program is asked again for what another one did that is gone: the same answer, and nothing
 * is done twice.  Another request with the same body shows what doing it twice would look like. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "contract.h"
#include "crypto/apikey.h"
#include "net/kv.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/support/program.h"
#include "tests/unit/unit.h"

#define LONG_MS 30000
#define NAME    "walker"
#define FIRST   "correct horse 77"
#define SECOND  "battery staple 88"

static struct nats *nats;
static struct process gateway;
static faas_kv *users;
static pid_t pids[2];
static char user[FAAS_UUID_TEXT];

static void start_auth(int which)
{
    char urls[300], id[40], keys[400], data[360], log[320], key_file[300];
    const char *const settings[] = {urls, id, keys, data, "SIGNUP=invite", NULL};

    (void)snprintf(key_file, sizeof key_file, "%s/key.pem", nats_dir(nats));
    if (which == 0)
        program_make_key(key_file);
    (void)snprintf(urls, sizeof urls, "NATS_URL=%s", nats_urls(nats));
    (void)snprintf(id, sizeof id, "INSTANCE_ID=a%d", which);
    (void)snprintf(keys, sizeof keys, "AUTH_KEY_FILES=%s", key_file);
    (void)snprintf(data, sizeof data, "DATA_DIR=%s/auth%d", nats_dir(nats), which);
    (void)snprintf(log, sizeof log, "%s/auth.log", nats_dir(nats));
    pids[which] = program_start("auth", settings, log);
}

/* ---- requests ---- */

struct question {
    int auth; /* -1: any */
    const char *id, *op, *body;
    bool is_again;
};

static faas_code ask(const struct question *q, json_t **out_reply, faas_err *err)
{
    const struct faas_header headers[] = {
        {FAAS_H_AGAIN, q->is_again ? "1" : NULL}, {FAAS_H_USERNAME, NAME}, {NULL, NULL}};
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(LONG_MS)};
    char subject[80], instance[8];
    const struct faas_rpc_request req = {.subject = subject,
                                         .ctx = &ctx,
                                         .headers = headers,
                                         .data = q->body,
                                         .len = strlen(q->body),
                                         .retry = q->auth < 0 ? FAAS_RPC_SAFE : FAAS_RPC_ONCE,
                                         .attempt_ms = LONG_MS};
    faas_msg *msg = NULL;
    faas_code rc;

    (void)snprintf(ctx.id, sizeof ctx.id, "%s", q->id);
    memcpy(ctx.user, user, sizeof ctx.user);
    memcpy(ctx.tenant, user, sizeof ctx.tenant);
    (void)snprintf(instance, sizeof instance, "a%d", q->auth);
    if (q->auth < 0)
        (void)snprintf(subject, sizeof subject, "faas.auth.%s", q->op);
    else
        (void)snprintf(subject, sizeof subject, FAAS_SUBJ_DIRECTLY, "auth", instance, q->op);
    *err = (faas_err){0};
    rc = faas_rpc_wait(gateway.rpc, &req, &msg, err);
    if (rc == FAAS_OK && faas_msg_len(msg) > 0)
        rc = faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), true, out_reply, err);
    faas_msg_free(msg);
    return rc;
}

/* Carried out by a0, and asked again of a1; a third request with the same body gets other_code. */
static void twice(const char *op, const char *body, faas_code other_code, json_t **out_first,
                  json_t **out_second)
{
    char id[FAAS_UUID_TEXT], other[FAAS_UUID_TEXT];
    const struct question first = {.auth = 0, .id = id, .op = op, .body = body};
    const struct question second = {.auth = 1, .id = id, .op = op, .body = body, .is_again = true};
    const struct question third = {
        .auth = 1, .id = other, .op = op, .body = body, .is_again = true};
    FAAS_AUTO(json_t) *none = NULL;
    faas_err err;

    faas_uuid_new(id);
    faas_uuid_new(other);
    assert_ok(ask(&first, out_first, &err));
    assert_ok(ask(&second, out_second, &err));
    assert_int_equal(ask(&third, &none, &err), other_code);
}

static json_t *ask_any(const char *op, const char *body)
{
    const struct question q = {.auth = -1, .id = "", .op = op, .body = body};
    json_t *reply = NULL;
    faas_err err;

    assert_ok(ask(&q, &reply, &err));
    return reply;
}

static const char *text_of(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    assert_non_null(text);
    return text;
}

static bool is_healthy(void *arg)
{
    const struct question q = {.auth = -1, .id = "", .op = "health", .body = "{}"};
    FAAS_AUTO(json_t) *reply = NULL;
    faas_err err;

    (void)arg;
    return ask(&q, &reply, &err) == FAAS_OK;
}

static bool does_listen(void *arg)
{
    const struct question q = {.auth = *(const int *)arg, .id = "", .op = "keys", .body = "{}"};
    FAAS_AUTO(json_t) *reply = NULL;
    faas_err err;

    return ask(&q, &reply, &err) == FAAS_OK;
}

static int start(void **state)
{
    faas_err err = {0};

    (void)state;
    nats = nats_start(1, NULL);
    process_start(&gateway,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "gateway", .id = "t"});
    for (int i = 0; i < 2; i++) {
        start_auth(i);
        wait_until(does_listen, &i, LONG_MS, "auth is ready");
    }
    wait_until(is_healthy, NULL, LONG_MS, "auth is healthy");
    return faas_kv_open(gateway.rpc, FAAS_BUCKET_USERS, 1, faas_deadline_in_ms(LONG_MS), &users,
                        &err) == FAAS_OK
               ? 0
               : -1;
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(program_stop(pids[i], SIGTERM, LONG_MS), 0);
    faas_kv_close(users);
    process_stop(&gateway, NULL, NULL);
    nats_stop(nats);
    return 0;
}

/* ---- accounts ---- */

static void invited(const char *name, char out_body[256])
{
    FAAS_AUTO(json_t) *reply = ask_any("op.invite", "{}");

    (void)snprintf(out_body, 256,
                   "{\"username\":\"%s\",\"password\":\"" FIRST "\",\"invitation\":\"%s\"}", name,
                   text_of(reply, "invitation"));
}

static void an_account_is_made_once(void **state)
{
    FAAS_AUTO(json_t) *first = NULL;
    FAAS_AUTO(json_t) *second = NULL;
    char body[256];

    (void)state;
    invited(NAME, body);
    twice("register", body, FAAS_DENIED, &first, &second);
    assert_true(json_equal(first, second));
    (void)snprintf(user, sizeof user, "%s", text_of(first, "id"));
}

/* What the dead one leaves behind: the invitation is claimed, there is no account. */
static void an_invitation_stays_with_the_registration_that_claimed_it(void **state)
{
    static const char id[] = "0190a000-0000-7000-8000-0000000000c1";
    struct question q = {.auth = 1, .op = "register", .is_again = true};
    char body[256], hash[FAAS_HASH_TEXT], key[80], record[256];
    const char *code;
    struct faas_kv_entry entry = {0};
    FAAS_AUTO(json_t) *made = NULL;
    faas_err err = {0};

    (void)state;
    invited("claimer", body);
    code = strstr(body, "invitation\":\"") + strlen("invitation\":\"");
    faas_hash_text(code, 32, hash);
    (void)snprintf(key, sizeof key, "i.%s", hash);
    assert_ok(faas_kv_get(users, key, faas_deadline_in_ms(LONG_MS), &entry, &err));
    (void)snprintf(record, sizeof record,
                   "{\"v\":1,\"op\":\"x\",\"expires_at\":%lld,\"claimed\":true,"
                   "\"claimed_by\":\"%s\"}",
                   (long long)faas_wall_ms() + 60000, id);
    assert_ok(faas_kv_put(users, key, entry.revision, record, strlen(record),
                          faas_deadline_in_ms(LONG_MS), NULL, &err));
    faas_kv_entry_done(&entry);
    q.body = body;
    q.id = "0190a000-0000-7000-8000-0000000000c2";
    assert_int_equal(ask(&q, &made, &err), FAAS_DENIED);
    q.id = id;
    assert_ok(ask(&q, &made, &err));
    assert_string_equal(text_of(made, "username"), "claimer");
}

static void a_password_is_changed_once(void **state)
{
    static const char change[] =
        "{\"current_password\":\"" FIRST "\",\"new_password\":\"" SECOND "\"}";
    static const char login[] = "{\"username\":\"" NAME "\",\"password\":\"" SECOND "\"}";
    FAAS_AUTO(json_t) *first = NULL;
    FAAS_AUTO(json_t) *second = NULL;
    FAAS_AUTO(json_t) *token = NULL;

    (void)state;
    twice("password", change, FAAS_DENIED, &first, &second);
    token = ask_any("login", login);
    assert_non_null(json_object_get(token, "token"));
}

/* ---- keys ---- */

/* The answer with the first one never came: it is gone, and another one was made in its place. */
static void one_key_is_left_of_a_request(void **state)
{
    char id[FAAS_UUID_TEXT];
    struct question q = {.auth = 0, .id = id, .op = "apikey_new", .body = "{\"name\":\"one\"}"};
    FAAS_AUTO(json_t) *first = NULL;
    FAAS_AUTO(json_t) *second = NULL;
    FAAS_AUTO(json_t) *list = NULL;
    const json_t *items;
    faas_err err;

    (void)state;
    faas_uuid_new(id);
    assert_ok(ask(&q, &first, &err));
    q.auth = 1;
    q.is_again = true;
    assert_ok(ask(&q, &second, &err));
    list = ask_any("apikey_list", "{}");
    items = json_object_get(list, "items");
    assert_int_equal(json_array_size(items), 1);
    assert_string_equal(text_of(json_array_get(items, 0), "id"), text_of(second, "id"));
    assert_string_not_equal(text_of(first, "key"), text_of(second, "key"));
}

static int leads_to_keys(void)
{
    struct faas_kv_change change = {.key = ""};
    uint64_t at = 0;
    faas_err err;
    int count = 0;

    while (faas_kv_next_of(users, "k.", at + 1, faas_deadline_in_ms(LONG_MS), &change, &err) ==
           FAAS_OK) {
        at = change.entry.revision;
        count += change.is_delete ? 0 : 1;
        faas_kv_entry_done(&change.entry);
    }
    return count;
}

/* The instance that had the request first stood still, and goes on with it. */
static void a_copy_that_comes_late_leaves_the_key_that_was_shown(void **state)
{
    char id[FAAS_UUID_TEXT];
    struct question q = {
        .auth = 1, .id = id, .op = "apikey_new", .body = "{\"name\":\"two\"}", .is_again = true};
    FAAS_AUTO(json_t) *shown = NULL;
    FAAS_AUTO(json_t) *late = NULL;
    FAAS_AUTO(json_t) *list = NULL;
    const json_t *items;
    int leads;
    faas_err err;

    (void)state;
    faas_uuid_new(id);
    assert_ok(ask(&q, &shown, &err));
    leads = leads_to_keys();
    q.auth = 0;
    q.is_again = false;
    assert_int_equal(ask(&q, &late, &err), FAAS_TIMEOUT);
    assert_contains(err.msg, "look before trying again");
    list = ask_any("apikey_list", "{}");
    items = json_object_get(list, "items");
    assert_int_equal(json_array_size(items), 2);
    assert_string_equal(text_of(json_array_get(items, 1), "id"), text_of(shown, "id"));
    assert_int_equal(leads_to_keys(), leads);
}

static void a_key_is_ended_once(void **state)
{
    FAAS_AUTO(json_t) *list = ask_any("apikey_list", "{}");
    FAAS_AUTO(json_t) *first = NULL;
    FAAS_AUTO(json_t) *second = NULL;
    char body[60];

    (void)state;
    (void)snprintf(body, sizeof body, "{\"id\":\"%s\"}",
                   text_of(json_array_get(json_object_get(list, "items"), 0), "id"));
    twice("apikey_end", body, FAAS_NOT_FOUND, &first, &second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_is_made_once),
        cmocka_unit_test(an_invitation_stays_with_the_registration_that_claimed_it),
        cmocka_unit_test(a_password_is_changed_once),
        cmocka_unit_test(one_key_is_left_of_a_request),
        cmocka_unit_test(a_copy_that_comes_late_leaves_the_key_that_was_shown),
        cmocka_unit_test(a_key_is_ended_once),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
