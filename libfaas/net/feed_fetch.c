/* The missing part of a feed, read from the stream.
 *
 * A short gap is asked from the stream's leader message by message: that works while JetStream as a
 * whole elects its leader and makes no consumers.  A long one is read by a short-lived pull
 * consumer. Whatever goes wrong is answered by starting over at applied + 1. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/feed_internal.h"

#define STALL_S        1.0  /* silence of a consumer before another one is made */
#define PAUSE_S        0.05 /* before a read that brought nothing is repeated */
#define CREATE_MS      5000
#define BATCH          256
#define EXPIRES_NS     (INT64_C(5) * 1000000000)
#define INACTIVE_NS    (INT64_C(10) * 1000000000)
#define ACK_TOKENS_MAX 12
#define REFUSALS_MAX   10
#define SHORT_GAP      32
#define STEP_MS        2000

/* ---- both ways ---- */

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
    ev_timer_stop(faas_feed_ev(feed), &feed->fetch.timer);
    ev_timer_set(&feed->fetch.timer, seconds, 0.0);
    ev_timer_start(faas_feed_ev(feed), &feed->fetch.timer);
}

void faas_feed_fetch_stop(faas_feed *feed)
{
    struct faas_feed_fetch *fetch = &feed->fetch;
    char subject[FAAS_SUBJECT_MAX];

    ev_timer_stop(faas_feed_ev(feed), &fetch->timer);
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
    struct faas_feed_fetch *fetch = &feed->fetch;

    faas_feed_fetch_stop(feed);
    if (faas_feed_applied(feed) >= feed->wanted)
        return;
    fetch->state = FETCH_PAUSED;
    fetch_set_timer(feed, PAUSE_S);
}

static void fetch_pull(faas_feed *feed)
{
    char subject[FAAS_SUBJECT_MAX], reply[FAAS_SUBJECT_MAX], body[96];

    feed->fetch.is_held = faas_feed_is_full(feed);
    if (feed->fetch.is_held) {
        fetch_set_timer(feed, PAUSE_S);
        return;
    }
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", feed->stream,
                   feed->fetch.consumer);
    (void)snprintf(reply, sizeof reply, "%s%" PRIu64, feed->inbox, feed->fetch.number);
    (void)snprintf(body, sizeof body, "{\"batch\":%d,\"expires\":%" PRId64 "}", BATCH, EXPIRES_NS);
    feed->fetch.batch_left = BATCH;
    publish(feed, subject, reply, body);
    fetch_set_timer(feed, STALL_S);
}

void faas_feed_on_fetch_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    faas_feed *feed = timer->data;

    (void)ev;
    (void)events;
    if (feed->fetch.state == FETCH_PAUSED) {
        feed->fetch.state = FETCH_IDLE;
        faas_feed_fetch(feed);
    } else if (feed->fetch.is_held) {
        fetch_pull(feed);
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
    struct faas_feed_fetch *fetch = &feed->fetch;
    const char *subject = faas_msg_subject(msg);
    size_t prefix = strlen(feed->stored);
    bool is_end;

    if (delivery->delivered != fetch->delivered + 1) { /* one was lost on its way */
        faas_feed_say_applied(feed);
        fetch_end(feed);
        return;
    }
    fetch->delivered = delivery->delivered;
    faas_feed_want(feed, delivery->seq);
    if (delivery->seq > faas_feed_applied(feed) && strncmp(subject, feed->stored, prefix) == 0)
        faas_feed_take_msg(feed, msg, subject + prefix, delivery->seq);
    fetch->batch_left--;
    is_end = delivery->pending == 0;
    if (is_end || fetch->batch_left == 0)
        faas_feed_say_applied(feed);
    if (is_end)
        fetch_end(feed);
    else if (fetch->batch_left == 0)
        fetch_pull(feed);
    else
        fetch_set_timer(feed, STALL_S);
}

/* Messages keep the subject they were stored under, so their reply subject tells whose they are. */
static bool is_of_this(const struct faas_feed_fetch *fetch, const struct delivery *delivery)
{
    size_t len = strlen(fetch->consumer);

    return strncmp(delivery->consumer, fetch->consumer, len) == 0 && delivery->consumer[len] == '.';
}

