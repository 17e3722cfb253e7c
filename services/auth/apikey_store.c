#include "apikey_store.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/done.h"

#define FORGET_MS 5000

struct addition {
    const struct apikey *key;
    struct apikey_owner owner;
    int64_t keys_max;
};

static faas_code add(const void *arg, const void *value, size_t len, json_t **out_record,
                     faas_err *err)
{
    const struct addition *addition = arg;

    return apikey_add(value, len, &addition->owner, addition->key, addition->keys_max, out_record,
                      err);
}

faas_code apikey_store_add(const struct store *store, const struct account *owner,
                           const struct apikey *key, int64_t keys_max, uint64_t deadline_ns,
                           faas_err *err)
{
    struct addition addition = {.key = key, .keys_max = keys_max};
    char leads[ACCOUNT_KEY_MAX], keys[ACCOUNT_KEY_MAX];
    faas_code rc;

    memcpy(addition.owner.tenant, owner->tenant, sizeof addition.owner.tenant);
    memcpy(addition.owner.username, owner->username, sizeof addition.owner.username);
    apikey_key(key->id, leads);
    apikey_keys_key(owner->id, keys);
    FAAS_TRY(store_create(store->users, leads, account_name_record(owner), deadline_ns, NULL, err));
    rc = store_change(store->users, keys, add, &addition, deadline_ns, NULL, err);
    if (rc == FAAS_UNPROCESSABLE || rc == FAAS_TIMEOUT) /* nothing was written */
        apikey_store_forget(store, key->id, key->made_by);
    return rc;
}

faas_code apikey_store_list(const struct store *store, const char *user, uint64_t deadline_ns,
                            json_t **out_items, faas_err *err)
{
    char key[ACCOUNT_KEY_MAX];
    struct faas_kv_entry entry = {0};
    bool is_found;
    faas_code rc;

    apikey_keys_key(user, key);
    FAAS_TRY(store_look_up(store->users, key, deadline_ns, &entry, &is_found, err));
    rc = apikey_list(entry.value, entry.len, out_items, err);
    faas_kv_entry_done(&entry);
    return rc;
}

/* ---- ends ---- */

/* *out_user: of whoever has the key; nobody's when there is no such key. */
static faas_code owner_of(const struct store *store, const char *id, uint64_t deadline_ns,
                          char out_user[FAAS_UUID_TEXT], faas_err *err)
{
    char key[ACCOUNT_KEY_MAX];
    struct faas_kv_entry entry = {0};
    bool is_found;
    faas_code rc = FAAS_OK;

    apikey_key(id, key);
    FAAS_TRY(store_look_up(store->users, key, deadline_ns, &entry, &is_found, err));
    if (is_found)
        rc = account_parse_name(entry.value, entry.len, out_user, err);
    else
        faas_uuid_new(out_user);
    faas_kv_entry_done(&entry);
    return rc;
}

static faas_code end(const void *arg, const void *value, size_t len, json_t **out_record,
                     faas_err *err)
{
    return apikey_remove(value, len, arg, out_record, err);
}

static faas_code count_end(const void *arg, const void *value, size_t len, json_t **out_record,
                           faas_err *err)
{
    (void)arg;
    return sessions_end_keys(value, len, out_record, err);
}

faas_code apikey_store_end(const struct store *store, const char *user, const char *id,
                           uint64_t deadline_ns, uint64_t *out_revision, faas_err *err)
{
    char owner[FAAS_UUID_TEXT], keys[ACCOUNT_KEY_MAX], ends[ACCOUNT_KEY_MAX];

    if (id != NULL) {
        FAAS_TRY(owner_of(store, id, deadline_ns, owner, err));
        if (strcmp(owner, user) != 0)
            return faas_fail(err, FAAS_NOT_FOUND, "you have no API key with this id");
    }
    apikey_keys_key(user, keys);
    account_user_key(user, ends);
    FAAS_TRY(store_change(store->users, keys, end, id, deadline_ns, NULL, err));
    return store_change(store->revocations, ends, count_end, NULL, deadline_ns, out_revision, err);
}

void apikey_store_forget(const struct store *store, const char *id, const char *request)
{
    char key[ACCOUNT_KEY_MAX];
    FAAS_AUTO(json_t) *word = json_pack("{s:i}", "v", 1);
    FAAS_AUTO(char) *text = NULL;
    size_t len = 0;
    faas_code rc = faas_done_note(word, NULL, request, 0, NULL);

    apikey_key(id, key);
    text = rc == FAAS_OK && word != NULL ? faas_json_text(word, &len) : NULL;
    rc = faas_kv_bury(store->users, key, 0, text, len, faas_deadline_in_ms(FORGET_MS), NULL, NULL);
    (void)rc;
}

bool apikey_store_has_ended(const struct store *store, const char *id,
                            const struct faas_ctx *caller)
{
    char key[ACCOUNT_KEY_MAX];
    struct faas_kv_entry entry = {0};
    FAAS_AUTO(json_t) *word = NULL;
    int64_t none;
    bool is_ended;

    apikey_key(id, key);
    if (faas_kv_look(store->users, key, caller->deadline_ns, &entry, NULL) != FAAS_OK)
        return false;
    is_ended = entry.is_delete && entry.len > 0 &&
               faas_json_parse(entry.value, entry.len, false, &word, NULL) == FAAS_OK &&
               faas_done_has(word, caller->id, &none);
    faas_kv_entry_done(&entry);
    return is_ended;
}

/* ---- use ---- */

static faas_code read_ends(const struct store *store, struct apikey_found *found,
                           uint64_t deadline_ns, faas_err *err)
{
    struct faas_standing standing;
    char key[ACCOUNT_KEY_MAX];
    struct faas_kv_entry entry = {0};
    bool is_found;
    faas_code rc;

    account_user_key(found->user, key);
    FAAS_TRY(store_look_up(store->revocations, key, deadline_ns, &entry, &is_found, err));
    rc = sessions_keys(entry.value, entry.len, &found->ends, err);
    if (rc == FAAS_OK)
        rc = sessions_standing(entry.value, entry.len, &standing, err);
    found->is_disabled = rc == FAAS_OK && standing.is_disabled;
    faas_kv_entry_done(&entry);
    return rc;
}

faas_code apikey_store_check(const struct store *store, const char *id, const char *hash,
                             uint64_t deadline_ns, struct apikey_found *out_found,
                             bool *out_is_match, faas_err *err)
{
    char key[ACCOUNT_KEY_MAX];
    struct faas_kv_entry entry = {0};
    bool is_found;
    faas_code rc;

    FAAS_TRY(owner_of(store, id, deadline_ns, out_found->user, err));
    FAAS_TRY(read_ends(store, out_found, deadline_ns, err));
    apikey_keys_key(out_found->user, key);
    FAAS_TRY(store_look_up(store->users, key, deadline_ns, &entry, &is_found, err));
    rc = apikey_find(entry.value, entry.len, id, hash, &out_found->key, &out_found->owner,
                     out_is_match, err);
    faas_kv_entry_done(&entry);
    return rc;
}

static faas_code use(const void *arg, const void *value, size_t len, json_t **out_record,
                     faas_err *err)
{
    return apikey_use(value, len, arg, faas_wall_ms(), out_record, err);
}

faas_code apikey_store_use(const struct store *store, const char *user, const char *id,
                           uint64_t deadline_ns, faas_err *err)
{
    char key[ACCOUNT_KEY_MAX];

    apikey_keys_key(user, key);
    return store_change(store->users, key, use, id, deadline_ns, NULL, err);
}
