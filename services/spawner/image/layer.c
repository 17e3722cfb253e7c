#include "layer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "child.h"
#include "files.h"

#define WORK   "layer"        /* in staging, renamed when complete */
#define RECORD "tarsplit.zst" /* of tarsplit.h */

static const char *hex_of(const char *diff_id)
{
    return diff_id + strlen("sha256:");
}

faas_code layer_bytes(struct image_store *store, const char *diff_id, int64_t *out_bytes,
                      faas_err *err)
{
    FAAS_AUTO(char) *path = NULL, *text = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    faas_code code;
    size_t len;
    int fd;

    if (asprintf(&path, "%s/layer.json", hex_of(diff_id)) < 0) {
        path = NULL;
        return faas_fail_sys(err, ENOMEM, "layer");
    }
    fd = files_open_plain(store->layers, path, O_RDONLY);
    if (fd < 0 && errno == ENOENT)
        return faas_fail(err, FAAS_NOT_FOUND, "layer %s is not here", diff_id);
    if (fd < 0)
        return faas_fail_sys(err, errno, "open %s", path);
    code = files_read(fd, 4096, &text, &len, err);
    close(fd);
    if (code == FAAS_OK)
        code = faas_json_parse(text, len, false, &doc, err);
    if (code == FAAS_OK)
        *out_bytes = json_integer_value(json_object_get(doc, "bytes"));
    return code;
}

faas_code layer_folder(int dir, const char *name, int *out_fd, faas_err *err)
{
    int fd;

    if (mkdirat(dir, name, 0755) != 0)
        return faas_fail_sys(err, errno, "make %s", name);
    fd = files_open_plain(dir, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0 || fchmod(fd, 0755) != 0 || /* whatever the umask is */
        (geteuid() == 0 && fchown(fd, IMAGE_OWNER_BASE, IMAGE_OWNER_BASE) != 0)) {
        int errnum = errno;

        if (fd >= 0)
            close(fd);
        return faas_fail_sys(err, errnum, "prepare %s", name);
    }
    *out_fd = fd;
    return FAAS_OK;
}

/* One that is gone was replaced by a later entry of the same layer. */
static faas_code mark_opaque(int root, const json_t *folders, faas_err *err)
{
    const char *name = geteuid() == 0 ? "trusted.overlay.opaque" : "user.overlay.opaque";
    const json_t *folder;
    size_t i;

    json_array_foreach (folders, i, folder) {
        const char *path = json_string_value(folder);
        int fd = files_open_below(root, path[0] != '\0' ? path : ".", O_RDONLY | O_DIRECTORY), rc;

        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
            continue;
        rc = fd < 0 ? -1 : fsetxattr(fd, name, "y", 1, 0);
        if (rc != 0) {
            int errnum = errno;

            if (fd >= 0)
                close(fd);
            return faas_fail_sys(err, errnum, "mark an opaque folder with %s", name);
        }
        close(fd);
    }
    return FAAS_OK;
}

static faas_code unpack(int work, const struct layer_job *job, struct child_result *out_result,
                        faas_err *err)
{
    char hash[FAAS_HASH_TEXT] = "";
    struct child_job child = {.verb = "layer",
                              .in = job->blob,
                              .root = -1,
                              .empty = -1,
                              .bytes = job->max_bytes,
                              .hash = hash};
    faas_code code = layer_folder(work, "empty", &child.empty, err);

    child.record = openat(work, RECORD, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (code == FAAS_OK && child.record < 0)
        code = faas_fail_sys(err, errno, "make " RECORD);
    if (code == FAAS_OK)
        code = layer_folder(work, "rootfs", &child.root, err);
    if (code == FAAS_OK)
        code = child_unpack(&child, out_result, err);
    if (code == FAAS_OK && strcmp(hash, hex_of(job->diff_id)) != 0)
        code = faas_fail(err, FAAS_INVALID,
                         "layer %s: its contents have the digest sha256:%s; the image is damaged",
                         job->diff_id, hash);
    if (code == FAAS_OK)
        code = mark_opaque(child.root, out_result->opaque, err);
    if (child.record >= 0)
        close(child.record);
    if (child.root >= 0)
        close(child.root);
    if (child.empty >= 0)
        close(child.empty);
    if (code == FAAS_OK && unlinkat(work, "empty", AT_REMOVEDIR) != 0)
        code = faas_fail_sys(err, errno, "remove an empty folder");
    return code;
}

static faas_code note(int work, const char *diff_id, const struct child_result *result,
                      faas_err *err)
{
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:i,s:s,s:I,s:I}", "v", STORE_VERSION, "diff_id", diff_id, "bytes",
                  (json_int_t)result->bytes, "entries", (json_int_t)result->entries);

    if (doc == NULL)
        return faas_fail_sys(err, ENOMEM, "layer");
    return files_write(work, "layer.json.new", work, "layer.json", doc, err);
}

