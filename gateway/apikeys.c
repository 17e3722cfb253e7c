#include "gateway/apikeys.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#define ASK_MS      3000
#define REFUSED     1024 /* remembered */
#define REFUSED_MS  10000
#define DUE_MAX     64 /* waiting to be asked for again */
#define DUE_S       1.0
#define TRIES       3 /* answers that an end has overtaken */
#define ADDRESS_MAX 16

struct known { /* immutable but for asked_ns */
    char id[FAAS_APIKEY_ID_TEXT], hash[FAAS_HASH_TEXT];
    struct faas_token_claims caller;
    struct faas_apikey_scope scope;
    int64_t ends;
    uint64_t asked_ns; /* the answer came, or another is due */
};
struct refused {
    char hash[FAAS_HASH_TEXT];
    uint64_t until_ns;
};
struct due {
    char id[FAAS_APIKEY_ID_TEXT], hash[FAAS_HASH_TEXT];
};

struct waiting {
    STAILQ_ENTRY(waiting) link;
    apikeys_done *done;
    void *arg;
};
STAILQ_HEAD(waitings, waiting);

struct ask { /* one question on its way */
    TAILQ_ENTRY(ask) link;
    struct apikeys *keys;
    char id[FAAS_APIKEY_ID_TEXT], hash[FAAS_HASH_TEXT];
    uint8_t address[ADDRESS_MAX];
    size_t address_len;
    int tries;
    struct waitings waiting;
};

struct apikeys {
    faas_rpc *rpc;
    struct revoked *revoked;
    struct apikeys_conf conf;

    pthread_mutex_t mu;   /* guards what follows */
    struct known **known; /* by the hash's first digits */
    struct refused refused[REFUSED];
    struct due due[DUE_MAX];
    size_t due_count;

    /* loop thread */
    ev_timer timer;
    TAILQ_HEAD(, ask) asks;
    size_t asking;
    bool is_stopped;
};

/* ---- what is known ---- */

static uint64_t index_of(const char *hash)
{
    char digits[16];

    (void)snprintf(digits, sizeof digits, "%.15s", hash);
    return strtoull(digits, NULL, 16);
}

static struct known **place_of(struct apikeys *keys, const char *hash)
{
    return &keys->known[index_of(hash) % keys->conf.entries];
}

static bool is_same(const char *a, const char *b)
{
    return sodium_memcmp(a, b, FAAS_HASH_TEXT) == 0;
}

/* mu is held.  A full list: it is used again, and asked for then. */
static void make_due(struct apikeys *keys, struct known *known, uint64_t now_ns)
{
    struct due *due;

    if (now_ns < known->asked_ns + (uint64_t)keys->conf.fresh_ms * FAAS_MS_NS ||
        keys->due_count == DUE_MAX)
        return;
    due = &keys->due[keys->due_count++];
    memcpy(due->id, known->id, sizeof due->id);
    memcpy(due->hash, known->hash, sizeof due->hash);
    known->asked_ns = now_ns;
}

static struct gw_key *key_of(const struct known *known)
{
    struct gw_key *key = calloc(1, sizeof *key);

    if (key == NULL)
        return NULL;
    memcpy(key->id, known->id, sizeof key->id);
    key->scope = known->scope;
    return key;
}

/* mu is held. */
static enum apikeys_known look(struct apikeys *keys, const char *id, const char *hash,
                               struct faas_token_claims *out_caller, struct gw_key **out_key)
{
    struct known *known = *place_of(keys, hash);
    const struct refused *refused = &keys->refused[index_of(hash) % REFUSED];
    uint64_t now_ns = faas_now_ns();
    struct faas_standing standing;

    if (known != NULL && is_same(known->hash, hash) && strcmp(known->id, id) == 0) {
        revoked_standing(keys->revoked, known->caller.user, &standing);
        if (standing.is_disabled)
            return standing.is_deleted ? APIKEYS_REFUSED : APIKEYS_DISABLED;
        if (revoked_keys(keys->revoked, known->caller.user) > known->ends)
            return APIKEYS_UNKNOWN;
        *out_key = key_of(known);
        *out_caller = known->caller;
        make_due(keys, known, now_ns);
        return *out_key != NULL ? APIKEYS_KNOWN : APIKEYS_UNKNOWN;
    }
    return now_ns < refused->until_ns && is_same(refused->hash, hash) ? APIKEYS_REFUSED
                                                                      : APIKEYS_UNKNOWN;
}

