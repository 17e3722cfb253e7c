/* records_internal.h - what records.c (opening, reading) and records_write.c share. */
#ifndef REGISTRY_RECORDS_INTERNAL_H
#define REGISTRY_RECORDS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/auto.h"
#include "base/id.h"
#include "catalog_file.h"
#include "records.h"

enum {
    WRITE_FIND,
    WRITE_ADD,
    WRITE_CHANGE,
    WRITE_LOG,
    WRITE_APPLIED,
    WRITE_SUMS,
    WRITE_DROP_OLDEST,
    WRITE_OLDEST_ID,
    WRITE_FULL_TENANTS,
    WRITE_DROP_OF_TENANT,
    WRITE_DROP_LOGS,
    WRITE_OPEN_CALLS,
    WRITES
};
enum { READ_ALL, READ_BY_FUNCTION, READ_BY_STATUS, READ_BY_BOTH, READ_ONE, READ_LOG, READS };

struct records {
    struct records_conf conf; /* dir and instance are not kept */
    struct catalog_file file; /* writer: the writing thread's; reader: guarded by mu */
    sqlite3_stmt *writes[WRITES];
    sqlite3_stmt *reads[READS]; /* guarded by mu; prepared at their first use */
    bool is_in_batch;
    sqlite3_int64 swept; /* the row that the last sweep ended at */
    pthread_mutex_t mu;
    _Atomic bool is_good; /* written with mu */
    _Atomic uint64_t applied;
};

FAAS_MUST_CHECK faas_code records_prepare_writes(records *self, faas_err *err);
/* Ends a use of a statement that is kept. */
void records_reset(sqlite3_stmt *stmt);
void records_bind_uuid(sqlite3_stmt *stmt, int at, const char *uuid);
void records_set_good(records *self, bool is_good);

#endif
