/* restore_write.h - the part of `faas restore` that writes to NATS servers, the new directory's or those
 * of a deployment in containers: each entry of the backup into its bucket.
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
#include "cli/session.h"

struct restore_write {
    struct backup_in *in; /* borrowed; read from its beginning */
    struct session_at at; /* its nkey_file is not used */
    const char *auth_seed, *registry_seed;
    int replicas;
    json_t *said; /* borrowed: how many entries each bucket has */
    faas_code code;
    faas_err err;
    atomic_bool is_done;
};

/* INVALID: a bucket of the servers holds something. */
FAAS_MUST_CHECK faas_code restore_write_empty(const struct restore_write *write, faas_err *err);
/* arg: a struct restore_write, whose code it returns. */
faas_code restore_write(void *arg);

#endif