enum apikeys_known apikeys_look(struct apikeys *keys, const char *id, const char *hash,
                                struct faas_token_claims *out_caller, struct gw_key **out_key)
{
    enum apikeys_known result;

    pthread_mutex_lock(&keys->mu);
    result = look(keys, id, hash, out_caller, out_key);
    pthread_mutex_unlock(&keys->mu);
    return result;
}

static void keep(struct apikeys *keys, struct known *take_known)
{
    struct known **place = place_of(keys, take_known->hash), *old;

    pthread_mutex_lock(&keys->mu);
    old = *place;
    *place = take_known;
    pthread_mutex_unlock(&keys->mu);
    free(old);
}

static void forget(struct apikeys *keys, const char *hash)
{
    struct known **place = place_of(keys, hash), *old = NULL;
    struct refused *refused = &keys->refused[index_of(hash) % REFUSED];

    pthread_mutex_lock(&keys->mu);
    if (*place != NULL && is_same((*place)->hash, hash)) {
        old = *place;
        *place = NULL;
    }
    memcpy(refused->hash, hash, sizeof refused->hash);
    refused->until_ns = faas_deadline_in_ms(REFUSED_MS);
    pthread_mutex_unlock(&keys->mu);
    free(old);
}

/* ---- answers ---- */

struct told {
    const char *user, *tenant, *username;
    int64_t expires_at, ends;
    json_t *verbs, *functions;
};

static faas_code read_answer(const struct ask *ask, const faas_msg *msg, struct known **out_known,
                             faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct told, user, "user", 36, 36, true),
        FAAS_FIELD(STR, struct told, tenant, "tenant", 36, 36, true),
        FAAS_FIELD(STR, struct told, username, "username", 1, FAAS_USER_NAME_MAX, true),
        FAAS_FIELD(INT, struct told, expires_at, "expires_at", 0, 0, true),
        FAAS_FIELD(INT, struct told, ends, "ends", 0, 0, true),
        FAAS_FIELD(ANY, struct told, verbs, "verbs", 0, 0, true),
        FAAS_FIELD(ANY, struct told, functions, "functions", 0, 0, true),
        FAAS_FIELD_END,
    };
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(void) *owned = NULL;
    struct told told = {0};
    struct known *known = owned = calloc(1, sizeof *known);

    if (known == NULL)
        return faas_fail_sys(err, errno, "an API key");
    FAAS_TRY(faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, err));
    FAAS_TRY(faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, &told, err));
    FAAS_TRY(
        faas_apikey_scope_read(told.verbs, told.functions, FAAS_JSON_TOLERANT, &known->scope, err));
    memcpy(known->id, ask->id, sizeof known->id);
    memcpy(known->hash, ask->hash, sizeof known->hash);
    (void)snprintf(known->caller.user, sizeof known->caller.user, "%s", told.user);
    (void)snprintf(known->caller.tenant, sizeof known->caller.tenant, "%s", told.tenant);
    (void)snprintf(known->caller.username, sizeof known->caller.username, "%s", told.username);
    known->caller.expires_at = told.expires_at;
    known->ends = told.ends;
    known->asked_ns = faas_now_ns();
    *out_known = FAAS_STEAL(owned);
    return FAAS_OK;
}

/* The ask ends; known NULL: err says why. */
static void answer(struct ask *ask, const struct known *known, const faas_err *err)
{
    static const faas_err fine = {.code = FAAS_OK};
    static const faas_err no_memory = {.code = FAAS_INTERNAL, .msg = "internal error"};
    struct waiting *waiting;

    TAILQ_REMOVE(&ask->keys->asks, ask, link);
    ask->keys->asking--;
    while ((waiting = STAILQ_FIRST(&ask->waiting)) != NULL) {
        struct gw_key *key = known != NULL ? key_of(known) : NULL;
        const faas_err *why = key != NULL ? &fine : known != NULL ? &no_memory : err;

        STAILQ_REMOVE_HEAD(&ask->waiting, link);
        waiting->done(waiting->arg, why->code, known != NULL ? &known->caller : NULL, key, why);
        free(waiting);
    }
    free(ask);
}

static void send(struct ask *ask);

