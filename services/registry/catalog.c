#include "catalog.h"

#include "catalog_file.h"
#include "function.h"

#include "base/id.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PUT_FUNCTION, PUT_VERSION, DROP_FUNCTION, DROP_VERSION, SET_APPLIED, WRITES };

static const char *const write_sql[WRITES] = {
    [PUT_FUNCTION] = "INSERT OR REPLACE INTO functions (key, tenant, name, record)"
                     " VALUES (?1, ?2, ?3, ?4)",
    [PUT_VERSION] = "INSERT OR REPLACE INTO versions (key, tenant, id, version, record)"
                    " VALUES (?1, ?2, ?3, ?4, ?5)",
    [DROP_FUNCTION] = "DELETE FROM functions WHERE key = ?1",
    [DROP_VERSION] = "DELETE FROM versions WHERE key = ?1",
    [SET_APPLIED] = "UPDATE feed SET applied = ?1 WHERE bucket = 'functions'",
};

struct catalog {
    struct catalog_file file;     /* path and lock immutable; writer: loop thread */
    sqlite3_stmt *writes[WRITES]; /* loop thread */
    bool is_in_batch;             /* loop thread */
    pthread_mutex_t mu;
    bool is_good; /* guarded by mu */
    /* file.reader is guarded by mu, too */
    _Atomic uint64_t applied;
};

FAAS_DEFINE_AUTO(sqlite3_stmt, sqlite3_finalize)

static faas_code sql_fail(faas_err *err, sqlite3 *db, const char *what)
{
    return faas_fail_sys(err, EIO, "catalog: %s: %s", what, sqlite3_errmsg(db));
}

static void finalize_writes(catalog *cat)
{
    for (int i = 0; i < WRITES; i++) {
        sqlite3_finalize(cat->writes[i]);
        cat->writes[i] = NULL;
    }
}

static faas_code prepare_writes(catalog *cat, faas_err *err)
{
    for (int i = 0; i < WRITES; i++)
        if (sqlite3_prepare_v3(cat->file.writer, write_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &cat->writes[i], NULL) != SQLITE_OK)
            return sql_fail(err, cat->file.writer, write_sql[i]);
    return FAAS_OK;
}

