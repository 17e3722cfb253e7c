/* spool_file.h - the files of a spool: chunks in segments, and whose they are.
 * Chunk     SPOOL_HEAD bytes (magic, length, records, hash of the bytes), then the bytes.
 * Source    the segments of one token, oldest first, and how far they were read.
 * Threads   the caller's, one at a time.
 */
#ifndef PUBLISHER_SPOOL_FILE_H
#define PUBLISHER_SPOOL_FILE_H

#include <sys/queue.h>
#include <sys/types.h>

#include "spool.h"

#define SPOOL_HEAD       24
#define SPOOL_TOKEN_TEXT 33

struct spool_segment {
    TAILQ_ENTRY(spool_segment) link;
    uint32_t number;
    off_t size;       /* bytes that were written whole */
    uint64_t records; /* not confirmed yet, as far as is known */
    char path[];
};
struct spool_source {
    TAILQ_ENTRY(spool_source) link;
    TAILQ_HEAD(spool_segments, spool_segment) segments;
    char token[SPOOL_TOKEN_TEXT];
    char *dir, *lock_path;
    int lock_fd, read_fd; /* read_fd: of the first segment; -1 */
    off_t offset;         /* in the first segment: what is before it is done with */
    uint32_t next_number;
};
TAILQ_HEAD(spool_sources, spool_source);

FAAS_MUST_CHECK faas_code spool_source_new(const char *dir, const char *token,
                                           struct spool_source **out_source, faas_err *err);
void spool_source_free(struct spool_source *source); /* files stay; NULL is fine */
/* is_new: the lock file must not be there yet.  CONFLICT: somebody holds it. */
FAAS_MUST_CHECK faas_code spool_source_lock(struct spool_source *source, bool is_new,
                                            faas_err *err);
/* An entry in the list; no file. */
FAAS_MUST_CHECK faas_code spool_source_add(struct spool_source *source, uint32_t number,
                                           struct spool_segment **out_segment, faas_err *err);
void spool_source_forget(struct spool_source *source, struct spool_segment *segment);
enum spool_read {
    SPOOL_CHUNK,
    SPOOL_END,  /* none up to the segment's size */
    SPOOL_LATER /* no memory or descriptor to read it with */
};
/* The chunk at source->offset of the first segment; *out_passed: bytes before it that are none. */
enum spool_read spool_source_read(struct spool_source *source, struct spool_chunk *out_chunk,
                                  size_t *out_passed);
/* One whose lock nobody holds, locked and with its segments; NULL when there is none.  Empty ones
 * are removed on the way. */
FAAS_MUST_CHECK faas_code spool_source_orphan(const char *dir, struct spool_source **out_source,
                                              faas_err *err);

struct spool_file {
    int fd; /* -1: closed */
    off_t size;
};
/* Also on the disk: its name in the directory. */
FAAS_MUST_CHECK faas_code spool_file_create(struct spool_file *file, const char *dir,
                                            const char *path, faas_err *err);
FAAS_MUST_CHECK faas_code spool_file_append(struct spool_file *file, const void *data, size_t len,
                                            uint32_t records, faas_err *err);
void spool_file_close(struct spool_file *file);

#endif
