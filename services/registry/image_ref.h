/* image_ref.h - references to container images: [host[:port]/]path[:tag][@digest].
 * Grammar   that of the distribution project's reference library, with its normalisation: a name
 *           without a host belongs to docker.io, a single word to docker.io/library, and without
 *           tag and digest ":latest" is meant.
 * Oddities  kept as they are there: "Host/x" and "h:99999/x" have a host, "a_b.com/x" parses with
 *           none, 64 hex digits alone are refused, loopback addresses are hosts like any other.
 *           So syntax is not policy: who may be contacted is decided elsewhere.
 * Digest    sha256, sha384 or sha512 in lower-case hex of exactly their length.
 * Ownership an image_ref owns its text until image_ref_done(); the parts point into it.
 * Errors    INVALID, "payload: ..." in msg; the value is not echoed.
 * Threads   any.
 */
#ifndef REGISTRY_IMAGE_REF_H
#define REGISTRY_IMAGE_REF_H

#include <stddef.h>

#include "base/err.h"

#define IMAGE_PATH_MAX 255 /* bytes, "library/" included */
#define IMAGE_TAG_MAX  128

struct image_part {
    const char *at; /* not NUL-terminated */
    size_t len;     /* 0: absent */
};
struct image_ref {
    char *text; /* the normalised reference, NUL-terminated */
    struct image_part host, path, tag, digest;
};

FAAS_MUST_CHECK faas_code image_ref_parse(const char *text, struct image_ref *out_ref,
                                          faas_err *err);
void image_ref_done(struct image_ref *ref);

#endif
