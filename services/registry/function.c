/* The JSON forms of a function record. */
#include "function.h"

#include "base/clock.h"
#include "base/id.h"
#include "contract.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static faas_code no_memory(faas_err *err)
{
    return faas_fail_sys(err, ENOMEM, "function record");
}

/* Gives target the settings it lacks: it may come from a release that did not know them. */
static faas_code fill(json_t *target, const json_t *settings, faas_err *err)
{
    void *at = json_object_iter((json_t *)(uintptr_t)settings); /* the iterator lacks const */

    for (; at != NULL; at = json_object_iter_next((json_t *)(uintptr_t)settings, at)) {
        const char *key = json_object_iter_key(at);
        json_t *normal = json_object_iter_value(at);
        json_t *old = json_object_get(target, key);

        if (json_is_object(old) && json_is_object(normal))
            FAAS_TRY(fill(old, normal, err));
        else if (old == NULL && json_object_set_new(target, key, faas_json_deep_copy(normal)) != 0)
            return no_memory(err);
    }
    return FAAS_OK;
}

/* Lays the members of given that settings knows over target; null means the setting's default. */
static faas_code overlay(json_t *target, const json_t *given, const json_t *settings, faas_err *err)
{
    void *at = json_object_iter((json_t *)(uintptr_t)settings); /* the iterator lacks const */

    for (; at != NULL; at = json_object_iter_next((json_t *)(uintptr_t)settings, at)) {
        const char *key = json_object_iter_key(at);
        json_t *normal = json_object_iter_value(at);
        const json_t *value = json_object_get(given, key);
        json_t *old = json_object_get(target, key);

        if (value == NULL)
            continue;
        if (json_is_object(value) && json_object_size(normal) > 0 && json_is_object(old))
            FAAS_TRY(overlay(old, value, normal, err));
        else if (json_object_set_new(
                     target, key, faas_json_deep_copy(json_is_null(value) ? normal : value)) != 0)
            return no_memory(err);
    }
    return FAAS_OK;
}

/* 1 and 1.0 are the same number of processors; they are kept as one form. */
static faas_code settle_cpus(json_t *doc, faas_err *err)
{
    json_t *limits = json_object_get(doc, "limits");
    double cpus = json_number_value(json_object_get(limits, "cpus"));

    return json_object_set_new(limits, "cpus", json_real(cpus)) == 0 ? FAAS_OK : no_memory(err);
}

static json_t *default_retry_on(bool is_idempotent)
{
    return is_idempotent ? json_pack("[s]", "lost") : json_array();
}

static bool only_not_started(const json_t *on)
{
    size_t i;
    json_t *word;

    json_array_foreach (on, i, word)
        if (strcmp(json_string_value(word), "not_started") != 0)
            return false;
    return true;
}

/* What is retried follows from idempotent unless the body says it; it never contradicts it. */
static faas_code settle_retry(json_t *doc, const json_t *body, faas_err *err)
{
    const json_t *given = json_object_get(body, "retry");
    json_t *retry = json_object_get(doc, "retry");
    bool is_idempotent = json_is_true(json_object_get(retry, "idempotent"));
    const json_t *given_on = json_object_get(given, "on");
    bool is_named = given_on != NULL && !json_is_null(given_on);

    if (given != NULL && !is_named &&
        (json_object_get(given, "idempotent") != NULL || given_on != NULL) &&
        json_object_set_new(retry, "on", default_retry_on(is_idempotent)) != 0)
        return no_memory(err);
    if (!is_idempotent && !only_not_started(json_object_get(retry, "on")))
        return faas_fail(err, FAAS_INVALID,
                         "retry.on: \"lost\" and \"failed\" need \"idempotent\": true");
    return FAAS_OK;
}

static faas_code set_text(json_t *doc, const char *key, const char *text, faas_err *err)
{
    return json_object_set_new(doc, key, json_string(text)) == 0 ? FAAS_OK : no_memory(err);
}

