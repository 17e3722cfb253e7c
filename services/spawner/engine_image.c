#include "engine_image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "registry_auth.h"

#define INSPECT_MS   10000
#define PROGRESS_MAX (64 * 1024) /* a progress line; longer ones are not ours to understand */

struct image_wait {
    images *imgs;
    char *name;
    struct image_want want;
    engine_req *inspect;
    struct pull *pull;
    bool was_pulled;
    ev_timer timer;
    faas_err failure;
    TAILQ_ENTRY(image_wait) link, pull_link;
};
TAILQ_HEAD(wait_list, image_wait);

struct pull {
    images *imgs;
    char *name;
    struct image_ref ref;
    engine_req *req; /* NULL: waits in line, or failed and is remembered */
    bool is_failed;
    uint64_t retry_ns;
    char *line;
    size_t line_len;
    faas_err failure; /* code FAAS_OK: none seen in the stream */
    struct wait_list waits;
    TAILQ_ENTRY(pull) link;
};

struct images {
    struct images_conf conf;
    struct ev_loop *ev;
    known *set;
    struct wait_list waits;
    TAILQ_HEAD(, pull) pulls;
    int running;
};

static void inspect(image_wait *wait);
static void pulls_next(images *imgs);

faas_code images_name(const struct rt_image *image, char out_name[REF_TEXT_MAX], faas_err *err)
{
    struct image_ref ref;

    if (image->kind != NULL && strcmp(image->kind, "docker-id") == 0) {
        if (!ref_is_digest(image->value))
            return faas_fail(err, FAAS_INVALID, "image id: expected sha256:<64 hex digits>");
        snprintf(out_name, REF_TEXT_MAX, "%s", image->value);
        return FAAS_OK;
    }
    if (image->kind != NULL && strcmp(image->kind, "manifest") != 0)
        return faas_fail(err, FAAS_INVALID, "image digest: kind not known to this runtime");
    FAAS_TRY(ref_parse(image->reference, &ref, err));
    if (image->kind != NULL)
        return ref_pinned(&ref, image->value, out_name, err);
    ref_full(&ref, out_name);
    return FAAS_OK;
}

const struct image_info *images_known(images *imgs, const char *name)
{
    return known_get(imgs->set, name);
}

void images_forget(images *imgs, const char *name)
{
    known_drop(imgs->set, name);
}

/* ---- waiting ---- */

static void wait_free(image_wait *wait)
{
    images *imgs = wait->imgs;

    TAILQ_REMOVE(&imgs->waits, wait, link);
    if (wait->pull != NULL)
        TAILQ_REMOVE(&wait->pull->waits, wait, pull_link);
    ev_timer_stop(imgs->ev, &wait->timer);
    engine_abort(wait->inspect);
    free(wait->name);
    free(wait);
}

void images_cancel(image_wait *wait)
{
    if (wait != NULL)
        wait_free(wait);
}

static void wait_end(image_wait *wait, const struct image_info *info, const faas_err *err)
{
    struct image_want want = wait->want;
    faas_err copy = {.code = FAAS_OK};

    if (err != NULL)
        copy = *err;
    wait_free(wait);
    want.done(want.arg, copy.code, info, &copy);
}

static void wait_fail_later(image_wait *wait, faas_code code)
{
    wait->failure.code = code;
    ev_timer_stop(wait->imgs->ev, &wait->timer);
    ev_timer_set(&wait->timer, 0.0, 0.0);
    ev_timer_start(wait->imgs->ev, &wait->timer);
}

static void on_wait_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    image_wait *wait = timer->data;

    (void)ev, (void)events;
    if (wait->failure.code == FAAS_OK)
        (void)faas_fail(&wait->failure, FAAS_TIMEOUT, "the image was not here within %lld ms",
                        (long long)wait->want.timeout_ms);
    wait_end(wait, NULL, &wait->failure);
}

/* ---- pulling ---- */

static void pull_free(struct pull *pull)
{
    TAILQ_REMOVE(&pull->imgs->pulls, pull, link);
    free(pull->name);
    free(pull->line);
    free(pull);
}

