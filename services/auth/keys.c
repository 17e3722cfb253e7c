#include "keys.h"

#include "keyset.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LOOK_S       1.0
#define STORE_MS     15000
#define GATEWAYS_MS  10000 /* for one look; the next one waits on */
#define ROUNDS_MAX   10    /* lost races before a look gives up */
#define TERM_LEAST_S 10    /* beyond the life of a token */
#define TERM_MOST_S  3600
#define FILES_MAX    FAAS_TOKEN_KEYS
#define NO_KEYS_FILES                                                                              \
    "AUTH_KEY_FILES: empty, or a comma too many; expected the files of the "                       \
    "signing keys, newest first"

struct stamp { /* tells one state of a file from another */
    uint64_t device, inode;
    int64_t size, changed_ns;
};

struct keys {
    faas_kv *kv;
    faas_members *members;
    int64_t ttl_s; /* life of a token */
    char *list;    /* the names, each with a NUL behind it */
    const char *files[FILES_MAX];
    size_t count;
    int64_t term_s; /* how far a key's term reaches beyond the life of a token */

    pthread_rwlock_t lock; /* guards signer and ends_at_s */
    faas_token_signer *signer;
    int64_t ends_at_s; /* of the signer's key, seconds since 1970 */

    /* the starter, then the one look under way */
    struct stamp stamps[FILES_MAX];
    json_t *own;             /* public halves of the files, newest first */
    faas_token_signer *next; /* waits for the gateways; NULL: the signer is the newest */

    atomic_bool is_looking;
    faas_loop *loop;
    faas_pool *pool;
    ev_timer timer;
};

/* ---- files ---- */

static faas_code split(struct keys *keys, faas_err *err)
{
    for (char *rest = keys->list, *file; (file = strsep(&rest, ",")) != NULL;) {
        if (file[0] == '\0')
            return faas_fail(err, FAAS_INVALID, NO_KEYS_FILES);
        if (keys->count == FILES_MAX)
            return faas_fail(err, FAAS_INVALID, "AUTH_KEY_FILES: at most %d files", FILES_MAX);
        keys->files[keys->count++] = file;
    }
    return FAAS_OK;
}

static void take_stamps(const struct keys *keys, struct stamp out_stamps[FILES_MAX])
{
    struct stat info;

    memset(out_stamps, 0, FILES_MAX * sizeof *out_stamps);
    for (size_t i = 0; i < keys->count; i++) {
        if (stat(keys->files[i], &info) != 0)
            continue;
        out_stamps[i] = (struct stamp){
            .device = info.st_dev,
            .inode = info.st_ino,
            .size = info.st_size,
            .changed_ns = info.st_ctim.tv_sec * (int64_t)FAAS_S_NS + info.st_ctim.tv_nsec,
        };
    }
}

/* The stamps were taken before: a file that changes meanwhile is read once more. */
static faas_code load(struct keys *keys, faas_err *err)
{
    FAAS_AUTO(json_t) *own = NULL;
    faas_token_signer *signer = NULL;

    FAAS_TRY(faas_token_jwks(keys->files, keys->count, &own, err));
    FAAS_TRY(faas_token_signer_open(keys->files[0], &signer, err));
    faas_token_signer_free(keys->next);
    keys->next = signer;
    json_decref(keys->own);
    keys->own = FAAS_STEAL(own);
    return FAAS_OK;
}

/* ---- the store ---- */

/* Nothing stored is an answer: entry stays empty. */
static faas_code read_stored(const struct keys *keys, uint64_t deadline_ns,
                             struct faas_kv_entry *out_entry, faas_err *err)
{
    faas_code rc = faas_kv_get(keys->kv, FAAS_KEY_SIGNING, deadline_ns, out_entry, err);

    return rc == FAAS_NOT_FOUND ? FAAS_OK : rc;
}

struct joined {
    uint64_t revision; /* of the bucket: from there on our keys are known */
    int64_t ends_at_s; /* of the newest one's term */
    bool is_joining;
};

static faas_code join_doc(const struct keys *keys, const struct faas_kv_entry *entry,
                          struct joined *joined, json_t **out_doc, faas_err *err)
{
    int64_t now_s = faas_wall_ms() / 1000;
    const struct keyset_term term = {
        .now_s = now_s,
        .exp_s = now_s + keys->ttl_s + keys->term_s,
        .renew_below_s = now_s + keys->ttl_s + keys->term_s / 2,
    };
    const char *kid = faas_token_signer_kid(keys->next != NULL ? keys->next : keys->signer);

    FAAS_TRY(
        keyset_join(entry->value, entry->len, keys->own, &term, out_doc, &joined->is_joining, err));
    joined->revision = entry->revision;
    joined->ends_at_s = term.exp_s;
    return *out_doc != NULL ? FAAS_OK
                            : keyset_end(entry->value, entry->len, kid, &joined->ends_at_s, err);
}

