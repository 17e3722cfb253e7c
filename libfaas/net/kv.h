/* kv.h - a JetStream key-value bucket, seen as key -> (bytes, revision).
 * Keys      ids and hashes only; never user text, checked or not.
 * Values    opaque bytes, up to FAAS_KV_VALUE_MAX; an entry owns its copy until
 *           faas_kv_entry_done().  Each value must carry an operation id ("op") that no other
 *           writer uses: a write whose answer was lost is settled by reading back and comparing
 *           bytes.
 * Revision  the stream sequence of the key's last write; 0 as an expectation means "must not exist"
 *           (deleted counts so).
 * Reads     go to the leader ($JS.API.STREAM.MSG.GET): direct reads were stale in 2 of 2,000.  Where
 *           there is none, faas_kv_peek_async() asks any replica.
 * Writes    retry on no-responders and silence until the deadline (an election takes 4 to 9 s).
 * Time      deadline_ns is an absolute faas_now_ns() instant.
 * Logs      a bucket may also be a bounded log: the newest entries of all keys stay, old ones go by
 *           age and size; entries are appended and read by a feed.
 * Threads   blocking calls from any but the loop thread; *_async from any, done on the loop thread.
 * Errors    NOT_FOUND, CONFLICT (revision moved on), TOO_LARGE, INVALID (not a key), UNAVAILABLE
 *           (no leader until the deadline; includes time-outs).
 * Spec      NATS ADR-8 (buckets), ADR-6 (kv-key-name).
 */
#ifndef FAAS_KV_H
#define FAAS_KV_H

#include "net/rpc.h"

#define FAAS_KV_VALUE_MAX (512 * 1024)
#define FAAS_KV_KEY_MAX   160

typedef struct faas_kv faas_kv;
struct faas_kv_entry {
    void *value; /* owned; NUL follows the last byte */
    size_t len;
    uint64_t revision;
    bool is_delete; /* of faas_kv_look(): the key is not there any more */
};

/* Opens the bucket, creating it when absent (file storage, history 1, RePublish $KV.<bucket>.> to
 * rp.<bucket>.>, `replicas`).  Waits for JetStream until the deadline.  From a thread other than
 * the loop's. */
FAAS_MUST_CHECK faas_code faas_kv_open(faas_rpc *rpc, const char *bucket, int replicas,
                                       uint64_t deadline_ns, faas_kv **out_kv, faas_err *err);
/* A handle alone, from any thread: the log is made by faas_kv_make_log_async(), and may vanish. */
FAAS_MUST_CHECK faas_code faas_kv_open_log(faas_rpc *rpc, const char *bucket, faas_kv **out_kv,
                                           faas_err *err);
void faas_kv_close(faas_kv *kv);
const char *faas_kv_bucket(const faas_kv *kv);

FAAS_MUST_CHECK faas_code faas_kv_get(faas_kv *kv, const char *key, uint64_t deadline_ns,
                                      struct faas_kv_entry *out_entry, faas_err *err);
/* expected 0: create.  *out_revision may be NULL. */
FAAS_MUST_CHECK faas_code faas_kv_put(faas_kv *kv, const char *key, uint64_t expected,
                                      const void *value, size_t len, uint64_t deadline_ns,
                                      uint64_t *out_revision, faas_err *err);
/* expected 0: whatever is there. */
FAAS_MUST_CHECK faas_code faas_kv_delete(faas_kv *kv, const char *key, uint64_t expected,
                                         uint64_t deadline_ns, uint64_t *out_revision,
                                         faas_err *err);
/* As faas_kv_delete(), with a word for whoever looks at the place. */
FAAS_MUST_CHECK faas_code faas_kv_bury(faas_kv *kv, const char *key, uint64_t expected,
                                       const void *word, size_t len, uint64_t deadline_ns,
                                       uint64_t *out_revision, faas_err *err);
/* As faas_kv_get(), but what was deleted is found, too: is_delete, and the word as its value. */
FAAS_MUST_CHECK faas_code faas_kv_look(faas_kv *kv, const char *key, uint64_t deadline_ns,
                                       struct faas_kv_entry *out_entry, faas_err *err);
void faas_kv_entry_done(struct faas_kv_entry *entry);

/* Whoever reads a whole bucket asks for one change after the other, in the order of revisions; a key
 * that is written again meanwhile comes again. */
struct faas_kv_change {
    char key[FAAS_KV_KEY_MAX + 1];
    bool is_delete;
    struct faas_kv_entry entry; /* faas_kv_entry_done() */
};
/* The first one at or after a revision, from the leader; NOT_FOUND when there is none. */
FAAS_MUST_CHECK faas_code faas_kv_next(faas_kv *kv, uint64_t from, uint64_t deadline_ns,
                                       struct faas_kv_change *out_change, faas_err *err);
/* The same of keys that are `under` ("n.") and one more word. */
FAAS_MUST_CHECK faas_code faas_kv_next_of(faas_kv *kv, const char *under, uint64_t from,
                                          uint64_t deadline_ns, struct faas_kv_change *out_change,
                                          faas_err *err);
/* The bucket's newest revision, 0 when nothing was ever written. */
FAAS_MUST_CHECK faas_code faas_kv_last(faas_kv *kv, uint64_t deadline_ns, uint64_t *out_revision,
                                       faas_err *err);

/* entry is borrowed for the callback; NULL unless code is FAAS_OK. */
typedef void faas_kv_done(void *arg, faas_code code, const struct faas_kv_entry *entry,
                          const faas_err *err);
void faas_kv_get_async(faas_kv *kv, const char *key, uint64_t deadline_ns, faas_kv_done *done,
                       void *arg);
/* The word of any replica ($JS.API.DIRECT.GET), also while there is no leader: what it knows may be
 * old, and NOT_FOUND may mean that it has not heard of the key yet. */
void faas_kv_peek_async(faas_kv *kv, const char *key, uint64_t deadline_ns, faas_kv_done *done,
                        void *arg);
/* As faas_kv_put(); value is copied; entry->revision is the write's. */
void faas_kv_put_async(faas_kv *kv, const char *key, uint64_t expected, const void *value,
                       size_t len, uint64_t deadline_ns, faas_kv_done *done, void *arg);
struct faas_kv_bounds { /* of a log, when it is made */
    int replicas;
    int64_t max_bytes, max_age_ms;
};
/* Makes the log unless it is there; done's entry has no meaning. */
void faas_kv_make_log_async(faas_kv *kv, const struct faas_kv_bounds *bounds, uint64_t deadline_ns,
                            faas_kv_done *done, void *arg);
struct faas_kv_item {
    const char *key;
    const char *id; /* the same one is stored once in two minutes, however often it is sent */
    const void *value;
    size_t len;
};
/* Appends to a log; everything is copied; entry->revision is the place in the log. */
void faas_kv_append_async(faas_kv *kv, const struct faas_kv_item *item, uint64_t deadline_ns,
                          faas_kv_done *done, void *arg);
/* Newest sequence of the whole bucket, asked from the leader (entry->revision; value empty). */
void faas_kv_last_async(faas_kv *kv, uint64_t deadline_ns, faas_kv_done *done, void *arg);

#endif
