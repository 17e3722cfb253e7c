/* catalog.h - a copy of the bucket "functions" that can be listed, paged and searched.
 * Truth     the bucket.  The file DIR/<instance>.db (SQLite, write-ahead log) holds the records
 *           of heads and versions as stored, and the newest sequence applied.  It is disposable: a
 *           file of another layout, a damaged one, or one that is ahead of the bucket is deleted
 *           and built again from the feed.
 * Files     instance ids are random, so files of processes that are gone would pile up: opening
 *           sweeps those whose lock nobody holds.
 * Writing   catalog_apply() for each change in order, catalog_commit() after a batch; both on the
 *           loop thread.  INTERNAL means the file cannot be written: catalog_rebuild().
 * Reading   any thread; sees whole batches only.  UNAVAILABLE while there is no good file; a read
 *           that fails makes it so: then catalog_is_good() is false until catalog_rebuild().
 * Search    a part of the name, in any case: names.h; nothing in it has a meaning of its own.
 * Ownership lists hold public forms and are new references of the caller.
 */
#ifndef REGISTRY_CATALOG_H
#define REGISTRY_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

typedef struct catalog catalog;

struct catalog_conf {
    const char *dir;      /* made when it is not there, 0700 */
    const char *instance; /* [a-z0-9]{1,32} */
    uint64_t bucket_last; /* newest sequence of the bucket now */
};
struct catalog_query {
    const char *tenant;
    const char *after; /* a name: the page begins behind it; "" from the start */
    const char *part;  /* of the name, any case; "" matches all */
    int64_t limit;     /* records */
    size_t bytes_max;  /* of the records' text; the first one always fits */
};

FAAS_MUST_CHECK faas_code catalog_open(const struct catalog_conf *conf, catalog **out_catalog,
                                       faas_err *err);
void catalog_close(catalog *cat);
/* Deletes the file and begins an empty one; the feed must start from 0 again. */
FAAS_MUST_CHECK faas_code catalog_rebuild(catalog *cat, faas_err *err);
bool catalog_is_good(catalog *cat);           /* any thread */
uint64_t catalog_applied(const catalog *cat); /* as found or committed last */

struct catalog_change {
    const char *key;
    bool is_delete;
    const void *value;
    size_t len;
    uint64_t revision; /* of the key: the bucket's sequence of this change */
};
/* INVALID: the value is not a record; nothing changed, go on. */
FAAS_MUST_CHECK faas_code catalog_apply(catalog *cat, const struct catalog_change *change,
                                        faas_err *err);
FAAS_MUST_CHECK faas_code catalog_commit(catalog *cat, uint64_t applied, faas_err *err);

/* Records in the order of their names; *out_has_more: the page ended before the list did. */
FAAS_MUST_CHECK faas_code catalog_page(catalog *cat, const struct catalog_query *query,
                                       json_t **out_items, bool *out_has_more, faas_err *err);
struct catalog_head {
    char *value; /* owned; the record as stored, JSON */
    uint64_t revision;
};
/* The head of that key as the newest batch left it; NOT_FOUND. */
FAAS_MUST_CHECK faas_code catalog_find(catalog *cat, const char *key, struct catalog_head *out_head,
                                       faas_err *err);
struct catalog_versions_query {
    const char *tenant, *id; /* of the function */
    int64_t before;          /* a version: the page begins below it */
    int64_t limit;
    size_t bytes_max;
};
/* Versions of one function, newest first. */
FAAS_MUST_CHECK faas_code catalog_versions(catalog *cat, const struct catalog_versions_query *query,
                                           json_t **out_items, bool *out_has_more, faas_err *err);
struct catalog_version {
    const char *tenant, *id; /* of the function */
    int64_t number;
};
FAAS_MUST_CHECK faas_code catalog_has_version(catalog *cat, const struct catalog_version *version,
                                              bool *out_has, faas_err *err);
FAAS_MUST_CHECK faas_code catalog_count(catalog *cat, const char *tenant, int64_t *out_count,
                                        faas_err *err);

#endif
