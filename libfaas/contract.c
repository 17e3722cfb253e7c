#include "contract.h"

#include <string.h>

static bool is_id(const char *id)
{
    return id[0] != '\0' && id[strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                          "0123456789_-")] == '\0';
}

bool faas_subject(char out_subject[FAAS_SUBJECT_MAX], const char *pattern, const char *id)
{
    const char *hole = strstr(pattern, "%s");
    size_t before = hole != NULL ? (size_t)(hole - pattern) : strlen(pattern);
    const char *after = hole != NULL ? hole + 2 : "";
    size_t middle = hole != NULL ? strlen(id) : 0;

    if (hole != NULL && !is_id(id))
        return false;
    if (before + middle + strlen(after) >= FAAS_SUBJECT_MAX)
        return false;
    memcpy(out_subject, pattern, before);
    memcpy(out_subject + before, id, middle);
    memcpy(out_subject + before + middle, after, strlen(after) + 1);
    return true;
}
