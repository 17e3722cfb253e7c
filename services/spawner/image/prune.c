/* prune.c - images out of the store: what has no name and nobody uses. */
#include "import.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "catalog.h"
#include "files.h"
#include "layer.h"

struct cleaning { /* under the store's lock */
    struct image_store *store;
    json_t *refs;    /* of catalog_refs */
    json_t *used;    /* diff ids of the images that stay: {"<diff id>": true} */
    json_t *orphans; /* images without a name: [{"id","used_ms"}] */
    struct image_freed freed;
};

static faas_code no_memory(faas_err *err)
{
    return faas_fail_sys(err, ENOMEM, "clean the image store");
}

/* ---- layers ---- */

static faas_code note_layers(void *arg, const struct image_record *record, int64_t used_ms,
                             faas_err *err)
{
    struct cleaning *cleaning = arg;
    const json_t *layer;
    size_t i;

    (void)used_ms;
    json_array_foreach (record->spec.layers, i, layer)
        if (json_object_set_new(cleaning->used, json_string_value(layer), json_true()) != 0)
            return no_memory(err);
    return FAAS_OK;
}

/* Out of sight at once, then removed; what is left of it is the next sweep's. */
static faas_code drop_layer(struct cleaning *cleaning, struct image_staging *staging,
                            const char *hex, faas_err *err)
{
    if (renameat(cleaning->store->layers, hex, staging->fd, hex) != 0)
        return faas_fail_sys(err, errno, "remove layer %s", hex);
    cleaning->freed.layers++;
    return files_remove_tree(staging->fd, hex, err);
}

static faas_code drop_unused(struct cleaning *cleaning, struct image_staging *staging,
                             faas_err *err)
{
    FAAS_AUTO(json_t) *names = NULL;
    const json_t *name;
    size_t i;

    FAAS_TRY(catalog_names(cleaning->store->layers, &names, err));
    json_array_foreach (names, i, name) {
        char diff_id[IMAGE_ID_TEXT];
        int64_t bytes = 0;

        snprintf(diff_id, sizeof diff_id, "sha256:%.64s", json_string_value(name));
        if (json_object_get(cleaning->used, diff_id) != NULL)
            continue;
        if (layer_bytes(cleaning->store, diff_id, &bytes, NULL) == FAAS_OK)
            cleaning->freed.bytes += bytes;
        FAAS_TRY(drop_layer(cleaning, staging, json_string_value(name), err));
    }
    return FAAS_OK;
}

/* Layers that no image has any more, whoever left them. */
static faas_code sweep_layers(struct cleaning *cleaning, faas_err *err)
{
    const struct catalog_visit visit = {note_layers, cleaning};
    struct image_staging staging;
    faas_code code;

    if (json_object_clear(cleaning->used) != 0)
        return no_memory(err);
    FAAS_TRY(catalog_images(cleaning->store, &visit, err));
    FAAS_TRY(image_staging_open(cleaning->store, &staging, err));
    code = drop_unused(cleaning, &staging, err);
    image_staging_close(&staging);
    return code;
}

/* ---- images ---- */

/* *out_is_gone false: somebody holds it. */
static faas_code drop_image(struct cleaning *cleaning, const char *id, bool *out_is_gone,
                            faas_err *err)
{
    char name[RECORD_NAME];
    int fd;

    image_record_name(id, name);
    *out_is_gone = false;
    fd = openat(cleaning->store->images, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return faas_fail(err, FAAS_NOT_FOUND, "image %s is not on this machine", id);
    if (fd < 0)
        return faas_fail_sys(err, errno, "open the record of %s", id);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *out_is_gone = unlinkat(cleaning->store->images, name, 0) == 0;
        if (*out_is_gone && json_array_append_new(cleaning->freed.images, json_string(id)) != 0) {
            close(fd);
            return no_memory(err);
        }
    }
    close(fd);
    return FAAS_OK;
}

typedef faas_code clean_fn(struct cleaning *cleaning, const void *what, faas_err *err);

/* Runs the function under the store's lock. */
static faas_code clean(struct image_store *store, clean_fn *fn, const void *what,
                       struct image_freed *out_freed, faas_err *err)
{
    struct cleaning cleaning = {.store = store,
                                .used = json_object(),
                                .orphans = json_array(),
                                .freed = {.images = json_array()}};
    faas_code code;
    int lock = -1;

    code = image_store_lock(store, &lock, err);
    if (code == FAAS_OK &&
        (cleaning.used == NULL || cleaning.orphans == NULL || cleaning.freed.images == NULL))
        code = no_memory(err);
    if (code == FAAS_OK)
        code = catalog_refs(store, &cleaning.refs, err);
    if (code == FAAS_OK)
        code = fn(&cleaning, what, err);
    if (lock >= 0)
        close(lock);
    json_decref(cleaning.refs);
    json_decref(cleaning.used);
    json_decref(cleaning.orphans);
    if (code == FAAS_OK)
        *out_freed = cleaning.freed;
    else
        json_decref(cleaning.freed.images);
    return code;
}

/* ---- remove ---- */

static faas_code drop_ref(struct cleaning *cleaning, const char *full, faas_err *err)
{
    char file[RECORD_NAME];

    image_ref_file(full, file);
    if (unlinkat(cleaning->store->refs, file, 0) != 0 && errno != ENOENT)
        return faas_fail_sys(err, errno, "remove the name %s", full);
    return FAAS_OK;
}

