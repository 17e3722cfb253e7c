/* The calls of kv.h: asynchronous ones start an operation of kv_op.c, blocking ones wait for it. */
#include "net/kv.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "net/kv_internal.h"

/* For an operation that there was no memory for: done runs from the mailbox. */
struct orphan {
    faas_kv_done *done;
    void *arg;
};

static void orphan_done(void *arg)
{
    struct orphan *orphan = arg;
    faas_err err = {0};
    faas_code rc = faas_fail_sys(&err, ENOMEM, "use the store");

    orphan->done(orphan->arg, rc, NULL, &err);
    free(orphan);
}

static void run_async(faas_kv *kv, struct faas_kv_op *take_op, faas_kv_done *done, void *arg)
{
    struct orphan *orphan;

    if (take_op != NULL) {
        faas_kv_op_run(take_op, done, arg);
        return;
    }
    orphan = malloc(sizeof *orphan);
    if (orphan == NULL)
        abort(); /* as faas_loop_post(): a caller left waiting for ever would be worse */
    *orphan = (struct orphan){done, arg};
    faas_loop_post(kv->loop, orphan_done, orphan);
}

void faas_kv_get_async(faas_kv *kv, const char *key, uint64_t deadline_ns, faas_kv_done *done,
                       void *arg)
{
    run_async(kv, faas_kv_op_new(kv, FAAS_KV_GET, key, deadline_ns), done, arg);
}

void faas_kv_peek_async(faas_kv *kv, const char *key, uint64_t deadline_ns, faas_kv_done *done,
                        void *arg)
{
    run_async(kv, faas_kv_op_new(kv, FAAS_KV_PEEK, key, deadline_ns), done, arg);
}

void faas_kv_last_async(faas_kv *kv, uint64_t deadline_ns, faas_kv_done *done, void *arg)
{
    run_async(kv, faas_kv_op_new(kv, FAAS_KV_LAST, "", deadline_ns), done, arg);
}

static struct faas_kv_op *next_op(faas_kv *kv, const char *under, uint64_t from,
                                  uint64_t deadline_ns)
{
    struct faas_kv_op *op = faas_kv_op_new(kv, FAAS_KV_NEXT, under, deadline_ns);

    if (op != NULL)
        op->from = from;
    return op;
}

void faas_kv_next_async(faas_kv *kv, uint64_t from, uint64_t deadline_ns, faas_kv_done *done,
                        void *arg)
{
    run_async(kv, next_op(kv, "", from, deadline_ns), done, arg);
}

/* NULL without memory. */
static struct faas_kv_op *put_op(faas_kv *kv, const char *key, uint64_t expected,
                                 uint64_t deadline_ns)
{
    struct faas_kv_op *op = faas_kv_op_new(kv, FAAS_KV_PUT, key, deadline_ns);

    if (op != NULL)
        op->expected = op->sent = expected;
    return op;
}

static struct faas_kv_op *with_value(struct faas_kv_op *take_op, const void *value, size_t len)
{
    if (take_op == NULL || faas_kv_op_value(take_op, value, len))
        return take_op;
    faas_kv_op_free(take_op);
    return NULL;
}

void faas_kv_put_async(faas_kv *kv, const char *key, uint64_t expected, const void *value,
                       size_t len, uint64_t deadline_ns, faas_kv_done *done, void *arg)
{
    run_async(kv, with_value(put_op(kv, key, expected, deadline_ns), value, len), done, arg);
}

void faas_kv_append_async(faas_kv *kv, const struct faas_kv_item *item, uint64_t deadline_ns,
                          faas_kv_done *done, void *arg)
{
    struct faas_kv_op *op = faas_kv_op_new(kv, FAAS_KV_APPEND, item->key, deadline_ns);

    if (op != NULL)
        (void)snprintf(op->op_id, sizeof op->op_id, "%s", item->id);
    run_async(kv, with_value(op, item->value, item->len), done, arg);
}

void faas_kv_make_log_async(faas_kv *kv, const struct faas_kv_bounds *bounds, uint64_t deadline_ns,
                            faas_kv_done *done, void *arg)
{
    struct faas_kv_op *op = faas_kv_op_new(kv, FAAS_KV_OPEN, "", deadline_ns);

    if (op != NULL)
        op->bounds = *bounds;
    run_async(kv, op, done, arg);
}

