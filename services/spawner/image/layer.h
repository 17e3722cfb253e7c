/* layer.h - one layer into the store.
 * Shared    a layer is stored once, under its diff id, whatever image brings it.
 * Visible   when it is complete, on disk, and has the digest of its name: by one rename.
 * Lock      the caller holds the store's lock.
 * Errors    child.h's; INVALID: another digest than the image says; TOO_LARGE.
 * Threads   any, one at a time in a staging folder.
 */
#ifndef SPAWNER_IMAGE_LAYER_H
#define SPAWNER_IMAGE_LAYER_H

#include <stdbool.h>

#include "store_internal.h"

/* blob: the layer's tar, plain or compressed; at most max_bytes unpacked.  *out_left_out: devices,
 * pipes and sockets; 0 when the layer was here already. */
struct layer_job {
    const char *diff_id;
    int blob;
    int64_t max_bytes;
};
FAAS_MUST_CHECK faas_code layer_add(struct image_staging *staging, const struct layer_job *job,
                                    int64_t *out_bytes, int64_t *out_left_out, faas_err *err);
/* The layer's unpacked size; NOT_FOUND. */
FAAS_MUST_CHECK faas_code layer_bytes(struct image_store *store, const char *diff_id,
                                      int64_t *out_bytes, faas_err *err);
/* Its tar into the file `out`: of its files and what is kept of the stream they came in; whether it
 * is the same as then, the digest tells.  UNPROCESSABLE: it was not kept. */
FAAS_MUST_CHECK faas_code layer_assemble(struct image_store *store, const char *diff_id, int out,
                                         faas_err *err);
/* The layer's files; -1 and errno. */
int layer_open_root(const struct image_store *store, const char *diff_id);
/* Whether that folder of a layer hides what lower ones have in it. */
bool layer_is_opaque(int folder);
/* A folder in staging that an unpacker may fill; *out_fd is open. */
FAAS_MUST_CHECK faas_code layer_folder(int dir, const char *name, int *out_fd, faas_err *err);

#endif
