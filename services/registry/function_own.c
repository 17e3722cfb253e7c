/* What is the function's own and no version's: its aliases, and whether it may be called. */
#include "function.h"

#include "base/clock.h"
#include "base/name.h"
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIASES  "aliases"
#define DISABLED "disabled"

static faas_code no_memory(faas_err *err)
{
    return faas_fail_sys(err, ENOMEM, "function record");
}

/* ---- aliases ---- */

struct part {
    int64_t version, weight;
};

static faas_code read_part(const char *key, const json_t *weight, struct part *out_part,
                           faas_err *err)
{
    struct faas_function_ref ref;
    char text[32];

    if (snprintf(text, sizeof text, "f@%s", key) >= (int)sizeof text ||
        faas_function_ref_parse(text, &ref, NULL) != FAAS_OK || ref.version == 0)
        return faas_fail(err, FAAS_INVALID,
                         "versions: a name in it is a version, a whole number from 1 without "
                         "leading zeros");
    if (!json_is_integer(weight) || json_integer_value(weight) < 1 ||
        json_integer_value(weight) > FAAS_ALIAS_WEIGHT_MAX)
        return faas_fail(err, FAAS_INVALID,
                         "versions.%lld: expected a weight, a whole number from 1 to %d",
                         (long long)ref.version, FAAS_ALIAS_WEIGHT_MAX);
    *out_part = (struct part){ref.version, json_integer_value(weight)};
    return FAAS_OK;
}

static int by_version(const void *a, const void *b)
{
    const struct part *x = a, *y = b;

    return (x->version > y->version) - (x->version < y->version);
}

/* One order for one meaning: the choice of a call depends on it. */
static faas_code parts_json(struct part *parts, size_t count, json_t **out_parts, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = json_object();
    char key[24];

    qsort(parts, count, sizeof *parts, by_version);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(key, sizeof key, "%lld", (long long)parts[i].version);
        if (json_object_set_new(doc, key, json_integer(parts[i].weight)) != 0)
            return no_memory(err);
    }
    if (doc == NULL)
        return no_memory(err);
    *out_parts = FAAS_STEAL(doc);
    return FAAS_OK;
}

static bool is_given(const json_t *value)
{
    return value != NULL && !json_is_null(value);
}

faas_code function_read_parts(const struct function_alias *alias, json_t **out_parts, faas_err *err)
{
    static const int64_t versions[2] = {1, INT32_MAX};
    struct part parts[FAAS_ALIAS_PARTS_MAX] = {{.weight = 1}};
    size_t count = 0;
    const char *key;
    json_t *weight;

    if (is_given(alias->version) == is_given(alias->versions))
        return faas_fail(err, FAAS_INVALID,
                         "version, versions: one of them, {\"version\":3} or "
                         "{\"versions\":{\"3\":90,\"4\":10}}");
    if (is_given(alias->version)) {
        if (!json_is_integer(alias->version))
            return faas_fail(err, FAAS_INVALID, "version: expected an integer");
        FAAS_TRY(function_read_number(alias->version, "version", versions, &parts[0].version, err));
        return parts_json(parts, 1, out_parts, err);
    }
    if (!json_is_object(alias->versions) || json_object_size(alias->versions) < 1 ||
        json_object_size(alias->versions) > FAAS_ALIAS_PARTS_MAX)
        return faas_fail(err, FAAS_INVALID,
                         "versions: expected 1 to %d versions and their weights, such as "
                         "{\"3\":90,\"4\":10}",
                         FAAS_ALIAS_PARTS_MAX);
    json_object_foreach (alias->versions, key, weight)
        FAAS_TRY(read_part(key, weight, &parts[count++], err));
    return parts_json(parts, count, out_parts, err);
}

static json_t *copy_with_aliases(const json_t *doc)
{
    FAAS_AUTO(json_t) *next = faas_json_deep_copy(doc);

    if (next == NULL || (!json_is_object(json_object_get(next, ALIASES)) &&
                         json_object_set_new(next, ALIASES, json_object()) != 0))
        return NULL;
    return FAAS_STEAL(next);
}