static faas_code read_applied(catalog *cat, faas_err *err)
{
    FAAS_AUTO(sqlite3_stmt) *stmt = NULL;

    if (sqlite3_prepare_v2(cat->file.writer, "SELECT applied FROM feed WHERE bucket = 'functions'",
                           -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW)
        return sql_fail(err, cat->file.writer, "read the applied sequence");
    cat->applied = (uint64_t)sqlite3_column_int64(stmt, 0);
    return FAAS_OK;
}

static faas_code open_existing(catalog *cat, uint64_t bucket_last, faas_err *err)
{
    FAAS_TRY(catalog_file_open(&cat->file, err));
    FAAS_TRY(read_applied(cat, err));
    if (cat->applied > bucket_last)
        return faas_fail_sys(err, EPROTO, "catalog: ahead of its bucket, so of another one");
    return prepare_writes(cat, err);
}

static faas_code begin_empty(catalog *cat, faas_err *err)
{
    finalize_writes(cat);
    FAAS_TRY(catalog_file_create(&cat->file, err));
    FAAS_TRY(prepare_writes(cat, err));
    cat->applied = 0;
    return FAAS_OK;
}

faas_code catalog_open(const struct catalog_conf *conf, catalog **out_catalog, faas_err *err)
{
    catalog *cat = calloc(1, sizeof *cat);
    faas_code rc;

    if (cat == NULL)
        return faas_fail_sys(err, errno, "catalog");
    pthread_mutex_init(&cat->mu, NULL);
    rc = catalog_file_claim(&cat->file, conf->dir, conf->instance, err);
    if (rc == FAAS_OK && open_existing(cat, conf->bucket_last, NULL) != FAAS_OK)
        rc = begin_empty(cat, err);
    if (rc != FAAS_OK) {
        catalog_close(cat);
        return rc;
    }
    cat->is_good = true;
    *out_catalog = cat;
    return FAAS_OK;
}

void catalog_close(catalog *cat)
{
    if (cat == NULL)
        return;
    finalize_writes(cat);
    catalog_file_release(&cat->file);
    pthread_mutex_destroy(&cat->mu);
    free(cat);
}

static void set_good(catalog *cat, bool is_good)
{
    pthread_mutex_lock(&cat->mu);
    cat->is_good = is_good;
    pthread_mutex_unlock(&cat->mu);
}

faas_code catalog_rebuild(catalog *cat, faas_err *err)
{
    faas_code rc;

    pthread_mutex_lock(&cat->mu); /* the reader's connection changes */
    cat->is_good = false;
    cat->is_in_batch = false;
    rc = begin_empty(cat, err);
    cat->is_good = rc == FAAS_OK;
    pthread_mutex_unlock(&cat->mu);
    return rc;
}

uint64_t catalog_applied(const catalog *cat)
{
    return cat->applied;
}

/* ---- writing: loop thread ---- */

static faas_code broken(catalog *cat, const char *what, faas_err *err)
{
    (void)sql_fail(err, cat->file.writer, what);
    set_good(cat, false);
    return FAAS_INTERNAL;
}

static faas_code begin_batch(catalog *cat, faas_err *err)
{
    if (cat->is_in_batch)
        return FAAS_OK;
    if (sqlite3_exec(cat->file.writer, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return broken(cat, "begin", err);
    cat->is_in_batch = true;
    return FAAS_OK;
}

/* Runs a bound statement once. */
static faas_code write_once(catalog *cat, int which, faas_err *err)
{
    sqlite3_stmt *stmt = cat->writes[which];
    int rc = sqlite3_step(stmt);

    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return rc == SQLITE_DONE ? FAAS_OK : broken(cat, "write", err);
}

static void bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
    sqlite3_bind_text(stmt, at, text, -1, SQLITE_TRANSIENT);
}

/* "f.<tenant>." or "v.<tenant>." with something behind it; other keys are not ours. */
static bool read_key(const char *key, char out_tenant[FAAS_UUID_TEXT])
{
    size_t tenant_len = FAAS_UUID_TEXT - 1;

    if ((key[0] != 'f' && key[0] != 'v') || key[1] != '.' || strlen(key) < tenant_len + 4 ||
        key[2 + tenant_len] != '.')
        return false;
    memcpy(out_tenant, key + 2, tenant_len);
    out_tenant[tenant_len] = '\0';
    return faas_uuid_is(out_tenant);
}

static faas_code put(catalog *cat, const char *key, const char *tenant, const json_t *doc,
                     faas_err *err)
{
    bool is_head = key[0] == 'f';
    sqlite3_stmt *stmt = cat->writes[is_head ? PUT_FUNCTION : PUT_VERSION];
    FAAS_AUTO(json_t) *public = function_public(doc);
    FAAS_AUTO(char) *record = public == NULL ? NULL : faas_json_text(public, NULL);

    if (record == NULL)
        return broken(cat, "no memory for a record", err);
    bind_text(stmt, 1, key);
    bind_text(stmt, 2, tenant);
    bind_text(stmt, 3, is_head ? function_name(doc) : function_id(doc));
    if (!is_head)
        sqlite3_bind_int64(stmt, 4, function_version(doc));
    bind_text(stmt, is_head ? 4 : 5, record);
    return write_once(cat, is_head ? PUT_FUNCTION : PUT_VERSION, err);
}

static faas_code drop(catalog *cat, const char *key, faas_err *err)
{
    int which = key[0] == 'f' ? DROP_FUNCTION : DROP_VERSION;

    bind_text(cat->writes[which], 1, key);
    return write_once(cat, which, err);
}

faas_code catalog_apply(catalog *cat, const struct catalog_change *change, faas_err *err)
{
    char tenant[FAAS_UUID_TEXT];
    FAAS_AUTO(json_t) *doc = NULL;

    if (!read_key(change->key, tenant))
        return FAAS_OK;
    if (change->is_delete) {
        FAAS_TRY(begin_batch(cat, err));
        return drop(cat, change->key, err);
    }
    if (function_parse(change->value, change->len, &doc, err) != FAAS_OK)
        return FAAS_INVALID; /* err has the log's detail */
    FAAS_TRY(begin_batch(cat, err));
    return put(cat, change->key, tenant, doc, err);
}

faas_code catalog_commit(catalog *cat, uint64_t applied, faas_err *err)
{
    FAAS_TRY(begin_batch(cat, err));
    sqlite3_bind_int64(cat->writes[SET_APPLIED], 1, (sqlite3_int64)applied);
    FAAS_TRY(write_once(cat, SET_APPLIED, err));
    if (sqlite3_exec(cat->file.writer, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        return broken(cat, "commit", err);
    cat->is_in_batch = false;
    cat->applied = applied;
    return FAAS_OK;
}

/* ---- reading: any thread ---- */

/* Takes the reader's lock; the caller unlocks after an OK. */
static faas_code lock_good(catalog *cat, faas_err *err)
{
    pthread_mutex_lock(&cat->mu);
    if (cat->is_good)
        return FAAS_OK;
    pthread_mutex_unlock(&cat->mu);
    return faas_fail(err, FAAS_UNAVAILABLE, "the list of functions is being built again");
}

struct rows { /* what a query's rows become */
    json_t *items;
    int64_t limit;
    size_t bytes, bytes_max;
    bool has_more;
};

/* Column 0 of each row is a record's text. */
static faas_code take_rows(sqlite3_stmt *stmt, struct rows *rows, faas_err *err)
{
    int rc;

    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        size_t len = (size_t)sqlite3_column_bytes(stmt, 0);
        size_t count = json_array_size(rows->items);
        json_t *record;

        rows->bytes += len + 1;
        if ((int64_t)count == rows->limit || (count > 0 && rows->bytes > rows->bytes_max)) {
            rows->has_more = true;
            return FAAS_OK;
        }
        record = json_loadb((const char *)sqlite3_column_text(stmt, 0), len, 0, NULL);
        if (json_array_append_new(rows->items, record) != 0)
            return faas_fail_sys(err, EIO, "catalog: a record is damaged, or no memory");
    }
    if (rc != SQLITE_DONE)
        return sql_fail(err, sqlite3_db_handle(stmt), "read");
    return FAAS_OK;
}

static faas_code page_locked(catalog *cat, const struct catalog_query *query, struct rows *rows,
                             faas_err *err)
{
    static const char sql[] = "SELECT record FROM functions WHERE tenant = ?1 AND name > ?2"
                              " AND instr(lower(name), lower(?3)) > 0 ORDER BY name LIMIT ?4";
    FAAS_AUTO(sqlite3_stmt) *stmt = NULL;

    if (sqlite3_prepare_v2(cat->file.reader, sql, -1, &stmt, NULL) != SQLITE_OK)
        return sql_fail(err, cat->file.reader, "page");
    bind_text(stmt, 1, query->tenant);
    bind_text(stmt, 2, query->after);
    bind_text(stmt, 3, query->part);
    sqlite3_bind_int64(stmt, 4, query->limit + 1); /* one more tells whether there is more */
    return take_rows(stmt, rows, err);
}

static faas_code versions_locked(catalog *cat, const struct catalog_versions_query *query,
                                 struct rows *rows, faas_err *err)
{
    static const char sql[] = "SELECT record FROM versions WHERE tenant = ?1 AND id = ?2"
                              " AND version < ?3 ORDER BY version DESC LIMIT ?4";
    FAAS_AUTO(sqlite3_stmt) *stmt = NULL;

    if (sqlite3_prepare_v2(cat->file.reader, sql, -1, &stmt, NULL) != SQLITE_OK)
        return sql_fail(err, cat->file.reader, "versions");
    bind_text(stmt, 1, query->tenant);
    bind_text(stmt, 2, query->id);
    sqlite3_bind_int64(stmt, 3, query->before);
    sqlite3_bind_int64(stmt, 4, query->limit + 1);
    return take_rows(stmt, rows, err);
}

static faas_code count_locked(catalog *cat, const char *tenant, int64_t *out_count, faas_err *err)
{
    FAAS_AUTO(sqlite3_stmt) *stmt = NULL;

    if (sqlite3_prepare_v2(cat->file.reader, "SELECT count(*) FROM functions WHERE tenant = ?1", -1,
                           &stmt, NULL) != SQLITE_OK)
        return sql_fail(err, cat->file.reader, "count");
    bind_text(stmt, 1, tenant);
    if (sqlite3_step(stmt) != SQLITE_ROW)
        return sql_fail(err, cat->file.reader, "count");
    *out_count = sqlite3_column_int64(stmt, 0);
    return FAAS_OK;
}

faas_code catalog_page(catalog *cat, const struct catalog_query *query, json_t **out_items,
                       bool *out_has_more, faas_err *err)
{
    FAAS_AUTO(json_t) *items = json_array();
    struct rows rows = {.items = items, .limit = query->limit, .bytes_max = query->bytes_max};
    faas_code rc;

    if (items == NULL)
        return faas_fail_sys(err, ENOMEM, "catalog page");
    FAAS_TRY(lock_good(cat, err));
    rc = page_locked(cat, query, &rows, err);
    pthread_mutex_unlock(&cat->mu);
    FAAS_TRY(rc);
    *out_items = FAAS_STEAL(items);
    *out_has_more = rows.has_more;
    return FAAS_OK;
}

faas_code catalog_versions(catalog *cat, const struct catalog_versions_query *query,
                           json_t **out_items, bool *out_has_more, faas_err *err)
{
    FAAS_AUTO(json_t) *items = json_array();
    struct rows rows = {.items = items, .limit = query->limit, .bytes_max = query->bytes_max};
    faas_code rc;

    if (items == NULL)
        return faas_fail_sys(err, ENOMEM, "catalog versions");
    FAAS_TRY(lock_good(cat, err));
    rc = versions_locked(cat, query, &rows, err);
    pthread_mutex_unlock(&cat->mu);
    FAAS_TRY(rc);
    *out_items = FAAS_STEAL(items);
    *out_has_more = rows.has_more;
    return FAAS_OK;
}

faas_code catalog_count(catalog *cat, const char *tenant, int64_t *out_count, faas_err *err)
{
    faas_code rc;

    FAAS_TRY(lock_good(cat, err));
    rc = count_locked(cat, tenant, out_count, err);
    pthread_mutex_unlock(&cat->mu);
    return rc;
}
