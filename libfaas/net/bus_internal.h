/* bus_internal.h - what the files behind bus.h share.
 * Files     bus.c opens, closes and publishes; lane.c reads and writes a connection on the loop;
 *           connector.c makes and ends connections, on a thread for each lane; tls.c encrypts
 *           them; sub.c subscribes and hands messages to their handlers.
 * Link      one connection, from its making to its end.  A lane has one after the other: libnats's
 *           own reconnecting is not used, since in its event loop mode (3.4.1) it keeps its parser.
 * Threads   what is not marked otherwise belongs to the loop thread, or to the only thread while
 *           the loop does not run.  Callbacks of libnats come with its connection's lock held and
 *           must not take bus->mu.
 * Lifetime  a bus is counted: tasks posted by connectors hold a reference, so that one run after
 *           faas_bus_close() finds it.  A subscription is counted: by its user, and by each
 *           message on its way to the handler.
 */
#ifndef FAAS_BUS_INTERNAL_H
#define FAAS_BUS_INTERNAL_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "net/bus.h"

#define FAAS_LANES        2
#define FAAS_BUS_KEPT_MAX (8 * 1024 * 1024) /* bytes that wait for a lane, or for its server */

enum faas_lane_state { FAAS_LANE_DOWN, FAAS_LANE_UP, FAAS_LANE_CLOSED };

struct faas_kept { /* a message that waits */
    natsMsg *nm;
    STAILQ_ENTRY(faas_kept) next;
};
STAILQ_HEAD(faas_kept_list, faas_kept);

#define FAAS_BUS_URL 256 /* longer ones are not told apart */

struct faas_bus_lane;
struct faas_tls;
struct faas_link {
    struct faas_bus_lane *lane;
    natsConnection *nc;
    natsSock fd;
    char server[FAAS_BUS_SERVER]; /* the beginning of its id */
    char url[FAAS_BUS_URL];       /* "": unknown */
    ev_io readable, writable;
    struct faas_tls *tls;             /* NULL: none */
    _Atomic bool is_broken;           /* libnats has closed it, or it can only be closed */
    _Atomic bool is_dirty;            /* there is something to write */
    _Atomic size_t queued;            /* bytes published since all was written, at most */
    _Atomic int refs;                 /* the connector's, and libnats's until the closed callback */
    struct faas_kept_list unanswered; /* read: requests that nobody listens to */
    STAILQ_ENTRY(faas_link) next;
};

struct faas_bus_lane {
    faas_bus *bus;
    _Atomic int state;      /* enum faas_lane_state */
    struct faas_link *link; /* guarded by bus->mu: NULL while the lane is down */
    ev_timer watch;         /* looks whether the server still says something */
    bool was_down;          /* once it was up, or at the start */
    int silent;             /* looks since it last did */
    natsOptions *opts;      /* the connector's once it runs, as urls is */
    char *urls;             /* of all servers, comma-separated; owned */
    pthread_t connector;    /* joined by faas_bus_close() */
    bool has_connector;
    /* between the loop and the connector, guarded by bus->mu */
    struct faas_link *offer; /* connected, not taken over yet */
    char left[FAAS_BUS_URL]; /* of the connection before; "": none */
    struct faas_post post;   /* tells the loop of it, or that none comes any more */
    STAILQ_HEAD(, faas_link) retired;
    struct faas_kept_list kept; /* published while the lane is down */
    size_t kept_bytes;
    natsConnection *flushing; /* whose last words are to reach the server */
    int64_t flush_ms;
    int tries;          /* connections that could not be made, one after the other */
    natsStatus trouble; /* of the last of them */
    const char *advice; /* what has to change before one can be made; NULL: nothing known */
    bool is_wanted;     /* a connection */
    bool is_ended;      /* the connector has nothing more to do */
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
    bool has_choice; /* of servers */
    char inbox[96];
    LIST_HEAD(, faas_bus_watch) watches;
    ev_prepare before_wait; /* writes what the turn published */
    ev_check after_wait;
    uint64_t waited_ns, woke_ns, arrived_ns; /* see on_woken() in bus.c */
    bool is_lost;                            /* the server does not let us in any more */
    _Atomic bool is_closing;                 /* faas_bus_close began */
    _Atomic int refs;
    _Atomic int64_t payload_max; /* 0: not told yet */
    pthread_mutex_t mu;
    pthread_cond_t work;        /* a connector has something to do */
    pthread_cond_t changed;     /* a connector or libnats has done something */
    LIST_HEAD(, faas_sub) subs; /* guarded by mu */
    int live_links;             /* guarded by mu: closed callbacks still to come */
};

