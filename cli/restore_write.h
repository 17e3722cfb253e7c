/* restore_write.h - the part of `faas restore` that runs beside the new directory's NATS servers: each
 * entry of the backup into its bucket.
 * Writes    create-if-absent, many on their way at once, each acknowledged by its stream; what was
 *           changed while the backup was made waits for those before it and replaces them.
 * Users     those of the bus that may write the buckets: registry for functions, auth for the rest.
 * Errors    INVALID: the backup; UNAVAILABLE: the store.
 * Threads   restore_write() on one of its own; the rest is for who started it, once is_done.
 */
#ifndef CLI_RESTORE_WRITE_H
#define CLI_RESTORE_WRITE_H

#include <stdatomic.h>

#include "cli/backup_file.h"
#include "cli/plan.h"

struct restore_write {
    struct backup_in *in; /* borrowed; read from its beginning */
    const struct plan *plan;
    json_t *said; /* borrowed: how many entries each bucket has */
    faas_code code;
    faas_err err;
    atomic_bool is_done;
};

/* arg: a struct restore_write, whose code it returns. */
faas_code restore_write(void *arg);

#endif
