/* A bucket followed from its RePublish subject.
 *
 * Live messages are applied as long as each is the successor of the one before.  When one is
 * missing (a server died, we were away, this is the start), the stream itself is read from the
 * first missing sequence on: feed_fetch.c.  Live messages that follow directly are applied
 * meanwhile. */
#include "net/feed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/feed_internal.h"

#define ASK_S        0.25
#define ASK_MS       2000 /* longest wait for one answer */
#define SILENT_MS    300  /* without any: there is no leader */
#define BATCH_MAX    256
#define SAY_S        0.0005 /* between two batches of a burst */
#define QUIET_S      0.02   /* until the reader is told of what nobody waits for */
#define IN_FLIGHT_MS 200    /* a live message may be this late before the stream is read */

void faas_feed_ref(faas_feed *feed)
{
    atomic_fetch_add(&feed->refs, 1);
}

void faas_feed_unref(faas_feed *feed)
{
    if (atomic_fetch_sub(&feed->refs, 1) == 1)
        free(feed);
}

struct ev_loop *faas_feed_ev(const faas_feed *feed)
{
    return faas_loop_ev(feed->loop);
}

/* ---- applying ---- */

/* Answers whose sequence has been applied make the feed fresh. */
static void settle_questions(faas_feed *feed)
{
    uint64_t applied = faas_feed_applied(feed), fresh = atomic_load(&feed->fresh_ns);
    size_t kept = 0;

    for (size_t i = 0; i < feed->waiting_count; i++) {
        struct faas_feed_question question = feed->waiting[i];

        if (question.seq > applied)
            feed->waiting[kept++] = question;
        else if (question.sent_ns > fresh)
            fresh = question.sent_ns;
    }
    feed->waiting_count = kept;
    if (atomic_load(&feed->begun_ns) == 0)
        atomic_store(&feed->begun_ns, fresh);
    atomic_store(&feed->fresh_ns, fresh);
    if (applied >= feed->wanted)
        feed->behind_ns = 0;
}

void faas_feed_say_applied(faas_feed *feed)
{
    feed->unsaid = 0;
    settle_questions(feed);
    if (feed->conf.on_applied != NULL)
        feed->conf.on_applied(feed->conf.arg);
}

void faas_feed_take(faas_feed *feed, const struct faas_feed_event *event)
{
    feed->conf.apply(feed->conf.arg, event);
    atomic_store(&feed->applied, event->seq);
}

void faas_feed_take_msg(faas_feed *feed, const faas_msg *msg, const char *key, uint64_t seq)
{
    const struct faas_feed_event event = {
        .key = key,
        .is_delete = faas_kv_is_delete(faas_msg_header(msg, "KV-Operation")),
        .value = faas_msg_data(msg),
        .len = faas_msg_len(msg),
        .seq = seq,
    };

    faas_feed_take(feed, &event);
}

bool faas_feed_is_full(const faas_feed *feed)
{
    return feed->conf.is_full != NULL && feed->conf.is_full(feed->conf.arg);
}

void faas_feed_want(faas_feed *feed, uint64_t seq)
{
    if (seq > feed->wanted)
        feed->wanted = seq;
    if (feed->is_placed && feed->wanted > faas_feed_applied(feed) && feed->behind_ns == 0)
        feed->behind_ns = faas_now_ns();
}

static void on_say_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    faas_feed *feed = timer->data;

    (void)events;
    feed->said_at = ev_now(ev);
    if (feed->unsaid > 0)
        faas_feed_say_applied(feed);
}

static bool is_awaited(const faas_feed *feed, const char *key)
{
    const char *awaited = feed->conf.awaited;

    return awaited == NULL || strncmp(key, awaited, strlen(awaited)) == 0;
}

/* The first change is told of in the loop's next turn, with those that have arrived by then; the
 * following ones of a burst share a batch. */
static ev_tstamp say_wait(const faas_feed *feed, const char *key)
{
    ev_tstamp wait = feed->said_at + SAY_S - ev_now(faas_feed_ev(feed));

    if (!is_awaited(feed, key))
        return QUIET_S;
    return wait > 0 && wait <= SAY_S ? wait : 0.0;
}

static void say_soon(faas_feed *feed, const char *key)
{
    struct ev_loop *ev = faas_feed_ev(feed);
    ev_tstamp wait = say_wait(feed, key);

    if (++feed->unsaid >= BATCH_MAX) {
        faas_feed_say_applied(feed);
    } else if (!ev_is_active(&feed->say_timer) || wait < ev_timer_remaining(ev, &feed->say_timer)) {
        ev_timer_stop(ev, &feed->say_timer);
        ev_timer_set(&feed->say_timer, wait, 0.0);
        ev_timer_start(ev, &feed->say_timer);
    }
}

