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

#define URLS_MAX         16
#define DELIVERY_THREADS 4
#define CLOSE_GRACE_MS   1000
#define RECONNECT_BUFFER (8 * 1024 * 1024)
#define DEFAULT_PAYLOAD  (1024 * 1024)
#define LOCK_SPINS       0 /* libnats holds its locks over write(2): spinning took 9 % of a gateway */

static const char *const lane_names[FAAS_LANES] = {"data", "control"};

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

/* ---- callbacks: on libnats threads ---- */

static void set_state(struct faas_bus_lane *lane, enum faas_lane_state state)
{
    pthread_mutex_lock(&lane->bus->mu);
    atomic_store(&lane->state, state);
    pthread_cond_broadcast(&lane->bus->changed);
    pthread_mutex_unlock(&lane->bus->mu);
}

static void lane_is_back(void *arg)
{
    struct faas_bus_lane *lane = arg;
    faas_bus *bus = lane->bus;
    struct faas_bus_watch *watch, *next;

    if (!atomic_load(&bus->is_closing)) {
        for (watch = LIST_FIRST(&bus->watches); watch != NULL; watch = next) {
            next = LIST_NEXT(watch, link);
            if (&bus->lanes[watch->lane] == lane)
                watch->task(watch->arg);
        }
    }
    faas_bus_unref(bus);
}

static void lane_is_lost(void *arg)
{
    struct faas_bus_lane *lane = arg;
    faas_bus *bus = lane->bus;

    if (!atomic_load(&bus->is_closing)) {
        bus->is_lost = true;
        faas_loop_stop(bus->loop);
    }
    faas_bus_unref(bus);
}

static const char *name_of(const struct faas_bus_lane *lane)
{
    return lane_names[lane - lane->bus->lanes];
}

static void on_connected(natsConnection *nc, void *closure)
{
    struct faas_bus_lane *lane = closure;

    (void)nc;
    set_state(lane, FAAS_LANE_UP);
    FAAS_LOG(INFO, "bus connected", FAAS_LSTR("lane", name_of(lane)));
    faas_bus_ref(lane->bus);
    faas_loop_post(lane->bus->loop, lane_is_back, lane);
}

static void on_disconnected(natsConnection *nc, void *closure)
{
    struct faas_bus_lane *lane = closure;

    (void)nc;
    set_state(lane, FAAS_LANE_DOWN);
    if (!atomic_load(&lane->bus->is_closing))
        FAAS_LOG(WARN, "bus disconnected", FAAS_LSTR("lane", name_of(lane)));
}

static void on_closed(natsConnection *nc, void *closure)
{
    struct faas_bus_lane *lane = closure;
    faas_bus *bus = lane->bus;
    const char *why = NULL;

    if (!atomic_load(&bus->is_closing)) {
        natsConnection_GetLastError(nc, &why);
        FAAS_LOG(ERROR, "bus connection closed for good", FAAS_LSTR("lane", name_of(lane)),
                 FAAS_LSTR("detail", why != NULL ? why : ""));
        faas_bus_ref(bus);
        faas_loop_post(bus->loop, lane_is_lost, lane);
    }
    /* The last touch: faas_bus_close() may free the bus from here on. */
    set_state(lane, FAAS_LANE_CLOSED);
}

static void on_error(natsConnection *nc, natsSubscription *ns, natsStatus status, void *closure)
{
    struct faas_bus_lane *lane = closure;
    const char *why = NULL;

    (void)ns;
    natsConnection_GetLastError(nc, &why);
    if (status == NATS_NOT_PERMITTED)
        FAAS_LOG(ERROR, "bus permission violated: the deployment's keys or allow-lists are wrong",
                 FAAS_LSTR("lane", name_of(lane)), FAAS_LSTR("detail", why != NULL ? why : ""));
    else
        FAAS_LOG(WARN, "bus error", FAAS_LSTR("lane", name_of(lane)),
                 FAAS_LSTR("status", natsStatus_GetText(status)),
                 FAAS_LSTR("detail", why != NULL ? why : ""));
}

