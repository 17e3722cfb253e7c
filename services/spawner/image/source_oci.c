/* source_oci.c - index.json of an OCI image layout. */
#include <errno.h>
#include <string.h>

#include "source_internal.h"

#define NAME_FULL "io.containerd.image.name"
#define NAME_REF  "org.opencontainers.image.ref.name"
#define LOOKS_MAX 256 /* descriptors that are looked at */

static const char *const image_types[] = {"application/vnd.oci.image.manifest.v1+json",
                                          "application/vnd.docker.distribution.manifest.v2+json",
                                          NULL};
static const char *const index_types[] = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json", NULL};
static const char *const layer_types[] = {"application/vnd.oci.image.layer.v1.tar",
                                          "application/vnd.oci.image.layer.v1.tar+gzip",
                                          "application/vnd.oci.image.layer.v1.tar+zstd",
                                          "application/vnd.docker.image.rootfs.diff.tar.gzip",
                                          "application/vnd.docker.image.rootfs.diff.tar",
                                          NULL};

struct walk {
    int folder, looks;
    source *src;
    json_t *others; /* platforms that were passed over, for the error */
};

static bool is_type(const json_t *doc, const char *const *types)
{
    const char *type = json_string_value(json_object_get(doc, "mediaType"));

    for (; type != NULL && *types != NULL; types++)
        if (strcmp(type, *types) == 0)
            return true;
    return false;
}

/* A descriptor's blob in the layout; its digest becomes a path only as 64 hex digits. */
static faas_code blob_path(const json_t *descriptor, char out_path[80], const char **out_digest,
                           faas_err *err)
{
    const char *digest = json_string_value(json_object_get(descriptor, "digest"));

    if (!image_digest_is(digest))
        return faas_fail(err, FAAS_INVALID, "descriptor: digest: expected sha256:<64 hex digits>");
    snprintf(out_path, 80, "blobs/sha256/%s", digest + strlen("sha256:"));
    *out_digest = digest;
    return FAAS_OK;
}

static faas_code read_blob(int folder, const json_t *descriptor, json_t **out_doc, faas_err *err)
{
    const char *digest;
    char path[80];

    FAAS_TRY(blob_path(descriptor, path, &digest, err));
    return source_document(folder, path, digest, out_doc, err);
}

/* ---- one image ---- */

/* A layer's own digest is not compared: its diff id, in a configuration whose digest was, says the
 * same about the contents and is checked while it is unpacked. */
static faas_code take_layer(const json_t *layer, json_t *blobs, faas_err *err)
{
    const char *digest;
    char path[80];

    if (!is_type(layer, layer_types) || json_object_get(layer, "urls") != NULL)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "a layer is not a plain, gzip or zstd archive in the image itself");
    FAAS_TRY(blob_path(layer, path, &digest, err));
    if (json_array_append_new(blobs, json_string(path)) != 0)
        return faas_fail_sys(err, ENOMEM, "image layer");
    return FAAS_OK;
}

/* "latest" alone names no image. */
static faas_code take_name(const json_t *descriptor, json_t *names, faas_err *err)
{
    const json_t *notes = json_object_get(descriptor, "annotations");
    const char *name = json_string_value(json_object_get(notes, NAME_FULL));

    if (name == NULL)
        name = json_string_value(json_object_get(notes, NAME_REF));
    if (name == NULL || strpbrk(name, "/:") == NULL)
        return FAAS_OK;
    if (json_array_append_new(names, json_string(name)) != 0)
        return faas_fail_sys(err, ENOMEM, "image name");
    return FAAS_OK;
}

static faas_code read_manifest(int folder, const json_t *manifest, struct source_image *image,
                               faas_err *err)
{
    const json_t *layers = json_object_get(manifest, "layers"), *layer;
    FAAS_AUTO(json_t) *config = NULL;
    size_t i;

    FAAS_TRY(read_blob(folder, json_object_get(manifest, "config"), &config, err));
    FAAS_TRY(image_spec_read(config, &image->spec, err));
    json_array_foreach (layers, i, layer)
        FAAS_TRY(take_layer(layer, image->blobs, err));
    if (json_array_size(image->blobs) != json_array_size(image->spec.layers))
        return faas_fail(err, FAAS_INVALID,
                         "the manifest has %zu layers, but the image's configuration has %zu",
                         json_array_size(image->blobs), json_array_size(image->spec.layers));
    return FAAS_OK;
}

