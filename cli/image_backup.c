#include "cli/image_backup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/output.h"
#include "services/spawner/image/files.h"
#include "services/spawner/image/import.h"
#include "services/spawner/image/limits.h"

#define FOLDER     "restore-image" /* in the data directory */
#define PART_BYTES (128 * 1024)

typedef struct image_store image_store;
FAAS_DEFINE_AUTO(image_store, image_store_close)

static faas_code open_store(const char *data, struct image_store **out_store, faas_err *err)
{
    const struct faas_option *const tables[] = {image_limit_options, NULL};
    char name[] = "faas", *argv[] = {name, NULL};
    FAAS_AUTO(char) *path = file_path("%s/images", data);
    bool is_exit;

    if (path == NULL)
        return faas_fail_sys(err, ENOMEM, "image store");
    FAAS_TRY(faas_options_load(tables, 1, argv, &is_exit, err));
    return image_store_open(out_store, path, err);
}

/* ---- backup ---- */

struct exporting {
    struct backup_out *out;
    const json_t *names;
    bool has_begun;
    char *part; /* PART_BYTES */
};

/* Only an image whose layout could be made begins: there is no way back in the file. */
static faas_code begin_image(struct exporting *exporting, faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    size_t len;

    if (exporting->has_begun)
        return FAAS_OK;
    exporting->has_begun = true;
    text = faas_json_dump(exporting->names, JSON_COMPACT, &len);
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "backup");
    return backup_put(exporting->out, BACKUP_IMAGE, "", text, len, err);
}

static faas_code put_file(void *arg, const char *path, int fd, faas_err *err)
{
    struct exporting *exporting = arg;

    FAAS_TRY(begin_image(exporting, err));
    FAAS_TRY(backup_put(exporting->out, BACKUP_BLOB, path, NULL, 0, err));
    for (;;) {
        ssize_t len = read(fd, exporting->part, PART_BYTES);

        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            return faas_fail_sys(err, errno, "read %s", path);
        if (len == 0)
            return FAAS_OK;
        FAAS_TRY(backup_put(exporting->out, BACKUP_DATA, "", exporting->part, (size_t)len, err));
    }
}

/* Those that a user's login gave it are no references; the login brings them back. */
static void drop_private(json_t *names)
{
    for (size_t i = json_array_size(names); i-- > 0;)
        if (strncmp(json_string_value(json_array_get(names, i)), IMAGE_PRIVATE,
                    strlen(IMAGE_PRIVATE)) == 0)
            (void)json_array_remove(names, i);
}

static faas_code put_image(struct image_store *store, const json_t *image,
                           struct exporting *exporting, json_int_t *count, faas_err *err)
{
    const char *id = json_string_value(json_object_get(image, "id"));
    faas_code code;

    drop_private(json_object_get(image, "references"));
    exporting->names = json_object_get(image, "references");
    exporting->has_begun = false;
    code = image_export(store, id, put_file, exporting, err);
    if (code == FAAS_UNPROCESSABLE && !exporting->has_begun) {
        output_note("image %s is not in the backup: %s", id, err->msg);
        *err = (faas_err){0};
        return FAAS_OK;
    }
    if (code == FAAS_NOT_FOUND && !exporting->has_begun) { /* removed meanwhile */
        *err = (faas_err){0};
        return FAAS_OK;
    }
    *count += code == FAAS_OK;
    return code;
}

static faas_code put_images(const char *data, struct backup_out *out, json_int_t *count,
                            faas_err *err)
{
    FAAS_AUTO(image_store) *store = NULL;
    FAAS_AUTO(json_t) *images = NULL;
    FAAS_AUTO(char) *part = malloc(PART_BYTES);
    struct exporting exporting = {.out = out, .part = part};
    const json_t *image;
    size_t i;

    if (part == NULL)
        return faas_fail_sys(err, errno, "backup");
    FAAS_TRY(open_store(data, &store, err));
    FAAS_TRY(image_list(store, &images, err));
    json_array_foreach (images, i, image)
        FAAS_TRY(put_image(store, image, &exporting, count, err));
    return FAAS_OK;
}

faas_code image_backup(const char *data, struct backup_out *out, json_t *said, faas_err *err)
{
    FAAS_AUTO(char) *path = file_path("%s/images", data);
    json_int_t count = 0;
    struct stat st;

    if (path == NULL)
        return faas_fail_sys(err, ENOMEM, "backup");
    if (lstat(path, &st) == 0)
        FAAS_TRY(put_images(data, out, &count, err));
    else if (errno != ENOENT)
        return file_fail(err, "read", path, errno);
    return json_object_set_new(said, "images", json_integer(count)) == 0
               ? FAAS_OK
               : faas_fail_sys(err, ENOMEM, "backup");
}

