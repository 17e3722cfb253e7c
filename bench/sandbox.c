/* sandbox.c - what a call in a sandbox costs, through the spawner's own code, beside the least that
 * starting the same program costs: posix_spawn, a pipe, waitpid, no isolation.
 * Variants  cold (a lane, no sandbox made in advance), parked (one made in advance), floor.
 * Rounds    10 of each in turn; a pause before each call, so that what is parked is ready.
 * Output    per program: p50 and p99 of each variant; median over the rounds of the ratio to the
 *           floor's round; calls a second with 8 at once, three runs of each in turn.
 * Usage     sandbox STORE_DIR RUN_DIR ZYGOTE IMAGE PROGRAM [rounds]; IMAGE runs PROGRAM's like.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "services/spawner/call_spec.h"
#include "services/spawner/native/runtime_native.h"

#define BATCH   10
#define MOST    200 /* rounds */
#define CALLERS 8
#define LOAD_MS 1500
#define PAUSE_S 0.0015

extern char **environ;

static faas_loop *loop;
static struct ev_loop *ev;
static const char *image_name, *program;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "sandbox: %s: %s\n", what, why);
    exit(1);
}

/* ---- the floor ---- */

static void run_floor(void)
{
    char *argv[] = {(char *)(uintptr_t) "echo", (char *)(uintptr_t) "x", NULL}, text[64];
    posix_spawn_file_actions_t actions;
    size_t used = 0;
    ssize_t len;
    int pair[2], status = 0;
    pid_t pid;

    if (pipe2(pair, O_CLOEXEC) != 0)
        die("pipe", "no descriptors");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 1);
    if (posix_spawn(&pid, program, &actions, NULL, argv, environ) != 0)
        die("posix_spawn", program);
    posix_spawn_file_actions_destroy(&actions);
    close(pair[1]);
    while ((len = read(pair[0], text + used, sizeof text - used)) > 0)
        used += (size_t)len;
    close(pair[0]);
    if (waitpid(pid, &status, 0) != pid || status != 0 || used < 1 || text[0] != 'x')
        die("floor", "not the expected output");
}

/* ---- calls ---- */

struct call {
    struct runtime *rt;
    bool has_ended, is_right;
    uint64_t again_until_ns; /* begins the next one until then; 0: does not */
    size_t count;
};

static void begin(struct call *call);

static void on_started(void *arg)
{
    (void)arg;
}

static bool on_out(void *arg, const void *data, size_t len)
{
    ((struct call *)arg)->is_right = len >= 1 && memcmp(data, "x", 1) == 0;
    return true;
}

static void on_err(void *arg, const void *data, size_t len)
{
    (void)arg;
    fprintf(stderr, "%.*s\n", (int)len, (const char *)data);
}

static void on_end(void *arg, const struct rt_outcome *outcome)
{
    struct call *call = arg;

    if (outcome->code != FAAS_OK || !call->is_right)
        die("call", outcome->detail);
    call->has_ended = true;
    call->count++;
    if (call->again_until_ns > faas_now_ns())
        begin(call);
}

static void begin(struct call *call)
{
    const struct rt_sink sink = {
        .started = on_started, .out = on_out, .err = on_err, .end = on_end, .arg = call};
    struct rt_spec spec;
    struct rt_call *run;
    faas_err err = {0};

    call_spec_defaults(&spec);
    spec.call_id = "bench";
    spec.tenant = "bench";
    spec.image.reference = image_name;
    spec.argument = "x";
    spec.argument_len = 1;
    spec.cpus = 2;
    call->has_ended = call->is_right = false;
    if (call->rt->ops->call(call->rt, &spec, &sink, &run, &err) != FAAS_OK)
        die("call", err.msg);
}

static void run_call(struct runtime *rt)
{
    struct call call = {.rt = rt};

    begin(&call);
    while (!call.has_ended)
        ev_run(ev, EVRUN_ONCE);
}

/* ---- one call at a time ---- */

enum variant { FLOOR, COLD, PARKED, VARIANTS };
static const char *const names[] = {"floor", "cold", "parked"};
static struct runtime *runtimes[VARIANTS];
static double took_us[VARIANTS][MOST * BATCH];
static double ratios[VARIANTS][MOST];

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double at_part(double *values, size_t count, double part)
{
    qsort(values, count, sizeof *values, by_value);
    return values[(size_t)(part * (double)(count - 1))];
}

static void on_pause(struct ev_loop *unused, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(unused, EVBREAK_ONE);
}

static void rest(double seconds)
{
    ev_timer timer;

    ev_now_update(ev);
    ev_timer_init(&timer, on_pause, seconds, 0.0);
    ev_timer_start(ev, &timer);
    ev_run(ev, 0);
}

static double one(enum variant which)
{
    uint64_t from;

    rest(PAUSE_S);
    from = faas_now_ns();
    if (which == FLOOR)
        run_floor();
    else
        run_call(runtimes[which]);
    return (double)(faas_now_ns() - from) / 1e3;
}

