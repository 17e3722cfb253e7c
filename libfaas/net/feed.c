/* A bucket followed from its RePublish subject.
 *
 * Live messages are applied as long as each is the successor of the one before.  When one is
 * missing (a server died, we were away, this is the start), the stream itself is read from the
 * first missing sequence on by a short-lived pull consumer; whatever goes wrong there is answered
 * by a new consumer at applied + 1. Live messages that follow directly are applied meanwhile. */
#include "net/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/kv_internal.h"
#include "net/rpc_internal.h"

#define ASK_S          0.25
#define ASK_MS         2000 /* longest wait for one answer */
#define QUESTIONS      16   /* answered ones whose sequence is not applied yet */
#define IN_FLIGHT_MS   200  /* a live message may be this late before the stream is read */
#define STALL_S        1.0  /* silence of a consumer before another one is made */
#define PAUSE_S        0.05 /* before a read that brought nothing is repeated */
#define CREATE_MS      5000
#define BATCH          256
#define EXPIRES_NS     (INT64_C(5) * 1000000000)
#define INACTIVE_NS    (INT64_C(10) * 1000000000)
#define STREAM_TEXT    48
#define ACK_TOKENS_MAX 12
#define REFUSALS_MAX   10

struct question {
    uint64_t sent_ns;
    uint64_t seq;
};

/* Reading the stream: making a consumer, then pulling from it until it has nothing left. */
struct fetch {
    enum { FETCH_IDLE, FETCH_CREATING, FETCH_PULLING, FETCH_PAUSED } state;
    char consumer[40];
    uint64_t number;    /* of this consumer: last token of its inbox */
    uint64_t delivered; /* consumer sequence of the newest message */
    int batch_left;
    int refusals;   /* pulls that met nobody: the consumer's interest is not known here yet */
    ev_timer timer; /* stall while pulling, pause between two consumers or two pulls */
};

struct faas_feed {
    struct faas_feed_conf conf;
    faas_rpc *rpc;
    faas_bus *bus;
    faas_loop *loop;
    char stream[STREAM_TEXT]; /* "KV_users" */
    char live[STREAM_TEXT];   /* "rp.users." */
    char stored[STREAM_TEXT]; /* "$KV.users." */
    char inbox[160];          /* where consumers deliver, with trailing dot */
    _Atomic int refs;         /* the owner's and one per answer awaited */
    bool is_stopped;
    bool is_placed;   /* applied means something */
    bool is_answered; /* the leader has answered once */
    _Atomic uint64_t applied;
    _Atomic uint64_t fresh_ns; /* sending of the last question whose answer is applied; 0: none */
    uint64_t wanted;           /* the newest sequence known to exist */
    uint64_t behind_ns;        /* since when wanted is not applied; 0: it is */
    struct question waiting[QUESTIONS];
    size_t waiting_count;
    faas_sub *live_sub, *inbox_sub;
    ev_timer ask_timer;
    struct faas_bus_watch watch;
    struct fetch fetch;
};

static void fetch_start(faas_feed *feed);

static void feed_ref(faas_feed *feed)
{
    atomic_fetch_add(&feed->refs, 1);
}

static void feed_unref(faas_feed *feed)
{
    if (atomic_fetch_sub(&feed->refs, 1) == 1)
        free(feed);
}

static struct ev_loop *ev_of(const faas_feed *feed)
{
    return faas_loop_ev(feed->loop);
}

static uint64_t applied_of(const faas_feed *feed)
{
    return atomic_load(&feed->applied);
}

/* ---- applying ---- */

/* Answers whose sequence has been applied make the feed fresh. */
static void settle_questions(faas_feed *feed)
{
    uint64_t applied = applied_of(feed), fresh = atomic_load(&feed->fresh_ns);
    size_t kept = 0;

    for (size_t i = 0; i < feed->waiting_count; i++) {
        struct question question = feed->waiting[i];

        if (question.seq > applied)
            feed->waiting[kept++] = question;
        else if (question.sent_ns > fresh)
            fresh = question.sent_ns;
    }
    feed->waiting_count = kept;
    atomic_store(&feed->fresh_ns, fresh);
    if (applied >= feed->wanted)
        feed->behind_ns = 0;
}

static void say_applied(faas_feed *feed)
{
    settle_questions(feed);
    if (feed->conf.on_applied != NULL)
        feed->conf.on_applied(feed->conf.arg);
}

static void apply(faas_feed *feed, const faas_msg *msg, const char *key, uint64_t seq)
{
    const struct faas_feed_event event = {
        .key = key,
        .is_delete = faas_kv_is_delete(faas_msg_header(msg, "KV-Operation")),
        .value = faas_msg_data(msg),
        .len = faas_msg_len(msg),
        .seq = seq,
    };

    feed->conf.apply(feed->conf.arg, &event);
    atomic_store(&feed->applied, seq);
}