static faas_code set_number(json_t *doc, const char *key, int64_t number, faas_err *err)
{
    return json_object_set_new(doc, key, json_integer(number)) == 0 ? FAAS_OK : no_memory(err);
}

static bool has_shell_entrypoint(const json_t *doc)
{
    return json_is_true(json_object_get(doc, "shell_entrypoint"));
}

/* ENTRYPOINT written as one shell line is run as /bin/sh -c LINE: the argument would become $0 of
 * that shell and never reach the program. */
static faas_code check_shell_form(const json_t *doc, faas_err *err)
{
    const char *input = json_string_value(json_object_get(doc, "input"));

    if (has_shell_entrypoint(doc) && input != NULL && strcmp(input, "argv") == 0)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "payload: the image's ENTRYPOINT is in shell form, so the argument would "
                         "not reach the program: write it in exec form (ENTRYPOINT "
                         "[\"program\"]), or register with \"input\":\"stdin\"");
    return FAAS_OK;
}

static faas_code settle(json_t *doc, const struct function_want *want, faas_err *err)
{
    FAAS_AUTO(json_t) *settings = faas_function_defaults();

    if (settings == NULL)
        return no_memory(err);
    FAAS_TRY(fill(doc, settings, err));
    FAAS_TRY(overlay(doc, want->body, settings, err));
    if (want->payload != NULL)
        FAAS_TRY(set_text(doc, "payload", want->payload, err));
    FAAS_TRY(settle_cpus(doc, err));
    FAAS_TRY(settle_retry(doc, want->body, err));
    return check_shell_form(doc, err);
}

faas_code function_make(const struct function_want *want, const struct faas_ctx *caller,
                        json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    char id[FAAS_UUID_TEXT];
    int64_t now = faas_wall_ms();

    faas_uuid_new(id);
    doc = json_pack("{s:i, s:s, s:s, s:s, s:s, s:i, s:I, s:I}", "v", 1, "id", id, "uuid",
                    caller->user, "name", want->name, "payload", want->payload, "version", 1,
                    "created_at", (json_int_t)now, "updated_at", (json_int_t)now);
    if (doc == NULL)
        return no_memory(err);
    FAAS_TRY(settle(doc, want, err));
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

faas_code function_next(const json_t *doc, json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *next = faas_json_deep_copy(doc);
    int64_t now = faas_wall_ms();
    int64_t created = json_integer_value(json_object_get(doc, "created_at"));

    if (next == NULL)
        return no_memory(err);
    FAAS_TRY(set_number(next, "version", function_version(doc) + 1, err));
    /* The writer before may have had a clock that is ahead: a record never predates itself. */
    FAAS_TRY(set_number(next, "updated_at", now > created ? now : created, err));
    *out_doc = FAAS_STEAL(next);
    return FAAS_OK;
}

/* Back to the defaults, whatever the settings were. */
static faas_code reset_settings(json_t *doc, faas_err *err)
{
    FAAS_AUTO(json_t) *settings = faas_function_defaults();

    if (settings == NULL || json_object_update(doc, settings) != 0)
        return no_memory(err);
    return FAAS_OK;
}

static faas_code same_version(const json_t *doc, const struct function_want *want, json_t **out_doc,
                              faas_err *err)
{
    FAAS_AUTO(json_t) *next = faas_json_deep_copy(doc);

    if (next == NULL)
        return no_memory(err);
    FAAS_TRY(function_take_disabled(next, want->body, err));
    *out_doc = FAAS_STEAL(next);
    return FAAS_OK;
}

faas_code function_change(const json_t *doc, const struct function_want *want,
                          enum function_verb verb, json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *next = NULL;

    if (want->version != 0 && want->version != function_version(doc))
        return faas_fail(err, FAAS_CONFLICT,
                         "version: the function is at version %lld now; read it again and decide",
                         (long long)function_version(doc));
    if (!want->is_of_versions && verb == FUNCTION_UPDATE)
        return same_version(doc, want, out_doc, err);
    FAAS_TRY(function_next(doc, &next, err));
    if (verb == FUNCTION_REPLACE)
        FAAS_TRY(reset_settings(next, err));
    FAAS_TRY(settle(next, want, err));
    FAAS_TRY(function_take_disabled(next, want->body, err));
    *out_doc = FAAS_STEAL(next);
    return FAAS_OK;
}

static bool is_text_list(const json_t *list)
{
    size_t i;
    json_t *entry;

    if (!json_is_array(list))
        return false;
    json_array_foreach (list, i, entry)
        if (!json_is_string(entry))
            return false;
    return true;
}

/* ["/bin/sh", "-c", LINE], what a Dockerfile's ENTRYPOINT LINE becomes. */
static bool is_shell_form(const json_t *entrypoint)
{
    const char *shell = json_string_value(json_array_get(entrypoint, 0));
    const char *flag = json_string_value(json_array_get(entrypoint, 1));

    return json_array_size(entrypoint) == 3 && strcmp(shell, "/bin/sh") == 0 &&
           strcmp(flag, "-c") == 0;
}

struct image {
    const char *reference, *kind, *value;
    json_t *digest, *entrypoint, *cmd;
};

static faas_code read_image(const json_t *resolved, struct image *out_image, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct image, reference, "reference", 1, 2048, true),
        FAAS_FIELD(ANY, struct image, digest, "digest", 0, 0, true),
        FAAS_FIELD(ANY, struct image, entrypoint, "entrypoint", 0, 0, false),
        FAAS_FIELD(ANY, struct image, cmd, "cmd", 0, 0, false),
        FAAS_FIELD_END,
    };
    struct image image = {0};

    FAAS_TRY(faas_json_decode(resolved, fields, FAAS_JSON_TOLERANT, &image, err));
    image.kind = json_string_value(json_object_get(image.digest, "kind"));
    image.value = json_string_value(json_object_get(image.digest, "value"));
    if (image.kind == NULL || image.value == NULL ||
        (image.entrypoint != NULL && !is_text_list(image.entrypoint)) ||
        (image.cmd != NULL && !is_text_list(image.cmd)))
        return faas_fail(err, FAAS_INVALID, "digest, entrypoint, cmd: not of the known shape");
    *out_image = image;
    return FAAS_OK;
}