static void on_lame_duck(natsConnection *nc, void *closure)
{
    const struct faas_bus_lane *lane = closure;

    (void)nc;
    FAAS_LOG(INFO, "bus server is going away, moving to another", FAAS_LSTR("lane", name_of(lane)));
}

/* Signs the server's nonce; the seed is in memory only while it is needed. */
static natsStatus on_sign(char **out_why, unsigned char **out_signature, int *out_len,
                          const char *nonce, void *closure)
{
    const struct faas_bus_lane *lane = closure;
    unsigned char *signature = malloc(FAAS_NKEY_SIGNATURE); /* libnats frees it */
    char seed[FAAS_NKEY_SEED_TEXT];
    faas_err err = {0};
    faas_code rc;

    (void)out_why;
    if (signature == NULL)
        return NATS_NO_MEMORY;
    rc = faas_nkey_read(lane->bus->nkey_file, seed, &err);
    if (rc == FAAS_OK)
        rc = faas_nkey_sign(seed, nonce, signature, &err);
    sodium_memzero(seed, sizeof seed);
    if (rc != FAAS_OK) {
        FAAS_LOG(ERROR, "cannot sign in with the bus key", FAAS_LSTR("error", err.msg),
                 FAAS_LSTR("detail", err.detail));
        free(signature);
        return NATS_ERR;
    }
    *out_signature = signature;
    *out_len = FAAS_NKEY_SIGNATURE;
    return NATS_OK;
}

/* ---- opening ---- */

static natsStatus set_servers(natsOptions *opts, const char *urls)
{
    char *list = strdup(urls);
    const char *servers[URLS_MAX];
    int count = 0;
    char *save = NULL;
    natsStatus status;

    if (list == NULL)
        return NATS_NO_MEMORY;
    for (char *url = strtok_r(list, ", ", &save); url != NULL && count < URLS_MAX;
         url = strtok_r(NULL, ", ", &save))
        servers[count++] = url;
    status = count > 0 ? natsOptions_SetServers(opts, servers, count) : NATS_INVALID_ARG;
    free(list);
    return status;
}

#define DO(call)                                                                                   \
    do {                                                                                           \
        natsStatus status_ = (call);                                                               \
        if (status_ != NATS_OK)                                                                    \
            return status_;                                                                        \
    } while (0)

static natsStatus set_callbacks(natsOptions *opts, struct faas_bus_lane *lane)
{
    DO(natsOptions_SetRetryOnFailedConnect(opts, true, on_connected, lane));
    DO(natsOptions_SetDisconnectedCB(opts, on_disconnected, lane));
    DO(natsOptions_SetReconnectedCB(opts, on_connected, lane));
    DO(natsOptions_SetClosedCB(opts, on_closed, lane));
    DO(natsOptions_SetErrorHandler(opts, on_error, lane));
    return natsOptions_SetLameDuckModeCB(opts, on_lame_duck, lane);
}

/* The measured recipe: find another server within milliseconds, give up never, send at once. */
static natsStatus set_recipe(natsOptions *opts)
{
    DO(natsOptions_SetNoRandomize(opts, false));
    DO(natsOptions_SetMaxReconnect(opts, -1));
    DO(natsOptions_SetReconnectWait(opts, 25));
    DO(natsOptions_SetReconnectJitter(opts, 25, 25));
    DO(natsOptions_SetReconnectBufSize(opts, RECONNECT_BUFFER));
    DO(natsOptions_SetTimeout(opts, 300));
    DO(natsOptions_SetPingInterval(opts, 200));
    DO(natsOptions_SetMaxPingsOut(opts, 2));
    DO(natsOptions_SetWriteDeadline(opts, 1000));
    DO(natsOptions_SetSendAsap(opts, true));
    return natsOptions_UseGlobalMessageDelivery(opts, true);
}

