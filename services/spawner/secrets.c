#include "secrets.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "crypto/sealed.h"
#include "net/feed.h"

#define ASK_MS        12000 /* an election of the store's leader is in it */
#define ASKS_MAX      8     /* changes that come while it is asked for */
#define NAME_HASH_HEX 32
#define KEY_MAX       80
#define LABEL_MAX     (KEY_MAX + 24)
#define TIDY_S        1.0

/* One secret: kept, being asked for, or both once it has changed. */
struct entry {
    secrets *self; /* NULL: closed; freed with its answer */
    char tenant[FAAS_UUID_TEXT];
    char name[FAAS_FUNCTION_NAME_MAX + 1];
    char key[KEY_MAX]; /* in the bucket */
    struct secret_value *value;
    uint64_t used_ns;
    bool is_asking, is_trusted; /* the feed was current when it was asked for */
    uint64_t heard;             /* newest change while it is asked for */
    int asks;
    TAILQ_ENTRY(entry) link; /* newest use first */
};
struct secrets_wait {
    secrets *self;
    char tenant[FAAS_UUID_TEXT];
    size_t count, got;
    struct {
        char name[FAAS_FUNCTION_NAME_MAX + 1];
        struct secret_value *value;
    } parts[FAAS_SECRETS_MAX];
    ev_timer timer;
    secrets_done *done;
    void *arg;
    LIST_ENTRY(secrets_wait) link;
};
struct secrets {
    struct secrets_conf conf;
    struct ev_loop *ev;
    faas_kv *kv;
    faas_feed *feed;
    faas_sealed_key *key;
    TAILQ_HEAD(entries_head, entry) entries;
    LIST_HEAD(, secrets_wait) waits;
    int64_t bytes; /* kept */
    ev_timer tidy;
};

/* ---- what is kept ---- */

/* As the registry makes it: PROTOCOL.md section 6. */
static void key_of(const char *tenant, const char *name, char out_key[KEY_MAX])
{
    char hash[FAAS_HASH_TEXT];

    faas_hash_text(name, strlen(name), hash);
    (void)snprintf(out_key, KEY_MAX, "s.%.36s.%.*s", tenant, NAME_HASH_HEX, hash);
}

static void drop_value(struct entry *entry)
{
    if (entry->value == NULL)
        return;
    entry->self->bytes -= (int64_t)entry->value->len;
    secret_value_unref(entry->value);
    entry->value = NULL;
}

static void forget(struct entry *entry)
{
    drop_value(entry);
    if (entry->is_asking)
        return; /* its answer comes */
    TAILQ_REMOVE(&entry->self->entries, entry, link);
    free(entry);
}

static struct entry *find_key(secrets *self, const char *key)
{
    struct entry *entry;

    TAILQ_FOREACH (entry, &self->entries, link)
        if (strcmp(entry->key, key) == 0)
            break;
    return entry;
}

static struct entry *find(secrets *self, const char *tenant, const char *name)
{
    struct entry *entry;

    TAILQ_FOREACH (entry, &self->entries, link)
        if (strcmp(entry->name, name) == 0 && strcmp(entry->tenant, tenant) == 0)
            break;
    return entry;
}

static bool is_current(const secrets *self)
{
    return faas_feed_may_serve(self->feed);
}

static void keep_within(secrets *self, int64_t max_bytes)
{
    struct entry *entry, *before;

    for (entry = TAILQ_LAST(&self->entries, entries_head); entry != NULL; entry = before) {
        before = TAILQ_PREV(entry, entries_head, link);
        if (self->bytes <= max_bytes)
            return;
        forget(entry);
    }
}

static void on_tidy(struct ev_loop *ev, ev_timer *timer, int events)
{
    secrets *self = timer->data;
    uint64_t now = faas_now_ns(), keep_ns = (uint64_t)self->conf.keep_ms * FAAS_MS_NS;
    struct entry *entry, *next;

    (void)ev, (void)events;
    for (entry = TAILQ_FIRST(&self->entries); entry != NULL; entry = next) {
        next = TAILQ_NEXT(entry, link);
        if (now - entry->used_ns > keep_ns)
            forget(entry);
    }
}

/* ---- changes ---- */

