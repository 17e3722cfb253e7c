/* faas-spawner: runs calls.  Wiring only: options, the runtime, the worker, endpoints. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "beats.h"
#include "contract.h"
#include "direct.h"
#include "logins.h"
#include "ref.h"
#include "registry_auth.h"
#include "runtime_docker.h"
#include "service.h"
#include "services/spawner/image/child.h"
#include "services/spawner/image/limits.h"
#include "services/spawner/native/check.h"
#include "services/spawner/native/runtime_native.h"
#include "worker.h"

#define CLOSE_MS  10000
#define NAME_ROOM 32 /* of a program of ours */

static struct {
    char *runtime, *docker_host, *cluster, *allowed, *auth_file, *images, *run_dir, *dns;
    char *mirrors, *pull;
    int64_t secrets_mb, slots, stream_mb, max_containers, pulls, starts, pull_timeout_ms,
        lane_idle_ms;
    bool is_direct, is_parked, is_outbound;
} conf;

/* How a runtime is made, and what is asked of it besides runtime_ops. */
struct kind {
    const char *name; /* SPAWNER_RUNTIME */
    faas_code (*open)(const struct faas_runtime *rt, faas_err *err);
    void (*begin)(struct runtime *runtime);
    bool (*is_settled)(const struct runtime *runtime);
    void (*free)(struct runtime *runtime);
};

static struct {
    const struct faas_runtime *rt;
    const struct kind *kind;
    struct image_store *store; /* of the native runtime, like its puller */
    puller *images;
    secrets *secrets;
    struct runtime *runtime; /* set by the starter, before begin() is posted */
    worker *made;            /* the same */
    /* loop thread */
    worker *worker; /* NULL before begin() */
    struct beats beats;
    struct direct direct;
} app;

static const struct faas_option options[] = {
    FAAS_OPT_GROUP("The spawner:"),
    FAAS_OPT_STR(conf.runtime, "SPAWNER_RUNTIME", "auto",
                 "what runs functions: native (sandboxes of this machine's kernel; root), docker "
                 "(containers of a Docker Engine), or auto: native where it can keep every limit, "
                 "else docker"),
    FAAS_OPT_STR(conf.images, "SPAWNER_IMAGES", "/var/lib/faas/images",
                 "native: directory of the image store"),
    FAAS_OPT_STR(conf.run_dir, "SPAWNER_RUN_DIR", "/run/faas-spawner",
                 "native: directory for what lives as long as this process, the same for all "
                 "spawners of a machine"),
    FAAS_OPT_INT(conf.lane_idle_ms, "SPAWNER_LANE_IDLE_MS", "60000", 100, 86400000,
                 "native: longest time a function's sandbox is kept without a call, in "
                 "milliseconds"),
    FAAS_OPT_INT(
        conf.secrets_mb, "SPAWNER_SECRETS_MB", "16", 1, 1024,
        "secrets kept in memory for the next call, in MB, as long as sandboxes are, and as much "
        "again in files of idle sandboxes"),
    FAAS_OPT_BOOL(conf.is_parked, "SPAWNER_PARKED", "true",
                  "native: make the next call's sandbox as soon as one call has ended"),
    FAAS_OPT_BOOL(
        conf.is_outbound, "SPAWNER_OUTBOUND", "true",
        "native: give functions with network outbound one (net.ipv4.ip_forward must be 1)"),
    FAAS_OPT_STR(conf.dns, "SPAWNER_DNS", "",
                 "native: name servers of functions with network outbound, IPv4, comma-separated; "
                 "their port 53 may be reached even where they are private; empty: those of "
                 "/etc/resolv.conf that are not on loopback"),
    FAAS_OPT_STR(conf.docker_host, "DOCKER_HOST", "unix:///var/run/docker.sock",
                 "the Docker Engine: unix:///PATH or tcp://HOST:PORT"),
    FAAS_OPT_INT(conf.slots, "SPAWNER_SLOTS", "64", 1, 4096, "calls that may run at once"),
    FAAS_OPT_INT(conf.stream_mb, "SPAWNER_STREAM_MB", "1024", 1, 1048576,
                 "most MiB of standard output, and again of standard error, of a call whose output "
                 "is streamed; limits.output_mb is for the others"),
    FAAS_OPT_INT(conf.max_containers, "MAX_CONTAINERS", "0", 0, 4096,
                 "older name of SPAWNER_SLOTS; counts when it is not 0"),
    FAAS_OPT_STR(conf.cluster, "CLUSTER", "default",
                 "label of this deployment's containers; deployments that share an engine need "
                 "different ones"),
    FAAS_OPT_STR(conf.allowed, "ALLOWED_REGISTRIES", "",
                 "hosts images may be pulled from, comma-separated (docker.io), * for any; local "
                 "images and registries on loopback always may"),
    FAAS_OPT_STR(conf.auth_file, "REGISTRY_AUTH_FILE", "",
                 "credentials for pulls, in the format of docker's config.json, mode 0600; several "
                 "files with ':' between"),
    FAAS_OPT_STR(conf.mirrors, "REGISTRY_MIRRORS", "",
                 "native: HOST=MIRROR, comma-separated: images of the registry HOST are asked of "
                 "MIRROR (host[:port][/path]) first"),
    FAAS_OPT_STR(conf.pull, "IMAGE_PULL", "missing",
                 "native: missing: an image of a registry that is here is not asked for again; "
                 "always: at registration and refresh it is; never: nothing is pulled"),
    FAAS_OPT_INT(conf.pulls, "SPAWNER_PULLS", "3", 1, 64, "pulls that may run at once"),
    FAAS_OPT_INT(conf.starts, "SPAWNER_STARTS", "0", 0, 4096,
                 "containers that may be on their way to their start at once, users taking turns; "
                 "0: the engine's processors and one"),
    FAAS_OPT_INT(conf.pull_timeout_ms, "PULL_TIMEOUT_MS", "600000", 1000, 86400000,
                 "longest time one pull may take, in milliseconds"),
    FAAS_OPT_BOOL(conf.is_direct, "SPAWNER_DIRECT", "false",
                  "serve functions.execute, which knows no users"),
    IMAGE_LIMIT_ROWS,
    FAAS_OPT_END,
};

