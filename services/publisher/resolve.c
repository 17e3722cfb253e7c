#include "resolve.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"
#include "metrics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FIRST_READ_MS 300 /* for the leader, before memory or any replica is taken at its word */
#define PEEK_MS       600

struct resolve_read { /* one question to the leader; owned by the kv request until its answer */
    TAILQ_ENTRY(resolve_read) link;
    struct resolve *res; /* NULL: stopped meanwhile */
    char key[RECORD_VERSION_KEY_MAX];
    TAILQ_HEAD(, resolve_wait) waits;
    /* What the feed said of the key while the question was out: */
    uint64_t news_seq;   /* 0: nothing */
    struct record *news; /* NULL with news_seq: deleted */
    bool is_peeking;
    uint64_t deadline_ns;
};

static bool is_fresh(struct resolve *res)
{
    bool fresh = faas_feed_age_ms(res->feed) < FAAS_FEED_FRESH_MS;

    if (fresh)
        res->is_late = false;
    return fresh;
}

static bool may_serve_stale(const struct resolve *res)
{
    return !res->is_late && faas_feed_may_serve(res->feed);
}

/* ---- the feed ---- */

static struct record *parse_event(const struct faas_feed_event *event)
{
    struct record *rec = NULL;
    faas_err err = {0};

    if (event->is_delete)
        return NULL;
    if (record_parse(event->key, event->value, event->len, &rec, &err) != FAAS_OK)
        FAAS_LOG(WARN, "a function record cannot be read", FAAS_LSTR("detail", err.detail));
    return rec;
}

static void tell_reads(struct resolve *res, const struct faas_feed_event *event, struct record *rec)
{
    struct resolve_read *read;

    TAILQ_FOREACH (read, &res->reads, link) {
        if (strcmp(read->key, event->key) != 0)
            continue;
        record_unref(read->news);
        read->news = rec != NULL ? record_ref(rec) : NULL;
        read->news_seq = event->seq;
    }
}

/* FNV-1a; a record's key ends in hex digits of a SHA-256. */
static uint64_t hash_of(const char *key)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (; *key != '\0'; key++)
        hash = (hash ^ (unsigned char)*key) * UINT64_C(1099511628211);
    return hash;
}

static void note_heard(struct resolve *res, const char *key, uint64_t seq)
{
    uint64_t hash = hash_of(key);

    res->heard[hash % RESOLVE_HEARD] = (struct resolve_heard){hash, seq, faas_now_ns()};
}

/* Its change was answered because this process had heard of it: no replica may take it back. */
static bool is_overtaken(const struct resolve *res, const char *key, uint64_t revision)
{
    uint64_t hash = hash_of(key);
    const struct resolve_heard *heard = &res->heard[hash % RESOLVE_HEARD];

    return heard->key == hash && heard->seq > revision;
}

static bool is_wanted(const struct resolve *res, const char *key)
{
    const struct resolve_read *read;

    TAILQ_FOREACH (read, &res->reads, link)
        if (strcmp(read->key, key) == 0)
            return true;
    return cache_has(&res->cache, key);
}

static void on_change(void *arg, const struct faas_feed_event *event)
{
    struct resolve *res = arg;
    FAAS_AUTO(record) *rec = NULL;
    bool was_cached = cache_has(&res->cache, event->key);

    if (strncmp(event->key, "f.", 2) != 0)
        return;
    note_heard(res, event->key, event->seq);
    if (!is_wanted(res, event->key))
        return;
    rec = parse_event(event);
    tell_reads(res, event, rec);
    if (!was_cached || event->seq <= cache_revision(&res->cache, event->key))
        return;
    if (rec != NULL)
        cache_put(&res->cache, event->key, rec, event->seq);
    else
        cache_remove(&res->cache, event->key);
}

static void on_applied(void *arg)
{
    struct resolve *res = arg;

    res->on_applied(res->arg);
}

