/* pull.c - images out of an engine, and out of registries. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "files.h"
#include "import_internal.h"
#include "registry_folder.h"
#include "services/spawner/engine_save.h"
#include "services/spawner/ref.h"

#define SAVED "saved.tar" /* in staging */

/* ---- an engine ---- */

/* With its tag: an engine saves all tags of a name without one. */
static faas_code engine_name(const char *name, char **out_name, faas_err *err)
{
    if (!image_digest_is(name))
        return image_ref_full(name, out_name, err);
    *out_name = strdup(name);
    return *out_name != NULL ? FAAS_OK : faas_fail_sys(err, errno, "image name");
}

static faas_code fetch_from_engine(struct import *import, const char *host, const char *name,
                                   faas_err *err)
{
    struct engine_save save = {.host = host,
                               .name = name,
                               .max_bytes = image_limits.mb * 1024 * 1024,
                               .stops = child_is_stopping};
    faas_code code;

    save.out = openat(import->staging.fd, SAVED, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (save.out < 0)
        return faas_fail_sys(err, errno, "make " SAVED);
    code = engine_save(&save, err);
    if (code == FAAS_OK)
        code = import_archive(import, save.out, err);
    close(save.out);
    return code;
}

faas_code image_import_engine(struct image_store *store, const char *host, const char *name,
                              const char *tag, json_t **out_images, faas_err *err)
{
    FAAS_AUTO(char) *full = NULL;
    struct import import;
    bool has_digest;
    faas_code code;

    FAAS_TRY(engine_name(name, &full, err));
    has_digest = strchr(full, '@') != NULL;
    code = import_begin(store, &import, err);
    import.tag = tag == NULL && !has_digest && !image_digest_is(full) ? full : tag;
    if (has_digest)
        import.pin = full;
    if (tag == NULL) /* a name of the engine's */
        import.source = SOURCE_ENGINE;
    if (code == FAAS_OK)
        code = fetch_from_engine(&import, host, full, err);
    if (code == FAAS_OK)
        code = import_add(&import, err);
    return import_end(&import, code, out_images);
}

/* ---- a registry ---- */

/* By its digest: what a tag says may change between two questions.  out_pinned: host/path@digest. */
static faas_code fetch_pinned(struct child_fetch *fetch, const struct image_ref *ref,
                              char out_pinned[REF_TEXT_MAX], faas_err *err)
{
    char found[IMAGE_ID_TEXT];
    const char *digest = ref->digest;

    if (digest[0] == '\0') {
        FAAS_TRY(child_fetch_digest(fetch, found, err));
        digest = found;
    }
    FAAS_TRY(ref_pinned(ref, digest, out_pinned, err));
    fetch->image = out_pinned;
    return child_fetch(fetch, err);
}

static faas_code fetch_from_registry(struct import *import, const struct image_pull *pull,
                                     const struct image_ref *ref, char out_pinned[REF_TEXT_MAX],
                                     faas_err *err)
{
    char full[REF_TEXT_MAX];
    struct child_fetch fetch = {.image = full, .is_plain_http = ref_is_loopback(ref->host)};
    struct registry_folder folder;
    faas_code code;

    ref_full(ref, full);
    FAAS_TRY(registry_folder_open(import->staging.fd, pull->auth_file, ref->host, &folder, err));
    fetch.folder = folder.fd;
    fetch.has_login = folder.has_login;
    code = fetch_pinned(&fetch, ref, out_pinned, err);
    if (code == FAAS_OK) {
        import->folder = files_open_plain(folder.fd, "oci", O_RDONLY | O_DIRECTORY);
        if (import->folder < 0)
            code = faas_fail_sys(err, errno, "open what skopeo fetched");
    }
    registry_folder_close(&folder);
    return code;
}

static faas_code ask_digest(const struct image_pull *pull, int staging, const struct image_ref *ref,
                            char out_digest[IMAGE_ID_TEXT], faas_err *err)
{
    char full[REF_TEXT_MAX];
    struct child_fetch fetch = {.image = full, .is_plain_http = ref_is_loopback(ref->host)};
    struct registry_folder folder;
    faas_code code;

    ref_full(ref, full);
    FAAS_TRY(registry_folder_open(staging, pull->auth_file, ref->host, &folder, err));
    fetch.folder = folder.fd;
    fetch.has_login = folder.has_login;
    code = child_fetch_digest(&fetch, out_digest, err);
    registry_folder_close(&folder);
    return code;
}

faas_code image_pull_pinned(struct image_store *store, const struct image_pull *pull,
                            char **out_pinned, faas_err *err)
{
    char digest[IMAGE_ID_TEXT], pinned[REF_TEXT_MAX];
    struct image_staging staging;
    struct image_ref ref;
    faas_code code;

    FAAS_TRY(ref_parse(pull->name, &ref, err));
    code = image_staging_open(store, &staging, err);
    if (code == FAAS_OK)
        code = ask_digest(pull, staging.fd, &ref, digest, err);
    image_staging_close(&staging);
    FAAS_TRY(code);
    FAAS_TRY(ref_pinned(&ref, digest, pinned, err));
    *out_pinned = strdup(pinned);
    return *out_pinned != NULL ? FAAS_OK : faas_fail_sys(err, errno, "image name");
}

faas_code image_pull(struct image_store *store, const struct image_pull *pull, json_t **out_images,
                     faas_err *err)
{
    FAAS_AUTO(char) *full = NULL;
    char pinned[REF_TEXT_MAX];
    struct image_ref ref;
    struct import import;
    faas_code code;

    FAAS_TRY(ref_parse(pull->name, &ref, err));
    FAAS_TRY(image_ref_full(pull->name, &full, err));
    code = import_begin(store, &import, err);
    import.source = pinned;
    import.tag = pull->tag;
    if (ref.digest[0] != '\0')
        import.pin = full;
    else if (pull->tag == NULL)
        import.tag = full;
    if (code == FAAS_OK)
        code = fetch_from_registry(&import, pull, &ref, pinned, err);
    if (code == FAAS_OK)
        code = import_add(&import, err);
    return import_end(&import, code, out_images);
}
