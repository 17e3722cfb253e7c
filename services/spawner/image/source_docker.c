/* source_docker.c - manifest.json, as `docker save` and the engine's save API write it. */
#include <errno.h>
#include <string.h>

#include "source_internal.h"

static faas_code take_strings(const char *name, const json_t *list, json_t *to, faas_err *err)
{
    const json_t *item;
    size_t i;

    if (list == NULL || json_is_null(list))
        return FAAS_OK;
    if (!json_is_array(list) || json_array_size(list) > IMAGE_LAYERS_MAX)
        return faas_fail(err, FAAS_INVALID, "manifest.json: %s: expected at most %d strings", name,
                         IMAGE_LAYERS_MAX);
    json_array_foreach (list, i, item) {
        if (!json_is_string(item))
            return faas_fail(err, FAAS_INVALID, "manifest.json: %s: expected strings", name);
        if (json_array_append_new(to, json_string(json_string_value(item))) != 0)
            return faas_fail_sys(err, ENOMEM, "manifest.json");
    }
    return FAAS_OK;
}

static faas_code read_image(int folder, const json_t *entry, struct source_image *image,
                            faas_err *err)
{
    const char *path = json_string_value(json_object_get(entry, "Config"));
    FAAS_AUTO(json_t) *config = NULL;

    if (path == NULL)
        return faas_fail(err, FAAS_INVALID, "manifest.json: Config: expected a string");
    FAAS_TRY(take_strings("Layers", json_object_get(entry, "Layers"), image->blobs, err));
    FAAS_TRY(take_strings("RepoTags", json_object_get(entry, "RepoTags"), image->names, err));
    FAAS_TRY(source_document(folder, path, NULL, &config, err));
    FAAS_TRY(image_spec_read(config, &image->spec, err));
    if (json_array_size(image->blobs) != json_array_size(image->spec.layers))
        return faas_fail(err, FAAS_INVALID,
                         "manifest.json: %zu layers, but the image's configuration has %zu",
                         json_array_size(image->blobs), json_array_size(image->spec.layers));
    return FAAS_OK;
}

faas_code source_read_docker(int folder, const json_t *manifest, source *src, faas_err *err)
{
    const json_t *entry;
    size_t i;

    if (!json_is_array(manifest) || json_array_size(manifest) == 0)
        return faas_fail(err, FAAS_INVALID, "manifest.json: expected an array of images");
    json_array_foreach (manifest, i, entry) {
        struct source_image *image;

        FAAS_TRY(source_next(src, &image, err));
        FAAS_TRY(read_image(folder, entry, image, err));
    }
    return FAAS_OK;
}
