#include "catalog.h"

#include "catalog_file.h"
#include "catalog_names.h"
#include "function.h"

#include "base/id.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PUT_FUNCTION, PUT_VERSION, DROP_FUNCTION, DROP_VERSION, SET_APPLIED, WRITES };

static const char *const write_sql[WRITES] = {
    /* No REPLACE: it would delete without the trigger that counts. */
    [PUT_FUNCTION] = ("INSERT INTO functions (key, tenant, name, record, revision)"
                      " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (key) DO UPDATE"
                      " SET record = excluded.record, revision = excluded.revision"
                      " ON CONFLICT (tenant, name) DO UPDATE SET key = excluded.key,"
                      " record = excluded.record, revision = excluded.revision"),
    [PUT_VERSION] = ("INSERT OR REPLACE INTO versions (key, tenant, id, version, record)"
                     " VALUES (?1, ?2, ?3, ?4, ?5)"), /* one text: clang asks for a comma */
    [DROP_FUNCTION] = "DELETE FROM functions WHERE key = ?1 RETURNING tenant, name",
    [DROP_VERSION] = "DELETE FROM versions WHERE key = ?1",
    [SET_APPLIED] = "UPDATE feed SET applied = ?1 WHERE bucket = 'functions'",
};

enum { PAGE, NAMED, FIND, VERSIONS, HAS_VERSION, COUNT, READS };

static const char *const read_sql[READS] = {
    [PAGE] = "SELECT record FROM functions WHERE tenant = ?1 AND name > ?2"
             " ORDER BY name LIMIT ?3",
    [NAMED] = "SELECT record FROM functions WHERE tenant = ?1 AND name = ?2",
    [FIND] = "SELECT record, revision FROM functions WHERE key = ?1",
    [VERSIONS] = "SELECT record FROM versions WHERE tenant = ?1 AND id = ?2"
                 " AND version < ?3 ORDER BY version DESC LIMIT ?4",
    [HAS_VERSION] = "SELECT count(*) FROM versions WHERE tenant = ?1 AND id = ?2 AND version = ?3",
    [COUNT] = "SELECT functions FROM owners WHERE tenant = ?1",
};

struct catalog {
    struct catalog_file file;     /* path and lock immutable; writer: loop thread */
    sqlite3_stmt *writes[WRITES]; /* loop thread */
    sqlite3_stmt *reads[READS];   /* guarded by mu; prepared at their first use */
    bool is_in_batch;             /* loop thread */
    struct catalog_names names;   /* has its own lock */
    pthread_mutex_t mu;
    _Atomic bool is_good; /* written with mu */
    /* file.reader is guarded by mu */
    _Atomic uint64_t applied;
};

FAAS_DEFINE_AUTO(sqlite3_stmt, sqlite3_finalize)

/* Ends a use of a statement that is kept. */
static void reset(sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
}

static faas_code sql_fail(faas_err *err, sqlite3 *db, const char *what)
{
    return faas_fail_sys(err, EIO, "catalog: %s: %s", what, sqlite3_errmsg(db));
}

static void finalize(sqlite3_stmt **stmts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sqlite3_finalize(stmts[i]);
        stmts[i] = NULL;
    }
}

/* Before the connections are closed. */
static void finalize_all(catalog *cat)
{
    finalize(cat->writes, WRITES);
    finalize(cat->reads, READS);
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
    finalize_all(cat);
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
    catalog_names_init(&cat->names);
    rc = catalog_file_claim(&cat->file, &catalog_functions, conf->dir, conf->instance, err);
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
    finalize_all(cat);
    catalog_file_release(&cat->file);
    catalog_names_done(&cat->names);
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
    catalog_names_forget(&cat->names);
    cat->is_good = rc == FAAS_OK;
    pthread_mutex_unlock(&cat->mu);
    return rc;
}

bool catalog_is_good(catalog *cat)
{
    return cat->is_good;
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
    catalog_names_set_batch(&cat->names, true);
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

    reset(stmt);
    return rc == SQLITE_DONE ? FAAS_OK : broken(cat, "write", err);
}

/* The text outlives the statement's use: SQLite need not copy it, which it could fail to do. */
static void bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
    sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC);
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

