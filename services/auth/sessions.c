#include "sessions.h"

#include "base/id.h"

#include <errno.h>

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

faas_code sessions_end_keys(const void *value, size_t len, json_t **out_record, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    json_int_t keys;

    FAAS_TRY(read_record(value, len, &doc, err));
    keys = json_integer_value(json_object_get(doc, "keys"));
    if (json_object_set_new(doc, "keys", json_integer(keys + 1)) != 0)
        return faas_fail_sys(err, ENOMEM, "sessions record");
    return sign(&doc, out_record, err);
}
