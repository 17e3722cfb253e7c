#include "apikey.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/done.h"
#include "base/text.h"

#define NO_HASH "0000000000000000000000000000000000000000000000000000000000000000"

struct wanted {
    const char *name; /* borrowed */
    json_t *verbs, *functions;
    int64_t life_s;
};

faas_code apikey_read(const json_t *body, int64_t now_ms, int64_t life_max_s,
                      struct apikey *out_key, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct wanted, name, "name", 1, FAAS_APIKEY_NAME_MAX, true),
        FAAS_FIELD(ANY, struct wanted, verbs, "verbs", 0, 0, false),
        FAAS_FIELD(ANY, struct wanted, functions, "functions", 0, 0, false),
        FAAS_FIELD(INT, struct wanted, life_s, "expires_in", 0, 0, false),
        FAAS_FIELD_END,
    };
    struct wanted want = {.life_s = APIKEY_LIFE_S < life_max_s ? APIKEY_LIFE_S : life_max_s};
    struct apikey key = {.created_at = now_ms};

    FAAS_TRY(faas_json_decode(body, fields, FAAS_JSON_STRICT, &want, err));
    if (faas_has_control(want.name, strlen(want.name)))
        return faas_fail(err, FAAS_INVALID, "name: without control characters");
    if (want.life_s < 1 || want.life_s > life_max_s)
        return faas_fail(err, FAAS_INVALID, "expires_in: 1 to %lld seconds", (long long)life_max_s);
    FAAS_TRY(faas_apikey_scope_read(want.verbs, want.functions, FAAS_JSON_STRICT, &key.scope, err));
    (void)snprintf(key.name, sizeof key.name, "%s", want.name);
    key.expires_at = now_ms / 1000 + want.life_s;
    *out_key = key;
    return FAAS_OK;
}

void apikey_key(const char *id, char out_key[ACCOUNT_KEY_MAX])
{
    (void)snprintf(out_key, ACCOUNT_KEY_MAX, "k.%s", id);
}

void apikey_keys_key(const char *user, char out_key[ACCOUNT_KEY_MAX])
{
    (void)snprintf(out_key, ACCOUNT_KEY_MAX, "a.%s", user);
}

json_t *apikey_json(const struct apikey *key)
{
    char created[FAAS_TIME_TEXT], expires[FAAS_TIME_TEXT], used[FAAS_TIME_TEXT];
    FAAS_AUTO(json_t) *doc = NULL;

    faas_time_format(key->created_at, created);
    faas_time_format(key->expires_at * 1000, expires);
    faas_time_format(key->used_at, used);
    doc = json_pack("{s:s, s:s, s:s, s:s, s:s?}", "id", key->id, "name", key->name, "created_at",
                    created, "expires_at", expires, "last_used_at", key->used_at > 0 ? used : NULL);
    if (doc == NULL || !faas_apikey_scope_write(&key->scope, doc))
        return NULL;
    return FAAS_STEAL(doc);
}

/* ---- the document ---- */

static faas_code bad(faas_err *err, const char *what)
{
    return faas_fail_sys(err, EPROTO, "stored API keys: %s", what);
}

static faas_code load(const void *value, size_t len, json_t **out_doc, json_t **out_keys,
                      faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    if (faas_json_parse(value, len, true, &doc, NULL) != FAAS_OK)
        return bad(err, "not JSON");
    if (len == 0 && (json_object_set_new(doc, "v", json_integer(1)) != 0 ||
                     json_object_set_new(doc, "apikeys", json_object()) != 0))
        return faas_fail_sys(err, ENOMEM, "API keys");
    *out_keys = json_object_get(doc, "apikeys");
    if (!json_is_object(*out_keys))
        return bad(err, "no keys");
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

/* Each write has a name, so that one whose answer was lost is settled by reading back. */
static faas_code sign(json_t **doc, json_t **out_doc, faas_err *err)
{
    char op[33];

    faas_random_token(op);
    if (json_object_set_new(*doc, "op", json_string(op)) != 0)
        return faas_fail_sys(err, ENOMEM, "API keys");
    *out_doc = FAAS_STEAL(*doc);
    return FAAS_OK;
}

static json_t *stored(const struct apikey *key)
{
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:s, s:s, s:I, s:I, s:s*}", "hash", key->hash, "name", key->name, "created_at",
                  (json_int_t)key->created_at, "expires_at", (json_int_t)key->expires_at, "made_by",
                  key->made_by[0] != '\0' ? key->made_by : NULL);

    if (doc == NULL || !faas_apikey_scope_write(&key->scope, doc))
        return NULL;
    return FAAS_STEAL(doc);
}

struct kept {
    const char *hash, *name;
    json_t *verbs, *functions;
    int64_t created_at, expires_at, used_at;
};

static faas_code parse(const char *id, const json_t *doc, struct apikey *out_key, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct kept, hash, "hash", FAAS_HASH_TEXT - 1, FAAS_HASH_TEXT - 1, true),
        FAAS_FIELD(STR, struct kept, name, "name", 1, FAAS_APIKEY_NAME_MAX, true),
        FAAS_FIELD(ANY, struct kept, verbs, "verbs", 0, 0, false),
        FAAS_FIELD(ANY, struct kept, functions, "functions", 0, 0, false),
        FAAS_FIELD(INT, struct kept, created_at, "created_at", 0, 0, true),
        FAAS_FIELD(INT, struct kept, expires_at, "expires_at", 0, 0, true),
        FAAS_FIELD(INT, struct kept, used_at, "used_at", 0, 0, false),
        FAAS_FIELD_END,
    };
    struct kept kept = {0};
    struct apikey key = {0};
    faas_err why = {0};

    if (!json_is_object(doc) ||
        faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, &kept, &why) != FAAS_OK)
        return bad(err, why.msg);
    FAAS_TRY(
        faas_apikey_scope_read(kept.verbs, kept.functions, FAAS_JSON_TOLERANT, &key.scope, err));
    (void)snprintf(key.id, sizeof key.id, "%s", id);
    (void)snprintf(key.hash, sizeof key.hash, "%s", kept.hash);
    (void)snprintf(key.name, sizeof key.name, "%s", kept.name);
    key.created_at = kept.created_at;
    key.expires_at = kept.expires_at;
    key.used_at = kept.used_at;
    *out_key = key;
    return FAAS_OK;
}

