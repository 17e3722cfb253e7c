#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "files.h"
#include "source_internal.h"

void source_free(source *src)
{
    if (src == NULL)
        return;
    for (size_t i = 0; i < src->count; i++) {
        image_spec_done(&src->images[i].spec);
        json_decref(src->images[i].blobs);
        json_decref(src->images[i].names);
    }
    free(src);
}

faas_code source_open(int folder, const char *path, int *out_fd, faas_err *err)
{
    int fd = files_open_below(folder, path, O_RDONLY | O_NONBLOCK);
    struct stat info;

    if (fd < 0)
        return faas_fail(err, FAAS_INVALID, "%.200s: named in the archive, but %s", path,
                         errno == ENOENT  ? "not in it"
                         : errno == EXDEV ? "outside it"
                                          : strerrordesc_np(errno));
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return faas_fail(err, FAAS_INVALID, "%.200s: expected a plain file", path);
    }
    *out_fd = fd;
    return FAAS_OK;
}

static faas_code check_digest(const char *path, const char *digest, const char *text, size_t len,
                              faas_err *err)
{
    char hash[FAAS_HASH_TEXT];

    faas_hash_text(text, len, hash);
    if (strcmp(hash, digest + strlen("sha256:")) != 0)
        return faas_fail(err, FAAS_INVALID, "%.200s: has the digest sha256:%s; it is damaged", path,
                         hash);
    return FAAS_OK;
}

faas_code source_document(int folder, const char *path, const char *digest, json_t **out_doc,
                          faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    faas_code code;
    size_t len;
    int fd;

    FAAS_TRY(source_open(folder, path, &fd, err));
    code = files_read(fd, SOURCE_DOCUMENT_MAX, &text, &len, err);
    close(fd);
    if (code == FAAS_OK && digest != NULL)
        code = check_digest(path, digest, text, len, err);
    if (code != FAAS_OK)
        return code;
    *out_doc = faas_json_load(text, len, JSON_REJECT_DUPLICATES);
    if (*out_doc == NULL)
        return faas_fail(err, FAAS_INVALID, "%.200s: not JSON", path);
    return FAAS_OK;
}

faas_code source_next(source *src, struct source_image **out_image, faas_err *err)
{
    struct source_image *image = &src->images[src->count];

    if (src->count == SOURCE_IMAGES_MAX)
        return faas_fail(err, FAAS_TOO_LARGE, "it holds more than %d images", SOURCE_IMAGES_MAX);
    src->count++;
    image->blobs = json_array();
    image->names = json_array();
    *out_image = image;
    return image->blobs != NULL && image->names != NULL ? FAAS_OK
                                                        : faas_fail_sys(err, ENOMEM, "image");
}

static bool has(int folder, const char *path)
{
    int fd = files_open_below(folder, path, O_PATH);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

faas_code source_read(int folder, source **out_source, faas_err *err)
{
    FAAS_AUTO(source) *src = calloc(1, sizeof *src);
    FAAS_AUTO(json_t) *doc = NULL;

    if (src == NULL)
        return faas_fail_sys(err, errno, "image source");
    if (has(folder, "manifest.json")) {
        FAAS_TRY(source_document(folder, "manifest.json", NULL, &doc, err));
        FAAS_TRY(source_read_docker(folder, doc, src, err));
    } else if (has(folder, "index.json")) {
        FAAS_TRY(source_document(folder, "index.json", NULL, &doc, err));
        FAAS_TRY(source_read_oci(folder, doc, src, err));
    } else {
        return faas_fail(err, FAAS_INVALID,
                         "neither an archive of `docker save` nor an OCI image layout: it has no "
                         "manifest.json and no index.json");
    }
    *out_source = FAAS_STEAL(src);
    return FAAS_OK;
}
