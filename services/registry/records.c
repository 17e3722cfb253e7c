#include "records.h"

#include "call_record.h"
#include "records_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE(and)                                                                                  \
    "SELECT record FROM calls WHERE tenant = ?1 " and                                              \
        " AND id >= ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4"

static const char *const read_sql[READS] = {
    [READ_ALL] = PAGE(""),
    [READ_BY_FUNCTION] = PAGE("AND function = ?5"),
    [READ_BY_STATUS] = PAGE("AND status = ?6"),
    [READ_BY_BOTH] = PAGE("AND function = ?5 AND status = ?6"),
    [READ_ONE] = "SELECT record FROM calls WHERE tenant = ?1 AND id = ?2",
    [READ_LOG] = ("SELECT log FROM calls LEFT JOIN logs ON logs.n = calls.n"
                  " WHERE tenant = ?1 AND id = ?2"),
};

/* ---- opening ---- */

void records_reset(sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
}

void records_bind_uuid(sqlite3_stmt *stmt, int at, const char *uuid)
{
    uint8_t bytes[16];

    faas_uuid_to_bytes(uuid, bytes);
    sqlite3_bind_blob(stmt, at, bytes, sizeof bytes, SQLITE_TRANSIENT);
}

void records_set_good(records *self, bool is_good)
{
    pthread_mutex_lock(&self->mu);
    self->is_good = is_good;
    pthread_mutex_unlock(&self->mu);
}

static void finalize(sqlite3_stmt **stmts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sqlite3_finalize(stmts[i]);
        stmts[i] = NULL;
    }
}

static void finalize_all(records *self)
{
    finalize(self->writes, WRITES);
    finalize(self->reads, READS);
}