/* One progress line: {"error":text} says that the pull failed, status 200 or not. */
static void take_line(struct pull *pull)
{
    FAAS_AUTO(json_t) *doc = faas_json_load(pull->line, pull->line_len, 0);
    const char *error = json_string_value(json_object_get(doc, "error"));

    pull->line_len = 0;
    if (error != NULL)
        (void)faas_fail(&pull->failure, FAAS_UNPROCESSABLE, "%s",
                        error[0] != '\0' ? error : "the engine could not pull it");
}

static void on_pull_chunk(void *arg, const char *data, size_t len)
{
    struct pull *pull = arg;

    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n') {
            take_line(pull);
        } else if (pull->line_len < PROGRESS_MAX) {
            pull->line[pull->line_len++] = data[i];
        }
    }
}

static void pull_judge(struct pull *pull, const struct engine_reply *reply)
{
    char text[FAAS_ERR_MSG_MAX];

    take_line(pull);
    if (pull->failure.code != FAAS_OK)
        return;
    if (reply->is_complete && reply->status == 200)
        return;
    engine_reply_text(reply, text);
    if (reply->status >= 400)
        (void)faas_fail(&pull->failure, FAAS_UNPROCESSABLE, "%s", text);
    else if (reply->is_timeout)
        (void)faas_fail(&pull->failure, FAAS_TIMEOUT, "the pull took over %lld ms",
                        (long long)pull->imgs->conf.pull_timeout_ms);
    else
        (void)faas_fail(&pull->failure, FAAS_UNAVAILABLE, "the pull broke off: %s", text);
}

static void on_pulled(void *arg, const struct engine_reply *reply)
{
    struct pull *pull = arg;
    images *imgs = pull->imgs;
    image_wait *wait;

    pull->req = NULL;
    imgs->running--;
    pull_judge(pull, reply);
    FAAS_LOG(INFO, "image pull ended", FAAS_LSTR("image", pull->name),
             FAAS_LSTR("result", pull->failure.code == FAAS_OK ? "ok" : pull->failure.msg));
    while ((wait = TAILQ_FIRST(&pull->waits)) != NULL) {
        TAILQ_REMOVE(&pull->waits, wait, pull_link);
        wait->pull = NULL;
        wait->was_pulled = true;
        if (pull->failure.code == FAAS_OK) {
            inspect(wait);
        } else {
            wait->failure = pull->failure;
            wait_fail_later(wait, pull->failure.code);
        }
    }
    pull->is_failed = pull->failure.code != FAAS_OK;
    pull->retry_ns = faas_deadline_in_ms(IMAGES_RETRY_MS);
    if (!pull->is_failed)
        pull_free(pull);
    pulls_next(imgs);
}

static faas_code pull_start(struct pull *pull, faas_err *err)
{
    char from[REF_TEXT_MAX];
    FAAS_AUTO(char) *name = NULL, *tag = NULL, *path = NULL;
    char *auth = NULL;
    struct engine_call call = {
        .method = "POST",
        .timeout_ms = pull->imgs->conf.pull_timeout_ms,
        .chunk = on_pull_chunk,
        .done = on_pulled,
        .arg = pull,
    };
    faas_code rc;

    snprintf(from, sizeof from, "%s/%s", pull->ref.host, pull->ref.path);
    name = ref_url_encode(from);
    tag = ref_url_encode(pull->ref.digest[0] != '\0' ? pull->ref.digest : pull->ref.tag);
    if (name == NULL || tag == NULL ||
        asprintf(&path, "/images/create?fromImage=%s&tag=%s", name, tag) < 0) {
        path = NULL;
        return faas_fail_sys(err, ENOMEM, "pull");
    }
    FAAS_TRY(registry_auth_header(pull->imgs->conf.auth_file, pull->ref.host, &auth, err));
    call.path = path;
    call.header = auth;
    rc = engine_send(pull->imgs->conf.eng, &call, &pull->req, err);
    registry_auth_free(auth);
    return rc;
}

