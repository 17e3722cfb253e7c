/* Requests that may come more than once and are done once: rows with is_once.
 * Known     by Faas-Id and endpoint, for KEEP_MS from the first copy: while it runs further copies
 *           are dropped, afterwards they get the first one's answer.
 * Bound     the oldest answers beyond BYTES_MAX are forgotten, and only that there was one is kept.
 * Epoch     a request meant for another process under our id is refused as LOST: what that one did
 *           nobody knows here.
 * Threads   begin: the loop's; keep: any. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/rpc_internal.h"

#define KEEP_MS     60000
#define BYTES_MAX   (16 * 1024 * 1024)
#define ENTRIES_MAX 100000
#define BUCKETS     1024 /* power of two */

struct once {
    LIST_ENTRY(once) link;
    TAILQ_ENTRY(once) age; /* oldest first */
    const struct faas_rpc_end *end;
    char id[FAAS_UUID_TEXT];
    uint64_t at_ns;
    enum { RUNNING, ANSWERED, FAILED, FORGOTTEN } state;
    void *data; /* owned; of FAILED a faas_err */
    size_t len;
};
LIST_HEAD(once_list, once);
TAILQ_HEAD(once_queue, once);

struct faas_rpc_once {
    pthread_mutex_t mu; /* guards all below */
    struct once_list buckets[BUCKETS];
    struct once_queue queue;
    size_t count, bytes;
};

struct faas_rpc_once *faas_rpc_once_new(void)
{
    struct faas_rpc_once *table = calloc(1, sizeof *table);

    if (table == NULL)
        return NULL;
    pthread_mutex_init(&table->mu, NULL);
    for (size_t i = 0; i < BUCKETS; i++)
        LIST_INIT(&table->buckets[i]);
    TAILQ_INIT(&table->queue);
    return table;
}

static void forget_answer(struct faas_rpc_once *table, struct once *once)
{
    table->bytes -= once->len;
    free(once->data);
    once->data = NULL;
    once->len = 0;
    once->state = FORGOTTEN;
}

static void drop(struct faas_rpc_once *table, struct once *once)
{
    forget_answer(table, once);
    LIST_REMOVE(once, link);
    TAILQ_REMOVE(&table->queue, once, age);
    table->count--;
    free(once);
}

void faas_rpc_once_free(struct faas_rpc_once *table)
{
    struct once *once;

    if (table == NULL)
        return;
    while ((once = TAILQ_FIRST(&table->queue)) != NULL)
        drop(table, once);
    pthread_mutex_destroy(&table->mu);
    free(table);
}

/* Ids are time and chance; the last digits are chance. */
static struct once_list *bucket_of(struct faas_rpc_once *table, const char *id)
{
    return &table->buckets[strtoul(id + FAAS_UUID_TEXT - 1 - 6, NULL, 16) & (BUCKETS - 1)];
}

static struct once *find(struct faas_rpc_once *table, const struct faas_rpc_end *end,
                         const char *id)
{
    struct once *once;

    LIST_FOREACH (once, bucket_of(table, id), link) {
        if (once->end == end && strcmp(once->id, id) == 0)
            return once;
    }
    return NULL;
}

static void drop_old(struct faas_rpc_once *table, uint64_t now)
{
    struct once *once;

    while ((once = TAILQ_FIRST(&table->queue)) != NULL &&
           (now > once->at_ns + KEEP_MS * FAAS_MS_NS || table->count >= ENTRIES_MAX))
        drop(table, once);
}

static bool add(struct faas_rpc_once *table, const struct faas_rpc_end *end, const char *id)
{
    struct once *once = calloc(1, sizeof *once);

    if (once == NULL)
        return false;
    once->end = end;
    once->at_ns = faas_now_ns();
    memcpy(once->id, id, sizeof once->id);
    LIST_INSERT_HEAD(bucket_of(table, id), once, link);
    TAILQ_INSERT_TAIL(&table->queue, once, age);
    table->count++;
    return true;
}