static natsStatus set_identity(natsOptions *opts, const struct faas_bus_conf *conf,
                               struct faas_bus_lane *lane, const char *public_key)
{
    char name[128];

    (void)snprintf(name, sizeof name, "%s-%s-%s", conf->service, conf->id, name_of(lane));
    DO(natsOptions_SetName(opts, name));
    (void)snprintf(name, sizeof name, "_INBOX_%s", conf->service);
    DO(natsOptions_SetCustomInboxPrefix(opts, name));
    if (public_key[0] != '\0')
        DO(natsOptions_SetNKey(opts, public_key, on_sign, lane));
    if (conf->ca_file != NULL && conf->ca_file[0] != '\0') {
        DO(natsOptions_SetSecure(opts, true));
        DO(natsOptions_LoadCATrustedCertificates(opts, conf->ca_file));
    }
    return NATS_OK;
}

static natsStatus set_all(natsOptions *opts, const struct faas_bus_conf *conf,
                          struct faas_bus_lane *lane, const char *public_key)
{
    DO(set_servers(opts, conf->urls));
    DO(set_recipe(opts));
    DO(set_callbacks(opts, lane));
    return set_identity(opts, conf, lane, public_key);
}

static faas_code connect_lane(const struct faas_bus_conf *conf, struct faas_bus_lane *lane,
                              const char *public_key, faas_err *err)
{
    natsOptions *opts = NULL;
    natsStatus status = natsOptions_Create(&opts);

    if (status == NATS_OK)
        status = set_all(opts, conf, lane, public_key);
    if (status == NATS_OK)
        status = natsConnection_Connect(&lane->nc, opts);
    natsOptions_Destroy(opts);
    if (status == NATS_OK)
        set_state(lane, FAAS_LANE_UP);
    if (status == NATS_OK || status == NATS_NOT_YET_CONNECTED)
        return FAAS_OK;
    lane->nc = NULL;
    atomic_store(&lane->state, FAAS_LANE_CLOSED);
    return faas_bus_status(status, "connect to the bus", err);
}

static faas_bus *bus_new(const struct faas_bus_conf *conf, faas_loop *loop)
{
    faas_bus *bus = calloc(1, sizeof *bus);
    pthread_condattr_t attr;
    char token[33];

    if (bus == NULL)
        return NULL;
    bus->loop = loop;
    for (int i = 0; i < FAAS_LANES; i++)
        bus->lanes[i].bus = bus;
    if (conf->nkey_file != NULL && conf->nkey_file[0] != '\0') {
        bus->nkey_file = strdup(conf->nkey_file);
        if (bus->nkey_file == NULL) {
            free(bus);
            return NULL;
        }
    }
    faas_random_token(token);
    (void)snprintf(bus->inbox, sizeof bus->inbox, "_INBOX_%.32s.%s", conf->service, token);
    LIST_INIT(&bus->watches);
    LIST_INIT(&bus->subs);
    atomic_init(&bus->refs, 1);
    pthread_mutex_init(&bus->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&bus->changed, &attr);
    pthread_condattr_destroy(&attr);
    return bus;
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
    FAAS_TRY(faas_bus_status(nats_SetMessageDeliveryPoolSize(DELIVERY_THREADS),
                             "start the delivery threads", err));
    bus = bus_new(conf, loop);
    if (bus == NULL)
        return faas_fail_sys(err, ENOMEM, "open the bus");
    for (int i = 0; i < FAAS_LANES; i++) {
        rc = connect_lane(conf, &bus->lanes[i], public_key, err);
        if (rc != FAAS_OK) {
            for (i++; i < FAAS_LANES; i++)
                atomic_store(&bus->lanes[i].state, FAAS_LANE_CLOSED);
            faas_bus_close(bus, 0);
            return rc;
        }
    }
    *out_bus = bus;
    return FAAS_OK;
}

/* ---- closing ---- */

static bool all_closed(const faas_bus *bus)
{
    for (int i = 0; i < FAAS_LANES; i++) {
        if (atomic_load(&bus->lanes[i].state) != FAAS_LANE_CLOSED)
            return false;
    }
    return bus->live_subs == 0;
}

