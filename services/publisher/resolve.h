/* resolve.h - a call's function (NAME, NAME@N, NAME:ALIAS) -> the record of the version that it runs:
 * memory kept up by the feed, else the store's leader.
 * Order     the head first, always: it says whether the function is there and enabled, what its
 *           aliases are and how many calls it may run.  Then, when that is another one, the version,
 *           which never changes: once read it is served from memory.
 * Freshness a record in memory answers while the feed is under FAAS_FEED_FRESH_MS old.  Older, each
 *           look-up asks the leader; with no leader (an election) memory serves on while
 *           faas_feed_may_serve(), unless this process itself was late (DESIGN.md 3.4), and at once
 *           when the leader does not answer the feed either.
 * No leader and nothing in memory: any replica is taken at its word, but for "not found".
 * Negative  NOT_FOUND is never remembered: it always is the leader's word of this look-up.
 * Threads   the loop thread.
 * Errors    NOT_FOUND, CONFLICT (the function is disabled), UNAVAILABLE (no leader and nothing usable in memory), INTERNAL (bad record).
 */
#ifndef PUBLISHER_RESOLVE_H
#define PUBLISHER_RESOLVE_H

#include "cache.h"

#include "net/feed.h"

#define RESOLVE_READ_MS 5000 /* the longest wait of a look-up */
#define RESOLVE_HEARD   1024

struct resolve_read;
/* rec is borrowed for the callback (record_ref to keep); NULL on failure. */
typedef void resolve_done(void *arg, struct record *rec, const faas_err *err);

struct resolve_want {   /* borrowed, for as long as somebody waits */
    const char *tenant; /* UUID */
    const struct faas_function_ref *ref;
    const char *call_id; /* chooses among an alias's versions */
};
struct resolve_wait { /* embedded in the call that waits; zeroed: not waiting */
    TAILQ_ENTRY(resolve_wait) link;
    struct resolve_read *read;
    resolve_done *done;
    void *arg;
    struct resolve_want want;
    int64_t concurrency; /* of the head, while a version is read */
};
struct resolve {
    faas_kv *kv;
    faas_feed *feed;
    struct cache cache;
    TAILQ_HEAD(resolve_reads, resolve_read) reads; /* on their way to the leader */
    faas_task *on_applied;
    void *arg;
    bool is_late; /* this process ran late since the feed was last fresh */
    struct resolve_heard {
        uint64_t key, seq, at_ns;
    } heard[RESOLVE_HEARD]; /* newest changes by hash of their key; one may displace another */
};
struct resolve_conf {
    faas_kv *kv;
    const faas_members *members;
    size_t cache_len, cache_bytes;
    faas_task *on_applied; /* after each batch of the feed */
    void *arg;
};
FAAS_MUST_CHECK faas_code resolve_start(struct resolve *res, const struct resolve_conf *conf,
                                        faas_err *err);
/* Nobody may wait any more.  Reads that are still out end without a callback. */
void resolve_stop(struct resolve *res);
/* Borrowed; NULL: resolve_ask(). */
struct record *resolve_now(struct resolve *res, const struct resolve_want *want);
/* wait->done runs once, unless cancelled: later, or before this returns where nothing is to be
 * read. */
void resolve_ask(struct resolve *res, const struct resolve_want *want, struct resolve_wait *wait);
void resolve_cancel(struct resolve_wait *wait); /* nothing happens when it does not wait */
/* Nothing of that function has changed since then, as far as the feed tells; false also where it does
 * not tell. */
bool resolve_is_steady(struct resolve *res, const char *tenant, const char *name,
                       uint64_t since_ns);
void resolve_was_late(struct resolve *res);
bool resolve_has_begun(const struct resolve *res); /* the feed has */
bool resolve_may_serve(const struct resolve *res); /* from memory */
uint64_t resolve_applied(const struct resolve *res);

#endif