static faas_code drop_refs(struct cleaning *cleaning, const json_t *names, faas_err *err)
{
    const json_t *name;
    size_t i;

    json_array_foreach (names, i, name)
        FAAS_TRY(drop_ref(cleaning, json_string_value(name), err));
    return FAAS_OK;
}

/* The image first: a name that stays behind without one is found by nobody, and replaced by the
 * next import. */
static faas_code remove_image(struct cleaning *cleaning, const char *id, faas_err *err)
{
    faas_code code;
    bool is_gone;

    code = drop_image(cleaning, id, &is_gone, err);
    if (code == FAAS_NOT_FOUND) /* its names may be there without it */
        FAAS_TRY(drop_refs(cleaning, json_object_get(cleaning->refs, id), err));
    FAAS_TRY(code);
    if (!is_gone)
        return faas_fail(err, FAAS_CONFLICT, "image %s is in use; nothing was removed", id);
    FAAS_TRY(drop_refs(cleaning, json_object_get(cleaning->refs, id), err));
    return sweep_layers(cleaning, err);
}

static faas_code remove_one(struct cleaning *cleaning, const void *what, faas_err *err)
{
    const char *reference = what;
    FAAS_AUTO(char) *full = NULL;
    char id[IMAGE_ID_TEXT];

    FAAS_TRY(image_ref_resolve(cleaning->store, reference, id, err));
    if (image_digest_is(reference))
        return remove_image(cleaning, id, err);
    FAAS_TRY(image_ref_full(reference, &full, err));
    if (json_array_size(json_object_get(cleaning->refs, id)) > 1)
        return drop_ref(cleaning, full, err);
    return remove_image(cleaning, id, err);
}

faas_code image_remove(struct image_store *store, const char *reference,
                       struct image_freed *out_freed, faas_err *err)
{
    return clean(store, remove_one, reference, out_freed, err);
}

/* ---- prune ---- */

static faas_code note_orphan(void *arg, const struct image_record *record, int64_t used_ms,
                             faas_err *err)
{
    struct cleaning *cleaning = arg;
    json_t *orphan;

    if (json_object_get(cleaning->refs, record->id) != NULL)
        return FAAS_OK;
    orphan = json_pack("{s:s,s:I}", "id", record->id, "used_ms", (json_int_t)used_ms);
    return json_array_append_new(cleaning->orphans, orphan) == 0 ? FAAS_OK : no_memory(err);
}

static int64_t used_ms_of(const json_t *orphan)
{
    return json_integer_value(json_object_get(orphan, "used_ms"));
}

/* Takes the longest unused orphan off the list; NULL when there is none. */
static json_t *take_oldest(json_t *orphans)
{
    size_t best = 0, i;
    json_t *orphan;

    json_array_foreach (orphans, i, orphan)
        if (used_ms_of(orphan) < used_ms_of(json_array_get(orphans, best)))
            best = i;
    orphan = json_incref(json_array_get(orphans, best));
    (void)json_array_remove(orphans, best);
    return orphan;
}

static faas_code total_bytes(struct cleaning *cleaning, int64_t *out_bytes, faas_err *err)
{
    FAAS_AUTO(json_t) *names = NULL;
    const json_t *name;
    size_t i;

    *out_bytes = 0;
    FAAS_TRY(catalog_names(cleaning->store->layers, &names, err));
    json_array_foreach (names, i, name) {
        char diff_id[IMAGE_ID_TEXT];
        int64_t bytes;

        snprintf(diff_id, sizeof diff_id, "sha256:%.64s", json_string_value(name));
        if (layer_bytes(cleaning->store, diff_id, &bytes, NULL) == FAAS_OK)
            *out_bytes += bytes;
    }
    return FAAS_OK;
}

static faas_code prune_all(struct cleaning *cleaning, const void *what, faas_err *err)
{
    const struct image_prune *prune = what;
    const struct catalog_visit visit = {note_orphan, cleaning};
    int64_t oldest_ms = faas_wall_ms() - prune->unused_s * 1000, bytes;

    FAAS_TRY(catalog_images(cleaning->store, &visit, err));
    FAAS_TRY(sweep_layers(cleaning, err));
    FAAS_TRY(total_bytes(cleaning, &bytes, err));
    while (json_array_size(cleaning->orphans) > 0) {
        FAAS_AUTO(json_t) *orphan = take_oldest(cleaning->orphans);
        bool is_over = prune->keep_bytes >= 0 && bytes > prune->keep_bytes, is_gone;

        if (used_ms_of(orphan) > oldest_ms && !is_over)
            break; /* the others were used later */
        FAAS_TRY(
            drop_image(cleaning, json_string_value(json_object_get(orphan, "id")), &is_gone, err));
        if (!is_gone)
            continue;
        FAAS_TRY(sweep_layers(cleaning, err));
        FAAS_TRY(total_bytes(cleaning, &bytes, err));
    }
    return FAAS_OK;
}

faas_code image_prune(struct image_store *store, const struct image_prune *prune,
                      struct image_freed *out_freed, faas_err *err)
{
    return clean(store, prune_all, prune, out_freed, err);
}