static void take_answer(struct ask *ask, const faas_msg *msg)
{
    struct known *known = NULL;
    faas_err err = {0};

    if (read_answer(ask, msg, &known, &err) != FAAS_OK) {
        FAAS_LOG(ERROR, "what auth says of an API key cannot be read", FAAS_LSTR("key", ask->id),
                 FAAS_LSTR("error", err.msg), FAAS_LSTR("detail", err.detail));
        (void)faas_fail(&err, FAAS_INTERNAL, "internal error");
        answer(ask, NULL, &err);
    } else if (revoked_keys(ask->keys->revoked, known->caller.user) <= known->ends) {
        keep(ask->keys, known);
        answer(ask, known, NULL);
    } else if (free(known), ++ask->tries < TRIES) {
        send(ask);
    } else {
        (void)faas_fail(&err, FAAS_UNAVAILABLE, "API keys of this user are being ended; try again");
        answer(ask, NULL, &err);
    }
}

static void on_reply(void *arg, const struct faas_rpc_reply *reply)
{
    struct ask *ask = arg;
    struct apikeys *keys = ask->keys;
    faas_err err = {0};

    if (keys->is_stopped) { /* whoever waited has been told */
        free(ask);
        return;
    }
    if (reply->code == FAAS_OK) {
        take_answer(ask, reply->msg);
        return;
    }
    if (reply->code == FAAS_UNAUTHENTICATED && reply->msg != NULL) {
        forget(keys, ask->hash);
        if (!STAILQ_EMPTY(&ask->waiting) && ask->address_len > 0) {
            int64_t wait_s =
                rate_take(keys->conf.bad, ask->address, ask->address_len, faas_now_ns());

            (void)wait_s; /* the next one hears of it */
        }
        (void)faas_fail(&err, FAAS_UNAUTHENTICATED, "there is no such API key");
    } else if (reply->code == FAAS_DENIED && reply->msg != NULL) {
        (void)faas_fail(&err, FAAS_DENIED, ACCESS_DISABLED);
    } else {
        (void)faas_fail(&err, FAAS_UNAVAILABLE,
                        "auth does not answer, so this API key cannot be checked; try again");
    }
    answer(ask, NULL, &err);
}

/* ---- questions ---- */

static void send(struct ask *ask)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(ASK_MS)};
    char body[256];
    struct faas_rpc_request req = {
        .subject = FAAS_SUBJ_AUTH_APIKEY_CHECK, .ctx = &ctx, .data = body, .retry = FAAS_RPC_SAFE};

    faas_uuid_new(ctx.id);
    req.len =
        (size_t)snprintf(body, sizeof body, "{\"id\":\"%s\",\"hash\":\"%s\"}", ask->id, ask->hash);
    faas_rpc_call(ask->keys->rpc, &req, on_reply, ask);
}

static struct ask *find_ask(struct apikeys *keys, const char *hash)
{
    struct ask *ask;

    TAILQ_FOREACH (ask, &keys->asks, link) {
        if (is_same(ask->hash, hash))
            return ask;
    }
    return NULL;
}

/* NULL: no memory. */
static struct ask *new_ask(struct apikeys *keys, const struct apikeys_question *question)
{
    struct ask *ask = calloc(1, sizeof *ask);

    if (ask == NULL)
        return NULL;
    ask->keys = keys;
    (void)snprintf(ask->id, sizeof ask->id, "%s", question->id);
    (void)snprintf(ask->hash, sizeof ask->hash, "%s", question->hash);
    ask->address_len = question->address_len < ADDRESS_MAX ? question->address_len : ADDRESS_MAX;
    if (ask->address_len > 0)
        memcpy(ask->address, question->address, ask->address_len);
    STAILQ_INIT(&ask->waiting);
    TAILQ_INSERT_TAIL(&keys->asks, ask, link);
    keys->asking++;
    return ask;
}

/* Each may turn out wrong, and is counted as such only then. */
static size_t asks_of(const struct apikeys *keys, const struct apikeys_question *question)
{
    const struct ask *ask;
    size_t count = 0;

    TAILQ_FOREACH (ask, &keys->asks, link)
        count += ask->address_len == question->address_len &&
                 memcmp(ask->address, question->address, ask->address_len) == 0;
    return count;
}

/* One more question, unless there are too many, or too many wrong keys came from that client. */
static faas_code begin(struct apikeys *keys, const struct apikeys_question *question,
                       struct ask **out_ask, faas_err *err)
{
    int64_t wait_s = 0;