static void refuse(faas_rpc *rpc, faas_msg *take_msg, const faas_err *err)
{
    faas_rpc_answer_err(rpc, take_msg, err);
    faas_msg_free(take_msg);
}

/* mu is held.  A copy of what runs is dropped: its asker gets the first one's answer. */
static void answer_again(faas_rpc *rpc, const struct once *once, const faas_msg *msg)
{
    faas_err err = {0};

    if (once->state == ANSWERED)
        faas_rpc_send_again(rpc, msg, NULL, once->data, once->len);
    if (once->state == FAILED)
        memcpy(&err, once->data, sizeof err);
    if (once->state == FORGOTTEN)
        faas_fail(&err, FAAS_TIMEOUT, "this was done, and its answer is not kept any more");
    if (err.code != FAAS_OK)
        faas_rpc_send_again(rpc, msg, &err, NULL, 0);
}

bool faas_rpc_once_begin(struct faas_rpc_end *end, faas_msg *take_msg)
{
    struct faas_rpc_once *table = end->rpc->once;
    const char *id = faas_msg_header(take_msg, FAAS_H_ID);
    const char *epoch = faas_msg_header(take_msg, FAAS_H_EPOCH);
    const struct once *once;
    bool is_added = false;
    faas_err err = {0};

    if (epoch != NULL && end->rpc->epoch != NULL && strcmp(epoch, end->rpc->epoch) != 0) {
        faas_fail(&err, FAAS_LOST, "another process has this address by now");
        refuse(end->rpc, take_msg, &err);
        return false;
    }
    if (id == NULL || !faas_uuid_is(id))
        return true;
    pthread_mutex_lock(&table->mu);
    drop_old(table, faas_now_ns());
    once = find(table, end, id);
    if (once == NULL)
        is_added = add(table, end, id);
    else
        answer_again(end->rpc, once, take_msg);
    pthread_mutex_unlock(&table->mu);
    if (is_added)
        return true;
    if (once == NULL)
        faas_rpc_answer_err(end->rpc, take_msg, (faas_fail_sys(&err, ENOMEM, "a request"), &err));
    faas_msg_free(take_msg);
    return false;
}

/* mu is held. */
static void keep(struct faas_rpc_once *table, struct once *once, const void *data, size_t len)
{
    struct once *old;

    once->data = malloc(len + 1);
    if (once->data == NULL) {
        once->state = FORGOTTEN;
        return;
    }
    if (len > 0)
        memcpy(once->data, data, len);
    once->len = len;
    table->bytes += len;
    TAILQ_FOREACH (old, &table->queue, age) {
        if (table->bytes <= BYTES_MAX)
            break;
        if (old->state == ANSWERED || old->state == FAILED)
            forget_answer(table, old);
    }
}

void faas_rpc_once_keep(const faas_msg *msg, const faas_err *err, const void *data, size_t len)
{
    const struct faas_rpc_end *end = msg->endpoint;
    const char *id = faas_msg_header(msg, FAAS_H_ID);
    struct faas_rpc_once *table;
    struct once *once;

    if (end == NULL || !end->row.is_once || id == NULL || !faas_uuid_is(id))
        return;
    table = end->rpc->once;
    pthread_mutex_lock(&table->mu);
    once = find(table, end, id);
    if (once != NULL && once->state == RUNNING && err != NULL && err->code == FAAS_UNAVAILABLE &&
        faas_msg_header(msg, FAAS_H_AGAIN) != NULL) {
        drop(table,
             once); /* what is asked again finds out by itself what was done: it may come anew */
    } else if (once != NULL && once->state == RUNNING) {
        once->state = err == NULL ? ANSWERED : FAILED;
        if (err == NULL)
            keep(table, once, data, len);
        else
            keep(table, once, err, sizeof *err);
    }
    pthread_mutex_unlock(&table->mu);
}
