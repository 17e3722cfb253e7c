#include "base/name.h"

#include <stdbool.h>
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
