#include "keyset.h"

#include "base/id.h"
#include "crypto/token.h"

#include <errno.h>
#include <string.h>

static faas_code parse(const void *value, size_t len, json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    if (len == 0)
        doc = json_pack("{s:i, s:[]}", "v", 1, "keys");
    else if (faas_json_parse(value, len, false, &doc, NULL) != FAAS_OK)
        return faas_fail_sys(err, EPROTO, "stored signing keys: not JSON");
    if (doc == NULL)
        return faas_fail_sys(err, ENOMEM, "signing keys");
    if (!json_is_array(json_object_get(doc, "keys")))
        return faas_fail_sys(err, EPROTO, "stored signing keys: no keys");
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

static json_t *find(const json_t *keys, const char *kid)
{
    json_t *entry;
    size_t i;

    json_array_foreach (keys, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "kid"));

        if (name != NULL && strcmp(name, kid) == 0)
            return entry;
    }
    return NULL;
}

static bool has_ended(const json_t *entry, int64_t now_s)
{
    const json_t *exp = json_object_get(entry, "exp");

    return json_is_integer(exp) && json_integer_value(exp) <= now_s;
}

static bool drop_ended(json_t *keys, int64_t now_s)
{
    bool has_dropped = false;

    for (size_t i = json_array_size(keys); i-- > 0;) {
        if (has_ended(json_array_get(keys, i), now_s))
            has_dropped = json_array_remove(keys, i) == 0 || has_dropped;
    }
    return has_dropped;
}

/* Tells this write from another's. */
static bool stamp_op(json_t *doc)
{
    char op[33];

    faas_random_token(op);
    return json_object_set_new(doc, "op", json_string(op)) == 0;
}

/* One of our keys, in front when it is new there. */
static faas_code join(json_t *keys, const json_t *own, const struct keyset_term *term,
                      bool *out_is_changed, faas_err *err)
{
    json_t *entry = find(keys, json_string_value(json_object_get(own, "kid")));

    if (entry == NULL) {
        if (json_array_size(keys) >= FAAS_TOKEN_KEYS)
            return faas_fail(err, FAAS_BUSY,
                             "%d signing keys live, and no more may: one ends a token's longest "
                             "life after it was replaced",
                             FAAS_TOKEN_KEYS);
        entry = faas_json_deep_copy(own);
        if (entry == NULL || json_array_insert_new(keys, 0, entry) != 0)
            return faas_fail_sys(err, ENOMEM, "signing keys");
    } else if (json_integer_value(json_object_get(entry, "exp")) >= term->renew_below_s) {
        return FAAS_OK;
    }
    *out_is_changed = true;
    if (json_object_set_new(entry, "exp", json_integer(term->exp_s)) != 0)
        return faas_fail_sys(err, ENOMEM, "signing keys");
    return FAAS_OK;
}

static const char *first_kid(const json_t *own)
{
    return json_string_value(
        json_object_get(json_array_get(json_object_get(own, "keys"), 0), "kid"));
}

faas_code keyset_join(const void *value, size_t len, const json_t *own,
                      const struct keyset_term *term, json_t **out_doc, bool *out_is_joining,
                      faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const json_t *mine = json_object_get(own, "keys");
    json_t *keys;
    bool is_changed;

    FAAS_TRY(parse(value, len, &doc, err));
    keys = json_object_get(doc, "keys");
    is_changed = drop_ended(keys, term->now_s);
    *out_is_joining = json_array_size(keys) > 0 && find(keys, first_kid(own)) == NULL;
    for (size_t i = json_array_size(mine); i-- > 0;)
        FAAS_TRY(join(keys, json_array_get(mine, i), term, &is_changed, err));
    if (!stamp_op(doc))
        return faas_fail_sys(err, ENOMEM, "signing keys");
    *out_doc = is_changed ? FAAS_STEAL(doc) : NULL;
    return FAAS_OK;
}

faas_code keyset_end(const void *value, size_t len, const char *kid, int64_t *out_exp_s,
                     faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    FAAS_TRY(parse(value, len, &doc, err));
    *out_exp_s =
        json_integer_value(json_object_get(find(json_object_get(doc, "keys"), kid), "exp"));
    return FAAS_OK;
}

faas_code keyset_keep(const void *value, size_t len, const char *kid, json_t **out_doc,
                      faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    json_t *keys, *kept;

    *out_doc = NULL;
    FAAS_TRY(parse(value, len, &doc, err));
    keys = json_object_get(doc, "keys");
    kept = find(keys, kid);
    if (kept == NULL)
        return faas_fail(err, FAAS_NOT_FOUND, "no signing key %s counts here", kid);
    if (json_array_size(keys) == 1)
        return FAAS_OK;
    if (json_object_set_new(doc, "keys", json_pack("[O]", kept)) != 0 || !stamp_op(doc))
        return faas_fail_sys(err, ENOMEM, "signing keys");
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

faas_code keyset_public(const void *value, size_t len, uint64_t revision, int64_t now_s,
                        json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    FAAS_TRY(parse(value, len, &doc, err));
    (void)drop_ended(json_object_get(doc, "keys"), now_s);
    *out_doc = json_pack("{s:I, s:O}", "revision", (json_int_t)revision, "keys",
                         json_object_get(doc, "keys"));
    return *out_doc != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "signing keys");
}
