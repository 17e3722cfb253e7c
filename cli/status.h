/* status.h - what runs in the data directory of a `faas up`.
 * Threads   the main thread, after curl_global_init().
 */
#ifndef CLI_STATUS_H
#define CLI_STATUS_H

#include "base/json.h"

/* state.json, with "health" ("ok", "HTTP 503", "no answer") for each process that answers HTTP.
 * NOT_FOUND: nothing runs there. */
FAAS_MUST_CHECK faas_code status_read(const char *path, json_t **out_state, faas_err *err);

#endif
