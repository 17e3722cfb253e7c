#include "store.h"

#include "base/clock.h"
#include "base/done.h"
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TAKE_BACK_MS 5000
#define ROUNDS_MAX   10 /* lost races before a change is given up */
#define ASK_AGAIN_MS 1000

faas_code store_look_up(faas_kv *kv, const char *key, uint64_t deadline_ns,
                        struct faas_kv_entry *out_entry, bool *out_is_found, faas_err *err)
{
    faas_err why = {0};
    faas_code rc = faas_kv_get(kv, key, deadline_ns, out_entry, &why);

    *out_is_found = rc == FAAS_OK;
    if (rc == FAAS_NOT_FOUND)
        return FAAS_OK;
    if (rc != FAAS_OK && err != NULL)
        *err = why;
    return rc;
}

/* Every name's key is an account; one that is deleted leaves nothing behind.  Asked from beyond the
 * last one, the server names none of them and still says how many there are. */
faas_code store_count(const struct store *store, uint64_t deadline_ns, int64_t *out_count,
                      faas_err *err)
{
    static const char ask[] =
        "{\"subjects_filter\":\"$KV." FAAS_BUCKET_USERS ".n.*\",\"offset\":1000000000}";
    const struct faas_ctx ctx = {.deadline_ns = deadline_ns};
    const struct faas_rpc_request req = {.subject = "$JS.API.STREAM.INFO.KV_" FAAS_BUCKET_USERS,
                                         .ctx = &ctx,
                                         .data = ask,
                                         .len = sizeof ask - 1,
                                         .retry = FAAS_RPC_SAFE,
                                         .attempt_ms = ASK_AGAIN_MS};
    FAAS_AUTO(faas_msg) *msg = NULL;
    FAAS_AUTO(json_t) *reply = NULL;
    const json_t *total;
    faas_err why = {0};

    if (faas_rpc_wait(store->rpc, &req, &msg, &why) != FAAS_OK)
        return faas_fail(err, FAAS_UNAVAILABLE, "the store of accounts does not answer; try again");
    FAAS_TRY(faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &reply, err));
    total = json_object_get(reply, "total");
    if (!json_is_integer(total))
        return faas_fail_sys(err, EPROTO, "the number of accounts");
    *out_count = json_integer_value(total);
    return FAAS_OK;
}

faas_code store_is_taken(const struct store *store, const char *folded_name, uint64_t deadline_ns,
                         bool *out_is_taken, faas_err *err)
{
    char key[ACCOUNT_KEY_MAX];
    struct faas_kv_entry entry = {0};

    account_name_key(folded_name, key);
    FAAS_TRY(store_look_up(store->users, key, deadline_ns, &entry, out_is_taken, err));
    faas_kv_entry_done(&entry);
    return FAAS_OK;
}

faas_code store_create(faas_kv *kv, const char *key, json_t *take_record, uint64_t deadline_ns,
                       uint64_t *out_revision, faas_err *err)
{
    FAAS_AUTO(json_t) *record = take_record;
    FAAS_AUTO(char) *text = record == NULL ? NULL : faas_json_text(record, NULL);

    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "account record");
    return faas_kv_put(kv, key, 0, text, strlen(text), deadline_ns, out_revision, err);
}

faas_code store_add(const struct store *store, const struct account *account, uint64_t deadline_ns,
                    faas_err *err)
{
    faas_kv *kv = store->users;
    char user_key[ACCOUNT_KEY_MAX], name_key[ACCOUNT_KEY_MAX];
    uint64_t revision = 0;
    faas_code rc;

    account_user_key(account->id, user_key);
    account_name_key(account->username, name_key);
    FAAS_TRY(store_create(kv, user_key, account_user_record(account), deadline_ns, &revision, err));
    rc = store_create(kv, name_key, account_name_record(account), deadline_ns, NULL, err);
    if (rc != FAAS_CONFLICT)
        return rc; /* also when the outcome is unknown: the name may lead to this record */
    /* Nobody knows this record's id, so one that cannot be taken back only takes room. */
    rc = faas_kv_delete(kv, user_key, revision, faas_deadline_in_ms(TAKE_BACK_MS), NULL, NULL);
    (void)rc;
    return faas_fail(err, FAAS_CONFLICT, "username: taken; choose another one");
}