static faas_code store_doc(const struct keys *keys, const json_t *doc, uint64_t deadline_ns,
                           uint64_t *revision, faas_err *err)
{
    FAAS_AUTO(char) *text = faas_json_text(doc, NULL);

    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "signing keys");
    return faas_kv_put(keys->kv, FAAS_KEY_SIGNING, *revision, text, strlen(text), deadline_ns,
                       revision, err);
}

/* CONFLICT: another auth program wrote in between; another round. */
static faas_code join_round(const struct keys *keys, uint64_t deadline_ns, struct joined *joined,
                            faas_err *err)
{
    struct faas_kv_entry entry = {0};
    FAAS_AUTO(json_t) *doc = NULL;
    faas_code rc;

    FAAS_TRY(read_stored(keys, deadline_ns, &entry, err));
    rc = join_doc(keys, &entry, joined, &doc, err);
    faas_kv_entry_done(&entry);
    if (rc != FAAS_OK || doc == NULL)
        return rc;
    return store_doc(keys, doc, deadline_ns, &joined->revision, err);
}

static faas_code join(const struct keys *keys, struct joined *out_joined, faas_err *err)
{
    uint64_t deadline_ns = faas_deadline_in_ms(STORE_MS);
    faas_code rc = FAAS_CONFLICT;

    for (int round = 0; round < ROUNDS_MAX && rc == FAAS_CONFLICT; round++)
        rc = join_round(keys, deadline_ns, out_joined, err);
    return rc;
}

/* ---- signing with it ---- */

static void take_over(struct keys *keys, int64_t ends_at_s)
{
    faas_token_signer *old = NULL;
    bool is_new = keys->next != NULL;

    pthread_rwlock_wrlock(&keys->lock);
    if (is_new) {
        old = keys->signer;
        keys->signer = FAAS_STEAL(keys->next);
    }
    keys->ends_at_s = ends_at_s;
    pthread_rwlock_unlock(&keys->lock);
    faas_token_signer_free(old);
    if (is_new)
        FAAS_LOG(INFO, "signing key in use", FAAS_LSTR("kid", faas_token_signer_kid(keys->signer)));
}

static faas_code wait_for_gateways(const struct keys *keys, uint64_t revision, faas_err *err)
{
    return faas_members_wait_applied(keys->members, FAAS_BUCKET_REVOCATIONS, revision,
                                     faas_deadline_in_ms(GATEWAYS_MS), err);
}

static bool is_same_signer(const struct keys *keys)
{
    return keys->signer != NULL && keys->next != NULL &&
           strcmp(faas_token_signer_kid(keys->signer), faas_token_signer_kid(keys->next)) == 0;
}

faas_code keys_begin(struct keys *keys, faas_kv *kv, faas_members *members, faas_err *err)
{
    const struct timespec beats = {.tv_nsec = FAAS_BEAT_FRESH_MS * (long)FAAS_MS_NS};
    struct joined joined = {0};

    keys->kv = kv;
    keys->members = members;
    FAAS_TRY(join(keys, &joined, err));
    /* This process has only begun to listen: every gateway that lives beats within this time. */
    if (joined.is_joining)
        (void)nanosleep(&beats, NULL);
    /* Nothing signed yet, so there is nothing to go on with meanwhile. */
    if (wait_for_gateways(keys, joined.revision, err) != FAAS_OK)
        FAAS_LOG(WARN, "signing with a key that not every gateway has confirmed",
                 FAAS_LSTR("detail", err->detail));
    take_over(keys, joined.ends_at_s);
    return FAAS_OK;
}

static faas_code refresh(struct keys *keys, faas_err *err)
{
    struct joined joined = {0};

    if (is_same_signer(keys)) {
        faas_token_signer_free(keys->next);
        keys->next = NULL;
    }
    FAAS_TRY(join(keys, &joined, err));
    FAAS_TRY(wait_for_gateways(keys, joined.revision, err));
    take_over(keys, joined.ends_at_s);
    return FAAS_OK;
}

static faas_code end_round(const struct keys *keys, const char *kid, uint64_t deadline_ns,
                           uint64_t *out_revision, faas_err *err)
{
    struct faas_kv_entry entry = {0};
    FAAS_AUTO(json_t) *doc = NULL;
    faas_code rc;

    FAAS_TRY(read_stored(keys, deadline_ns, &entry, err));
    rc = keyset_keep(entry.value, entry.len, kid, &doc, err);
    *out_revision = entry.revision;
    faas_kv_entry_done(&entry);
    if (rc != FAAS_OK || doc == NULL)
        return rc;
    return store_doc(keys, doc, deadline_ns, out_revision, err);
}

faas_code keys_end_others(struct keys *keys, const char *kid, uint64_t deadline_ns, faas_err *err)
{
    faas_code rc = FAAS_CONFLICT;
    uint64_t revision = 0;

    for (int round = 0; round < ROUNDS_MAX && rc == FAAS_CONFLICT; round++)
        rc = end_round(keys, kid, deadline_ns, &revision, err);
    return rc == FAAS_OK ? wait_for_gateways(keys, revision, err) : rc;
}

