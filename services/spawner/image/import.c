#include "import_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "accounts.h"
#include "base/text.h"
#include "child.h"
#include "files.h"
#include "layer.h"
#include "volumes.h"

#define ARCHIVE "archive" /* in staging: an archive's files */
#define PACKED  "layer.tar"

/* ---- one image ---- */

static faas_code add_layers(struct import *import, const struct source_image *image,
                            struct image_record *record, int64_t *out_left_out, faas_err *err)
{
    int64_t left = image_limits.mb * 1024 * 1024;
    const json_t *layer;
    size_t i;

    *out_left_out = 0;
    if ((int64_t)json_array_size(image->spec.layers) > image_limits.layers)
        return faas_fail(err, FAAS_TOO_LARGE,
                         "the image has %zu layers, more than %lld (IMAGE_MAX_LAYERS)",
                         json_array_size(image->spec.layers), (long long)image_limits.layers);
    json_array_foreach (image->spec.layers, i, layer) {
        struct layer_job job = {.diff_id = json_string_value(layer), .max_bytes = left};
        int64_t bytes = 0, left_out = 0;
        faas_code code;

        FAAS_TRY(source_open(import->folder, json_string_value(json_array_get(image->blobs, i)),
                             &job.blob, err));
        code = layer_add(&import->staging, &job, &bytes, &left_out, err);
        close(job.blob);
        FAAS_TRY(code);
        *out_left_out += left_out;
        record->bytes += bytes;
        left -= bytes;
        if (left < 0)
            return faas_fail(err, FAAS_TOO_LARGE,
                             "the image is larger than %lld MB when unpacked (IMAGE_MAX_MB)",
                             (long long)image_limits.mb);
    }
    return FAAS_OK;
}

/* One that is there already stays as it is: others may hold its lock. */
static faas_code put_record(struct import *import, const struct image_record *record, faas_err *err)
{
    struct image_store *store = import->staging.store;
    FAAS_AUTO(json_t) *doc = image_record_to_json(record);
    char name[RECORD_NAME];

    if (doc == NULL)
        return faas_fail_sys(err, ENOMEM, "image record");
    image_record_name(record->id, name);
    if (utimensat(store->images, name, NULL, AT_SYMLINK_NOFOLLOW) == 0)
        return FAAS_OK;
    return files_write(import->staging.fd, "image.json", store->images, name, doc, err);
}

static faas_code put_ref(struct image_staging *staging, const char *full, const char *id,
                         const char *from, faas_err *err)
{
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:s,s:s,s:s*}", "reference", full, "id", id, "source", from);
    char file[RECORD_NAME];

    if (doc == NULL)
        return faas_fail_sys(err, ENOMEM, "image name");
    image_ref_file(full, file);
    return files_write(staging->fd, "ref.json", staging->store->refs, file, doc, err);
}

/* Why JSON could not be made of a text. */
static faas_code fail_text(const char *what, const char *text, faas_err *err)
{
    if (!faas_utf8_is(text, strlen(text)))
        return faas_fail(err, FAAS_INVALID, "%s: must be UTF-8", what);
    return faas_fail_sys(err, ENOMEM, "%s", what);
}

/* The names in full. */
static faas_code full_names(const json_t *names, json_t **out_full, faas_err *err)
{
    FAAS_AUTO(json_t) *list = json_array();
    const json_t *name;
    size_t i;

    json_array_foreach (names, i, name) {
        FAAS_AUTO(char) *full = NULL;

        FAAS_TRY(image_ref_full(json_string_value(name), &full, err));
        if (strchr(full, '@') != NULL)
            return faas_fail(err, FAAS_INVALID, "image name %.200s: a name has no digest", full);
        if (json_array_append_new(list, json_string(full)) != 0)
            return faas_fail_sys(err, ENOMEM, "image names");
    }
    *out_full = FAAS_STEAL(list);
    return *out_full != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "image names");
}

