#include "alias.h"

#include "base/id.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool read_part(const char *key, const json_t *weight, struct alias_part *out_part)
{
    struct faas_function_ref ref;
    char text[32];

    if (snprintf(text, sizeof text, "f@%s", key) >= (int)sizeof text ||
        faas_function_ref_parse(text, &ref, NULL) != FAAS_OK)
        return false;
    *out_part = (struct alias_part){ref.version, json_integer_value(weight)};
    return ref.version != 0 && out_part->weight >= 1 && out_part->weight <= FAAS_ALIAS_WEIGHT_MAX;
}

static void read_one(const char *name, const json_t *stored, struct alias *out)
{
    json_t *versions = json_object_get(stored, "versions"), *weight;
    const char *key;

    *out = (struct alias){.total = 0};
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    if (json_object_size(versions) > FAAS_ALIAS_PARTS_MAX)
        return;
    json_object_foreach (versions, key, weight) {
        if (!read_part(key, weight, &out->parts[out->count])) {
            out->total = 0;
            return;
        }
        out->total += out->parts[out->count++].weight;
    }
}

faas_code alias_read(const json_t *aliases, struct alias **out_list, size_t *out_count,
                     faas_err *err)
{
    size_t room = json_object_size(aliases);
    const char *name;
    json_t *stored;

    *out_list = NULL;
    *out_count = 0;
    if (room == 0)
        return FAAS_OK;
    *out_list = calloc(room, sizeof **out_list);
    if (*out_list == NULL)
        return faas_fail_sys(err, errno, "hold a function's aliases");
    json_object_foreach ((json_t *)(uintptr_t)aliases, name, stored)
        if (strlen(name) <= FAAS_ALIAS_NAME_MAX)
            read_one(name, stored, &(*out_list)[(*out_count)++]);
    return FAAS_OK;
}

int64_t alias_choose(const struct alias *alias, const char *call_id)
{
    uint64_t at = faas_rendezvous(call_id, alias->name) % (uint64_t)alias->total;
    size_t i = 0;

    while (i + 1 < alias->count && at >= (uint64_t)alias->parts[i].weight)
        at -= (uint64_t)alias->parts[i++].weight;
    return alias->parts[i].version;
}
