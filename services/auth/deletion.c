#include "deletion.h"

#include "account.h"
#include "apikey_store.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NOTES     "d."
#define FIRST_S   1.0
#define AGAIN_S   30.0
#define STEPS_MS  20000
#define PURGE_MS  10000
#define LINGER_MS 300000 /* longer than any request takes that a gateway let in before */

struct note {
    struct account account;  /* id, tenant, username */
    int64_t at;              /* milliseconds since 1970 */
    char by[FAAS_UUID_TEXT]; /* the request */
};

static void note_key(const char *id, char out_key[ACCOUNT_KEY_MAX])
{
    (void)snprintf(out_key, ACCOUNT_KEY_MAX, NOTES "%s", id);
}

static faas_code note_write(const struct auth *auth, const struct account *account,
                            const struct faas_ctx *caller, faas_err *err)
{
    char key[ACCOUNT_KEY_MAX], op[33];
    faas_code rc;

    faas_random_token(op);
    note_key(account->id, key);
    rc = store_create(auth->store.users, key,
                      json_pack("{s:i, s:s, s:s, s:s, s:I, s:s}", "v", 1, "op", op, "tenant",
                                account->tenant, "username", account->username, "at",
                                (json_int_t)faas_wall_ms(), "by", caller->id),
                      caller->deadline_ns, NULL, err);
    return rc == FAAS_CONFLICT ? FAAS_OK : rc; /* it is decided already */
}

static faas_code note_read(const struct faas_kv_change *change, struct note *out_note,
                           faas_err *err)
{
    struct stored {
        const char *tenant, *username, *by;
        int64_t at;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct stored, tenant, "tenant", 36, 36, true),
        FAAS_FIELD(STR, struct stored, username, "username", 1, FAAS_USER_NAME_MAX, true),
        FAAS_FIELD(STR, struct stored, by, "by", 0, FAAS_UUID_TEXT - 1, true),
        FAAS_FIELD(INT, struct stored, at, "at", 0, 0, true),
        FAAS_FIELD_END,
    };
    const char *id = change->key + strlen(NOTES);
    FAAS_AUTO(json_t) *doc = NULL;
    struct stored stored = {0};

    if (!faas_uuid_is(id) ||
        faas_json_parse(change->entry.value, change->entry.len, false, &doc, NULL) != FAAS_OK ||
        faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, &stored, NULL) != FAAS_OK)
        return faas_fail_sys(err, EPROTO, "the note of a deleted account");
    *out_note = (struct note){.at = stored.at};
    memcpy(out_note->account.id, id, sizeof out_note->account.id);
    memcpy(out_note->account.tenant, stored.tenant, sizeof out_note->account.tenant);
    (void)snprintf(out_note->account.username, sizeof out_note->account.username, "%s",
                   stored.username);
    (void)snprintf(out_note->by, sizeof out_note->by, "%s", stored.by);
    return FAAS_OK;
}

/* The next note behind *at; NOT_FOUND. */
static faas_code note_next(const struct auth *auth, uint64_t *at, uint64_t deadline_ns,
                           struct note *out_note, faas_err *err)
{
    struct faas_kv_change change = {.key = ""};
    faas_code rc;

    FAAS_TRY(faas_kv_next_of(auth->store.users, NOTES, *at + 1, deadline_ns, &change, err));
    *at = change.entry.revision;
    rc = note_read(&change, out_note, err);
    faas_kv_entry_done(&change.entry);
    return rc;
}

/* ---- the steps ---- */

static faas_code end_account(const void *arg, const void *value, size_t len, json_t **out_record,
                             faas_err *err)
{
    return sessions_end_account(value, len, *(const int64_t *)arg, out_record, err);
}

static faas_code shut_out(const struct auth *auth, const struct note *note, uint64_t deadline_ns,
                          faas_err *err)
{
    char key[ACCOUNT_KEY_MAX];
    uint64_t revision = 0;

    account_user_key(note->account.id, key);
    FAAS_TRY(store_change(auth->store.revocations, key, end_account, &note->at, deadline_ns,
                          &revision, err));
    return auth_wait_ended(auth, revision, deadline_ns, err);
}

static faas_code drop_keys(const struct auth *auth, const struct note *note, uint64_t deadline_ns,
                           faas_err *err)
{
    FAAS_AUTO(json_t) *items = NULL;
    char key[ACCOUNT_KEY_MAX];
    const json_t *item;
    size_t i;

    FAAS_TRY(apikey_store_list(&auth->store, note->account.id, deadline_ns, &items, err));
    json_array_foreach (items, i, item)
        apikey_store_forget(&auth->store, json_string_value(json_object_get(item, "id")), "");
    apikey_keys_key(note->account.id, key);
    return store_erase(&auth->store, key, NULL, deadline_ns, err);
}

static faas_code drop_account(const struct auth *auth, const struct note *note,
                              uint64_t deadline_ns, faas_err *err)
{
    char key[ACCOUNT_KEY_MAX];

    account_user_key(note->account.id, key);
    FAAS_TRY(store_erase(&auth->store, key, NULL, deadline_ns, err));
    account_name_key(note->account.username, key);
    return store_erase(&auth->store, key, note->account.id, deadline_ns, err);
}

