#include "tests/support/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "services/spawner/call_spec.h"
#include "tests/unit/unit.h"

#define WAIT_MS 20000
#define BUSYBOX "/bin/busybox"

struct sandbox_rig rig;
bool sandbox_is_slot, sandbox_is_outbound;
const char *sandbox_zygote, *sandbox_dns;

static const char *const names[] = {"sh",   "cat",      "echo",  "sleep", "id",   "ls",    "env",
                                    "pwd",  "hostname", "yes",   "dd",    "true", "kill",  "wc",
                                    "head", "ps",       "mount", "stat",  "test", "touch", "df",
                                    "find", "tr",       "mkdir", "ln",    "chmod"};

/* ---- the image: the puller's functions, with one image made by hand ---- */

static struct image image;
static char *layer;
static char layer_path[96];

struct image *puller_known(puller *self, const char *id)
{
    (void)self;
    return strcmp(id, "sha256:absent") != 0 ? &image : NULL;
}

faas_code puller_ask(puller *self, const struct puller_want *want, puller_wait **out_wait,
                     faas_err *err)
{
    const struct puller_answer answer = {.code = faas_fail(err, FAAS_NOT_FOUND, "no such image"),
                                         .err = err};

    (void)self, (void)out_wait;
    want->done(want->arg, &answer);
    return FAAS_OK;
}

void puller_cancel(puller_wait *wait)
{
    assert_null(wait);
}

struct image *image_ref(struct image *held)
{
    return held;
}

void image_release(struct image *held)
{
    (void)held;
}

static void copy_file(const char *from, const char *name)
{
    char to[192], buffer[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC), out;
    ssize_t len;

    (void)snprintf(to, sizeof to, "%s/bin/%s", layer_path, name);
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    if (in < 0 || out < 0)
        fail_msg("%s to %s: %s", from, to, strerror(errno));
    while ((len = read(in, buffer, sizeof buffer)) > 0)
        assert_int_equal(write(out, buffer, (size_t)len), len);
    close(in);
    close(out);
}