faas_code store_standing(const struct store *store, const char *user, uint64_t deadline_ns,
                         int64_t *out_generation, struct faas_standing *out_standing, faas_err *err)
{
    char key[ACCOUNT_KEY_MAX];
    struct faas_kv_entry entry = {0};
    bool is_found;
    faas_code rc;

    account_user_key(user, key);
    FAAS_TRY(store_look_up(store->revocations, key, deadline_ns, &entry, &is_found, err));
    rc = sessions_generation(entry.value, entry.len, out_generation, err);
    if (rc == FAAS_OK)
        rc = sessions_standing(entry.value, entry.len, out_standing, err);
    faas_kv_entry_done(&entry);
    return rc;
}

faas_code store_find(const struct store *store, const char *folded_name, uint64_t deadline_ns,
                     struct account *out_account, bool *out_is_found, faas_err *err)
{
    char key[ACCOUNT_KEY_MAX], id[FAAS_UUID_TEXT];
    struct faas_kv_entry entry = {0};
    bool has_name, has_user;
    struct faas_standing standing;
    int64_t generation;
    faas_code rc = FAAS_OK;

    account_name_key(folded_name, key);
    FAAS_TRY(store_look_up(store->users, key, deadline_ns, &entry, &has_name, err));
    if (has_name)
        rc = account_parse_name(entry.value, entry.len, id, err);
    else
        faas_uuid_new(id); /* nobody's: asked for all the same, so that time tells nothing */
    faas_kv_entry_done(&entry);
    FAAS_TRY(rc);

    FAAS_TRY(store_standing(store, id, deadline_ns, &generation, &standing, err));
    account_user_key(id, key);
    FAAS_TRY(store_look_up(store->users, key, deadline_ns, &entry, &has_user, err));
    if (has_user)
        rc = account_parse_user(entry.value, entry.len, id, out_account, err);
    out_account->generation = generation;
    out_account->standing = standing;
    out_account->revision = entry.revision;
    faas_kv_entry_done(&entry);
    FAAS_TRY(rc);
    *out_is_found = has_user;
    return FAAS_OK;
}

/* ---- taking away ---- */

/* That write of the key and those before it. */
static faas_code erase(const struct store *store, const char *key, uint64_t revision,
                       uint64_t deadline_ns, faas_err *err)
{
    const struct faas_ctx ctx = {.deadline_ns = deadline_ns};
    char body[FAAS_SUBJECT_MAX];
    struct faas_rpc_request req = {.subject = "$JS.API.STREAM.PURGE.KV_" FAAS_BUCKET_USERS,
                                   .ctx = &ctx,
                                   .data = body,
                                   .retry = FAAS_RPC_SAFE,
                                   .attempt_ms = ASK_AGAIN_MS};
    FAAS_AUTO(faas_msg) *msg = NULL;

    (void)snprintf(body, sizeof body, "{\"filter\":\"$KV." FAAS_BUCKET_USERS ".%s\",\"seq\":%llu}",
                   key, (unsigned long long)revision + 1);
    req.len = strlen(body);
    if (faas_rpc_wait(store->rpc, &req, &msg, NULL) != FAAS_OK)
        return faas_fail(err, FAAS_UNAVAILABLE, "the store of accounts does not answer; try again");
    return FAAS_OK;
}

/* What the server says of a repeat, or of one that another instance erased, is no matter: the next
 * look tells. */
faas_code store_erase(const struct store *store, const char *key, const char *id,
                      uint64_t deadline_ns, faas_err *err)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        struct faas_kv_entry entry = {0};
        char found[FAAS_UUID_TEXT];
        uint64_t revision;
        bool is_there, is_ours;

        FAAS_TRY(store_look_up(store->users, key, deadline_ns, &entry, &is_there, err));
        is_ours =
            is_there &&
            (id == NULL || (account_parse_name(entry.value, entry.len, found, NULL) == FAAS_OK &&
                            strcmp(found, id) == 0));
        revision = entry.revision;
        faas_kv_entry_done(&entry);
        if (!is_ours)
            return FAAS_OK;
        FAAS_TRY(erase(store, key, revision, deadline_ns, err));
    }
    return faas_fail(err, FAAS_UNAVAILABLE, "the store of accounts keeps what was to be erased");
}

