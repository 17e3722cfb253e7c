/* feed_internal.h - what feed.c (live messages, questions) and feed_fetch.c (the stream) share.
 * Lifetime  a feed is counted: by its owner and by each answer awaited.
 * Threads   the loop's, but for what is atomic.
 */
#ifndef FAAS_FEED_INTERNAL_H
#define FAAS_FEED_INTERNAL_H

#include <stdatomic.h>

#include "net/feed.h"
#include "net/kv_internal.h"

#define FAAS_FEED_QUESTIONS 16 /* answered ones whose sequence is not applied yet */
#define FAAS_FEED_TEXT      48

struct faas_feed_question {
    uint64_t sent_ns;
    uint64_t seq;
};

/* Reading the stream: step by step, or by making a consumer and pulling until nothing is left. */
struct faas_feed_fetch {
    enum { FETCH_IDLE, FETCH_STEPPING, FETCH_CREATING, FETCH_PULLING, FETCH_PAUSED } state;
    char consumer[40];
    uint64_t number;    /* of this consumer: last token of its inbox */
    uint64_t delivered; /* consumer sequence of the newest message */
    int batch_left;
    bool is_held;   /* the reader was full: the pull comes later */
    int refusals;   /* pulls that met nobody: the consumer's interest is not known here yet */
    ev_timer timer; /* stall while pulling, pause between two consumers or two pulls */
};

struct faas_feed {
    struct faas_feed_conf conf;
    faas_rpc *rpc;
    faas_bus *bus;
    faas_loop *loop;
    char stream[FAAS_FEED_TEXT]; /* "KV_users" */
    char live[FAAS_FEED_TEXT];   /* "rp.users." */
    char stored[FAAS_FEED_TEXT]; /* "$KV.users." */
    char inbox[160];             /* where consumers deliver, with trailing dot */
    _Atomic int refs;            /* the owner's and one per answer awaited */
    bool is_stopped;
    bool is_placed;   /* applied means something */
    bool is_answered; /* the leader has answered once */
    _Atomic uint64_t applied;
    _Atomic uint64_t fresh_ns; /* sending of the last question whose answer is applied; 0: none */
    _Atomic uint64_t begun_ns; /* ... of the first such one */
    uint64_t unanswered_ns; /* sending of the first question since an answer came or the connection
                               was made; 0: none */
    uint64_t wanted;        /* the newest sequence known to exist */
    uint64_t behind_ns;     /* since when wanted is not applied; 0: it is */
    struct faas_feed_question waiting[FAAS_FEED_QUESTIONS];
    size_t waiting_count;
    int unsaid;         /* changes since the reader was last told of a batch */
    ev_timer say_timer; /* until the reader is told of what is unsaid */
    ev_tstamp said_at;  /* by that timer, about what is awaited */
    faas_sub *live_sub, *inbox_sub;
    ev_timer ask_timer;
    struct faas_bus_watch watch;
    struct faas_feed_fetch fetch;
};

void faas_feed_ref(faas_feed *feed);
void faas_feed_unref(faas_feed *feed);
struct ev_loop *faas_feed_ev(const faas_feed *feed);
void faas_feed_take(faas_feed *feed, const struct faas_feed_event *event);
void faas_feed_take_msg(faas_feed *feed, const faas_msg *msg, const char *key, uint64_t seq);
/* After a batch: questions are settled and the reader is told. */
void faas_feed_say_applied(faas_feed *feed);
bool faas_feed_is_full(const faas_feed *feed);
void faas_feed_want(faas_feed *feed, uint64_t seq); /* seq is known to exist */

/* Read the stream from applied + 1 on, unless that is under way. */
void faas_feed_fetch(faas_feed *feed);
void faas_feed_fetch_stop(faas_feed *feed);
void faas_feed_on_stored(void *arg, faas_msg *take_msg); /* handler of the consumers' inbox */
void faas_feed_on_fetch_timer(struct ev_loop *ev, ev_timer *timer, int events);

#endif
