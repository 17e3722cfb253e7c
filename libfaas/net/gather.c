#include "net/gather.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "contract.h"

struct faas_gathered { /* for one subject */
    SLIST_ENTRY(faas_gathered) link;
    enum faas_lane lane;
    int count;
    size_t len;
    char parts[FAAS_GATHER_PARTS * FAAS_GATHER_PART];
    char subject[];
};

static void send(faas_bus *bus, enum faas_lane lane, const struct faas_out *parts)
{
    static const struct faas_header headers[] = {{FAAS_H_PROTO, FAAS_PROTO}, {NULL, NULL}};
    struct faas_out out = *parts;
    faas_err err = {0};

    out.headers = headers;
    if (faas_bus_publish(bus, lane, &out, &err) != FAAS_OK)
        FAAS_LOG(DEBUG, "gathered messages were not sent", FAAS_LSTR("subject", out.subject),
                 FAAS_LSTR("error", err.msg)); /* they are asked for again */
}

static void leave(struct faas_gather *gather, struct faas_gathered *one)
{
    const struct faas_out out = {.subject = one->subject, .data = one->parts, .len = one->len};

    send(gather->bus, one->lane, &out);
    SLIST_REMOVE(&gather->all, one, faas_gathered, link);
    free(one);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)events;
    faas_gather_flush(timer->data);
}

void faas_gather_init(struct faas_gather *gather, faas_bus *bus)
{
    gather->bus = bus;
    SLIST_INIT(&gather->all);
    ev_init(&gather->timer, on_timer);
    gather->timer.data = gather;
}

void faas_gather_flush(struct faas_gather *gather)
{
    struct faas_gathered *one;

    if (gather->bus == NULL)
        return;
    ev_timer_stop(faas_loop_ev(faas_bus_loop(gather->bus)), &gather->timer);
    while ((one = SLIST_FIRST(&gather->all)) != NULL)
        leave(gather, one);
}

static struct faas_gathered *find(struct faas_gather *gather, enum faas_lane lane,
                                  const char *subject)
{
    struct faas_gathered *one;
    size_t size = strlen(subject) + 1;

    SLIST_FOREACH (one, &gather->all, link)
        if (one->lane == lane && strcmp(one->subject, subject) == 0)
            return one;
    one = calloc(1, sizeof *one + size);
    if (one == NULL)
        return NULL;
    one->lane = lane;
    memcpy(one->subject, subject, size);
    SLIST_INSERT_HEAD(&gather->all, one, link);
    return one;
}

static void start_timer(struct faas_gather *gather)
{
    struct ev_loop *ev = faas_loop_ev(faas_bus_loop(gather->bus));

    if (ev_is_active(&gather->timer))
        return;
    ev_now_update(ev); /* the loop's time may be older than the wait is long */
    ev_timer_set(&gather->timer, FAAS_GATHER_MS / 1000.0, 0.0);
    ev_timer_start(ev, &gather->timer);
}

void faas_gather_add(struct faas_gather *gather, enum faas_lane lane, const char *subject,
                     const void *part, size_t len)
{
    struct faas_gathered *one = find(gather, lane, subject);

    assert(len <= FAAS_GATHER_PART);
    if (one == NULL) {
        const struct faas_out out = {.subject = subject, .data = part, .len = len};

        send(gather->bus, lane, &out);
        return;
    }
    memcpy(one->parts + one->len, part, len);
    one->len += len;
    if (++one->count == FAAS_GATHER_PARTS)
        leave(gather, one);
    else
        start_timer(gather);
}