faas_code function_set_image(json_t *doc, const json_t *resolved, faas_err *err)
{
    struct image image = {0};
    faas_err why;
    bool has_entrypoint;

    if (read_image(resolved, &image, &why) != FAAS_OK)
        return faas_fail_sys(err, EPROTO, "resolve answered: %s", why.msg);
    has_entrypoint = json_array_size(image.entrypoint) > 0;
    if (!has_entrypoint && json_array_size(image.cmd) == 0)
        return faas_fail(
            err, FAAS_UNPROCESSABLE,
            "payload: the image has neither ENTRYPOINT nor CMD, so there is nothing to "
            "run; add an ENTRYPOINT to its Dockerfile");
    if (json_object_set_new(doc, "digest",
                            json_pack("{s:s, s:s}", "kind", image.kind, "value", image.value)) !=
            0 ||
        json_object_set_new(doc, "command",
                            has_entrypoint ? json_array() : faas_json_deep_copy(image.cmd)) != 0 ||
        json_object_set_new(doc, "shell_entrypoint",
                            json_boolean(has_entrypoint && is_shell_form(image.entrypoint))) != 0)
        return no_memory(err);
    FAAS_TRY(set_text(doc, "reference", image.reference, err));
    FAAS_TRY(function_tell_isolation(doc, err));
    return check_shell_form(doc, err);
}

struct kept { /* what the registry itself reads of a stored record */
    const char *id, *uuid, *name, *payload;
    int64_t version, created_at, updated_at;
    json_t *digest, *command;
};