/* ---- blocking ---- */

struct waiter {
    pthread_mutex_t mu;
    pthread_cond_t woken;
    bool is_done;
    faas_code code;
    faas_err err;
    struct faas_kv_entry entry;    /* a copy */
    struct faas_kv_change *change; /* the key's place, when it is wanted */
    size_t prefix;                 /* of the subject, before the key */
};

/* A copy of what follows the bucket's prefix; "" for a subject that no key has. */
static void copy_key(const struct waiter *w, const struct faas_kv_message *message)
{
    size_t len = strlen(message->subject);
    const char *key = len > w->prefix ? message->subject + w->prefix : "";

    (void)snprintf(w->change->key, sizeof w->change->key, "%s",
                   strlen(key) < sizeof w->change->key ? key : "");
    w->change->is_delete = message->entry.is_delete;
}

static void wake(void *arg, faas_code code, const struct faas_kv_entry *entry, const faas_err *err)
{
    struct waiter *w = arg;
    void *copy = NULL;

    if (entry != NULL && w->change != NULL)
        copy_key(w, (const struct faas_kv_message *)entry);

    if (entry != NULL && entry->value != NULL) {
        copy = malloc(entry->len + 1);
        if (copy != NULL)
            memcpy(copy, entry->value, entry->len + 1);
    }
    pthread_mutex_lock(&w->mu);
    w->code = code;
    w->err = *err;
    if (entry != NULL)
        w->entry = (struct faas_kv_entry){copy, entry->len, entry->revision, entry->is_delete};
    if (entry != NULL && entry->value != NULL && copy == NULL)
        w->code = faas_fail_sys(&w->err, ENOMEM, "copy an entry");
    w->is_done = true;
    pthread_cond_signal(&w->woken);
    pthread_mutex_unlock(&w->mu);
}

/* Runs the operation and waits for its end; *out_entry is the caller's.  out_change: for the key of
 * what was read, or NULL. */
static faas_code wait_with(struct faas_kv_op *take_op, struct faas_kv_change *out_change,
                           struct faas_kv_entry *out_entry, faas_err *err)
{
    struct waiter w = {
        .mu = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER, .change = out_change};

    if (take_op == NULL)
        return faas_fail_sys(err, ENOMEM, "use the store");
    if (faas_loop_is_own_thread(take_op->kv->loop)) {
        faas_kv_op_free(take_op);
        faas_fail(err, FAAS_INTERNAL, "internal error");
        return faas_err_detail(err, "blocking use of the store on the loop thread");
    }
    w.prefix = strlen("$KV.") + strlen(take_op->kv->bucket) + 1;
    faas_kv_op_run(take_op, wake, &w);
    pthread_mutex_lock(&w.mu);
    while (!w.is_done) /* bounded: done runs at the operation's deadline */
        pthread_cond_wait(&w.woken, &w.mu);
    pthread_mutex_unlock(&w.mu);
    pthread_cond_destroy(&w.woken);
    pthread_mutex_destroy(&w.mu);
    if (w.code == FAAS_OK)
        *out_entry = w.entry;
    else if (err != NULL)
        *err = w.err;
    return w.code;
}

static faas_code wait_for(struct faas_kv_op *take_op, struct faas_kv_entry *out_entry,
                          faas_err *err)
{
    return wait_with(take_op, NULL, out_entry, err);
}

faas_code faas_kv_next(faas_kv *kv, uint64_t from, uint64_t deadline_ns,
                       struct faas_kv_change *out_change, faas_err *err)
{
    return faas_kv_next_of(kv, "", from, deadline_ns, out_change, err);
}

faas_code faas_kv_next_of(faas_kv *kv, const char *under, uint64_t from, uint64_t deadline_ns,
                          struct faas_kv_change *out_change, faas_err *err)
{
    return wait_with(next_op(kv, under, from, deadline_ns), out_change, &out_change->entry, err);
}

faas_code faas_kv_get(faas_kv *kv, const char *key, uint64_t deadline_ns,
                      struct faas_kv_entry *out_entry, faas_err *err)
{
    return wait_for(faas_kv_op_new(kv, FAAS_KV_GET, key, deadline_ns), out_entry, err);
}

