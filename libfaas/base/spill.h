/* spill.h - bytes that arrive in pieces: kept in memory while they are few, then in a file.
 * File      without a name, mode 0600; it is gone with its descriptor.
 * Ownership the bytes are the struct's until faas_spill_steal().
 * Errors    UNAVAILABLE: no memory or no room on the disk; what was added before is still there,
 *           but what failed may be there in part: give up.
 * Threads   one at a time.
 */
#ifndef FAAS_SPILL_H
#define FAAS_SPILL_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct faas_spill {
    uint8_t *bytes; /* NULL: none yet, or all are in the file */
    size_t len, room;
    int fd;            /* -1: no file yet */
    size_t memory_max; /* beyond it the file takes all */
    const char *dir;   /* of the file; borrowed */
};

void faas_spill_init(struct faas_spill *spill, size_t memory_max, const char *dir);
void faas_spill_done(struct faas_spill *spill);
FAAS_MUST_CHECK faas_code faas_spill_add(struct faas_spill *spill, const void *data, size_t len,
                                         faas_err *err);
/* The bytes (malloc), or NULL and the file in *out_fd (else -1; its offset is of no meaning).
 * Empty afterwards. */
void *faas_spill_steal(struct faas_spill *spill, size_t *out_len, int *out_fd);
/* A file of the folder without a name, 0600; -1 with errno. */
int faas_spill_open(const char *dir);
int faas_spill_write(int fd, const void *data, size_t len); /* all of it: 0, or an errno */

#endif
