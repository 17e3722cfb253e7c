/* docker_resolve.c - what a reference means now: PROTOCOL.md section 3. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "docker.h"
#include "services/spawner/image/volumes.h"

#define TAG_MS 5000

struct resolve {
    struct docker *dk;
    struct image_ref ref;
    rt_resolved *done;
    void *arg;
    json_t *reply; /* while the tag of ours is being set */
};

static void resolve_end(struct resolve *res, faas_code code, const json_t *reply,
                        const faas_err *err)
{
    res->done(res->arg, code, reply, err);
    json_decref(res->reply);
    free(res);
}

/* The registry's digest of this image, when the engine has one for this very repository. */
static const char *manifest_digest(const struct resolve *res, const json_t *detail)
{
    size_t i;
    json_t *item;

    json_array_foreach (json_object_get(detail, "RepoDigests"), i, item) {
        struct image_ref ref;
        const char *text = json_string_value(item);
        const char *at = text != NULL ? strchr(text, '@') : NULL;
        faas_err err;

        if (at != NULL && ref_parse(text, &ref, &err) == FAAS_OK &&
            ref_is_same_repository(&ref, &res->ref))
            return at + 1;
    }
    return NULL;
}

static faas_code check_architecture(const struct resolve *res, const json_t *detail, faas_err *err)
{
    const char *image = json_string_value(json_object_get(detail, "Architecture"));
    const char *here = engine_facts(res->dk->eng)->arch;

    if (image == NULL || image[0] == '\0' || here[0] == '\0' || strcmp(image, here) == 0)
        return FAAS_OK;
    return faas_fail(err, FAAS_UNPROCESSABLE,
                     "the image is made for %s, this machine is %s: build it for %s", image, here,
                     here);
}

static faas_code check_volumes(const struct image_info *info, faas_err *err)
{
    FAAS_AUTO(json_t) *volumes = NULL;

    return volumes_read(info->volumes, &volumes, err);
}

static json_t *describe(const struct resolve *res, const struct image_info *info, const char *kind,
                        const char *value)
{
    const json_t *detail = info->detail;
    const json_t *config = json_object_get(detail, "Config");
    const char *user = json_string_value(json_object_get(config, "User"));
    const char *arch = json_string_value(json_object_get(detail, "Architecture"));
    json_int_t size = json_integer_value(json_object_get(detail, "Size"));
    char full[REF_TEXT_MAX];

    ref_full(&res->ref, full);
    return json_pack("{s:i,s:{s:s,s:s},s:s,s:O?,s:O?,s:s,s:I,s:s}", "v", 1, "digest", "kind", kind,
                     "value", value, "reference", full, "entrypoint", info->entrypoint, "cmd",
                     info->cmd, "user", user != NULL ? user : "", "size_bytes", size > 0 ? size : 0,
                     "architecture", arch != NULL ? arch : "");
}

static void on_tagged(void *arg, const struct engine_reply *reply)
{
    struct resolve *res = arg;
    char text[FAAS_ERR_MSG_MAX];
    faas_err err = {0};

    if (reply->status == 201) {
        resolve_end(res, FAAS_OK, res->reply, &err);
        return;
    }
    engine_reply_text(reply, text);
    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the image cannot be kept: %s", text);
    resolve_end(res, err.code, NULL, &err);
}

/* Keeps an image that no registry has: with a tag of ours it survives its own tag's move. */
static faas_code keep_local(struct resolve *res, const char *id, faas_err *err)
{
    char path[200];
    struct engine_call order = {
        .method = "POST", .path = path, .timeout_ms = TAG_MS, .done = on_tagged, .arg = res};

    snprintf(path, sizeof path, "/images/%s/tag?repo=faas-pin%%2F%.32s&tag=keep", id, id + 7);
    return engine_send(res->dk->eng, &order, NULL, err);
}

static void on_found(void *arg, faas_code code, const struct image_info *info, const faas_err *err)
{
    struct resolve *res = arg;
    const char *digest;
    faas_err why = *err;

    if (code == FAAS_OK)
        code = check_architecture(res, info->detail, &why);
    if (code == FAAS_OK)
        code = check_volumes(info, &why);
    if (code == FAAS_NOT_FOUND || code == FAAS_DENIED || code == FAAS_INVALID) {
        why.code = FAAS_UNPROCESSABLE;
        code = why.code;
    }
    if (code != FAAS_OK) {
        resolve_end(res, code, NULL, &why);
        return;
    }
    digest = manifest_digest(res, info->detail);
    res->reply = describe(res, info, digest != NULL ? "manifest" : "docker-id",
                          digest != NULL ? digest : info->id);
    if (res->reply == NULL)
        code = faas_fail_sys(&why, ENOMEM, "image description");
    else if (digest == NULL)
        code = keep_local(res, info->id, &why);
    if (code != FAAS_OK || digest != NULL)
        resolve_end(res, code, code == FAAS_OK ? res->reply : NULL, &why);
}

void docker_resolve(struct runtime *rt, const struct rt_image *image, int64_t timeout_ms,
                    rt_resolved *done, void *arg)
{
    struct docker *dk = (struct docker *)rt;
    struct resolve *res = calloc(1, sizeof *res);
    char full[REF_TEXT_MAX];
    struct image_want want = {
        .name = full, .may_pull = true, .timeout_ms = timeout_ms, .done = on_found, .arg = res};
    faas_err err = {0};
    faas_code rc;

    if (res == NULL) {
        rc = faas_fail_sys(&err, ENOMEM, "resolve");
        done(arg, rc, NULL, &err);
        return;
    }
    *res = (struct resolve){.dk = dk, .done = done, .arg = arg};
    rc = ref_parse(image->reference, &res->ref, &err);
    if (rc == FAAS_OK)
        rc = engine_usable(dk->eng, &err);
    if (rc == FAAS_OK) {
        ref_full(&res->ref, full);
        rc = images_ensure(dk->imgs, &want, NULL, &err);
    }
    if (rc != FAAS_OK) {
        if (rc == FAAS_INVALID)
            err.code = rc = FAAS_UNPROCESSABLE;
        resolve_end(res, rc, NULL, &err);
    }
}
