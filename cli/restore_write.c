#include "cli/restore_write.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/session.h"
#include "contract.h"

#define WRITE_MS   30000 /* an election may be under way */
#define WAY_MOST   64    /* writes on their way at once */
#define WAY_BYTES  (8 * 1024 * 1024)
#define SESSION_ID "restore"

struct bucket {
    struct session session;
    faas_kv *kv;
    char name[BACKUP_NAME_MAX + 1]; /* "": none is open */
    json_int_t count;
    pthread_mutex_t mu;
    pthread_cond_t woken;
    size_t on_way, bytes; /* guarded by mu, as what follows */
    faas_code code;       /* of the first write that failed */
    faas_err err;
};

struct write { /* one on its way */
    struct bucket *bucket;
    size_t len;
};

/* ---- many at once ---- */

static void on_written(void *arg, faas_code code, const struct faas_kv_entry *entry,
                       const faas_err *err)
{
    struct write *write = arg;
    struct bucket *bucket = write->bucket;

    (void)entry;
    pthread_mutex_lock(&bucket->mu);
    bucket->on_way--;
    bucket->bytes -= write->len;
    if (code != FAAS_OK && bucket->code == FAAS_OK) {
        bucket->code = code;
        bucket->err = *err;
    }
    pthread_cond_signal(&bucket->woken);
    pthread_mutex_unlock(&bucket->mu);
    free(write);
}

/* Bounded: every write ends at its deadline. */
static faas_code wait_until(struct bucket *bucket, size_t most, size_t most_bytes, faas_err *err)
{
    faas_code code;

    pthread_mutex_lock(&bucket->mu);
    while (bucket->on_way > most || bucket->bytes > most_bytes)
        pthread_cond_wait(&bucket->woken, &bucket->mu);
    code = bucket->code;
    if (code != FAAS_OK)
        *err = bucket->err;
    pthread_mutex_unlock(&bucket->mu);
    return code;
}

static faas_code put_entry(struct bucket *bucket, const struct backup_record *record, faas_err *err)
{
    struct write *write;

    FAAS_TRY(wait_until(bucket, WAY_MOST - 1, WAY_BYTES, err));
    write = malloc(sizeof *write);
    if (write == NULL)
        return faas_fail_sys(err, errno, "restore");
    *write = (struct write){bucket, record->len};
    pthread_mutex_lock(&bucket->mu);
    bucket->on_way++;
    bucket->bytes += record->len;
    pthread_mutex_unlock(&bucket->mu);
    faas_kv_put_async(bucket->kv, record->name, 0, record->value, record->len,
                      faas_deadline_in_ms(WRITE_MS), on_written, write);
    return FAAS_OK;
}

/* ---- one after the other ---- */

static faas_code put_change(struct bucket *bucket, const struct backup_record *record,
                            faas_err *err)
{
    struct faas_kv_entry before = {0};
    uint64_t revision;
    faas_code code;

    FAAS_TRY(wait_until(bucket, 0, 0, err));
    code = faas_kv_get(bucket->kv, record->name, faas_deadline_in_ms(WRITE_MS), &before, err);
    if (code != FAAS_OK && code != FAAS_NOT_FOUND)
        return code;
    revision = before.revision; /* 0: not there */
    faas_kv_entry_done(&before);
    *err = (faas_err){0};
    if (record->kind == BACKUP_CHANGED)
        return faas_kv_put(bucket->kv, record->name, revision, record->value, record->len,
                           faas_deadline_in_ms(WRITE_MS), NULL, err);
    if (revision == 0)
        return FAAS_OK;
    return faas_kv_delete(bucket->kv, record->name, revision, faas_deadline_in_ms(WRITE_MS), NULL,
                          err);
}

/* ---- buckets ---- */

static faas_code open_bucket(const struct restore_write *write, const char *name,
                             struct bucket *bucket, faas_err *err)
{
    bool is_registrys =
        strcmp(name, FAAS_BUCKET_FUNCTIONS) == 0 || strcmp(name, FAAS_BUCKET_SECRETS) == 0;
    const char *user = is_registrys ? "registry" : "auth";
    struct session_at at = write->at;

