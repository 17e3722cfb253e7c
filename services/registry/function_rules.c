/* The rules of a body's fields, as tables. */
#include "function.h"
#include "image_ref.h"

#include "base/name.h"
#include "contract.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_NAME_MAX  63
#define LABEL_VALUE_MAX 255
#define HOUR_MS         3600000

/* Bounds of what one call may ask for; what a machine really has is the spawner's to say. */
#define MEMORY_MB_MIN 6 /* the engine's own least */
#define MEMORY_MB_MAX 65536
#define CPUS_MIN      0.01
#define CPUS_MAX      64
#define PIDS_MAX      32768
#define TMP_MB_MAX    16384 /* 0 would mean "no limit" to a tmpfs */

struct limits {
    int64_t memory_mb, pids, tmp_mb, output_mb;
    double cpus;
};
struct retry {
    bool idempotent;
    int64_t attempts, backoff_ms;
    json_t *on;
};
struct body {
    const char *name, *uuid, *uui, *description, *payload;
    const char *input, *network, *reuse, *isolation, *content_type;
    int64_t timeout_ms, start_timeout_ms, max_wait_ms, concurrency, version;
    bool is_disabled;
    struct limits limits;
    struct retry retry;
    json_t *env, *secrets, *labels;
};

#define MEMBER(kind, member, fname, lo, hi)                                                        \
    FAAS_FIELD(kind, struct body, member, fname, lo, hi, false)
#define NESTED(table, fname)                                                                       \
    {                                                                                              \
        .name = (fname), .kind = FAAS_JSON_OBJECT, .offset = 0, .sub = (table),                    \
        .present_offset = SIZE_MAX                                                                 \
    }

static const struct faas_json_field limits_fields[] = {
    MEMBER(INT, limits.memory_mb, "memory_mb", MEMORY_MB_MIN, MEMORY_MB_MAX),
    MEMBER(REAL, limits.cpus, "cpus", CPUS_MIN, CPUS_MAX),
    MEMBER(INT, limits.pids, "pids", 1, PIDS_MAX),
    MEMBER(INT, limits.tmp_mb, "tmp_mb", 1, TMP_MB_MAX),
    MEMBER(INT, limits.output_mb, "output_mb", 1, FAAS_OUTPUT_MB_MAX),
    FAAS_FIELD_END,
};

static const struct faas_json_field retry_fields[] = {
    MEMBER(BOOL, retry.idempotent, "idempotent", 0, 0),
    MEMBER(INT, retry.attempts, "attempts", 1, 10),
    MEMBER(INT, retry.backoff_ms, "backoff_ms", 0, 60000),
    MEMBER(LIST, retry.on, "on", 0, 3),
    FAAS_FIELD_END,
};

#define NAME_FIELDS                                                                                \
    FAAS_FIELD(STR, struct body, name, "name", 0, FAAS_CONTROL_BODY_MAX, true),                    \
        MEMBER(STR, uuid, "uuid", 0, FAAS_CONTROL_BODY_MAX),                                       \
        MEMBER(STR, uui, "uui", 0, FAAS_CONTROL_BODY_MAX)

#define SETTING_FIELDS                                                                             \
    MEMBER(STR, description, "description", 0, FAAS_DESCRIPTION_MAX),                              \
        MEMBER(INT, timeout_ms, "timeout_ms", FAAS_TIMEOUT_MS_MIN, FAAS_TIMEOUT_MS_MAX),           \
        MEMBER(INT, start_timeout_ms, "start_timeout_ms", FAAS_TIMEOUT_MS_MIN, HOUR_MS),           \
        MEMBER(INT, max_wait_ms, "max_wait_ms", 0, HOUR_MS), NESTED(limits_fields, "limits"),      \
        MEMBER(INT, concurrency, "concurrency", 0, 10000),                                         \
        MEMBER(STR, input, "input", 0, FAAS_CONTROL_BODY_MAX),                                     \
        MEMBER(MAP, env, "env", 0, FAAS_ENV_MAX),                                                  \
        MEMBER(LIST, secrets, "secrets", 0, FAAS_SECRETS_MAX),                                     \
        MEMBER(STR, network, "network", 0, FAAS_CONTROL_BODY_MAX),                                 \
        MEMBER(STR, reuse, "reuse", 0, FAAS_CONTROL_BODY_MAX), NESTED(retry_fields, "retry"),      \
        MEMBER(STR, isolation, "isolation", 0, FAAS_CONTROL_BODY_MAX),                             \
        MEMBER(STR, content_type, "content_type", 0, FAAS_CONTROL_BODY_MAX),                       \
        MEMBER(MAP, labels, "labels", 0, FAAS_LABELS_MAX)

