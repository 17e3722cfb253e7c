#include "limits.h"

struct image_limits image_limits;

const struct faas_option image_limit_options[] = {
    FAAS_OPT_GROUP("Images"),
    IMAGE_LIMIT_ROWS,
    FAAS_OPT_END,
};