static void apply(void *arg, const struct faas_feed_event *event)
{
    secrets *self = arg;
    struct entry *entry = find_key(self, event->key);
    char tenant[FAAS_UUID_TEXT];

    if (entry != NULL) {
        if (entry->is_asking && event->seq > entry->heard)
            entry->heard = event->seq;
        forget(entry);
    }
    if (strncmp(event->key, FAAS_AWAITED_SECRETS, strlen(FAAS_AWAITED_SECRETS)) != 0)
        return;
    (void)snprintf(tenant, sizeof tenant, "%.36s", event->key + strlen(FAAS_AWAITED_SECRETS));
    self->conf.changed(self->conf.arg, tenant);
}

static void on_applied(void *arg)
{
    secrets *self = arg;

    if (self->feed != NULL)
        faas_members_applied(self->conf.rt->members, "registry", FAAS_BUCKET_SECRETS,
                             faas_feed_applied(self->feed));
}

void secrets_fill(const secrets *self, struct faas_beat *beat)
{
    beat->applied[0].bucket = FAAS_BUCKET_SECRETS;
    beat->applied[0].seq = faas_feed_applied(self->feed);
}

/* ---- waits ---- */

static void wait_free(secrets_wait *wait)
{
    LIST_REMOVE(wait, link);
    ev_timer_stop(wait->self->ev, &wait->timer);
    for (size_t i = 0; i < wait->count; i++)
        secret_value_unref(wait->parts[i].value);
    free(wait);
}

void secrets_cancel(secrets_wait *wait)
{
    if (wait != NULL)
        wait_free(wait);
}

static struct secret_set *set_of(const secrets_wait *wait)
{
    struct secret_value *values[FAAS_SECRETS_MAX];

    for (size_t i = 0; i < wait->count; i++)
        values[i] = wait->parts[i].value;
    return secret_set_new(values, wait->count);
}

static void end_wait(secrets_wait *wait, const faas_err *why)
{
    secrets_done *done = wait->done;
    void *arg = wait->arg;
    struct secret_set *set = why == NULL ? set_of(wait) : NULL;
    faas_err err = {0};

    if (why != NULL)
        err = *why;
    else if (set == NULL)
        (void)faas_fail_sys(&err, ENOMEM, "secrets of a call");
    wait_free(wait);
    done(arg, set, &err);
}

static void on_time(struct ev_loop *ev, ev_timer *timer, int events)
{
    secrets_wait *wait = timer->data;
    faas_err err = {0};
    size_t i = 0;

    (void)ev, (void)events;
    while (i + 1 < wait->count && wait->parts[i].value != NULL)
        i++;
    (void)faas_fail(&err, FAAS_UNAVAILABLE,
                    "secret %s was not there within the time a start may take; nothing was run",
                    wait->parts[i].name);
    end_wait(wait, &err);
}

/* The part that wants this secret and does not have it; -1: none. */
static int wanted(const secrets_wait *wait, const struct entry *entry)
{
    if (strcmp(wait->tenant, entry->tenant) != 0)
        return -1;
    for (size_t i = 0; i < wait->count; i++)
        if (wait->parts[i].value == NULL && strcmp(wait->parts[i].name, entry->name) == 0)
            return (int)i;
    return -1;
}

static void give(secrets *self, const struct entry *entry, struct secret_value *value)
{
    secrets_wait *wait, *next;

    for (wait = LIST_FIRST(&self->waits); wait != NULL; wait = next) {
        int part = wanted(wait, entry);

        next = LIST_NEXT(wait, link);
        if (part < 0)
            continue;
        wait->parts[part].value = secret_value_ref(value);
        if (++wait->got == wait->count)
            end_wait(wait, NULL);
    }
}

static void fail(secrets *self, const struct entry *entry, const faas_err *err)
{
    secrets_wait *wait, *next;

    for (wait = LIST_FIRST(&self->waits); wait != NULL; wait = next) {
        next = LIST_NEXT(wait, link);
        if (wanted(wait, entry) >= 0)
            end_wait(wait, err);
    }
}

/* ---- asking ---- */

static void ask(struct entry *entry);

struct answer {
    int64_t revision;
    const char *sealed;
};

static faas_code open_answer(const struct entry *entry, const faas_msg *msg,
                             struct secret_value **out_value, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(INT, struct answer, revision, "revision", 1, 0x1p53, true),
        FAAS_FIELD(STR, struct answer, sealed, "sealed", 1, FAAS_KV_VALUE_MAX, true),
        FAAS_FIELD_END,
    };
    FAAS_AUTO(json_t) *doc = NULL;
    struct answer answer;
    char label[LABEL_MAX];
    void *bytes = NULL;
    size_t len = 0;

    FAAS_TRY(faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, err));
    FAAS_TRY(faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, &answer, err));
    (void)snprintf(label, sizeof label, "%s@%lld", entry->key, (long long)answer.revision);
    FAAS_TRY(faas_unseal(entry->self->key, label, answer.sealed, &bytes, &len, err));
    *out_value = secret_value_new(entry->name, (uint64_t)answer.revision, bytes, len);
    if (*out_value != NULL)
        return FAAS_OK;
    sodium_free(bytes);
    return faas_fail_sys(err, ENOMEM, "secret");
}

