#include "gateway/access.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"
#include "gateway/access_key.h"
#include "gateway/revoked.h"

#define FETCH_MS       30000
#define FETCH_RETRY_MS 300  /* until the first keys are there */
#define FETCH_GAP_MS   1000 /* between fetches that tokens ask for */
#define FETCH_WAIT_MS  3000
#define BEGIN_MS       3000 /* after its start a gateway makes requests wait so long, not fail */
#define BEGIN_LOOK_S   0.01
#define KID_TEXT       64
#define HASH_BYTES     32

struct entry {
    uint8_t hash[HASH_BYTES]; /* of the token's text */
    uint64_t generation;      /* of the keys; 0: empty */
    struct faas_token_claims claims;
};

struct waiting {
    STAILQ_ENTRY(waiting) link;
    struct access_question question;
    access_done *done;
    void *arg;
};
STAILQ_HEAD(waitings, waiting);

struct access {
    faas_rpc *rpc;
    uint8_t hash_key[crypto_generichash_KEYBYTES];

    pthread_rwlock_t lock; /* guards the keys: verifier, kids, generation */
    faas_token_verifier *verifier;
    char kids[FAAS_TOKEN_KEYS][KID_TEXT];
    uint64_t generation;

    pthread_mutex_t mu; /* guards the cache */
    struct entry *cache;
    size_t entries;

    struct revoked revoked;
    struct apikeys *apikeys;
    _Atomic(faas_feed *) feed; /* of the revocations; NULL until it was started */
    faas_task *on_applied;     /* immutable once feed is set */
    void *on_applied_arg;

    uint64_t begin_by_ns; /* until when requests may wait for the first keys and revocations */

    /* loop thread */
    ev_timer timer, begin;
    json_t *keys;      /* the newest array of them; NULL before the first */
    uint64_t revision; /* of the bucket, when they were written; 0: not said */
    uint64_t fetched_ns;
    bool is_fetching, is_stopped;
    struct waitings waiting;
};

/* ---- the cache ---- */

static struct entry *slot_of(struct access *access, const uint8_t hash[HASH_BYTES])
{
    uint64_t index;

    memcpy(&index, hash, sizeof index);
    return &access->cache[index % access->entries];
}

static bool recall(struct access *access, const uint8_t hash[HASH_BYTES], uint64_t generation,
                   struct faas_token_claims *out_claims)
{
    struct entry *entry = slot_of(access, hash);
    bool is_hit;

    pthread_mutex_lock(&access->mu);
    is_hit = entry->generation == generation && sodium_memcmp(entry->hash, hash, HASH_BYTES) == 0;
    if (is_hit)
        *out_claims = entry->claims;
    pthread_mutex_unlock(&access->mu);
    return is_hit;
}

static void remember(struct access *access, const uint8_t hash[HASH_BYTES], uint64_t generation,
                     const struct faas_token_claims *claims)
{
    struct entry *entry = slot_of(access, hash);

    pthread_mutex_lock(&access->mu);
    memcpy(entry->hash, hash, HASH_BYTES);
    entry->generation = generation;
    entry->claims = *claims;
    pthread_mutex_unlock(&access->mu);
}

/* ---- one token ---- */

