#include "cli/stack_diff.h"

#include <errno.h>
#include <string.h>

#include "contract.h"

struct diff {
    const json_t *given, *record;
    json_t *changes, *patch;
    bool has_failed; /* no memory */
};

static json_t *mutable(const json_t *doc) /* jansson's iterators lack const */
{
    return (json_t *)(uintptr_t)doc;
}

static bool is_same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b) != 0;
}

static void note(struct diff *diff, const char *field, json_t *take_now, json_t *take_wanted)
{
    json_t *change =
        json_pack("{s:s,s:o,s:o}", "field", field, "now", take_now, "wanted", take_wanted);

    if (json_array_append_new(diff->changes, change) != 0)
        diff->has_failed = true;
}

static json_t *shown(const json_t *value, bool is_hidden)
{
    if (value == NULL)
        return json_null();
    return is_hidden ? json_string("set") : json_incref(mutable(value));
}

static void note_member(struct diff *diff, const char *outer, const char *name, const json_t *now,
                        const json_t *wanted)
{
    bool is_hidden = strcmp(outer, "env") == 0;
    char field[512];

    snprintf(field, sizeof field, "%s.%s", outer, name);
    note(diff, field, shown(now, is_hidden), shown(wanted, is_hidden));
}

/* env, labels: sent as a whole when any of it differs. */
static void compare_map(struct diff *diff, const char *key, const json_t *now, json_t *wanted)
{
    const char *name;
    json_t *value;

    if (is_same(now, wanted))
        return;
    json_object_foreach (wanted, name, value)
        if (!is_same(json_object_get(now, name), value))
            note_member(diff, key, name, json_object_get(now, name), value);
    json_object_foreach (mutable(now), name, value)
        if (json_object_get(wanted, name) == NULL)
            note_member(diff, key, name, value, NULL);
    if (json_object_set(diff->patch, key, wanted) != 0)
        diff->has_failed = true;
}

/* limits, retry: changed member by member. */
static void compare_group(struct diff *diff, const char *key, const json_t *now, json_t *wanted)
{
    const json_t *given = json_object_get(diff->given, key);
    json_t *patch = json_object_get(diff->patch, key);
    const char *name;
    json_t *value;

    json_object_foreach (wanted, name, value) {
        const json_t *old = json_object_get(now, name);

        if (is_same(old, value) || (old == NULL && json_object_get(given, name) == NULL))
            continue;
        note_member(diff, key, name, old, value);
        if (patch == NULL && json_object_set_new(diff->patch, key, json_object()) == 0)
            patch = json_object_get(diff->patch, key);
        if (json_object_set(patch, name, value) != 0)
            diff->has_failed = true;
    }
}

static void compare(struct diff *diff, const char *key, json_t *wanted)
{
    const json_t *now = json_object_get(diff->record, key);

    if (now == NULL && json_object_get(diff->given, key) == NULL)
        return;
    if (strcmp(key, "env") == 0 || strcmp(key, "labels") == 0) {
        compare_map(diff, key, now, wanted);
    } else if (json_is_object(wanted)) {
        compare_group(diff, key, now, wanted);
    } else if (!is_same(now, wanted)) {
        note(diff, strcmp(key, "payload") == 0 ? "image" : key, shown(now, false),
             json_incref(wanted));
        if (json_object_set(diff->patch, key, wanted) != 0)
            diff->has_failed = true;
    }
}

/* Defaults with the given fields over them; image first, as people read it. */
static json_t *complete(const json_t *given)
{
    FAAS_AUTO(json_t) *whole = json_object();
    FAAS_AUTO(json_t) *defaults = faas_function_defaults();
    const json_t *retry = json_object_get(given, "retry");
    json_t *filled, *value;
    const char *key;

    json_object_del(defaults, "isolation");
    if (json_object_set(whole, "payload", json_object_get(given, "payload")) != 0 ||
        json_object_update(whole, defaults) != 0)
        return NULL;
    json_object_foreach (mutable(given), key, value) {
        bool is_group = strcmp(key, "limits") == 0 || strcmp(key, "retry") == 0;
        int rc = is_group ? json_object_update(json_object_get(whole, key), value)
                          : json_object_set(whole, key, value);

        if (rc != 0)
            return NULL;
    }
    filled = json_object_get(whole, "retry");
    if (json_object_get(retry, "on") == NULL &&
        json_is_true(json_object_get(filled, "idempotent")) &&
        json_object_set_new(filled, "on", json_pack("[s]", "lost")) != 0)
        return NULL;
    return FAAS_STEAL(whole);
}

faas_code stack_diff(const json_t *given, const json_t *record, json_t **out_changes,
                     json_t **out_patch, faas_err *err)
{
    FAAS_AUTO(json_t) *changes = json_array();
    FAAS_AUTO(json_t) *patch = json_object();
    FAAS_AUTO(json_t) *wanted = complete(given);
    struct diff diff = {given, record, changes, patch, false};
    const char *key;
    json_t *value;

    if (changes == NULL || patch == NULL || wanted == NULL)
        return faas_fail_sys(err, ENOMEM, "differences");
    json_object_foreach (wanted, key, value)
        compare(&diff, key, value);
    if (diff.has_failed)
        return faas_fail_sys(err, ENOMEM, "differences");
    *out_changes = FAAS_STEAL(changes);
    *out_patch = FAAS_STEAL(patch);
    return FAAS_OK;
}
