/* source.h - what is in a folder that `docker save` or an OCI tool filled: which images, and where
 * their layers are.
 * Docker    manifest.json: [{"Config","RepoTags","Layers"}], also in the archives that hold an OCI
 *           layout besides.
 * OCI       oci-layout, index.json; indexes inside indexes, at most SOURCE_NESTING deep.  Of several
 *           platforms this machine's is taken.  Every document has the digest it is named by.
 * Hostile   names in these documents lead nowhere but into the folder; nothing is fetched: layers
 *           that are said to be elsewhere are refused.
 * Errors    INVALID: malformed, by document and field; UNPROCESSABLE: not for this machine.
 * Threads   pure values and a descriptor.
 * Spec      OCI image-spec 1.1: image-layout.md, image-index.md, manifest.md, descriptor.md.
 */
#ifndef SPAWNER_IMAGE_SOURCE_H
#define SPAWNER_IMAGE_SOURCE_H

#include "config.h"

#define SOURCE_IMAGES_MAX   64
#define SOURCE_NESTING      4
#define SOURCE_DOCUMENT_MAX IMAGE_CONFIG_MAX

struct source_image {
    struct image_spec spec;
    json_t *blobs; /* array of paths in the folder, as many as spec.layers, lowest first */
    json_t *names; /* array of the references it was saved with, as written; may be empty */
};
typedef struct source {
    size_t count; /* at least 1 */
    struct source_image images[SOURCE_IMAGES_MAX];
} source;
/* The caller frees *out_source with source_free. */
FAAS_MUST_CHECK faas_code source_read(int folder, source **out_source, faas_err *err);
void source_free(source *src); /* NULL is fine */
/* A plain file of the folder, by a path from its documents; links inside may be followed. */
FAAS_MUST_CHECK faas_code source_open(int folder, const char *path, int *out_fd, faas_err *err);

#endif
