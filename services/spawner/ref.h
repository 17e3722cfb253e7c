/* ref.h - an image reference taken apart, for asking the engine and for the pull policy.
 * Grammar   [host[:port]/]path[:tag][@digest] of the distribution project; the first part is a host
 *           when it has a dot, a colon or upper case, or is "localhost".  The registry checks the
 *           whole grammar at registration; here every byte is checked against its part's alphabet
 *           again, because direct calls arrive unchecked.
 * Names     "upper" -> docker.io/library/upper:latest.
 * Policy    images of loopback registries and local images always; others only when their host is
 *           listed in ALLOWED_REGISTRIES ("*": any host).
 * Errors    INVALID with what is wrong; DENIED naming ALLOWED_REGISTRIES.
 * Threads   pure values.
 */
#ifndef SPAWNER_REF_H
#define SPAWNER_REF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "contract.h"

struct image_ref {
    char host[FAAS_IMAGE_REF_MAX];
    char path[FAAS_IMAGE_REF_MAX];
    char tag[129];    /* "" only when there is a digest */
    char digest[160]; /* "sha256:<64 hex>", or "" */
};
#define REF_TEXT_MAX (3 * FAAS_IMAGE_REF_MAX)

FAAS_MUST_CHECK faas_code ref_parse(const char *text, struct image_ref *out_ref, faas_err *err);
/* host/path[:tag][@digest] */
void ref_full(const struct image_ref *ref, char out_text[REF_TEXT_MAX]);
/* host/path@digest: what runs.  INVALID when digest is not "sha256:<64 lower-case hex>". */
FAAS_MUST_CHECK faas_code ref_pinned(const struct image_ref *ref, const char *digest,
                                     char out_text[REF_TEXT_MAX], faas_err *err);
bool ref_is_digest(const char *text);
/* "localhost", 127.0.0.0/8 or [::1], with or without a port: by its letters, not by its address. */
bool ref_is_loopback(const char *host);
bool ref_is_same_repository(const struct image_ref *a, const struct image_ref *b);
/* allowed: comma-separated hosts, "" for none. */
FAAS_MUST_CHECK faas_code ref_check_allowed(const struct image_ref *ref, const char *allowed,
                                            faas_err *err);
/* mirrors: "HOST=MIRROR,...", MIRROR a host[:port][/path]; INVALID: it is not that. */
FAAS_MUST_CHECK faas_code ref_check_mirrors(const char *mirrors, faas_err *err);
/* Where the images of host are asked for first; false: it has no mirror. */
bool ref_mirror(const char *mirrors, const char *host, char out_mirror[FAAS_IMAGE_REF_MAX]);
/* Percent-encode everything but unreserved characters; the caller frees, NULL without memory. */
char *ref_url_encode(const char *text);

#endif