/* A status comes on the inbox itself: no messages, consumer or leader gone, pull expired. */
static void take_status(faas_feed *feed, const faas_msg *msg)
{
    const char *number = strrchr(faas_msg_subject(msg), '.');
    struct faas_feed_fetch *fetch = &feed->fetch;

    if (number == NULL || strtoull(number + 1, NULL, 10) != fetch->number)
        return;
    if (faas_msg_is_no_responders(msg) && ++fetch->refusals < REFUSALS_MAX) {
        fetch_set_timer(feed, PAUSE_S);
        return;
    }
    faas_feed_say_applied(feed);
    fetch_end(feed);
}

void faas_feed_on_stored(void *arg, faas_msg *take_msg)
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
    struct faas_feed_fetch *fetch = &feed->fetch;
    int64_t pending = pending_of(feed, reply);

    if (!feed->is_stopped) {
        fetch->state = pending >= 0 ? FETCH_PULLING : FETCH_IDLE;
        if (pending > 0)
            fetch_pull(feed);
        else
            fetch_end(feed);
    }
    faas_feed_unref(feed);
}

static json_t *consumer_request(const faas_feed *feed)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:I, s:s, s:s, s:I, s:i, s:b}}", "stream_name",
                     feed->stream, "action", "create", "config", "name", feed->fetch.consumer,
                     "deliver_policy", "by_start_sequence", "opt_start_seq",
                     (json_int_t)(faas_feed_applied(feed) + 1), "ack_policy", "none",
                     "replay_policy", "instant", "inactive_threshold", (json_int_t)INACTIVE_NS,
                     "num_replicas", 1, "mem_storage", 1);
}

static void fetch_by_consumer(faas_feed *feed)
{
    struct faas_feed_fetch *fetch = &feed->fetch;
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(CREATE_MS)};
    char subject[FAAS_SUBJECT_MAX], token[33];
    struct faas_rpc_request req = {
        .subject = subject, .ctx = &ctx, .retry = FAAS_RPC_SAFE, .attempt_ms = 1000};
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *text = NULL;

    faas_random_token(token);
    (void)snprintf(fetch->consumer, sizeof fetch->consumer, "feed_%s", token);
    doc = consumer_request(feed);
    text = doc != NULL ? faas_json_text(doc, &req.len) : NULL;
    if (text == NULL) {
        fetch_end(feed);
        return;
    }
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE.%s.%s", feed->stream,
                   fetch->consumer);
    req.data = text;
    fetch->state = FETCH_CREATING;
    fetch->number++;
    fetch->delivered = 0;
    fetch->refusals = 0;
    faas_feed_ref(feed);
    faas_rpc_call(feed->rpc, &req, on_created, feed);
}

/* ---- message by message ---- */

static void step(faas_feed *feed);

static void on_step(void *arg, faas_code code, const struct faas_kv_entry *entry,
                    const faas_err *err)
{
    faas_feed *feed = arg;
    const struct faas_kv_message *message = (const struct faas_kv_message *)entry;
    size_t prefix = strlen(feed->stored);

    (void)err;
    if (feed->is_stopped) {
        faas_feed_unref(feed);
        return;
    }
    feed->fetch.state = FETCH_IDLE;
    if (code == FAAS_OK && entry->revision > faas_feed_applied(feed) &&
        strncmp(message->subject, feed->stored, prefix) == 0) {
        const struct faas_feed_event event = {.key = message->subject + prefix,
                                              .is_delete = message->entry.is_delete,
                                              .value = entry->value,
                                              .len = entry->len,
                                              .seq = entry->revision};

        faas_feed_want(feed, event.seq);
        faas_feed_take(feed, &event);
        faas_feed_say_applied(feed);
    }
    if (code == FAAS_OK && faas_feed_applied(feed) < feed->wanted && !faas_feed_is_full(feed))
        step(feed);
    else
        fetch_end(feed);
    faas_feed_unref(feed);
}

static void step(faas_feed *feed)
{
    feed->fetch.state = FETCH_STEPPING;
    faas_feed_ref(feed);
    faas_kv_next_async(feed->conf.kv, faas_feed_applied(feed) + 1, faas_deadline_in_ms(STEP_MS),
                       on_step, feed);
}

void faas_feed_fetch(faas_feed *feed)
{
    if (feed->fetch.state != FETCH_IDLE || feed->wanted <= faas_feed_applied(feed) ||
        faas_feed_is_full(feed))
        return; /* a full reader: the next answer to a question comes back to it */
    if (feed->wanted - faas_feed_applied(feed) <= SHORT_GAP)
        step(feed);
    else
        fetch_by_consumer(feed);
}
