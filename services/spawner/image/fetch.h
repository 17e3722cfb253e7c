/* fetch.h - this process becomes skopeo, which copies an image out of a registry or into one, or asks
 * for its digest.
 * User      IMAGE_FETCHER (started by another user than root: that user), without capabilities and
 *           no_new_privs; it ends with its parent.
 * Files     the folder is its /tmp: the image is in /tmp/oci, a login in /tmp/auth.json; of what it
 *           pushed the digest is in /tmp/digest.
 * Fetched   what the registry has of this image.  Layers that are said to be elsewhere are not:
 *           an OCI layout may leave them out, and whoever imports it refuses them.
 * Errors    UNAVAILABLE: skopeo is not installed, or this machine does not allow the above.
 * Threads   called while there is one; returns only after a failure.
 */
#ifndef SPAWNER_IMAGE_FETCH_H
#define SPAWNER_IMAGE_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum fetch_work {
    FETCH_COPY,
    FETCH_DIGEST, /* printed to `out`; nothing is copied */
    FETCH_PUSH,
};
struct fetch {
    enum fetch_work work;
    const char *image;
    int folder, out;    /* what skopeo says goes to `out` */
    int64_t file_bytes; /* the longest layer, compressed */
    bool has_login, is_plain_http;
};
faas_code fetch_become(const struct fetch *fetch, faas_err *err);

#endif
