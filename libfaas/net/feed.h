/* feed.h - every change of a bucket, in order, once, on the loop thread (DESIGN.md 3.4).
 * Source    RePublish: core subscription rp.<bucket>.>; apply when Nats-Sequence = last + 1, skip
 *           when <= last, else read the gap from the stream.  Superseded values may be skipped
 *           (history 1); the newest of each key never is.
 * Age       every 250 ms the leader is asked for the bucket's newest sequence; age counts from
 *           SENDING the last question whose answer has been applied.  Under FAAS_FEED_FRESH_MS the
 *           reader may answer from memory; older: ask the leader per look-up, unless it is silent to
 *           these questions; with no leader serve on until FAAS_FEED_STALE_MS, or, while all
 *           members are heard, FAAS_FEED_LEADLESS_MS: changes wait for the readers that are heard.
 * Applied   faas_feed_applied() travels in heartbeats (members.h), at once on applying what writers
 *           wait for; the reader is told of all that has arrived by then.
 * Anew      a bucket whose newest sequence is below what the reader has applied is not the one it
 *           was read from: logged, and read again from its beginning.
 * Threads   start: any; age, applied and begun: any (atomic); the rest: loop thread only.
 */
#ifndef FAAS_FEED_H
#define FAAS_FEED_H

#include "net/kv.h"
#include "net/members.h"

/* No election takes FAAS_FEED_STALE_MS; one after the other does, when leaders die as they are elected. */
#define FAAS_FEED_FRESH_MS    1000
#define FAAS_FEED_STALE_MS    10000
#define FAAS_FEED_LEADLESS_MS 30000

typedef struct faas_feed faas_feed;
struct faas_feed_event {
    const char *key; /* without the bucket's prefix */
    bool is_delete;
    const void *value; /* borrowed */
    size_t len;
    uint64_t seq;
};
typedef void faas_feed_apply(void *arg, const struct faas_feed_event *event);
struct faas_feed_conf {
    faas_kv *kv;
    uint64_t applied; /* last sequence the reader has already; UINT64_MAX: start at the bucket's end
                         (caches) */
    faas_feed_apply *apply; /* each change */
    const char *awaited;    /* what keys begin with whose writers wait for readers; NULL: all keys.
                               The reader is told of others with the next of these, or after 20 ms */
    bool (*is_full)(void *arg); /* the reader takes nothing more for a moment: what comes live is
                                   passed over and read from the stream later; may be NULL */
    faas_task *on_applied; /* after a batch was applied: save the sequence, beat; may be NULL */
    const faas_members *members; /* outlives the feed; NULL: never more than FAAS_FEED_STALE_MS */
    void *arg;
};
FAAS_MUST_CHECK faas_code faas_feed_start(const struct faas_feed_conf *conf, faas_feed **out_feed,
                                          faas_err *err);
void faas_feed_stop(faas_feed *feed);
uint64_t faas_feed_applied(const faas_feed *feed);
int64_t faas_feed_age_ms(const faas_feed *feed); /* INT64_MAX before the first answer was applied */
bool faas_feed_may_serve(const faas_feed *feed); /* what was applied still counts; any thread */
/* Sending of the first question whose answer was applied: from then on every change is heard of.
 * UINT64_MAX before that. */
uint64_t faas_feed_begun_ns(const faas_feed *feed);
/* The leader has not answered for 300 ms, over a connection that stood so long: another question would
 * wait in vain. */
bool faas_feed_is_unanswered(const faas_feed *feed);

#endif