/* ---- restore ---- */

static void close_file(struct image_restore *restore)
{
    if (restore->has_file)
        close(restore->fd);
    restore->has_file = false;
}

static faas_code begin_layout(struct image_restore *restore, const struct backup_record *record,
                              faas_err *err)
{
    restore->folder = file_path("%s/" FOLDER, restore->data);
    restore->blobs = file_path("%s/" FOLDER "/blobs/sha256", restore->data);
    if (restore->folder == NULL || restore->blobs == NULL)
        return faas_fail_sys(err, ENOMEM, "restore");
    restore->names = faas_json_load(record->value, record->len, 0);
    if (!json_is_array(restore->names))
        return faas_fail(err, FAAS_INVALID, "the backup names an image wrongly");
    return file_make_dirs(restore->blobs, err);
}

/* record->name is one of the few that backup_next() lets through. */
static faas_code begin_file(struct image_restore *restore, const struct backup_record *record,
                            faas_err *err)
{
    FAAS_AUTO(char) *path = file_path("%s/%s", restore->folder, record->name);

    close_file(restore);
    if (path == NULL)
        return faas_fail_sys(err, ENOMEM, "restore");
    restore->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (restore->fd < 0)
        return file_fail(err, "make", path, errno);
    restore->has_file = true;
    return FAAS_OK;
}

static faas_code write_data(struct image_restore *restore, const struct backup_record *record,
                            faas_err *err)
{
    const char *data = record->value;

    for (size_t left = record->len; left > 0;) {
        ssize_t len = write(restore->fd, data, left);

        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            return file_fail(err, "write", restore->folder, errno);
        data += len;
        left -= (size_t)len;
    }
    return FAAS_OK;
}

static faas_code remove_layout(const struct image_restore *restore, faas_err *err)
{
    int fd = open(restore->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    faas_code code;

    if (fd < 0)
        return file_fail(err, "open", restore->data, errno);
    code = files_remove_tree(fd, FOLDER, err);
    close(fd);
    return code;
}

static void forget_layout(struct image_restore *restore)
{
    close_file(restore);
    free(restore->folder);
    free(restore->blobs);
    json_decref(restore->names);
    restore->folder = restore->blobs = NULL;
    restore->names = NULL;
}

static faas_code import_layout(struct image_restore *restore, faas_err *err)
{
    FAAS_AUTO(json_t) *images = NULL;
    const json_t *name;
    const char *id;
    size_t i;

    if (restore->store == NULL)
        FAAS_TRY(open_store(restore->data, &restore->store, err));
    FAAS_TRY(image_import(restore->store, restore->folder, NULL, &images, err));
    id = json_string_value(json_object_get(json_array_get(images, 0), "id"));
    if (id == NULL)
        return faas_fail(err, FAAS_INVALID, "the backup has an image without contents");
    json_array_foreach (restore->names, i, name) {
        if (!json_is_string(name))
            return faas_fail(err, FAAS_INVALID, "the backup names an image wrongly");
        FAAS_TRY(image_tag(restore->store, id, json_string_value(name), err));
    }
    restore->count++;
    return FAAS_OK;
}

/* The image before is complete when something else follows. */
static faas_code end_layout(struct image_restore *restore, faas_err *err)
{
    if (restore->folder == NULL)
        return FAAS_OK;
    close_file(restore);
    FAAS_TRY(import_layout(restore, err));
    FAAS_TRY(remove_layout(restore, err));
    forget_layout(restore);
    return FAAS_OK;
}

faas_code image_restore_take(struct image_restore *restore, const struct backup_record *record,
                             faas_err *err)
{
    if (record->kind == BACKUP_BLOB)
        return begin_file(restore, record, err);
    if (record->kind == BACKUP_DATA)
        return write_data(restore, record, err);
    FAAS_TRY(end_layout(restore, err));
    return begin_layout(restore, record, err);
}

faas_code image_restore_finish(struct image_restore *restore, json_t *said, faas_err *err)
{
    FAAS_TRY(end_layout(restore, err));
    return json_object_set_new(said, "images", json_integer(restore->count)) == 0
               ? FAAS_OK
               : faas_fail_sys(err, ENOMEM, "restore");
}

void image_restore_done(struct image_restore *restore)
{
    forget_layout(restore);
    image_store_close(restore->store);
    restore->store = NULL;
}
