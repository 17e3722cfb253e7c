#include "names.h"

#include "base/name.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_FIRST 256

static void fold(const char *text, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]);
}

void names_done(struct names *names)
{
    free(names->text);
    free(names->folded);
    *names = (struct names){0};
}

/* Where the name begins that the byte `at` belongs to. */
static size_t begin_of(const struct names *names, size_t at)
{
    const char *end = memrchr(names->folded, '\0', at); /* of the name before */

    return end != NULL ? (size_t)(end + 1 - names->folded) : 0;
}

/* Where the first name begins that is not below `name`; or, with is_behind, that is above it. */
static size_t position(const struct names *names, const char *name, bool is_behind)
{
    size_t low = 0, high = names->len;

    while (low < high) {
        size_t middle = begin_of(names, low + (high - low) / 2);
        int order = strcmp(names->text + middle, name);

        if (order < 0 || (is_behind && order == 0))
            low = middle + strlen(names->text + middle) + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct names *names, size_t at, const char *name)
{
    return at < names->len && strcmp(names->text + at, name) == 0;
}

static faas_code grow(char **buffer, size_t size, faas_err *err)
{
    char *larger = realloc(*buffer, size);

    if (larger == NULL)
        return faas_fail_sys(err, ENOMEM, "names of functions");
    *buffer = larger;
    return FAAS_OK;
}

static faas_code make_room(struct names *names, size_t more, faas_err *err)
{
    size_t size = names->size == 0 ? SIZE_FIRST : names->size;

    while (size < names->len + more)
        size *= 2;
    if (size == names->size)
        return FAAS_OK;
    FAAS_TRY(grow(&names->text, size, err));
    FAAS_TRY(grow(&names->folded, size, err));
    names->size = size;
    return FAAS_OK;
}

faas_code names_add(struct names *names, const char *name, faas_err *err)
{
    size_t at = position(names, name, false), len = strlen(name) + 1, tail = names->len - at;

    if (is_at(names, at, name))
        return FAAS_OK;
    FAAS_TRY(make_room(names, len, err));
    memmove(names->text + at + len, names->text + at, tail);
    memmove(names->folded + at + len, names->folded + at, tail);
    memcpy(names->text + at, name, len);
    fold(name, len, names->folded + at);
    names->len += len;
    return FAAS_OK;
}

void names_remove(struct names *names, const char *name)
{
    size_t at = position(names, name, false), len = strlen(name) + 1;

    if (!is_at(names, at, name))
        return;
    names->len -= len;
    memmove(names->text + at, names->text + at + len, names->len - at);
    memmove(names->folded + at, names->folded + at + len, names->len - at);
}

const char *names_find(const struct names *names, const char *after, const char *part)
{
    size_t from = after[0] == '\0' ? 0 : position(names, after, true), len = strlen(part);
    char folded[FAAS_FUNCTION_NAME_MAX];
    const char *hit;

    if (from == names->len || len > sizeof folded)
        return NULL;
    fold(part, len, folded);
    hit = memmem(names->folded + from, names->len - from, folded, len);
    return hit != NULL ? names->text + begin_of(names, (size_t)(hit - names->folded)) : NULL;
}