static void make_file(const char *name, mode_t mode, uid_t owner)
{
    char path[192];
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", layer_path, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, name, strlen(name)), strlen(name));
    assert_int_equal(fchown(fd, IMAGE_OWNER_BASE + owner, IMAGE_OWNER_BASE + owner), 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int give_to_image(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return lchown(path, IMAGE_OWNER_BASE, IMAGE_OWNER_BASE);
}

static void beside(char out[256], const char *name)
{
    ssize_t len = readlink("/proc/self/exe", out, 200);
    char *slash;

    assert_true(len > 0);
    out[len] = '\0';
    slash = strrchr(out, '/');
    (void)snprintf(slash, 50, "/../%s", name);
}

void sandbox_inside(char out_path[256])
{
    beside(out_path, "bin/faas-inside");
}

/* What an image may bring in place of what is ours: links that lead out, and a device. */
static void make_traps(void)
{
    char path[192];
    static const char *const traps[] = {"dev", "proc", "tmp"};

    for (size_t i = 0; i < FAAS_ARRAY_LEN(traps); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", layer_path, traps[i]);
        assert_int_equal(symlink("/etc", path), 0);
    }
    (void)snprintf(path, sizeof path, "%s/sys", layer_path);
    assert_int_equal(mkdir(path, 0755), 0);
    make_file("sys/of-the-image", 0644, 0);
}

static void make_image(void)
{
    char path[256];

    (void)snprintf(layer_path, sizeof layer_path, "%s/layer", rig.dir);
    layer = layer_path;
    (void)snprintf(path, sizeof path, "%s/bin", layer_path);
    assert_int_equal(mkdir(layer_path, 0755), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    copy_file(BUSYBOX, "busybox");
    for (size_t i = 0; i < FAAS_ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof path, "%s/bin/%s", layer_path, names[i]);
        assert_int_equal(symlink("busybox", path), 0);
    }
    sandbox_inside(path);
    copy_file(path, "inside");
    (void)snprintf(path, sizeof path, "%s/work", layer_path);
    assert_int_equal(mkdir(path, 0755), 0);
    make_traps();
    assert_int_equal(nftw(layer_path, give_to_image, 8, FTW_PHYS), 0);
    make_file("of-1000", 0600, 1000);
    make_file("bin/setuid", 04755, 0);
    copy_file(BUSYBOX, "setuid");
    (void)snprintf(path, sizeof path, "%s/bin/setuid", layer_path);
    assert_int_equal(chmod(path, 04755), 0);
    image = (struct image){.layer_count = 1, .layers = &layer};
    (void)snprintf(image.id, sizeof image.id, "sha256:%064d", 0);
    image.config = (struct image_config){.env = json_array(),
                                         .working_dir = strdup("/"),
                                         .user = strdup(""),
                                         .uid = IMAGE_NOBODY,
                                         .gid = IMAGE_NOBODY};
    rig.image = &image;
}

/* ---- the runtime ---- */

static bool is_settled(void *arg)
{
    (void)arg;
    return runtime_native_is_settled(rig.rt);
}

static void start(int64_t idle_ms, bool is_parked)
{
    static char program[256], outbound[256], run_dir[96];
    struct native_conf conf = {.loop = rig.loop,
                               .run_dir = run_dir,
                               .program = sandbox_zygote != NULL ? sandbox_zygote : program,
                               .outbound = sandbox_is_outbound ? outbound : NULL,
                               .dns = sandbox_dns,
                               .idle_ms = idle_ms,
                               .is_parked = is_parked};
    faas_err err = {0};

    (void)snprintf(run_dir, sizeof run_dir, "%s/run", rig.dir);
    beside(program, "bin/faas-zygote");
    beside(outbound, "bin/faas-outbound");
    if (runtime_native_new(&conf, &rig.rt, &err) != FAAS_OK)
        fail_msg("%s (%s)", err.msg, err.detail);
    runtime_native_begin(rig.rt);
    sandbox_await_true(is_settled, NULL);
    if (rig.rt->ops->usable(rig.rt, &err) != FAAS_OK)
        fail_msg("%s", err.msg);
}

static bool is_drained(void *arg)
{
    size_t left = 0;

    (void)arg;
    rig.rt->ops->drain(rig.rt, &left);
    return left == 0;
}

void sandbox_stop(void)
{
    if (rig.rt == NULL)
        return;
    sandbox_await_true(is_drained, NULL);
    runtime_native_free(rig.rt);
    rig.rt = NULL;
}

void sandbox_restart(int64_t idle_ms, bool is_parked)
{
    sandbox_stop();
    start(idle_ms, is_parked);
}

int sandbox_open(void **state)
{
    faas_err err = {0};

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    (void)umask(022);
    (void)snprintf(rig.dir, sizeof rig.dir, "/tmp/faas-sandbox.XXXXXX");
    assert_non_null(mkdtemp(rig.dir));
    assert_ok(faas_loop_new(&rig.loop, &err));
    make_image();
    start(60000, false);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

int sandbox_close(void **state)
{
    (void)state;
    sandbox_stop();
    faas_loop_free(rig.loop);
    json_decref(image.config.env);
    json_decref(image.config.entrypoint);
    json_decref(image.config.cmd);
    free(image.config.working_dir);
    free(image.config.user);
    return nftw(rig.dir, remove_one, 8, FTW_PHYS | FTW_DEPTH);
}

static void on_tick(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)timer, (void)events; /* wakes ev_run */
}

void sandbox_await_true(bool (*is_true)(void *arg), void *arg)
{
    struct ev_loop *ev = faas_loop_ev(rig.loop);
    uint64_t deadline = faas_deadline_in_ms(WAIT_MS);
    ev_timer tick;

    ev_timer_init(&tick, on_tick, 0.01, 0.01);
    ev_timer_start(ev, &tick);
    while (!is_true(arg) && faas_left_ms(deadline) > 0)
        ev_run(ev, EVRUN_ONCE);
    ev_timer_stop(ev, &tick);
    if (!is_true(arg))
        fail_msg("it did not come about in %d ms", WAIT_MS);
}

/* ---- calls ---- */

static void on_started(void *arg)
{
    ((struct sandbox_call *)arg)->has_started = true;
}

static bool on_out(void *arg, const void *data, size_t len)
{
    struct sandbox_call *call = arg;

    assert_true(call->out_len + len < SANDBOX_OUT_MAX);
    memcpy(call->out + call->out_len, data, len);
    call->out_len += len;
    call->out[call->out_len] = '\0';
    return call->on_out == NULL || call->on_out(call);
}

static bool on_err(void *arg, const void *data, size_t len)
{
    struct sandbox_call *call = arg;
    size_t room = sizeof call->err - 1 - call->err_len;

    if (len > room)
        len = room;
    memcpy(call->err + call->err_len, data, len);
    call->err_len += len;
    call->err[call->err_len] = '\0';
    return true;
}

static void on_end(void *arg, const struct rt_outcome *outcome)
{
    struct sandbox_call *call = arg;

    assert_false(call->has_ended);
    call->outcome = *outcome;
    call->has_ended = true;
    call->run = NULL;
}

void sandbox_order(struct sandbox_order *order, const char *command)
{
    char copy[1024], *save = NULL;

    (void)snprintf(copy, sizeof copy, "%s", command);
    order->command = json_array();
    for (char *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
        assert_int_equal(json_array_append_new(order->command, json_string(word)), 0);
    call_spec_defaults(&order->spec);
    order->spec.call_id = "a call";
    order->spec.tenant = "tenant-1";
    order->spec.function = "function-1";
    order->spec.is_slot = sandbox_is_slot;
    order->spec.has_network = sandbox_is_outbound;
    order->spec.command = order->command;
    order->spec.image = (struct rt_image){.reference = "image", .kind = "store", .value = image.id};
    order->spec.is_stdin = true; /* no argument at the end of the command */
    order->spec.timeout_ms = 10000;
}

void sandbox_order_done(struct sandbox_order *order)
{
    json_decref(order->command);
}

void sandbox_begin(struct sandbox_call *call, const struct rt_spec *spec)
{
    const struct rt_sink sink = {
        .started = on_started, .out = on_out, .err = on_err, .end = on_end, .arg = call};
    faas_err err = {0};
    bool (*keep)(struct sandbox_call *) = call->on_out;

    memset(call, 0, sizeof *call);
    call->on_out = keep;
    call->out = malloc(SANDBOX_OUT_MAX);
    assert_non_null(call->out);
    call->out[0] = '\0';
    if (rig.rt->ops->call(rig.rt, spec, &sink, &call->run, &err) != FAAS_OK)
        fail_msg("%s (%s)", err.msg, err.detail);
}

static bool has_ended(void *arg)
{
    return ((struct sandbox_call *)arg)->has_ended;
}

void sandbox_await(struct sandbox_call *call)
{
    sandbox_await_true(has_ended, call);
}

void sandbox_call_done(struct sandbox_call *call)
{
    free(call->out);
    call->out = NULL;
}

void sandbox_shell(struct sandbox_call *call, const char *text)
{
    struct sandbox_order order;

    sandbox_order(&order, "/bin/sh -c");
    assert_int_equal(json_array_append_new(order.command, json_string(text)), 0);
    sandbox_begin(call, &order.spec);
    sandbox_await(call);
    sandbox_order_done(&order);
}
