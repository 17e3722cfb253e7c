/* rpc_internal.h - what rpc.c (client), rpc_serve.c (server) and service.c share beyond rpc.h.
 * Lifetime  a faas_rpc is counted: by its opener and by each call from faas_rpc_call() to done.
 * Threads   what is not marked otherwise belongs to the loop thread.
 */
#ifndef FAAS_RPC_INTERNAL_H
#define FAAS_RPC_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "contract.h"
#include "net/bus_internal.h"
#include "net/gather.h"
#include "net/rpc.h"

#define FAAS_RPC_BUCKETS  1024 /* power of two */
#define FAAS_RPC_TOKEN    36
#define FAAS_RPC_SRV_SUBS 9
#define FAAS_RPC_WAIT_MS  10000 /* for a request that names no time */

/* A token below the process's inbox and what waits there. */
struct faas_rpc_slot {
    LIST_ENTRY(faas_rpc_slot) link;
    char token[FAAS_RPC_TOKEN];
    bool is_inbox; /* struct faas_inbox; else struct pending (rpc.c) */
};
LIST_HEAD(faas_rpc_slots, faas_rpc_slot);

struct faas_inbox {
    struct faas_rpc_slot slot; /* first member */
    faas_rpc *rpc;
    char subject[160];
    faas_msg_handler *handler;
    void *arg;
};

/* A subject served. */
struct faas_rpc_end {
    TAILQ_ENTRY(faas_rpc_end) link;
    struct faas_endpoint row;
    faas_rpc *rpc;
    void *state;
    faas_sub *sub;
    char subject[FAAS_SUBJECT_MAX];
    _Atomic int64_t requests, errors, time_ns;
    pthread_mutex_t mu;
    char last_error[FAAS_ERR_MSG_MAX + 16]; /* guarded by mu */
};
TAILQ_HEAD(faas_rpc_ends, faas_rpc_end);

struct faas_rpc {
    faas_bus *bus;
    faas_loop *loop;
    struct faas_rpc_conf conf;
    _Atomic int refs;
    /* client */
    char inbox[FAAS_LANES][112]; /* without trailing dot */
    faas_sub *inbox_sub[FAAS_LANES];
    struct faas_bus_watch watch[FAAS_LANES];
    struct faas_rpc_slots slots[FAAS_RPC_BUCKETS];
    uint64_t next_token;
    uint64_t random;           /* state of the jitter */
    _Atomic bool is_cancelled; /* every call ends at once */
    /* server */
    struct faas_rpc_ends ends;
    faas_sub *srv_sub[FAAS_RPC_SRV_SUBS];
    char started[32];
    _Atomic int running; /* pool jobs not answered yet */
    _Atomic bool is_draining;
    struct faas_rpc_once *once; /* NULL: no such row */
    const char *epoch;          /* of this process; NULL: not told yet */
    int draining_subs;
    ev_timer drain_timer;
    faas_task *drained;
    void *drained_arg;
    struct faas_gather receipts; /* rpc_receipts.c */
};

/* ---- rpc_once.c ---- */
struct faas_rpc_once *faas_rpc_once_new(void);
void faas_rpc_once_free(struct faas_rpc_once *table);
/* Whether the request is to be carried out; else it was dealt with, and freed. */
bool faas_rpc_once_begin(struct faas_rpc_end *end, faas_msg *take_msg);
/* The answer to a request, for further copies of it; err NULL: data.  Any thread. */
void faas_rpc_once_keep(const faas_msg *msg, const faas_err *err, const void *data, size_t len);
/* Sends what was said before.  Any thread. */
void faas_rpc_send_again(faas_rpc *rpc, const faas_msg *msg, const faas_err *err, const void *data,
                         size_t len);

/* Every pending call ends with UNAVAILABLE, and so does each later one: the process is leaving. */
void faas_rpc_cancel_all(faas_rpc *rpc);

void faas_rpc_ref(faas_rpc *rpc);
void faas_rpc_unref(faas_rpc *rpc);
void faas_rpc_slot_add(faas_rpc *rpc, struct faas_rpc_slot *slot);
/* The handler of the process's inbox. */
void faas_rpc_on_inbox(void *arg, faas_msg *take_msg);
/* A connection came back: SAFE requests on their way over the old one are sent again. */
void faas_rpc_resend(faas_rpc *rpc, enum faas_lane lane);
/* Every pending call's done runs now: nobody may run the loop again. */
void faas_rpc_conclude_all(faas_rpc *rpc);

/* rpc_receipts.c */
bool faas_rpc_receipts_are(const char *token);
void faas_rpc_receipts_take(faas_rpc *rpc, faas_msg *msg); /* borrowed */
/* One request got its receipt, in msg (borrowed). */
void faas_rpc_receipt(faas_rpc *rpc, const char *token, faas_msg *msg);

/* rpc_serve.c: of the endpoint that msg came to. */
enum faas_lane faas_rpc_lane_of(const faas_msg *msg);
void faas_rpc_count(const faas_msg *msg); /* the time it took, in STATS */

faas_code faas_rpc_srv_open(faas_rpc *rpc, faas_err *err); /* $SRV subjects */
void faas_rpc_serve_close(faas_rpc *rpc);
/* rpc_srv.c: the replies of ADR-32; new references, NULL without memory. */
json_t *faas_rpc_srv_ping(const faas_rpc *rpc);
json_t *faas_rpc_srv_info(const faas_rpc *rpc);
json_t *faas_rpc_srv_stats(const faas_rpc *rpc);

/* Timers count from the loop's cached time, which may be old: a timer can fire that much early, so
 * whoever sets one looks at the clock again when it fires. */
static inline double faas_rpc_seconds_until(uint64_t at_ns, uint64_t now_ns)
{
    return at_ns > now_ns ? (double)(at_ns - now_ns) / 1e9 : 0.0;
}

#endif
