/* record.c - the documents of the store: images/<id>.json and refs/<hash>.json. */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "files.h"
#include "services/spawner/ref.h"

void image_record_done(struct image_record *record)
{
    image_spec_done(&record->spec);
}

void image_record_name(const char *id, char out_name[RECORD_NAME])
{
    snprintf(out_name, RECORD_NAME, "%.64s.json", id + strlen("sha256:"));
}

json_t *image_record_to_json(const struct image_record *record)
{
    const struct image_config *config = &record->spec.config;

    return json_pack("{s:i,s:s,s:o,s:i,s:i,s:O,s:I}", "v", STORE_VERSION, "id", record->id,
                     "config", image_config_to_json(config), "uid", (int)config->uid, "gid",
                     (int)config->gid, "layers", record->spec.layers, "bytes",
                     (json_int_t)record->bytes);
}

static faas_code damaged(faas_err *err, const char *id)
{
    return faas_fail(err, FAAS_INTERNAL,
                     "the record of image %s is damaged; remove the image and import it again", id);
}

static bool is_owner(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) > 0 &&
           json_integer_value(value) < IMAGE_OWNER_COUNT;
}

static faas_code parse_record(const json_t *doc, struct image_record *record, faas_err *err)
{
    const json_t *uid = json_object_get(doc, "uid"), *gid = json_object_get(doc, "gid");
    json_t *layers = json_object_get(doc, "layers");
    const char *id = json_string_value(json_object_get(doc, "id"));
    char own[IMAGE_ID_TEXT];
    faas_code code;
    size_t i;
    json_t *layer;

    if (json_integer_value(json_object_get(doc, "v")) != STORE_VERSION || id == NULL ||
        strcmp(id, record->id) != 0 || !is_owner(uid) || !is_owner(gid) || !json_is_array(layers))
        return damaged(err, record->id);
    code = image_config_from_json(json_object_get(doc, "config"), &record->spec.config, err);
    if (code != FAAS_OK) /* no memory is no damage */
        return code == FAAS_INTERNAL ? code : damaged(err, record->id);
    json_array_foreach (layers, i, layer)
        if (!image_digest_is(json_string_value(layer)))
            return damaged(err, record->id);
    record->spec.layers = json_incref(layers);
    record->spec.config.uid = (uint32_t)json_integer_value(uid);
    record->spec.config.gid = (uint32_t)json_integer_value(gid);
    record->bytes = json_integer_value(json_object_get(doc, "bytes"));
    FAAS_TRY(image_spec_id(&record->spec, own, err));
    return strcmp(own, record->id) == 0 ? FAAS_OK : damaged(err, record->id);
}