static faas_code publish(struct import *import, const struct image_record *record,
                         const json_t *names, int64_t left_out, faas_err *err)
{
    FAAS_AUTO(json_t) *full = NULL;
    const json_t *name;
    json_t *doc;
    size_t i;

    FAAS_TRY(full_names(names, &full, err));
    if (import->pin != NULL && json_array_append_new(full, json_string(import->pin)) != 0)
        return faas_fail_sys(err, ENOMEM, "image names");
    FAAS_TRY(put_record(import, record, err));
    json_array_foreach (full, i, name)
        FAAS_TRY(
            put_ref(&import->staging, json_string_value(name), record->id, import->source, err));
    doc = json_pack("{s:s,s:O,s:i,s:I,s:I}", "id", record->id, "references", full, "layers",
                    (int)json_array_size(record->spec.layers), "bytes", (json_int_t)record->bytes,
                    "left_out", (json_int_t)left_out);
    return json_array_append_new(import->done, doc) == 0 ? FAAS_OK
                                                         : faas_fail_sys(err, ENOMEM, "image");
}

static faas_code add_image(struct import *import, size_t at, const json_t *names, faas_err *err)
{
    struct source_image *image = &import->from->images[at];
    struct image_record record = {.bytes = 0};
    int64_t left_out;

    FAAS_TRY(image_spec_id(&image->spec, record.id, err));
    FAAS_TRY(add_layers(import, image, &record, &left_out, err));
    FAAS_TRY(accounts_resolve(import->staging.store, &image->spec, err));
    FAAS_TRY(
        volumes_place(import->staging.store, image->spec.layers, image->spec.config.volumes, err));
    record.spec = image->spec; /* lent: the source still owns it */
    return publish(import, &record, names, left_out, err);
}

static faas_code add_all(struct import *import, faas_err *err)
{
    const source *from = import->from;
    FAAS_AUTO(json_t) *named = import->tag != NULL ? json_pack("[s]", import->tag) : NULL;
    faas_code code = FAAS_OK;
    int lock;

    if (import->tag != NULL && named == NULL)
        return fail_text("image name", import->tag, err);
    if (import->tag != NULL && from->count > 1)
        return faas_fail(err, FAAS_INVALID, "it holds %zu images: --tag can name only one",
                         from->count);
    FAAS_TRY(image_store_lock(import->staging.store, &lock, err));
    for (size_t i = 0; i < from->count && code == FAAS_OK; i++)
        code = add_image(import, i, named != NULL ? named : from->images[i].names, err);
    close(lock);
    return code;
}

faas_code import_add(struct import *import, faas_err *err)
{
    if (import->from == NULL)
        FAAS_TRY(source_read(import->folder, &import->from, err));
    return add_all(import, err);
}

/* ---- archives and folders ---- */

faas_code import_archive(struct import *import, int file, faas_err *err)
{
    struct child_result result = {.opaque = NULL};
    struct child_job job = {.verb = "unpack",
                            .in = file,
                            .root = -1,
                            .empty = -1,
                            .record = -1,
                            .bytes = image_limits.mb * 1024 * 1024};
    faas_code code = layer_folder(import->staging.fd, "empty", &job.empty, err);

    if (code == FAAS_OK)
        code = layer_folder(import->staging.fd, ARCHIVE, &job.root, err);
    if (code == FAAS_OK)
        code = child_unpack(&job, &result, err);
    json_decref(result.opaque);
    if (job.empty >= 0)
        close(job.empty);
    import->folder = job.root;
    return code;
}

static faas_code open_source(struct import *import, const char *path, faas_err *err)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat info;
    faas_code code;

    if (fd < 0 || fstat(fd, &info) != 0) {
        int errnum = errno;

        if (fd >= 0)
            close(fd);
        return faas_fail(err, FAAS_INVALID, "%.300s: %s", path, strerrordesc_np(errnum));
    }
    if (S_ISDIR(info.st_mode)) {
        import->folder = fd;
        return FAAS_OK;
    }
    code = S_ISREG(info.st_mode)
               ? import_archive(import, fd, err)
               : faas_fail(err, FAAS_INVALID, "%.300s: expected a file or a folder", path);
    close(fd);
    return code;
}

faas_code import_begin(struct image_store *store, struct import *out_import, faas_err *err)
{
    *out_import = (struct import){.folder = -1, .done = json_array()};
    if (out_import->done == NULL)
        return faas_fail_sys(err, ENOMEM, "import");
    return image_staging_open(store, &out_import->staging, err);
}

faas_code import_end(struct import *import, faas_code code, json_t **out_images)
{
    source_free(import->from);
    if (import->folder >= 0)
        close(import->folder);
    image_staging_close(&import->staging);
    if (code == FAAS_OK)
        *out_images = import->done;
    else
        json_decref(import->done);
    return code;
}