/* doc is what the change's value says. */
static faas_code put(catalog *cat, const struct catalog_change *change, const char *tenant,
                     const json_t *doc, faas_err *err)
{
    bool is_head = change->key[0] == 'f';
    sqlite3_stmt *stmt = cat->writes[is_head ? PUT_FUNCTION : PUT_VERSION];

    bind_text(stmt, 1, change->key);
    bind_text(stmt, 2, tenant);
    bind_text(stmt, 3, is_head ? function_name(doc) : function_id(doc));
    sqlite3_bind_text(stmt, is_head ? 4 : 5, change->value, (int)change->len, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, is_head ? 5 : 4,
                       is_head ? (sqlite3_int64)change->revision : function_version(doc));
    FAAS_TRY(write_once(cat, is_head ? PUT_FUNCTION : PUT_VERSION, err));
    if (is_head)
        catalog_names_add(&cat->names, tenant, function_name(doc));
    return FAAS_OK;
}

/* A deletion names the key alone; the row tells whose function it was. */
static faas_code drop_function(catalog *cat, const char *key, faas_err *err)
{
    sqlite3_stmt *stmt = cat->writes[DROP_FUNCTION];
    int rc;

    bind_text(stmt, 1, key);
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        const char *tenant = (const char *)sqlite3_column_text(stmt, 0);
        const char *name = (const char *)sqlite3_column_text(stmt, 1);

        if (tenant != NULL && name != NULL)
            catalog_names_remove(&cat->names, tenant, name);
        rc = sqlite3_step(stmt);
    }
    reset(stmt);
    return rc == SQLITE_DONE ? FAAS_OK : broken(cat, "delete", err);
}

static faas_code drop(catalog *cat, const char *key, faas_err *err)
{
    if (key[0] == 'f')
        return drop_function(cat, key, err);
    bind_text(cat->writes[DROP_VERSION], 1, key);
    return write_once(cat, DROP_VERSION, err);
}

faas_code catalog_apply(catalog *cat, const struct catalog_change *change, faas_err *err)
{
    char tenant[FAAS_UUID_TEXT];
    FAAS_AUTO(json_t) *doc = NULL;
    faas_code rc;

    if (!read_key(change->key, tenant))
        return FAAS_OK;
    if (change->is_delete) {
        FAAS_TRY(begin_batch(cat, err));
        return drop(cat, change->key, err);
    }
    rc = faas_json_parse(change->value, change->len, false, &doc, err);
    if (rc == FAAS_INTERNAL)
        return broken(cat, "no memory for a record", err);
    if (rc != FAAS_OK)
        return faas_err_detail(err, "not a JSON object");
    if (function_check(doc, err) != FAAS_OK)
        return FAAS_INVALID; /* err has the log's detail */
    FAAS_TRY(begin_batch(cat, err));
    return put(cat, change, tenant, doc, err);
}