faas_code resolve_start(struct resolve *res, const struct resolve_conf *conf, faas_err *err)
{
    struct faas_feed_conf feed = {
        .kv = conf->kv,
        .applied = UINT64_MAX,
        .apply = on_change,
        .awaited = FAAS_AWAITED_FUNCTIONS,
        .on_applied = on_applied,
        .members = conf->members,
        .arg = res,
    };

    res->kv = conf->kv;
    res->on_applied = conf->on_applied;
    res->arg = conf->arg;
    TAILQ_INIT(&res->reads);
    cache_init(&res->cache, conf->cache_len, conf->cache_bytes);
    return faas_feed_start(&feed, &res->feed, err);
}

void resolve_stop(struct resolve *res)
{
    struct resolve_read *read;

    if (res->kv == NULL)
        return;
    faas_feed_stop(res->feed);
    res->feed = NULL;
    while ((read = TAILQ_FIRST(&res->reads)) != NULL) {
        TAILQ_REMOVE(&res->reads, read, link);
        read->res = NULL;
    }
    cache_done(&res->cache);
    res->kv = NULL;
}

/* ---- look-ups ---- */

/* What is in memory of the head, as long as it counts. */
static struct record *head_now(struct resolve *res, const struct resolve_want *want)
{
    char key[RECORD_KEY_MAX];
    struct record *rec;

    record_key(want->tenant, want->ref->name, key);
    rec = cache_get(&res->cache, key);
    if (rec == NULL)
        return NULL;
    if (is_fresh(res)) {
        metric_count(M_HITS);
        return rec;
    }
    if (!faas_feed_is_unanswered(res->feed) || !may_serve_stale(res))
        return NULL;
    metric_count(M_STALE);
    return rec;
}

static faas_code choose(const struct resolve_want *want, const struct record *head,
                        int64_t *out_version, faas_err *err)
{
    const struct alias *alias = record_alias(head, want->ref->alias);

    if (alias == NULL)
        return faas_fail(
            err, FAAS_NOT_FOUND,
            "the function has no alias \"%s\"; `faas alias list NAME` shows those it has",
            want->ref->alias);
    if (alias->total == 0)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "the alias was set by a newer release than this publisher's; nothing was "
                         "started");
    *out_version = alias_choose(alias, want->call_id);
    return FAAS_OK;
}

/* Which version the call runs, if any. */
static faas_code pick(const struct resolve_want *want, const struct record *head,
                      int64_t *out_version, faas_err *err)
{
    const struct faas_function_ref *ref = want->ref;

    if (head->is_disabled)
        return faas_fail(err, FAAS_CONFLICT,
                         "the function is disabled; `faas enable %s` (PATCH {\"disabled\":false}) "
                         "enables it",
                         head->name);
    if (ref->alias[0] != '\0' && strcmp(ref->alias, FAAS_ALIAS_LATEST) != 0)
        return choose(want, head, out_version, err);
    *out_version = ref->version != 0 ? ref->version : head->version;
    return FAAS_OK;
}

/* A version's record bears the function's cap of the moment. */
static struct record *version_now(struct resolve *res, const struct record *head, int64_t version)
{
    char key[RECORD_VERSION_KEY_MAX];
    struct record *rec;

    record_version_key(head->tenant, head->id, version, key);
    rec = cache_get(&res->cache, key);
    if (rec == NULL)
        return NULL;
    rec->concurrency = head->concurrency;
    metric_count(M_HITS);
    return rec;
}

struct record *resolve_now(struct resolve *res, const struct resolve_want *want)
{
    struct record *head = head_now(res, want);
    int64_t version;

    if (head == NULL || pick(want, head, &version, NULL) != FAAS_OK)
        return NULL;
    return version == head->version ? head : version_now(res, head, version);
}

static void read_free(struct resolve_read *read)
{
    record_unref(read->news);
    free(read);
}

static bool is_of_version(const struct resolve_read *read)
{
    return read->key[0] == 'v';
}

static void go_on(struct resolve *res, struct record *head, struct resolve_wait *wait);

/* The waiters' callbacks may do anything but end this read. */
static void read_settle(struct resolve *res, struct resolve_read *read, struct record *rec,
                        const faas_err *err)
{
    struct resolve_wait *wait;

    while ((wait = TAILQ_FIRST(&read->waits)) != NULL) {
        TAILQ_REMOVE(&read->waits, wait, link);
        wait->read = NULL;
        if (rec != NULL && !is_of_version(read)) {
            go_on(res, rec, wait);
            continue;
        }
        if (rec != NULL)
            rec->concurrency = wait->concurrency;
        wait->done(wait->arg, rec, err);
    }
}