#define PAYLOAD_FIELD(is_needed)                                                                   \
    FAAS_FIELD(STR, struct body, payload, "payload", 1, FAAS_IMAGE_REF_MAX, is_needed)
#define VERSION_FIELD MEMBER(INT, version, "version", 1, INT32_MAX)

static const struct faas_json_field create_fields[] = {
    NAME_FIELDS,
    PAYLOAD_FIELD(true),
    SETTING_FIELDS,
    FAAS_FIELD_END,
};
static const struct faas_json_field update_fields[] = {
    NAME_FIELDS,    PAYLOAD_FIELD(false),
    VERSION_FIELD,  MEMBER(BOOL, is_disabled, "disabled", 0, 0),
    SETTING_FIELDS, FAAS_FIELD_END,
};
static const struct faas_json_field replace_fields[] = {
    NAME_FIELDS, PAYLOAD_FIELD(true), VERSION_FIELD, SETTING_FIELDS, FAAS_FIELD_END,
};
static const struct faas_json_field name_fields[] = {
    NAME_FIELDS,
    FAAS_FIELD_END,
};
static const struct faas_json_field *const tables[] = {
    [FUNCTION_CREATE] = create_fields,
    [FUNCTION_UPDATE] = update_fields,
    [FUNCTION_REPLACE] = replace_fields,
    [FUNCTION_NAME] = name_fields,
};

/* Fields whose text is one of a few words. */
static const struct choice {
    const char *field;
    const char *words[4]; /* NULL ends */
} choices[] = {
    {"input", {"argv", "stdin"}},
    {"network", {"none", "outbound"}},
    {"reuse", {"fresh", "slot"}},
    {"isolation", {"docker", "sandbox"}},
};

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

static faas_code check_choices(const json_t *body, faas_err *err)
{
    for (size_t i = 0; i < FAAS_ARRAY_LEN(choices); i++) {
        const char *text = json_string_value(json_object_get(body, choices[i].field));

        if (text != NULL && !is_one_of(text, choices[i].words))
            return faas_fail(err, FAAS_INVALID, "%s: \"%s\" or \"%s\"", choices[i].field,
                             choices[i].words[0], choices[i].words[1]);
    }
    return FAAS_OK;
}

static bool is_word(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_env_name(const char *name)
{
    if (name[0] == '\0' || (name[0] >= '0' && name[0] <= '9'))
        return false;
    for (; *name != '\0'; name++)
        if (!is_word(*name))
            return false;
    return true;
}

static faas_code check_env(json_t *env, faas_err *err)
{
    const char *name;
    json_t *value;
    size_t bytes = 0;

    json_object_foreach (env, name, value) {
        if (!is_env_name(name))
            return faas_fail(err, FAAS_INVALID,
                             "env: a name is letters, digits and '_', not beginning with a digit");
        bytes += strlen(name) + json_string_length(value);
    }
    if (bytes > FAAS_ENV_BYTES_MAX)
        return faas_fail(err, FAAS_INVALID, "env: names and values together at most %d bytes",
                         FAAS_ENV_BYTES_MAX);
    return FAAS_OK;
}

static bool is_label_name(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > LABEL_NAME_MAX || !is_word(name[0]))
        return false;
    for (; *name != '\0'; name++)
        if (!is_word(*name) && *name != '.' && *name != '-' && *name != '/')
            return false;
    return true;
}

static faas_code check_labels(json_t *labels, faas_err *err)
{
    const char *name;
    json_t *value;

    json_object_foreach (labels, name, value) {
        if (!is_label_name(name))
            return faas_fail(err, FAAS_INVALID,
                             "labels: a name is 1 to %d letters, digits, '_', '.', '-', '/'",
                             LABEL_NAME_MAX);
        if (json_string_length(value) > LABEL_VALUE_MAX)
            return faas_fail(err, FAAS_INVALID, "labels: a value is at most %d bytes",
                             LABEL_VALUE_MAX);
    }
    return FAAS_OK;
}