    if (keys->is_stopped)
        return faas_fail(err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    if (question->address_len > 0)
        wait_s = rate_wait(keys->conf.bad, question->address, question->address_len, faas_now_ns());
    if (wait_s > 0)
        return faas_fail_busy(err, (int)wait_s,
                              "too many wrong API keys came from this address; try again in %lld s",
                              (long long)wait_s);
    if (question->address_len > 0 && asks_of(keys, question) >= APIKEYS_ASKS_ADDRESS)
        return faas_fail_busy(err, 1,
                              "too many API keys of this address are being checked; try again");
    if (keys->asking >= APIKEYS_ASKS)
        return faas_fail_busy(err, 1, "too many API keys are being checked; try again");
    *out_ask = new_ask(keys, question);
    return *out_ask != NULL ? FAAS_OK : faas_fail_sys(err, errno, "a question about an API key");
}

void apikeys_ask(struct apikeys *keys, const struct apikeys_question *question, apikeys_done *done,
                 void *arg)
{
    struct ask *ask = find_ask(keys, question->hash);
    bool is_new = ask == NULL || strcmp(ask->id, question->id) != 0;
    struct waiting *waiting = calloc(1, sizeof *waiting);
    faas_err err = {0};
    faas_code rc = waiting != NULL ? FAAS_OK : faas_fail_sys(&err, ENOMEM, "an API key");

    if (rc == FAAS_OK && is_new)
        rc = begin(keys, question, &ask, &err);
    if (rc != FAAS_OK) {
        free(waiting);
        done(arg, rc, NULL, NULL, &err);
        return;
    }
    waiting->done = done;
    waiting->arg = arg;
    STAILQ_INSERT_TAIL(&ask->waiting, waiting, link);
    if (is_new)
        send(ask);
}

/* What is used and was last asked for a while ago; nobody waits. */
static void on_due(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct apikeys *keys = timer->data;
    struct due batch[DUE_MAX];
    size_t count;

    (void)ev;
    (void)events;
    pthread_mutex_lock(&keys->mu);
    count = keys->due_count;
    memcpy(batch, keys->due, count * sizeof batch[0]);
    keys->due_count = 0;
    pthread_mutex_unlock(&keys->mu);
    for (size_t i = 0; i < count; i++) {
        const struct apikeys_question question = {.id = batch[i].id, .hash = batch[i].hash};
        struct ask *ask = NULL;

        if (find_ask(keys, batch[i].hash) == NULL && begin(keys, &question, &ask, NULL) == FAAS_OK)
            send(ask);
    }
}

/* ---- life ---- */

static struct ev_loop *loop_of(const struct apikeys *keys)
{
    return faas_loop_ev(faas_bus_loop(faas_rpc_bus(keys->rpc)));
}

faas_code apikeys_open(faas_rpc *rpc, struct revoked *revoked, const struct apikeys_conf *conf,
                       struct apikeys **out_keys, faas_err *err)
{
    struct apikeys *keys = calloc(1, sizeof *keys);

    if (keys == NULL)
        return faas_fail_sys(err, errno, "allocate API keys");
    keys->known = calloc(conf->entries, sizeof(struct known *));
    if (keys->known == NULL) {
        free(keys);
        return faas_fail_sys(err, ENOMEM, "allocate the cache of API keys");
    }
    keys->rpc = rpc;
    keys->revoked = revoked;
    keys->conf = *conf;
    pthread_mutex_init(&keys->mu, NULL);
    TAILQ_INIT(&keys->asks);
    ev_timer_init(&keys->timer, on_due, DUE_S, DUE_S);
    keys->timer.data = keys;
    *out_keys = keys;
    return FAAS_OK;
}

struct revoked *apikeys_revoked(struct apikeys *keys)
{
    return keys->revoked;
}

void apikeys_start(struct apikeys *keys)
{
    ev_timer_start(loop_of(keys), &keys->timer);
}

void apikeys_stop(struct apikeys *keys)
{
    struct ask *ask;
    struct waiting *waiting;
    faas_err err = {0};

    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    keys->is_stopped = true;
    ev_timer_stop(loop_of(keys), &keys->timer);
    while ((ask = TAILQ_FIRST(&keys->asks)) != NULL) { /* freed by its reply */
        TAILQ_REMOVE(&keys->asks, ask, link);
        while ((waiting = STAILQ_FIRST(&ask->waiting)) != NULL) {
            STAILQ_REMOVE_HEAD(&ask->waiting, link);
            waiting->done(waiting->arg, err.code, NULL, NULL, &err);
            free(waiting);
        }
    }
}

void apikeys_free(struct apikeys *keys)
{
    if (keys == NULL)
        return;
    for (size_t i = 0; i < keys->conf.entries; i++)
        free(keys->known[i]);
    free(keys->known);
    pthread_mutex_destroy(&keys->mu);
    free(keys);
}
