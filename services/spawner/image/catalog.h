/* catalog.h - what the store holds, for those who list and clean it; nobody else includes it.
 * Threads   any; consistent only under the store's lock.
 */
#ifndef SPAWNER_IMAGE_CATALOG_H
#define SPAWNER_IMAGE_CATALOG_H

#include "store_internal.h"

/* {"<id>": ["<full reference>", ...]} */
FAAS_MUST_CHECK faas_code catalog_refs(struct image_store *store, json_t **out_refs, faas_err *err);
/* Calls back for each image; a record that vanishes meanwhile is left out. */
struct catalog_visit {
    faas_code (*image)(void *arg, const struct image_record *record, int64_t used_ms,
                       faas_err *err);
    void *arg;
};
FAAS_MUST_CHECK faas_code catalog_images(struct image_store *store,
                                         const struct catalog_visit *visit, faas_err *err);
/* The names of a folder, sorted; those that begin with a dot are left out. */
FAAS_MUST_CHECK faas_code catalog_names(int folder, json_t **out_names, faas_err *err);

#endif