static void on_live(void *arg, faas_msg *take_msg)
{
    faas_feed *feed = arg;
    FAAS_AUTO(faas_msg) *msg = take_msg;
    const char *subject = faas_msg_subject(msg);
    int64_t seq = faas_msg_header_int(msg, "Nats-Sequence", 0);
    size_t prefix = strlen(feed->live);

    if (seq <= 0 || strncmp(subject, feed->live, prefix) != 0)
        return;
    faas_feed_want(feed, (uint64_t)seq);
    if (!feed->is_placed || (uint64_t)seq <= faas_feed_applied(feed) || faas_feed_is_full(feed))
        return;
    if ((uint64_t)seq == faas_feed_applied(feed) + 1) {
        faas_feed_take_msg(feed, msg, subject + prefix, (uint64_t)seq);
        say_soon(feed, subject + prefix);
    } else {
        faas_feed_fetch(feed);
    }
}

/* ---- asking the leader ---- */

struct asked {
    faas_feed *feed;
    uint64_t sent_ns;
};

/* The first answer tells where a cache begins, and whether the reader's state is of this bucket. */
static void take_first_answer(faas_feed *feed, uint64_t seq)
{
    feed->is_answered = true;
    if (!feed->is_placed) {
        atomic_store(&feed->applied, seq);
        feed->is_placed = true;
    } else if (seq < feed->conf.applied) { /* what came live since may well be newer than this */
        FAAS_LOG(ERROR, "the bucket is older than what was read from it: reading it anew",
                 FAAS_LSTR("bucket", faas_kv_bucket(feed->conf.kv)),
                 FAAS_LINT("applied", (int64_t)feed->conf.applied),
                 FAAS_LINT("newest", (int64_t)seq));
        atomic_store(&feed->applied, 0);
    }
    faas_feed_want(feed, seq);
    if (feed->wanted > faas_feed_applied(feed))
        faas_feed_fetch(feed);
}

static void take_answer(faas_feed *feed, uint64_t seq, uint64_t sent_ns)
{
    bool is_first = !feed->is_answered;

    if (is_first)
        take_first_answer(feed, seq);
    else if (seq < faas_feed_applied(feed))
        return; /* a leader that knows less than we do proves nothing */
    faas_feed_want(feed, seq);
    /* When all places are taken the oldest ones stay: they are settled first. */
    if (feed->waiting_count < FAAS_FEED_QUESTIONS)
        feed->waiting[feed->waiting_count++] = (struct faas_feed_question){sent_ns, seq};
    if (is_first)
        faas_feed_say_applied(feed);
    else if (feed->unsaid == 0)
        settle_questions(feed);
    if (feed->behind_ns != 0 &&
        faas_now_ns() > feed->behind_ns + (uint64_t)IN_FLIGHT_MS * FAAS_MS_NS)
        faas_feed_fetch(feed);
}

static void on_last(void *arg, faas_code code, const struct faas_kv_entry *entry,
                    const faas_err *err)
{
    FAAS_AUTO(void) *owned = arg;
    const struct asked *asked = arg;
    faas_feed *feed = asked->feed;

    (void)err;
    if (!feed->is_stopped && code == FAAS_OK) {
        feed->unanswered_ns = 0;
        take_answer(feed, entry->revision, asked->sent_ns);
    }
    faas_feed_unref(feed);
}

static void ask(faas_feed *feed)
{
    struct asked *asked = malloc(sizeof *asked);

    if (asked == NULL)
        return; /* the next tick asks */
    *asked = (struct asked){feed, faas_now_ns()};
    if (feed->unanswered_ns == 0)
        feed->unanswered_ns = asked->sent_ns;
    faas_feed_ref(feed);
    faas_kv_last_async(feed->conf.kv, faas_deadline_in_ms(ASK_MS), on_last, asked);
}

static void on_ask_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    ask(timer->data);
}

static void on_reconnect(void *arg)
{
    faas_feed *feed = arg;

    feed->unanswered_ns = 0;
    ask(feed);
}

/* ---- starting and stopping ---- */

static void begin(void *arg)
{
    faas_feed *feed = arg;

    if (!feed->is_stopped) {
        feed->watch = (struct faas_bus_watch){.lane = FAAS_DATA, .task = on_reconnect, .arg = feed};
        faas_bus_watch_add(feed->bus, &feed->watch);
        ev_timer_start(faas_feed_ev(feed), &feed->ask_timer);
    }
    faas_feed_unref(feed);
}