/* What a newer release keeps beside the versions of an alias goes with them: it was said of those. */
faas_code function_set_alias(const json_t *doc, const char *alias, json_t *parts, json_t **out_doc,
                             faas_err *err)
{
    FAAS_AUTO(json_t) *next = copy_with_aliases(doc);
    json_t *aliases = json_object_get(next, ALIASES);
    bool is_known = json_object_get(aliases, alias) != NULL;

    if (next == NULL)
        return no_memory(err);
    if (!is_known && parts == NULL)
        return faas_fail(err, FAAS_NOT_FOUND, "the function has no alias of this name");
    if (!is_known && json_object_size(aliases) >= FAAS_ALIASES_MAX)
        return faas_fail(err, FAAS_CONFLICT,
                         "the function has %d aliases, the most allowed; remove one first",
                         FAAS_ALIASES_MAX);
    if (parts == NULL
            ? json_object_del(aliases, alias) != 0
            : json_object_set_new(aliases, alias, json_pack("{s:O}", "versions", parts)) != 0)
        return no_memory(err);
    *out_doc = FAAS_STEAL(next);
    return FAAS_OK;
}

json_t *function_aliases(const json_t *doc)
{
    FAAS_AUTO(json_t) *out = json_object();
    const char *name;
    json_t *stored, *versions;

    json_object_foreach (json_object_get(doc, ALIASES), name, stored) {
        versions = json_object_get(stored, "versions");
        if (json_object_set_new(out, name,
                                versions != NULL ? json_incref(versions) : json_object()) != 0)
            return NULL;
    }
    return FAAS_STEAL(out);
}

/* ---- disabled ---- */

bool function_is_disabled(const json_t *doc)
{
    return json_is_true(json_object_get(doc, DISABLED));
}

faas_code function_take_disabled(json_t *doc, const json_t *body, faas_err *err)
{
    const json_t *given = json_object_get(body, DISABLED);
    bool is_now = json_is_true(given);

    if (given == NULL || is_now == function_is_disabled(doc))
        return FAAS_OK;
    return json_object_set_new(doc, DISABLED, json_boolean(is_now)) == 0 ? FAAS_OK : no_memory(err);
}

/* ---- rollback ---- */

/* The image is pinned in the version; nothing of it is looked for again. */
faas_code function_back(const json_t *head, const json_t *version, json_t **out_doc, faas_err *err)
{
    static const char *const own[] = {ALIASES, DISABLED};
    FAAS_AUTO(json_t) *frame = NULL;
    FAAS_AUTO(json_t) *next = faas_json_deep_copy(version);

    FAAS_TRY(function_next(head, &frame, err));
    if (next == NULL)
        return no_memory(err);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(own); i++) {
        json_t *value = json_object_get(frame, own[i]);

        (void)json_object_del(next, own[i]);
        if (value != NULL && json_object_set(next, own[i], value) != 0)
            return no_memory(err);
    }
    if (json_object_set(next, "version", json_object_get(frame, "version")) != 0 ||
        json_object_set(next, "created_at", json_object_get(frame, "created_at")) != 0 ||
        json_object_set(next, "updated_at", json_object_get(frame, "updated_at")) != 0)
        return no_memory(err);
    *out_doc = FAAS_STEAL(next);
    return FAAS_OK;
}

/* ---- shown ---- */

void function_hide_own(json_t *items)
{
    json_t *item;
    size_t i;

    json_array_foreach (items, i, item) {
        (void)json_object_del(item, ALIASES);
        (void)json_object_del(item, DISABLED);
    }
}

json_t *function_public(const json_t *doc)
{
    FAAS_AUTO(json_t) *out = function_public_version(doc);

    if (out == NULL ||
        json_object_set_new(out, DISABLED, json_boolean(function_is_disabled(doc))) != 0 ||
        json_object_set_new(out, ALIASES, function_aliases(doc)) != 0)
        return NULL;
    return FAAS_STEAL(out);
}
