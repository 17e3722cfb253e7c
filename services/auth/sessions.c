#include "sessions.h"

#include "base/done.h"
#include "base/id.h"

#include <errno.h>
#include <string.h>

static faas_code read_record(const void *value, size_t len, json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    if (faas_json_parse(value, len, true, &doc, NULL) != FAAS_OK)
        return faas_fail_sys(err, EPROTO, "stored sessions: not JSON");
    if (len == 0 && (json_object_set_new(doc, "v", json_integer(1)) != 0 ||
                     json_object_set_new(doc, "generation", json_integer(0)) != 0 ||
                     json_object_set_new(doc, "revoked", json_object()) != 0))
        return faas_fail_sys(err, ENOMEM, "sessions record");
    if (!json_is_integer(json_object_get(doc, "generation")) ||
        !json_is_object(json_object_get(doc, "revoked")))
        return faas_fail_sys(err, EPROTO, "stored sessions: no generation, or nothing revoked");
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

faas_code sessions_generation(const void *value, size_t len, int64_t *out_generation, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    FAAS_TRY(read_record(value, len, &doc, err));
    *out_generation = json_integer_value(json_object_get(doc, "generation"));
    return FAAS_OK;
}

static void drop_ended(json_t *revoked, int64_t now_s)
{
    const char *jti;
    json_t *end;
    void *next;

    json_object_foreach_safe(revoked, next, jti, end)
    {
        if (json_integer_value(end) <= now_s)
            (void)json_object_del(revoked, jti);
    }
}

static bool end_all(json_t *doc, json_t *revoked)
{
    json_int_t generation = json_integer_value(json_object_get(doc, "generation"));

    return json_object_clear(revoked) == 0 &&
           json_object_set_new(doc, "generation", json_integer(generation + 1)) == 0;
}

static faas_code sign(json_t **doc, json_t **out_record, faas_err *err)
{
    char op[33];

    faas_random_token(op);
    if (json_object_set_new(*doc, "op", json_string(op)) != 0)
        return faas_fail_sys(err, ENOMEM, "sessions record");
    *out_record = FAAS_STEAL(*doc);
    return FAAS_OK;
}

faas_code sessions_end(const void *value, size_t len, const struct session *session, int64_t now_s,
                       json_t **out_record, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    json_t *revoked;
    bool is_whole;

    FAAS_TRY(read_record(value, len, &doc, err));
    revoked = json_object_get(doc, "revoked");
    drop_ended(revoked, now_s);
    if (session == NULL || json_object_size(revoked) >= SESSIONS_MAX)
        is_whole = end_all(doc, revoked);
    else
        is_whole =
            json_object_set_new(revoked, session->jti, json_integer(session->expires_at)) == 0;
    return is_whole ? sign(&doc, out_record, err) : faas_fail_sys(err, ENOMEM, "sessions record");
}

faas_code sessions_keys(const void *value, size_t len, int64_t *out_keys, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    FAAS_TRY(read_record(value, len, &doc, err));
    *out_keys = json_integer_value(json_object_get(doc, "keys"));
    return FAAS_OK;
}

static bool count_end(json_t *doc)
{
    json_int_t keys = json_integer_value(json_object_get(doc, "keys"));

    return json_object_set_new(doc, "keys", json_integer(keys + 1)) == 0;
}

faas_code sessions_end_keys(const void *value, size_t len, json_t **out_record, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    FAAS_TRY(read_record(value, len, &doc, err));
    if (!count_end(doc))
        return faas_fail_sys(err, ENOMEM, "sessions record");
    return sign(&doc, out_record, err);
}

faas_code sessions_end_account(const void *value, size_t len, int64_t now_ms, json_t **out_record,
                               faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct faas_standing standing;
    bool is_whole;

    *out_record = NULL;
    FAAS_TRY(read_record(value, len, &doc, err));
    faas_standing_read(doc, &standing);
    if (standing.is_deleted)
        return FAAS_OK;
    is_whole = json_object_set_new(doc, "deleted", json_integer(now_ms)) == 0 &&
               json_object_set_new(doc, "disabled", json_true()) == 0 &&
               json_object_set_new(doc, "role", json_string(FAAS_ROLE_USER)) == 0 &&
               end_all(doc, json_object_get(doc, "revoked")) && count_end(doc);
    return is_whole ? sign(&doc, out_record, err) : faas_fail_sys(err, ENOMEM, "sessions record");
}

faas_code sessions_has_ended(const void *value, size_t len, const struct faas_token_claims *claims,
                             bool *out_has_ended, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    FAAS_TRY(read_record(value, len, &doc, err));
    *out_has_ended = claims->generation < json_integer_value(json_object_get(doc, "generation")) ||
                     json_object_get(json_object_get(doc, "revoked"), claims->jti) != NULL;
    return FAAS_OK;
}

/* ---- standing ---- */

static faas_code check_quotas(const json_t *quotas, faas_err *err)
{
    const char *name;
    json_t *value;

    if (!json_is_object(quotas))
        return faas_fail(err, FAAS_INVALID, "quotas: expected an object");
    json_object_foreach ((json_t *)(uintptr_t)quotas, name, value) {
        int quota = 0;

        while (quota < FAAS_QUOTA_COUNT && strcmp(faas_quota_name((enum faas_quota)quota), name))
            quota++;
        if (quota == FAAS_QUOTA_COUNT)
            return faas_fail(err, FAAS_INVALID,
                             "quotas: there are functions, concurrency, calls_per_minute and "
                             "queued_bytes");
        if (!json_is_null(value) && (!json_is_integer(value) || json_integer_value(value) < 0 ||
                                     json_integer_value(value) > FAAS_QUOTA_MAX))
            return faas_fail(err, FAAS_INVALID,
                             "quotas.%s: expected a whole number from 0 to %lld, or null for the "
                             "platform's own",
                             faas_quota_name((enum faas_quota)quota), (long long)FAAS_QUOTA_MAX);
    }
    return FAAS_OK;
}

faas_code sessions_read_change(const json_t *body, const char **out_username,
                               struct sessions_change *out_change, faas_err *err)
{
    struct wanted {
        const char *username, *role;
        json_t *disabled, *quotas;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct wanted, username, "name", 0, 0, true),
        FAAS_FIELD(STR, struct wanted, role, "role", 0, 0, false),
        FAAS_FIELD(ANY, struct wanted, disabled, "disabled", 0, 0, false),
        FAAS_FIELD(ANY, struct wanted, quotas, "quotas", 0, 0, false),
        FAAS_FIELD_END,
    };
    struct wanted want = {.role = NULL};

    FAAS_TRY(faas_json_decode(body, fields, FAAS_JSON_STRICT, &want, err));
    if (want.disabled != NULL && !json_is_boolean(want.disabled))
        return faas_fail(err, FAAS_INVALID, "disabled: expected true or false");
    if (want.role != NULL && strcmp(want.role, FAAS_ROLE_ADMIN) != 0 &&
        strcmp(want.role, FAAS_ROLE_USER) != 0)
        return faas_fail(err, FAAS_INVALID, "role: " FAAS_ROLE_ADMIN " or " FAAS_ROLE_USER);
    if (want.quotas != NULL)
        FAAS_TRY(check_quotas(want.quotas, err));
    *out_username = want.username;
    *out_change = (struct sessions_change){want.disabled, want.role, want.quotas};
    return FAAS_OK;
}

