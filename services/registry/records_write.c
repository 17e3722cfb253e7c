/* The writing side of records.h. */
#include "call_record.h"
#include "records_internal.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DROP_ROWS    512 /* at a time, so that a commit takes its bounded time */
#define DROP_LOGS    64
#define DROP_TENANTS 4
#define SWEEP_ROWS   500

static const char *const write_sql[WRITES] = {
    [WRITE_FIND] = "SELECT n, ord, record FROM calls WHERE tenant = ?1 AND id = ?2",
    [WRITE_ADD] = "INSERT INTO calls (tenant, id, function, status, ord, record)"
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [WRITE_CHANGE] = "UPDATE calls SET function = ?3, status = ?4, ord = ?5, record = ?6"
                     " WHERE n = ?1",
    [WRITE_LOG] = "INSERT OR REPLACE INTO logs VALUES (?1, ?2)",
    [WRITE_APPLIED] = "UPDATE feed SET applied = ?1 WHERE bucket = 'records'",
    [WRITE_SUMS] = "SELECT calls, log_bytes FROM sums",
    [WRITE_DROP_OLDEST] = "DELETE FROM calls WHERE n IN (SELECT n FROM calls ORDER BY n LIMIT ?1)",
    [WRITE_OLDEST_ID] = "SELECT id FROM calls WHERE n IN"
                        " (SELECT n FROM calls ORDER BY n LIMIT 1 OFFSET ?1)",
    [WRITE_FULL_TENANTS] = "SELECT tenant, calls - ?1 FROM owners WHERE calls > ?1 LIMIT ?2",
    [WRITE_DROP_OF_TENANT] = "DELETE FROM calls WHERE n IN"
                             " (SELECT n FROM calls WHERE tenant = ?1 ORDER BY id LIMIT ?2)",
    [WRITE_DROP_LOGS] = "DELETE FROM logs WHERE n IN (SELECT n FROM logs ORDER BY n LIMIT ?1)",
    [WRITE_OPEN_CALLS] = "SELECT n, function, record FROM calls"
                         " WHERE status IN ('queued', 'running') AND n > ?1 ORDER BY n LIMIT ?2",
};

/* A damaged file is built again; one that cannot be written now is not. */
static faas_code sql_fail(records *self, const char *what, faas_err *err)
{
    int rc = sqlite3_errcode(self->file.writer) & 0xff;

    if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB) {
        records_set_good(self, false);
        return faas_fail_sys(err, EIO, "records: %s: %s", what, sqlite3_errmsg(self->file.writer));
    }
    (void)faas_fail(err, FAAS_UNAVAILABLE, "records of calls cannot be written at the moment");
    (void)faas_err_detail(err, "records: %s: %s", what, sqlite3_errmsg(self->file.writer));
    return FAAS_UNAVAILABLE;
}

faas_code records_prepare_writes(records *self, faas_err *err)
{
    for (int i = 0; i < WRITES; i++)
        if (sqlite3_prepare_v3(self->file.writer, write_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &self->writes[i], NULL) != SQLITE_OK)
            return faas_fail_sys(err, EIO, "records: %s: %s", write_sql[i],
                                 sqlite3_errmsg(self->file.writer));
    return FAAS_OK;
}

static faas_code begin_batch(records *self, faas_err *err)
{
    if (self->is_in_batch)
        return FAAS_OK;
    if (sqlite3_exec(self->file.writer, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return sql_fail(self, "begin", err);
    self->is_in_batch = true;
    return FAAS_OK;
}

/* Runs a bound statement once. */
static faas_code write_once(records *self, int which, faas_err *err)
{
    sqlite3_stmt *stmt = self->writes[which];
    int rc = sqlite3_step(stmt);

    records_reset(stmt);
    return rc == SQLITE_DONE ? FAAS_OK : sql_fail(self, "write", err);
}

/* ---- one note ---- */

struct row {
    sqlite3_int64 n;
    int64_t order;
    json_t *record; /* owned; NULL: there is none */
};

static faas_code find_row(records *self, const struct call_note *note, struct row *out_row,
                          faas_err *err)
{
    sqlite3_stmt *stmt = self->writes[WRITE_FIND];
    faas_code rc = FAAS_OK;
    int step;

    records_bind_uuid(stmt, 1, note->tenant);
    records_bind_uuid(stmt, 2, note->id);
    step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 2);

        out_row->n = sqlite3_column_int64(stmt, 0);
        out_row->order = sqlite3_column_int64(stmt, 1);
        rc = text == NULL ? faas_fail_sys(err, ENOMEM, "records: a record")
                          : faas_json_parse(text, (size_t)sqlite3_column_bytes(stmt, 2), false,
                                            &out_row->record, err);
        if (rc == FAAS_INVALID) {
            records_set_good(self, false);
            rc = faas_fail_sys(err, EIO, "records: a record is damaged");
        }
    } else if (step != SQLITE_DONE) {
        rc = sql_fail(self, "find", err);
    }
    records_reset(stmt);
    return rc;
}