static faas_feed *feed_new(const struct faas_feed_conf *conf)
{
    const char *bucket = faas_kv_bucket(conf->kv);
    faas_feed *feed = calloc(1, sizeof *feed);
    char token[33];

    if (feed == NULL)
        return NULL;
    feed->conf = *conf;
    feed->rpc = faas_kv_rpc(conf->kv);
    feed->bus = faas_rpc_bus(feed->rpc);
    feed->loop = faas_bus_loop(feed->bus);
    (void)snprintf(feed->stream, sizeof feed->stream, "KV_%s", bucket);
    (void)snprintf(feed->live, sizeof feed->live, "rp.%s.", bucket);
    (void)snprintf(feed->stored, sizeof feed->stored, "$KV.%s.", bucket);
    faas_random_token(token);
    /* Beside the process's wildcard inbox, which would otherwise get everything a second time. */
    (void)snprintf(feed->inbox, sizeof feed->inbox, "%sf.%s.", faas_bus_inbox(feed->bus), token);
    atomic_init(&feed->refs, 1);
    feed->is_placed = conf->applied != UINT64_MAX;
    atomic_init(&feed->applied, feed->is_placed ? conf->applied : 0);
    ev_timer_init(&feed->ask_timer, on_ask_timer, 0.0, ASK_S);
    feed->ask_timer.data = feed;
    ev_init(&feed->say_timer, on_say_timer);
    feed->say_timer.data = feed;
    ev_init(&feed->fetch.timer, faas_feed_on_fetch_timer);
    feed->fetch.timer.data = feed;
    return feed;
}

static faas_code subscribe(faas_feed *feed, faas_err *err)
{
    char subject[FAAS_SUBJECT_MAX];

    (void)snprintf(subject, sizeof subject, "%s>", feed->live);
    FAAS_TRY(faas_bus_subscribe(feed->bus, FAAS_DATA, subject, NULL, on_live, feed, &feed->live_sub,
                                err));
    (void)snprintf(subject, sizeof subject, "%s*", feed->inbox);
    return faas_bus_subscribe(feed->bus, FAAS_DATA, subject, NULL, faas_feed_on_stored, feed,
                              &feed->inbox_sub, err);
}

faas_code faas_feed_start(const struct faas_feed_conf *conf, faas_feed **out_feed, faas_err *err)
{
    faas_feed *feed = feed_new(conf);
    faas_code rc;

    if (feed == NULL)
        return faas_fail_sys(err, ENOMEM, "follow a bucket");
    rc = subscribe(feed, err);
    if (rc != FAAS_OK) {
        faas_sub_free(feed->live_sub);
        faas_feed_unref(feed);
        return rc;
    }
    *out_feed = feed;
    faas_feed_ref(feed);
    faas_loop_post(feed->loop, begin, feed);
    return FAAS_OK;
}

void faas_feed_stop(faas_feed *feed)
{
    if (feed == NULL)
        return;
    feed->is_stopped = true;
    faas_sub_free(feed->live_sub);
    faas_sub_free(feed->inbox_sub);
    ev_timer_stop(faas_feed_ev(feed), &feed->ask_timer);
    ev_timer_stop(faas_feed_ev(feed), &feed->say_timer);
    faas_bus_watch_remove(&feed->watch);
    faas_feed_fetch_stop(feed);
    faas_feed_unref(feed);
}

uint64_t faas_feed_applied(const faas_feed *feed)
{
    return atomic_load(&feed->applied);
}

int64_t faas_feed_age_ms(const faas_feed *feed)
{
    uint64_t fresh = atomic_load(&feed->fresh_ns), now = faas_now_ns();

    if (fresh == 0)
        return INT64_MAX;
    return now > fresh ? (int64_t)((now - fresh) / FAAS_MS_NS) : 0;
}

bool faas_feed_may_serve(const faas_feed *feed)
{
    int64_t age_ms = faas_feed_age_ms(feed);

    if (age_ms <= FAAS_FEED_STALE_MS)
        return true;
    return age_ms <= FAAS_FEED_LEADLESS_MS && feed->conf.members != NULL &&
           faas_members_all_heard(feed->conf.members, atomic_load(&feed->fresh_ns));
}

uint64_t faas_feed_begun_ns(const faas_feed *feed)
{
    uint64_t begun = atomic_load(&feed->begun_ns);

    return begun != 0 ? begun : UINT64_MAX;
}

bool faas_feed_is_unanswered(const faas_feed *feed)
{
    return feed->unanswered_ns != 0 && faas_now_ns() > feed->unanswered_ns + SILENT_MS * FAAS_MS_NS;
}