static faas_code leave(const struct auth *auth, const struct note *note, uint64_t deadline_ns,
                       faas_err *err)
{
    FAAS_TRY(shut_out(auth, note, deadline_ns, err));
    FAAS_TRY(drop_keys(auth, note, deadline_ns, err));
    return drop_account(auth, note, deadline_ns, err);
}

static faas_code ask_to_purge(const struct auth *auth, const char *subject, const char *tenant,
                              faas_err *err)
{
    const struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(PURGE_MS)};
    char body[80];
    struct faas_rpc_request req = {
        .subject = subject, .ctx = &ctx, .data = body, .retry = FAAS_RPC_SAFE};
    faas_msg *msg = NULL;

    (void)snprintf(body, sizeof body, "{\"v\":1,\"tenant\":\"%.36s\"}", tenant);
    req.len = strlen(body);
    FAAS_TRY(faas_rpc_wait(auth->store.rpc, &req, &msg, err));
    faas_msg_free(msg);
    return FAAS_OK;
}

static faas_code purge(const struct auth *auth, const struct note *note, faas_err *err)
{
    FAAS_TRY(ask_to_purge(auth, FAAS_SUBJ_REGISTRY_PURGE, note->account.tenant, err));
    return ask_to_purge(auth, FAAS_SUBJ_PUBLISHER_PURGE, note->account.tenant, err);
}

static void log_unfinished(const struct note *note, const faas_err *err)
{
    FAAS_LOG(WARN, "a deleted account still has something somewhere; it is tried again",
             FAAS_LSTR("user", note->account.id), FAAS_LSTR("error", err->msg),
             FAAS_LSTR("detail", err->detail));
}

/* What is left to registry and publishers, nobody waits for. */
static faas_code carry_out(const struct auth *auth, const struct note *note, uint64_t deadline_ns,
                           faas_err *err)
{
    faas_err why = {0};

    FAAS_TRY(leave(auth, note, deadline_ns, err));
    if (purge(auth, note, &why) != FAAS_OK)
        log_unfinished(note, &why);
    return FAAS_OK;
}

faas_code deletion_do(const struct auth *auth, const struct account *account,
                      const struct faas_ctx *caller, faas_err *err)
{
    const struct note note = {.account = *account, .at = faas_wall_ms()};

    if (strcmp(account->username, auth->first_admin) == 0)
        return faas_fail(err, FAAS_CONFLICT,
                         "AUTH_ADMIN names this account, so the next start would make it an "
                         "administrator again; disable it instead, or have the operator change "
                         "AUTH_ADMIN");
    FAAS_TRY(note_write(auth, account, caller, err));
    FAAS_LOG(INFO, "an account is deleted", FAAS_LSTR("by", caller->user),
             FAAS_LSTR("user", account->id));
    return carry_out(auth, &note, caller->deadline_ns, err);
}

/* ---- asked again ---- */

faas_code deletion_repeat(const struct auth *auth, const struct faas_ctx *caller, bool *out_is_done,
                          faas_err *err)
{
    bool is_ours = false;
    uint64_t at = 0;
    struct note note;
    faas_err why = {0};
    faas_code rc = FAAS_OK;

    *out_is_done = false;
    while (rc == FAAS_OK && !is_ours && caller->id[0] != '\0') {
        rc = note_next(auth, &at, caller->deadline_ns, &note, &why);
        is_ours = rc == FAAS_OK && strcmp(note.by, caller->id) == 0;
    }
    if (is_ours) {
        FAAS_TRY(carry_out(auth, &note, caller->deadline_ns, err));
        *out_is_done = true;
    } else if (rc != FAAS_OK && rc != FAAS_NOT_FOUND) {
        *err = why;
        return rc;
    }
    return FAAS_OK;
}

/* ---- what was broken off ---- */

static void finish(const struct auth *auth, const struct note *note)
{
    uint64_t deadline_ns = faas_deadline_in_ms(STEPS_MS);
    char key[ACCOUNT_KEY_MAX];
    faas_err err = {0};
    faas_code rc = leave(auth, note, deadline_ns, &err);

    if (rc == FAAS_OK)
        rc = purge(auth, note, &err);
    note_key(note->account.id, key);
    if (rc == FAAS_OK && note->at + LINGER_MS < faas_wall_ms())
        rc = store_erase(&auth->store, key, NULL, deadline_ns, &err);
    if (rc != FAAS_OK)
        log_unfinished(note, &err);
}

static void finish_all(void *arg)
{
    struct auth *auth = arg;
    uint64_t at = 0;
    faas_code rc = FAAS_OK;

    while (rc == FAAS_OK) {
        struct note note;

        rc = note_next(auth, &at, faas_deadline_in_ms(STEPS_MS), &note, NULL);
        if (rc == FAAS_OK)
            finish(auth, &note);
    }
    auth->is_finishing = false;
}

static void on_look(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct auth *auth = timer->data;

    (void)ev;
    (void)events;
    if (auth->is_finishing)
        return;
    auth->is_finishing = true;
    if (faas_pool_submit(auth->pool, finish_all, auth, NULL) != FAAS_OK)
        auth->is_finishing = false;
}

void deletion_watch(struct auth *auth)
{
    ev_timer_init(&auth->leavers, on_look, FIRST_S, AGAIN_S);
    auth->leavers.data = auth;
    ev_timer_start(faas_loop_ev(auth->loop), &auth->leavers);
}