faas_code faas_kv_look(faas_kv *kv, const char *key, uint64_t deadline_ns,
                       struct faas_kv_entry *out_entry, faas_err *err)
{
    return wait_for(faas_kv_op_new(kv, FAAS_KV_LOOK, key, deadline_ns), out_entry, err);
}

static faas_code wait_for_revision(struct faas_kv_op *take_op, uint64_t *out_revision,
                                   faas_err *err)
{
    struct faas_kv_entry entry;

    FAAS_TRY(wait_for(take_op, &entry, err));
    if (out_revision != NULL)
        *out_revision = entry.revision;
    faas_kv_entry_done(&entry);
    return FAAS_OK;
}

faas_code faas_kv_last(faas_kv *kv, uint64_t deadline_ns, uint64_t *out_revision, faas_err *err)
{
    return wait_for_revision(faas_kv_op_new(kv, FAAS_KV_LAST, "", deadline_ns), out_revision, err);
}

faas_code faas_kv_put(faas_kv *kv, const char *key, uint64_t expected, const void *value,
                      size_t len, uint64_t deadline_ns, uint64_t *out_revision, faas_err *err)
{
    return wait_for_revision(with_value(put_op(kv, key, expected, deadline_ns), value, len),
                             out_revision, err);
}

faas_code faas_kv_delete(faas_kv *kv, const char *key, uint64_t expected, uint64_t deadline_ns,
                         uint64_t *out_revision, faas_err *err)
{
    return faas_kv_bury(kv, key, expected, NULL, 0, deadline_ns, out_revision, err);
}

faas_code faas_kv_bury(faas_kv *kv, const char *key, uint64_t expected, const void *word,
                       size_t len, uint64_t deadline_ns, uint64_t *out_revision, faas_err *err)
{
    struct faas_kv_op *op = faas_kv_op_new(kv, FAAS_KV_DELETE, key, deadline_ns);

    if (op != NULL) {
        op->expected = op->sent = expected;
        faas_random_token(op->op_id);
    }
    return wait_for_revision(with_value(op, word, len), out_revision, err);
}

void faas_kv_entry_done(struct faas_kv_entry *entry)
{
    if (entry == NULL)
        return;
    free(entry->value);
    *entry = (struct faas_kv_entry){0};
}

/* ---- opening ---- */

faas_code faas_kv_open_log(faas_rpc *rpc, const char *bucket, faas_kv **out_kv, faas_err *err)
{
    faas_kv *kv = calloc(1, sizeof *kv);

    if (kv == NULL)
        return faas_fail_sys(err, ENOMEM, "open bucket %s", bucket);
    atomic_init(&kv->refs, 1);
    LIST_INIT(&kv->pauses);
    faas_rpc_ref(rpc); /* operations may be on their way when it is closed */
    kv->rpc = rpc;
    kv->loop = faas_bus_loop(faas_rpc_bus(rpc));
    (void)snprintf(kv->bucket, sizeof kv->bucket, "%s", bucket);
    *out_kv = kv;
    return FAAS_OK;
}

faas_code faas_kv_open(faas_rpc *rpc, const char *bucket, int replicas, uint64_t deadline_ns,
                       faas_kv **out_kv, faas_err *err)
{
    faas_kv *kv = NULL;
    struct faas_kv_op *op;
    faas_code rc;

    FAAS_TRY(faas_kv_open_log(rpc, bucket, &kv, err));
    op = faas_kv_op_new(kv, FAAS_KV_OPEN, "", deadline_ns);
    if (op != NULL)
        op->bounds.replicas = replicas;
    rc = wait_for_revision(op, NULL, err);
    if (rc != FAAS_OK) {
        faas_kv_unref(kv);
        return rc;
    }
    *out_kv = kv;
    return FAAS_OK;
}

void faas_kv_close(faas_kv *kv)
{
    struct faas_kv_op *op;

    if (kv == NULL)
        return;
    while ((op = LIST_FIRST(&kv->pauses)) != NULL) {
        LIST_REMOVE(op, link);
        ev_timer_stop(faas_loop_ev(kv->loop), &op->pause);
        faas_kv_op_give_up(op);
    }
    faas_kv_unref(kv);
}

const char *faas_kv_bucket(const faas_kv *kv)
{
    return kv->bucket;
}

faas_rpc *faas_kv_rpc(const faas_kv *kv)
{
    return kv->rpc;
}