/* The key id that the token's header names; "" when it has none that could be ours. */
static void kid_of(const char *token, char out_kid[KID_TEXT])
{
    const char *dot = strchr(token, '.');
    unsigned char text[512];
    FAAS_AUTO(json_t) *doc = NULL;
    const char *kid;
    size_t len;

    out_kid[0] = '\0';
    if (dot == NULL ||
        sodium_base642bin(text, sizeof text, token, (size_t)(dot - token), NULL, &len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        faas_json_parse(text, len, false, &doc, NULL) != FAAS_OK)
        return;
    kid = json_string_value(json_object_get(doc, "kid"));
    if (kid != NULL && strlen(kid) < KID_TEXT)
        (void)snprintf(out_kid, KID_TEXT, "%s", kid);
}

/* The lock is held. */
static bool names_unknown_key(const struct access *access, const char *token)
{
    char kid[KID_TEXT];

    kid_of(token, kid);
    for (size_t i = 0; i < FAAS_TOKEN_KEYS; i++) {
        if (strcmp(access->kids[i], kid) == 0)
            return false;
    }
    return kid[0] != '\0';
}

static faas_code refuse(struct access_verdict *verdict, const char *reason, faas_err *err)
{
    verdict->reason = reason;
    if (strcmp(reason, "missing") == 0)
        return faas_fail(err, FAAS_UNAUTHENTICATED,
                         "token missing: send Authorization: Bearer TOKEN, with a token from "
                         "POST /auth/login or an API key");
    return faas_fail(err, FAAS_UNAUTHENTICATED, "token %s: get a new one from POST /auth/login",
                     reason);
}

static faas_code verify(struct access *access, const char *token, struct access_verdict *verdict,
                        uint64_t *out_generation, faas_err *err)
{
    faas_code rc;

    pthread_rwlock_rdlock(&access->lock);
    *out_generation = access->generation;
    verdict->is_unsettled = access->verifier == NULL;
    if (access->verifier == NULL) {
        rc = faas_fail(err, FAAS_UNAVAILABLE,
                       "no auth service has been reached yet, so tokens cannot be checked; try "
                       "again");
    } else {
        rc = faas_token_verify(access->verifier, token, faas_wall_ms() / 1000, &verdict->caller,
                               &verdict->reason, err);
        if (rc == FAAS_UNAUTHENTICATED)
            verdict->is_unsettled = names_unknown_key(access, token);
    }
    pthread_rwlock_unlock(&access->lock);
    return rc;
}

static uint64_t generation_now(struct access *access)
{
    uint64_t generation;

    pthread_rwlock_rdlock(&access->lock);
    generation = access->generation;
    pthread_rwlock_unlock(&access->lock);
    return generation;
}

/* It has not been ready yet, and has not tried for long. */
static bool is_beginning(struct access *access)
{
    return !access_is_ready(access) && faas_now_ns() < access->begin_by_ns;
}

/* Nothing can be judged without knowing what was ended. */
static faas_code need_ends(struct access *access, struct access_verdict *verdict, faas_err *err)
{
    verdict->is_unsettled = is_beginning(access);
    if (!access_is_led(access))
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "the store of ended sessions does not answer, so tokens cannot be "
                         "checked; try again");
    return FAAS_OK;
}

/* What holds for a good token at this moment, cached or not. */
static faas_code judge(struct access *access, struct access_verdict *verdict, faas_err *err)
{
    faas_code rc;

    if (verdict->caller.expires_at <= faas_wall_ms() / 1000)
        return refuse(verdict, "expired", err);
    FAAS_TRY(need_ends(access, verdict, err));
    rc = access_stand(&access->revoked, verdict, err);
    if (verdict->standing.is_deleted)
        return refuse(verdict, "revoked", err);
    FAAS_TRY(rc);
    if (revoked_has(&access->revoked, &verdict->caller))
        return refuse(verdict, "revoked", err);
    return FAAS_OK;
}

static faas_code check_token(struct access *access, const char *token,
                             struct access_verdict *out_verdict, faas_err *err)
{
    uint8_t hash[HASH_BYTES];
    uint64_t generation;
    faas_code rc;

    crypto_generichash(hash, sizeof hash, (const unsigned char *)token, strlen(token),
                       access->hash_key, sizeof access->hash_key);
    generation = generation_now(access);
    if (generation > 0 && recall(access, hash, generation, &out_verdict->caller))
        return judge(access, out_verdict, err);
    rc = verify(access, token, out_verdict, &generation, err);
    if (rc == FAAS_OK) {
        remember(access, hash, generation, &out_verdict->caller);
        return judge(access, out_verdict, err);
    }
    if (rc == FAAS_UNAUTHENTICATED)
        return refuse(out_verdict, out_verdict->reason != NULL ? out_verdict->reason : "invalid",
                      err);
    return rc;
}

