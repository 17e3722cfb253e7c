#include "runtime_docker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "docker.h"

#define LIST_MS    10000
#define REMOVE_MS  30000
#define PREPARE_MS 10000

static struct docker *docker_of(struct runtime *rt)
{
    return (struct docker *)rt;
}

/* ---- images ---- */

struct prepare {
    rt_prepared *done;
    void *arg;
};

static void on_prepared(void *arg, faas_code code, const struct image_info *info,
                        const faas_err *err)
{
    struct prepare *prepare = arg;

    (void)info;
    prepare->done(prepare->arg, code, err);
    free(prepare);
}

static void prepare(struct runtime *rt, const struct rt_image *image, bool may_pull,
                    rt_prepared *done, void *arg)
{
    struct docker *dk = docker_of(rt);
    char name[REF_TEXT_MAX];
    struct prepare *prep;
    struct image_want want = {.name = name,
                              .may_pull = may_pull,
                              .timeout_ms = may_pull ? dk->conf.pull_timeout_ms : PREPARE_MS,
                              .done = on_prepared};
    faas_err err = {0};
    faas_code rc = images_name(image, name, &err);

    if (done == NULL) {
        if (rc == FAAS_OK && may_pull)
            images_prefetch(dk->imgs, name);
        return;
    }
    prep = malloc(sizeof *prep);
    if (rc == FAAS_OK && prep == NULL)
        rc = faas_fail_sys(&err, ENOMEM, "image");
    if (rc == FAAS_OK) {
        *prep = (struct prepare){.done = done, .arg = arg};
        want.arg = prep;
        rc = images_ensure(dk->imgs, &want, NULL, &err);
    }
    if (rc != FAAS_OK) {
        free(prep);
        done(arg, rc, &err);
    }
}

static enum rt_presence presence(struct runtime *rt, const struct rt_image *image)
{
    char name[REF_TEXT_MAX];
    faas_err err;

    if (images_name(image, name, &err) != FAAS_OK)
        return RT_UNKNOWN; /* prepare() says what is wrong */
    return images_known(docker_of(rt)->imgs, name) != NULL ? RT_HERE : RT_UNKNOWN;
}

/* ---- sweep ---- */

static void sweep_one(struct docker *dk, const json_t *item)
{
    const char *id = json_string_value(json_object_get(item, "Id"));
    const char *why = sweep_judge(&dk->sweep, json_object_get(item, "Labels"), faas_now_ns(),
                                  faas_wall_ms() / 1000);
    char path[160];
    struct engine_call order = {.method = "DELETE", .path = path, .timeout_ms = REMOVE_MS};
    faas_err err = {0};

    if (why == NULL || id == NULL || strlen(id) > 64 ||
        strspn(id, "0123456789abcdef") != strlen(id))
        return;
    FAAS_LOG(WARN, "removing a container that nobody owns", FAAS_LSTR("container", id),
             FAAS_LSTR("why", why));
    snprintf(path, sizeof path, "/containers/%s?force=1&v=1", id);
    if (engine_send(dk->eng, &order, NULL, &err) != FAAS_OK)
        FAAS_LOG(WARN, "sweep", FAAS_LSTR("why", err.msg));
}

static void on_listed(void *arg, const struct engine_reply *reply)
{
    struct docker *dk = arg;
    FAAS_AUTO(json_t) *list = engine_reply_json(reply);
    size_t i;
    json_t *item;

    dk->sweeping = NULL;
    if (!reply->is_complete || reply->status != 200)
        return;
    if (!dk->conf.is_bus_heard(dk->conf.arg))
        sweep_deaf(&dk->sweep);
    json_array_foreach (list, i, item) {
        sweep_one(dk, item);
    }
}

static void sweep(struct runtime *rt)
{
    struct docker *dk = docker_of(rt);
    FAAS_AUTO(json_t) *filter =
        json_pack("{s:[s++]}", "label", LABEL_CLUSTER, "=", dk->conf.owner.cluster);
    FAAS_AUTO(char) *text = faas_json_text(filter, NULL);
    FAAS_AUTO(char) *encoded = text != NULL ? ref_url_encode(text) : NULL, *path = NULL;
    struct engine_call order = {
        .method = "GET", .timeout_ms = LIST_MS, .done = on_listed, .arg = dk};
    faas_err err;

    if (dk->sweeping != NULL || engine_state(dk->eng) != ENGINE_UP || encoded == NULL)
        return;
    if (asprintf(&path, "/containers/json?all=1&filters=%s", encoded) < 0) {
        path = NULL;
        return;
    }
    order.path = path;
    if (engine_send(dk->eng, &order, &dk->sweeping, &err) != FAAS_OK)
        dk->sweeping = NULL;
}