/* ---- changes ---- */

/* Of the request itself, once it is asked again.  A first copy that comes later, from an instance
 * that stood still, leaves what others did in its place. */
static faas_code drop_made_by(json_t *keys, const char *request, bool is_again, faas_err *err)
{
    const char *id, *made_by;
    json_t *entry;
    void *next;

    json_object_foreach_safe(keys, next, id, entry)
    {
        made_by = json_string_value(json_object_get(entry, "made_by"));
        if (request[0] == '\0' || made_by == NULL || strcmp(made_by, request) != 0)
            continue;
        if (!is_again)
            return faas_done_unsure(err);
        (void)json_object_del(keys, id);
    }
    return FAAS_OK;
}

faas_code apikey_add(const void *value, size_t len, const struct apikey_owner *owner,
                     const struct apikey *key, int64_t keys_max, json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    json_t *keys;

    *out_doc = NULL;
    FAAS_TRY(load(value, len, &doc, &keys, err));
    if (json_object_get(keys, key->id) != NULL)
        return FAAS_OK; /* its own write, whose answer was lost */
    FAAS_TRY(drop_made_by(keys, key->made_by, key->is_again, err));
    if ((int64_t)json_object_size(keys) >= keys_max)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "a user may have %lld API keys, expired ones counted; remove one first",
                         (long long)keys_max);
    if (json_object_set_new(doc, "tenant", json_string(owner->tenant)) != 0 ||
        json_object_set_new(doc, "username", json_string(owner->username)) != 0 ||
        json_object_set_new(keys, key->id, stored(key)) != 0)
        return faas_fail_sys(err, ENOMEM, "API keys");
    return sign(&doc, out_doc, err);
}

faas_code apikey_remove(const void *value, size_t len, const char *id, json_t **out_doc,
                        faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    json_t *keys;

    *out_doc = NULL;
    FAAS_TRY(load(value, len, &doc, &keys, err));
    if (json_object_size(keys) == 0 || (id != NULL && json_object_get(keys, id) == NULL))
        return FAAS_OK;
    if ((id != NULL ? json_object_del(keys, id) : json_object_clear(keys)) != 0)
        return faas_fail_sys(err, ENOMEM, "API keys");
    return sign(&doc, out_doc, err);
}

faas_code apikey_use(const void *value, size_t len, const char *id, int64_t now_ms,
                     json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    json_t *keys, *key;

    *out_doc = NULL;
    FAAS_TRY(load(value, len, &doc, &keys, err));
    key = json_object_get(keys, id);
    if (key == NULL ||
        json_integer_value(json_object_get(key, "used_at")) > now_ms - APIKEY_USED_MS)
        return FAAS_OK;
    if (json_object_set_new(key, "used_at", json_integer(now_ms)) != 0)
        return faas_fail_sys(err, ENOMEM, "API keys");
    return sign(&doc, out_doc, err);
}

/* ---- looking ---- */

faas_code apikey_list(const void *value, size_t len, json_t **out_items, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *items = json_array();
    json_t *keys, *entry;
    struct apikey key;
    const char *id;

    FAAS_TRY(load(value, len, &doc, &keys, err));
    json_object_foreach (keys, id, entry) {
        if (!faas_apikey_id_is(id))
            continue; /* a later version's */
        FAAS_TRY(parse(id, entry, &key, err));
        if (json_array_append_new(items, apikey_json(&key)) != 0)
            return faas_fail_sys(err, ENOMEM, "API keys");
    }
    if (items == NULL)
        return faas_fail_sys(err, ENOMEM, "API keys");
    *out_items = FAAS_STEAL(items);
    return FAAS_OK;
}

faas_code apikey_find(const void *value, size_t len, const char *id, const char *hash,
                      struct apikey *out_key, struct apikey_owner *out_owner, bool *out_is_match,
                      faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct apikey key = {.hash = NO_HASH};
    const char *tenant, *username;
    json_t *keys, *entry;
    bool is_same;

    FAAS_TRY(load(value, len, &doc, &keys, err));
    entry = json_object_get(keys, id);
    if (entry != NULL)
        FAAS_TRY(parse(id, entry, &key, err));
    is_same = strlen(hash) == FAAS_HASH_TEXT - 1 &&
              sodium_memcmp(key.hash, hash, FAAS_HASH_TEXT - 1) == 0;
    *out_is_match = entry != NULL && is_same;
    if (!*out_is_match)
        return FAAS_OK;
    tenant = json_string_value(json_object_get(doc, "tenant"));
    username = json_string_value(json_object_get(doc, "username"));
    if (tenant == NULL || !faas_uuid_is(tenant) || username == NULL)
        return bad(err, "no tenant, or no user name");
    (void)snprintf(out_owner->tenant, sizeof out_owner->tenant, "%s", tenant);
    (void)snprintf(out_owner->username, sizeof out_owner->username, "%s", username);
    *out_key = key;
    return FAAS_OK;
}
