#include "entry_name.h"

#include <stdbool.h>
#include <string.h>

#define WHITEOUT ".wh."
#define OPAQUE   ".wh..wh..opq"
#define RESERVED ".wh..wh."

static bool is_dots(const char *part, size_t len)
{
    return (len == 1 && part[0] == '.') || (len == 2 && part[0] == '.' && part[1] == '.');
}

faas_code entry_name_clean(const char *name, const struct entry_bounds *bounds,
                           char out_clean[ENTRY_NAME_MAX], faas_err *err)
{
    int64_t depth = 0;
    size_t len = 0;

    for (const char *at = name; *at != '\0';) {
        size_t part = strcspn(at, "/");

        if (part == 2 && is_dots(at, part))
            return faas_fail(err, FAAS_INVALID, "entry %.200s: a name must not hold ..", name);
        if (part > 0 && !is_dots(at, part)) {
            size_t longer = len + (len > 0) + part;

            if (longer >= ENTRY_NAME_MAX || (int64_t)longer > bounds->bytes)
                return faas_fail(err, FAAS_TOO_LARGE,
                                 "entry %.200s...: its name is longer than %lld bytes "
                                 "(IMAGE_MAX_NAME)",
                                 name, (long long)bounds->bytes);
            if (++depth > bounds->depth)
                return faas_fail(err, FAAS_TOO_LARGE,
                                 "entry %.200s: deeper than %lld folders (IMAGE_MAX_DEPTH)", name,
                                 (long long)bounds->depth);
            if (len > 0)
                out_clean[len++] = '/';
            memcpy(out_clean + len, at, part);
            len += part;
        }
        at += part + (at[part] == '/');
    }
    out_clean[len] = '\0';
    return FAAS_OK;
}

const char *entry_name_split(const char *clean, char out_folder[ENTRY_NAME_MAX])
{
    const char *slash = strrchr(clean, '/');
    size_t len = slash != NULL ? (size_t)(slash - clean) : 0;

    memcpy(out_folder, clean, len);
    out_folder[len] = '\0';
    return slash != NULL ? slash + 1 : clean;
}

faas_code entry_name_mark(const char *last, enum entry_mark *out_mark, const char **out_hidden,
                          faas_err *err)
{
    *out_mark = ENTRY_PLAIN;
    if (strncmp(last, WHITEOUT, strlen(WHITEOUT)) != 0)
        return FAAS_OK;
    if (strcmp(last, OPAQUE) == 0) {
        *out_mark = ENTRY_OPAQUE;
        return FAAS_OK;
    }
    if (strncmp(last, RESERVED, strlen(RESERVED)) == 0) {
        *out_mark = ENTRY_IGNORED;
        return FAAS_OK;
    }
    *out_mark = ENTRY_WHITEOUT;
    *out_hidden = last + strlen(WHITEOUT);
    if (**out_hidden == '\0' || is_dots(*out_hidden, strlen(*out_hidden)))
        return faas_fail(err, FAAS_INVALID, "entry %.200s: a whiteout must name what it hides",
                         last);
    return FAAS_OK;
}