static faas_code check(struct access *access, const struct credential *credential,
                       struct access_verdict *out_verdict, faas_err *err)
{
    memset(out_verdict, 0, sizeof *out_verdict);
    switch (credential->kind) {
    case CREDENTIAL_TOKEN:
        return check_token(access, credential->token, out_verdict, err);
    case CREDENTIAL_KEY:
        FAAS_TRY(need_ends(access, out_verdict, err));
        return access_key_check(access->apikeys, credential, out_verdict, err);
    case CREDENTIAL_BAD_KEY:
        return access_key_refuse(out_verdict, "invalid", err);
    case CREDENTIAL_NONE:
        return refuse(out_verdict, "missing", err);
    case CREDENTIAL_BAD:
        break;
    }
    return refuse(out_verdict, "invalid", err);
}

faas_code access_check(struct access *access, const char *header,
                       struct access_verdict *out_verdict, faas_err *err)
{
    struct credential credential;

    credential_read(header, &credential);
    return check(access, &credential, out_verdict, err);
}

/* ---- the keys ---- */

static void note_kids(struct access *access, const json_t *keys)
{
    const char *kid;
    size_t n = 0;

    memset(access->kids, 0, sizeof access->kids);
    for (size_t i = 0; i < json_array_size(keys) && n < FAAS_TOKEN_KEYS; i++) {
        kid = json_string_value(json_object_get(json_array_get(keys, i), "kid"));
        if (kid != NULL && strlen(kid) < KID_TEXT)
            (void)snprintf(access->kids[n++], KID_TEXT, "%s", kid);
    }
}

static void use_verifier(struct access *access, faas_token_verifier *verifier, json_t *keys)
{
    pthread_rwlock_wrlock(&access->lock);
    faas_token_verifier_free(access->verifier);
    access->verifier = verifier;
    access->generation++; /* what was verified with other keys counts no more */
    note_kids(access, keys);
    pthread_rwlock_unlock(&access->lock);
    json_decref(access->keys);
    access->keys = json_incref(keys);
    FAAS_LOG(INFO, "signing keys taken over", FAAS_LINT("keys", (int64_t)json_array_size(keys)));
}

/* A document {"keys":[...]} from the store, or from auth, which read it there. */
static void take_keys(struct access *access, const json_t *doc, uint64_t revision)
{
    json_t *keys = json_object_get(doc, "keys");
    faas_token_verifier *verifier = NULL;
    faas_err err = {0};

    if (access->keys == NULL || !json_equal(access->keys, keys)) {
        if (faas_token_verifier_new(doc, &verifier, &err) != FAAS_OK) {
            FAAS_LOG(ERROR, "the signing keys cannot be used", FAAS_LSTR("error", err.msg),
                     FAAS_LSTR("detail", err.detail));
            return;
        }
        use_verifier(access, verifier, keys);
    }
    access->revision = revision;
}

/* The answer may have been overtaken by the feed. */
static void take_fetched(struct access *access, const json_t *doc)
{
    uint64_t revision = (uint64_t)json_integer_value(json_object_get(doc, "revision"));

    if (revision >= access->revision)
        take_keys(access, doc, revision);
}

static struct ev_loop *loop_of(const struct access *access)
{
    return faas_loop_ev(faas_bus_loop(faas_rpc_bus(access->rpc)));
}

static void arm(struct access *access, int64_t ms)
{
    struct ev_loop *ev = loop_of(access);

    ev_timer_stop(ev, &access->timer);
    if (access->is_stopped)
        return;
    ev_timer_set(&access->timer, (double)ms / 1000.0, 0.0);
    ev_timer_start(ev, &access->timer);
}

static void settle(struct access *access, const struct access_question *question, access_done *done,
                   void *arg)
{
    struct access_verdict verdict;
    struct credential credential;
    faas_err err = {0};
    faas_code rc;

    credential_read(question->header, &credential);
    rc = check(access, &credential, &verdict, &err);
    if (rc != FAAS_OK && verdict.is_unsettled && credential.kind == CREDENTIAL_KEY &&
        access_is_led(access))
        access_key_ask(access->apikeys, &credential, question, done, arg);
    else
        done(arg, rc, &verdict, &err);
}