/* Opened, locked, and still the file of that name: prune removes only what it could lock alone. */
static faas_code open_locked(struct image_store *store, const char *id, int *out_fd, faas_err *err)
{
    char name[RECORD_NAME];
    struct stat info;

    image_record_name(id, name);
    for (;;) {
        int fd = openat(store->images, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc;

        if (fd < 0 && errno == ENOENT)
            return faas_fail(err, FAAS_NOT_FOUND, "image %s is not on this machine", id);
        if (fd < 0)
            return faas_fail_sys(err, errno, "open the record of %s", id);
        do
            rc = flock(fd, LOCK_SH);
        while (rc != 0 && errno == EINTR);
        if (rc != 0 || fstat(fd, &info) != 0) {
            int errnum = errno;

            close(fd);
            return faas_fail_sys(err, errnum, "lock the record of %s", id);
        }
        if (info.st_nlink > 0) {
            *out_fd = fd;
            return FAAS_OK;
        }
        close(fd);
    }
}

faas_code image_record_open(struct image_store *store, const char *id,
                            struct image_record *out_record, int *out_fd, faas_err *err)
{
    struct image_record record = {.bytes = 0};
    FAAS_AUTO(char) *text = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    size_t len;
    faas_code code;
    int fd = -1;

    snprintf(record.id, sizeof record.id, "%s", id);
    FAAS_TRY(open_locked(store, id, &fd, err));
    code = files_read(fd, RECORD_MAX, &text, &len, err);
    if (code == FAAS_OK)
        code = faas_json_parse(text, len, false, &doc, err);
    if (code != FAAS_OK && code != FAAS_INTERNAL)
        code = damaged(err, id);
    if (code == FAAS_OK)
        code = parse_record(doc, &record, err);
    if (code != FAAS_OK) {
        close(fd);
        image_record_done(&record);
        return code;
    }
    *out_record = record;
    *out_fd = fd;
    return FAAS_OK;
}

/* ---- references ---- */

faas_code image_ref_full(const char *reference, char **out_full, faas_err *err)
{
    char full[REF_TEXT_MAX];
    struct image_ref ref;

    FAAS_TRY(ref_parse(reference, &ref, err));
    if (ref.digest[0] != '\0')
        FAAS_TRY(ref_pinned(&ref, ref.digest, full, err));
    else
        ref_full(&ref, full);
    *out_full = strdup(full);
    return *out_full != NULL ? FAAS_OK : faas_fail_sys(err, errno, "image name");
}

void image_ref_file(const char *full, char out_name[RECORD_NAME])
{
    char hash[FAAS_HASH_TEXT];

    faas_hash_text(full, strlen(full), hash);
    snprintf(out_name, RECORD_NAME, "%s.json", hash);
}

static faas_code read_ref(struct image_store *store, const char *file, json_t **out_doc,
                          faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    faas_code code;
    size_t len;
    int fd = openat(store->refs, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return faas_fail(err, FAAS_NOT_FOUND, "this image is not on this machine");
    if (fd < 0)
        return faas_fail_sys(err, errno, "open refs/%s", file);
    code = files_read(fd, RECORD_MAX, &text, &len, err);
    close(fd);
    return code == FAAS_OK ? faas_json_parse(text, len, false, out_doc, err) : code;
}

faas_code image_ref_read(struct image_store *store, const char *file, char out_id[IMAGE_ID_TEXT],
                         char **out_full, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *id, *full;

    FAAS_TRY(read_ref(store, file, &doc, err));
    id = json_string_value(json_object_get(doc, "id"));
    full = json_string_value(json_object_get(doc, "reference"));
    if (!image_digest_is(id) || full == NULL)
        return faas_fail(err, FAAS_INTERNAL, "refs/%s of the image store is damaged", file);
    snprintf(out_id, IMAGE_ID_TEXT, "%s", id);
    if (out_full != NULL && (*out_full = strdup(full)) == NULL)
        return faas_fail_sys(err, errno, "image name");
    return FAAS_OK;
}

faas_code image_ref_source(struct image_store *store, const char *full, char **out_source,
                           faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    char file[RECORD_NAME];
    const char *source;

    image_ref_file(full, file);
    FAAS_TRY(read_ref(store, file, &doc, err));
    source = json_string_value(json_object_get(doc, "source"));
    *out_source = source != NULL ? strdup(source) : NULL;
    return source == NULL || *out_source != NULL ? FAAS_OK
                                                 : faas_fail_sys(err, errno, "image name");
}

faas_code image_ref_resolve(struct image_store *store, const char *reference,
                            char out_id[IMAGE_ID_TEXT], faas_err *err)
{
    FAAS_AUTO(char) *full = NULL;
    char file[RECORD_NAME];
    faas_code code;

    if (image_digest_is(reference)) {
        snprintf(out_id, IMAGE_ID_TEXT, "%s", reference);
        return FAAS_OK;
    }
    FAAS_TRY(image_ref_full(reference, &full, err));
    image_ref_file(full, file);
    code = image_ref_read(store, file, out_id, NULL, err);
    if (code == FAAS_NOT_FOUND)
        return faas_fail(err, FAAS_NOT_FOUND,
                         "image %s is not on this machine; `faas image import` or `faas image "
                         "pull` brings it",
                         full);
    return code;
}
