#include "net/bus.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "net/bus_internal.h"
#include "net/nkey.h"

#define OPEN_MS         2000 /* for the first try to connect; it goes on behind */
#define CLOSE_GRACE_MS  1000
#define DEFAULT_PAYLOAD (1024 * 1024)
#define LOCK_SPINS      0 /* nobody holds libnats's locks for long: spinning only takes time */
#define AT_ONCE_NS      FAAS_MS_NS

faas_code faas_bus_status(natsStatus status, const char *what, faas_err *err)
{
    switch (status) {
    case NATS_OK:
        return FAAS_OK;
    case NATS_MAX_PAYLOAD:
        faas_fail(err, FAAS_TOO_LARGE, "message too large for the bus");
        break;
    case NATS_NO_MEMORY:
        return faas_fail_sys(err, ENOMEM, "%s", what);
    case NATS_INVALID_ARG:
    case NATS_INVALID_SUBJECT:
        faas_fail(err, FAAS_INTERNAL, "internal error");
        break;
    default:
        faas_fail(err, FAAS_UNAVAILABLE, "the message bus is not reachable at the moment");
        break;
    }
    return faas_err_detail(err, "%s: %s", what, natsStatus_GetText(status));
}

/* ---- opening ---- */

/* Another turn of the loop begins.  What it reads came while it waited, or, when it did not wait, in
 * the turn before: the socket may have had it all that time. */
static void on_woken(struct ev_loop *ev, ev_check *watcher, int events)
{
    faas_bus *bus = watcher->data;
    uint64_t now = faas_now_ns();

    (void)ev;
    (void)events;
    bus->arrived_ns = now - bus->waited_ns < AT_ONCE_NS && bus->woke_ns != 0 ? bus->woke_ns : now;
    bus->woke_ns = now;
}

static void before_wait(struct ev_loop *ev, ev_prepare *watcher, int events)
{
    faas_bus *bus = watcher->data;

    (void)ev;
    (void)events;
    for (int i = 0; i < FAAS_LANES; i++)
        faas_lane_flush(&bus->lanes[i]);
    bus->waited_ns = faas_now_ns();
}

static void init_locks(faas_bus *bus)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&bus->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&bus->work, &attr);
    pthread_cond_init(&bus->changed, &attr);
    pthread_condattr_destroy(&attr);
}

static faas_bus *bus_new(const struct faas_bus_conf *conf, faas_loop *loop)
{
    faas_bus *bus = calloc(1, sizeof *bus);
    char token[33];

    if (bus == NULL)
        return NULL;
    bus->loop = loop;
    bus->has_choice = strpbrk(conf->urls, ", ") != NULL;
    if (conf->nkey_file != NULL && conf->nkey_file[0] != '\0') {
        bus->nkey_file = strdup(conf->nkey_file);
        if (bus->nkey_file == NULL) {
            free(bus);
            return NULL;
        }
    }
    for (int i = 0; i < FAAS_LANES; i++)
        faas_lane_init(&bus->lanes[i], bus);
    faas_random_token(token);
    (void)snprintf(bus->inbox, sizeof bus->inbox, "_INBOX_%.32s.%s", conf->service, token);
    LIST_INIT(&bus->watches);
    LIST_INIT(&bus->subs);
    atomic_init(&bus->refs, 1);
    init_locks(bus);
    ev_prepare_init(&bus->before_wait, before_wait);
    ev_check_init(&bus->after_wait, on_woken);
    bus->before_wait.data = bus->after_wait.data = bus;
    ev_prepare_start(faas_loop_ev(loop), &bus->before_wait);
    ev_check_start(faas_loop_ev(loop), &bus->after_wait);
    bus->arrived_ns = faas_now_ns();
    return bus;
}

static struct timespec instant(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / FAAS_S_NS), .tv_nsec = (long)(ns % FAAS_S_NS)};
}

/* Until the lane is connected, or its first try has failed; what does not pass ends the opening. */
static faas_code await_first_try(struct faas_bus_lane *lane, uint64_t deadline_ns, faas_err *err)
{
    faas_bus *bus = lane->bus;
    struct timespec until = instant(deadline_ns);
    const char *advice;
    natsStatus trouble;
    bool is_there;

    pthread_mutex_lock(&bus->mu);
    while (lane->offer == NULL && lane->tries == 0 &&
           pthread_cond_timedwait(&bus->changed, &bus->mu, &until) == 0)
        ;
    is_there = lane->offer != NULL;
    trouble = lane->tries > 0 ? lane->trouble : NATS_OK;
    advice = lane->advice;
    pthread_mutex_unlock(&bus->mu);
    if (is_there) {
        faas_bus_ref(bus);
        faas_lane_adopt(lane);
        return FAAS_OK;
    }
    lane->was_down = true;
    if (advice != NULL)
        return faas_fail(err, FAAS_INVALID, "%s", advice);
    return trouble == NATS_CONNECTION_AUTH_FAILED
               ? faas_bus_status(trouble, "connect to the bus", err)
               : FAAS_OK;
}

