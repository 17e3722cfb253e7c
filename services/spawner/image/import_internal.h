/* import_internal.h - the steps that all ways of getting an image share; nobody else includes it.
 * Order     import_begin; fill staging or open a folder; import_add; import_end, whatever happened.
 */
#ifndef SPAWNER_IMAGE_IMPORT_INTERNAL_H
#define SPAWNER_IMAGE_IMPORT_INTERNAL_H

#include "import.h"
#include "source.h"
#include "store_internal.h"

struct import {
    struct image_staging staging;
    int folder;         /* where documents and blobs are; owned */
    source *from;       /* what is in it; NULL: not read yet */
    const char *tag;    /* the name of the only image; NULL: those it was saved with */
    const char *pin;    /* host/path@digest, kept besides; NULL: none */
    const char *source; /* of its name: image_ref_source() */
    json_t *done;
};
FAAS_MUST_CHECK faas_code import_begin(struct image_store *store, struct import *out_import,
                                       faas_err *err);
/* Unpacks an archive to staging: the folder. */
FAAS_MUST_CHECK faas_code import_archive(struct import *import, int file, faas_err *err);
FAAS_MUST_CHECK faas_code import_add(struct import *import, faas_err *err);
/* code: how it went; returned.  *out_images is set when it went well. */
faas_code import_end(struct import *import, faas_code code, json_t **out_images);

#endif