static void on_sweep_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct docker *dk = timer->data;

    (void)ev, (void)events;
    sweep(&dk->rt);
}

static bool is_own_call(void *arg, const char *call_id)
{
    struct docker *dk = arg;
    struct rt_call *call;

    LIST_FOREACH (call, &dk->calls, link)
        if (strcmp(call->call_id, call_id) == 0)
            return true;
    return false;
}

static bool is_heard(void *arg, const char *spawner)
{
    struct docker *dk = arg;

    return !dk->conf.is_bus_heard(dk->conf.arg) || dk->conf.is_spawner_heard(dk->conf.arg, spawner);
}

static void on_engine_changed(void *arg, enum engine_state state)
{
    struct docker *dk = arg;

    if (state == ENGINE_UP)
        sweep(&dk->rt);
}

/* ---- the rest of the interface ---- */

static faas_code usable(struct runtime *rt, faas_err *err)
{
    return engine_usable(docker_of(rt)->eng, err);
}

/* No container outlives its call. */
static void secret_changed(struct runtime *rt, const char *tenant)
{
    (void)rt, (void)tenant;
}

static size_t lingering(struct runtime *rt)
{
    return docker_of(rt)->removing;
}

static void drain(struct runtime *rt, size_t *out_left)
{
    struct docker *dk = docker_of(rt);
    struct rt_call *call, *next;

    for (call = LIST_FIRST(&dk->calls); call != NULL; call = next) {
        next = LIST_NEXT(call, link);
        docker_cancel(call);
    }
    *out_left = dk->running + dk->removing;
}

static const struct runtime_ops ops = {
    .isolation = "docker",
    .secret_changed = secret_changed,
    .usable = usable,
    .presence = presence,
    .prepare = prepare,
    .resolve = docker_resolve,
    .call = docker_call,
    .feed = docker_feed,
    .resume = docker_resume,
    .cancel = docker_cancel,
    .lingering = lingering,
    .sweep = sweep,
    .drain = drain,
};

faas_code runtime_docker_new(const struct docker_conf *conf, struct runtime **out_runtime,
                             faas_err *err)
{
    struct docker *dk = calloc(1, sizeof *dk);
    struct engine_conf eng_conf = {
        .loop = conf->loop, .host = conf->host, .changed = on_engine_changed, .arg = dk};
    struct images_conf img_conf = {.auth_file = conf->auth_file,
                                   .allowed = conf->allowed,
                                   .parallel = conf->pulls,
                                   .pull_timeout_ms = conf->pull_timeout_ms};
    faas_code rc;

    if (dk == NULL)
        return faas_fail_sys(err, ENOMEM, "docker runtime");
    dk->rt.ops = &ops;
    dk->conf = *conf;
    dk->ev = faas_loop_ev(conf->loop);
    LIST_INIT(&dk->calls);
    docker_turn_init(dk);
    ev_init(&dk->sweep_timer, on_sweep_timer);
    dk->sweep_timer.data = dk;
    dk->sweep = (struct sweep){.is_own_call = is_own_call, .is_heard = is_heard, .arg = dk};
    rc = engine_new(&eng_conf, &dk->eng, err);
    img_conf.eng = dk->eng;
    if (rc == FAAS_OK)
        rc = images_new(&img_conf, &dk->imgs, err);
    if (rc != FAAS_OK) {
        runtime_docker_free(&dk->rt);
        return rc;
    }
    *out_runtime = &dk->rt;
    return FAAS_OK;
}

void runtime_docker_begin(struct runtime *rt, const char *epoch)
{
    struct docker *dk = docker_of(rt);

    dk->conf.owner.epoch = epoch;
    dk->sweep.self = dk->conf.owner;
    dk->sweep_timer.repeat = SWEEP_EVERY_MS / 1000.0;
    ev_timer_again(dk->ev, &dk->sweep_timer);
    engine_begin(dk->eng);
}

bool runtime_docker_is_settled(const struct runtime *rt)
{
    return engine_state(((const struct docker *)rt)->eng) != ENGINE_UNKNOWN;
}

void runtime_docker_free(struct runtime *rt)
{
    struct docker *dk = docker_of(rt);
    struct rt_call *call;

    if (dk == NULL)
        return;
    while ((call = LIST_FIRST(&dk->calls)) != NULL) {
        LIST_REMOVE(call, link);
        docker_call_free(call);
    }
    ev_timer_stop(dk->ev, &dk->sweep_timer);
    images_free(dk->imgs);
    engine_free(dk->eng);
    free(dk->enter);
    free(dk);
}
