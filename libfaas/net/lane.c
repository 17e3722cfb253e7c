/* A connection, read and written by the loop: libnats's event loop mode.  Messages are taken from
 * synchronous subscriptions as they are read, so none crosses a thread on its way to its handler;
 * what a turn of the loop publishes leaves in one write at its end. */
#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/bus_internal.h"

#define WATCH_S     0.2
#define SILENT_MAX  2           /* looks: a server answers pings, which are sent as often */
#define WRITE_BYTES (64 * 1024) /* published in one turn: written before its end */

static const char *const lane_names[FAAS_LANES] = {"data", "control"};

const char *faas_lane_name(const struct faas_bus_lane *lane)
{
    return lane_names[lane - lane->bus->lanes];
}

void faas_lane_set_state(struct faas_bus_lane *lane, enum faas_lane_state state)
{
    pthread_mutex_lock(&lane->bus->mu);
    atomic_store(&lane->state, state);
    pthread_cond_broadcast(&lane->bus->changed);
    pthread_mutex_unlock(&lane->bus->mu);
}

/* ---- libnats's callbacks ---- */

natsStatus faas_lane_on_attach(void **out_data, void *loop, natsConnection *nc, natsSock fd)
{
    struct faas_link *link = loop;

    (void)nc;
    link->fd = fd;
    *out_data = link;
    return NATS_OK;
}

/* Once, at the end of the connection: on the loop while it is in use, else on its connector. */
natsStatus faas_lane_on_read(void *data, bool is_wanted)
{
    struct faas_link *link = data;

    if (!is_wanted)
        link->is_broken = true;
    return NATS_OK;
}

natsStatus faas_lane_on_write(void *data, bool is_wanted)
{
    struct faas_link *link = data;
    faas_loop *loop = link->lane->bus->loop;

    atomic_store(&link->is_dirty, is_wanted);
    if (!is_wanted)
        atomic_store(&link->queued, 0);
    else if (!faas_loop_is_own_thread(loop))
        faas_loop_wake(loop); /* it writes before it waits again */
    return NATS_OK;
}

natsStatus faas_lane_on_detach(void *data)
{
    (void)data;
    return NATS_OK;
}

/* libnats keeps the subject of "nobody listens" from synchronous subscriptions, and the subject alone
 * tells which request it is about. */
void faas_lane_on_filter(natsConnection *nc, natsMsg **msg, void *data)
{
    struct faas_link *link = data;
    struct faas_kept *kept;

    (void)nc;
    if (!natsMsg_IsNoResponders(*msg))
        return;
    kept = malloc(sizeof *kept);
    if (kept == NULL)
        return; /* as if it was lost: the request's time ends */
    kept->nm = *msg;
    *msg = NULL;
    STAILQ_INSERT_TAIL(&link->unanswered, kept, next);
}

/* ---- reading ---- */

static void read_some(struct faas_link *link)
{
    struct faas_bus_lane *lane = link->lane;

    lane->silent = 0;
    if (link->tls == NULL || faas_tls_can_read(link))
        natsConnection_ProcessReadEvent(link->nc);
    /* libnats closes the descriptor of a broken connection: another may get its number. */
    if (link->is_broken) {
        ev_io_stop(faas_loop_ev(lane->bus->loop), &link->readable);
        ev_io_stop(faas_loop_ev(lane->bus->loop), &link->writable);
    }
    faas_subs_deliver(link);
}

static void on_readable(struct ev_loop *ev, ev_io *watcher, int events)
{
    (void)ev;
    (void)events;
    read_some(watcher->data);
}

/* ---- writing ---- */

/* True: there is more.  What is encrypted leaves before more is, so that `queued` bounds it. */
static bool send_some(struct faas_link *link)
{
    if (link->tls == NULL) {
        natsConnection_ProcessWriteEvent(link->nc);
        return atomic_load(&link->is_dirty);
    }
    while (!link->is_broken && faas_tls_send(link)) {
        if (!atomic_load(&link->is_dirty))
            return false;
        natsConnection_ProcessWriteEvent(link->nc);
    }
    return true;
}