    *bucket = (struct bucket){.mu = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER};
    snprintf(bucket->name, sizeof bucket->name, "%s", name);
    at.nkey_file = is_registrys ? write->registry_seed : write->auth_seed;
    FAAS_TRY(session_open_as(user, &at, SESSION_ID, &bucket->session, err));
    return faas_kv_open(bucket->session.rpc, bucket->name, write->replicas,
                        faas_deadline_in_ms(WRITE_MS), &bucket->kv, err);
}

/* When all of it is acknowledged, and in any case when no write is on its way. */
static faas_code close_bucket(const struct restore_write *write, struct bucket *bucket,
                              faas_err *err)
{
    faas_err why = {0};
    faas_code code;

    if (bucket->name[0] == '\0')
        return FAAS_OK;
    code = wait_until(bucket, 0, 0, &why);
    faas_kv_close(bucket->kv);
    (void)session_close(&bucket->session);
    if (code == FAAS_OK &&
        json_object_set_new(write->said, bucket->name, json_integer(bucket->count)) != 0)
        code = faas_fail_sys(&why, ENOMEM, "restore");
    bucket->name[0] = '\0';
    bucket->kv = NULL;
    if (code != FAAS_OK && err != NULL)
        *err = why;
    return code;
}

static faas_code take(struct restore_write *write, const struct backup_record *record,
                      struct bucket *bucket, faas_err *err)
{
    switch (record->kind) {
    case BACKUP_BUCKET:
        FAAS_TRY(close_bucket(write, bucket, err));
        return open_bucket(write, record->name, bucket, err);
    case BACKUP_ENTRY:
        bucket->count++;
        return put_entry(bucket, record, err);
    case BACKUP_CHANGED:
    case BACKUP_DELETED:
        bucket->count += record->kind == BACKUP_CHANGED;
        return put_change(bucket, record, err);
    default: /* keys and settings are there already, images come later */
        return FAAS_OK;
    }
}

static faas_code write_all(struct restore_write *write, struct bucket *bucket, faas_err *err)
{
    struct backup_record record;

    FAAS_TRY(backup_rewind(write->in, err));
    do {
        FAAS_TRY(backup_next(write->in, &record, err));
        FAAS_TRY(take(write, &record, bucket, err));
    } while (record.kind != BACKUP_END);
    return close_bucket(write, bucket, err);
}

/* The operator may see what else is only logged; a key that comes twice is the file's own fault. */
static void explain(struct restore_write *write)
{
    char why[FAAS_ERR_MSG_MAX];

    snprintf(why, sizeof why, "%s",
             write->err.detail[0] != '\0' ? write->err.detail : write->err.msg);
    if (write->code == FAAS_CONFLICT)
        (void)faas_fail(&write->err, FAAS_INVALID, "the backup names an entry twice: %s", why);
    else if (write->code != FAAS_INVALID)
        (void)faas_fail(&write->err, FAAS_UNAVAILABLE, "not restored: %s", why);
    write->code = write->err.code;
}

static faas_code check_empty(const struct restore_write *write, const char *name, faas_err *err)
{
    struct bucket bucket = {.name = ""};
    uint64_t last = 0;
    faas_code code = open_bucket(write, name, &bucket, err);

    if (code == FAAS_OK)
        code = faas_kv_last(bucket.kv, faas_deadline_in_ms(WRITE_MS), &last, err);
    if (code == FAAS_OK && last > 0)
        code = faas_fail(err, FAAS_INVALID,
                         "the servers hold %s already; a backup is restored into a deployment "
                         "whose services never ran",
                         name);
    faas_kv_close(bucket.kv);
    (void)session_close(&bucket.session);
    return code;
}

faas_code restore_write_empty(const struct restore_write *write, faas_err *err)
{
    for (size_t i = 0; backup_buckets[i] != NULL; i++)
        FAAS_TRY(check_empty(write, backup_buckets[i], err));
    return FAAS_OK;
}

faas_code restore_write(void *arg)
{
    struct restore_write *write = arg;
    struct bucket bucket = {.name = ""};

    write->code = write_all(write, &bucket, &write->err);
    (void)close_bucket(write, &bucket, NULL);
    faas_bus_end();
    if (write->code != FAAS_OK)
        explain(write);
    atomic_store(&write->is_done, true);
    return write->code;
}
