/* spool.h - records on their way to the stream: append-only files that outlive their process.
 * Files     DIR/<token>.<number>.spool, segments of about SPOOL_SEGMENT bytes, and DIR/<token>.lock,
 *           held (flock) while the process lives; the token is new at each opening.  A segment is a
 *           row of chunks: a head (magic, length, records, hash) and the bytes as they were given.
 * Reading   the oldest chunk that was not confirmed comes next; one at a time.  A segment is removed
 *           when all of it is confirmed and it is not the one being written.
 * Orphans   spool_adopt() takes over the files of tokens whose lock nobody holds; their chunks come
 *           when none of our own waits.  Chunks keep their ids, so that one which was sent before
 *           the crash is known again.
 * Damage    bytes that are no chunk (a torn end, a bad disk) are passed over and counted; what
 *           follows them is found again.
 * Bound     bytes_max of all files; beyond it whole segments go, the oldest first, counted.
 * Errors    INTERNAL with the system's reason (a full disk): nothing was written, try again later.
 * Threads   one at a time, any; calls block on files.  Not the loop's.
 */
#ifndef PUBLISHER_SPOOL_H
#define PUBLISHER_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SPOOL_SEGMENT   (1024 * 1024)
#define SPOOL_CHUNK_MAX (256 * 1024)
#define SPOOL_ID_TEXT   64

struct spool;

struct spool_conf {
    const char *dir; /* made when it is not there, 0700 */
    int64_t bytes_max;
};
struct spool_chunk {
    char id[SPOOL_ID_TEXT]; /* the same for the same chunk, whoever reads it */
    void *data;             /* owned */
    size_t len;
    uint32_t records;
};
struct spool_counts { /* since the opening */
    uint64_t records_dropped, bytes_damaged, orphans;
    int64_t bytes;       /* in files now */
    int64_t unconfirmed; /* of them */
};

FAAS_MUST_CHECK faas_code spool_open(const struct spool_conf *conf, struct spool **out_spool,
                                     faas_err *err);
/* What is not confirmed stays for whoever adopts it. */
void spool_close(struct spool *self);
/* len at most SPOOL_CHUNK_MAX. */
FAAS_MUST_CHECK faas_code spool_write(struct spool *self, const void *data, size_t len,
                                      uint32_t records, faas_err *err);
/* A descriptor (the caller's, close it) whose fdatasync() puts all that was written on the disk; -1
 * when there is nothing new, or no descriptor. */
int spool_sync_fd(struct spool *self);
/* The chunk after the last confirmed one; NOT_FOUND; BUSY: no memory or descriptor, ask later. */
FAAS_MUST_CHECK faas_code spool_next(struct spool *self, struct spool_chunk *out_chunk,
                                     faas_err *err);
void spool_chunk_done(struct spool_chunk *chunk);
void spool_confirm(struct spool *self); /* the chunk that spool_next() gave last */
/* Looks for files of dead processes. */
FAAS_MUST_CHECK faas_code spool_adopt(struct spool *self, faas_err *err);
void spool_counts(const struct spool *self, struct spool_counts *out_counts);

#endif