faas_code function_check(const json_t *doc, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct kept, id, "id", 36, 36, true),
        FAAS_FIELD(STR, struct kept, uuid, "uuid", 36, 36, true),
        FAAS_FIELD(STR, struct kept, name, "name", 1, 63, true),
        FAAS_FIELD(STR, struct kept, payload, "payload", 1, 0xFFFF, true),
        FAAS_FIELD(INT, struct kept, version, "version", 1, INT32_MAX, true),
        FAAS_FIELD(INT, struct kept, created_at, "created_at", 0, 0, true),
        FAAS_FIELD(INT, struct kept, updated_at, "updated_at", 0, 0, true),
        FAAS_FIELD(ANY, struct kept, digest, "digest", 0, 0, true),
        FAAS_FIELD(LIST, struct kept, command, "command", 0, 0, true),
        FAAS_FIELD_END,
    };
    struct kept kept;
    faas_err why = {0};

    if (faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, &kept, &why) != FAAS_OK)
        return faas_fail_sys(err, EPROTO, "stored function: %s", why.msg);
    return FAAS_OK;
}

faas_code function_parse(const void *value, size_t len, json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err why = {0};
    faas_code rc = faas_json_parse(value, len, false, &doc, &why);

    if (rc != FAAS_OK)
        return faas_fail_sys(err, rc == FAAS_INTERNAL ? ENOMEM : EPROTO, "stored function: %s",
                             why.msg);
    FAAS_TRY(function_check(doc, err));
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

static json_t *time_text(const json_t *doc, const char *key)
{
    char text[FAAS_TIME_TEXT];

    faas_time_format(json_integer_value(json_object_get(doc, key)), text);
    return json_string(text);
}

/* The public fields, in the order in which people read them; times are made apart.  One that is
 * missing was not known to the release that wrote the record. */
json_t *function_public_version(const json_t *doc)
{
    static const char *const shown[] = {
        "id",      "uuid",        "name",       "description", "payload",          "digest",
        "version", "created_at",  "updated_at", "timeout_ms",  "start_timeout_ms", "max_wait_ms",
        "limits",  "concurrency", "input",      "env",         "secrets",          "network",
        "reuse",   "retry",       "isolation",  "labels",      "content_type",
    };
    FAAS_AUTO(json_t) *settings = NULL; /* made at the first that is missing */
    FAAS_AUTO(json_t) *out = json_object();

    for (size_t i = 0; i < FAAS_ARRAY_LEN(shown); i++) {
        const char *key = shown[i];
        json_t *value = json_object_get(doc, key);
        bool is_time = strcmp(key, "created_at") == 0 || strcmp(key, "updated_at") == 0;

        if (value == NULL && settings == NULL && (settings = faas_function_defaults()) == NULL)
            return NULL;
        if (value == NULL)
            value = json_object_get(settings, key);
        if (json_object_set_new(out, key, is_time ? time_text(doc, key) : json_incref(value)) != 0)
            return NULL;
    }
    return FAAS_STEAL(out);
}

const char *function_name(const json_t *doc)
{
    return json_string_value(json_object_get(doc, "name"));
}

const char *function_id(const json_t *doc)
{
    return json_string_value(json_object_get(doc, "id"));
}

const char *function_payload(const json_t *doc)
{
    return json_string_value(json_object_get(doc, "payload"));
}

const char *function_isolation(const json_t *doc)
{
    const json_t *digest = json_object_get(doc, "digest");
    const char *kind = json_string_value(json_object_get(digest, "kind"));

    return kind != NULL && strcmp(kind, "store") == 0 ? "sandbox" : "docker";
}

faas_code function_tell_isolation(json_t *doc, faas_err *err)
{
    return set_text(doc, "isolation", function_isolation(doc), err);
}

int64_t function_version(const json_t *doc)
{
    return json_integer_value(json_object_get(doc, "version"));
}

static bool is_same(const json_t *a, const json_t *b, const char *key)
{
    return json_equal(json_object_get(a, key), json_object_get(b, key)) != 0;
}

bool function_same_image(const json_t *a, const json_t *b)
{
    return is_same(a, b, "digest") && is_same(a, b, "command") &&
           is_same(a, b, "shell_entrypoint") && is_same(a, b, "reference");
}
