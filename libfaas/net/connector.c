/* A lane's own thread, for what blocks in libnats: connecting, the last flush, closing.  It knows the
 * options of BUS.md's measured recipe: find another server within milliseconds, give up never. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/bus_internal.h"
#include "net/nkey.h"

#define URLS_MAX     16
#define CONNECT_MS   300 /* to one server */
#define TLS_MS       700 /* besides, to agree on keys while processors are busy */
#define PING_MS      200
#define PAUSE_MIN_MS 25 /* after all servers were tried */
#define PAUSE_MAX_MS 50
#define SERVER_ID    64
#define REFUSED_MAX  2 /* logins refused one after the other: our key does not count any more */

/* From libnats 3.9 on the descriptor of an event loop's connection is the loop's to close. */
extern void natsConnection_ProcessCloseEvent(natsSock *fd) __attribute__((weak));
/* Exported by libnats (3.4 to 3.10) though not in its header.  Without it nobody would be told that
 * nobody listens, and requests would wait for their time. */
extern void natsConn_setFilterWithClosure(natsConnection *nc,
                                          void (*filter)(natsConnection *, natsMsg **, void *),
                                          void *closure) __attribute__((weak));

/* ---- callbacks: on threads of libnats ---- */

static void link_unref(struct faas_link *link)
{
    if (atomic_fetch_sub(&link->refs, 1) == 1) {
        faas_tls_free(link->tls);
        free(link);
    }
}

static void on_closed(natsConnection *nc, void *closure)
{
    struct faas_link *link = closure;
    faas_bus *bus = link->lane->bus;

    (void)nc;
    link_unref(link);
    pthread_mutex_lock(&bus->mu);
    bus->live_links--;
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->mu); /* the last touch: faas_bus_close() may free the bus now */
}

static void on_error(natsConnection *nc, natsSubscription *ns, natsStatus status, void *closure)
{
    const struct faas_link *link = closure;
    const char *why = NULL;

    (void)ns;
    natsConnection_GetLastError(nc, &why);
    /* A server lets a connection answer what it brought there itself, for a while. */
    if (status == NATS_NOT_PERMITTED && why != NULL && strstr(why, "Publish to \"_INBOX_") != NULL)
        FAAS_LOG(WARN, "an answer was not sent: its question came by another connection",
                 FAAS_LSTR("lane", faas_lane_name(link->lane)), FAAS_LSTR("detail", why));
    else if (status == NATS_NOT_PERMITTED)
        FAAS_LOG(ERROR, "bus permission violated: the deployment's keys or allow-lists are wrong",
                 FAAS_LSTR("lane", faas_lane_name(link->lane)),
                 FAAS_LSTR("detail", why != NULL ? why : ""));
    else
        FAAS_LOG(WARN, "bus error", FAAS_LSTR("lane", faas_lane_name(link->lane)),
                 FAAS_LSTR("status", natsStatus_GetText(status)),
                 FAAS_LSTR("detail", why != NULL ? why : ""));
}

