/* cache.h - function records in memory: bounded in count and bytes, least recently used leaves
 * first.
 * Keys      bucket keys of heads and versions (record.h).  Values are counted references.
 * Threads   the loop thread.
 */
#ifndef PUBLISHER_CACHE_H
#define PUBLISHER_CACHE_H

#include "record.h"

#include <sys/queue.h>

struct cache_entry;
struct cache {
    void *root;                                    /* tsearch(3) tree of entries */
    TAILQ_HEAD(cache_entries, cache_entry) recent; /* newest use first */
    size_t len, bytes, len_max, bytes_max;
};
void cache_init(struct cache *cache, size_t len_max, size_t bytes_max);
void cache_done(struct cache *cache);
/* Borrowed until the next change of the cache; NULL when it is not there.  Counts as a use. */
struct record *cache_get(struct cache *cache, const char *key);
bool cache_has(const struct cache *cache, const char *key); /* does not count as a use */
/* The cache takes a reference of its own.  Without memory the key is merely not kept. */
void cache_put(struct cache *cache, const char *key, struct record *rec, uint64_t revision);
uint64_t cache_revision(const struct cache *cache, const char *key); /* 0: not there */
void cache_remove(struct cache *cache, const char *key);

#endif