/* ---- looking ---- */

static bool is_renewal_due(const struct keys *keys)
{
    return faas_wall_ms() / 1000 >= keys->ends_at_s - keys->ttl_s - keys->term_s / 2;
}

static void report(const char *what, const faas_err *err)
{
    FAAS_LOG(ERROR, what, FAAS_LSTR("error", err->msg), FAAS_LSTR("detail", err->detail));
}

static void look(void *arg)
{
    struct keys *keys = arg;
    struct stamp stamps[FILES_MAX];
    bool has_changed;
    faas_err err = {0};

    take_stamps(keys, stamps);
    has_changed = memcmp(stamps, keys->stamps, sizeof stamps) != 0;
    if (has_changed) {
        memcpy(keys->stamps, stamps, sizeof stamps);
        if (load(keys, &err) != FAAS_OK)
            report("the changed signing keys cannot be used; going on with the old ones", &err);
    }
    if ((keys->next != NULL || is_renewal_due(keys)) && refresh(keys, &err) != FAAS_OK)
        report("the signing keys are not known to all gateways yet", &err);
    atomic_store(&keys->is_looking, false);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct keys *keys = timer->data;

    (void)ev;
    (void)events;
    if (atomic_exchange(&keys->is_looking, true))
        return;
    if (faas_pool_submit(keys->pool, look, keys, NULL) != FAAS_OK)
        atomic_store(&keys->is_looking, false); /* busy: the next look comes in a second */
}

static void start_timer(void *arg)
{
    struct keys *keys = arg;

    ev_timer_start(faas_loop_ev(keys->loop), &keys->timer);
}

/* ---- life ---- */

static int64_t term_of(int64_t ttl_s)
{
    int64_t term_s = ttl_s / 10;

    if (term_s < TERM_LEAST_S)
        return TERM_LEAST_S;
    return term_s < TERM_MOST_S ? term_s : TERM_MOST_S;
}

static faas_code read_files(struct keys *keys, const char *files, faas_err *err)
{
    keys->list = strdup(files);
    if (keys->list == NULL)
        return faas_fail_sys(err, errno, "AUTH_KEY_FILES");
    FAAS_TRY(split(keys, err));
    take_stamps(keys, keys->stamps);
    return load(keys, err);
}

faas_code keys_open(const char *files, int64_t ttl_s, struct keys **out_keys, faas_err *err)
{
    struct keys *keys = calloc(1, sizeof *keys);
    faas_code rc;

    if (keys == NULL)
        return faas_fail_sys(err, errno, "signing keys");
    keys->ttl_s = ttl_s;
    keys->term_s = term_of(ttl_s);
    pthread_rwlock_init(&keys->lock, NULL);
    ev_timer_init(&keys->timer, on_timer, LOOK_S, LOOK_S);
    keys->timer.data = keys;
    rc = read_files(keys, files, err);
    if (rc == FAAS_OK)
        *out_keys = keys;
    else
        keys_close(keys);
    return rc;
}

void keys_watch(struct keys *keys, faas_loop *loop, faas_pool *pool)
{
    keys->loop = loop;
    keys->pool = pool;
    faas_loop_post(loop, start_timer, keys);
}

void keys_close(struct keys *keys)
{
    if (keys == NULL)
        return;
    if (keys->loop != NULL)
        ev_timer_stop(faas_loop_ev(keys->loop), &keys->timer);
    faas_token_signer_free(keys->next);
    faas_token_signer_free(keys->signer);
    json_decref(keys->own);
    free(keys->list);
    pthread_rwlock_destroy(&keys->lock);
    free(keys);
}

/* ---- questions ---- */

faas_code keys_sign(struct keys *keys, struct faas_token_claims *claims, char **out_token,
                    faas_err *err)
{
    faas_code rc;

    pthread_rwlock_rdlock(&keys->lock);
    if (faas_wall_ms() / 1000 + keys->ttl_s > keys->ends_at_s)
        rc = faas_fail(err, FAAS_UNAVAILABLE,
                       "the signing key cannot be renewed in the store; try again");
    else
        rc = faas_token_sign(keys->signer, claims, keys->ttl_s, out_token, err);
    pthread_rwlock_unlock(&keys->lock);
    return rc;
}

faas_code keys_public(struct keys *keys, uint64_t deadline_ns, json_t **out_doc, faas_err *err)
{
    struct faas_kv_entry entry = {0};
    faas_code rc;

    FAAS_TRY(read_stored(keys, deadline_ns, &entry, err));
    rc = keyset_public(entry.value, entry.len, entry.revision, faas_wall_ms() / 1000, out_doc, err);
    faas_kv_entry_done(&entry);
    return rc;
}

void keys_signing(struct keys *keys, char out_kid[32])
{
    pthread_rwlock_rdlock(&keys->lock);
    (void)snprintf(out_kid, 32, "%s", faas_token_signer_kid(keys->signer));
    pthread_rwlock_unlock(&keys->lock);
}
