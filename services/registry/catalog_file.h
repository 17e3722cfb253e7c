/* catalog_file.h - the file behind a read model (catalog.h, records.h): its lock, its layout, its
 * removal.
 * Lock      DIR/<instance>.lock is held (flock) as long as the process lives; a file whose lock is
 *           free belongs to nobody.  DIR/.sweep serialises looking and taking.
 * Handles   one connection to write, one to read; closed by catalog_file_close().
 * Threads   the caller serialises.
 */
#ifndef REGISTRY_CATALOG_FILE_H
#define REGISTRY_CATALOG_FILE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define CATALOG_REBUILDING "the list of functions is being built again; try again in a moment"

struct catalog_layout {  /* constant */
    const char *version; /* PRAGMA user_version; another one with every change of the schema */
    const char *schema;
    const char *writer; /* further settings of the connection that writes; "" for none */
    bool is_read_whole; /* an opening looks for damage everywhere, which takes long for a large one;
                           else damage shows when it is met */
};
extern const struct catalog_layout catalog_functions, catalog_calls; /* catalog_layout.c */

struct catalog_file {
    const struct catalog_layout *layout;
    char *path;
    int lock_fd;
    sqlite3 *writer, *reader;
};

/* Sweeps what dead processes left in dir, then takes the lock of instance. */
FAAS_MUST_CHECK faas_code catalog_file_claim(struct catalog_file *file,
                                             const struct catalog_layout *layout, const char *dir,
                                             const char *instance, faas_err *err);
/* Opens what is there; INTERNAL when it is not a whole file of our layout. */
FAAS_MUST_CHECK faas_code catalog_file_open(struct catalog_file *file, faas_err *err);
/* Deletes what is there and makes an empty file of our layout. */
FAAS_MUST_CHECK faas_code catalog_file_create(struct catalog_file *file, faas_err *err);
/* What a failed read came to: INTERNAL without memory, else UNAVAILABLE: the file is damaged. */
faas_code catalog_file_read_failed(sqlite3 *reader, const char *what, faas_err *err);
void catalog_file_close(struct catalog_file *file); /* connections only */
void catalog_file_release(struct catalog_file *file);

#endif