static faas_code not_found(const struct resolve_read *read, faas_err *err)
{
    if (is_of_version(read))
        return faas_fail(err, FAAS_NOT_FOUND,
                         "the function has no version %s; `faas versions NAME` lists them",
                         strrchr(read->key, '.') + 1);
    return faas_fail(err, FAAS_NOT_FOUND, "you have no function of that name; register it first");
}

/* The leader's answer, the feed's news of the same time and memory: which one holds. */
static faas_code read_judge(struct resolve_read *read, faas_code code,
                            const struct faas_kv_entry *entry, struct record **out_rec,
                            faas_err *err)
{
    struct resolve *res = read->res;
    struct record *cached;

    if (read->news_seq > (entry != NULL ? entry->revision : 0)) {
        if (read->news == NULL)
            return not_found(read, err);
        *out_rec = record_ref(read->news);
        return FAAS_OK;
    }
    if (code == FAAS_OK)
        return record_parse(read->key, entry->value, entry->len, out_rec, err);
    if (code == FAAS_NOT_FOUND)
        return not_found(read, err);
    cached = cache_get(&res->cache, read->key);
    if (cached == NULL || !may_serve_stale(res))
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "the store of functions does not answer; nothing was started, try again");
    metric_count(M_STALE);
    *out_rec = record_ref(cached);
    return FAAS_OK;
}

static void on_read(void *arg, faas_code code, const struct faas_kv_entry *entry,
                    const faas_err *kv_err);

static bool has_copy(struct resolve *res, const char *key)
{
    return cache_has(&res->cache, key) && may_serve_stale(res);
}

static uint64_t in_ms(const struct resolve_read *read, int64_t ms)
{
    uint64_t at = faas_deadline_in_ms(ms);

    return at < read->deadline_ns ? at : read->deadline_ns;
}

/* A replica, or the leader. */
static void ask_in_turn(struct resolve_read *read)
{
    faas_kv *kv = read->res->kv;

    read->is_peeking = !read->is_peeking;
    if (read->is_peeking)
        faas_kv_peek_async(kv, read->key, in_ms(read, PEEK_MS), on_read, read);
    else
        faas_kv_get_async(kv, read->key, in_ms(read, FIRST_READ_MS), on_read, read);
}

/* The leader is silent, as in an election, and memory knows nothing: any replica's word counts, but
 * for its "not found", which may be that it has not heard yet.  Then the leader again, in turn. */
static bool asks_on(struct resolve_read *read, faas_code code)
{
    struct resolve *res = read->res;

    if (code != FAAS_UNAVAILABLE)
        return false;
    if (read->news_seq != 0 || has_copy(res, read->key) || faas_left_ms(read->deadline_ns) == 0)
        return false;
    ask_in_turn(read);
    return true;
}

static void on_read(void *arg, faas_code code, const struct faas_kv_entry *entry,
                    const faas_err *kv_err)
{
    struct resolve_read *read = arg;
    struct resolve *res = read->res;
    FAAS_AUTO(record) *rec = NULL;
    faas_err err = {0};
    uint64_t revision = entry != NULL ? entry->revision : 0;

    if (res == NULL) { /* stopped */
        read_free(read);
        return;
    }
    if (read->is_peeking &&
        (code != FAAS_OK || is_overtaken(res, read->key, entry->revision))) { /* nobody's word */
        code = FAAS_UNAVAILABLE;
        entry = NULL;
        revision = 0;
    }
    if (asks_on(read, code))
        return;
    if (read->is_peeking && code == FAAS_OK)
        metric_count(M_STALE);
    TAILQ_REMOVE(&res->reads, read, link);
    if (read_judge(read, code, entry, &rec, &err) == FAAS_OK) {
        if (read->news_seq > revision)
            revision = read->news_seq;
        /* A replica's word is for who waits: a head that it does not know of any more may be there. */
        if (revision > cache_revision(&res->cache, read->key) &&
            (!read->is_peeking || is_of_version(read)))
            cache_put(&res->cache, read->key, rec, revision);
    } else if (err.code == FAAS_NOT_FOUND) {
        cache_remove(&res->cache, read->key);
    } else {
        FAAS_LOG(WARN, "a function could not be looked up", FAAS_LSTR("key", read->key),
                 FAAS_LSTR("msg", err.msg),
                 FAAS_LSTR("detail", kv_err != NULL ? kv_err->detail : ""));
    }
    read_settle(res, read, rec, &err);
    read_free(read);
}

