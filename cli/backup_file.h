/* backup_file.h - the file that `faas backup` writes and `faas restore` reads (docs/BACKUP.md).
 * Form      a line that names the format and its version, then records: one byte of kind, a zero byte,
 *           the name's length in two and the value's in four (big endian), name, value.  The last
 *           record's value is the BLAKE2b-256 of all bytes before it; nothing follows.
 * Order     HEADER, FILEs, then of each bucket BUCKET and its ENTRYs, CHANGEDs and DELETEDs, then of
 *           each image IMAGE, its BLOBs, and of each blob its DATA; END.
 * Reading   takes the file for hostile: kinds, order, names and lengths are checked before anything
 *           is given out; memory is one record.  The hash tells damage, not forgery, and is known
 *           with END alone: read a file to it before anything it says is used.
 * Errors    INVALID: what is wrong with the file; UNAVAILABLE: it cannot be written, and why.
 * Threads   one at a time.
 */
#ifndef CLI_BACKUP_FILE_H
#define CLI_BACKUP_FILE_H

#include <sodium.h>
#include <stdio.h>

#include "net/kv.h"

#define BACKUP_VERSION   1
#define BACKUP_NAME_MAX  160
#define BACKUP_VALUE_MAX FAAS_KV_VALUE_MAX
#define BACKUP_HEAD      8 /* bytes of a record before its name */
#define BACKUP_HASH      32

enum backup_kind {
    BACKUP_NOTHING = 0,   /* none yet */
    BACKUP_HEADER = 'H',  /* value: a JSON object */
    BACKUP_FILE = 'F',    /* name: path in the data directory, of backup_files */
    BACKUP_BUCKET = 'B',  /* name */
    BACKUP_ENTRY = 'P',   /* name: a key that the bucket has once */
    BACKUP_CHANGED = 'U', /* an entry written while the backup was made: replaces one before it */
    BACKUP_DELETED = 'D', /* taken away while the backup was made */
    BACKUP_IMAGE = 'I',   /* value: a JSON array of its names */
    BACKUP_BLOB = 'O',    /* name: a file's path in the image's OCI layout */
    BACKUP_DATA = 'C',    /* the next part of that file */
    BACKUP_END = 'E',
};

/* NULL-terminated. */
extern const char *const backup_files[];
extern const char *const backup_buckets[]; /* in the order of the file */

struct backup_record {
    enum backup_kind kind;
    char name[BACKUP_NAME_MAX + 1];
    const void *value; /* borrowed until the next one */
    size_t len;
};

/* ---- writing ---- */

struct backup_out {
    FILE *to;
    char *path, *temporary; /* NULL: standard output */
    uint64_t bytes;
    crypto_generichash_state hash;
};

/* path "-": standard output, unless it is a terminal.  Else a file beside it, 0600, that takes its
 * name when it is complete and on disk. */
FAAS_MUST_CHECK faas_code backup_create(const char *path, struct backup_out *out, faas_err *err);
FAAS_MUST_CHECK faas_code backup_begin(struct backup_out *out, faas_err *err);
FAAS_MUST_CHECK faas_code backup_put(struct backup_out *out, enum backup_kind kind,
                                     const char *name, const void *value, size_t len,
                                     faas_err *err);
FAAS_MUST_CHECK faas_code backup_finish(struct backup_out *out, faas_err *err);
/* After any of them; an unfinished file is removed. */
void backup_out_done(struct backup_out *out);

/* ---- reading ---- */

struct backup_in {
    FILE *from;
    const char *path; /* for messages; borrowed */
    crypto_generichash_state hash;
    unsigned char *value; /* owned; BACKUP_VALUE_MAX and a NUL */
    enum backup_kind last;
    size_t buckets, files; /* the first of backup_buckets and backup_files that may still come */
};

/* A plain file. */
FAAS_MUST_CHECK faas_code backup_open(const char *path, struct backup_in *in, faas_err *err);
/* The same of a stream, which it closes in the end. */
FAAS_MUST_CHECK faas_code backup_read(FILE *take_from, const char *path, struct backup_in *in,
                                      faas_err *err);
FAAS_MUST_CHECK faas_code backup_next(struct backup_in *in, struct backup_record *out_record,
                                      faas_err *err);
/* From its first record on again. */
FAAS_MUST_CHECK faas_code backup_rewind(struct backup_in *in, faas_err *err);
void backup_in_done(struct backup_in *in);

#endif
