/* engine_save.h - an image out of a Docker Engine: what it says about it, and the archive that
 * `docker save` writes.
 * Blocking  a transfer of its own, beside the loop's requests (engine.h): whoever keeps images
 *           waits for it on a thread that may.  It ends when nothing comes for ENGINE_SAVE_IDLE_S.
 * Errors    NOT_FOUND: the engine has no such image; INVALID: the address; TOO_LARGE; UNAVAILABLE:
 *           no engine, or it stopped in between, with its own words, or `stops` said so.
 * Threads   any; the program has called curl_global_init or has one thread.
 */
#ifndef SPAWNER_ENGINE_SAVE_H
#define SPAWNER_ENGINE_SAVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

#define ENGINE_SAVE_IDLE_S 60

struct engine_save {
    const char *host; /* DOCKER_HOST; "" or NULL: the usual socket */
    const char *name; /* of one image: with its tag, or sha256:... */
    int out;          /* borrowed; the archive is written there */
    int64_t max_bytes;
    bool (*stops)(void); /* true: give up; may be NULL */
};
FAAS_MUST_CHECK faas_code engine_save(const struct engine_save *save, faas_err *err);
/* The answer to GET /images/NAME/json; out and max_bytes are not read. */
FAAS_MUST_CHECK faas_code engine_describe(const struct engine_save *save, json_t **out_doc,
                                          faas_err *err);

#endif