faas_code catalog_commit(catalog *cat, uint64_t applied, faas_err *err)
{
    FAAS_TRY(begin_batch(cat, err));
    sqlite3_bind_int64(cat->writes[SET_APPLIED], 1, (sqlite3_int64)applied);
    FAAS_TRY(write_once(cat, SET_APPLIED, err));
    if (sqlite3_exec(cat->file.writer, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        return broken(cat, "commit", err);
    cat->is_in_batch = false;
    catalog_names_set_batch(&cat->names, false);
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
    return faas_fail(err, FAAS_UNAVAILABLE, CATALOG_REBUILDING);
}

/* Takes what a read under lock_good() came to.  A file that cannot be read is no good any more:
 * whoever follows the bucket builds it again. */
static faas_code unlock(catalog *cat, faas_code rc)
{
    if (rc == FAAS_UNAVAILABLE)
        cat->is_good = false;
    pthread_mutex_unlock(&cat->mu);
    return rc;
}

struct rows { /* what a query's rows become */
    json_t *items;
    int64_t limit;
    size_t bytes, bytes_max;
    bool has_more;
};

/* The public form of a stored record; a text that is none means a damaged file. */
static faas_code read_record(const char *text, size_t len, json_t **out_record, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err why = {0};
    faas_code rc = text != NULL ? faas_json_parse(text, len, false, &doc, &why) : FAAS_INTERNAL;

    if (rc == FAAS_INVALID) {
        (void)faas_fail(err, FAAS_UNAVAILABLE, CATALOG_REBUILDING);
        (void)faas_err_detail(err, "catalog: a record is damaged: %s", why.msg);
        return FAAS_UNAVAILABLE;
    }
    *out_record = rc == FAAS_OK ? function_public(doc) : NULL;
    return *out_record != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "catalog: a record");
}

/* Column 0 of the row is a record's text; has_more when there is no room for it. */
static faas_code take_row(sqlite3_stmt *stmt, struct rows *rows, faas_err *err)
{
    const char *text = (const char *)sqlite3_column_text(stmt, 0);
    size_t len = (size_t)sqlite3_column_bytes(stmt, 0), count = json_array_size(rows->items);
    json_t *record;

    rows->bytes += len + 1;
    if ((int64_t)count == rows->limit || (count > 0 && rows->bytes > rows->bytes_max)) {
        rows->has_more = true;
        return FAAS_OK;
    }
    FAAS_TRY(read_record(text, len, &record, err));
    if (json_array_append_new(rows->items, record) != 0)
        return faas_fail_sys(err, ENOMEM, "catalog: a page");
    return FAAS_OK;
}

/* The rows of a query, or those there is room for. */
static faas_code take_rows(sqlite3_stmt *stmt, struct rows *rows, faas_err *err)
{
    int rc = SQLITE_DONE;

    while (!rows->has_more && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        FAAS_TRY(take_row(stmt, rows, err));
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        return catalog_file_read_failed(sqlite3_db_handle(stmt), "read", err);
    return FAAS_OK;
}

/* A statement ready to be bound; reset() ends its use, before the lock is let go. */
static faas_code begin_read(catalog *cat, int which, sqlite3_stmt **out_stmt, faas_err *err)
{
    if (cat->reads[which] == NULL &&
        sqlite3_prepare_v3(cat->file.reader, read_sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                           &cat->reads[which], NULL) != SQLITE_OK)
        return catalog_file_read_failed(cat->file.reader, "prepare", err);
    *out_stmt = cat->reads[which];
    return FAAS_OK;
}

static faas_code page_locked(catalog *cat, const struct catalog_query *query, struct rows *rows,
                             faas_err *err)
{
    sqlite3_stmt *stmt = NULL;
    faas_code rc;

    FAAS_TRY(begin_read(cat, PAGE, &stmt, err));
    bind_text(stmt, 1, query->tenant);
    bind_text(stmt, 2, query->after);
    sqlite3_bind_int64(stmt, 3, query->limit + 1); /* one more tells whether there is more */
    rc = take_rows(stmt, rows, err);
    reset(stmt);
    return rc;
}

/* The records of these names; one that is not there any more, or not yet, is left out. */
static faas_code take_named(catalog *cat, const char *tenant, const struct catalog_found *found,
                            struct rows *rows, faas_err *err)
{
    faas_code rc = FAAS_OK;
    sqlite3_stmt *stmt = NULL;

    FAAS_TRY(begin_read(cat, NAMED, &stmt, err));
    bind_text(stmt, 1, tenant);
    for (size_t i = 0; rc == FAAS_OK && i < found->count && !rows->has_more; i++) {
        bind_text(stmt, 2, found->names[i]);
        rc = take_rows(stmt, rows, err);
        sqlite3_reset(stmt);
    }
    reset(stmt);
    return rc;
}

static faas_code search_locked(catalog *cat, const struct catalog_query *query, struct rows *rows,
                               faas_err *err)
{
    struct catalog_search search = {.tenant = query->tenant,
                                    .after = query->after,
                                    .part = query->part,
                                    .max = (size_t)query->limit + 1};
    char after[FAAS_FUNCTION_NAME_MAX + 1];
    bool is_end = false;

    while (!rows->has_more && !is_end) {
        struct catalog_found found = {0};
        faas_code rc;

        FAAS_TRY(catalog_names_find(&cat->names, cat->file.reader, &search, &found, err));
        rc = take_named(cat, query->tenant, &found, rows, err);
        is_end = found.count < search.max;
        if (!is_end)
            memcpy(after, found.names[found.count - 1], sizeof after);
        search.after = after;
        free(found.names);
        FAAS_TRY(rc);
    }
    return FAAS_OK;
}

static faas_code versions_locked(catalog *cat, const struct catalog_versions_query *query,
                                 struct rows *rows, faas_err *err)
{
    sqlite3_stmt *stmt = NULL;
    faas_code rc;

    FAAS_TRY(begin_read(cat, VERSIONS, &stmt, err));
    bind_text(stmt, 1, query->tenant);
    bind_text(stmt, 2, query->id);
    sqlite3_bind_int64(stmt, 3, query->before);
    sqlite3_bind_int64(stmt, 4, query->limit + 1);
    rc = take_rows(stmt, rows, err);
    reset(stmt);
    return rc;
}

static faas_code take_head(sqlite3_stmt *stmt, struct catalog_head *out_head, faas_err *err)
{
    const char *text = (const char *)sqlite3_column_text(stmt, 0);
    char *copy = text != NULL ? strdup(text) : NULL;

    if (copy == NULL)
        return faas_fail_sys(err, ENOMEM, "catalog: a record");
    *out_head = (struct catalog_head){copy, (uint64_t)sqlite3_column_int64(stmt, 1)};
    return FAAS_OK;
}

static faas_code find_locked(catalog *cat, const char *key, struct catalog_head *out_head,
                             faas_err *err)
{
    sqlite3_stmt *stmt = NULL;
    faas_code code;
    int rc;

    FAAS_TRY(begin_read(cat, FIND, &stmt, err));
    bind_text(stmt, 1, key);
    rc = sqlite3_step(stmt);
    code = rc == SQLITE_ROW ? take_head(stmt, out_head, err)
                            : faas_fail(err, FAAS_NOT_FOUND, "not found");
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        code = catalog_file_read_failed(cat->file.reader, "read a head", err);
    reset(stmt);
    return code;
}

/* The number in the only row of a bound statement; 0 without a row. */
static faas_code take_number(sqlite3_stmt *stmt, int64_t *out_number, faas_err *err)
{
    int rc = sqlite3_step(stmt);
    faas_code code = FAAS_OK;

    *out_number = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        code = catalog_file_read_failed(sqlite3_db_handle(stmt), "read a number", err);
    reset(stmt);
    return code;
}

static faas_code count_locked(catalog *cat, const char *tenant, int64_t *out_count, faas_err *err)
{
    sqlite3_stmt *stmt = NULL;

    FAAS_TRY(begin_read(cat, COUNT, &stmt, err));
    bind_text(stmt, 1, tenant);
    return take_number(stmt, out_count, err);
}

static faas_code has_version_locked(catalog *cat, const struct catalog_version *version,
                                    bool *out_has, faas_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int64_t count;

    FAAS_TRY(begin_read(cat, HAS_VERSION, &stmt, err));
    bind_text(stmt, 1, version->tenant);
    bind_text(stmt, 2, version->id);
    sqlite3_bind_int64(stmt, 3, version->number);
    FAAS_TRY(take_number(stmt, &count, err));
    *out_has = count > 0;
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
    if (query->part[0] == '\0')
        rc = page_locked(cat, query, &rows, err);
    else
        rc = search_locked(cat, query, &rows, err);
    FAAS_TRY(unlock(cat, rc));
    *out_items = FAAS_STEAL(items);
    *out_has_more = rows.has_more;
    return FAAS_OK;
}

faas_code catalog_find(catalog *cat, const char *key, struct catalog_head *out_head, faas_err *err)
{
    FAAS_TRY(lock_good(cat, err));
    return unlock(cat, find_locked(cat, key, out_head, err));
}

faas_code catalog_versions(catalog *cat, const struct catalog_versions_query *query,
                           json_t **out_items, bool *out_has_more, faas_err *err)
{
    FAAS_AUTO(json_t) *items = json_array();
    struct rows rows = {.items = items, .limit = query->limit, .bytes_max = query->bytes_max};

    if (items == NULL)
        return faas_fail_sys(err, ENOMEM, "catalog versions");
    FAAS_TRY(lock_good(cat, err));
    FAAS_TRY(unlock(cat, versions_locked(cat, query, &rows, err)));
    *out_items = FAAS_STEAL(items);
    *out_has_more = rows.has_more;
    return FAAS_OK;
}

faas_code catalog_count(catalog *cat, const char *tenant, int64_t *out_count, faas_err *err)
{
    FAAS_TRY(lock_good(cat, err));
    return unlock(cat, count_locked(cat, tenant, out_count, err));
}

faas_code catalog_has_version(catalog *cat, const struct catalog_version *version, bool *out_has,
                              faas_err *err)
{
    FAAS_TRY(lock_good(cat, err));
    return unlock(cat, has_version_locked(cat, version, out_has, err));
}