static void explain(const struct entry *entry, const faas_err *why, faas_err *out_err)
{
    if (why->code == FAAS_NOT_FOUND)
        (void)faas_fail(out_err, FAAS_START_FAILED,
                        "secret %s does not exist any more: set it, or take it out of the "
                        "function's list; nothing was run",
                        entry->name);
    else
        (void)faas_fail(out_err, FAAS_UNAVAILABLE,
                        "secret %s cannot be had: %.90s; nothing was run", entry->name, why->msg);
    if (entry->name[0] == FAAS_LOGIN_MARK && why->code == FAAS_NOT_FOUND)
        return; /* most users have none */
    FAAS_LOG(WARN, "a secret cannot be had", FAAS_LSTR("tenant", entry->tenant),
             FAAS_LSTR("key", entry->key), FAAS_LSTR("why", why->msg));
}

static void keep(struct entry *entry, struct secret_value *value)
{
    secrets *self = entry->self;

    drop_value(entry);
    if (!entry->is_trusted)
        return;
    entry->value = secret_value_ref(value);
    self->bytes += (int64_t)value->len;
    keep_within(self, self->conf.max_bytes);
}

static void on_answer(void *arg, const struct faas_rpc_reply *reply)
{
    struct entry *entry = arg;
    secrets *self = entry->self;
    struct secret_value *value = NULL;
    faas_err err = {0}, told = {0};
    faas_code rc = reply->code;

    entry->is_asking = false;
    if (self == NULL) {
        free(entry);
        return;
    }
    if (rc == FAAS_OK)
        rc = open_answer(entry, reply->msg, &value, &err);
    else
        err = *reply->err;
    if (rc == FAAS_OK && value->revision < entry->heard && entry->asks < ASKS_MAX) {
        secret_value_unref(value);
        ask(entry);
        return;
    }
    if (rc == FAAS_OK) {
        entry->is_asking = true; /* stays while it is looked at */
        if (value->revision >=
            entry->heard) /* else overtaken each time: for those who wait alone */
            keep(entry, value);
        give(self, entry, value);
        entry->is_asking = false;
    } else {
        explain(entry, &err, &told);
        fail(self, entry, &told);
    }
    secret_value_unref(value);
    if (entry->value == NULL && !entry->is_asking)
        forget(entry);
}

/* The answer comes in any case. */
static void ask(struct entry *entry)
{
    secrets *self = entry->self;
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(ASK_MS)};
    struct faas_rpc_request req = {
        .subject = FAAS_SUBJ_REGISTRY_SECRET, .ctx = &ctx, .retry = FAAS_RPC_SAFE};
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:i, s:s, s:s, s:s}", "v", 1, "tenant", entry->tenant, "name", entry->name,
                  "public_key", faas_sealed_key_public(self->key));
    FAAS_AUTO(char) *text = faas_json_text(doc, &req.len);

    faas_uuid_new(ctx.id);
    req.data = text != NULL ? text : ""; /* refused, hence answered */
    entry->is_asking = true;
    entry->is_trusted = is_current(self);
    entry->asks++;
    faas_rpc_call(self->conf.rt->rpc, &req, on_answer, entry);
}

static struct entry *entry_new(secrets *self, const char *tenant, const char *name)
{
    struct entry *entry = calloc(1, sizeof *entry);

    if (entry == NULL)
        return NULL;
    entry->self = self;
    (void)snprintf(entry->tenant, sizeof entry->tenant, "%s", tenant);
    (void)snprintf(entry->name, sizeof entry->name, "%s", name);
    key_of(tenant, name, entry->key);
    entry->used_ns = faas_now_ns();
    TAILQ_INSERT_HEAD(&self->entries, entry, link);
    return entry;
}

/* It is used now. */
static void touch(struct entry *entry)
{
    entry->used_ns = faas_now_ns();
    TAILQ_REMOVE(&entry->self->entries, entry, link);
    TAILQ_INSERT_HEAD(&entry->self->entries, entry, link);
}