/* ---- asked again ---- */

faas_code store_find_made(const struct store *store, const char *folded_name,
                          const struct faas_ctx *caller, struct account *out_account,
                          bool *out_is_made, faas_err *err)
{
    char key[ACCOUNT_KEY_MAX];
    struct faas_kv_entry entry = {0};
    bool is_found;
    faas_code rc = FAAS_OK;

    account_name_key(folded_name, key);
    FAAS_TRY(store_look_up(store->users, key, caller->deadline_ns, &entry, &is_found, err));
    *out_is_made = is_found && account_is_made_by(entry.value, entry.len, caller->id);
    if (*out_is_made)
        rc = account_parse_name(entry.value, entry.len, out_account->id, err);
    (void)snprintf(out_account->username, sizeof out_account->username, "%s", folded_name);
    faas_kv_entry_done(&entry);
    return rc;
}

faas_code store_is_changed(const struct store *store, const struct faas_ctx *caller,
                           bool *out_is_changed, faas_err *err)
{
    char key[ACCOUNT_KEY_MAX];
    struct faas_kv_entry entry = {0};
    FAAS_AUTO(json_t) *doc = NULL;
    int64_t none;
    faas_code rc;

    account_user_key(caller->user, key);
    FAAS_TRY(faas_kv_get(store->users, key, caller->deadline_ns, &entry, err));
    rc = faas_json_parse(entry.value, entry.len, false, &doc, NULL);
    faas_kv_entry_done(&entry);
    if (rc != FAAS_OK)
        return faas_fail_sys(err, EPROTO, "stored account: not JSON");
    return faas_done_find(doc, caller, out_is_changed, &none, err);
}

faas_code store_set_password(const struct store *store, const struct account *account,
                             const struct faas_ctx *caller, faas_err *err)
{
    uint64_t deadline_ns = caller->deadline_ns;
    char key[ACCOUNT_KEY_MAX];
    struct faas_kv_entry entry = {0};
    FAAS_AUTO(json_t) *record = NULL;
    FAAS_AUTO(char) *text = NULL;
    faas_code rc;

    account_user_key(account->id, key);
    FAAS_TRY(faas_kv_get(store->users, key, deadline_ns, &entry, err));
    rc = account_with_password(entry.value, entry.len, account->password, caller->id, &record, err);
    faas_kv_entry_done(&entry);
    FAAS_TRY(rc);
    text = faas_json_text(record, NULL);
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "account record");
    rc = faas_kv_put(store->users, key, account->revision, text, strlen(text), deadline_ns, NULL,
                     err);
    if (rc == FAAS_CONFLICT)
        return faas_fail(err, FAAS_CONFLICT, "the password was changed at the same time elsewhere");
    return rc;
}

/* CONFLICT: somebody else wrote in between; another round. */
static faas_code change_round(faas_kv *kv, const char *key, store_edit *edit, const void *arg,
                              uint64_t deadline_ns, uint64_t *out_revision, faas_err *err)
{
    struct faas_kv_entry entry = {0};
    FAAS_AUTO(json_t) *record = NULL;
    FAAS_AUTO(char) *text = NULL;
    bool is_found;
    uint64_t revision;
    faas_code rc;

    FAAS_TRY(store_look_up(kv, key, deadline_ns, &entry, &is_found, err));
    rc = edit(arg, entry.value, entry.len, &record, err);
    revision = entry.revision;
    faas_kv_entry_done(&entry);
    if (rc == FAAS_OK && record == NULL && out_revision != NULL)
        *out_revision = revision;
    if (rc != FAAS_OK || record == NULL)
        return rc;
    text = faas_json_text(record, NULL);
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "a record");
    return faas_kv_put(kv, key, revision, text, strlen(text), deadline_ns, out_revision, err);
}

