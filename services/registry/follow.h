/* follow.h - keeps the catalog equal to its bucket: the feed on one side, the file on the other.
 * Start     follow_start() from the starter's thread (it blocks); the feed continues behind what
 *           the file holds.
 * Failure   a file that cannot be read or written any more is deleted and built again from the
 *           feed, with pauses of a second.
 * Building  while a file is far behind its bucket, this process is no reader of the bucket, so
 *           that writes do not wait for it, and lists and counts are refused.  They are answered
 *           once the feed is fresh and everybody has heard again, for FOLLOW_SETTLE_MS, that this
 *           is a reader: a write that did not wait for it is in the file by then.
 * Freshness a list is answered at once while the feed's age is under FAAS_FEED_FRESH_MS.  An older
 *           one asks the leader what the newest change is and waits until that is applied.  With
 *           no leader (an election) it answers on until FAAS_FEED_STALE_MS, unless this process
 *           itself stood still for a second: then it cannot know what it missed.
 * Threads   follow_check, follow_is_ready, follow_is_led: any; follow_fill: the loop's.
 */
#ifndef REGISTRY_FOLLOW_H
#define REGISTRY_FOLLOW_H

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

#include "catalog.h"
#include "net/feed.h"
#include "net/members.h"

#define FOLLOW_SETTLE_MS 1000

struct follow {
    faas_loop *loop;
    faas_kv *kv;
    faas_members *members;
    catalog *cat;
    pthread_mutex_t mu;
    pthread_cond_t applied; /* with mu: a batch was committed */
    faas_feed *feed;        /* guarded by mu; written by the loop thread */
    bool was_late;          /* guarded by mu; until the feed is fresh again */
    ev_timer tick;          /* loop thread: measures how late the loop is */
    uint64_t ticked_ns;     /* loop thread */
    bool is_failed;         /* loop thread: the file is being given up */
    _Atomic enum { FOLLOW_CURRENT, FOLLOW_BUILDING, FOLLOW_SETTLING } state; /* loop thread sets */
    uint64_t settling_ns; /* loop thread: since when */
    uint64_t newest;      /* of the bucket, at the start */
    ev_timer pause;       /* loop thread: until the next try to rebuild */
    struct follow_start { /* what the starter waits for */
        pthread_cond_t ended;
        bool is_done; /* guarded by mu */
        faas_code code;
        faas_err err;
    } start;
};

/* f: zeroed but for loop, kv and members. */
FAAS_MUST_CHECK faas_code follow_start(struct follow *f, const char *dir, const char *instance,
                                       faas_err *err);
void follow_stop(struct follow *f);     /* the loop has stopped */
bool follow_is_ready(struct follow *f); /* lists and counts can be answered */
bool follow_is_led(struct follow *f); /* the bucket's leader has answered lately: no election takes
                                           FAAS_FEED_STALE_MS */
FAAS_MUST_CHECK faas_code follow_check(struct follow *f, uint64_t deadline_ns, faas_err *err);
void follow_fill(struct follow *f, struct faas_beat *beat);

#endif
