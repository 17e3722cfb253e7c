#include "catalog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "import.h"

static int is_shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

faas_code catalog_names(int folder, json_t **out_names, faas_err *err)
{
    FAAS_AUTO(json_t) *names = json_array();
    struct dirent **list = NULL;
    bool is_short = names == NULL;
    int count = scandirat(folder, ".", &list, is_shown, alphasort);

    if (count < 0)
        return faas_fail_sys(err, errno, "list the image store");
    for (int i = 0; i < count; i++) {
        is_short = is_short || json_array_append_new(names, json_string(list[i]->d_name)) != 0;
        free(list[i]);
    }
    free(list);
    if (is_short)
        return faas_fail_sys(err, ENOMEM, "list the image store");
    *out_names = FAAS_STEAL(names);
    return FAAS_OK;
}

static faas_code add_ref(struct image_store *store, const char *file, json_t *refs, faas_err *err)
{
    char id[IMAGE_ID_TEXT];
    FAAS_AUTO(char) *full = NULL;
    json_t *list;
    faas_code code = image_ref_read(store, file, id, &full, err);

    if (code != FAAS_OK)
        return code == FAAS_NOT_FOUND ? FAAS_OK : code;
    list = json_object_get(refs, id);
    if (list == NULL) {
        list = json_array();
        if (json_object_set_new(refs, id, list) != 0)
            return faas_fail_sys(err, ENOMEM, "image names");
    }
    return json_array_append_new(list, json_string(full)) == 0
               ? FAAS_OK
               : faas_fail_sys(err, ENOMEM, "image names");
}

faas_code catalog_refs(struct image_store *store, json_t **out_refs, faas_err *err)
{
    FAAS_AUTO(json_t) *refs = json_object(), *files = NULL;
    const json_t *file;
    size_t i;

    if (refs == NULL)
        return faas_fail_sys(err, ENOMEM, "image names");
    FAAS_TRY(catalog_names(store->refs, &files, err));
    json_array_foreach (files, i, file)
        FAAS_TRY(add_ref(store, json_string_value(file), refs, err));
    *out_refs = FAAS_STEAL(refs);
    return FAAS_OK;
}

static faas_code visit_one(struct image_store *store, const char *file,
                           const struct catalog_visit *visit, faas_err *err)
{
    struct image_record record;
    char id[IMAGE_ID_TEXT];
    struct stat info;
    faas_code code;
    int fd;

    snprintf(id, sizeof id, "sha256:%.64s", file);
    if (!image_digest_is(id))
        return FAAS_OK;
    code = image_record_open(store, id, &record, &fd, err);
    if (code != FAAS_OK)
        return code == FAAS_NOT_FOUND ? FAAS_OK : code;
    code = fstat(fd, &info) == 0 ? FAAS_OK : faas_fail_sys(err, errno, "look at a record");
    close(fd); /* the visitor may want to remove it */
    if (code == FAAS_OK)
        code = visit->image(visit->arg, &record,
                            info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1000000, err);
    image_record_done(&record);
    return code;
}

faas_code catalog_images(struct image_store *store, const struct catalog_visit *visit,
                         faas_err *err)
{
    FAAS_AUTO(json_t) *files = NULL;
    const json_t *file;
    size_t i;

    FAAS_TRY(catalog_names(store->images, &files, err));
    json_array_foreach (files, i, file)
        FAAS_TRY(visit_one(store, json_string_value(file), visit, err));
    return FAAS_OK;
}

/* ---- what people see ---- */

struct listing {
    json_t *refs, *images;
};

static json_t *refs_of(const json_t *refs, const char *id)
{
    json_t *list = json_object_get(refs, id);

    return list != NULL ? json_incref(list) : json_array();
}

static faas_code list_one(void *arg, const struct image_record *record, int64_t used_ms,
                          faas_err *err)
{
    struct listing *listing = arg;
    char used_at[FAAS_TIME_TEXT];
    json_t *doc;

    faas_time_format(used_ms, used_at);
    doc = json_pack("{s:s,s:o,s:i,s:I,s:s}", "id", record->id, "references",
                    refs_of(listing->refs, record->id), "layers",
                    (int)json_array_size(record->spec.layers), "bytes", (json_int_t)record->bytes,
                    "used_at", used_at);
    return json_array_append_new(listing->images, doc) == 0 ? FAAS_OK
                                                            : faas_fail_sys(err, ENOMEM, "list");
}

faas_code image_list(struct image_store *store, json_t **out_images, faas_err *err)
{
    FAAS_AUTO(json_t) *images = json_array(), *refs = NULL;
    struct listing listing = {.images = images};
    const struct catalog_visit visit = {list_one, &listing};

    if (images == NULL)
        return faas_fail_sys(err, ENOMEM, "list");
    FAAS_TRY(catalog_refs(store, &refs, err));
    listing.refs = refs;
    FAAS_TRY(catalog_images(store, &visit, err));
    *out_images = FAAS_STEAL(images);
    return FAAS_OK;
}

faas_code image_inspect(struct image_store *store, const char *reference, json_t **out_image,
                        faas_err *err)
{
    FAAS_AUTO(json_t) *refs = NULL, *doc = NULL;
    struct image_record record;
    char id[IMAGE_ID_TEXT];
    int fd;

    FAAS_TRY(image_ref_resolve(store, reference, id, err));
    FAAS_TRY(catalog_refs(store, &refs, err));
    FAAS_TRY(image_record_open(store, id, &record, &fd, err));
    close(fd);
    doc = image_record_to_json(&record);
    image_record_done(&record);
    if (doc == NULL || json_object_del(doc, "v") != 0 ||
        json_object_set_new(doc, "references", refs_of(refs, id)) != 0)
        return faas_fail_sys(err, ENOMEM, "inspect");
    *out_image = FAAS_STEAL(doc);
    return FAAS_OK;
}
