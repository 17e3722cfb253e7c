#include "base/name.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alnum(char c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* [alnum][alnum_-]* of least to most bytes, ASCII only whatever the locale. */
static bool is_name(const char *name, size_t least, size_t most)
{
    size_t len = name == NULL ? 0 : strnlen(name, most + 1);

    if (len < least || len > most || !is_alnum(name[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!is_alnum(name[i]) && name[i] != '_' && name[i] != '-')
            return false;
    return true;
}

faas_code faas_user_name_fold(const char *name, char out_folded[FAAS_USER_NAME_MAX + 1],
                              faas_err *err)
{
    size_t i;

    if (!is_name(name, 2, FAAS_USER_NAME_MAX))
        return faas_fail(err, FAAS_INVALID,
                         "username: 2 to 32 of a-z, 0-9, '_' and '-', beginning with a letter or "
                         "digit (capital letters count as small ones)");
    for (i = 0; name[i] != '\0'; i++)
        out_folded[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a' : name[i]);
    out_folded[i] = '\0';
    return FAAS_OK;
}

faas_code faas_function_name_check(const char *name, faas_err *err)
{
    if (!is_name(name, 1, FAAS_FUNCTION_NAME_MAX))
        return faas_fail(err, FAAS_INVALID,
                         "name: 1 to 63 of A-Z, a-z, 0-9, '_' and '-', beginning with a letter or "
                         "digit");
    return FAAS_OK;
}

faas_code faas_alias_name_check(const char *name, faas_err *err)
{
    if (!is_name(name, 1, FAAS_ALIAS_NAME_MAX) || name[strspn(name, "0123456789")] == '\0')
        return faas_fail(err, FAAS_INVALID,
                         "alias: 1 to 63 of A-Z, a-z, 0-9, '_' and '-', beginning with a letter or "
                         "digit, and not digits alone (a version is NAME@N)");
    return FAAS_OK;
}

/* A "token" of RFC 9110, 5.6.2. */
static size_t token_len(const char *text)
{
    size_t len = 0;

    while (is_alnum(text[len]) || (text[len] != '\0' && strchr("!#$%&'*+-.^_`|~", text[len])))
        len++;
    return len;
}

static bool is_media_type(const char *text)
{
    size_t len = strnlen(text, FAAS_MEDIA_TYPE_MAX + 1), type = token_len(text), sub;

    if (len > FAAS_MEDIA_TYPE_MAX || type == 0 || text[type] != '/')
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    text += type + 1;
    sub = token_len(text);
    text += sub + strspn(text + sub, " ");
    return sub > 0 && (*text == '\0' || (*text == ';' && text[1] != '\0'));
}

faas_code faas_media_type_check(const char *type, faas_err *err)
{
    if (type == NULL || !is_media_type(type))
        return faas_fail(err, FAAS_INVALID,
                         "content_type: a media type such as \"text/html; charset=utf-8\", at most "
                         "%d printable ASCII characters",
                         FAAS_MEDIA_TYPE_MAX);
    return FAAS_OK;
}

/* One form for each version: no sign, no leading zero. */
static faas_code read_version(const char *text, int64_t *out_version, faas_err *err)
{
    size_t len = strspn(text, "0123456789");

    if (len == 0 || len > 10 || text[len] != '\0' || text[0] == '0' ||
        strtoll(text, NULL, 10) > INT32_MAX)
        return faas_fail(err, FAAS_INVALID,
                         "name: behind '@' a version is expected, a whole number from 1 without "
                         "leading zeros (NAME@3)");
    *out_version = strtoll(text, NULL, 10);
    return FAAS_OK;
}

faas_code faas_function_ref_parse(const char *text, struct faas_function_ref *out_ref,
                                  faas_err *err)
{
    size_t len = strcspn(text, "@:");
    const char *pick = text + len;
    struct faas_function_ref ref = {.version = 0};

    if (strchr(pick, '@') != NULL && strchr(pick, ':') != NULL)
        return faas_fail(err, FAAS_INVALID,
                         "name: a version (NAME@N) or an alias (NAME:ALIAS), not both");
    (void)snprintf(ref.name, sizeof ref.name, "%.*s", (int)(len < INT32_MAX ? len : INT32_MAX),
                   text);
    if (len > FAAS_FUNCTION_NAME_MAX)
        ref.name[0] = '\0';
    FAAS_TRY(faas_function_name_check(ref.name, err));
    if (*pick == '@')
        FAAS_TRY(read_version(pick + 1, &ref.version, err));
    if (*pick == ':') {
        FAAS_TRY(faas_alias_name_check(pick + 1, err));
        (void)snprintf(ref.alias, sizeof ref.alias, "%s", pick + 1);
    }
    *out_ref = ref;
    return FAAS_OK;
}

void faas_function_ref_pick(const struct faas_function_ref *ref,
                            char out_pick[FAAS_FUNCTION_PICK_MAX + 1])
{
    out_pick[0] = '\0';
    if (ref->version != 0)
        (void)snprintf(out_pick, FAAS_FUNCTION_PICK_MAX + 1, "@%" PRId64, ref->version);
    else if (ref->alias[0] != '\0')
        (void)snprintf(out_pick, FAAS_FUNCTION_PICK_MAX + 1, ":%s", ref->alias);
}