static void write_some(struct faas_link *link)
{
    struct ev_loop *ev = faas_loop_ev(link->lane->bus->loop);
    bool has_more = send_some(link);

    if (link->is_broken) {
        ev_io_stop(ev, &link->readable);
        ev_io_stop(ev, &link->writable);
    } else if (has_more) {
        ev_io_start(ev, &link->writable);
    } else {
        ev_io_stop(ev, &link->writable);
    }
}

static void on_writable(struct ev_loop *ev, ev_io *watcher, int events)
{
    (void)ev;
    (void)events;
    write_some(watcher->data);
}

void faas_lane_flush(struct faas_bus_lane *lane)
{
    struct faas_link *link = lane->link;

    if (link == NULL)
        return;
    if (!link->is_broken && atomic_load(&link->is_dirty) && !ev_is_active(&link->writable))
        write_some(link);
    if (link->is_broken)
        faas_lane_lose(lane);
}

/* ---- publishing ---- */

static size_t size_of(natsMsg *nm)
{
    return (size_t)natsMsg_GetDataLength(nm);
}

/* Until the lane is back. */
static faas_code keep(struct faas_bus_lane *lane, natsMsg *take_nm, faas_err *err)
{
    struct faas_kept *kept = NULL;

    if (lane->kept_bytes + size_of(take_nm) <= FAAS_BUS_KEPT_MAX &&
        atomic_load(&lane->state) != FAAS_LANE_CLOSED)
        kept = malloc(sizeof *kept);
    if (kept == NULL) {
        faas_bus_msg_done(take_nm);
        return faas_bus_status(NATS_INSUFFICIENT_BUFFER, "publish", err);
    }
    kept->nm = take_nm;
    lane->kept_bytes += size_of(take_nm);
    STAILQ_INSERT_TAIL(&lane->kept, kept, next);
    return FAAS_OK;
}

static natsStatus send(struct faas_link *link, natsMsg *nm)
{
    size_t len = size_of(nm);

    if (atomic_load(&link->queued) + len > FAAS_BUS_KEPT_MAX)
        return NATS_INSUFFICIENT_BUFFER; /* the server does not read */
    atomic_fetch_add(&link->queued, len);
    return natsConnection_PublishMsg(link->nc, nm);
}

faas_code faas_lane_publish(struct faas_bus_lane *lane, natsMsg *take_nm, faas_err *err)
{
    faas_bus *bus = lane->bus;
    struct faas_link *link;
    natsStatus status;
    faas_code rc;
    bool is_much = false;

    pthread_mutex_lock(&bus->mu);
    link = lane->link;
    status = link != NULL && !link->is_broken ? send(link, take_nm) : NATS_CONNECTION_CLOSED;
    if (status == NATS_CONNECTION_CLOSED) {
        rc = keep(lane, take_nm, err);
    } else {
        rc = faas_bus_status(status, natsMsg_GetSubject(take_nm), err);
        is_much = atomic_load(&link->queued) > WRITE_BYTES;
        faas_bus_msg_done(take_nm);
    }
    pthread_mutex_unlock(&bus->mu);
    if (is_much && faas_loop_is_own_thread(bus->loop) && !ev_is_active(&link->writable))
        write_some(link); /* given up, if broken, at the turn's end: the caller may be a handler */
    return rc;
}

/* ---- a connection's life ---- */

/* A server that hangs keeps its connections: only its silence tells.  Looks are counted, not time: a
 * process that was held up looks once, however long that took. */
static void on_watch(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct faas_bus_lane *lane = timer->data;

    (void)ev;
    (void)events;
    if (lane->link->is_broken || ++lane->silent <= SILENT_MAX)
        return;
    FAAS_LOG(WARN, "bus server is silent", FAAS_LSTR("lane", faas_lane_name(lane)));
    faas_lane_lose(lane);
}

void faas_lane_init(struct faas_bus_lane *lane, faas_bus *bus)
{
    lane->bus = bus;
    STAILQ_INIT(&lane->retired);
    STAILQ_INIT(&lane->kept);
    ev_timer_init(&lane->watch, on_watch, WATCH_S, WATCH_S);
    lane->watch.data = lane;
}