/* Starts what waits in line; forgets failures that are old. */
static void pulls_next(images *imgs)
{
    struct pull *pull = TAILQ_FIRST(&imgs->pulls), *next;
    uint64_t now = faas_now_ns();

    for (; pull != NULL; pull = next) {
        image_wait *wait;

        next = TAILQ_NEXT(pull, link);
        if (pull->is_failed) {
            if (now >= pull->retry_ns)
                pull_free(pull);
            continue;
        }
        if (pull->req != NULL || imgs->running >= imgs->conf.parallel)
            continue;
        if (pull_start(pull, &pull->failure) == FAAS_OK) {
            imgs->running++;
            continue;
        }
        pull->is_failed = true;
        pull->retry_ns = faas_deadline_in_ms(IMAGES_RETRY_MS);
        while ((wait = TAILQ_FIRST(&pull->waits)) != NULL) {
            TAILQ_REMOVE(&pull->waits, wait, pull_link);
            wait->pull = NULL;
            wait->failure = pull->failure;
            wait_fail_later(wait, pull->failure.code);
        }
    }
}

/* Finds or adds the pull of a name.  A failure that is remembered counts for those who do not wait
 * alone. */
static faas_code pull_get(images *imgs, const char *name, bool is_waited, struct pull **out_pull,
                          faas_err *err)
{
    struct pull *pull;
    struct image_ref ref;

    pulls_next(imgs);
    TAILQ_FOREACH (pull, &imgs->pulls, link)
        if (strcmp(pull->name, name) == 0)
            break;
    if (pull != NULL && pull->is_failed && is_waited) {
        pull_free(pull);
        pull = NULL;
    }
    *out_pull = pull;
    if (pull != NULL)
        return FAAS_OK;
    if (ref_is_digest(name))
        return faas_fail(err, FAAS_NOT_FOUND,
                         "the image %.19s... was made on another machine and has no registry: load "
                         "it into this engine (docker load), or push it and register it again",
                         name);
    FAAS_TRY(ref_parse(name, &ref, err));
    FAAS_TRY(ref_check_allowed(&ref, imgs->conf.allowed, err));
    pull = calloc(1, sizeof *pull);
    if (pull == NULL)
        return faas_fail_sys(err, ENOMEM, "pull");
    pull->imgs = imgs;
    pull->ref = ref;
    pull->name = strdup(name);
    pull->line = malloc(PROGRESS_MAX);
    TAILQ_INIT(&pull->waits);
    TAILQ_INSERT_TAIL(&imgs->pulls, pull, link);
    if (pull->name == NULL || pull->line == NULL) {
        pull_free(pull);
        return faas_fail_sys(err, ENOMEM, "pull");
    }
    *out_pull = pull;
    return FAAS_OK;
}

void images_prefetch(images *imgs, const char *name)
{
    struct pull *pull = NULL;
    faas_err err = {0};

    if (pull_get(imgs, name, false, &pull, &err) != FAAS_OK)
        FAAS_LOG(DEBUG, "image cannot be fetched", FAAS_LSTR("why", err.msg));
    else
        pulls_next(imgs);
}

/* ---- looking ---- */

static void not_here(image_wait *wait)
{
    struct pull *pull = NULL;
    faas_code rc;

    if (!wait->want.may_pull || wait->was_pulled) {
        rc = faas_fail(&wait->failure, FAAS_NOT_FOUND, "the image is not on this machine");
        wait_end(wait, NULL, &wait->failure);
        return;
    }
    rc = pull_get(wait->imgs, wait->name, true, &pull, &wait->failure);
    if (rc != FAAS_OK) {
        wait_end(wait, NULL, &wait->failure);
        return;
    }
    wait->pull = pull;
    TAILQ_INSERT_TAIL(&pull->waits, wait, pull_link);
    pulls_next(wait->imgs);
}

/* Borrowed; NULL: there is none, or what no engine should say. */
static json_t *strings_of(const json_t *config, const char *name)
{
    json_t *list = json_object_get(config, name), *item;
    size_t i;

    json_array_foreach (list, i, item)
        if (!json_is_string(item))
            return NULL;
    return json_array_size(list) > 0 ? list : NULL;
}

/* Its references are borrowed. */
static bool read_info(const json_t *doc, struct image_info *out_info)
{
    const json_t *config = json_object_get(doc, "Config");
    const char *id = json_string_value(json_object_get(doc, "Id"));
    const char *user = json_string_value(json_object_get(config, "User"));
    json_t *volumes = json_object_get(config, "Volumes");

    if (!ref_is_digest(id))
        return false;
    memset(out_info, 0, sizeof *out_info);
    snprintf(out_info->id, sizeof out_info->id, "%s", id);
    snprintf(out_info->user, sizeof out_info->user, "%s", user != NULL ? user : "");
    if (json_object_size(volumes) > 0)
        out_info->volumes = volumes;
    out_info->entrypoint = strings_of(config, "Entrypoint");
    out_info->cmd = strings_of(config, "Cmd");
    out_info->detail = doc;
    return true;
}