/* ---- endpoints ---- */

static void on_call(void *state, faas_msg *take_msg)
{
    (void)state;
    worker_on_call(app.worker, take_msg);
}

static void on_cancel(void *state, faas_msg *take_msg)
{
    (void)state;
    worker_on_cancel(app.worker, take_msg);
}

static void on_fence(void *state, faas_msg *take_msg)
{
    (void)state;
    worker_on_fence(app.worker, take_msg);
}

static void on_resolve(void *state, faas_msg *take_msg)
{
    (void)state;
    worker_on_resolve(app.worker, take_msg);
}

static const struct faas_endpoint endpoints[] = {
    {.name = "call",
     .subject = FAAS_SUBJ_SPAWNER_CALL,
     .body_max = 2 * FAAS_BODY_MAX,
     .on_message = on_call,
     .lane = FAAS_DATA},
    {.name = "cancel",
     .subject = FAAS_SUBJ_SPAWNER_CANCEL,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = on_cancel,
     .lane = FAAS_CONTROL},
    {.name = "fence",
     .subject = FAAS_SUBJ_SPAWNER_FENCE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = on_fence,
     .lane = FAAS_CONTROL},
    {.name = "resolve",
     .subject = FAAS_SUBJ_SPAWNER_RESOLVE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .on_message = on_resolve,
     .lane = FAAS_CONTROL},
    {.name = NULL},
};

/* ---- life ---- */

static bool is_bus_heard(void *arg)
{
    (void)arg;
    return faas_bus_is_connected(app.rt->bus);
}

static bool is_spawner_heard(void *arg, const char *spawner)
{
    const struct faas_member *member = faas_members_find(app.rt->members, "spawner", spawner);

    (void)arg;
    return member != NULL && !member->is_dead;
}

/* Another of our programs, in the folder of this one. */
static faas_code find_program(const char *name, char out_path[PATH_MAX], faas_err *err)
{
    ssize_t len = readlink("/proc/self/exe", out_path, PATH_MAX - NAME_ROOM);
    char *slash;

    if (len <= 0)
        return faas_fail_sys(err, errno, "/proc/self/exe");
    if (len == PATH_MAX - NAME_ROOM)
        return faas_fail_sys(err, ENAMETOOLONG, "/proc/self/exe");
    out_path[len] = '\0';
    slash = strrchr(out_path, '/');
    (void)snprintf(slash + 1, NAME_ROOM, "%s", name);
    if (access(out_path, X_OK) != 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "%s is not there: it belongs beside faas-spawner",
                         out_path);
    return FAAS_OK;
}