/* All of it on disk before it is seen: a machine that stops leaves a whole layer or none. */
static faas_code publish(struct image_staging *staging, int work, const char *diff_id,
                         faas_err *err)
{
    struct image_store *store = staging->store;

    if (syncfs(work) != 0)
        return faas_fail_sys(err, errno, "keep layer %s", diff_id);
    if (renameat(staging->fd, WORK, store->layers, hex_of(diff_id)) != 0 ||
        fsync(store->layers) != 0)
        return faas_fail_sys(err, errno, "keep layer %s", diff_id);
    return FAAS_OK;
}

static faas_code add_new(struct image_staging *staging, const struct layer_job *job,
                         struct child_result *result, faas_err *err)
{
    faas_code code;
    int work;

    FAAS_TRY(files_remove_tree(staging->fd, WORK, err));
    FAAS_TRY(files_private_dir(staging->fd, WORK, &work, err));
    code = unpack(work, job, result, err);
    if (code == FAAS_OK)
        code = note(work, job->diff_id, result, err);
    if (code == FAAS_OK)
        code = publish(staging, work, job->diff_id, err);
    close(work);
    return code;
}

faas_code layer_add(struct image_staging *staging, const struct layer_job *job, int64_t *out_bytes,
                    int64_t *out_left_out, faas_err *err)
{
    struct child_result result = {.opaque = NULL};
    faas_code code = layer_bytes(staging->store, job->diff_id, out_bytes, err);

    *out_left_out = 0;
    if (code != FAAS_NOT_FOUND)
        return code;
    if (err != NULL)
        *err = (faas_err){.code = FAAS_OK};
    code = add_new(staging, job, &result, err);
    json_decref(result.opaque);
    *out_bytes = result.bytes;
    *out_left_out = result.left_out;
    return code;
}

/* ---- and out again ---- */

static int open_of(const struct image_store *store, const char *diff_id, const char *name,
                   int flags)
{
    FAAS_AUTO(char) *path = NULL;

    if (asprintf(&path, "%s/%s", hex_of(diff_id), name) < 0) {
        path = NULL;
        errno = ENOMEM;
        return -1;
    }
    return files_open_plain(store->layers, path, flags);
}

int layer_open_root(const struct image_store *store, const char *diff_id)
{
    return open_of(store, diff_id, "rootfs", O_RDONLY | O_DIRECTORY);
}

bool layer_is_opaque(int folder)
{
    char value;

    return fgetxattr(folder, "trusted.overlay.opaque", &value, 1) == 1 ||
           fgetxattr(folder, "user.overlay.opaque", &value, 1) == 1;
}

static faas_code open_record(const struct image_store *store, const char *diff_id, int *out_fd,
                             faas_err *err)
{
    int fd = open_of(store, diff_id, RECORD, O_RDONLY);
    struct stat info;

    if (fd < 0 && errno == ENOENT)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "layer %s cannot be pushed: an older release imported it and did not keep "
                         "what that needs; remove the images that have it and import them again",
                         diff_id);
    if (fd < 0 || fstat(fd, &info) != 0) {
        int errnum = errno;

        if (fd >= 0)
            close(fd);
        return faas_fail_sys(err, errnum, "open " RECORD " of %s", diff_id);
    }
    if (info.st_size == 0) {
        close(fd);
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "layer %s cannot be pushed: its archive is of a form that is run but not "
                         "kept (files with holes, or written twice)",
                         diff_id);
    }
    *out_fd = fd;
    return FAAS_OK;
}

faas_code layer_assemble(struct image_store *store, const char *diff_id, int out, faas_err *err)
{
    faas_code code;
    int record = -1, root;

    FAAS_TRY(open_record(store, diff_id, &record, err));
    root = layer_open_root(store, diff_id);
    code = root >= 0 ? child_assemble(record, root, out, err)
                     : faas_fail_sys(err, errno, "open layer %s", diff_id);
    if (root >= 0)
        close(root);
    close(record);
    return code;
}
