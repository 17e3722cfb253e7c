#include "runtime_native.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "filter.h"
#include "native.h"
#include "services/spawner/image/config.h"

#define TIDY_S 1.0

_Static_assert(ZY_OWNER_BASE == IMAGE_OWNER_BASE && ZY_IDS == IMAGE_OWNER_COUNT,
               "the store and the zygote must agree whose files are whose");

static struct native *native_of(struct runtime *rt)
{
    return (struct native *)rt;
}

/* ---- images ---- */

struct prepare {
    rt_prepared *done;
    void *arg;
};

static void on_prepared(void *arg, const struct puller_answer *answer)
{
    struct prepare *prepare = arg;
    const faas_err none = {0};

    prepare->done(prepare->arg, answer->code, answer->err != NULL ? answer->err : &none);
    free(prepare);
}

static void prepare(struct runtime *rt, const struct rt_image *image, bool may_pull,
                    rt_prepared *done, void *arg)
{
    struct puller_want want = {.name = image->reference,
                               .id = image->kind != NULL ? image->value : NULL,
                               .tenant = image->tenant,
                               .may_pull = may_pull};
    struct prepare *prepare = NULL;
    faas_err err = {0};
    faas_code rc = FAAS_OK;

    if (done != NULL) {
        prepare = malloc(sizeof *prepare);
        if (prepare == NULL) {
            rc = faas_fail_sys(&err, ENOMEM, "image");
            done(arg, rc, &err);
            return;
        }
        *prepare = (struct prepare){.done = done, .arg = arg};
        want.done = on_prepared;
        want.drop = free;
        want.arg = prepare;
    }
    rc = puller_ask(native_of(rt)->conf.images, &want, NULL, &err);
    if (rc != FAAS_OK && prepare != NULL) {
        free(prepare);
        done(arg, rc, &err);
    }
}

static enum rt_presence presence(struct runtime *rt, const struct rt_image *image)
{
    return image->kind != NULL && puller_known(native_of(rt)->conf.images, image->value) != NULL
               ? RT_HERE
               : RT_UNKNOWN;
}

static json_t *list_or_null(json_t *list)
{
    return list != NULL ? json_incref(list) : json_null();
}

static json_t *describe(const struct image *image, const char *reference)
{
    const struct image_config *config = &image->config;

    return json_pack("{s:i,s:{s:s,s:s},s:s,s:o,s:o,s:s,s:I,s:s}", "v", 1, "digest", "kind", "store",
                     "value", image->id, "reference", reference, "entrypoint",
                     list_or_null(config->entrypoint), "cmd", list_or_null(config->cmd), "user",
                     config->user, "size_bytes", (json_int_t)image->bytes, "architecture",
                     image_architecture());
}

struct resolve {
    rt_resolved *done;
    void *arg;
};

static void on_resolved(void *arg, const struct puller_answer *answer)
{
    struct resolve *resolve = arg;
    FAAS_AUTO(json_t) *reply = NULL;
    faas_err err = {0};
    faas_code rc = answer->code;

    if (rc != FAAS_OK)
        err = *answer->err;
    if (rc == FAAS_OK && (reply = describe(answer->image, answer->reference)) == NULL)
        rc = faas_fail_sys(&err, ENOMEM, "image description");
    if (rc == FAAS_NOT_FOUND || rc == FAAS_INVALID || rc == FAAS_DENIED || rc == FAAS_TOO_LARGE)
        rc = err.code = FAAS_UNPROCESSABLE;
    resolve->done(resolve->arg, rc, reply, &err);
    free(resolve);
}

static void resolve(struct runtime *rt, const struct rt_image *image, int64_t timeout_ms,
                    rt_resolved *done, void *arg)
{
    struct resolve *resolve = malloc(sizeof *resolve);
    const struct puller_want want = {.name = image->reference,
                                     .tenant = image->tenant,
                                     .may_pull = true,
                                     .timeout_ms = timeout_ms,
                                     .done = on_resolved,
                                     .drop = free,
                                     .arg = resolve};
    faas_err err = {0};
    faas_code rc;

    if (resolve == NULL) {
        rc = faas_fail_sys(&err, ENOMEM, "resolve");
        done(arg, rc, NULL, &err);
        return;
    }
    *resolve = (struct resolve){.done = done, .arg = arg};
    rc = puller_ask(native_of(rt)->conf.images, &want, NULL, &err);
    if (rc != FAAS_OK) {
        free(resolve);
        done(arg, rc, NULL, &err);
    }
}

/* ---- the machine ---- */

static void warn_of_missing(const struct native *nt)
{
    static const enum cgroup_controller each[] = {CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPU};
    unsigned has = cgroups_has(nt->groups);

    for (size_t i = 0; i < FAAS_ARRAY_LEN(each); i++)
        if ((has & each[i]) == 0)
            FAAS_LOG(WARN,
                     "this machine lets the spawner make no control groups of one kind: that limit "
                     "of functions is not kept, and one user alone is served",
                     FAAS_LSTR("controller", cgroup_controller_name(each[i])));
}

/* The first lane is made without a call, to know what this machine can do. */
void native_probed(struct native *nt, const faas_err *err)
{
    nt->is_settled = true;
    memset(&nt->unfit, 0, sizeof nt->unfit);
    if (err == NULL)
        return;
    nt->unfit = *err;
    FAAS_LOG(ERROR, "functions cannot run in sandboxes on this machine",
             FAAS_LSTR("why", err->msg));
}

