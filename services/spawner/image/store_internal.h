/* store_internal.h - what the files of the store share; nobody else includes it.
 * Locks     DIR/lock: exclusive for whoever adds to or removes from layers, images and refs.
 *           DIR/tmp.lock: exclusive while a folder of tmp is made or swept; each folder there is
 *           locked by who works in it.  A record of images is locked shared by who holds the image.
 * Threads   a store may be used by several; each operation opens the lock for itself.
 */
#ifndef SPAWNER_IMAGE_STORE_INTERNAL_H
#define SPAWNER_IMAGE_STORE_INTERNAL_H

#include "config.h"
#include "store.h"

#define RECORD_MAX    (IMAGE_CONFIG_MAX + 64 * 1024)
#define RECORD_NAME   70 /* "<64 hex digits>.json" with NUL */
#define STORE_VERSION 1
#define SOURCE_ENGINE "engine"

struct image_store {
    char *dir; /* absolute, without symbolic links */
    int fd, layers, images, refs, tmp;
};

struct image_record { /* images/<id>.json */
    char id[IMAGE_ID_TEXT];
    struct image_spec spec; /* the config's uid and gid resolved */
    int64_t bytes;
};
void image_record_done(struct image_record *record);
/* NULL only without memory. */
json_t *image_record_to_json(const struct image_record *record);
/* Locks the record shared; *out_fd holds the lock.  NOT_FOUND. */
FAAS_MUST_CHECK faas_code image_record_open(struct image_store *store, const char *id,
                                            struct image_record *out_record, int *out_fd,
                                            faas_err *err);
void image_record_name(const char *id, char out_name[RECORD_NAME]);

/* "name:tag" or "name@digest" as it is kept: host/path:tag. */
FAAS_MUST_CHECK faas_code image_ref_full(const char *reference, char **out_full, faas_err *err);
void image_ref_file(const char *full, char out_name[RECORD_NAME]);
/* The id that a reference or an id stands for; whether the image is here is not asked. */
FAAS_MUST_CHECK faas_code image_ref_resolve(struct image_store *store, const char *reference,
                                            char out_id[IMAGE_ID_TEXT], faas_err *err);
/* Of refs/FILE; NOT_FOUND.  out_full may be NULL; the caller frees it. */
FAAS_MUST_CHECK faas_code image_ref_read(struct image_store *store, const char *file,
                                         char out_id[IMAGE_ID_TEXT], char **out_full,
                                         faas_err *err);

/* Where the image of that name came from: SOURCE_ENGINE, or host/path@digest of a registry; NULL:
 * somebody brought it.  The caller frees it. */
FAAS_MUST_CHECK faas_code image_ref_source(struct image_store *store, const char *full,
                                           char **out_source, faas_err *err);
/* Another name, and where it came from (may be NULL). */
FAAS_MUST_CHECK faas_code image_name(struct image_store *store, const char *reference,
                                     const char *tag, const char *from, faas_err *err);

/* Waits for the store's lock; close the descriptor to let go of it. */
FAAS_MUST_CHECK faas_code image_store_lock(struct image_store *store, int *out_fd, faas_err *err);

/* A folder of one's own in tmp, removed by image_staging_close or by the next sweep. */
struct image_staging {
    struct image_store *store;
    int fd; /* holds its lock */
    char name[33];
};
FAAS_MUST_CHECK faas_code image_staging_open(struct image_store *store,
                                             struct image_staging *out_staging, faas_err *err);
void image_staging_close(struct image_staging *staging);
/* Removes the folders of tmp whose makers are gone. */
FAAS_MUST_CHECK faas_code image_staging_sweep(struct image_store *store, faas_err *err);

#endif
