/* push.c - images into registries: an OCI layout of what the store holds, which skopeo copies; and that
 * layout alone, for a backup. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "files.h"
#include "import.h"
#include "layer.h"
#include "registry_folder.h"
#include "services/spawner/ref.h"

#define CONFIG_TYPE   "application/vnd.oci.image.config.v1+json"
#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define LAYER_TYPE    "application/vnd.oci.image.layer.v1.tar"
#define BLOBS         "oci/blobs/sha256" /* in the folder */

struct push {
    struct image_store *store;
    struct image_record record;
    struct registry_folder folder;
    int blobs;
};

/* ---- blobs ---- */

/* Read by skopeo's user; the folder around it is closed to all others. */
static faas_code create(int dir, const char *name, int *out_fd, faas_err *err)
{
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0 || fchmod(fd, 0644) != 0) { /* whatever the umask is */
        int errnum = errno;

        if (fd >= 0)
            close(fd);
        return faas_fail_sys(err, errnum, "make %s", name);
    }
    *out_fd = fd;
    return FAAS_OK;
}

static faas_code write_text(int dir, const char *name, const char *text, size_t len, faas_err *err)
{
    faas_code code = FAAS_OK;
    int fd;

    FAAS_TRY(create(dir, name, &fd, err));
    if (write(fd, text, len) != (ssize_t)len)
        code = faas_fail_sys(err, errno, "write %s", name);
    close(fd);
    return code;
}

static json_t *descriptor(const char *type, const char *hash, int64_t bytes)
{
    return json_pack("{s:s,s:o,s:I}", "mediaType", type, "digest", json_sprintf("sha256:%s", hash),
                     "size", (json_int_t)bytes);
}

/* A document under its digest; *out_described says where. */
static faas_code put_document(struct push *push, const char *type, const json_t *doc,
                              json_t **out_described, faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    char hash[FAAS_HASH_TEXT];
    size_t len;

    text = doc != NULL ? faas_json_dump(doc, JSON_COMPACT | JSON_SORT_KEYS, &len) : NULL;
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "push");
    faas_hash_text(text, len, hash);
    FAAS_TRY(write_text(push->blobs, hash, text, len, err));
    *out_described = descriptor(type, hash, (int64_t)len);
    return *out_described != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "push");
}

/* ---- layers ---- */

/* Made again, and only then known to be what it was. */
static faas_code check_layer(int fd, const char *diff_id, faas_err *err)
{
    char hash[FAAS_HASH_TEXT];

    FAAS_TRY(child_hash_file(fd, hash, err));
    if (strcmp(hash, diff_id + strlen("sha256:")) != 0)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "layer %s cannot be pushed: its files in the store are not what they "
                         "were; remove the image and import it again",
                         diff_id);
    return FAAS_OK;
}

static faas_code put_layer(struct push *push, const char *diff_id, json_t *layers, faas_err *err)
{
    const char *name = diff_id + strlen("sha256:");
    struct stat info;
    faas_code code;
    int fd;

    if (fstatat(push->blobs, name, &info, AT_SYMLINK_NOFOLLOW) != 0) { /* one may be there twice */
        FAAS_TRY(create(push->blobs, name, &fd, err));
        code = layer_assemble(push->store, diff_id, fd, err);
        if (code == FAAS_OK)
            code = check_layer(fd, diff_id, err);
        if (code == FAAS_OK && fstat(fd, &info) != 0)
            code = faas_fail_sys(err, errno, "make a layer");
        close(fd);
        FAAS_TRY(code);
    }
    return json_array_append_new(layers, descriptor(LAYER_TYPE, name, info.st_size)) == 0
               ? FAAS_OK
               : faas_fail_sys(err, ENOMEM, "push");
}

static faas_code put_layers(struct push *push, json_t **out_layers, faas_err *err)
{
    FAAS_AUTO(json_t) *layers = json_array();
    const json_t *layer;
    size_t i;

    json_array_foreach (push->record.spec.layers, i, layer)
        FAAS_TRY(put_layer(push, json_string_value(layer), layers, err));
    *out_layers = FAAS_STEAL(layers);
    return *out_layers != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "push");
}

/* ---- the layout ---- */

/* As images say it: an object whose keys are the paths.  NULL for none, or without memory. */
static json_t *volumes_of(const struct image_config *config)
{
    FAAS_AUTO(json_t) *volumes = config->volumes != NULL ? json_object() : NULL;
    const json_t *path;
    size_t i;

    json_array_foreach (config->volumes, i, path)
        if (json_object_set_new(volumes, json_string_value(path), json_object()) != 0)
            return NULL;
    return FAAS_STEAL(volumes);
}