faas_code sessions_standing(const void *value, size_t len, struct faas_standing *out_standing,
                            faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    FAAS_TRY(read_record(value, len, &doc, err));
    faas_standing_read(doc, out_standing);
    return FAAS_OK;
}

static bool set_quotas(json_t *doc, const json_t *quotas)
{
    FAAS_AUTO(json_t) *stored = json_deep_copy(json_object_get(doc, "quotas"));
    const char *name;
    json_t *value;

    if (!json_is_object(stored)) {
        json_decref(stored);
        stored = json_object();
    }
    json_object_foreach ((json_t *)(uintptr_t)quotas, name, value) {
        if (json_is_null(value))
            (void)json_object_del(stored, name);
        else if (json_object_set(stored, name, value) != 0)
            return false;
    }
    return json_object_set(doc, "quotas", stored) == 0;
}

static bool apply(json_t *doc, const struct sessions_change *change)
{
    if (change->disabled != NULL &&
        json_object_set(doc, "disabled", (json_t *)(uintptr_t)change->disabled) != 0)
        return false;
    if (change->role != NULL && json_object_set_new(doc, "role", json_string(change->role)) != 0)
        return false;
    return change->quotas == NULL || set_quotas(doc, change->quotas);
}

/* A first copy may come as late as one that is asked again, from an instance that stood still. */
static faas_code note_once(json_t *doc, const struct faas_ctx *caller, bool *out_is_done,
                           faas_err *err)
{
    struct faas_ctx late = *caller;
    int64_t none;

    late.is_again = late.id[0] != '\0';
    FAAS_TRY(faas_done_find(doc, &late, out_is_done, &none, err));
    return *out_is_done ? FAAS_OK : faas_done_note(doc, doc, caller->id, 0, err);
}

faas_code sessions_set_standing(const void *value, size_t len, const struct sessions_change *change,
                                const struct faas_ctx *caller, json_t **out_record, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct faas_standing before, after;
    bool is_whole, ends, is_done;

    *out_record = NULL;
    FAAS_TRY(read_record(value, len, &doc, err));
    FAAS_TRY(note_once(doc, caller, &is_done, err));
    if (is_done)
        return FAAS_OK;
    faas_standing_read(doc, &before);
    is_whole = apply(doc, change);
    faas_standing_read(doc, &after);
    ends = (after.is_disabled && !before.is_disabled) || after.is_admin != before.is_admin;
    if (is_whole && ends)
        is_whole = end_all(doc, json_object_get(doc, "revoked")) && count_end(doc);
    return is_whole ? sign(&doc, out_record, err) : faas_fail_sys(err, ENOMEM, "sessions record");
}
