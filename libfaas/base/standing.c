#include "base/standing.h"

#include <string.h>

const char *faas_quota_name(enum faas_quota quota)
{
    static const char *const names[FAAS_QUOTA_COUNT] = {
#define X(name, text) text,
        FAAS_QUOTAS(X)
#undef X
    };

    return names[quota];
}

void faas_standing_read(const json_t *record, struct faas_standing *out_standing)
{
    const char *role = json_string_value(json_object_get(record, "role"));
    const json_t *disabled = json_object_get(record, "disabled");
    const json_t *quotas = json_object_get(record, "quotas"), *value;

    out_standing->is_admin = role != NULL && strcmp(role, FAAS_ROLE_ADMIN) == 0;
    out_standing->is_disabled = disabled != NULL && !json_is_false(disabled);
    out_standing->is_deleted = json_is_integer(json_object_get(record, "deleted"));
    for (int i = 0; i < FAAS_QUOTA_COUNT; i++) {
        value = json_object_get(quotas, faas_quota_name((enum faas_quota)i));
        out_standing->quotas[i] = json_is_integer(value) && json_integer_value(value) >= 0
                                      ? json_integer_value(value)
                                      : FAAS_QUOTA_DEFAULT;
    }
}

bool faas_standing_is_plain(const struct faas_standing *standing)
{
    for (int i = 0; i < FAAS_QUOTA_COUNT; i++) {
        if (standing->quotas[i] != FAAS_QUOTA_DEFAULT)
            return false;
    }
    return !standing->is_admin && !standing->is_disabled && !standing->is_deleted;
}

int64_t faas_quota_of(const struct faas_standing *standing, enum faas_quota quota, int64_t platform)
{
    int64_t own = standing->quotas[quota];

    return own != FAAS_QUOTA_DEFAULT ? own : platform;
}