static faas_code open_docker(const struct faas_runtime *rt, faas_err *err)
{
    static char enter[PATH_MAX]; /* lives as long as the runtime */
    struct docker_conf docker = {
        .loop = rt->loop,
        .host = conf.docker_host,
        .auth_file = conf.auth_file,
        .allowed = conf.allowed,
        .enter = enter,
        .pulls = (int)conf.pulls,
        .starts = conf.starts,
        .pull_timeout_ms = conf.pull_timeout_ms,
        .owner = {.cluster = conf.cluster, .spawner = rt->id},
        .is_bus_heard = is_bus_heard,
        .is_spawner_heard = is_spawner_heard,
    };

    FAAS_TRY(registry_auth_check(conf.auth_file, err));
    FAAS_TRY(find_program("faas-enter", enter, err));
    return runtime_docker_new(&docker, &app.runtime, err);
}

static void begin_docker(struct runtime *runtime)
{
    runtime_docker_begin(runtime, faas_members_epoch(app.rt->members));
}

static faas_code open_images(const struct faas_runtime *rt, faas_err *err)
{
    struct puller_conf images = {
        .loop = rt->loop,
        .sources = {.engine = conf.docker_host,
                    .allowed = conf.allowed,
                    .auth_file = conf.auth_file,
                    .mirrors = conf.mirrors,
                    .is_following = strcmp(conf.pull, "always") == 0,
                    .is_pulling_none = strcmp(conf.pull, "never") == 0},
        .parallel = (int)conf.pulls,
        .keep_ms = conf.lane_idle_ms,
    };

    if (!images.sources.is_following && !images.sources.is_pulling_none &&
        strcmp(conf.pull, "missing") != 0)
        return faas_fail(err, FAAS_INVALID, "IMAGE_PULL: missing, always or never");
    FAAS_TRY(ref_check_mirrors(conf.mirrors, err));
    FAAS_TRY(registry_auth_check(conf.auth_file, err));
    FAAS_TRY(image_store_open(&app.store, conf.images, err));
    images.sources.store = app.store;
    return puller_new(&images, &app.images, err);
}

static faas_code open_native(const struct faas_runtime *rt, faas_err *err)
{
    static char program[PATH_MAX], outbound[PATH_MAX]; /* live as long as the runtime */
    struct native_conf native = {.loop = rt->loop,
                                 .run_dir = conf.run_dir,
                                 .program = program,
                                 .outbound = conf.is_outbound ? outbound : NULL,
                                 .dns = conf.dns,
                                 .idle_ms = conf.lane_idle_ms,
                                 .secret_bytes = (size_t)conf.secrets_mb << 20,
                                 .is_parked = conf.is_parked};

    if (geteuid() != 0)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "SPAWNER_RUNTIME native needs root; use docker without it");
    FAAS_TRY(find_program("faas-zygote", program, err));
    FAAS_TRY(find_program("faas-outbound", outbound, err));
    FAAS_TRY(open_images(rt, err));
    native.images = app.images;
    return runtime_native_new(&native, &app.runtime, err);
}

static const struct kind kinds[] = {
    {"docker", open_docker, begin_docker, runtime_docker_is_settled, runtime_docker_free},
    {"native", open_native, runtime_native_begin, runtime_native_is_settled, runtime_native_free},
};

/* Without every limit sandboxes would serve one user alone: then an engine is the better choice. */
static const char *choose_runtime(void)
{
    char program[PATH_MAX], lacks[32] = "";
    faas_err err = {0};
    faas_code rc = find_program("faas-zygote", program, &err);

    if (rc == FAAS_OK)
        rc = native_check(conf.run_dir, program, lacks, &err);
    if (rc == FAAS_OK && lacks[0] == '\0')
        return "native";
    FAAS_LOG(INFO, "functions run in containers: this machine cannot do sandboxes",
             FAAS_LSTR("why", err.msg), FAAS_LSTR("lacks", lacks));
    return "docker";
}

