/* engine_image.h - the engine's images: which are here, fetching those that are not.
 * Known set what an inspection found is remembered for a minute (known.h), so that a call costs no
 *           request of its own; an image that vanished meanwhile shows when its container cannot be
 *           created: images_forget(), then ensure again.
 * Pulls     of one reference merge; `parallel` run at once, the rest waits in line; a pull goes on
 *           when nobody waits for it any more.  A failed background pull is not tried again for
 *           IMAGES_RETRY_MS.  The engine may report a failure inside a 200 answer: every line of
 *           it is read.
 * Errors    NOT_FOUND: not here and not to be pulled; DENIED: its registry is not allowed;
 *           UNPROCESSABLE: the engine could not get it, with its own message; UNAVAILABLE: no
 *           engine; TIMEOUT.
 * Threads   loop thread only.
 */
#ifndef SPAWNER_ENGINE_IMAGE_H
#define SPAWNER_ENGINE_IMAGE_H

#include "engine.h"
#include "known.h"
#include "ref.h"
#include "runtime.h"

#define IMAGES_RETRY_MS 5000

typedef struct images images;
typedef struct image_wait image_wait;

struct images_conf {
    engine *eng;
    const char *auth_file; /* REGISTRY_AUTH_FILE, may be "" */
    const char *allowed;   /* ALLOWED_REGISTRIES */
    int parallel;
    int64_t pull_timeout_ms;
};
FAAS_MUST_CHECK faas_code images_new(const struct images_conf *conf, images **out_images,
                                     faas_err *err);
void images_free(images *imgs); /* waits end without their callbacks */

/* What to hand to the engine for an image as the registry stored it: host/path@sha256:... or
 * sha256:...  INVALID: malformed. */
FAAS_MUST_CHECK faas_code images_name(const struct rt_image *image, char out_name[REF_TEXT_MAX],
                                      faas_err *err);

/* NULL: not known now.  Valid until the loop runs on. */
const struct image_info *images_known(images *imgs, const char *name);
void images_forget(images *imgs, const char *name);

typedef void images_done(void *arg, faas_code code, const struct image_info *info,
                         const faas_err *err);
struct image_want {
    const char *name; /* of images_name(), or a full reference; copied */
    bool may_pull;
    int64_t timeout_ms;
    images_done *done; /* once, after images_ensure returned */
    void *arg;
};
FAAS_MUST_CHECK faas_code images_ensure(images *imgs, const struct image_want *want,
                                        image_wait **out_wait, faas_err *err);
void images_cancel(image_wait *wait); /* NULL is fine; done does not run */
/* Fetch without waiting; refusals are remembered, not reported. */
void images_prefetch(images *imgs, const char *name);

#endif