static void want(faas_feed *feed, uint64_t seq)
{
    if (seq > feed->wanted)
        feed->wanted = seq;
    if (feed->is_placed && feed->wanted > applied_of(feed) && feed->behind_ns == 0)
        feed->behind_ns = faas_now_ns();
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
    want(feed, (uint64_t)seq);
    if (!feed->is_placed || (uint64_t)seq <= applied_of(feed))
        return;
    if ((uint64_t)seq == applied_of(feed) + 1) {
        apply(feed, msg, subject + prefix, (uint64_t)seq);
        say_applied(feed);
    } else {
        fetch_start(feed);
    }
}

/* ---- reading the stream ---- */

static void publish(const faas_feed *feed, const char *subject, const char *reply, const char *body)
{
    struct faas_out out = {.subject = subject, .reply = reply, .data = body, .len = strlen(body)};
    faas_err err = {0};

    /* Unanswered questions are repeated by the stall timer. */
    if (faas_bus_publish(feed->bus, FAAS_DATA, &out, &err) != FAAS_OK)
        FAAS_LOG(DEBUG, "feed request not sent", FAAS_LSTR("detail", err.detail));
}

static void fetch_set_timer(faas_feed *feed, double seconds)
{
    ev_timer_stop(ev_of(feed), &feed->fetch.timer);
    ev_timer_set(&feed->fetch.timer, seconds, 0.0);
    ev_timer_start(ev_of(feed), &feed->fetch.timer);
}

static void fetch_drop_consumer(faas_feed *feed)
{
    struct fetch *fetch = &feed->fetch;
    char subject[FAAS_SUBJECT_MAX];

    ev_timer_stop(ev_of(feed), &fetch->timer);
    if (fetch->state == FETCH_PULLING) {
        (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DELETE.%s.%s", feed->stream,
                       fetch->consumer);
        publish(feed, subject, NULL, "");
    }
    fetch->state = FETCH_IDLE;
}

/* The consumer brought what it had, or failed; is anything still missing? */
static void fetch_end(faas_feed *feed)
{
    struct fetch *fetch = &feed->fetch;

    fetch_drop_consumer(feed);
    if (applied_of(feed) >= feed->wanted)
        return;
    fetch->state = FETCH_PAUSED;
    fetch_set_timer(feed, PAUSE_S);
}

static void fetch_pull(faas_feed *feed)
{
    char subject[FAAS_SUBJECT_MAX], reply[FAAS_SUBJECT_MAX], body[96];

    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", feed->stream,
                   feed->fetch.consumer);
    (void)snprintf(reply, sizeof reply, "%s%" PRIu64, feed->inbox, feed->fetch.number);
    (void)snprintf(body, sizeof body, "{\"batch\":%d,\"expires\":%" PRId64 "}", BATCH, EXPIRES_NS);
    feed->fetch.batch_left = BATCH;
    publish(feed, subject, reply, body);
    fetch_set_timer(feed, STALL_S);
}

static void on_fetch_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    faas_feed *feed = timer->data;

    (void)ev;
    (void)events;
    if (feed->fetch.state == FETCH_PAUSED) {
        feed->fetch.state = FETCH_IDLE;
        fetch_start(feed);
    } else if (feed->fetch.refusals > 0 && feed->fetch.refusals < REFUSALS_MAX) {
        fetch_pull(feed);
    } else {
        fetch_end(feed); /* the consumer's server may be gone */
    }
}

/* What the reply subject of a consumer's message says. */
struct delivery {
    const char *consumer; /* borrowed, a '.' follows */
    uint64_t seq;         /* in the stream */
    uint64_t delivered;   /* in the consumer */
    uint64_t pending;
};

/* $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<tries>.<seq>.<delivered>.<time>.<pending>... */
static bool delivery_parse(const char *reply, struct delivery *out_delivery)
{
    const char *tokens[ACK_TOKENS_MAX];
    size_t count = 0, at;

    if (reply == NULL || strncmp(reply, "$JS.ACK.", 8) != 0)
        return false;
    for (const char *token = reply; token != NULL && count < ACK_TOKENS_MAX; count++) {
        tokens[count] = token;
        token = strchr(token, '.');
        if (token != NULL)
            token++;
    }
    if (count < 9)
        return false;
    at = count >= 11 ? 7 : 5;
    out_delivery->consumer = tokens[at - 2];
    out_delivery->seq = strtoull(tokens[at], NULL, 10);
    out_delivery->delivered = strtoull(tokens[at + 1], NULL, 10);
    out_delivery->pending = strtoull(tokens[at + 3], NULL, 10);
    return out_delivery->seq > 0 && out_delivery->delivered > 0;
}