static void wake_waiting(struct access *access)
{
    struct waitings batch = STAILQ_HEAD_INITIALIZER(batch);
    struct waiting *waiting;

    STAILQ_CONCAT(&batch, &access->waiting);
    while ((waiting = STAILQ_FIRST(&batch)) != NULL) {
        STAILQ_REMOVE_HEAD(&batch, link);
        settle(access, &waiting->question, waiting->done, waiting->arg);
        free(waiting);
    }
}

static void on_fetched(void *arg, const struct faas_rpc_reply *reply)
{
    struct access *access = arg;
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};
    faas_code rc = reply->code;

    access->is_fetching = false;
    access->fetched_ns = faas_now_ns();
    if (rc == FAAS_OK)
        rc =
            faas_json_parse(faas_msg_data(reply->msg), faas_msg_len(reply->msg), false, &doc, &err);
    if (rc == FAAS_OK)
        take_fetched(access, doc);
    else if (access->keys != NULL)
        FAAS_LOG(WARN, "signing keys not fetched", FAAS_LSTR("code", faas_code_slug(rc)));
    revoked_sweep(&access->revoked, faas_wall_ms() / 1000);
    arm(access, access->keys == NULL ? FETCH_RETRY_MS : FETCH_MS);
    if (!is_beginning(access))
        wake_waiting(access);
}

static void fetch(struct access *access)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(FETCH_WAIT_MS)};
    const struct faas_rpc_request req = {.subject = FAAS_SUBJ_AUTH_JWKS,
                                         .ctx = &ctx,
                                         .data = "{}",
                                         .len = 2,
                                         .retry = FAAS_RPC_SAFE};

    if (access->is_fetching || access->is_stopped)
        return;
    access->is_fetching = true;
    faas_uuid_new(ctx.id);
    faas_rpc_call(access->rpc, &req, on_fetched, access);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    fetch(timer->data);
}

static void on_begin(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct access *access = timer->data;

    (void)events;
    if (is_beginning(access))
        return;
    ev_timer_stop(ev, timer);
    wake_waiting(access);
}

void access_settle(struct access *access, const struct access_question *question, access_done *done,
                   void *arg)
{
    bool is_recent =
        access->fetched_ns != 0 && faas_now_ns() < access->fetched_ns + FETCH_GAP_MS * FAAS_MS_NS;
    bool is_useful = access->is_fetching || !is_recent; /* to a token */
    struct waiting *waiting = NULL;
    struct credential credential;

    credential_read(question->header, &credential);
    if (is_beginning(access) || (is_useful && credential.kind == CREDENTIAL_TOKEN))
        waiting = calloc(1, sizeof *waiting);
    if (waiting == NULL || access->is_stopped) {
        free(waiting);
        settle(access, question, done, arg);
        return;
    }
    waiting->question = *question;
    waiting->done = done;
    waiting->arg = arg;
    STAILQ_INSERT_TAIL(&access->waiting, waiting, link);
    fetch(access);
}

/* ---- keys and revocations from the store ---- */

static void on_keys_change(struct access *access, const struct faas_feed_event *event)
{
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};

    if (event->is_delete)
        return; /* whoever signs writes them anew */
    if (faas_json_parse(event->value, event->len, false, &doc, &err) == FAAS_OK)
        take_keys(access, doc, event->seq);
    else
        FAAS_LOG(ERROR, "the stored signing keys cannot be read", FAAS_LSTR("error", err.msg));
}

static void on_change(void *arg, const struct faas_feed_event *event)
{
    struct access *access = arg;
    faas_err err = {0};

    if (strcmp(event->key, FAAS_KEY_SIGNING) == 0)
        on_keys_change(access, event);
    else if (revoked_apply(&access->revoked, event->key, event->value,
                           event->is_delete ? 0 : event->len, &err) != FAAS_OK)
        FAAS_LOG(ERROR, "revocations cannot be read", FAAS_LSTR("key", event->key),
                 FAAS_LSTR("detail", err.detail));
}