static faas_code usable(struct runtime *rt, faas_err *err)
{
    const faas_err *unfit = &native_of(rt)->unfit;

    return unfit->code == FAAS_OK ? FAAS_OK : faas_fail(err, unfit->code, "%s", unfit->msg);
}

static void on_tidy(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)events;
    lanes_tidy(timer->data, false);
    outbound_tidy(timer->data);
}

static void on_care(struct ev_loop *ev, ev_prepare *care, int events)
{
    (void)events;
    ev_prepare_stop(ev, care);
    lanes_care(care->data);
}

void runtime_native_begin(struct runtime *rt)
{
    static const struct lane_key probe = {.memory_mb = 16, .pids = 8, .tmp_mb = 1, .cpus = 1.0};
    struct native *nt = native_of(rt);
    struct lane *lane;
    faas_err err = {0};
    faas_code rc = nursery_open(nt->ev, nt->conf.program, &nt->nursery, &err);

    warn_of_missing(nt);
    if (rc == FAAS_OK)
        rc = lane_new(nt, &probe, &(struct lane_parts){.image = NULL}, &lane, &err);
    if (rc != FAAS_OK)
        native_probed(nt, &err);
    outbound_begin(nt);
    ev_timer_again(nt->ev, &nt->tidy);
}

bool runtime_native_is_settled(const struct runtime *rt)
{
    const struct native *nt = (const struct native *)rt;

    return nt->is_settled && nt->is_outbound_settled;
}

/* ---- the rest of the interface ---- */

/* Those that end by themselves, idle for too long, hold up nobody. */
static size_t lingering(struct runtime *rt)
{
    const struct lane *lane;
    size_t count = 0;

    TAILQ_FOREACH (lane, &native_of(rt)->lanes, link)
        count += lane->state == LANE_ENDING && lane->is_rough;
    return count;
}

static void sweep(struct runtime *rt)
{
    (void)rt; /* done when the groups were opened; nothing else outlives its process */
}

static void drain(struct runtime *rt, size_t *out_left)
{
    struct native *nt = native_of(rt);
    struct rt_call *call;
    struct lane *lane;

    *out_left = 0;
    LIST_FOREACH (call, &nt->calls, link) {
        native_cancel(call);
        ++*out_left;
    }
    lanes_tidy(nt, true);
    TAILQ_FOREACH (lane, &nt->lanes, link) {
        lane->is_broken = true; /* ends after its call */
        ++*out_left;
    }
}

static void secret_changed(struct runtime *rt, const char *tenant)
{
    lanes_secret_changed(native_of(rt), tenant);
}

static const struct runtime_ops ops = {
    .isolation = "sandbox",
    .secret_changed = secret_changed,
    .usable = usable,
    .presence = presence,
    .prepare = prepare,
    .resolve = resolve,
    .call = native_call,
    .resume = native_resume,
    .feed = native_feed,
    .cancel = native_cancel,
    .lingering = lingering,
    .sweep = sweep,
    .drain = drain,
};

static faas_code make_filter(struct native *nt, faas_err *err)
{
    if (getrandom(&nt->pass, sizeof nt->pass, 0) != (ssize_t)sizeof nt->pass)
        return faas_fail_sys(err, errno, "random bytes");
    return native_filter_fd(nt->pass, &nt->filter, err);
}

faas_code runtime_native_new(const struct native_conf *conf, struct runtime **out_runtime,
                             faas_err *err)
{
    struct native *nt = calloc(1, sizeof *nt);
    char resolv_conf[RESOLVERS_TEXT];
    faas_code rc;

    if (nt == NULL)
        return faas_fail_sys(err, ENOMEM, "native runtime");
    nt->rt.ops = &ops;
    nt->conf = *conf;
    nt->ev = faas_loop_ev(conf->loop);
    nt->filter = nt->share.lock = -1;
    TAILQ_INIT(&nt->lanes);
    TAILQ_INIT(&nt->idle);
    LIST_INIT(&nt->calls);
    ev_init(&nt->tidy, on_tidy);
    nt->tidy.repeat = TIDY_S;
    ev_init(&nt->care, on_care);
    nt->tidy.data = nt->care.data = nt;
    (void)faas_fail(&nt->unfit, FAAS_UNAVAILABLE, "the spawner is still starting");
    rc = resolvers_read(conf->dns != NULL ? conf->dns : "", &nt->resolvers, err);
    if (rc == FAAS_OK) {
        resolvers_text(&nt->resolvers, resolv_conf);
        rc = share_open(&nt->share, conf->run_dir, resolv_conf, err);
    }
    if (rc == FAAS_OK)
        rc = cgroups_open(nt->share.name, &nt->groups, err);
    if (rc == FAAS_OK)
        rc = make_filter(nt, err);
    if (rc != FAAS_OK) {
        runtime_native_free(&nt->rt);
        return rc;
    }
    *out_runtime = &nt->rt;
    return FAAS_OK;
}

void runtime_native_free(struct runtime *rt)
{
    struct native *nt = (struct native *)rt;

    if (nt == NULL)
        return;
    ev_timer_stop(nt->ev, &nt->tidy);
    ev_prepare_stop(nt->ev, &nt->care);
    calls_drop(nt);
    nursery_close(nt->outbound);
    nursery_close(nt->nursery); /* fails the lanes it had in hand */
    lanes_drop(nt);
    cgroups_close(nt->groups);
    if (nt->filter >= 0)
        close(nt->filter);
    share_close(&nt->share);
    free(nt);
}
