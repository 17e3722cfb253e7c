#include "known.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"

#define BUCKETS 512

struct entry {
    char *name;
    struct image_info info;
    uint64_t until_ns;
    LIST_ENTRY(entry) chain;
    TAILQ_ENTRY(entry) age; /* oldest first: all live equally long */
};
struct known {
    LIST_HEAD(, entry) buckets[BUCKETS];
    TAILQ_HEAD(, entry) ages;
    size_t count;
};

static size_t bucket_of(const char *name)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a; names are resolved ones, not free text */

    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 1099511628211u;
    return hash % BUCKETS;
}

static void info_done(const struct image_info *info)
{
    json_decref(info->volumes);
    json_decref(info->entrypoint);
    json_decref(info->cmd);
}

static void entry_remove(known *set, struct entry *entry)
{
    LIST_REMOVE(entry, chain);
    TAILQ_REMOVE(&set->ages, entry, age);
    set->count--;
    info_done(&entry->info);
    free(entry->name);
    free(entry);
}

static struct entry *find(known *set, const char *name)
{
    struct entry *entry;

    LIST_FOREACH (entry, &set->buckets[bucket_of(name)], chain)
        if (strcmp(entry->name, name) == 0)
            return entry;
    return NULL;
}

faas_code known_new(known **out_known, faas_err *err)
{
    known *set = calloc(1, sizeof *set);

    if (set == NULL)
        return faas_fail_sys(err, ENOMEM, "image set");
    TAILQ_INIT(&set->ages);
    *out_known = set;
    return FAAS_OK;
}

void known_free(known *set)
{
    struct entry *entry;

    if (set == NULL)
        return;
    while ((entry = TAILQ_FIRST(&set->ages)) != NULL)
        entry_remove(set, entry);
    free(set);
}

void known_put(known *set, const char *name, const struct image_info *take_info)
{
    struct entry *entry = calloc(1, sizeof *entry);

    known_drop(set, name);
    if (entry != NULL)
        entry->name = strdup(name);
    if (entry == NULL || entry->name == NULL) {
        free(entry);
        info_done(take_info);
        return;
    }
    if (set->count >= KNOWN_MAX)
        entry_remove(set, TAILQ_FIRST(&set->ages));
    entry->info = *take_info;
    entry->info.detail = NULL;
    entry->until_ns = faas_deadline_in_ms(KNOWN_FRESH_MS);
    LIST_INSERT_HEAD(&set->buckets[bucket_of(name)], entry, chain);
    TAILQ_INSERT_TAIL(&set->ages, entry, age);
    set->count++;
}

const struct image_info *known_get(known *set, const char *name)
{
    struct entry *entry = find(set, name);

    if (entry == NULL)
        return NULL;
    if (faas_now_ns() >= entry->until_ns) {
        entry_remove(set, entry);
        return NULL;
    }
    return &entry->info;
}

void known_drop(known *set, const char *name)
{
    struct entry *entry = find(set, name);

    if (entry != NULL)
        entry_remove(set, entry);
}

size_t known_count(const known *set)
{
    return set->count;
}