/* What any reader of it makes the same canonical id of. */
static faas_code put_config(struct push *push, json_t **out_described, faas_err *err)
{
    const struct image_config *config = &push->record.spec.config;
    FAAS_AUTO(json_t) *volumes = volumes_of(config), *doc = NULL;

    if (volumes == NULL && config->volumes != NULL)
        return faas_fail_sys(err, ENOMEM, "push");
    doc = json_pack("{s:s,s:s,s:{s:O*,s:O*,s:O,s:s,s:s,s:O*},s:{s:s,s:O}}", "os", "linux",
                    "architecture", image_architecture(), "config", "Entrypoint",
                    config->entrypoint, "Cmd", config->cmd, "Env", config->env, "WorkingDir",
                    config->working_dir, "User", config->user, "Volumes", volumes, "rootfs", "type",
                    "layers", "diff_ids", push->record.spec.layers);
    return put_document(push, CONFIG_TYPE, doc, out_described, err);
}

static faas_code put_manifest(struct push *push, json_t **out_described, faas_err *err)
{
    FAAS_AUTO(json_t) *config = NULL, *layers = NULL, *doc = NULL;

    FAAS_TRY(put_layers(push, &layers, err));
    FAAS_TRY(put_config(push, &config, err));
    doc = json_pack("{s:i,s:s,s:O,s:O}", "schemaVersion", 2, "mediaType", MANIFEST_TYPE, "config",
                    config, "layers", layers);
    return put_document(push, MANIFEST_TYPE, doc, out_described, err);
}

static faas_code put_layout(struct push *push, faas_err *err)
{
    static const char version[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    FAAS_AUTO(json_t) *manifest = NULL, *index = NULL;
    FAAS_AUTO(char) *text = NULL;
    size_t len;

    FAAS_TRY(registry_folder_make(&push->folder, "oci", NULL, err));
    FAAS_TRY(registry_folder_make(&push->folder, "oci/blobs", NULL, err));
    FAAS_TRY(registry_folder_make(&push->folder, BLOBS, &push->blobs, err));
    FAAS_TRY(put_manifest(push, &manifest, err));
    index = json_pack("{s:i,s:[O]}", "schemaVersion", 2, "manifests", manifest);
    text = index != NULL ? faas_json_dump(index, JSON_COMPACT | JSON_SORT_KEYS, &len) : NULL;
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "push");
    FAAS_TRY(write_text(push->folder.fd, "oci/oci-layout", version, strlen(version), err));
    return write_text(push->folder.fd, "oci/index.json", text, len, err);
}

/* ---- pushing ---- */

static faas_code read_digest(int folder, char out_digest[IMAGE_ID_TEXT], faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    int fd = files_open_plain(folder, "digest", O_RDONLY);
    faas_code code;
    size_t len;

    if (fd < 0)
        return faas_fail_sys(err, errno, "read the digest of what was pushed");
    code = files_read(fd, IMAGE_ID_TEXT, &text, &len, err);
    close(fd);
    FAAS_TRY(code);
    if (len > 0 && text[len - 1] == '\n')
        text[len - 1] = '\0';
    if (!image_digest_is(text))
        return faas_fail(err, FAAS_UNPROCESSABLE, "the registry gave no digest of the image");
    snprintf(out_digest, IMAGE_ID_TEXT, "%s", text);
    return FAAS_OK;
}

static faas_code send(struct push *push, const struct image_push *to, const struct image_ref *ref,
                      char out_digest[IMAGE_ID_TEXT], faas_err *err)
{
    char full[REF_TEXT_MAX];
    const struct registry_access access = {.host = ref->host, .auth_file = to->auth_file};
    struct child_fetch ask = {.image = full, .is_plain_http = ref_is_loopback(ref->host)};
    faas_code code;

    ref_full(ref, full);
    FAAS_TRY(registry_folder_open(push->folder.staging, &access, &push->folder, err));
    code = put_layout(push, err);
    ask.folder = push->folder.fd;
    ask.has_login = push->folder.has_login;
    if (code == FAAS_OK)
        code = child_push(&ask, err);
    if (code == FAAS_OK)
        code = read_digest(push->folder.fd, out_digest, err);
    if (push->blobs >= 0)
        close(push->blobs);
    registry_folder_close(&push->folder);
    return code;
}

/* Here it has that name from now on, too, and another machine finds it by the digest. */
static faas_code note(struct push *push, const struct image_ref *ref, const char *digest,
                      json_t **out_image, faas_err *err)
{
    char full[REF_TEXT_MAX], pinned[REF_TEXT_MAX];

    ref_full(ref, full);
    FAAS_TRY(ref_pinned(ref, digest, pinned, err));
    FAAS_TRY(image_name(push->store, push->record.id, full, pinned, err));
    *out_image = json_pack("{s:s,s:s,s:s,s:I}", "id", push->record.id, "reference", full, "pinned",
                           pinned, "bytes", (json_int_t)push->record.bytes);
    return *out_image != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "push");
}