static void take_stored(faas_feed *feed, const faas_msg *msg, const struct delivery *delivery)
{
    struct fetch *fetch = &feed->fetch;
    const char *subject = faas_msg_subject(msg);
    size_t prefix = strlen(feed->stored);
    bool is_end;

    if (delivery->delivered != fetch->delivered + 1) { /* one was lost on its way */
        say_applied(feed);
        fetch_end(feed);
        return;
    }
    fetch->delivered = delivery->delivered;
    want(feed, delivery->seq);
    if (delivery->seq > applied_of(feed) && strncmp(subject, feed->stored, prefix) == 0)
        apply(feed, msg, subject + prefix, delivery->seq);
    fetch->batch_left--;
    is_end = delivery->pending == 0;
    if (is_end || fetch->batch_left == 0)
        say_applied(feed);
    if (is_end)
        fetch_end(feed);
    else if (fetch->batch_left == 0)
        fetch_pull(feed);
    else
        fetch_set_timer(feed, STALL_S);
}

/* Messages keep the subject they were stored under, so their reply subject tells whose they are. */
static bool is_of_this(const struct fetch *fetch, const struct delivery *delivery)
{
    size_t len = strlen(fetch->consumer);

    return strncmp(delivery->consumer, fetch->consumer, len) == 0 && delivery->consumer[len] == '.';
}

/* A status comes on the inbox itself: no messages, consumer or leader gone, pull expired. */
static void take_status(faas_feed *feed, const faas_msg *msg)
{
    const char *number = strrchr(faas_msg_subject(msg), '.');
    struct fetch *fetch = &feed->fetch;

    if (number == NULL || strtoull(number + 1, NULL, 10) != fetch->number)
        return;
    if (faas_msg_is_no_responders(msg) && ++fetch->refusals < REFUSALS_MAX) {
        fetch_set_timer(feed, PAUSE_S);
        return;
    }
    say_applied(feed);
    fetch_end(feed);
}

static void on_stored(void *arg, faas_msg *take_msg)
{
    faas_feed *feed = arg;
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct delivery delivery;

    if (feed->fetch.state != FETCH_PULLING)
        return;
    if (!delivery_parse(faas_msg_reply(msg), &delivery)) {
        take_status(feed, msg);
    } else if (is_of_this(&feed->fetch, &delivery)) {
        feed->fetch.refusals = 0;
        take_stored(feed, msg, &delivery);
    }
}

/* JetStream's answer to the creation: the number of messages to come, negative on failure. */
static int64_t pending_of(const faas_feed *feed, const struct faas_rpc_reply *reply)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const json_t *error, *pending;
    const char *why;
    faas_err err = *reply->err;

    if (reply->code == FAAS_OK &&
        faas_json_parse(faas_msg_data(reply->msg), faas_msg_len(reply->msg), false, &doc, &err) ==
            FAAS_OK) {
        pending = json_object_get(doc, "num_pending");
        if (json_is_integer(pending))
            return (int64_t)json_integer_value(pending);
        error = json_object_get(doc, "error");
        why = json_string_value(json_object_get(error, "description"));
        faas_err_detail(&err, "%" JSON_INTEGER_FORMAT " %s",
                        json_integer_value(json_object_get(error, "err_code")),
                        why != NULL ? why : "");
    }
    FAAS_LOG(WARN, "feed cannot read its stream yet", FAAS_LSTR("stream", feed->stream),
             FAAS_LSTR("error", err.msg), FAAS_LSTR("detail", err.detail));
    return -1;
}

static void on_created(void *arg, const struct faas_rpc_reply *reply)
{
    faas_feed *feed = arg;
    struct fetch *fetch = &feed->fetch;
    int64_t pending = pending_of(feed, reply);

    if (!feed->is_stopped) {
        fetch->state = pending >= 0 ? FETCH_PULLING : FETCH_IDLE;
        if (pending > 0)
            fetch_pull(feed);
        else
            fetch_end(feed);
    }
    feed_unref(feed);
}

static json_t *consumer_request(const faas_feed *feed)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:I, s:s, s:s, s:I, s:i, s:b}}", "stream_name",
                     feed->stream, "action", "create", "config", "name", feed->fetch.consumer,
                     "deliver_policy", "by_start_sequence", "opt_start_seq",
                     (json_int_t)(applied_of(feed) + 1), "ack_policy", "none", "replay_policy",
                     "instant", "inactive_threshold", (json_int_t)INACTIVE_NS, "num_replicas", 1,
                     "mem_storage", 1);
}

