#include "limits.h"

struct image_limits image_limits;

const struct faas_option image_limit_options[] = {
    FAAS_OPT_GROUP("Images"),
    FAAS_OPT_INT(image_limits.mb, "IMAGE_MAX_MB", "4096", 1, 1048576,
                 "unpacked size of an image, all its layers together"),
    FAAS_OPT_INT(image_limits.entries, "IMAGE_MAX_ENTRIES", "300000", 1, 10000000,
                 "files and folders of one layer"),
    FAAS_OPT_INT(image_limits.depth, "IMAGE_MAX_DEPTH", "100", 1, 200,
                 "folders in folders of an image"),
    FAAS_OPT_INT(image_limits.name_bytes, "IMAGE_MAX_NAME", "4000", 1, 4095,
                 "length of a path in an image, in bytes"),
    FAAS_OPT_INT(image_limits.layers, "IMAGE_MAX_LAYERS", "127", 1, 500, "layers of one image"),
    FAAS_OPT_END,
};
