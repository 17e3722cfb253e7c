/* Subscriptions and the messages they bring: the other half of bus.h.
 *
 * A subscription outlives connections: each new one of its lane subscribes it again.  libnats's own
 * are synchronous; the loop takes from them what it has just read. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"
#include "net/bus_internal.h"

#define DRAIN_LOOK_S 0.005

static void sub_unref(faas_sub *sub)
{
    if (atomic_fetch_sub(&sub->refs, 1) == 1)
        free(sub);
}

/* ---- beginning and ending with a connection; bus->mu is held ---- */

static bool is_on(const faas_sub *sub, const struct faas_bus_lane *lane)
{
    return &sub->bus->lanes[sub->lane] == lane;
}

static natsStatus begin(faas_sub *sub, natsConnection *nc)
{
    natsStatus status;

    if (sub->queue != NULL)
        status = natsConnection_QueueSubscribeSync(&sub->ns, nc, sub->text, sub->queue);
    else
        status = natsConnection_SubscribeSync(&sub->ns, nc, sub->text);
    if (status == NATS_OK)
        (void)natsSubscription_SetPendingLimits(sub->ns, -1, -1);
    return status;
}

static void end(faas_sub *sub)
{
    natsSubscription_Destroy(FAAS_STEAL(sub->ns));
}

natsStatus faas_subs_begin(struct faas_bus_lane *lane, natsConnection *nc)
{
    natsStatus status = NATS_OK;
    faas_sub *sub;

    LIST_FOREACH (sub, &lane->bus->subs, link)
        if (status == NATS_OK && is_on(sub, lane) && sub->drained == NULL)
            status = begin(sub, nc);
    return status;
}

void faas_subs_end(struct faas_bus_lane *lane)
{
    faas_sub *sub;

    LIST_FOREACH (sub, &lane->bus->subs, link)
        if (is_on(sub, lane))
            end(sub);
}

void faas_subs_close(faas_bus *bus)
{
    faas_sub *sub;

    pthread_mutex_lock(&bus->mu);
    while ((sub = LIST_FIRST(&bus->subs)) != NULL) {
        LIST_REMOVE(sub, link);
        end(sub);
        sub->bus = NULL;
    }
    pthread_mutex_unlock(&bus->mu);
}

/* ---- from libnats to the handlers ---- */

STAILQ_HEAD(messages, faas_msg);

/* libnats parses a message's headers at the first look at one.  Without memory for that they would
 * read as absent later: a refusal as an answer, a caller as nobody, a delete as a value. */
static bool has_headers_parsed(natsMsg *nm)
{
    const char *value;

    return natsMsgHeader_Get(nm, FAAS_H_PROTO, &value) != NATS_NO_MEMORY;
}

static void take(faas_sub *sub, natsMsg *take_nm, struct messages *messages)
{
    faas_msg *msg = has_headers_parsed(take_nm) ? calloc(1, sizeof *msg) : NULL;

    if (msg == NULL) {
        FAAS_LOG(ERROR, "no memory for a message: dropped");
        faas_bus_msg_done(take_nm);
        return;
    }
    msg->nm = take_nm;
    msg->sub = sub;
    msg->arrived_ns = sub->bus->arrived_ns;
    atomic_fetch_add(&sub->refs, 1);
    STAILQ_INSERT_TAIL(messages, msg, next);
}

static void take_all(faas_sub *sub, struct messages *messages)
{
    natsMsg *nm;
    int count = 0;

    (void)natsSubscription_GetPending(sub->ns, &count, NULL);
    for (; count > 0 && natsSubscription_NextMsg(&nm, sub->ns, 0) == NATS_OK; count--)
        take(sub, nm, messages);
}

/* "a.b" is itself, "a.>" all below it; inboxes need no more. */
static bool is_for(const faas_sub *sub, const char *subject)
{
    size_t len = strlen(sub->text);

    if (len > 0 && sub->text[len - 1] == '>')
        return strncmp(sub->text, subject, len - 1) == 0;
    return strcmp(sub->text, subject) == 0;
}