/* Binds function, status and order at 3 to 5. */
static void bind_fields(sqlite3_stmt *stmt, const json_t *record, int64_t order)
{
    const char *function = json_string_value(json_object_get(record, "function"));
    const char *status = json_string_value(json_object_get(record, "status"));

    sqlite3_bind_text(stmt, 3, function != NULL ? function : "", -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(stmt, 4, status != NULL ? status : "", -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(stmt, 5, order);
}

/* Those, and the record's text at 6. */
static faas_code bind_record(sqlite3_stmt *stmt, const json_t *record, int64_t order, faas_err *err)
{
    size_t len = 0;
    char *text = faas_json_text(record, &len);

    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "records: a record");
    bind_fields(stmt, record, order);
    sqlite3_bind_text(stmt, 6, text, (int)len, free);
    return FAAS_OK;
}

/* A note that holds no log is its record, word for word. */
static faas_code bind_note(sqlite3_stmt *stmt, const struct call_note *note, faas_err *err)
{
    if (note->log != NULL)
        return bind_record(stmt, note->doc, note->order, err);
    bind_fields(stmt, note->doc, note->order);
    sqlite3_bind_text(stmt, 6, note->line, (int)note->len, SQLITE_STATIC);
    return FAAS_OK;
}

static faas_code add_row(records *self, const struct call_note *note, struct row *row,
                         faas_err *err)
{
    sqlite3_stmt *stmt = self->writes[WRITE_ADD];

    records_bind_uuid(stmt, 1, note->tenant);
    records_bind_uuid(stmt, 2, note->id);
    if (bind_note(stmt, note, err) != FAAS_OK) {
        records_reset(stmt);
        return err->code;
    }
    FAAS_TRY(write_once(self, WRITE_ADD, err));
    row->n = sqlite3_last_insert_rowid(self->file.writer);
    return FAAS_OK;
}

static faas_code change_row(records *self, const struct row *row, int64_t order, faas_err *err)
{
    sqlite3_stmt *stmt = self->writes[WRITE_CHANGE];

    sqlite3_bind_int64(stmt, 1, row->n);
    if (bind_record(stmt, row->record, order, err) != FAAS_OK) {
        records_reset(stmt);
        return err->code;
    }
    return write_once(self, WRITE_CHANGE, err);
}

static faas_code put_log(records *self, const struct row *row, const char *log, faas_err *err)
{
    sqlite3_bind_int64(self->writes[WRITE_LOG], 1, row->n);
    sqlite3_bind_text(self->writes[WRITE_LOG], 2, log, -1, SQLITE_STATIC);
    return write_once(self, WRITE_LOG, err);
}

static faas_code put_note(records *self, const struct call_note *note, struct row *row,
                          const char *log, faas_err *err)
{
    bool is_changed = true;

    FAAS_TRY(find_row(self, note, row, err));
    if (row->record == NULL) {
        FAAS_TRY(add_row(self, note, row, err));
    } else {
        FAAS_TRY(call_record_merge(row->record, row->order, note, &is_changed, err));
        if (is_changed)
            FAAS_TRY(
                change_row(self, row, note->order > row->order ? note->order : row->order, err));
    }
    return is_changed && log != NULL ? put_log(self, row, log, err) : FAAS_OK;
}

/* The log is kept apart from the record. */
static faas_code apply_note(records *self, struct call_note *note, faas_err *err)
{
    json_t *log = json_incref(json_object_get(note->doc, "log"));
    struct row row = {.record = NULL};
    faas_code rc;

    (void)json_object_del(note->doc, "log");
    rc = put_note(self, note, &row, json_string_value(log), err);
    json_decref(row.record);
    json_decref(log);
    return rc;
}

static faas_code apply_line(records *self, const char *line, size_t len, size_t *skipped,
                            faas_err *err)
{
    struct call_note note;
    faas_err why = {0};
    faas_code rc = call_note_read(line, len, &note, &why);

    if (rc == FAAS_INVALID) {
        (*skipped)++;
        return FAAS_OK;
    }
    if (rc == FAAS_OK) {
        rc = apply_note(self, &note, &why);
        call_note_done(&note);
    }
    if (rc != FAAS_OK)
        *err = why;
    return rc;
}

faas_code records_apply(records *self, const char *lines, size_t len, size_t *out_skipped,
                        faas_err *err)
{
    size_t line;

    *out_skipped = 0;
    FAAS_TRY(begin_batch(self, err));
    for (; len > 0; lines += line, len -= line) {
        const char *end = memchr(lines, '\n', len);

        line = end != NULL ? (size_t)(end - lines) + 1 : len;
        FAAS_TRY(apply_line(self, lines, line, out_skipped, err));
    }
    return FAAS_OK;
}

/* ---- bounds ---- */

/* The first row's columns 0 and 1 as numbers. */
static faas_code read_sums(records *self, int64_t *out_calls, int64_t *out_bytes, faas_err *err)
{
    sqlite3_stmt *stmt = self->writes[WRITE_SUMS];
    bool has_row = sqlite3_step(stmt) == SQLITE_ROW;

    if (has_row) {
        *out_calls = sqlite3_column_int64(stmt, 0);
        *out_bytes = sqlite3_column_int64(stmt, 1);
    }
    records_reset(stmt);
    return has_row ? FAAS_OK : sql_fail(self, "sums", err);
}

static faas_code drop(records *self, int which, int64_t count, faas_err *err)
{
    sqlite3_bind_int64(self->writes[which], 1, count);
    return write_once(self, which, err);
}

/* Is the row after `count` older ones beyond the age?  Then these are, too. */
static faas_code are_old(records *self, int64_t count, bool *out_are, faas_err *err)
{
    sqlite3_stmt *stmt = self->writes[WRITE_OLDEST_ID];
    uint8_t limit[16];
    int rc;

    call_id_from_ms(faas_wall_ms() - self->conf.age_ms, limit);
    sqlite3_bind_int64(stmt, 1, count);
    rc = sqlite3_step(stmt);
    *out_are = rc == SQLITE_ROW && sqlite3_column_bytes(stmt, 0) == 16 &&
               memcmp(sqlite3_column_blob(stmt, 0), limit, sizeof limit) < 0;
    records_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? FAAS_OK : sql_fail(self, "age", err);
}

static faas_code drop_of_tenants(records *self, faas_err *err)
{
    sqlite3_stmt *stmt = self->writes[WRITE_FULL_TENANTS],
                 *del = self->writes[WRITE_DROP_OF_TENANT];
    faas_code rc = FAAS_OK;
    int step = SQLITE_DONE;

    sqlite3_bind_int64(stmt, 1, self->conf.tenant_rows_max);
    sqlite3_bind_int64(stmt, 2, DROP_TENANTS);
    while (rc == FAAS_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t over = sqlite3_column_int64(stmt, 1);

        sqlite3_bind_blob(del, 1, sqlite3_column_blob(stmt, 0), sqlite3_column_bytes(stmt, 0),
                          SQLITE_TRANSIENT);
        sqlite3_bind_int64(del, 2, over < DROP_ROWS ? over : DROP_ROWS);
        records_reset(stmt); /* the table under it changes */
        rc = write_once(self, WRITE_DROP_OF_TENANT, err);
        step = SQLITE_DONE;
        break;
    }
    records_reset(stmt);
    return rc == FAAS_OK && step != SQLITE_DONE ? sql_fail(self, "tenants", err) : rc;
}

static faas_code keep_bounds(records *self, faas_err *err)
{
    int64_t calls = 0, bytes = 0;
    bool are = false;

    FAAS_TRY(read_sums(self, &calls, &bytes, err));
    if (calls > self->conf.rows_max)
        FAAS_TRY(
            drop(self, WRITE_DROP_OLDEST,
                 calls - self->conf.rows_max < DROP_ROWS ? calls - self->conf.rows_max : DROP_ROWS,
                 err));
    if (bytes > self->conf.logs_bytes_max)
        FAAS_TRY(drop(self, WRITE_DROP_LOGS, DROP_LOGS, err));
    FAAS_TRY(are_old(self, DROP_ROWS - 1, &are, err));
    if (are)
        FAAS_TRY(drop(self, WRITE_DROP_OLDEST, DROP_ROWS, err));
    else
        FAAS_TRY(are_old(self, 0, &are, err));
    if (are)
        FAAS_TRY(drop(self, WRITE_DROP_OLDEST, 1, err));
    return drop_of_tenants(self, err);
}

faas_code records_commit(records *self, uint64_t applied, faas_err *err)
{
    FAAS_TRY(begin_batch(self, err));
    FAAS_TRY(keep_bounds(self, err));
    sqlite3_bind_int64(self->writes[WRITE_APPLIED], 1, (sqlite3_int64)applied);
    FAAS_TRY(write_once(self, WRITE_APPLIED, err));
    if (sqlite3_exec(self->file.writer, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        return sql_fail(self, "commit", err);
    self->is_in_batch = false;
    self->applied = applied;
    return FAAS_OK;
}

void records_abandon(records *self)
{
    if (self->is_in_batch)
        (void)sqlite3_exec(self->file.writer, "ROLLBACK", NULL, NULL, NULL);
    self->is_in_batch = false;
}

/* ---- open calls that nobody speaks for ---- */

static const char *text_in(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    return text != NULL ? text : "";
}

static bool is_spoken_for(const json_t *record, records_is_alive *is_alive, void *arg)
{
    const struct records_open_call call = {
        .publisher = text_in(record, "publisher"),
        .publisher_epoch = text_in(record, "publisher_epoch"),
        .spawner = text_in(record, "spawner"),
        .spawner_epoch = text_in(record, "spawner_epoch"),
        .until_ms = json_integer_value(json_object_get(record, "until")),
        .is_queued = json_is_true(json_object_get(record, "queued")) &&
                     strcmp(text_in(record, "status"), "queued") == 0,
    };

    return is_alive(arg, &call);
}

/* The next event of the same attempt, but before the end that somebody may still tell. */
static faas_code end_as_unknown(records *self, struct row *row, faas_err *err)
{
    int64_t attempt = row->order / CALL_EVENTS;

    if (json_object_set_new(row->record, "status", json_string(CALL_STATUS_UNKNOWN)) != 0 ||
        json_object_set_new(
            row->record, "detail",
            json_string("the programs that had the call are gone, and nobody said how it ended")) !=
            0)
        return faas_fail_sys(err, ENOMEM, "records: a record");
    return change_row(self, row, attempt * CALL_EVENTS + CALL_EVENT_UNKNOWN, err);
}

static faas_code read_open(records *self, json_t *rows, faas_err *err)
{
    sqlite3_stmt *stmt = self->writes[WRITE_OPEN_CALLS];
    faas_code rc = FAAS_OK;
    int step = SQLITE_DONE;

    sqlite3_bind_int64(stmt, 1, self->swept);
    sqlite3_bind_int64(stmt, 2, SWEEP_ROWS);
    while (rc == FAAS_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 2);
        json_t *doc = text != NULL ? faas_json_load(text, strlen(text), 0) : NULL;

        if (json_array_append_new(
                rows, json_pack("[I, o?]", (json_int_t)sqlite3_column_int64(stmt, 0), doc)) != 0)
            rc = faas_fail_sys(err, ENOMEM, "records: open calls");
    }
    records_reset(stmt);
    return rc == FAAS_OK && step != SQLITE_DONE ? sql_fail(self, "open calls", err) : rc;
}

static faas_code sweep_rows(records *self, const json_t *rows, records_is_alive *is_alive,
                            void *arg, faas_err *err)
{
    const json_t *item;
    size_t i;

    json_array_foreach (rows, i, item) {
        struct row row = {.n = json_integer_value(json_array_get(item, 0)),
                          .record = json_array_get(item, 1)};

        self->swept = row.n;
        row.order = json_integer_value(json_object_get(row.record, "order"));
        if (!json_is_object(row.record) || is_spoken_for(row.record, is_alive, arg))
            continue;
        FAAS_TRY(begin_batch(self, err));
        FAAS_TRY(end_as_unknown(self, &row, err));
    }
    if (json_array_size(rows) < SWEEP_ROWS)
        self->swept = 0; /* the next sweep begins with the oldest again */
    return FAAS_OK;
}

faas_code records_sweep(records *self, records_is_alive *is_alive, void *arg, faas_err *err)
{
    FAAS_AUTO(json_t) *rows = json_array();

    if (rows == NULL)
        return faas_fail_sys(err, ENOMEM, "records: open calls");
    FAAS_TRY(read_open(self, rows, err));
    FAAS_TRY(sweep_rows(self, rows, is_alive, arg, err));
    return self->is_in_batch ? records_commit(self, self->applied, err) : FAAS_OK;
}
