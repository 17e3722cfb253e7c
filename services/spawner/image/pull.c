/* pull.c - images out of an engine, and out of registries. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
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

/* Where a registry's image is asked for: there, or at a mirror of it. */
struct place {
    const struct image_pull *pull;
    const struct image_ref *ref;
    const char *mirror; /* host[:port][/path]; NULL: none */
};

static faas_code open_folder(int staging, const struct place *place,
                             struct registry_folder *out_folder, struct child_fetch *out_fetch,
                             faas_err *err)
{
    char host[FAAS_IMAGE_REF_MAX];
    const struct registry_access access = {
        .host = host, .auth_file = place->pull->auth_file, .login = place->pull->login};

    snprintf(host, sizeof host, "%s", place->mirror != NULL ? place->mirror : place->ref->host);
    host[strcspn(host, "/")] = '\0';
    FAAS_TRY(registry_folder_open(staging, &access, out_folder, err));
    out_fetch->is_plain_http = ref_is_loopback(host);
    out_fetch->folder = out_folder->fd;
    out_fetch->has_login = out_folder->has_login;
    return FAAS_OK;
}

/* The image's name there; digest "" goes by the tag. */
static void name_there(const struct place *place, const char *digest, char out_name[REF_TEXT_MAX])
{
    snprintf(out_name, REF_TEXT_MAX, "%s/%s%s%s",
             place->mirror != NULL ? place->mirror : place->ref->host, place->ref->path,
             digest[0] != '\0' ? "@" : ":", digest[0] != '\0' ? digest : place->ref->tag);
}

/* By its digest: what a tag says may change between two questions.  out_pinned: host/path@digest. */
static faas_code fetch_pinned(struct child_fetch *fetch, const struct place *place,
                              char out_pinned[REF_TEXT_MAX], faas_err *err)
{
    char found[IMAGE_ID_TEXT], name[REF_TEXT_MAX];
    const char *digest = place->ref->digest;

    fetch->image = name;
    name_there(place, digest, name);
    if (digest[0] == '\0') {
        FAAS_TRY(child_fetch_digest(fetch, found, err));
        digest = found;
    }
    FAAS_TRY(ref_pinned(place->ref, digest, out_pinned, err));
    name_there(place, digest, name);
    return child_fetch(fetch, err);
}

static faas_code fetch_from_registry(struct import *import, const struct place *place,
                                     char out_pinned[REF_TEXT_MAX], faas_err *err)
{
    struct child_fetch fetch = {.image = NULL};
    struct registry_folder folder;
    faas_code code;

    FAAS_TRY(open_folder(import->staging.fd, place, &folder, &fetch, err));
    code = fetch_pinned(&fetch, place, out_pinned, err);
    if (code == FAAS_OK) {
        import->folder = files_open_plain(folder.fd, "oci", O_RDONLY | O_DIRECTORY);
        if (import->folder < 0)
            code = faas_fail_sys(err, errno, "open what skopeo fetched");
    }
    registry_folder_close(&folder);
    return code;
}

static faas_code ask_digest(struct image_store *store, const struct place *place,
                            char out_digest[IMAGE_ID_TEXT], faas_err *err)
{
    char name[REF_TEXT_MAX];
    struct child_fetch fetch = {.image = name};
    struct registry_folder folder;
    struct image_staging staging;
    faas_code code = image_staging_open(store, &staging, err);

    name_there(place, place->ref->digest, name);
    if (code == FAAS_OK)
        code = open_folder(staging.fd, place, &folder, &fetch, err);
    if (code == FAAS_OK) {
        code = child_fetch_digest(&fetch, out_digest, err);
        registry_folder_close(&folder);
    }
    image_staging_close(&staging);
    return code;
}

/* A mirror that does not have it, or does not answer, is no reason to fail.  A user's login is for the
 * registry alone. */
static bool is_mirrored(const struct place *place, char out_mirror[FAAS_IMAGE_REF_MAX])
{
    return place->pull->login == NULL &&
           ref_mirror(place->pull->mirrors, place->ref->host, out_mirror);
}

static bool is_elsewhere(const struct place *place, faas_code code, const faas_err *err)
{
    if ((code != FAAS_UNPROCESSABLE && code != FAAS_UNAVAILABLE) || child_is_stopping())
        return false;
    FAAS_LOG(WARN, "a mirror did not give an image", FAAS_LSTR("mirror", place->mirror),
             FAAS_LSTR("image", place->pull->name), FAAS_LSTR("why", err != NULL ? err->msg : ""));
    return true;
}

faas_code image_pull_pinned(struct image_store *store, const struct image_pull *pull,
                            char **out_pinned, faas_err *err)
{
    char digest[IMAGE_ID_TEXT], pinned[REF_TEXT_MAX], mirror[FAAS_IMAGE_REF_MAX];
    struct image_ref ref;
    struct place place = {.pull = pull, .ref = &ref};
    faas_code code;

    FAAS_TRY(ref_parse(pull->name, &ref, err));
    place.mirror = is_mirrored(&place, mirror) ? mirror : NULL;
    code = ask_digest(store, &place, digest, err);
    if (place.mirror != NULL && is_elsewhere(&place, code, err)) {
        place.mirror = NULL;
        code = ask_digest(store, &place, digest, err);
    }
    FAAS_TRY(code);
    FAAS_TRY(ref_pinned(&ref, digest, pinned, err));
    *out_pinned = strdup(pinned);
    return *out_pinned != NULL ? FAAS_OK : faas_fail_sys(err, errno, "image name");
}

static faas_code pull_from(struct image_store *store, const struct place *place,
                           json_t **out_images, faas_err *err)
{
    FAAS_AUTO(char) *full = NULL;
    char private[sizeof IMAGE_PRIVATE + REF_TEXT_MAX] = IMAGE_PRIVATE;
    char *pinned = private + strlen(IMAGE_PRIVATE);
    struct import import;
    faas_code code;

    FAAS_TRY(image_ref_full(place->pull->name, &full, err));
    code = import_begin(store, &import, err);
    import.source = pinned;
    import.tag = place->pull->tag;
    if (place->pull->login != NULL)
        import.pin = private; /* complete once it is fetched */
    else if (place->ref->digest[0] != '\0')
        import.pin = full;
    else if (place->pull->tag == NULL)
        import.tag = full;
    if (code == FAAS_OK)
        code = fetch_from_registry(&import, place, pinned, err);
    if (code == FAAS_OK)
        code = import_add(&import, err);
    return import_end(&import, code, out_images);
}

faas_code image_pull(struct image_store *store, const struct image_pull *pull, json_t **out_images,
                     faas_err *err)
{
    char mirror[FAAS_IMAGE_REF_MAX];
    struct image_ref ref;
    struct place place = {.pull = pull, .ref = &ref};
    faas_code code;

    FAAS_TRY(ref_parse(pull->name, &ref, err));
    place.mirror = is_mirrored(&place, mirror) ? mirror : NULL;
    code = pull_from(store, &place, out_images, err);
    if (place.mirror == NULL || !is_elsewhere(&place, code, err))
        return code;
    place.mirror = NULL;
    return pull_from(store, &place, out_images, err);
}
