#include "volumes.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

#define SHOWN_BYTES 80

static faas_code fail_path(const char *path, const char *what, faas_err *err)
{
    int shown = (int)faas_utf8_cut(path, strlen(path), SHOWN_BYTES);

    return faas_fail(err, FAAS_INVALID, "image: VOLUME %.*s: %s", shown, path, what);
}

/* path is dir, or in it. */
static bool is_in(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* "/a//b/./c/" -> "/a/b/c"; false: it has "..". */
static bool clean(const char *path, char out[VOLUME_BYTES_MAX + 1])
{
    size_t len = 0;

    for (const char *at = path; *at != '\0';) {
        size_t part = strcspn(at, "/");

        if (part == 2 && at[0] == '.' && at[1] == '.')
            return false;
        if (part > 0 && !(part == 1 && at[0] == '.')) {
            out[len++] = '/';
            memcpy(out + len, at, part);
            len += part;
        }
        at += part + (at[part] == '/');
    }
    out[len] = '\0';
    return true;
}

static faas_code check(const char *path, size_t len, char out_clean[VOLUME_BYTES_MAX + 1],
                       faas_err *err)
{
    static const char *const ours[] = {"/proc", "/sys", "/dev"};

    if (len != strlen(path) || faas_has_control(path, len))
        return faas_fail(err, FAAS_INVALID, "image: VOLUME: a path holds control characters");
    if (len > VOLUME_BYTES_MAX)
        return fail_path(path, "longer than 255 bytes", err);
    if (path[0] != '/')
        return fail_path(path, "must be absolute", err);
    if (!clean(path, out_clean))
        return fail_path(path, "must not hold \"..\"", err);
    if (out_clean[0] == '\0' || strcmp(out_clean, "/etc") == 0)
        return fail_path(path, "cannot be a volume", err);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(ours); i++)
        if (is_in(out_clean, ours[i]) && strcmp(out_clean, "/dev/shm") != 0)
            return fail_path(path, "cannot be a volume", err);
    return FAAS_OK;
}

/* At its place in the sorted list, unless it is there. */
static faas_code insert(json_t *list, const char *path, faas_err *err)
{
    size_t at = 0;

    while (at < json_array_size(list) &&
           strcmp(json_string_value(json_array_get(list, at)), path) < 0)
        at++;
    if (at < json_array_size(list) &&
        strcmp(json_string_value(json_array_get(list, at)), path) == 0)
        return FAAS_OK;
    return json_array_insert_new(list, at, json_string(path)) == 0
               ? FAAS_OK
               : faas_fail_sys(err, ENOMEM, "image volumes");
}

static faas_code take(json_t *list, const char *path, size_t len, faas_err *err)
{
    char cleaned[VOLUME_BYTES_MAX + 1];

    FAAS_TRY(check(path, len, cleaned, err));
    if (strcmp(cleaned, "/tmp") == 0 || strcmp(cleaned, "/dev/shm") == 0)
        return FAAS_OK;
    if (is_in(cleaned, "/tmp"))
        return fail_path(path, "is in /tmp, which is empty at the start of a call", err);
    if (json_array_size(list) >= VOLUMES_MAX)
        return faas_fail(err, FAAS_INVALID, "image: more than %d VOLUME paths", VOLUMES_MAX);
    return insert(list, cleaned, err);
}

/* What a function writes in one volume must not decide where another one is. */
static faas_code check_nesting(const json_t *list, faas_err *err)
{
    const json_t *outer, *inner;
    size_t i, j;

    json_array_foreach (list, i, outer)
        json_array_foreach (list, j, inner)
            if (i != j && is_in(json_string_value(inner), json_string_value(outer)))
                return fail_path(json_string_value(inner), "is inside another VOLUME", err);
    return FAAS_OK;
}

static faas_code take_all(const json_t *volumes, json_t *list, faas_err *err)
{
    json_t *value;
    const char *key;
    size_t i;

    json_array_foreach (volumes, i, value) {
        if (!json_is_string(value))
            return faas_fail(err, FAAS_INVALID, "image: volumes: expected strings");
        FAAS_TRY(take(list, json_string_value(value), json_string_length(value), err));
    }
    /* jansson's objects hold no key with a NUL: faas_json_load refuses it. */
    json_object_foreach ((json_t *)(uintptr_t)volumes, key, value)
        FAAS_TRY(take(list, key, strlen(key), err));
    return check_nesting(list, err);
}

faas_code volumes_read(const json_t *volumes, json_t **out_list, faas_err *err)
{
    FAAS_AUTO(json_t) *list = NULL;

    *out_list = NULL;
    if (volumes == NULL || json_is_null(volumes))
        return FAAS_OK;
    if (!json_is_object(volumes) && !json_is_array(volumes))
        return faas_fail(err, FAAS_INVALID, "image: volumes: expected an object");
    list = json_array();
    if (list == NULL)
        return faas_fail_sys(err, ENOMEM, "image volumes");
    FAAS_TRY(take_all(volumes, list, err));
    if (json_array_size(list) > 0)
        *out_list = FAAS_STEAL(list);
    return FAAS_OK;
}
