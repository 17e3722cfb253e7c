#include "cache.h"

#include <search.h>
#include <stdio.h>
#include <string.h>

#define TREE_NODE_BYTES 32 /* of tsearch(3) */
#define BLOCK_BYTES     16 /* of malloc(3), for each of the three blocks of an entry, on average */

struct cache_entry {
    char key[RECORD_VERSION_KEY_MAX]; /* first: the tree compares whole nodes as texts */
    TAILQ_ENTRY(cache_entry) link;
    struct record *record;
    uint64_t revision;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(a, b);
}

static size_t bytes_of(const struct cache_entry *entry)
{
    return entry->record->bytes + sizeof *entry + TREE_NODE_BYTES + 3 * BLOCK_BYTES;
}

void cache_init(struct cache *cache, size_t len_max, size_t bytes_max)
{
    *cache = (struct cache){.len_max = len_max, .bytes_max = bytes_max};
    TAILQ_INIT(&cache->recent);
}

static struct cache_entry *find(const struct cache *cache, const char *key)
{
    void *const *node = tfind(key, &cache->root, by_key);

    return node != NULL ? *node : NULL;
}

static void drop(struct cache *cache, struct cache_entry *entry)
{
    tdelete(entry, &cache->root, by_key);
    TAILQ_REMOVE(&cache->recent, entry, link);
    cache->len--;
    cache->bytes -= bytes_of(entry);
    record_unref(entry->record);
    free(entry);
}

void cache_done(struct cache *cache)
{
    struct cache_entry *entry;

    if (cache->recent.tqh_last == NULL) /* zeroed: never initialised */
        return;
    while ((entry = TAILQ_FIRST(&cache->recent)) != NULL)
        drop(cache, entry);
}

struct record *cache_get(struct cache *cache, const char *key)
{
    struct cache_entry *entry = find(cache, key);

    if (entry == NULL)
        return NULL;
    TAILQ_REMOVE(&cache->recent, entry, link);
    TAILQ_INSERT_HEAD(&cache->recent, entry, link);
    return entry->record;
}

bool cache_has(const struct cache *cache, const char *key)
{
    return find(cache, key) != NULL;
}

uint64_t cache_revision(const struct cache *cache, const char *key)
{
    const struct cache_entry *entry = find(cache, key);

    return entry != NULL ? entry->revision : 0;
}

static void shrink(struct cache *cache)
{
    while (cache->len > cache->len_max || (cache->bytes > cache->bytes_max && cache->len > 1))
        drop(cache, TAILQ_LAST(&cache->recent, cache_entries));
}

void cache_put(struct cache *cache, const char *key, struct record *rec, uint64_t revision)
{
    struct cache_entry *entry;

    record_ref(rec); /* before the old one goes: it may be the same */
    cache_remove(cache, key);
    entry = calloc(1, sizeof *entry);
    if (entry != NULL)
        snprintf(entry->key, sizeof entry->key, "%s", key);
    if (entry == NULL || tsearch(entry, &cache->root, by_key) == NULL) {
        free(entry);
        record_unref(rec);
        return;
    }
    entry->record = rec;
    entry->revision = revision;
    TAILQ_INSERT_HEAD(&cache->recent, entry, link);
    cache->len++;
    cache->bytes += bytes_of(entry);
    shrink(cache);
}

void cache_remove(struct cache *cache, const char *key)
{
    struct cache_entry *entry = find(cache, key);

    if (entry != NULL)
        drop(cache, entry);
}