static faas_code connect_lanes(faas_bus *bus, const struct faas_bus_conf *conf,
                               const char *public_key, faas_err *err)
{
    uint64_t deadline = faas_deadline_in_ms(OPEN_MS);

    for (int i = 0; i < FAAS_LANES; i++)
        FAAS_TRY(faas_connector_start(&bus->lanes[i], conf, public_key, err));
    for (int i = 0; i < FAAS_LANES; i++)
        FAAS_TRY(await_first_try(&bus->lanes[i], deadline, err));
    return FAAS_OK;
}

faas_code faas_bus_open(const struct faas_bus_conf *conf, faas_loop *loop, faas_bus **out_bus,
                        faas_err *err)
{
    char seed[FAAS_NKEY_SEED_TEXT], public_key[FAAS_NKEY_PUBLIC_TEXT] = "";
    faas_code rc;
    faas_bus *bus;

    if (conf->nkey_file != NULL && conf->nkey_file[0] != '\0') {
        FAAS_TRY(faas_nkey_read(conf->nkey_file, seed, err));
        rc = faas_nkey_public(seed, public_key, err);
        sodium_memzero(seed, sizeof seed);
        FAAS_TRY(rc);
    }
    FAAS_TRY(faas_bus_status(nats_Open(LOCK_SPINS), "open libnats", err));
    bus = bus_new(conf, loop);
    if (bus == NULL)
        return faas_fail_sys(err, ENOMEM, "open the bus");
    rc = connect_lanes(bus, conf, public_key, err);
    if (rc != FAAS_OK) {
        faas_bus_close(bus, 0);
        return rc;
    }
    *out_bus = bus;
    return FAAS_OK;
}

/* ---- closing ---- */

static void on_flush_late(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_break(ev, EVBREAK_ALL);
}

/* bus->mu is held. */
static bool is_flushing(const faas_bus *bus)
{
    for (int i = 0; i < FAAS_LANES; i++)
        if (bus->lanes[i].flushing != NULL)
            return true;
    return false;
}

/* Everything published reaches the server, and what it has sent meanwhile its handlers: the loop
 * runs once more.  Closing a socket with unread bytes would take back what is on its way. */
static void flush_lanes(faas_bus *bus, int64_t ms)
{
    struct ev_loop *ev = faas_loop_ev(bus->loop);
    uint64_t deadline = faas_deadline_in_ms(ms);
    ev_timer late;
    bool goes_on;

    pthread_mutex_lock(&bus->mu);
    for (int i = 0; i < FAAS_LANES; i++) {
        struct faas_link *link = bus->lanes[i].link;

        bus->lanes[i].flushing = link != NULL && !link->is_broken ? link->nc : NULL;
        bus->lanes[i].flush_ms = ms;
    }
    goes_on = is_flushing(bus);
    pthread_cond_broadcast(&bus->work);
    pthread_mutex_unlock(&bus->mu);
    ev_timer_init(&late, on_flush_late, (double)ms / 1e3, 0.0);
    ev_timer_start(ev, &late);
    while (goes_on && faas_left_ms(deadline) > 0) {
        faas_loop_run(bus->loop);
        pthread_mutex_lock(&bus->mu);
        goes_on = is_flushing(bus);
        pthread_mutex_unlock(&bus->mu);
    }
    ev_timer_stop(ev, &late);
}

static void drop_kept(struct faas_bus_lane *lane)
{
    struct faas_kept *kept;

    while ((kept = STAILQ_FIRST(&lane->kept)) != NULL) {
        STAILQ_REMOVE_HEAD(&lane->kept, next);
        faas_bus_msg_done(kept->nm);
        free(kept);
    }
}

static void end_lane(struct faas_bus_lane *lane)
{
    if (lane->link != NULL)
        faas_lane_lose(lane);
    pthread_mutex_lock(&lane->bus->mu);
    if (lane->offer != NULL)
        STAILQ_INSERT_TAIL(&lane->retired, lane->offer, next);
    lane->offer = NULL;
    pthread_mutex_unlock(&lane->bus->mu);
    faas_connector_join(lane);
    drop_kept(lane);
    atomic_store(&lane->state, FAAS_LANE_CLOSED);
}

/* libnats's callbacks use the bus until then. */
static bool wait_unused(faas_bus *bus)
{
    struct timespec until = instant(faas_deadline_in_ms(CLOSE_GRACE_MS));
    bool is_unused;

    pthread_mutex_lock(&bus->mu);
    while (bus->live_links > 0 && pthread_cond_timedwait(&bus->changed, &bus->mu, &until) == 0)
        ;
    is_unused = bus->live_links == 0;
    pthread_mutex_unlock(&bus->mu);
    return is_unused;
}