/* ---- the index ---- */

/* Without a platform it may be for any; its configuration decides. */
static bool is_for_us(const struct walk *walk, const json_t *descriptor)
{
    const json_t *platform = json_object_get(descriptor, "platform");
    const char *os = json_string_value(json_object_get(platform, "os"));
    const char *architecture = json_string_value(json_object_get(platform, "architecture"));

    if (platform == NULL)
        return true;
    if (os != NULL && architecture != NULL && strcmp(os, "linux") == 0 &&
        strcmp(architecture, image_architecture()) == 0)
        return true;
    if (os != NULL && architecture != NULL && strcmp(os, "unknown") != 0)
        (void)json_array_append_new(walk->others, json_sprintf("%s/%s", os, architecture));
    return false;
}

static faas_code walk_index(struct walk *walk, const json_t *index, int depth, faas_err *err);

static faas_code walk_image(struct walk *walk, const json_t *descriptor, faas_err *err)
{
    FAAS_AUTO(json_t) *manifest = NULL;
    struct source_image *image;

    FAAS_TRY(read_blob(walk->folder, descriptor, &manifest, err));
    FAAS_TRY(source_next(walk->src, &image, err));
    FAAS_TRY(take_name(descriptor, image->names, err));
    return read_manifest(walk->folder, manifest, image, err);
}

/* The index's name is the name of the image that is taken from it. */
static faas_code walk_nested(struct walk *walk, const json_t *descriptor, int depth, faas_err *err)
{
    FAAS_AUTO(json_t) *index = NULL;
    size_t before = walk->src->count;

    if (depth >= SOURCE_NESTING)
        return faas_fail(err, FAAS_INVALID, "indexes are nested more than %d deep", SOURCE_NESTING);
    FAAS_TRY(read_blob(walk->folder, descriptor, &index, err));
    FAAS_TRY(walk_index(walk, index, depth + 1, err));
    if (walk->src->count > before && json_array_size(walk->src->images[before].names) == 0)
        return take_name(descriptor, walk->src->images[before].names, err);
    return FAAS_OK;
}

/* A nested index is one image for several platforms: its first match is taken. */
static faas_code walk_index(struct walk *walk, const json_t *index, int depth, faas_err *err)
{
    const json_t *list = json_object_get(index, "manifests"), *descriptor;
    size_t i, before = walk->src->count;

    if (!json_is_array(list))
        return faas_fail(err, FAAS_INVALID, "index: manifests: expected an array");
    json_array_foreach (list, i, descriptor) {
        if (++walk->looks > LOOKS_MAX)
            return faas_fail(err, FAAS_TOO_LARGE, "more than %d manifests", LOOKS_MAX);
        if (depth > 0 && walk->src->count > before)
            return FAAS_OK;
        if (!is_for_us(walk, descriptor))
            continue;
        if (is_type(descriptor, image_types))
            FAAS_TRY(walk_image(walk, descriptor, err));
        else if (is_type(descriptor, index_types))
            FAAS_TRY(walk_nested(walk, descriptor, depth, err));
    }
    return FAAS_OK;
}

faas_code source_read_oci(int folder, const json_t *index, source *src, faas_err *err)
{
    FAAS_AUTO(json_t) *others = json_array();
    struct walk walk = {.folder = folder, .src = src, .others = others};
    FAAS_AUTO(char) *list = NULL;

    if (others == NULL)
        return faas_fail_sys(err, ENOMEM, "image index");
    FAAS_TRY(walk_index(&walk, index, 0, err));
    if (src->count > 0)
        return FAAS_OK;
    list = faas_json_text(others, NULL);
    return faas_fail(err, FAAS_UNPROCESSABLE,
                     "it holds no image for linux/%s, which this machine runs; it has %s",
                     image_architecture(), list != NULL ? list : "others");
}
