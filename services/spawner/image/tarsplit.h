/* tarsplit.h - what a layer's tar was besides the contents of its files.  Unpacking loses the headers
 * (times, owners, order, padding), and a layer's diff id is over them: with the record and the
 * unpacked files the same bytes can be made again.
 * Record    zstd of a sequence of {op, length, length of path}, little-endian, each followed by its
 *           bytes: 'L' that many bytes of the stream; 'F' a path below the layer's root, whose file
 *           holds the next `length` bytes.
 * Broken    a stream that cannot be kept so (a file written twice or with holes, more between files
 *           than headers need) has an empty record: its layer runs, but cannot be pushed.
 * Trust     none: who makes a layer again compares the digest (push.c).
 * Errors    INTERNAL; INVALID and TOO_LARGE of tarsplit_assemble: no such record.
 * Threads   one.
 */
#ifndef SPAWNER_IMAGE_TARSPLIT_H
#define SPAWNER_IMAGE_TARSPLIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct archive;

/* ---- while a stream is unpacked ---- */

typedef struct tarsplit tarsplit;
/* Reads the stream `in` for libarchive; the record goes to the file `out`.  Both borrowed. */
FAAS_MUST_CHECK faas_code tarsplit_new(int in, int out, tarsplit **out_split, faas_err *err);
void tarsplit_free(tarsplit *split); /* NULL is fine */
/* An archive_read_callback; its client data is the tarsplit. */
ssize_t tarsplit_read(struct archive *from, void *split, const void **out_data);
/* The next entry's headers begin at that place of the stream. */
void tarsplit_entry(tarsplit *split, int64_t begin);
/* The contents of the file `path`, `size` bytes, begin at that place, and have not been read yet. */
void tarsplit_file(tarsplit *split, const char *path, int64_t begin, int64_t size);
void tarsplit_break(tarsplit *split);
/* Reads the stream to its end and completes the record. */
FAAS_MUST_CHECK faas_code tarsplit_end(tarsplit *split, faas_err *err);

/* ---- afterwards ---- */

/* The stream again, at most max bytes of it: from the record `in` and the files below `root`. */
FAAS_MUST_CHECK faas_code tarsplit_assemble(int in, int root, int out, int64_t max,
                                            int64_t *out_bytes, faas_err *err);

#endif
