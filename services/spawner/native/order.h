/* order.h - a call as the packet its sandbox reads: working directory, arguments, environment.
 * Arguments the image's ENTRYPOINT, then `command` (with neither, the image's CMD), then the
 *           argument, unless it goes to standard input; then the image's CMD stands in for an empty
 *           `command`.  API.md section 3.
 * Variables PATH, HOSTNAME and HOME have values when nobody gives them; the image's are next, the
 *           function's own last.  Nothing of this process's environment is in it.
 * Errors    START_FAILED with what to change: no program, NUL or bytes that are not UTF-8 in the
 *           argument, too much of it.
 * Threads   pure.
 */
#ifndef NATIVE_ORDER_H
#define NATIVE_ORDER_H

#include "services/spawner/image/store.h"
#include "services/spawner/runtime.h"

struct order {
    char *data; /* owned */
    size_t len;
};
FAAS_MUST_CHECK faas_code order_build(const struct rt_spec *spec, const struct image_config *config,
                                      struct order *out_order, faas_err *err);
const char *order_directory(const struct order *order);
const char *order_program(const struct order *order);

#endif