static faas_code push_opened(struct push *push, const struct image_push *to,
                             const struct image_ref *ref, json_t **out_image, faas_err *err)
{
    struct image_staging staging;
    char digest[IMAGE_ID_TEXT];
    faas_code code = image_staging_open(push->store, &staging, err);

    push->folder.staging = staging.fd;
    if (code == FAAS_OK)
        code = send(push, to, ref, digest, err);
    image_staging_close(&staging);
    return code == FAAS_OK ? note(push, ref, digest, out_image, err) : code;
}

static faas_code check_tag(const struct image_ref *ref, faas_err *err)
{
    if (ref->digest[0] != '\0')
        return faas_fail(err, FAAS_INVALID, "image: a push names a tag, not a digest");
    return FAAS_OK;
}

faas_code image_push_name(const char *name, const char *registry, char **out_reference,
                          faas_err *err)
{
    static const char library[] = "library/";
    struct image_ref ref;
    const char *path = ref.path;

    if (image_digest_is(name))
        return faas_fail(err, FAAS_INVALID,
                         "an id is no name in a registry; give it one: faas image push IMAGE "
                         "REFERENCE");
    FAAS_TRY(ref_parse(name, &ref, err));
    FAAS_TRY(check_tag(&ref, err));
    if (strncmp(path, library, strlen(library)) == 0)
        path += strlen(library);
    if (asprintf(out_reference, "%s/%s:%s", registry, path, ref.tag) < 0) {
        *out_reference = NULL;
        return faas_fail_sys(err, ENOMEM, "image name");
    }
    return FAAS_OK;
}

faas_code image_push(struct image_store *store, const struct image_push *to, json_t **out_image,
                     faas_err *err)
{
    struct push push = {.store = store, .blobs = -1};
    char id[IMAGE_ID_TEXT];
    struct image_ref ref;
    faas_code code;
    int lock;

    FAAS_TRY(ref_parse(to->reference, &ref, err));
    FAAS_TRY(check_tag(&ref, err));
    FAAS_TRY(ref_check_allowed(&ref, to->allowed != NULL ? to->allowed : "", err));
    FAAS_TRY(image_ref_resolve(store, to->name, id, err));
    FAAS_TRY(image_record_open(store, id, &push.record, &lock, err)); /* held: it stays */
    code = push_opened(&push, to, &ref, out_image, err);
    image_record_done(&push.record);
    close(lock);
    return code;
}

/* ---- the layout alone ---- */

static faas_code put_one(const struct push *push, const char *path, image_export_put *put,
                         void *arg, faas_err *err)
{
    FAAS_AUTO(char) *full = NULL;
    faas_code code;
    int fd;

    if (asprintf(&full, "oci/%s", path) < 0) {
        full = NULL;
        return faas_fail_sys(err, ENOMEM, "export");
    }
    fd = files_open_plain(push->folder.fd, full, O_RDONLY);
    if (fd < 0)
        return faas_fail_sys(err, errno, "open %s", full);
    code = put(arg, path, fd, err);
    close(fd);
    return code;
}

static faas_code put_blobs(const struct push *push, image_export_put *put, void *arg, faas_err *err)
{
    int fd = dup(push->blobs);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    faas_code code = FAAS_OK;
    char path[sizeof "blobs/sha256/" + 64];

    if (folder == NULL) {
        code = faas_fail_sys(err, errno, "list an image");
        if (fd >= 0)
            close(fd);
        return code;
    }
    while (code == FAAS_OK && (entry = readdir(folder)) != NULL) {
        if (strlen(entry->d_name) != 64)
            continue;
        snprintf(path, sizeof path, "blobs/sha256/%.64s", entry->d_name);
        code = put_one(push, path, put, arg, err);
    }
    closedir(folder);
    return code;
}

static faas_code export_opened(struct push *push, image_export_put *put, void *arg, faas_err *err)
{
    const struct registry_access nobodys = {.host = ""};
    faas_code code = registry_folder_open(push->folder.staging, &nobodys, &push->folder, err);

    if (code != FAAS_OK)
        return code;
    code = put_layout(push, err);
    if (code == FAAS_OK)
        code = put_one(push, "oci-layout", put, arg, err);
    if (code == FAAS_OK)
        code = put_one(push, "index.json", put, arg, err);
    if (code == FAAS_OK)
        code = put_blobs(push, put, arg, err);
    if (push->blobs >= 0)
        close(push->blobs);
    registry_folder_close(&push->folder);
    return code;
}

faas_code image_export(struct image_store *store, const char *id, image_export_put *put, void *arg,
                       faas_err *err)
{
    struct push push = {.store = store, .blobs = -1};
    struct image_staging staging;
    faas_code code;
    int lock;

    FAAS_TRY(image_record_open(store, id, &push.record, &lock, err)); /* held: it stays */
    code = image_staging_open(store, &staging, err);
    if (code == FAAS_OK) {
        push.folder.staging = staging.fd;
        code = export_opened(&push, put, arg, err);
        image_staging_close(&staging);
    }
    image_record_done(&push.record);
    close(lock);
    return code;
}