void faas_bus_close(faas_bus *bus, int64_t drain_ms)
{
    struct ev_loop *ev;

    if (bus == NULL)
        return;
    ev = faas_loop_ev(bus->loop);
    atomic_store(&bus->is_closing, true);
    if (drain_ms > 0)
        flush_lanes(bus, drain_ms);
    for (int i = 0; i < FAAS_LANES; i++)
        end_lane(&bus->lanes[i]);
    ev_prepare_stop(ev, &bus->before_wait);
    ev_check_stop(ev, &bus->after_wait);
    faas_subs_close(bus);
    if (wait_unused(bus))
        faas_bus_unref(bus);
    else /* a callback may still come: leaking the bus is safer than freeing it under one */
        FAAS_LOG(WARN, "bus did not close in time");
}

/* A frame of its own: tests/support/tsan.supp knows by it what libnats does on its way out. */
static __attribute__((noinline)) void close_library(void)
{
    nats_CloseAndWait(2 * CLOSE_GRACE_MS);
}

void faas_bus_end(void)
{
    faas_bus_msgs_end();
    close_library();
}

void faas_bus_ref(faas_bus *bus)
{
    atomic_fetch_add(&bus->refs, 1);
}

void faas_bus_unref(faas_bus *bus)
{
    if (atomic_fetch_sub(&bus->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&bus->mu);
    pthread_cond_destroy(&bus->work);
    pthread_cond_destroy(&bus->changed);
    free(bus->nkey_file);
    free(bus);
}

/* ---- state ---- */

bool faas_bus_lane_is_up(const faas_bus *bus, enum faas_lane lane)
{
    return atomic_load(&bus->lanes[lane].state) == FAAS_LANE_UP;
}

bool faas_bus_has_choice(const faas_bus *bus)
{
    return bus->has_choice;
}

void faas_bus_leave(faas_bus *bus, enum faas_lane lane)
{
    if (bus->lanes[lane].link != NULL)
        faas_lane_lose(&bus->lanes[lane]);
}

void faas_bus_server(const faas_bus *bus, enum faas_lane lane, char out_server[FAAS_BUS_SERVER])
{
    const struct faas_link *link = bus->lanes[lane].link;

    (void)snprintf(out_server, FAAS_BUS_SERVER, "%s", link != NULL ? link->server : "");
}

bool faas_bus_is_connected(const faas_bus *bus)
{
    return faas_bus_lane_is_up(bus, FAAS_DATA);
}

bool faas_bus_is_lost(const faas_bus *bus)
{
    return bus->is_lost;
}

const char *faas_bus_inbox(const faas_bus *bus)
{
    return bus->inbox;
}

faas_loop *faas_bus_loop(const faas_bus *bus)
{
    return bus->loop;
}

size_t faas_bus_max_payload(const faas_bus *bus)
{
    int64_t max = atomic_load(&bus->payload_max);

    return max > 0 ? (size_t)max : DEFAULT_PAYLOAD;
}

void faas_bus_watch_add(faas_bus *bus, struct faas_bus_watch *watch)
{
    LIST_INSERT_HEAD(&bus->watches, watch, link);
}

void faas_bus_watch_remove(struct faas_bus_watch *watch)
{
    if (watch->task == NULL)
        return;
    LIST_REMOVE(watch, link);
    watch->task = NULL;
}

/* ---- publishing: any thread ---- */

static bool is_clean(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

static faas_code add_headers(natsMsg *nm, const struct faas_header *headers, faas_err *err)
{
    for (; headers->name != NULL; headers++) {
        if (headers->value == NULL)
            continue;
        if (!is_clean(headers->value))
            return faas_fail(err, FAAS_INVALID, "header %s: control character in the value",
                             headers->name);
        FAAS_TRY(faas_bus_status(natsMsgHeader_Set(nm, headers->name, headers->value),
                                 "set a header", err));
    }
    return FAAS_OK;
}

faas_code faas_bus_publish(faas_bus *bus, enum faas_lane lane, const struct faas_out *out,
                           faas_err *err)
{
    size_t max = faas_bus_max_payload(bus);
    natsMsg *nm = NULL;
    faas_code rc;

    if (out->len > max)
        return faas_fail(err, FAAS_TOO_LARGE,
                         "message of %zu bytes: the bus carries at most %zu bytes", out->len, max);
    FAAS_TRY(
        faas_bus_status(natsMsg_Create(&nm, out->subject, out->reply, out->data, (int)out->len),
                        "make a message", err));
    rc = out->headers != NULL ? add_headers(nm, out->headers, err) : FAAS_OK;
    if (rc == FAAS_OK)
        return faas_lane_publish(&bus->lanes[lane], nm, err);
    faas_bus_msg_done(nm);
    return rc;
}