static struct resolve_read *read_start(struct resolve *res, const char *key)
{
    struct resolve_read *read = calloc(1, sizeof *read);

    if (read == NULL)
        return NULL;
    read->res = res;
    snprintf(read->key, sizeof read->key, "%s", key);
    TAILQ_INIT(&read->waits);
    TAILQ_INSERT_TAIL(&res->reads, read, link);
    metric_count(M_READS);
    read->deadline_ns = faas_deadline_in_ms(RESOLVE_READ_MS);
    read->is_peeking = !faas_feed_is_unanswered(res->feed); /* not the first time */
    ask_in_turn(read);
    return read;
}

/* A question that is out already may be joined only while the feed would tell of later writes. */
static struct resolve_read *read_join(struct resolve *res, const char *key)
{
    struct resolve_read *read;

    if (!is_fresh(res))
        return NULL;
    TAILQ_FOREACH (read, &res->reads, link)
        if (strcmp(read->key, key) == 0)
            return read;
    return NULL;
}

static void ask(struct resolve *res, const char *key, struct resolve_wait *wait)
{
    struct resolve_read *read = read_join(res, key);
    faas_err err = {0};

    if (read == NULL)
        read = read_start(res, key);
    if (read == NULL) {
        (void)faas_fail_sys(&err, ENOMEM, "look up a function");
        wait->done(wait->arg, NULL, &err);
        return;
    }
    wait->read = read;
    TAILQ_INSERT_TAIL(&read->waits, wait, link);
}

/* The head is known. */
static void go_on(struct resolve *res, struct record *head, struct resolve_wait *wait)
{
    char key[RECORD_VERSION_KEY_MAX];
    faas_err err = {0};
    int64_t version;
    struct record *rec = NULL;

    if (pick(&wait->want, head, &version, &err) == FAAS_OK)
        rec = version == head->version ? head : version_now(res, head, version);
    if (rec != NULL || err.code != FAAS_OK) {
        wait->done(wait->arg, rec, &err);
        return;
    }
    wait->concurrency = head->concurrency;
    record_version_key(head->tenant, head->id, version, key);
    ask(res, key, wait);
}

void resolve_ask(struct resolve *res, const struct resolve_want *want, struct resolve_wait *wait)
{
    char key[RECORD_KEY_MAX];
    struct record *head = head_now(res, want);

    wait->want = *want;
    if (head != NULL) {
        go_on(res, head, wait);
        return;
    }
    record_key(want->tenant, want->ref->name, key);
    ask(res, key, wait);
}

void resolve_cancel(struct resolve_wait *wait)
{
    if (wait->read == NULL)
        return;
    TAILQ_REMOVE(&wait->read->waits, wait, link);
    wait->read = NULL;
}

bool resolve_is_steady(struct resolve *res, const char *tenant, const char *name, uint64_t since_ns)
{
    char key[RECORD_KEY_MAX];

    record_key(tenant, name, key);
    return is_fresh(res) && faas_feed_begun_ns(res->feed) < since_ns &&
           res->heard[hash_of(key) % RESOLVE_HEARD].at_ns < since_ns; /* of another key, too */
}

void resolve_was_late(struct resolve *res)
{
    res->is_late = true;
}

bool resolve_has_begun(const struct resolve *res)
{
    return res->feed != NULL && faas_feed_begun_ns(res->feed) != UINT64_MAX;
}

bool resolve_may_serve(const struct resolve *res)
{
    return res->feed != NULL && faas_feed_may_serve(res->feed);
}

uint64_t resolve_applied(const struct resolve *res)
{
    return res->feed != NULL ? faas_feed_applied(res->feed) : 0;
}
