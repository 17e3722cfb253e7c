/* records.h - calls that can be listed, found and shown: the read model of the log "records".
 * Truth     the log, as long as it keeps its entries.  The file DIR/<instance>.db (SQLite,
 *           write-ahead log) holds one row per call and the newest sequence applied, in one
 *           transaction.  It is disposable, like the catalog's: a file of another layout, a damaged
 *           one, or one that is ahead of the log is deleted and built again.
 * Bounds    rows in all, rows of one tenant, age, bytes of logs; beyond them the oldest go.
 * Order     newest first, by the id, which sorts by the time the call came.
 * Writing   one thread at a time: records_apply() for each entry, records_commit() after a batch,
 *           records_abandon() instead of it.  INTERNAL: the file is damaged, records_rebuild();
 *           UNAVAILABLE: it cannot be written now (a full disk); after records_abandon() the same
 *           batch may be tried again.
 * Reading   any thread; sees whole batches only.  UNAVAILABLE while there is no good file.
 * Ownership results are public forms, new references of the caller.
 */
#ifndef REGISTRY_RECORDS_H
#define REGISTRY_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

#define RECORDS_REBUILDING "the records of calls are being built; try again in a moment"

typedef struct records records;

struct records_conf {
    const char *dir;      /* made when it is not there, 0700 */
    const char *instance; /* [a-z0-9]{1,32} */
    uint64_t log_last;    /* newest sequence of the log now */
    int64_t rows_max, tenant_rows_max, logs_bytes_max, age_ms;
};
struct records_query {
    const char *tenant;
    const char *function, *status; /* "" matches all */
    int64_t since_ms, until_ms;    /* when the call came: since <= t < until; 0: no bound */
    const char *before;            /* a call's id: the page begins behind it; "" at the newest */
    int64_t limit;                 /* records */
    size_t bytes_max;              /* of the records' text; the first one always fits */
};

FAAS_MUST_CHECK faas_code records_open(const struct records_conf *conf, records **out_records,
                                       faas_err *err);
void records_close(records *self);
FAAS_MUST_CHECK faas_code records_rebuild(records *self, faas_err *err);
bool records_is_good(records *self);
uint64_t records_applied(const records *self);

/* An entry of the log: lines of notes (call_record.h).  Lines that are none are skipped, counted in
 * *out_skipped. */
FAAS_MUST_CHECK faas_code records_apply(records *self, const char *lines, size_t len,
                                        size_t *out_skipped, faas_err *err);
/* Also removes what is beyond the bounds, a part of it at a time. */
FAAS_MUST_CHECK faas_code records_commit(records *self, uint64_t applied, faas_err *err);
void records_abandon(records *self);

/* An open call: is anybody there who could still say how it ends? */
struct records_open_call {
    const char *publisher, *publisher_epoch, *spawner, *spawner_epoch; /* "": none */
    int64_t until_ms; /* wall clock: from then on nobody will */
    bool is_queued;   /* in the queue, which outlives processes */
};
typedef bool records_is_alive(void *arg, const struct records_open_call *call);
/* Ends open calls that are not alive as `unknown`; at most some hundreds at a time. */
FAAS_MUST_CHECK faas_code records_sweep(records *self, records_is_alive *is_alive, void *arg,
                                        faas_err *err);

FAAS_MUST_CHECK faas_code records_page(records *self, const struct records_query *query,
                                       json_t **out_items, bool *out_has_more, faas_err *err);
struct records_id {
    const char *tenant, *id;
};
/* NOT_FOUND. */
FAAS_MUST_CHECK faas_code records_get(records *self, const struct records_id *id,
                                      json_t **out_record, faas_err *err);
/* The kept end of stderr in base64, "" for none; the caller frees.  NOT_FOUND: no such call. */
FAAS_MUST_CHECK faas_code records_log(records *self, const struct records_id *id, char **out_log,
                                      faas_err *err);

#endif