struct faas_sub {
    LIST_ENTRY(faas_sub) link; /* in bus->subs while bus is not NULL; guarded by bus->mu */
    faas_bus *bus;             /* NULL once the bus was closed */
    enum faas_lane lane;
    natsSubscription *ns; /* guarded by bus->mu: NULL while the lane is down */
    faas_msg_handler *handler;
    void *arg;
    faas_task *drained; /* what faas_sub_drain promised to call */
    void *drained_arg;
    ev_timer drain_timer;
    struct faas_post drain_post;
    bool is_dead; /* no handler may run any more */
    _Atomic int refs;
    const char *queue; /* in text; NULL: none */
    char text[];       /* the subject, and the queue's name */
};

struct faas_msg {
    natsMsg *nm;
    faas_sub *sub;       /* until delivered */
    uint64_t arrived_ns; /* at the earliest */
    void *endpoint;      /* rpc_serve.c: whose statistics count it */
    STAILQ_ENTRY(faas_msg) next;
};

void faas_bus_ref(faas_bus *bus);
void faas_bus_unref(faas_bus *bus);
bool faas_bus_lane_is_up(const faas_bus *bus, enum faas_lane lane);
bool faas_bus_has_choice(const faas_bus *bus); /* of servers */
/* Gives the lane's connection up for one to any server of the list; not from a handler. */
void faas_bus_leave(faas_bus *bus, enum faas_lane lane);
void faas_bus_watch_add(faas_bus *bus, struct faas_bus_watch *watch);
void faas_bus_watch_remove(struct faas_bus_watch *watch); /* NULL task: was never added */

/* faas_code for a libnats status, with `what` in the detail. */
faas_code faas_bus_status(natsStatus status, const char *what, faas_err *err);
/* Hands a message back to libnats, now or with the next ones (msg_bin.c).  Any thread. */
void faas_bus_msg_done(natsMsg *take_nm);
void faas_bus_msgs_end(void); /* all of them, now */

/* ---- lane.c ---- */
const char *faas_lane_name(const struct faas_bus_lane *lane);
void faas_lane_init(struct faas_bus_lane *lane, faas_bus *bus);
/* Any thread; bus->mu is not held. */
void faas_lane_set_state(struct faas_bus_lane *lane, enum faas_lane_state state);
/* Takes the connector's offer, if there is one: a task, argument the lane with a reference to its
 * bus. */
void faas_lane_adopt(void *arg);
/* Takes ownership.  UNAVAILABLE when too much waits already.  Any thread. */
FAAS_MUST_CHECK faas_code faas_lane_publish(struct faas_bus_lane *lane, natsMsg *take_nm,
                                            faas_err *err);
/* Writes what the socket takes; a connection that is broken is given up. */
void faas_lane_flush(struct faas_bus_lane *lane);
/* Gives the connection up and, unless the bus is closing, wants another. */
void faas_lane_lose(struct faas_bus_lane *lane);
/* libnats's event loop callbacks; data is the link. */
natsStatus faas_lane_on_attach(void **out_data, void *loop, natsConnection *nc, natsSock fd);
natsStatus faas_lane_on_read(void *data, bool is_wanted);
natsStatus faas_lane_on_write(void *data, bool is_wanted);
natsStatus faas_lane_on_detach(void *data);
/* Sees every message that is read; takes those which say that nobody listens. */
void faas_lane_on_filter(natsConnection *nc, natsMsg **msg, void *data);

/* ---- connector.c ---- */
FAAS_MUST_CHECK faas_code faas_connector_start(struct faas_bus_lane *lane,
                                               const struct faas_bus_conf *conf,
                                               const char *public_key, faas_err *err);
void faas_connector_join(struct faas_bus_lane *lane);

/* ---- tls.c ---- */
/* The settings of a bus's TLS.  INVALID naming the setting. */
FAAS_MUST_CHECK faas_code faas_tls_set(natsOptions *opts, const struct faas_bus_conf *conf,
                                       faas_err *err);
/* natsConnection_Connect; what it has encrypted link->tls is for.  A server has limit_ms from the
 * handshake's beginning until it is connected to. */
natsStatus faas_tls_connect(struct faas_link *link, natsOptions *opts, int64_t limit_ms);
void faas_tls_free(struct faas_tls *tls);
/* Of a link with tls that is not broken, on the loop.  False: nothing can be read yet, or ever again;
 * the latter is marked. */
bool faas_tls_can_read(struct faas_link *link);
/* Of the same: sends what is encrypted.  False: the socket takes no more of it, or is broken. */
bool faas_tls_send(struct faas_link *link);
/* What an operator has to change, behind a try of this thread; NULL: it may pass by itself. */
const char *faas_tls_trouble(natsStatus status, const char *why);

/* ---- sub.c; bus->mu is held ---- */
natsStatus faas_subs_begin(struct faas_bus_lane *lane, natsConnection *nc);
void faas_subs_end(struct faas_bus_lane *lane);
/* bus->mu is not held: */
void faas_subs_deliver(struct faas_link *link);
void faas_subs_close(faas_bus *bus);

#endif
