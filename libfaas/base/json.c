#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_BYTES 192

/* jansson 2.14 is careless without memory: it calls good text bad syntax, cuts strings short, and
 * leaves keys out of copies and of what it writes.  So its allocations are watched. */
static _Thread_local bool is_out_of_memory;

static void *watched_malloc(size_t size)
{
    void *block = malloc(size);

    is_out_of_memory = is_out_of_memory || block == NULL;
    return block;
}

__attribute__((constructor)) static void watch_memory(void)
{
    json_set_alloc_funcs(watched_malloc, free);
}

/* Where decoding is.  Names are joined to a path only for an error message. */
struct place {
    const struct place *up; /* NULL for the document itself */
    const char *name;
    enum faas_json_mode mode;
};

struct path {
    char text[PATH_MAX_BYTES];
};

static size_t write_path(const struct place *place, char *out, size_t size)
{
    size_t at = place->up != NULL ? write_path(place->up, out, size) : 0;
    int n;

    if (place->up == NULL || at >= size)
        return at;
    n = snprintf(out + at, size - at, "%s%s", at > 0 ? "." : "", place->name);
    return n < 0 ? at : at + (size_t)n;
}

/* "limits.memory_mb"; "body" for the document itself. */
static struct path path_of(const struct place *place)
{
    struct path path = {"body"};

    write_path(place, path.text, sizeof path.text);
    return path;
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "object",   [JSON_ARRAY] = "array", [JSON_STRING] = "string",
        [JSON_INTEGER] = "integer", [JSON_REAL] = "number", [JSON_TRUE] = "boolean",
        [JSON_FALSE] = "boolean",   [JSON_NULL] = "null",
    };

    return names[json_typeof(value)];
}

static faas_code wrong_type(const struct place *place, const char *expected, const json_t *value,
                            faas_err *err)
{
    return faas_fail(err, FAAS_INVALID, "%s: expected %s, got %s", path_of(place).text, expected,
                     type_name(value));
}

static bool has_bounds(const struct faas_json_field *field)
{
    return field->min != 0 || field->max != 0;
}

static bool is_within(const struct faas_json_field *field, double value)
{
    return !has_bounds(field) || (value >= field->min && value <= field->max);
}

/* Sizes: of strings in bytes, of maps and lists in entries. */
static faas_code check_size(const struct faas_json_field *field, const struct place *place,
                            size_t size, const char *unit, faas_err *err)
{
    if (is_within(field, (double)size))
        return FAAS_OK;
    return faas_fail(err, FAAS_INVALID, "%s: %.0f to %.0f %s, got %zu", path_of(place).text,
                     field->min, field->max, unit, size);
}

static faas_code take_string(const struct faas_json_field *field, const struct place *place,
                             const json_t *value, void *target, faas_err *err)
{
    if (!json_is_string(value))
        return wrong_type(place, "string", value, err);
    FAAS_TRY(check_size(field, place, json_string_length(value), "bytes", err));
    *(const char **)target = json_string_value(value);
    return FAAS_OK;
}

static faas_code take_integer(const struct faas_json_field *field, const struct place *place,
                              const json_t *value, void *target, faas_err *err)
{
    int64_t number = json_integer_value(value);

    if (!json_is_integer(value))
        return wrong_type(place, "integer", value, err);
    if (!is_within(field, (double)number))
        return faas_fail(err, FAAS_INVALID, "%s: %.0f to %.0f, got %" PRId64, path_of(place).text,
                         field->min, field->max, number);
    *(int64_t *)target = number;
    return FAAS_OK;
}

static faas_code take_real(const struct faas_json_field *field, const struct place *place,
                           const json_t *value, void *target, faas_err *err)
{
    double number = json_number_value(value);

    if (!json_is_number(value))
        return wrong_type(place, "number", value, err);
    if (!is_within(field, number))
        return faas_fail(err, FAAS_INVALID, "%s: %g to %g, got %g", path_of(place).text, field->min,
                         field->max, number);
    *(double *)target = number;
    return FAAS_OK;
}

