/* catalog_names.h - the names of the users that searched lately, read from the catalog's file.
 * Kept      a user's names are read at the first search and kept up with each change from then on;
 *           past CATALOG_NAMES_BYTES those of the least recent searches leave.
 * Batches   a change is known here before its batch is committed, so a name may be found whose row
 *           cannot be read yet.  Names that were read while a batch was open may lack what is in
 *           it: they serve that one search and are not kept.
 * Threads   any; the lock inside is never held while the file is read.
 */
#ifndef REGISTRY_CATALOG_NAMES_H
#define REGISTRY_CATALOG_NAMES_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "names.h"

#include "base/name.h"

#define CATALOG_NAMES_BYTES (16 * 1024 * 1024)

struct catalog_names {
    pthread_mutex_t mu;                       /* guards all below */
    void *root;                               /* tsearch(3) tree of users */
    TAILQ_HEAD(name_users, name_user) recent; /* newest search first */
    size_t bytes;
    bool is_in_batch;
    uint64_t batches; /* begun so far */
};
void catalog_names_init(struct catalog_names *known);
void catalog_names_done(struct catalog_names *known);
void catalog_names_forget(struct catalog_names *known); /* what was read is not true any more */
void catalog_names_set_batch(struct catalog_names *known, bool is_open);
void catalog_names_add(struct catalog_names *known, const char *tenant, const char *name);
void catalog_names_remove(struct catalog_names *known, const char *tenant, const char *name);

struct catalog_search {
    const char *tenant, *after, *part;
    size_t max; /* names */
};
struct catalog_found {
    char (*names)[FAAS_FUNCTION_NAME_MAX + 1]; /* freed by the caller */
    size_t count;
};
/* reader: for the names of a user that is not known; the caller has it to itself. */
FAAS_MUST_CHECK faas_code catalog_names_find(struct catalog_names *known, sqlite3 *reader,
                                             const struct catalog_search *search,
                                             struct catalog_found *out_found, faas_err *err);

#endif