static faas_code find_kind(faas_err *err)
{
    const char *name = strcmp(conf.runtime, "auto") == 0 ? choose_runtime() : conf.runtime;

    for (size_t i = 0; i < FAAS_ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            app.kind = &kinds[i];
    return app.kind != NULL
               ? FAAS_OK
               : faas_fail(err, FAAS_INVALID, "SPAWNER_RUNTIME: auto, docker or native");
}

/* Loop thread: from here on calls are taken. */
static void begin(void *arg)
{
    faas_err err = {0};

    (void)arg;
    app.worker = app.made;
    app.kind->begin(app.runtime);
    if (!conf.is_direct)
        return;
    app.direct = (struct direct){.rt = app.rt, .runtime = app.runtime, .worker = app.worker};
    if (direct_begin(&app.direct, &err) != FAAS_OK)
        FAAS_LOG(ERROR, "functions.execute is not served", FAAS_LSTR("why", err.msg),
                 FAAS_LSTR("detail", err.detail));
}

static int64_t slots(void)
{
    return conf.max_containers > 0 ? conf.max_containers : conf.slots;
}

static faas_code check_cluster(faas_err *err)
{
    static const char set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t len = strlen(conf.cluster);

    if (len < 1 || len > 63 || strspn(conf.cluster, set) != len)
        return faas_fail(err, FAAS_INVALID, "CLUSTER: 1 to 63 of A-Z a-z 0-9 _ . -");
    return FAAS_OK;
}

/* Feed and answers come on the loop thread, and the runtime is there by then. */
static void on_secret_changed(void *arg, const char *tenant)
{
    (void)arg;
    app.runtime->ops->secret_changed(app.runtime, tenant);
}

static faas_code open_secrets(const struct faas_runtime *rt, faas_err *err)
{
    const struct secrets_conf wanted = {.rt = rt,
                                        .max_bytes = conf.secrets_mb * 1024 * 1024,
                                        .keep_ms = conf.lane_idle_ms,
                                        .changed = on_secret_changed};

    struct puller_logins logins;

    FAAS_TRY(secrets_new(&wanted, &app.secrets, err));
    logins = logins_of(app.secrets);
    if (app.images != NULL)
        puller_use_logins(app.images, &logins);
    return FAAS_OK;
}

static faas_code start(void *state, const struct faas_runtime *rt, faas_err *err)
{
    struct worker_conf work = {
        .rt = rt, .beats = &app.beats, .slots = slots(), .stream_mb = conf.stream_mb};

    (void)state;
    FAAS_TRY(check_cluster(err));
    FAAS_TRY(find_kind(err));
    app.rt = rt;
    FAAS_TRY(app.kind->open(rt, err));
    FAAS_TRY(open_secrets(rt, err));
    work.runtime = app.runtime;
    work.secrets = app.secrets;
    FAAS_TRY(worker_new(&work, &app.made, err));
    faas_loop_post(rt->loop, begin, NULL);
    return FAAS_OK;
}

static bool is_ready(void *state)
{
    (void)state;
    return app.worker != NULL && app.kind->is_settled(app.runtime);
}

static void fill(void *state, struct faas_beat *beat)
{
    (void)state;
    beats_note(&app.beats);
    beat->slots = slots();
    if (app.worker != NULL)
        secrets_fill(app.secrets, beat);
    if (app.worker != NULL)
        worker_fill(app.worker, beat);
}

static void drain(void *state)
{
    (void)state;
    if (app.worker != NULL)
        worker_drain(app.worker);
    else
        faas_service_drained();
}

static void stop(void *state)
{
    (void)state;
    worker_close(app.made, CLOSE_MS);
    if (app.kind != NULL)
        app.kind->free(app.runtime);
    child_stop_all();
    puller_free(app.images); /* it may wait for a login */
    secrets_free(app.secrets);
    image_store_close(app.store);
}

/* `faas-spawner check-native`, for `faas up`: one line of JSON. */
static int say_check(void)
{
    static const struct faas_option *const tables[] = {options, NULL};
    char name[] = "faas-spawner", *argv[] = {name, NULL};
    char program[PATH_MAX], lacks[32] = "";
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *text = NULL;
    faas_err err = {0};
    bool is_exit;
    faas_code rc = faas_options_load(tables, 1, argv, &is_exit, &err);

    if (rc == FAAS_OK)
        rc = find_program("faas-zygote", program, &err);
    if (rc == FAAS_OK)
        rc = native_check(conf.run_dir, program, lacks, &err);
    doc = rc == FAAS_OK ? json_pack("{s:b,s:s}", "fit", 1, "lacks", lacks)
                        : json_pack("{s:b,s:s}", "fit", 0, "why", err.msg);
    text = faas_json_text(doc, NULL);
    faas_options_free(tables);
    return text != NULL && puts(text) >= 0 && fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct faas_service spawner = {
        .name = "spawner",
        .description = "Runs functions in containers or sandboxes",
        .options = options,
        .endpoints = endpoints,
        .threads_default = 1,
        .start = start,
        .is_ready = is_ready,
        .fill = fill,
        .drain = drain,
        .stop = stop,
    };

    if (argc == 2 && strcmp(argv[1], "check-native") == 0)
        return say_check();
    return faas_service_main(&spawner, argc, argv);
}