/* Those which say that nobody listens: each to whoever waits for the answer. */
static void take_unanswered(struct faas_link *link, struct messages *messages)
{
    struct faas_kept *kept;
    faas_sub *sub;

    while ((kept = STAILQ_FIRST(&link->unanswered)) != NULL) {
        STAILQ_REMOVE_HEAD(&link->unanswered, next);
        LIST_FOREACH (sub, &link->lane->bus->subs, link)
            if (sub->ns != NULL && is_on(sub, link->lane) &&
                is_for(sub, natsMsg_GetSubject(kept->nm)))
                break;
        if (sub != NULL)
            take(sub, kept->nm, messages);
        else
            faas_bus_msg_done(kept->nm);
        free(kept);
    }
}

static void deliver(faas_msg *msg)
{
    faas_sub *sub = FAAS_STEAL(msg->sub);

    if (sub->is_dead)
        faas_msg_free(msg);
    else
        sub->handler(sub->arg, msg);
    sub_unref(sub);
}

/* Handlers may subscribe, and free subscriptions: they run without the lock. */
void faas_subs_deliver(struct faas_link *link)
{
    faas_bus *bus = link->lane->bus;
    struct messages messages = STAILQ_HEAD_INITIALIZER(messages);
    faas_msg *msg;
    faas_sub *sub;

    pthread_mutex_lock(&bus->mu);
    take_unanswered(link, &messages);
    LIST_FOREACH (sub, &bus->subs, link)
        if (sub->ns != NULL && is_on(sub, link->lane))
            take_all(sub, &messages);
    pthread_mutex_unlock(&bus->mu);
    while ((msg = STAILQ_FIRST(&messages)) != NULL) {
        STAILQ_REMOVE_HEAD(&messages, next);
        deliver(msg);
    }
}

/* ---- subscribing ---- */

static void on_drain_timer(struct ev_loop *ev, ev_timer *timer, int events);

static faas_sub *sub_new(const char *subject, const char *queue)
{
    size_t subject_size = strlen(subject) + 1, queue_size = queue != NULL ? strlen(queue) + 1 : 0;
    faas_sub *sub = calloc(1, sizeof *sub + subject_size + queue_size);

    if (sub == NULL)
        return NULL;
    memcpy(sub->text, subject, subject_size);
    if (queue != NULL)
        sub->queue = memcpy(sub->text + subject_size, queue, queue_size);
    ev_timer_init(&sub->drain_timer, on_drain_timer, DRAIN_LOOK_S, DRAIN_LOOK_S);
    sub->drain_timer.data = sub;
    atomic_init(&sub->refs, 1);
    return sub;
}

faas_code faas_bus_subscribe(faas_bus *bus, enum faas_lane lane, const char *subject,
                             const char *queue, faas_msg_handler *handler, void *arg,
                             faas_sub **out_sub, faas_err *err)
{
    faas_sub *sub = sub_new(subject, queue);
    const struct faas_link *link;
    natsStatus status = NATS_OK;

    if (sub == NULL)
        return faas_fail_sys(err, ENOMEM, "subscribe");
    sub->bus = bus;
    sub->lane = lane;
    sub->handler = handler;
    sub->arg = arg;
    pthread_mutex_lock(&bus->mu);
    link = bus->lanes[lane].link;
    if (link != NULL && !link->is_broken)
        status = begin(sub, link->nc);
    if (status == NATS_CONNECTION_CLOSED)
        status = NATS_OK; /* the next connection has it */
    if (status == NATS_OK)
        LIST_INSERT_HEAD(&bus->subs, sub, link);
    pthread_mutex_unlock(&bus->mu);
    if (status != NATS_OK) {
        free(sub);
        return faas_bus_status(status, subject, err);
    }
    *out_sub = sub;
    return FAAS_OK;
}

