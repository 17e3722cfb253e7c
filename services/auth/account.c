#include "account.h"

#include "base/clock.h"
#include "base/done.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

faas_code account_read(const json_t *body, struct account_req *out_req, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct account_req, username, "username", 0, 0, true),
        FAAS_FIELD(STR, struct account_req, password, "password", 0, 0, true),
        FAAS_FIELD_END,
    };
    struct account_req req = {0};

    FAAS_TRY(faas_json_decode(body, fields, FAAS_JSON_STRICT, &req, err));
    *out_req = req;
    return FAAS_OK;
}

faas_code account_read_new(const json_t *body, struct account_req *out_req, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct account_req, username, "username", 0, 0, true),
        FAAS_FIELD(STR, struct account_req, password, "password", 0, 0, true),
        FAAS_FIELD(STR, struct account_req, invitation, "invitation", 0, 0, false),
        FAAS_FIELD_END,
    };
    struct account_req req = {0};

    FAAS_TRY(faas_json_decode(body, fields, FAAS_JSON_STRICT, &req, err));
    *out_req = req;
    return FAAS_OK;
}

faas_code account_read_change(const json_t *body, struct account_change *out_change, faas_err *err)
{
    struct wanted {
        struct account_change change;
        const char *keys;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct wanted, change.current, "current_password", 0, 0, true),
        FAAS_FIELD(STR, struct wanted, change.wanted, "new_password", 0, 0, true),
        FAAS_FIELD(STR, struct wanted, keys, "keys", 0, 0, false),
        FAAS_FIELD_END,
    };
    struct wanted want = {.keys = "keep"};

    FAAS_TRY(faas_json_decode(body, fields, FAAS_JSON_STRICT, &want, err));
    want.change.ends_keys = strcmp(want.keys, "end") == 0;
    if (!want.change.ends_keys && strcmp(want.keys, "keep") != 0)
        return faas_fail(err, FAAS_INVALID, "keys: keep, or end (the API keys of the account)");
    *out_change = want.change;
    return FAAS_OK;
}

void account_init(struct account *account, const char *folded_name)
{
    *account = (struct account){.created_at = faas_wall_ms()};
    faas_uuid_new(account->id);
    faas_uuid_new(account->tenant);
    snprintf(account->username, sizeof account->username, "%s", folded_name);
}

void account_name_key(const char *folded_name, char out_key[ACCOUNT_KEY_MAX])
{
    char hash[FAAS_HASH_TEXT];

    faas_hash_text(folded_name, strlen(folded_name), hash);
    snprintf(out_key, ACCOUNT_KEY_MAX, "n.%s", hash);
}

void account_user_key(const char *id, char out_key[ACCOUNT_KEY_MAX])
{
    snprintf(out_key, ACCOUNT_KEY_MAX, "u.%s", id);
}

/* Each stored value names the operation that wrote it: a write whose answer was lost is settled
 * by reading back. */
static json_t *record(json_t *take_doc)
{
    FAAS_AUTO(json_t) *doc = take_doc;
    char op[33];

    faas_random_token(op);
    if (doc == NULL || json_object_set_new(doc, "v", json_integer(1)) != 0 ||
        json_object_set_new(doc, "op", json_string(op)) != 0)
        return NULL;
    return FAAS_STEAL(doc);
}

json_t *account_name_record(const struct account *account)
{
    return record(json_pack("{s:s, s:s*}", "id", account->id, "made_by",
                            account->made_by[0] != '\0' ? account->made_by : NULL));
}

json_t *account_user_record(const struct account *account)
{
    return record(json_pack("{s:s, s:s, s:s, s:I}", "username", account->username, "password",
                            account->password, "tenant", account->tenant, "created_at",
                            (json_int_t)account->created_at));
}

struct stored {
    const char *id, *username, *password, *tenant;
    int64_t created_at;
};

static faas_code read_stored(const void *value, size_t len, const struct faas_json_field *fields,
                             json_t **out_doc, struct stored *out, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err why = {0};

    if (faas_json_parse(value, len, false, &doc, &why) != FAAS_OK ||
        faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, out, &why) != FAAS_OK)
        return faas_fail_sys(err, EPROTO, "stored account: %s", why.msg);
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

faas_code account_parse_name(const void *value, size_t len, char out_id[FAAS_UUID_TEXT],
                             faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct stored, id, "id", FAAS_UUID_TEXT - 1, FAAS_UUID_TEXT - 1, true),
        FAAS_FIELD_END,
    };
    FAAS_AUTO(json_t) *doc = NULL;
    struct stored stored = {0};

    FAAS_TRY(read_stored(value, len, fields, &doc, &stored, err));
    if (!faas_uuid_is(stored.id))
        return faas_fail_sys(err, EPROTO, "stored account: id is not a UUID");
    snprintf(out_id, FAAS_UUID_TEXT, "%s", stored.id);
    return FAAS_OK;
}

bool account_is_made_by(const void *value, size_t len, const char *request)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *made_by;

    if (request[0] == '\0' || faas_json_parse(value, len, false, &doc, NULL) != FAAS_OK)
        return false;
    made_by = json_string_value(json_object_get(doc, "made_by"));
    return made_by != NULL && strcmp(made_by, request) == 0;
}

faas_code account_parse_user(const void *value, size_t len, const char *id,
                             struct account *out_account, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct stored, username, "username", 1, FAAS_USER_NAME_MAX, true),
        FAAS_FIELD(STR, struct stored, password, "password", 1, FAAS_PASSWORD_HASH_MAX - 1, true),
        FAAS_FIELD(STR, struct stored, tenant, "tenant", 36, 36, true),
        FAAS_FIELD(INT, struct stored, created_at, "created_at", 0, 0, true),
        FAAS_FIELD_END,
    };
    FAAS_AUTO(json_t) *doc = NULL;
    struct stored stored = {0};

    FAAS_TRY(read_stored(value, len, fields, &doc, &stored, err));
    if (!faas_uuid_is(stored.tenant))
        return faas_fail_sys(err, EPROTO, "stored account: tenant is not a UUID");
    *out_account = (struct account){.created_at = stored.created_at};
    snprintf(out_account->id, sizeof out_account->id, "%s", id);
    snprintf(out_account->tenant, sizeof out_account->tenant, "%s", stored.tenant);
    snprintf(out_account->username, sizeof out_account->username, "%s", stored.username);
    snprintf(out_account->password, sizeof out_account->password, "%s", stored.password);
    return FAAS_OK;
}

faas_code account_with_password(const void *value, size_t len, const char *hash,
                                const char *request, json_t **out_record, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    char op[33];

    if (faas_json_parse(value, len, false, &doc, NULL) != FAAS_OK)
        return faas_fail_sys(err, EPROTO, "stored account: not JSON");
    faas_random_token(op);
    FAAS_TRY(faas_done_note(doc, doc, request, 0, err));
    if (json_object_set_new(doc, "op", json_string(op)) != 0 ||
        json_object_set_new(doc, "password", json_string(hash)) != 0)
        return faas_fail_sys(err, ENOMEM, "account record");
    *out_record = FAAS_STEAL(doc);
    return FAAS_OK;
}
