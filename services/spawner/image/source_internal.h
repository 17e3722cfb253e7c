/* source_internal.h - what the readers of the two kinds of folders share; nobody else includes it.
 */
#ifndef SPAWNER_IMAGE_SOURCE_INTERNAL_H
#define SPAWNER_IMAGE_SOURCE_INTERNAL_H

#include "source.h"

FAAS_DEFINE_AUTO(source, source_free)

/* A JSON document of the folder, an object or an array; digest (may be NULL) is what it must have. */
FAAS_MUST_CHECK faas_code source_document(int folder, const char *path, const char *digest,
                                          json_t **out_doc, faas_err *err);
/* The next image of the source, all zero; TOO_LARGE when there is no room. */
FAAS_MUST_CHECK faas_code source_next(source *src, struct source_image **out_image, faas_err *err);
FAAS_MUST_CHECK faas_code source_read_docker(int folder, const json_t *manifest, source *src,
                                             faas_err *err);
FAAS_MUST_CHECK faas_code source_read_oci(int folder, const json_t *index, source *src,
                                          faas_err *err);

#endif