static void on_inspected(void *arg, const struct engine_reply *reply)
{
    image_wait *wait = arg;
    FAAS_AUTO(json_t) *doc = engine_reply_json(reply);
    struct image_info info;
    char text[FAAS_ERR_MSG_MAX];

    wait->inspect = NULL;
    if (reply->is_complete && reply->status == 404) {
        not_here(wait);
        return;
    }
    if (reply->is_complete && reply->status == 200 && read_info(doc, &info)) {
        struct image_info copy = info;

        json_incref(copy.volumes);
        json_incref(copy.entrypoint);
        json_incref(copy.cmd);
        known_put(wait->imgs->set, wait->name, &copy);
        wait_end(wait, &info, NULL);
        return;
    }
    engine_reply_text(reply, text);
    (void)faas_fail(&wait->failure, reply->status >= 400 ? FAAS_UNPROCESSABLE : FAAS_UNAVAILABLE,
                    "the engine cannot tell about the image: %s", text);
    wait_end(wait, NULL, &wait->failure);
}

static void inspect(image_wait *wait)
{
    FAAS_AUTO(char) *name = ref_url_encode(wait->name), *path = NULL;
    struct engine_call call = {
        .method = "GET", .timeout_ms = INSPECT_MS, .done = on_inspected, .arg = wait};
    faas_code rc;

    if (name == NULL || asprintf(&path, "/images/%s/json", name) < 0) {
        path = NULL;
        rc = faas_fail_sys(&wait->failure, ENOMEM, "image inspection");
    } else {
        call.path = path;
        rc = engine_send(wait->imgs->conf.eng, &call, &wait->inspect, &wait->failure);
    }
    if (rc != FAAS_OK)
        wait_fail_later(wait, rc);
}

faas_code images_ensure(images *imgs, const struct image_want *want, image_wait **out_wait,
                        faas_err *err)
{
    image_wait *wait = calloc(1, sizeof *wait);

    if (wait == NULL)
        return faas_fail_sys(err, ENOMEM, "image wait");
    wait->imgs = imgs;
    wait->want = *want;
    wait->name = strdup(want->name);
    wait->want.name = wait->name;
    if (wait->name == NULL) {
        free(wait);
        return faas_fail_sys(err, ENOMEM, "image wait");
    }
    TAILQ_INSERT_TAIL(&imgs->waits, wait, link);
    ev_timer_init(&wait->timer, on_wait_timer, (double)want->timeout_ms / 1000.0, 0.0);
    wait->timer.data = wait;
    ev_timer_start(imgs->ev, &wait->timer);
    inspect(wait);
    if (out_wait != NULL)
        *out_wait = wait;
    return FAAS_OK;
}

/* ---- life ---- */

faas_code images_new(const struct images_conf *conf, images **out_images, faas_err *err)
{
    images *imgs = calloc(1, sizeof *imgs);
    faas_code rc;

    if (imgs == NULL)
        return faas_fail_sys(err, ENOMEM, "images");
    imgs->conf = *conf;
    imgs->ev = engine_ev(conf->eng);
    TAILQ_INIT(&imgs->waits);
    TAILQ_INIT(&imgs->pulls);
    rc = known_new(&imgs->set, err);
    if (rc != FAAS_OK) {
        free(imgs);
        return rc;
    }
    *out_images = imgs;
    return FAAS_OK;
}

void images_free(images *imgs)
{
    struct pull *pull;
    image_wait *wait;

    if (imgs == NULL)
        return;
    while ((wait = TAILQ_FIRST(&imgs->waits)) != NULL)
        wait_free(wait);
    while ((pull = TAILQ_FIRST(&imgs->pulls)) != NULL) {
        engine_abort(pull->req);
        pull_free(pull);
    }
    known_free(imgs->set);
    free(imgs);
}
