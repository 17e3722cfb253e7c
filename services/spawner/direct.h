/* direct.h - functions.execute: a lone spawner used without the platform (SPAWNER_DIRECT=1).
 * Request   {"image_reference","parameter"} to queue group worker-group; Cmd = [parameter].
 * Reply     the function's stdout; failures in the service error headers.  It knows no users: do
 *           not switch it on where the bus is shared.
 * Bounds    default limits; stdout over the bus's max_payload is TOO_LARGE naming it.
 * Threads   loop thread.
 */
#ifndef SPAWNER_DIRECT_H
#define SPAWNER_DIRECT_H

#include "worker.h"

struct direct {
    const struct faas_runtime *rt;
    struct runtime *runtime;
    worker *worker;
};
/* Serves from now on; direct lives as long as rpc. */
FAAS_MUST_CHECK faas_code direct_begin(struct direct *direct, faas_err *err);

#endif