/* In the order in which they were published; bus->mu is held. */
static void send_kept(struct faas_bus_lane *lane)
{
    struct faas_kept *kept;

    while ((kept = STAILQ_FIRST(&lane->kept)) != NULL) {
        STAILQ_REMOVE_HEAD(&lane->kept, next);
        lane->kept_bytes -= size_of(kept->nm);
        if (natsConnection_PublishMsg(lane->link->nc, kept->nm) != NATS_OK)
            FAAS_LOG(WARN, "a message that waited for the bus was dropped",
                     FAAS_LSTR("subject", natsMsg_GetSubject(kept->nm)));
        faas_bus_msg_done(kept->nm);
        free(kept);
    }
}

static void say_back(struct faas_bus_lane *lane)
{
    struct faas_bus_watch *watch, *next;

    for (watch = LIST_FIRST(&lane->bus->watches); watch != NULL; watch = next) {
        next = LIST_NEXT(watch, link);
        if (&lane->bus->lanes[watch->lane] == lane)
            watch->task(watch->arg);
    }
}

/* bus->mu is held.  False: there is nothing to take, or it was not good. */
static bool take_over(struct faas_bus_lane *lane)
{
    struct faas_link *link = FAAS_STEAL(lane->offer);

    if (link == NULL)
        return false;
    if (atomic_load(&lane->bus->is_closing) || faas_subs_begin(lane, link->nc) != NATS_OK) {
        faas_subs_end(lane);
        STAILQ_INSERT_TAIL(&lane->retired, link, next);
        lane->is_wanted = true;
        pthread_cond_broadcast(&lane->bus->work);
        return false;
    }
    lane->link = link;
    atomic_store(&lane->bus->payload_max, natsConnection_GetMaxPayload(link->nc));
    send_kept(lane);
    return true;
}

void faas_lane_adopt(void *arg)
{
    struct faas_bus_lane *lane = arg;
    faas_bus *bus = lane->bus;
    struct ev_loop *ev = faas_loop_ev(bus->loop);
    bool is_up;

    pthread_mutex_lock(&bus->mu);
    is_up = take_over(lane);
    pthread_mutex_unlock(&bus->mu);
    if (is_up) {
        ev_io_init(&lane->link->readable, on_readable, (int)lane->link->fd, EV_READ);
        ev_io_init(&lane->link->writable, on_writable, (int)lane->link->fd, EV_WRITE);
        lane->link->readable.data = lane->link->writable.data = lane->link;
        ev_io_start(ev, &lane->link->readable);
        lane->silent = 0;
        ev_timer_again(ev, &lane->watch);
        faas_lane_set_state(lane, FAAS_LANE_UP);
        if (lane->was_down)
            FAAS_LOG(INFO, "bus connected", FAAS_LSTR("lane", faas_lane_name(lane)));
        say_back(lane);
    }
    faas_bus_unref(bus);
}

void faas_lane_lose(struct faas_bus_lane *lane)
{
    faas_bus *bus = lane->bus;
    struct ev_loop *ev = faas_loop_ev(bus->loop);
    struct faas_link *link = lane->link;

    ev_io_stop(ev, &link->readable);
    ev_io_stop(ev, &link->writable);
    ev_timer_stop(ev, &lane->watch);
    pthread_mutex_lock(&bus->mu);
    lane->link = NULL;
    lane->was_down = true;
    memcpy(lane->left, link->url, sizeof lane->left);
    faas_subs_end(lane);
    if (!link->is_broken) /* with something unsaid, libnats waits half a second for an answer */
        (void)send_some(link);
    STAILQ_INSERT_TAIL(&lane->retired, link, next);
    lane->is_wanted = true;
    atomic_store(&lane->state, FAAS_LANE_DOWN);
    pthread_cond_broadcast(&bus->work);
    pthread_mutex_unlock(&bus->mu);
    if (!atomic_load(&bus->is_closing))
        FAAS_LOG(WARN, "bus disconnected", FAAS_LSTR("lane", faas_lane_name(lane)));
}
