#include "secret_set.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE 4096

struct secret_value *secret_value_new(const char *name, uint64_t revision, void *take_bytes,
                                      size_t len)
{
    struct secret_value *value = calloc(1, sizeof *value);

    if (value == NULL)
        return NULL;
    value->refs = 1;
    (void)snprintf(value->name, sizeof value->name, "%s", name);
    value->revision = revision;
    value->bytes = take_bytes;
    value->len = len;
    return value;
}

struct secret_value *secret_value_ref(struct secret_value *value)
{
    value->refs++;
    return value;
}

void secret_value_unref(struct secret_value *value)
{
    if (value == NULL || --value->refs > 0)
        return;
    sodium_free(value->bytes);
    free(value);
}

/* Names are of fixed length in it, so no two sets read the same. */
static void settle_id(struct secret_set *set)
{
    struct {
        char name[sizeof set->values[0]->name];
        uint64_t revision;
    } all[FAAS_SECRETS_MAX] = {{.revision = 0}};

    for (size_t i = 0; i < set->count; i++) {
        (void)snprintf(all[i].name, sizeof all[i].name, "%s", set->values[i]->name);
        all[i].revision = set->values[i]->revision;
    }
    faas_hash_text(all, set->count * sizeof all[0], set->id);
}

struct secret_set *secret_set_new(struct secret_value *const *values, size_t count)
{
    struct secret_set *set = calloc(1, sizeof *set);

    if (set == NULL)
        return NULL;
    set->refs = 1;
    set->count = count;
    for (size_t i = 0; i < count; i++)
        set->values[i] = secret_value_ref(values[i]);
    settle_id(set);
    return set;
}

size_t secret_set_bytes(const struct secret_set *set)
{
    size_t bytes = 0;

    for (size_t i = 0; set != NULL && i < set->count; i++)
        bytes += (set->values[i]->len + PAGE - 1) / PAGE * PAGE;
    return bytes;
}

struct secret_set *secret_set_ref(struct secret_set *set)
{
    if (set != NULL)
        set->refs++;
    return set;
}

void secret_set_unref(struct secret_set *set)
{
    if (set == NULL || --set->refs > 0)
        return;
    for (size_t i = 0; i < set->count; i++)
        secret_value_unref(set->values[i]);
    free(set);
}