static faas_code read_applied(records *self, faas_err *err)
{
    sqlite3_stmt *stmt = NULL;
    bool has_row =
        sqlite3_prepare_v2(self->file.writer, "SELECT applied FROM feed WHERE bucket = 'records'",
                           -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW;

    if (has_row)
        self->applied = (uint64_t)sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return has_row ? FAAS_OK : faas_fail_sys(err, EIO, "records: read the applied sequence");
}

static faas_code open_existing(records *self, faas_err *err)
{
    FAAS_TRY(catalog_file_open(&self->file, err));
    FAAS_TRY(read_applied(self, err));
    if (self->applied > self->conf.log_last)
        return faas_fail_sys(err, EPROTO, "records: ahead of their log, so of another one");
    return records_prepare_writes(self, err);
}

static faas_code begin_empty(records *self, faas_err *err)
{
    finalize_all(self);
    FAAS_TRY(catalog_file_create(&self->file, err));
    FAAS_TRY(records_prepare_writes(self, err));
    self->applied = 0;
    return FAAS_OK;
}

faas_code records_open(const struct records_conf *conf, records **out_records, faas_err *err)
{
    records *self = calloc(1, sizeof *self);
    faas_code rc;

    if (self == NULL)
        return faas_fail_sys(err, errno, "records");
    self->conf = *conf;
    pthread_mutex_init(&self->mu, NULL);
    rc = catalog_file_claim(&self->file, &catalog_calls, conf->dir, conf->instance, err);
    if (rc == FAAS_OK && open_existing(self, NULL) != FAAS_OK)
        rc = begin_empty(self, err);
    if (rc != FAAS_OK) {
        records_close(self);
        return rc;
    }
    self->is_good = true;
    *out_records = self;
    return FAAS_OK;
}

void records_close(records *self)
{
    if (self == NULL)
        return;
    finalize_all(self);
    catalog_file_release(&self->file);
    pthread_mutex_destroy(&self->mu);
    free(self);
}

faas_code records_rebuild(records *self, faas_err *err)
{
    faas_code rc;

    pthread_mutex_lock(&self->mu); /* the reader's connection changes */
    self->is_good = false;
    self->is_in_batch = false;
    self->swept = 0;
    rc = begin_empty(self, err);
    self->is_good = rc == FAAS_OK;
    pthread_mutex_unlock(&self->mu);
    return rc;
}

bool records_is_good(records *self)
{
    return self->is_good;
}

uint64_t records_applied(const records *self)
{
    return self->applied;
}

/* ---- reading ---- */

static faas_code read_failed(records *self, const char *what, faas_err *err)
{
    if (sqlite3_errcode(self->file.reader) == SQLITE_NOMEM)
        return faas_fail_sys(err, ENOMEM, "records: %s", what);
    (void)faas_fail(err, FAAS_UNAVAILABLE, RECORDS_REBUILDING);
    (void)faas_err_detail(err, "records: %s: %s", what, sqlite3_errmsg(self->file.reader));
    return FAAS_UNAVAILABLE;
}

/* Takes the reader's lock; the caller unlocks after an OK. */
static faas_code begin_read(records *self, int which, sqlite3_stmt **out_stmt, faas_err *err)
{
    pthread_mutex_lock(&self->mu);
    if (!self->is_good) {
        pthread_mutex_unlock(&self->mu);
        return faas_fail(err, FAAS_UNAVAILABLE, RECORDS_REBUILDING);
    }
    if (self->reads[which] == NULL &&
        sqlite3_prepare_v3(self->file.reader, read_sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                           &self->reads[which], NULL) != SQLITE_OK) {
        faas_code rc = read_failed(self, "prepare", err);

        self->is_good = self->is_good && rc != FAAS_UNAVAILABLE;
        pthread_mutex_unlock(&self->mu);
        return rc;
    }
    *out_stmt = self->reads[which];
    return FAAS_OK;
}

/* Takes what a read came to.  A file that cannot be read is no good any more. */
static faas_code end_read(records *self, sqlite3_stmt *stmt, faas_code rc)
{
    records_reset(stmt);
    if (rc == FAAS_UNAVAILABLE)
        self->is_good = false;
    pthread_mutex_unlock(&self->mu);
    return rc;
}

/* The public form of the record in column 0. */
static faas_code read_record(records *self, sqlite3_stmt *stmt, json_t **out_record, faas_err *err)
{
    const char *text = (const char *)sqlite3_column_text(stmt, 0);
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err why = {0};

    if (text == NULL)
        return read_failed(self, "a record", err);
    switch (faas_json_parse(text, (size_t)sqlite3_column_bytes(stmt, 0), false, &doc, &why)) {
    case FAAS_OK:
        *out_record = call_record_public(doc);
        return *out_record != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "records: a record");
    case FAAS_INVALID:
        (void)faas_fail(err, FAAS_UNAVAILABLE, RECORDS_REBUILDING);
        (void)faas_err_detail(err, "records: a record is damaged: %s", why.msg);
        return FAAS_UNAVAILABLE;
    default:
        return faas_fail_sys(err, ENOMEM, "records: a record");
    }
}

struct rows { /* what a query's rows become */
    json_t *items;
    int64_t limit;
    size_t bytes, bytes_max;
    bool has_more;
};

static faas_code take_row(records *self, sqlite3_stmt *stmt, struct rows *rows, faas_err *err)
{
    size_t count = json_array_size(rows->items);
    json_t *record;

    rows->bytes += (size_t)sqlite3_column_bytes(stmt, 0) + 1;
    rows->has_more = (int64_t)count == rows->limit || (count > 0 && rows->bytes > rows->bytes_max);
    if (rows->has_more)
        return FAAS_OK;
    FAAS_TRY(read_record(self, stmt, &record, err));
    if (json_array_append_new(rows->items, record) != 0)
        return faas_fail_sys(err, ENOMEM, "records: a page");
    return FAAS_OK;
}