void faas_sub_free(faas_sub *sub)
{
    if (sub == NULL)
        return;
    sub->is_dead = true;
    if (sub->bus != NULL) {
        ev_timer_stop(faas_loop_ev(sub->bus->loop), &sub->drain_timer);
        pthread_mutex_lock(&sub->bus->mu);
        LIST_REMOVE(sub, link);
        if (sub->ns != NULL)
            (void)natsSubscription_Unsubscribe(sub->ns);
        end(sub);
        pthread_mutex_unlock(&sub->bus->mu);
    }
    sub_unref(sub);
}

/* ---- draining ---- */

static void say_drained(void *arg)
{
    faas_sub *sub = arg;

    if (!sub->is_dead)
        sub->drained(sub->drained_arg);
    sub_unref(sub);
}

/* libnats has no callback for the end of a synchronous subscription's draining. */
static void on_drain_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    faas_sub *sub = timer->data;
    bool is_over;

    (void)events;
    pthread_mutex_lock(&sub->bus->mu);
    is_over =
        sub->ns == NULL || natsSubscription_DrainCompletionStatus(sub->ns) != NATS_ILLEGAL_STATE;
    pthread_mutex_unlock(&sub->bus->mu);
    if (!is_over)
        return;
    ev_timer_stop(ev, timer);
    atomic_fetch_add(&sub->refs, 1);
    say_drained(sub);
}

void faas_sub_drain(faas_sub *sub, int64_t timeout_ms, faas_task *done, void *arg)
{
    bool is_draining;

    pthread_mutex_lock(&sub->bus->mu);
    sub->drained = done;
    sub->drained_arg = arg;
    is_draining = sub->ns != NULL && natsSubscription_DrainTimeout(
                                         sub->ns, timeout_ms > 0 ? timeout_ms : 1) == NATS_OK;
    pthread_mutex_unlock(&sub->bus->mu);
    if (is_draining) {
        ev_timer_again(faas_loop_ev(sub->bus->loop), &sub->drain_timer);
        return;
    }
    atomic_fetch_add(&sub->refs, 1);
    faas_loop_post_with(sub->bus->loop, &sub->drain_post, say_drained, sub);
}

/* ---- messages ---- */

const char *faas_msg_subject(const faas_msg *msg)
{
    return natsMsg_GetSubject(msg->nm);
}

const char *faas_msg_reply(const faas_msg *msg)
{
    const char *reply = natsMsg_GetReply(msg->nm);

    return reply != NULL && reply[0] != '\0' ? reply : NULL;
}

void faas_msg_wipe(const faas_msg *msg)
{
    if (faas_msg_len(msg) > 0)
        explicit_bzero((void *)(uintptr_t)faas_msg_data(msg), faas_msg_len(msg));
}

const void *faas_msg_data(const faas_msg *msg)
{
    const char *data = natsMsg_GetData(msg->nm);

    return data != NULL ? data : "";
}

size_t faas_msg_len(const faas_msg *msg)
{
    int len = natsMsg_GetDataLength(msg->nm);

    return len > 0 ? (size_t)len : 0;
}

const char *faas_msg_header(const faas_msg *msg, const char *name)
{
    const char *value = NULL;

    return natsMsgHeader_Get(msg->nm, name, &value) == NATS_OK ? value : NULL;
}

int64_t faas_msg_header_int(const faas_msg *msg, const char *name, int64_t absent)
{
    const char *text = faas_msg_header(msg, name);
    char *end = NULL;
    intmax_t value;

    if (text == NULL || (text[0] != '-' && (text[0] < '0' || text[0] > '9')))
        return absent;
    errno = 0;
    value = strtoimax(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' ? (int64_t)value : absent;
}

bool faas_msg_is_no_responders(const faas_msg *msg)
{
    return natsMsg_IsNoResponders(msg->nm);
}

void faas_msg_free(faas_msg *msg)
{
    if (msg == NULL)
        return;
    faas_bus_msg_done(msg->nm);
    free(msg);
}
