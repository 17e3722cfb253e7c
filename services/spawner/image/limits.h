/* limits.h - how much an image may be.  Settings: each has a row in image_limit_options.
 * Threads   immutable after start.
 */
#ifndef SPAWNER_IMAGE_LIMITS_H
#define SPAWNER_IMAGE_LIMITS_H

#include "base/option.h"

struct image_limits {
    int64_t mb;         /* unpacked, all layers of an image together */
    int64_t entries;    /* files and folders of one layer, or of an archive */
    int64_t depth;      /* folders in folders */
    int64_t name_bytes; /* of a path inside an image */
    int64_t layers;
};
extern struct image_limits image_limits; /* what the options were loaded into */
extern const struct faas_option image_limit_options[];

#endif
