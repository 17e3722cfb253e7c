/* image_backup.h - the images of a data directory in a backup: each as the files of an OCI layout, with
 * its names.
 * Backup    every image of DIR/images.  One whose layers were not kept as they came is left out, and
 *           said so on standard error.
 * Restore   a layout at a time is written below DIR, under names of its own choosing only, and
 *           imported like any other: what a hostile file may be is import.h's.
 * Errors    of import.h; UNAVAILABLE for the backup's file.
 * Threads   one at a time.
 */
#ifndef CLI_IMAGE_BACKUP_H
#define CLI_IMAGE_BACKUP_H

#include "cli/backup_file.h"

/* "images" of said: how many. */
FAAS_MUST_CHECK faas_code image_backup(const char *data, struct backup_out *out, json_t *said,
                                       faas_err *err);

struct image_store;
struct image_restore {
    const char *data; /* the data directory; borrowed */
    struct image_store *store;
    char *folder, *blobs; /* of the image being restored; NULL: none is */
    json_t *names;
    int fd; /* the file that DATA belongs to, when has_file */
    bool has_file;
    json_int_t count;
};
FAAS_MUST_CHECK faas_code image_restore_take(struct image_restore *restore,
                                             const struct backup_record *record, faas_err *err);
FAAS_MUST_CHECK faas_code image_restore_finish(struct image_restore *restore, json_t *said,
                                               faas_err *err);
void image_restore_done(struct image_restore *restore);

#endif