static faas_code take_rows(records *self, sqlite3_stmt *stmt, struct rows *rows, faas_err *err)
{
    int rc = SQLITE_DONE;

    while (!rows->has_more && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        FAAS_TRY(take_row(self, stmt, rows, err));
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? FAAS_OK : read_failed(self, "read", err);
}

static void bind_query(sqlite3_stmt *stmt, const struct records_query *query)
{
    uint8_t from[16], to[16], before[16];

    call_id_from_ms(query->since_ms, from);
    memset(to, 0xff, sizeof to);
    if (query->until_ms > 0)
        call_id_from_ms(query->until_ms, to);
    if (query->before[0] != '\0') {
        faas_uuid_to_bytes(query->before, before);
        if (memcmp(before, to, sizeof to) < 0)
            memcpy(to, before, sizeof to);
    }
    records_bind_uuid(stmt, 1, query->tenant);
    sqlite3_bind_blob(stmt, 2, from, sizeof from, SQLITE_TRANSIENT);
    sqlite3_bind_blob(stmt, 3, to, sizeof to, SQLITE_TRANSIENT);
    sqlite3_bind_int64(stmt, 4, query->limit + 1); /* one more tells whether there is more */
    if (query->function[0] != '\0')
        sqlite3_bind_text(stmt, 5, query->function, -1, SQLITE_STATIC);
    if (query->status[0] != '\0')
        sqlite3_bind_text(stmt, 6, query->status, -1, SQLITE_STATIC);
}

faas_code records_page(records *self, const struct records_query *query, json_t **out_items,
                       bool *out_has_more, faas_err *err)
{
    int which = query->function[0] != '\0'
                    ? (query->status[0] != '\0' ? READ_BY_BOTH : READ_BY_FUNCTION)
                    : (query->status[0] != '\0' ? READ_BY_STATUS : READ_ALL);
    FAAS_AUTO(json_t) *items = json_array();
    struct rows rows = {.items = items, .limit = query->limit, .bytes_max = query->bytes_max};
    sqlite3_stmt *stmt = NULL;

    if (items == NULL)
        return faas_fail_sys(err, ENOMEM, "records: a page");
    FAAS_TRY(begin_read(self, which, &stmt, err));
    bind_query(stmt, query);
    FAAS_TRY(end_read(self, stmt, take_rows(self, stmt, &rows, err)));
    *out_items = FAAS_STEAL(items);
    *out_has_more = rows.has_more;
    return FAAS_OK;
}

/* OK: the statement stands on the row of that call; end_read() then and after a failure of step. */
static faas_code find(records *self, int which, const struct records_id *id, sqlite3_stmt **out,
                      faas_err *err)
{
    faas_code rc = FAAS_OK;
    int step;

    FAAS_TRY(begin_read(self, which, out, err));
    records_bind_uuid(*out, 1, id->tenant);
    records_bind_uuid(*out, 2, id->id);
    step = sqlite3_step(*out);
    if (step == SQLITE_DONE)
        rc = faas_fail(err, FAAS_NOT_FOUND,
                       "there is no call with this id, or no record of it any more");
    else if (step != SQLITE_ROW)
        rc = read_failed(self, "find a call", err);
    return rc == FAAS_OK ? rc : end_read(self, *out, rc);
}

faas_code records_get(records *self, const struct records_id *id, json_t **out_record,
                      faas_err *err)
{
    sqlite3_stmt *stmt = NULL;

    FAAS_TRY(find(self, READ_ONE, id, &stmt, err));
    return end_read(self, stmt, read_record(self, stmt, out_record, err));
}

faas_code records_log(records *self, const struct records_id *id, char **out_log, faas_err *err)
{
    sqlite3_stmt *stmt = NULL;
    const char *text;
    faas_code rc = FAAS_OK;

    FAAS_TRY(find(self, READ_LOG, id, &stmt, err));
    text = (const char *)sqlite3_column_text(stmt, 0);
    *out_log = strdup(text != NULL ? text : "");
    if (*out_log == NULL)
        rc = faas_fail_sys(err, ENOMEM, "records: a log");
    return end_read(self, stmt, rc);
}
