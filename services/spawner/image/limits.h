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

/* For a program with a table of its own. */
#define IMAGE_LIMIT_ROWS                                                                           \
    FAAS_OPT_INT(image_limits.mb, "IMAGE_MAX_MB", "4096", 1, 1048576,                              \
                 "unpacked size of an image, all its layers together"),                            \
        FAAS_OPT_INT(image_limits.entries, "IMAGE_MAX_ENTRIES", "300000", 1, 10000000,             \
                     "files and folders of one layer"),                                            \
        FAAS_OPT_INT(image_limits.depth, "IMAGE_MAX_DEPTH", "100", 1, 200,                         \
                     "folders in folders of an image"),                                            \
        FAAS_OPT_INT(image_limits.name_bytes, "IMAGE_MAX_NAME", "4000", 1, 4095,                   \
                     "length of a path in an image, in bytes"),                                    \
        FAAS_OPT_INT(image_limits.layers, "IMAGE_MAX_LAYERS", "127", 1, 500,                       \
                     "layers of one image")

#endif