static void on_applied(void *arg)
{
    struct access *access = arg;

    access->on_applied(access->on_applied_arg);
}

faas_code access_follow(struct access *access, faas_kv *kv, const faas_members *members,
                        faas_task *applied, void *arg, faas_err *err)
{
    const struct faas_feed_conf conf = {
        .kv = kv, .apply = on_change, .on_applied = on_applied, .members = members, .arg = access};
    faas_feed *feed = NULL;

    access->on_applied = applied;
    access->on_applied_arg = arg;
    FAAS_TRY(faas_feed_start(&conf, &feed, err));
    atomic_store(&access->feed, feed);
    return FAAS_OK;
}

bool access_applied(const struct access *access, uint64_t *out_seq)
{
    faas_feed *feed = access != NULL ? atomic_load(&access->feed) : NULL;

    if (feed != NULL)
        *out_seq = faas_feed_applied(feed);
    return feed != NULL;
}

void access_unfollow(struct access *access)
{
    if (access != NULL)
        faas_feed_stop(atomic_exchange(&access->feed, NULL));
}

/* ---- life ---- */

faas_code access_open(faas_rpc *rpc, const struct apikeys_conf *conf, struct access **out_access,
                      faas_err *err)
{
    struct access *access = calloc(1, sizeof *access);
    faas_code rc;

    if (access == NULL)
        return faas_fail_sys(err, errno, "allocate access");
    access->cache = calloc(conf->entries, sizeof *access->cache);
    if (access->cache == NULL) {
        free(access);
        return faas_fail_sys(err, ENOMEM, "allocate the token cache");
    }
    rc = apikeys_open(rpc, &access->revoked, conf, &access->apikeys, err);
    if (rc != FAAS_OK) {
        free(access->cache);
        free(access);
        return rc;
    }
    access->rpc = rpc;
    access->entries = conf->entries;
    randombytes_buf(access->hash_key, sizeof access->hash_key);
    pthread_rwlock_init(&access->lock, NULL);
    pthread_mutex_init(&access->mu, NULL);
    revoked_init(&access->revoked);
    STAILQ_INIT(&access->waiting);
    ev_init(&access->timer, on_timer);
    ev_timer_init(&access->begin, on_begin, BEGIN_LOOK_S, BEGIN_LOOK_S);
    access->timer.data = access->begin.data = access;
    access->begin_by_ns = faas_deadline_in_ms(BEGIN_MS);
    *out_access = access;
    return FAAS_OK;
}

void access_start(struct access *access)
{
    ev_timer_start(loop_of(access), &access->begin);
    apikeys_start(access->apikeys);
    fetch(access);
}

void access_stop(struct access *access)
{
    if (access == NULL)
        return;
    access->is_stopped = true;
    arm(access, 0);
    ev_timer_stop(loop_of(access), &access->begin);
    apikeys_stop(access->apikeys);
    wake_waiting(access);
}

bool access_is_ready(struct access *access)
{
    faas_feed *feed = access != NULL ? atomic_load(&access->feed) : NULL;

    return feed != NULL && faas_feed_age_ms(feed) < INT64_MAX && generation_now(access) > 0;
}

bool access_is_led(struct access *access)
{
    faas_feed *feed = atomic_load(&access->feed);

    return feed != NULL && faas_feed_may_serve(feed);
}

void access_free(struct access *access)
{
    if (access == NULL)
        return;
    faas_token_verifier_free(access->verifier);
    json_decref(access->keys);
    sodium_memzero(access->cache, access->entries * sizeof *access->cache);
    free(access->cache);
    apikeys_free(access->apikeys);
    revoked_done(&access->revoked);
    pthread_rwlock_destroy(&access->lock);
    pthread_mutex_destroy(&access->mu);
    free(access);
}
