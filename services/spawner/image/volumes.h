/* volumes.h - VOLUME of an image: paths at which a function finds an empty folder that it may write
 * in, however the image was found and whatever runs it.
 * Path      absolute, no "..", at most VOLUME_BYTES_MAX bytes and VOLUMES_MAX of them; not the root,
 *           not in /proc, /sys or /dev, not /etc itself; not in another one, nor in /tmp.  /tmp and
 *           /dev/shm are such folders anyhow, and left out.
 * Order     sorted by bytes, each once: the same list for the same set.
 * Errors    INVALID naming the path and what is wrong with it.
 * Threads   pure values.
 */
#ifndef SPAWNER_IMAGE_VOLUMES_H
#define SPAWNER_IMAGE_VOLUMES_H

#include "base/json.h"

#define VOLUMES_MAX      16
#define VOLUME_BYTES_MAX 255

/* volumes: an object whose keys are the paths, an array of them, null or NULL.  *out_list: an array of
 * clean paths, or NULL for none; the caller decrefs. */
FAAS_MUST_CHECK faas_code volumes_read(const json_t *volumes, json_t **out_list, faas_err *err);

struct image_store;
/* Whether the layers leave room for them: UNPROCESSABLE where a path leads through a link or a file,
 * or where a layer hides it. */
FAAS_MUST_CHECK faas_code volumes_place(struct image_store *store, const json_t *layers,
                                        const json_t *volumes, faas_err *err);

#endif
