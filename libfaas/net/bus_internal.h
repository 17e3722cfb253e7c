/* bus_internal.h - what bus.c, sub.c, rpc.c and members.c share beyond bus.h.
 * Lifetime  a bus is counted: tasks posted by NATS callbacks hold a reference, so that one run
 *           after faas_bus_close() finds it. A subscription is counted too: by its user, by libnats
 *           (until the completion callback) and by each message on its way to the loop.
 * Threads   what is not marked otherwise belongs to the loop thread (or to the only thread once
 *           the loop has stopped).
 */
#ifndef FAAS_BUS_INTERNAL_H
#define FAAS_BUS_INTERNAL_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "net/bus.h"

#define FAAS_LANES 2

enum faas_lane_state { FAAS_LANE_DOWN, FAAS_LANE_UP, FAAS_LANE_CLOSED };

struct faas_bus_lane {
    faas_bus *bus;
    natsConnection *nc;
    _Atomic int state; /* enum faas_lane_state */
};

/* Called on the loop thread after a lane's connection came back. */
struct faas_bus_watch {
    LIST_ENTRY(faas_bus_watch) link;
    enum faas_lane lane;
    faas_task *task;
    void *arg;
};

struct faas_bus {
    faas_loop *loop;
    struct faas_bus_lane lanes[FAAS_LANES];
    char *nkey_file; /* NULL: none */
    char inbox[96];
    LIST_HEAD(, faas_bus_watch) watches;
    bool is_lost;            /* a connection closed by itself */
    _Atomic bool is_closing; /* faas_bus_close began */
    _Atomic int refs;
    pthread_mutex_t mu;
    pthread_cond_t changed;     /* a lane closed or a subscription completed */
    LIST_HEAD(, faas_sub) subs; /* guarded by mu */
    int live_subs;              /* guarded by mu: completion callbacks still to come */
};

struct faas_sub {
    LIST_ENTRY(faas_sub) link; /* in bus->subs while ns is not NULL; guarded by bus->mu */
    faas_bus *bus;             /* alive while ns is not NULL */
    faas_loop *loop;
    natsSubscription *ns; /* NULL once destroyed */
    faas_msg_handler *handler;
    void *arg;
    faas_task *drained; /* what faas_sub_drain promised to call */
    void *drained_arg;
    struct faas_post completed;
    bool is_dead; /* no handler may run any more */
    _Atomic int refs;
};

struct faas_msg {
    natsMsg *nm;
    faas_sub *sub; /* until delivered */
    struct faas_post delivery;
    uint64_t arrived_ns; /* when libnats handed it over */
    void *endpoint;      /* rpc_serve.c: whose statistics count it */
};

void faas_bus_ref(faas_bus *bus);
void faas_bus_unref(faas_bus *bus);
bool faas_bus_lane_is_up(const faas_bus *bus, enum faas_lane lane);
void faas_bus_watch_add(faas_bus *bus, struct faas_bus_watch *watch);
void faas_bus_watch_remove(struct faas_bus_watch *watch); /* NULL task: was never added */

/* faas_code for a libnats status, with `what` in the detail. */
faas_code faas_bus_status(natsStatus status, const char *what, faas_err *err);
/* Hands a message back to libnats, now or with the next ones (msg_bin.c).  Any thread. */
void faas_bus_msg_done(natsMsg *take_nm);
void faas_bus_msgs_end(void); /* all of them, now */
/* For faas_bus_close(): destroys every libnats subscription; all must be complete. */
void faas_bus_subs_destroy(faas_bus *bus);

#endif