faas_code image_import(struct image_store *store, const char *path, const char *tag,
                       json_t **out_images, faas_err *err)
{
    struct import import;
    faas_code code = import_begin(store, &import, err);

    import.tag = tag;
    if (code == FAAS_OK)
        code = open_source(&import, path, err);
    if (code == FAAS_OK)
        code = import_add(&import, err);
    return import_end(&import, code, out_images);
}

/* ---- packing ---- */

/* As an image of this machine would say it, so that it is read with the same care. */
static faas_code pack_spec(const struct image_pack *pack, const char *hash,
                           struct image_spec *out_spec, faas_err *err)
{
    const char *dir = pack->working_dir != NULL ? pack->working_dir : "";
    const char *user = pack->user != NULL ? pack->user : "";
    FAAS_AUTO(json_t) *layer = json_sprintf("sha256:%s", hash);
    FAAS_AUTO(json_t) *doc = json_pack(
        "{s:s,s:s,s:{s:O?,s:O?,s:O?,s:s,s:s},s:{s:s,s:[O]}}", "os", "linux", "architecture",
        image_architecture(), "config", "Entrypoint", pack->entrypoint, "Cmd", pack->cmd, "Env",
        pack->env, "WorkingDir", dir, "User", user, "rootfs", "type", "layers", "diff_ids", layer);

    if (doc == NULL)
        return fail_text("--workdir and --user", faas_utf8_is(dir, strlen(dir)) ? user : dir, err);
    return image_spec_read(doc, out_spec, err);
}

static faas_code pack_layer(struct import *import, const char *folder,
                            char out_hash[FAAS_HASH_TEXT], faas_err *err)
{
    int from = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to;
    faas_code code;

    if (from < 0)
        return faas_fail(err, FAAS_INVALID, "%.300s: %s", folder, strerrordesc_np(errno));
    to = openat(import->staging.fd, PACKED, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    code = to >= 0 ? child_pack(from, to, err) : faas_fail_sys(err, errno, "make " PACKED);
    if (code == FAAS_OK)
        code = child_hash_file(to, out_hash, err);
    close(from);
    if (to >= 0)
        close(to);
    return code;
}

static faas_code pack_source(struct import *import, const struct image_pack *pack, faas_err *err)
{
    source *from = import->from = calloc(1, sizeof *import->from);
    char hash[FAAS_HASH_TEXT];

    if (from == NULL)
        return faas_fail_sys(err, errno, "pack");
    FAAS_TRY(pack_layer(import, pack->folder, hash, err));
    import->folder = fcntl(import->staging.fd, F_DUPFD_CLOEXEC, 0);
    if (import->folder < 0)
        return faas_fail_sys(err, errno, "pack");
    from->count = 1;
    FAAS_TRY(pack_spec(pack, hash, &from->images[0].spec, err));
    from->images[0].blobs = json_pack("[s]", PACKED);
    from->images[0].names = json_array();
    return from->images[0].blobs != NULL && from->images[0].names != NULL
               ? FAAS_OK
               : faas_fail_sys(err, ENOMEM, "pack");
}

faas_code image_pack(struct image_store *store, const struct image_pack *pack, json_t **out_images,
                     faas_err *err)
{
    struct import import;
    faas_code code = import_begin(store, &import, err);

    import.tag = pack->tag;
    if (code == FAAS_OK)
        code = pack_source(&import, pack, err);
    if (code == FAAS_OK)
        code = import_add(&import, err);
    return import_end(&import, code, out_images);
}

faas_code image_name(struct image_store *store, const char *reference, const char *tag,
                     const char *from, faas_err *err)
{
    struct image_staging staging = {.fd = -1};
    FAAS_AUTO(json_t) *names = json_pack("[s]", tag), *full = NULL;
    struct image *image = NULL;
    faas_code code;
    int lock;

    if (names == NULL)
        return fail_text("image name", tag, err);
    FAAS_TRY(full_names(names, &full, err));
    FAAS_TRY(image_store_lock(store, &lock, err));
    code = image_store_get(store, reference, &image, err); /* held: it cannot go meanwhile */
    if (code == FAAS_OK)
        code = image_staging_open(store, &staging, err);
    if (code == FAAS_OK)
        code = put_ref(&staging, json_string_value(json_array_get(full, 0)), image->id, from, err);
    image_staging_close(&staging);
    image_release(image);
    close(lock);
    return code;
}

faas_code image_tag(struct image_store *store, const char *reference, const char *tag,
                    faas_err *err)
{
    return image_name(store, reference, tag, NULL, err);
}