static faas_code take_bool(const struct place *place, const json_t *value, void *target,
                           faas_err *err)
{
    if (!json_is_boolean(value))
        return wrong_type(place, "boolean", value, err);
    *(bool *)target = json_is_true(value);
    return FAAS_OK;
}

/* Borrowed documents go into json_t * targets: the reader counts references or only looks. */
static void lend(const json_t *value, void *target)
{
    union {
        const json_t *borrowed;
        json_t *value;
    } lent = {.borrowed = value};

    *(json_t **)target = lent.value;
}

static faas_code take_map(const struct faas_json_field *field, const struct place *place,
                          const json_t *value, void *target, faas_err *err)
{
    json_t *map, *entry;
    const char *key;

    if (!json_is_object(value))
        return wrong_type(place, "object", value, err);
    FAAS_TRY(check_size(field, place, json_object_size(value), "entries", err));
    lend(value, &map);
    json_object_foreach (map, key, entry) {
        if (!json_is_string(entry))
            return wrong_type(&(struct place){.up = place, .name = key}, "string", entry, err);
    }
    lend(value, target);
    return FAAS_OK;
}

static faas_code take_list(const struct faas_json_field *field, const struct place *place,
                           const json_t *value, void *target, faas_err *err)
{
    if (!json_is_array(value))
        return wrong_type(place, "array", value, err);
    FAAS_TRY(check_size(field, place, json_array_size(value), "entries", err));
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *entry = json_array_get(value, i);

        if (!json_is_string(entry))
            return faas_fail(err, FAAS_INVALID, "%s[%zu]: expected string, got %s",
                             path_of(place).text, i, type_name(entry));
    }
    lend(value, target);
    return FAAS_OK;
}

static faas_code decode_at(const struct place *place, const json_t *doc,
                           const struct faas_json_field *fields, void *out, faas_err *err);

static faas_code take(const struct faas_json_field *field, const struct place *place,
                      const json_t *value, void *target, faas_err *err)
{
    switch (field->kind) {
    case FAAS_JSON_STR:
        return take_string(field, place, value, target, err);
    case FAAS_JSON_INT:
        return take_integer(field, place, value, target, err);
    case FAAS_JSON_REAL:
        return take_real(field, place, value, target, err);
    case FAAS_JSON_BOOL:
        return take_bool(place, value, target, err);
    case FAAS_JSON_OBJECT:
        return decode_at(place, value, field->sub, target, err);
    case FAAS_JSON_ANY:
        lend(value, target);
        return FAAS_OK;
    case FAAS_JSON_MAP:
        return take_map(field, place, value, target, err);
    case FAAS_JSON_LIST:
        return take_list(field, place, value, target, err);
    }
    return faas_fail(err, FAAS_INTERNAL, "%s: field table has an unknown kind",
                     path_of(place).text);
}

static faas_code decode_field(const struct place *up, const json_t *doc,
                              const struct faas_json_field *field, void *out, faas_err *err)
{
    const struct place place = {.up = up, .name = field->name, .mode = up->mode};
    const json_t *value = json_object_get(doc, field->name);

    if (value != NULL && !json_is_null(value))
        FAAS_TRY(take(field, &place, value, (char *)out + field->offset, err));
    else if (field->is_required)
        return faas_fail(err, FAAS_INVALID, "%s: required", path_of(&place).text);
    if (value != NULL && field->present_offset != SIZE_MAX)
        *(bool *)((char *)out + field->present_offset) = true;
    return FAAS_OK;
}

static bool is_known(const struct faas_json_field *fields, const char *key)
{
    for (; fields->name != NULL; fields++)
        if (strcmp(fields->name, key) == 0)
            return true;
    return false;
}