faas_code store_change(faas_kv *kv, const char *key, store_edit *edit, const void *arg,
                       uint64_t deadline_ns, uint64_t *out_revision, faas_err *err)
{
    faas_code rc = FAAS_CONFLICT;

    for (int round = 0; round < ROUNDS_MAX && rc == FAAS_CONFLICT; round++)
        rc = change_round(kv, key, edit, arg, deadline_ns, out_revision, err);
    if (rc == FAAS_CONFLICT)
        return faas_fail(err, FAAS_BUSY, "too many changes at the same time; try again");
    return rc;
}

faas_code store_has_ended(const struct store *store, const char *user,
                          const struct faas_token_claims *claims, uint64_t deadline_ns,
                          bool *out_has_ended, faas_err *err)
{
    char key[ACCOUNT_KEY_MAX];
    struct faas_kv_entry entry = {0};
    bool is_found;
    faas_code rc;

    account_user_key(user, key);
    FAAS_TRY(store_look_up(store->revocations, key, deadline_ns, &entry, &is_found, err));
    rc = sessions_has_ended(entry.value, entry.len, claims, out_has_ended, err);
    faas_kv_entry_done(&entry);
    return rc;
}

static faas_code end_session(const void *arg, const void *value, size_t len, json_t **out_record,
                             faas_err *err)
{
    return sessions_end(value, len, arg, faas_wall_ms() / 1000, out_record, err);
}

faas_code store_end_sessions(const struct store *store, const char *user,
                             const struct session *session, uint64_t deadline_ns,
                             uint64_t *out_revision, faas_err *err)
{
    char key[ACCOUNT_KEY_MAX];

    account_user_key(user, key);
    return store_change(store->revocations, key, end_session, session, deadline_ns, out_revision,
                        err);
}

/* ---- what administrators do ---- */

struct standing_edit {
    const struct sessions_change *change;
    const struct faas_ctx *caller;
};

static faas_code set_standing(const void *arg, const void *value, size_t len, json_t **out_record,
                              faas_err *err)
{
    const struct standing_edit *edit = arg;

    return sessions_set_standing(value, len, edit->change, edit->caller, out_record, err);
}

faas_code store_set_standing(const struct store *store, const char *user,
                             const struct sessions_change *change, const struct faas_ctx *caller,
                             uint64_t *out_revision, faas_err *err)
{
    const struct standing_edit edit = {change, caller};
    char key[ACCOUNT_KEY_MAX];

    account_user_key(user, key);
    return store_change(store->revocations, key, set_standing, &edit, caller->deadline_ns,
                        out_revision, err);
}

/* The account that a name's entry leads to. */
static faas_code read_listed(const struct store *store, const struct faas_kv_entry *name,
                             uint64_t deadline_ns, struct account *out_account, bool *out_is_found,
                             faas_err *err)
{
    char key[ACCOUNT_KEY_MAX], id[FAAS_UUID_TEXT];
    struct faas_kv_entry entry = {0};
    faas_code rc = FAAS_OK;

    FAAS_TRY(account_parse_name(name->value, name->len, id, err));
    account_user_key(id, key);
    FAAS_TRY(store_look_up(store->users, key, deadline_ns, &entry, out_is_found, err));
    if (*out_is_found)
        rc = account_parse_user(entry.value, entry.len, id, out_account, err);
    faas_kv_entry_done(&entry);
    FAAS_TRY(rc);
    return store_standing(store, id, deadline_ns, &out_account->generation, &out_account->standing,
                          err);
}

/* A name's entry is written once, so the order is that of the registrations. */
faas_code store_next(const struct store *store, uint64_t *at, uint64_t deadline_ns,
                     struct account *out_account, faas_err *err)
{
    bool is_found = false;

    while (!is_found) {
        struct faas_kv_change change = {.key = ""};
        faas_code rc = faas_kv_next_of(store->users, "n.", *at + 1, deadline_ns, &change, err);

        FAAS_TRY(rc);
        *at = change.entry.revision;
        if (!change.is_delete)
            rc = read_listed(store, &change.entry, deadline_ns, out_account, &is_found, err);
        faas_kv_entry_done(&change.entry);
        FAAS_TRY(rc);
    }
    return FAAS_OK;
}