/* True when both connections are closed and no subscription can deliver any more. */
static bool wait_closed(faas_bus *bus, int64_t ms)
{
    uint64_t deadline = faas_deadline_in_ms(ms);
    struct timespec until = {.tv_sec = (time_t)(deadline / FAAS_S_NS),
                             .tv_nsec = (long)(deadline % FAAS_S_NS)};
    bool is_done;

    pthread_mutex_lock(&bus->mu);
    while (!all_closed(bus)) {
        if (pthread_cond_timedwait(&bus->changed, &bus->mu, &until) != 0)
            break;
    }
    is_done = all_closed(bus);
    pthread_mutex_unlock(&bus->mu);
    return is_done;
}

void faas_bus_close(faas_bus *bus, int64_t drain_ms)
{
    if (bus == NULL)
        return;
    atomic_store(&bus->is_closing, true);
    for (int i = 0; i < FAAS_LANES; i++) {
        natsConnection *nc = bus->lanes[i].nc;

        if (nc == NULL)
            continue;
        if (drain_ms <= 0 || natsConnection_DrainTimeout(nc, drain_ms) != NATS_OK)
            natsConnection_Close(nc);
    }
    if (!wait_closed(bus, (drain_ms > 0 ? drain_ms : 0) + CLOSE_GRACE_MS)) {
        for (int i = 0; i < FAAS_LANES; i++) {
            if (bus->lanes[i].nc != NULL)
                natsConnection_Close(bus->lanes[i].nc);
        }
        if (!wait_closed(bus, CLOSE_GRACE_MS)) {
            /* A callback may still come: leaking the bus is safer than freeing it under one. */
            FAAS_LOG(WARN, "bus did not close in time");
            return;
        }
    }
    faas_bus_subs_destroy(bus);
    for (int i = 0; i < FAAS_LANES; i++) {
        natsConnection_Destroy(bus->lanes[i].nc);
        bus->lanes[i].nc = NULL;
    }
    faas_bus_unref(bus);
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
    pthread_cond_destroy(&bus->changed);
    free(bus->nkey_file);
    free(bus);
}

/* ---- state ---- */

bool faas_bus_lane_is_up(const faas_bus *bus, enum faas_lane lane)
{
    return atomic_load(&bus->lanes[lane].state) == FAAS_LANE_UP;
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
    int64_t max = natsConnection_GetMaxPayload(bus->lanes[FAAS_DATA].nc);

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

static faas_code publish_with_headers(natsConnection *nc, const struct faas_out *out, faas_err *err)
{
    natsMsg *nm = NULL;
    faas_code rc =
        faas_bus_status(natsMsg_Create(&nm, out->subject, out->reply, out->data, (int)out->len),
                        "make a message", err);

    if (rc == FAAS_OK)
        rc = add_headers(nm, out->headers, err);
    if (rc == FAAS_OK)
        rc = faas_bus_status(natsConnection_PublishMsg(nc, nm), out->subject, err);
    faas_bus_msg_done(nm);
    return rc;
}

faas_code faas_bus_publish(faas_bus *bus, enum faas_lane lane, const struct faas_out *out,
                           faas_err *err)
{
    natsConnection *nc = bus->lanes[lane].nc;
    size_t max = faas_bus_max_payload(bus);
    natsStatus status;

    if (out->len > max)
        return faas_fail(err, FAAS_TOO_LARGE,
                         "message of %zu bytes: the bus carries at most %zu bytes", out->len, max);
    if (out->headers != NULL)
        return publish_with_headers(nc, out, err);
    if (out->reply != NULL)
        status =
            natsConnection_PublishRequest(nc, out->subject, out->reply, out->data, (int)out->len);
    else
        status = natsConnection_Publish(nc, out->subject, out->data, (int)out->len);
    return faas_bus_status(status, out->subject, err);
}
