#include "find.h"

#include <errno.h>
#include <string.h>

#include "child.h"
#include "import.h"
#include "services/spawner/engine_save.h"
#include "services/spawner/ref.h"
#include "store_internal.h"

void image_find_done(struct image_find *find)
{
    image_release(find->image);
    free(find->reference);
    find->image = NULL;
    find->reference = NULL;
}

/* ---- the store ---- */

static bool is_near(const char *full)
{
    struct image_ref ref;

    return ref_parse(full, &ref, NULL) == FAAS_OK && ref_is_loopback(ref.host);
}

static faas_code open_name(struct image_find *find, const char *full, faas_err *err)
{
    struct image_store *store = find->sources->store;
    FAAS_AUTO(char) *source = NULL;
    bool is_pinned;

    FAAS_TRY(image_store_get(store, full, &find->image, err));
    FAAS_TRY(image_ref_source(store, full, &source, err));
    is_pinned = source != NULL && strcmp(source, SOURCE_ENGINE) != 0;
    find->is_near =
        is_pinned && strchr(full, '@') == NULL && (find->sources->is_following || is_near(full));
    find->is_settled = source == NULL || (is_pinned && !find->is_near);
    find->reference = strdup(is_pinned ? source : full);
    return find->reference != NULL ? FAAS_OK : faas_fail_sys(err, errno, "image name");
}

faas_code image_look(struct image_find *find, faas_err *err)
{
    FAAS_AUTO(char) *full = NULL;
    faas_code code;

    if (find->id != NULL) {
        find->is_settled = true;
        return image_store_get(find->sources->store, find->id, &find->image, err);
    }
    FAAS_TRY(image_ref_full(find->name, &full, err));
    code = open_name(find, full, err);
    if (code != FAAS_OK)
        image_find_done(find);
    return code;
}

/* ---- an engine ---- */

/* Not here is no failure: another source may have it. */
static bool is_elsewhere(faas_code code)
{
    return code == FAAS_NOT_FOUND || code == FAAS_UNAVAILABLE;
}

static faas_code ask_engine(const struct image_find *find, const char *full,
                            char out_id[IMAGE_ID_TEXT], faas_err *err)
{
    const struct engine_save ask = {
        .host = find->sources->engine, .name = full, .stops = child_is_stopping};
    FAAS_AUTO(json_t) *doc = NULL;
    struct image_spec spec;
    faas_code code;

    if (find->sources->engine == NULL)
        return faas_fail(err, FAAS_NOT_FOUND, "no engine");
    FAAS_TRY(engine_describe(&ask, &doc, err));
    FAAS_TRY(image_spec_inspect(doc, &spec, err));
    code = image_spec_id(&spec, out_id, err);
    image_spec_done(&spec);
    return code;
}

static faas_code import_from_engine(const struct image_find *find, const char *full, faas_err *err)
{
    FAAS_AUTO(json_t) *made = NULL;

    return image_import_engine(find->sources->store, find->sources->engine, full, NULL, &made, err);
}

/* An image that is here already only gets the name. */
static faas_code take_engines(const struct image_find *find, const char *full, const char *id,
                              faas_err *err)
{
    faas_code code = FAAS_NOT_FOUND;

    if (strchr(full, '@') == NULL)
        code = image_name(find->sources->store, id, full, SOURCE_ENGINE, err);
    return code == FAAS_NOT_FOUND ? import_from_engine(find, full, err) : code;
}

/* ---- a registry ---- */

static faas_code check_allowed(const struct image_find *find, const char *full, faas_err *err)
{
    struct image_ref ref;

    if (find->sources->is_pulling_none)
        return faas_fail(err, FAAS_DENIED,
                         "image %.160s is not on this machine, and IMAGE_PULL is never", full);
    FAAS_TRY(ref_parse(full, &ref, err));
    return ref_check_allowed(&ref, find->sources->allowed, err);
}

static faas_code pull(const struct image_find *find, const char *full, const char *login,
                      faas_err *err)
{
    const struct image_sources *sources = find->sources;
    const struct image_pull ask = {
        .name = full, .auth_file = sources->auth_file, .mirrors = sources->mirrors, .login = login};
    FAAS_AUTO(json_t) *made = NULL;

    FAAS_TRY(check_allowed(find, full, err));
    return image_pull(sources->store, &ask, &made, err);
}

/* Whether the registry that it came from says something else of the name by now. */
static bool has_moved(const struct image_find *find, const char *full)
{
    const struct image_pull ask = {
        .name = full, .auth_file = find->sources->auth_file, .mirrors = find->sources->mirrors};
    FAAS_AUTO(char) *pinned = NULL;

    return find->is_near && !find->sources->is_pulling_none &&
           image_pull_pinned(find->sources->store, &ask, &pinned, NULL) == FAAS_OK &&
           strcmp(pinned, find->reference) != 0;
}

/* What the user's login shows of the name; here already, perhaps, by somebody else's. */
static faas_code bring_private(struct image_find *find, const char *full, faas_err *err)
{
    struct image_store *store = find->sources->store;
    const struct image_pull ask = {.name = full, .login = find->login};
    FAAS_AUTO(char) *pinned = NULL;
    faas_code code;

    FAAS_TRY(check_allowed(find, full, err));
    FAAS_TRY(image_pull_pinned(store, &ask, &pinned, err));
    code = image_private_get(store, pinned, &find->image, err);
    if (code == FAAS_NOT_FOUND) {
        FAAS_TRY(pull(find, pinned, find->login, err));
        code = image_private_get(store, pinned, &find->image, err);
    }
    FAAS_TRY(code);
    find->reference = FAAS_STEAL(pinned);
    return FAAS_OK;
}

/* ---- both ---- */

static faas_code bring_name(struct image_find *find, const char *full, faas_err *err)
{
    char id[IMAGE_ID_TEXT];
    faas_code code = ask_engine(find, full, id, err);

    if (is_elsewhere(code) && find->image == NULL && find->login != NULL)
        return bring_private(find, full, err);
    if (is_elsewhere(code) && find->image != NULL && !has_moved(find, full))
        return FAAS_OK; /* it does not answer, or says the same: what it gave earlier counts */
    if (is_elsewhere(code))
        code = pull(find, full, NULL, err);
    else if (code == FAAS_OK && find->image != NULL && strcmp(find->image->id, id) == 0)
        return FAAS_OK;
    else if (code == FAAS_OK)
        code = take_engines(find, full, id, err);
    FAAS_TRY(code);
    image_find_done(find);
    return open_name(find, full, err);
}

static faas_code bring_id(struct image_find *find, const char *full, faas_err *err)
{
    struct image_store *store = find->sources->store;
    char id[IMAGE_ID_TEXT];
    faas_code code = ask_engine(find, full, id, err);

    if (code == FAAS_OK && strcmp(id, find->id) == 0)
        FAAS_TRY(import_from_engine(find, full, err));
    else
        FAAS_TRY(pull(find, full, find->login, err));
    code = image_store_get(store, find->id, &find->image, err);
    if (code == FAAS_NOT_FOUND)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "image %s is another one than when the function was registered: update "
                         "or refresh the function",
                         full);
    return code;
}

faas_code image_bring(struct image_find *find, faas_err *err)
{
    FAAS_AUTO(char) *full = NULL;

    if (find->name == NULL)
        return faas_fail(err, FAAS_NOT_FOUND, "image %s is not on this machine", find->id);
    FAAS_TRY(image_ref_full(find->name, &full, err));
    return find->id != NULL ? bring_id(find, full, err) : bring_name(find, full, err);
}