static void on_lame_duck(natsConnection *nc, void *closure)
{
    const struct faas_link *link = closure;

    (void)nc;
    FAAS_LOG(INFO, "bus server is going away, moving to another",
             FAAS_LSTR("lane", faas_lane_name(link->lane)));
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

/* ---- options ---- */

#define DO(call)                                                                                   \
    do {                                                                                           \
        natsStatus status_ = (call);                                                               \
        if (status_ != NATS_OK)                                                                    \
            return status_;                                                                        \
    } while (0)

static const char *without_scheme(const char *url)
{
    const char *rest = strstr(url, "://");

    return rest != NULL ? rest + 3 : url;
}

static void swap(const char **a, const char **b)
{
    const char *kept = *a;

    *a = *b;
    *b = kept;
}

/* In random order, but the one that was left comes last: one that hangs would cost CONNECT_MS. */
static void shuffle(const char **servers, int count, const char *left)
{
    for (int i = count - 1; i > 0; i--)
        swap(&servers[i], &servers[randombytes_uniform((uint32_t)i + 1)]);
    for (int i = 0; i < count; i++)
        if (strcmp(without_scheme(servers[i]), without_scheme(left)) == 0)
            swap(&servers[i], &servers[count - 1]);
}

static natsStatus set_servers(struct faas_bus_lane *lane, const char *left)
{
    char *list = strdup(lane->urls);
    const char *servers[URLS_MAX];
    int count = 0;
    char *save = NULL;
    natsStatus status;

    if (list == NULL)
        return NATS_NO_MEMORY;
    for (char *url = strtok_r(list, ", ", &save); url != NULL && count < URLS_MAX;
         url = strtok_r(NULL, ", ", &save))
        servers[count++] = url;
    shuffle(servers, count, left);
    status = count > 0 ? natsOptions_SetServers(lane->opts, servers, count) : NATS_INVALID_ARG;
    free(list);
    return status;
}

/* libnats sends the pings; whether something comes back is looked at by the lane. */
static natsStatus set_recipe(natsOptions *opts)
{
    DO(natsOptions_SetNoRandomize(opts, true)); /* set_servers() does */
    DO(natsOptions_SetAllowReconnect(opts, false));
    DO(natsOptions_SetTimeout(opts, CONNECT_MS));
    DO(natsOptions_SetPingInterval(opts, PING_MS));
    DO(natsOptions_SetMaxPingsOut(opts, INT32_MAX));
    return natsOptions_SetSendAsap(opts, true); /* no flusher thread: the loop writes */
}

static natsStatus set_identity(natsOptions *opts, const struct faas_bus_conf *conf,
                               struct faas_bus_lane *lane, const char *public_key)
{
    char name[128];

    (void)snprintf(name, sizeof name, "%s-%s-%s", conf->service, conf->id, faas_lane_name(lane));
    DO(natsOptions_SetName(opts, name));
    if (public_key[0] != '\0')
        DO(natsOptions_SetNKey(opts, public_key, on_sign, lane));
    if (conf->ca_file != NULL && conf->ca_file[0] != '\0')
        DO(natsOptions_SetTimeout(opts, CONNECT_MS + TLS_MS));
    return NATS_OK;
}

static natsStatus set_link(natsOptions *opts, struct faas_link *link)
{
    DO(natsOptions_SetEventLoop(opts, link, faas_lane_on_attach, faas_lane_on_read,
                                faas_lane_on_write, faas_lane_on_detach));
    DO(natsOptions_SetClosedCB(opts, on_closed, link));
    DO(natsOptions_SetErrorHandler(opts, on_error, link));
    return natsOptions_SetLameDuckModeCB(opts, on_lame_duck, link);
}

/* ---- making and ending a connection ---- */

static void note_server(struct faas_link *link)
{
    char id[SERVER_ID];

    if (natsConnection_GetConnectedServerId(link->nc, id, sizeof id) == NATS_OK)
        (void)snprintf(link->server, sizeof link->server, "%.*s", (int)sizeof link->server - 1, id);
    if (natsConnection_GetConnectedUrl(link->nc, link->url, sizeof link->url) != NATS_OK)
        link->url[0] = '\0';
}

static natsStatus make(struct faas_bus_lane *lane, const char *left, struct faas_link **out_link)
{
    struct faas_link *link = calloc(1, sizeof *link);
    natsStatus status;

    if (link == NULL)
        return NATS_NO_MEMORY;
    link->lane = lane;
    link->fd = -1;
    atomic_init(&link->refs, 2);
    STAILQ_INIT(&link->unanswered);
    status = set_servers(lane, left);
    if (status == NATS_OK)
        status = set_link(lane->opts, link);
    if (status == NATS_OK)
        status = faas_tls_connect(link, lane->opts, CONNECT_MS + TLS_MS);
    if (status != NATS_OK) {
        free(link); /* no callback comes for what never was connected */
        return status;
    }
    if (natsConn_setFilterWithClosure != NULL)
        natsConn_setFilterWithClosure(link->nc, faas_lane_on_filter, link);
    note_server(link);
    *out_link = link;
    return NATS_OK;
}

static void end(struct faas_link *link)
{
    natsConnection_Destroy(link->nc);
    if (natsConnection_ProcessCloseEvent != NULL)
        natsConnection_ProcessCloseEvent(&link->fd);
    link_unref(link);
}

/* ---- the thread ---- */

static void is_refused(void *arg)
{
    struct faas_bus_lane *lane = arg;
    faas_bus *bus = lane->bus;

    if (!atomic_load(&bus->is_closing)) {
        bus->is_lost = true;
        faas_loop_stop(bus->loop);
    }
    faas_bus_unref(bus);
}

/* bus->mu is held, here and below; waiting and libnats go without it. */
static void note_failure(struct faas_bus_lane *lane, natsStatus status, int *refused)
{
    const char *why = nats_GetLastError(NULL); /* of this thread */
    const char *advice = faas_tls_trouble(status, why != NULL ? why : "");

    if (advice != NULL && advice != lane->advice)
        FAAS_LOG(ERROR, advice, FAAS_LSTR("lane", faas_lane_name(lane)), FAAS_LSTR("detail", why));
    lane->advice = advice;
    lane->tries++;
    lane->trouble = status;
    *refused = status == NATS_CONNECTION_AUTH_FAILED ? *refused + 1 : 0;
    if (*refused < REFUSED_MAX)
        return;
    FAAS_LOG(ERROR, "bus connection closed for good", FAAS_LSTR("lane", faas_lane_name(lane)),
             FAAS_LSTR("detail", natsStatus_GetText(status)));
    lane->is_wanted = false;
    atomic_store(&lane->state, FAAS_LANE_CLOSED);
    faas_bus_ref(lane->bus);
    faas_loop_post_with(lane->bus->loop, &lane->post, is_refused, lane);
}

/* Unless something comes up. */
static void pause_a_little(faas_bus *bus)
{
    uint64_t deadline =
        faas_deadline_in_ms(PAUSE_MIN_MS + randombytes_uniform(PAUSE_MAX_MS - PAUSE_MIN_MS + 1));
    struct timespec until = {.tv_sec = (time_t)(deadline / FAAS_S_NS),
                             .tv_nsec = (long)(deadline % FAAS_S_NS)};

    (void)pthread_cond_timedwait(&bus->work, &bus->mu, &until);
}

/* The loop takes it over; one that comes while the bus is closed has nobody who would. */
static void offer(struct faas_bus_lane *lane, struct faas_link *link)
{
    faas_bus *bus = lane->bus;

    bus->live_links++;
    lane->is_wanted = false;
    if (atomic_load(&bus->is_closing)) {
        STAILQ_INSERT_TAIL(&lane->retired, link, next);
        return;
    }
    lane->offer = link;
    faas_bus_ref(bus);
    faas_loop_post_with(bus->loop, &lane->post, faas_lane_adopt, lane);
}

static void try_to_connect(struct faas_bus_lane *lane, int *refused)
{
    faas_bus *bus = lane->bus;
    struct faas_link *link = NULL;
    char left[FAAS_BUS_URL];
    natsStatus status;

    memcpy(left, lane->left, sizeof left);
    pthread_mutex_unlock(&bus->mu);
    status = make(lane, left, &link);
    pthread_mutex_lock(&bus->mu);
    if (status == NATS_OK) {
        lane->tries = *refused = 0;
        lane->advice = NULL;
        offer(lane, link);
    } else {
        note_failure(lane, status, refused);
    }
    pthread_cond_broadcast(&bus->changed);
    if (status != NATS_OK && lane->is_wanted)
        pause_a_little(bus);
}

static void end_one(struct faas_bus_lane *lane)
{
    struct faas_link *link = STAILQ_FIRST(&lane->retired);

    STAILQ_REMOVE_HEAD(&lane->retired, next);
    pthread_mutex_unlock(&lane->bus->mu);
    end(link);
    pthread_mutex_lock(&lane->bus->mu);
}

static void flush(struct faas_bus_lane *lane)
{
    pthread_mutex_unlock(&lane->bus->mu);
    (void)natsConnection_FlushTimeout(lane->flushing, lane->flush_ms);
    pthread_mutex_lock(&lane->bus->mu);
    lane->flushing = NULL;
    faas_loop_stop(lane->bus->loop); /* where faas_bus_close() waits for it */
}

static void *serve(void *arg)
{
    struct faas_bus_lane *lane = arg;
    faas_bus *bus = lane->bus;
    int refused = 0;

    pthread_mutex_lock(&bus->mu);
    for (;;) {
        if (lane->flushing != NULL)
            flush(lane);
        else if (lane->is_wanted && !atomic_load(&bus->is_closing))
            try_to_connect(lane, &refused);
        else if (!STAILQ_EMPTY(&lane->retired))
            end_one(lane); /* it may take a moment: another one comes first */
        else if (lane->is_ended)
            break;
        else
            pthread_cond_wait(&bus->work, &bus->mu);
    }
    pthread_mutex_unlock(&bus->mu);
    return NULL;
}

faas_code faas_connector_start(struct faas_bus_lane *lane, const struct faas_bus_conf *conf,
                               const char *public_key, faas_err *err)
{
    natsStatus status = natsOptions_Create(&lane->opts);
    int rc;

    lane->urls = strdup(conf->urls);
    if (lane->urls == NULL)
        return faas_fail_sys(err, ENOMEM, "connect to the bus");
    if (status == NATS_OK)
        status = set_servers(lane, ""); /* what is wrong with them is told at once */
    if (status == NATS_OK)
        status = set_recipe(lane->opts);
    if (status == NATS_OK)
        status = set_identity(lane->opts, conf, lane, public_key);
    FAAS_TRY(faas_bus_status(status, "connect to the bus", err));
    FAAS_TRY(faas_tls_set(lane->opts, conf, err));
    lane->is_wanted = true;
    rc = pthread_create(&lane->connector, NULL, serve, lane);
    if (rc != 0)
        return faas_fail_sys(err, rc, "start a thread");
    lane->has_connector = true;
    return FAAS_OK;
}

void faas_connector_join(struct faas_bus_lane *lane)
{
    faas_bus *bus = lane->bus;

    pthread_mutex_lock(&bus->mu);
    lane->is_ended = true;
    pthread_cond_broadcast(&bus->work);
    pthread_mutex_unlock(&bus->mu);
    if (lane->has_connector)
        pthread_join(lane->connector, NULL);
    natsOptions_Destroy(lane->opts);
    lane->opts = NULL;
    free(lane->urls);
    lane->urls = NULL;
}