static void latency(size_t rounds)
{
    double median[VARIANTS];

    for (size_t r = 0; r < rounds; r++) {
        for (int v = 0; v < VARIANTS; v++) {
            double batch[BATCH];

            for (size_t i = 0; i < BATCH; i++)
                batch[i] = took_us[v][r * BATCH + i] = one((enum variant)v);
            median[v] = at_part(batch, BATCH, 0.5);
        }
        for (int v = 0; v < VARIANTS; v++)
            ratios[v][r] = median[v] / median[FLOOR];
    }
    for (int v = 0; v < VARIANTS; v++) {
        size_t count = rounds * BATCH;
        double p99_floor = at_part(took_us[FLOOR], count, 0.99),
               p99 = at_part(took_us[v], count, 0.99);

        printf("  %-7s p50 %7.0f us  p99 %7.0f us  %4.2fx of the floor (rounds from %.2f to %.2f), "
               "p99 %4.2fx\n",
               names[v], at_part(took_us[v], count, 0.5), p99, at_part(ratios[v], rounds, 0.5),
               at_part(ratios[v], rounds, 0.1), at_part(ratios[v], rounds, 0.9), p99 / p99_floor);
    }
}

/* ---- eight at once ---- */

static void *floor_thread(void *arg)
{
    uint64_t until = faas_now_ns() + LOAD_MS * FAAS_MS_NS;
    size_t *count = arg;

    for (; faas_now_ns() < until; ++*count)
        run_floor();
    return NULL;
}

static double load_floor(void)
{
    pthread_t threads[CALLERS];
    size_t counts[CALLERS] = {0}, sum = 0;
    uint64_t from = faas_now_ns();

    for (int i = 0; i < CALLERS; i++)
        if (pthread_create(&threads[i], NULL, floor_thread, &counts[i]) != 0)
            die("thread", "cannot be made");
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        sum += counts[i];
    }
    return (double)sum * 1e9 / (double)(faas_now_ns() - from);
}

static double load_runtime(struct runtime *rt)
{
    struct call calls[CALLERS] = {{.rt = NULL}};
    uint64_t from = faas_now_ns();
    size_t sum = 0;
    bool is_busy = true;

    for (int i = 0; i < CALLERS; i++) {
        calls[i] = (struct call){.rt = rt, .again_until_ns = from + LOAD_MS * FAAS_MS_NS};
        begin(&calls[i]);
    }
    while (is_busy) {
        ev_run(ev, EVRUN_ONCE);
        is_busy = false;
        for (int i = 0; i < CALLERS; i++)
            is_busy |= !calls[i].has_ended;
    }
    for (int i = 0; i < CALLERS; i++)
        sum += calls[i].count;
    return (double)sum * 1e9 / (double)(faas_now_ns() - from);
}

static void throughput(void)
{
    double rates[VARIANTS][3], ratio[3];

    for (int v = COLD; v < VARIANTS; v++)
        (void)load_runtime(runtimes[v]); /* lanes are there then */
    for (int r = 0; r < 3; r++)
        for (int v = 0; v < VARIANTS; v++)
            rates[v][r] = v == FLOOR ? load_floor() : load_runtime(runtimes[v]);
    for (int v = 0; v < VARIANTS; v++) {
        for (int r = 0; r < 3; r++)
            ratio[r] = rates[v][r] / rates[FLOOR][r];
        printf("  %-7s %6.0f calls/s with %d at once, %.2f of the floor\n", names[v],
               at_part(rates[v], 3, 0.5), CALLERS, at_part(ratio, 3, 0.5));
    }
}

/* ---- life ---- */

static struct runtime *open_runtime(struct native_conf *conf, bool is_parked)
{
    struct runtime *rt;
    faas_err err = {0};

    conf->is_parked = is_parked;
    if (runtime_native_new(conf, &rt, &err) != FAAS_OK)
        die(err.msg, err.detail);
    runtime_native_begin(rt);
    while (!runtime_native_is_settled(rt))
        ev_run(ev, EVRUN_ONCE);
    if (rt->ops->usable(rt, &err) != FAAS_OK)
        die("runtime", err.msg);
    return rt;
}

static void close_runtime(struct runtime *rt)
{
    size_t left;

    for (rt->ops->drain(rt, &left); left > 0; rt->ops->drain(rt, &left))
        ev_run(ev, EVRUN_ONCE);
    runtime_native_free(rt);
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 6 ? strtoul(argv[6], NULL, 10) : 40;
    struct native_conf conf = {.idle_ms = 60000};
    faas_err err = {0};

    if (argc < 6 || rounds < 3 || rounds > MOST)
        die("usage", "sandbox STORE_DIR RUN_DIR ZYGOTE IMAGE PROGRAM [rounds, 3 to 200]");
    signal(SIGPIPE, SIG_IGN);
    if (faas_loop_new(&loop, &err) != FAAS_OK ||
        image_store_open(&conf.store, argv[1], &err) != FAAS_OK)
        die(err.msg, err.detail);
    ev = faas_loop_ev(loop);
    conf.loop = loop;
    conf.run_dir = argv[2];
    conf.program = argv[3];
    image_name = argv[4];
    program = argv[5];
    for (int v = COLD; v < VARIANTS; v++) {
        runtimes[v] = open_runtime(&conf, v == PARKED);
        for (int i = 0; i < 3 * BATCH; i++)
            run_call(runtimes[v]);
    }
    printf("%s\n", image_name);
    latency(rounds);
    throughput();
    for (int v = COLD; v < VARIANTS; v++)
        close_runtime(runtimes[v]);
    image_store_close(conf.store);
    faas_loop_free(loop);
    return 0;
}