static faas_code check_retry(const json_t *on, faas_err *err)
{
    static const char *const words[] = {"not_started", "lost", "failed", NULL};
    size_t i;
    json_t *word;

    json_array_foreach (on, i, word)
        if (!is_one_of(json_string_value(word), words))
            return faas_fail(err, FAAS_INVALID,
                             "retry.on: a list of \"not_started\", \"lost\" and \"failed\"");
    return FAAS_OK;
}

/* Names that can be files below /run/secrets, each once.  Whether they exist is not asked here. */
static faas_code check_secrets(const json_t *secrets, faas_err *err)
{
    json_t *name;
    size_t i;

    json_array_foreach (secrets, i, name) {
        if (faas_function_name_check(json_string_value(name), NULL) != FAAS_OK)
            return faas_fail(err, FAAS_INVALID,
                             "secrets: a name is [A-Za-z0-9][A-Za-z0-9_-]{0,62}");
        for (size_t j = 0; j < i; j++)
            if (json_equal(json_array_get(secrets, j), name))
                return faas_fail(err, FAAS_INVALID, "secrets: a name is there twice");
    }
    return FAAS_OK;
}

static faas_code check_payload(const char *payload, faas_err *err)
{
    struct image_ref ref;

    if (payload == NULL)
        return FAAS_OK;
    FAAS_TRY(image_ref_parse(payload, &ref, err));
    image_ref_done(&ref);
    return FAAS_OK;
}

/* Nothing but fields of these words. */
static bool has_only(const json_t *body, const char *const *words)
{
    void *at = json_object_iter((json_t *)(uintptr_t)body); /* jansson's iterator lacks const */

    for (; at != NULL; at = json_object_iter_next((json_t *)(uintptr_t)body, at))
        if (!is_one_of(json_object_iter_key(at), words))
            return false;
    return true;
}

faas_code function_check_owner(const char *uuid, const char *uui, const struct faas_ctx *caller,
                               faas_err *err)
{
    if ((uuid != NULL && strcmp(uuid, caller->user) != 0) ||
        (uui != NULL && strcmp(uui, caller->user) != 0))
        return faas_fail(err, FAAS_DENIED,
                         "uuid: not the id of the user whose token this is; leave it out");
    return FAAS_OK;
}

faas_code function_read_number(const json_t *value, const char *field, const int64_t range[2],
                               int64_t *out_value, faas_err *err)
{
    const char *text = json_string_value(value);
    int64_t number = json_integer_value(value);
    char *end = NULL;

    if (value == NULL || json_is_null(value))
        return FAAS_OK;
    if (text != NULL) {
        errno = 0;
        number = strtoll(text, &end, 10);
    }
    if (text != NULL ? (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
                     : !json_is_integer(value))
        return faas_fail(err, FAAS_INVALID, "%s: expected an integer", field);
    if (number < range[0] || number > range[1])
        return faas_fail(err, FAAS_INVALID, "%s: %lld to %lld", field, (long long)range[0],
                         (long long)range[1]);
    *out_value = number;
    return FAAS_OK;
}

faas_code function_read(const json_t *body, enum function_verb verb, const struct faas_ctx *caller,
                        struct function_want *out_want, faas_err *err)
{
    static const char *const own[] = {"disabled", "name", "uuid", "uui", "version", NULL};
    struct body got = {0};

    FAAS_TRY(faas_json_decode(body, tables[verb], FAAS_JSON_STRICT, &got, err));
    FAAS_TRY(function_check_owner(got.uuid, got.uui, caller, err));
    FAAS_TRY(faas_function_name_check(got.name, err));
    FAAS_TRY(check_payload(got.payload, err));
    FAAS_TRY(check_choices(body, err));
    FAAS_TRY(check_env(got.env, err));
    FAAS_TRY(check_labels(got.labels, err));
    FAAS_TRY(check_retry(got.retry.on, err));
    FAAS_TRY(check_secrets(got.secrets, err));
    if (got.content_type != NULL && got.content_type[0] != '\0')
        FAAS_TRY(faas_media_type_check(got.content_type, err));
    *out_want = (struct function_want){
        .name = got.name,
        .payload = got.payload,
        .version = got.version,
        .is_empty = has_only(body, own + 1),
        .is_of_versions = !has_only(body, own),
        .is_disabling = got.is_disabled,
        .body = body,
    };
    return FAAS_OK;
}
