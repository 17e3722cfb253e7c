/* Subscriptions and the messages they bring: the other half of bus.h.
 *
 * libnats 3.4 crashes when an asynchronous subscription is destroyed while it delivers.  So a
 * natsSubscription is only ever closed (unsubscribe, drain, connection closed) and destroyed after
 * its completion callback, on the loop thread. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"
#include "net/bus_internal.h"

static void sub_unref(faas_sub *sub)
{
    if (atomic_fetch_sub(&sub->refs, 1) == 1)
        free(sub);
}

static void sub_destroy_ns(faas_sub *sub)
{
    natsSubscription *ns = sub->ns;

    if (ns == NULL)
        return;
    sub->ns = NULL;
    pthread_mutex_lock(&sub->bus->mu);
    LIST_REMOVE(sub, link);
    pthread_mutex_unlock(&sub->bus->mu);
    natsSubscription_Destroy(ns);
}

void faas_bus_subs_destroy(faas_bus *bus)
{
    faas_sub *sub;

    while ((sub = LIST_FIRST(&bus->subs)) != NULL) {
        sub->is_dead = true;
        sub_destroy_ns(sub);
    }
}

/* ---- from libnats to the loop ---- */

static void deliver(void *arg)
{
    faas_msg *msg = arg;
    faas_sub *sub = FAAS_STEAL(msg->sub);

    if (sub->is_dead)
        faas_msg_free(msg);
    else
        sub->handler(sub->arg, msg);
    sub_unref(sub);
}

/* libnats parses a message's headers at the first look at one.  Without memory for that they would
 * read as absent later: a refusal as an answer, a caller as nobody, a delete as a value. */
static bool has_headers_parsed(natsMsg *nm)
{
    const char *value;

    return natsMsgHeader_Get(nm, FAAS_H_PROTO, &value) != NATS_NO_MEMORY;
}

static void on_message(natsConnection *nc, natsSubscription *ns, natsMsg *nm, void *closure)
{
    faas_sub *sub = closure;
    faas_msg *msg = has_headers_parsed(nm) ? calloc(1, sizeof *msg) : NULL;

    (void)nc;
    (void)ns;
    if (msg == NULL) {
        FAAS_LOG(ERROR, "no memory for a message: dropped");
        faas_bus_msg_done(nm);
        return;
    }
    msg->nm = nm;
    msg->sub = sub;
    msg->arrived_ns = faas_now_ns();
    atomic_fetch_add(&sub->refs, 1);
    faas_loop_post_with(sub->loop, &msg->delivery, deliver, msg);
}

static void say_drained(faas_sub *sub)
{
    faas_task *drained = FAAS_STEAL(sub->drained);

    if (drained != NULL && !sub->is_dead)
        drained(sub->drained_arg);
}

/* Posted after the last message, so the handler has seen them all. */
static void completed(void *arg)
{
    faas_sub *sub = arg;

    sub_destroy_ns(sub);
    say_drained(sub);
    sub_unref(sub);
}

static void on_complete(void *closure)
{
    faas_sub *sub = closure;
    faas_bus *bus = sub->bus;

    faas_bus_ref(bus);
    /* libnats's reference goes along. */
    faas_loop_post_with(sub->loop, &sub->completed, completed, sub);
    pthread_mutex_lock(&bus->mu);
    bus->live_subs--;
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->mu);
    faas_bus_unref(bus);
}

/* ---- subscribing ---- */

static void sub_enlist(faas_sub *sub)
{
    pthread_mutex_lock(&sub->bus->mu);
    LIST_INSERT_HEAD(&sub->bus->subs, sub, link);
    sub->bus->live_subs++;
    pthread_mutex_unlock(&sub->bus->mu);
}

static void sub_delist(faas_sub *sub)
{
    pthread_mutex_lock(&sub->bus->mu);
    LIST_REMOVE(sub, link);
    sub->bus->live_subs--;
    pthread_mutex_unlock(&sub->bus->mu);
}

static natsStatus start_ns(faas_sub *sub, natsConnection *nc, const char *subject,
                           const char *queue)
{
    natsSubscription *ns = NULL;
    natsStatus status;

    if (queue != NULL)
        status = natsConnection_QueueSubscribe(&ns, nc, subject, queue, on_message, sub);
    else
        status = natsConnection_Subscribe(&ns, nc, subject, on_message, sub);
    if (status != NATS_OK)
        return status;
    status = natsSubscription_SetOnCompleteCB(ns, on_complete, sub);
    if (status != NATS_OK) { /* only for a subscription that is closed already */
        natsSubscription_Destroy(ns);
        return status;
    }
    sub->ns = ns;
    (void)natsSubscription_SetPendingLimits(ns, -1, -1);
    return NATS_OK;
}

faas_code faas_bus_subscribe(faas_bus *bus, enum faas_lane lane, const char *subject,
                             const char *queue, faas_msg_handler *handler, void *arg,
                             faas_sub **out_sub, faas_err *err)
{
    faas_sub *sub = calloc(1, sizeof *sub);
    natsStatus status;

    if (sub == NULL)
        return faas_fail_sys(err, ENOMEM, "subscribe");
    sub->bus = bus;
    sub->loop = bus->loop;
    sub->handler = handler;
    sub->arg = arg;
    atomic_init(&sub->refs, 2); /* the caller's and libnats's */
    sub_enlist(sub);
    status = start_ns(sub, bus->lanes[lane].nc, subject, queue);
    if (status != NATS_OK) {
        sub_delist(sub);
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
    if (sub->ns != NULL)
        (void)natsSubscription_Unsubscribe(sub->ns);
    sub_unref(sub);
}

static void drained_at_once(void *arg)
{
    faas_sub *sub = arg;

    say_drained(sub);
    sub_unref(sub);
}

void faas_sub_drain(faas_sub *sub, int64_t timeout_ms, faas_task *done, void *arg)
{
    sub->drained = done;
    sub->drained_arg = arg;
    if (sub->ns != NULL &&
        natsSubscription_DrainTimeout(sub->ns, timeout_ms > 0 ? timeout_ms : 1) == NATS_OK)
        return;
    atomic_fetch_add(&sub->refs, 1);
    faas_loop_post(sub->loop, drained_at_once, sub);
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