static faas_code refuse_unknown(const struct place *place, const json_t *doc,
                                const struct faas_json_field *fields, faas_err *err)
{
    json_t *map, *value;
    const char *key;

    lend(doc, &map);
    json_object_foreach (map, key, value) {
        if (!is_known(fields, key))
            return faas_fail(err, FAAS_INVALID, "%s: unknown field",
                             path_of(&(struct place){.up = place, .name = key}).text);
    }
    return FAAS_OK;
}

static faas_code decode_at(const struct place *place, const json_t *doc,
                           const struct faas_json_field *fields, void *out, faas_err *err)
{
    if (!json_is_object(doc))
        return wrong_type(place, "object", doc, err);
    if (place->mode == FAAS_JSON_STRICT)
        FAAS_TRY(refuse_unknown(place, doc, fields, err));
    for (; fields->name != NULL; fields++)
        FAAS_TRY(decode_field(place, doc, fields, out, err));
    return FAAS_OK;
}

faas_code faas_json_decode(const json_t *doc, const struct faas_json_field *fields,
                           enum faas_json_mode mode, void *out, faas_err *err)
{
    const struct place root = {.mode = mode};

    if (doc == NULL)
        return faas_fail(err, FAAS_INVALID, "body: required");
    return decode_at(&root, doc, fields, out, err);
}

static faas_code parse_failure(size_t len, const json_error_t *error, faas_err *err)
{
    if (len == 0)
        return faas_fail(err, FAAS_INVALID, "body: empty, expected a JSON object");
    return faas_fail(err, FAAS_INVALID, "body: not a JSON object (line %d, column %d): %s",
                     error->line, error->column, error->text);
}

faas_code faas_json_parse(const void *text, size_t len, bool empty_is_object, json_t **out_doc,
                          faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    json_error_t error;

    is_out_of_memory = false;
    doc = len == 0 && empty_is_object
              ? json_object()
              : json_loadb(len == 0 ? "" : text, len, JSON_REJECT_DUPLICATES, &error);
    if (is_out_of_memory)
        return faas_fail_sys(err, ENOMEM, "parse JSON");
    if (doc == NULL)
        return parse_failure(len, &error, err);
    if (!json_is_object(doc))
        return wrong_type(&(struct place){0}, "object", doc, err);
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

static json_t *whole(json_t *copy)
{
    if (!is_out_of_memory)
        return copy;
    json_decref(copy);
    return NULL;
}

json_t *faas_json_load(const void *text, size_t len, size_t flags)
{
    is_out_of_memory = false;
    return whole(json_loadb(text, len, flags, NULL));
}

json_t *faas_json_copy(const json_t *doc)
{
    json_t *from;

    lend(doc, &from);
    is_out_of_memory = false;
    return whole(json_copy(from));
}

json_t *faas_json_deep_copy(const json_t *doc)
{
    is_out_of_memory = false;
    return whole(json_deep_copy(doc));
}

char *faas_json_dump(const json_t *doc, size_t flags, size_t *out_len)
{
    char *text;

    is_out_of_memory = false;
    text = json_dumps(doc, flags | JSON_ENCODE_ANY);
    if (is_out_of_memory) {
        free(text);
        return NULL;
    }
    if (text != NULL && out_len != NULL)
        *out_len = strlen(text);
    return text;
}

char *faas_json_text(const json_t *doc, size_t *out_len)
{
    /* 15 digits give back what people and our own %.3f wrote: 0.1, not 0.10000000000000001. */
    return faas_json_dump(doc, JSON_COMPACT | JSON_REAL_PRECISION(15), out_len);
}

void faas_json_wipe(json_t *doc)
{
    const char *name;
    json_t *value;
    size_t i;

    if (json_is_string(doc))
        explicit_bzero((void *)(uintptr_t)json_string_value(doc), json_string_length(doc));
    json_object_foreach (doc, name, value)
        faas_json_wipe(value);
    json_array_foreach (doc, i, value)
        faas_json_wipe(value);
}
