#include "bench/rig.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "services/spawner/call_spec.h"

#define CALLERS_MAX 64
#define IDLE_MS     60000

extern char **environ;

static faas_loop *loop;
static struct ev_loop *ev;
static struct image_store *store;
static struct native_conf conf = {.idle_ms = IDLE_MS};

void rig_die(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

double rig_now_us(void)
{
    return (double)faas_now_ns() / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

double rig_part(double *values, size_t count, double part)
{
    qsort(values, count, sizeof *values, by_value);
    return values[(size_t)(part * (double)(count - 1))];
}

/* ---- the floor ---- */

void rig_spawn(char *const argv[], char expect)
{
    posix_spawn_file_actions_t actions;
    char text[4096], first = 0;
    ssize_t len;
    int pair[2], status = 0;
    pid_t pid;

    if (pipe2(pair, O_CLOEXEC) != 0)
        rig_die("pipe", "no descriptors");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 1);
    if (posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) != 0)
        rig_die("posix_spawn", argv[0]);
    posix_spawn_file_actions_destroy(&actions);
    close(pair[1]);
    while ((len = read(pair[0], text, sizeof text)) > 0)
        if (first == 0)
            first = text[0];
    close(pair[0]);
    if (waitpid(pid, &status, 0) != pid || status != 0 || first != expect)
        rig_die(argv[0], "not the expected output");
}

/* ---- calls ---- */

struct call {
    struct rig *rig;
    bool has_ended, is_right;
    uint64_t again_until_ns; /* begins the next one until then; 0: does not */
    size_t *left, count;     /* left: how many more may begin, of all callers; NULL: no bound */
};

static void begin(struct call *call);

static void on_started(void *arg)
{
    (void)arg;
}

static bool on_out(void *arg, const void *data, size_t len)
{
    struct call *call = arg;

    call->is_right |= len >= 1 && *(const char *)data == call->rig->expect;
    return true;
}

static bool on_err(void *arg, const void *data, size_t len)
{
    (void)arg;
    fprintf(stderr, "%.*s\n", (int)len, (const char *)data);
    return true;
}

static void on_end(void *arg, const struct rt_outcome *outcome)
{
    struct call *call = arg;

    if (outcome->code != FAAS_OK || !call->is_right)
        rig_die("call", outcome->code != FAAS_OK ? outcome->detail : "not the expected output");
    call->has_ended = true;
    call->count++;
    if (call->again_until_ns > faas_now_ns() && (call->left == NULL || *call->left > 0)) {
        if (call->left != NULL)
            --*call->left;
        begin(call);
    }
}

static void begin(struct call *call)
{
    const struct rt_sink sink = {
        .started = on_started, .out = on_out, .err = on_err, .end = on_end, .arg = call};
    struct runtime *rt = call->rig->rt;
    struct rt_spec spec;
    struct rt_call *run;
    faas_err err = {0};

    call_spec_defaults(&spec);
    spec.call_id = "bench";
    spec.tenant = "bench";
    spec.image = (struct rt_image){
        .reference = call->rig->image, .kind = "store", .value = call->rig->image_id};
    spec.argument = "x";
    spec.argument_len = 1;
    spec.cpus = 2;
    spec.is_slot = call->rig->is_slot;
    call->has_ended = call->is_right = false;
    if (rt->ops->call(rt, &spec, &sink, &run, &err) != FAAS_OK)
        rig_die("call", err.msg);
}

void rig_call(struct rig *rig)
{
    struct call call = {.rig = rig};

    begin(&call);
    while (!call.has_ended)
        ev_run(ev, EVRUN_ONCE);
}

size_t rig_load(struct rig *rig, int callers, double seconds, size_t most)
{
    uint64_t until = faas_now_ns() + (uint64_t)(seconds * 1e9);
    size_t left = most - (size_t)callers, sum = 0;
    struct call calls[CALLERS_MAX];
    bool is_busy = true;

    if (callers > CALLERS_MAX || most < (size_t)callers)
        rig_die("load", "too many callers");
    for (int i = 0; i < callers; i++) {
        calls[i] = (struct call){.rig = rig, .again_until_ns = until, .left = &left};
        begin(&calls[i]);
    }
    while (is_busy) {
        ev_run(ev, EVRUN_ONCE);
        is_busy = false;
        for (int i = 0; i < callers; i++)
            is_busy |= !calls[i].has_ended;
    }
    for (int i = 0; i < callers; i++)
        sum += calls[i].count;
    return sum;
}

static void on_rested(struct ev_loop *unused, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(unused, EVBREAK_ONE);
}

void rig_rest(double seconds)
{
    ev_timer timer;

    ev_now_update(ev);
    ev_timer_init(&timer, on_rested, seconds, 0.0);
    ev_timer_start(ev, &timer);
    ev_run(ev, 0);
}

/* ---- life ---- */

void rig_begin(const struct rig_place *place)
{
    struct puller_conf images = {.parallel = 1, .keep_ms = 3600000};
    faas_err err = {0};

    signal(SIGPIPE, SIG_IGN);
    if (faas_loop_new(&loop, &err) != FAAS_OK ||
        image_store_open(&store, place->store_dir, &err) != FAAS_OK)
        rig_die(err.msg, err.detail);
    ev = faas_loop_ev(loop);
    images.loop = loop;
    images.sources.store = store;
    if (puller_new(&images, &conf.images, &err) != FAAS_OK)
        rig_die(err.msg, err.detail);
    conf.loop = loop;
    conf.run_dir = place->run_dir;
    conf.program = place->zygote;
}

void rig_end(void)
{
    puller_free(conf.images);
    image_store_close(store);
    faas_loop_free(loop);
}

static void on_resolved(void *arg, faas_code code, const json_t *reply, const faas_err *err)
{
    struct rig *rig = arg;

    if (code != FAAS_OK)
        rig_die(rig->image, err->msg);
    (void)snprintf(rig->image_id, sizeof rig->image_id, "%s",
                   json_string_value(json_object_get(json_object_get(reply, "digest"), "value")));
}

void rig_open(struct rig *rig, const char *image, char expect, bool is_parked)
{
    faas_err err = {0};

    conf.is_parked = is_parked;
    *rig = (struct rig){.image = image, .expect = expect};
    if (runtime_native_new(&conf, &rig->rt, &err) != FAAS_OK)
        rig_die(err.msg, err.detail);
    runtime_native_begin(rig->rt);
    while (!runtime_native_is_settled(rig->rt))
        ev_run(ev, EVRUN_ONCE);
    if (rig->rt->ops->usable(rig->rt, &err) != FAAS_OK)
        rig_die("runtime", err.msg);
    rig->image_id[0] = '\0';
    rig->rt->ops->resolve(rig->rt, &(struct rt_image){.reference = image}, 0, on_resolved, rig);
    while (rig->image_id[0] == '\0')
        ev_run(ev, EVRUN_ONCE);
}

void rig_close(struct rig *rig)
{
    size_t left;

    for (rig->rt->ops->drain(rig->rt, &left); left > 0; rig->rt->ops->drain(rig->rt, &left))
        ev_run(ev, EVRUN_ONCE);
    runtime_native_free(rig->rt);
    rig->rt = NULL;
}
