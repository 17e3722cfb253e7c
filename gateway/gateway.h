/* gateway.h - the state of this program and the road of a request through its files.
 * Road      http.c reads the head -> main.c: routes, access -> the body -> forward.c (one bus
 *           request), listing.c, invoke.c (a call) or status.c; problem.c for whatever fails.
 * Threads   http.c says which thread runs what; the lists here belong to the loop thread.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "gateway/access.h"
#include "gateway/http.h"
#include "gateway/rate.h"
#include "gateway/status.h"
#include "net/gather.h"
#include "service.h"

struct behalf;
struct forward;
struct invoke;
struct listing;
struct queued;
struct question;
struct quota;
struct result;
struct scrape;

struct gateway {
    struct {
        char *listen, *server_address, *spill_dir, *listen_tls, *cert_file, *key_file,
            *metrics_listen;
        int64_t connections, per_address, threads, head_kb, idle_s, stall_s, read_ms, token_cache,
            key_fresh_s;
        int64_t body_mb, bodies_mb;
        int64_t rate_user, rate_calls, rate_address, rate_bad_keys, rate_burst_s;
    } conf;
    const struct faas_runtime *rt;
    http_server *http;
    struct scrape *scrape; /* NULL: nobody may ask for figures */
    struct access *access;
    faas_kv *revocations;
    struct status status;
    struct rate *users, *addresses;   /* requests allowed */
    struct rate *calls;               /* calls allowed to users */
    _Atomic int64_t large_unknown;    /* bodies (admit.h) */
    struct rate *bad_keys;            /* wrong API keys allowed */
    ev_timer share;                   /* of the limits */
    TAILQ_HEAD(, forward) forwards;   /* loop thread */
    TAILQ_HEAD(, invoke) invokes;     /* loop thread */
    TAILQ_HEAD(, listing) listings;   /* loop thread */
    TAILQ_HEAD(, behalf) behalfs;     /* loop thread */
    TAILQ_HEAD(, quota) quotas;       /* loop thread */
    TAILQ_HEAD(, queued) queued;      /* loop thread */
    TAILQ_HEAD(, question) questions; /* loop thread */
    TAILQ_HEAD(, result) results;     /* loop thread */
    int64_t running;                  /* invokes; loop thread */
    struct faas_gather credits;       /* of results that have arrived; loop thread */
    ev_timer drain;
    uint64_t shut_ns; /* until then the door may stay open */
    uint64_t kept_ns; /* ... for connections that are kept, and silent */
    ev_signal renew;
    bool is_open; /* loop thread: what start() makes on its own thread is there */
    bool is_stopped;
};

#endif