struct secret_set *secrets_kept(secrets *self, const struct secrets_want *want)
{
    struct secret_value *values[FAAS_SECRETS_MAX];
    json_t *name;
    size_t i;

    if (!is_current(self))
        return NULL;
    json_array_foreach (want->names, i, name) {
        struct entry *entry = find(self, want->tenant, json_string_value(name));

        if (entry == NULL || entry->value == NULL)
            return NULL;
        touch(entry);
        values[i] = entry->value;
    }
    return secret_set_new(values, i);
}

/* One part: kept, on its way, or to be asked for.  False: no memory. */
static bool want_part(secrets_wait *wait, size_t i)
{
    secrets *self = wait->self;
    struct entry *entry = find(self, wait->tenant, wait->parts[i].name);

    if (entry == NULL)
        entry = entry_new(self, wait->tenant, wait->parts[i].name);
    if (entry == NULL)
        return false;
    touch(entry);
    if (entry->value != NULL && is_current(self)) {
        wait->parts[i].value = secret_value_ref(entry->value);
        wait->got++;
    } else if (!entry->is_asking) {
        entry->heard = 0;
        entry->asks = 0;
        ask(entry);
    }
    return true;
}

secrets_wait *secrets_ask(secrets *self, const struct secrets_want *want)
{
    secrets_wait *wait = calloc(1, sizeof *wait);
    json_t *name;
    size_t i;

    if (wait == NULL)
        return NULL;
    wait->self = self;
    wait->done = want->done;
    wait->arg = want->arg;
    (void)snprintf(wait->tenant, sizeof wait->tenant, "%s", want->tenant);
    ev_timer_init(&wait->timer, on_time, (double)want->time_ms / 1000.0, 0.0);
    wait->timer.data = wait;
    LIST_INSERT_HEAD(&self->waits, wait, link);
    json_array_foreach (want->names, i, name)
        (void)snprintf(wait->parts[wait->count++].name, sizeof wait->parts[0].name, "%s",
                       json_string_value(name));
    for (i = 0; i < wait->count; i++)
        if (!want_part(wait, i)) {
            wait_free(wait);
            return NULL;
        }
    ev_now_update(self->ev);
    ev_timer_start(self->ev, &wait->timer);
    return wait;
}

/* ---- life ---- */

static void start_tidy(void *arg)
{
    secrets *self = arg;

    ev_timer_again(self->ev, &self->tidy);
}

faas_code secrets_new(const struct secrets_conf *conf, secrets **out_secrets, faas_err *err)
{
    struct faas_feed_conf feed = {.applied = UINT64_MAX,
                                  .apply = apply,
                                  .awaited = FAAS_AWAITED_SECRETS,
                                  .on_applied = on_applied,
                                  .members = conf->rt->members};
    secrets *self = calloc(1, sizeof *self);
    faas_code rc;

    if (self == NULL)
        return faas_fail_sys(err, ENOMEM, "secrets");
    self->conf = *conf;
    self->ev = faas_loop_ev(conf->rt->loop);
    TAILQ_INIT(&self->entries);
    LIST_INIT(&self->waits);
    ev_init(&self->tidy, on_tidy);
    self->tidy.repeat = TIDY_S;
    self->tidy.data = self;
    rc = faas_sealed_key_new(&self->key, err);
    /* A handle alone: the registry makes the bucket, and calls without secrets need none. */
    if (rc == FAAS_OK)
        rc = faas_kv_open_log(conf->rt->rpc, FAAS_BUCKET_SECRETS, &self->kv, err);
    feed.kv = self->kv;
    feed.arg = self;
    if (rc == FAAS_OK)
        rc = faas_feed_start(&feed, &self->feed, err);
    if (rc != FAAS_OK) {
        secrets_free(self);
        return rc;
    }
    faas_loop_post(conf->rt->loop, start_tidy, self);
    *out_secrets = self;
    return FAAS_OK;
}

void secrets_free(secrets *self)
{
    struct entry *entry;

    if (self == NULL)
        return;
    ev_timer_stop(self->ev, &self->tidy);
    if (self->feed != NULL)
        faas_feed_stop(self->feed);
    while (!LIST_EMPTY(&self->waits))
        wait_free(LIST_FIRST(&self->waits));
    while ((entry = TAILQ_FIRST(&self->entries)) != NULL) {
        drop_value(entry);
        TAILQ_REMOVE(&self->entries, entry, link);
        entry->self = NULL;
        if (!entry->is_asking)
            free(entry);
    }
    faas_kv_close(self->kv);
    faas_sealed_key_free(self->key);
    free(self);
}