static void fetch_start(faas_feed *feed)
{
    struct fetch *fetch = &feed->fetch;
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(CREATE_MS)};
    char subject[FAAS_SUBJECT_MAX], token[33];
    struct faas_rpc_request req = {
        .subject = subject, .ctx = &ctx, .retry = FAAS_RPC_SAFE, .attempt_ms = 1000};
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *text = NULL;

    if (fetch->state != FETCH_IDLE)
        return;
    faas_random_token(token);
    (void)snprintf(fetch->consumer, sizeof fetch->consumer, "feed_%s", token);
    doc = consumer_request(feed);
    text = doc != NULL ? faas_json_text(doc, &req.len) : NULL;
    if (text == NULL)
        return; /* the next question starts it again */
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE.%s.%s", feed->stream,
                   fetch->consumer);
    req.data = text;
    fetch->state = FETCH_CREATING;
    fetch->number++;
    fetch->delivered = 0;
    fetch->refusals = 0;
    feed_ref(feed);
    faas_rpc_call(feed->rpc, &req, on_created, feed);
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
    } else if (seq < applied_of(feed)) {
        FAAS_LOG(ERROR, "the bucket is older than what was read from it: reading it anew",
                 FAAS_LSTR("bucket", faas_kv_bucket(feed->conf.kv)),
                 FAAS_LINT("applied", (int64_t)applied_of(feed)),
                 FAAS_LINT("newest", (int64_t)seq));
        atomic_store(&feed->applied, 0);
    }
    want(feed, seq);
    if (feed->wanted > applied_of(feed))
        fetch_start(feed);
}

static void take_answer(faas_feed *feed, uint64_t seq, uint64_t sent_ns)
{
    bool is_first = !feed->is_answered;

    if (is_first)
        take_first_answer(feed, seq);
    else if (seq < applied_of(feed))
        return; /* a leader that knows less than we do proves nothing */
    want(feed, seq);
    /* When all places are taken the oldest ones stay: they are settled first. */
    if (feed->waiting_count < QUESTIONS)
        feed->waiting[feed->waiting_count++] = (struct question){sent_ns, seq};
    if (is_first)
        say_applied(feed);
    else
        settle_questions(feed);
    if (feed->behind_ns != 0 &&
        faas_now_ns() > feed->behind_ns + (uint64_t)IN_FLIGHT_MS * FAAS_MS_NS)
        fetch_start(feed);
}

static void on_last(void *arg, faas_code code, const struct faas_kv_entry *entry,
                    const faas_err *err)
{
    FAAS_AUTO(void) *owned = arg;
    const struct asked *asked = arg;
    faas_feed *feed = asked->feed;

    (void)err;
    if (!feed->is_stopped && code == FAAS_OK)
        take_answer(feed, entry->revision, asked->sent_ns);
    feed_unref(feed);
}

static void ask(faas_feed *feed)
{
    struct asked *asked = malloc(sizeof *asked);

    if (asked == NULL)
        return; /* the next tick asks */
    *asked = (struct asked){feed, faas_now_ns()};
    feed_ref(feed);
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
    ask(arg);
}

/* ---- starting and stopping ---- */

static void begin(void *arg)
{
    faas_feed *feed = arg;

    if (!feed->is_stopped) {
        feed->watch = (struct faas_bus_watch){.lane = FAAS_DATA, .task = on_reconnect, .arg = feed};
        faas_bus_watch_add(feed->bus, &feed->watch);
        ev_timer_start(ev_of(feed), &feed->ask_timer);
    }
    feed_unref(feed);
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
    ev_init(&feed->fetch.timer, on_fetch_timer);
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
    return faas_bus_subscribe(feed->bus, FAAS_DATA, subject, NULL, on_stored, feed,
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
        feed_unref(feed);
        return rc;
    }
    *out_feed = feed;
    feed_ref(feed);
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
    ev_timer_stop(ev_of(feed), &feed->ask_timer);
    faas_bus_watch_remove(&feed->watch);
    fetch_drop_consumer(feed);
    feed_unref(feed);
}

uint64_t faas_feed_applied(const faas_feed *feed)
{
    return applied_of(feed);
}

int64_t faas_feed_age_ms(const faas_feed *feed)
{
    uint64_t fresh = atomic_load(&feed->fresh_ns), now = faas_now_ns();

    if (fresh == 0)
        return INT64_MAX;
    return now > fresh ? (int64_t)((now - fresh) / FAAS_MS_NS) : 0;
}
