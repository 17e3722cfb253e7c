/* A spawner with SPAWNER_RUNTIME=native, from the bus: a folder becomes an image, the image is
 * resolved, calls of it run in sandboxes; what a killed spawner leaves is gone after the next start. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/caller.h"
#include "tests/support/nats.h"
#include "tests/support/program.h"
#include "tests/unit/unit.h"

#define SLOTS 8
#define EACH  16 /* calls of each: in all far more than may wait for their receiver */

static struct {
    struct nats *nats;
    struct caller *caller;
    pid_t spawner;
    char dir[64], bin[256], epoch[64]; /* of the life that is ready */
    json_t *digest;                    /* of the image */
} self;

static const char *text(const json_t *doc, const char *field)
{
    const char *value = json_string_value(json_object_get(doc, field));

    return value != NULL ? value : "";
}

static void start_spawner(const char *runtime)
{
    char settings[7][160], log[96];
    const char *list[] = {settings[0], settings[1], settings[2], settings[3],
                          settings[4], settings[5], settings[6], NULL};

    (void)snprintf(settings[0], sizeof settings[0], "NATS_URL=%s", nats_urls(self.nats));
    (void)snprintf(settings[1], sizeof settings[1], "INSTANCE_ID=s1");
    (void)snprintf(settings[2], sizeof settings[2], "SPAWNER_RUNTIME=%s", runtime);
    (void)snprintf(settings[3], sizeof settings[3], "SPAWNER_IMAGES=%s/images", self.dir);
    (void)snprintf(settings[4], sizeof settings[4], "SPAWNER_RUN_DIR=%s/run", self.dir);
    (void)snprintf(settings[5], sizeof settings[5], "DATA_DIR=%s", self.dir);
    (void)snprintf(settings[6], sizeof settings[6], "SPAWNER_SLOTS=%d", SLOTS);
    (void)snprintf(log, sizeof log, "%s/log", self.dir);
    self.spawner = program_start("spawner", list, log);
}

static json_t *resolve(const char *image)
{
    FAAS_AUTO(json_t) *question = json_pack("{s:i,s:s}", "v", 1, "image", image);

    return caller_ask(self.caller, "s1", "resolve", question);
}

/* From when on it takes calls: its sandbox could be made. */
static void await_ready(void)
{
    uint64_t deadline = faas_deadline_in_ms(20000);
    bool is_ready = false;

    while (!is_ready && faas_left_ms(deadline) > 0) {
        FAAS_AUTO(json_t) *beat = caller_beat(self.caller, "s1", 5000);

        is_ready = strcmp(text(beat, "state"), "ready") == 0 &&
                   strcmp(text(beat, "epoch"), self.epoch) != 0;
        if (is_ready)
            (void)snprintf(self.epoch, sizeof self.epoch, "%s", text(beat, "epoch"));
        (void)usleep(20000);
    }
    assert_true(is_ready);
}

static void pack(const char *from, const char *tag)
{
    char program[300], entrypoint[300];
    const char *argv[] = {program,        "image",    "pack",   from,     "--tag", tag,
                          "--entrypoint", entrypoint, "--data", self.dir, NULL};
    int status = 0;
    pid_t pid;

    (void)snprintf(program, sizeof program, "%s/faas", self.bin);
    (void)snprintf(entrypoint, sizeof entrypoint, "/bin/busybox");
    assert_int_equal(
        posix_spawn(&pid, program, NULL, NULL, (char *const *)(uintptr_t)argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void make_folder(char out_path[160])
{
    char program[256], bytes[65536];
    ssize_t len;
    int in, out;

    (void)snprintf(out_path, 160, "%s/folder", self.dir);
    assert_int_equal(mkdir(out_path, 0755), 0);
    (void)snprintf(program, sizeof program, "%s/bin", out_path);
    assert_int_equal(mkdir(program, 0755), 0);
    (void)snprintf(program, sizeof program, "%s/bin/busybox", out_path);
    in = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
    out = open(program, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    assert_true(in >= 0 && out >= 0);
    while ((len = read(in, bytes, sizeof bytes)) > 0)
        assert_int_equal(write(out, bytes, (size_t)len), len);
    close(in);
    close(out);
}

static int open_all(void **state)
{
    const char *build = getenv("FAAS_BUILD");
    FAAS_AUTO(json_t) *reply = NULL;
    char folder[160];

    (void)state;
    (void)snprintf(self.dir, sizeof self.dir, "/tmp/faas-native.XXXXXX");
    assert_non_null(mkdtemp(self.dir));
    (void)snprintf(self.bin, sizeof self.bin, "%s/bin", build != NULL ? build : "build/release");
    make_folder(folder);
    pack(folder, "box:1");
    self.nats = nats_start(1, NULL);
    self.caller = caller_open(nats_urls(self.nats), "tester");
    start_spawner("native");
    await_ready();
    reply = resolve("box:1");
    self.digest = json_incref(json_object_get(reply, "digest"));
    assert_string_equal(text(self.digest, "kind"), "store");
    assert_string_equal(text(reply, "reference"), "docker.io/library/box:1");
    return 0;
}

static int close_all(void **state)
{
    const char *argv[] = {"rm", "-rf", self.dir, NULL};
    pid_t pid;

    (void)state;
    if (self.spawner > 0)
        (void)program_stop(self.spawner, SIGTERM, 20000);
    json_decref(self.digest);
    caller_close(self.caller);
    nats_stop(self.nats);
    if (posix_spawnp(&pid, "rm", NULL, NULL, (char *const *)(uintptr_t)argv, environ) == 0)
        (void)waitpid(pid, NULL, 0);
    return 0;
}

static void call(const char *applet, const char *argument, const char *isolation,
                 struct caller_result *out)
{
    FAAS_AUTO(json_t) *meta = caller_meta("box:1", "store", text(self.digest, "value"));
    FAAS_AUTO(json_t) *command = json_pack("[s]", applet);
    const struct caller_order order = {.spawner = "s1",
                                       .meta = meta,
                                       .argument = argument,
                                       .argument_len = strlen(argument),
                                       .awaits_events = true};

    assert_int_equal(json_object_set(json_object_get(meta, "image"), "command", command), 0);
    assert_int_equal(json_object_set_new(meta, "isolation", json_string(isolation)), 0);
    caller_run(self.caller, &order, out);
}

static void assert_out(const struct caller_result *got, const char *expected)
{
    assert_int_equal(got->out_len, strlen(expected));
    assert_memory_equal(got->out, expected, got->out_len);
}

/* ---- claims ---- */

static void a_packed_folder_runs_in_a_sandbox(void **state)
{
    struct caller_result got;

    (void)state;
    for (int i = 0; i < 5; i++) {
        call("echo", "hello", "sandbox", &got);
        assert_string_equal(text(got.end, "code"), "ok");
        assert_out(&got, "hello\n");
        caller_result_done(&got);
    }
    call("sleep", "0.2", "sandbox", &got); /* longer than FAAS_ACCEPT_AFTER_MS */
    assert_string_equal(text(got.end, "code"), "ok");
    assert_true(got.has_started && got.has_accept_event && got.has_accept_frame);
    caller_result_done(&got);
    call("nothing-of-that-name", "x", "sandbox", &got);
    assert_string_equal(text(got.end, "code"), "function_failed");
    assert_contains(text(got.end, "stderr_tail"), "applet not found");
    caller_result_done(&got);
}

static void *call_some(void *arg)
{
    int *out_ended = arg;
    struct caller_result got;

    for (int i = 0; i < EACH; i++) {
        call("echo", "hello", "sandbox", &got);
        *out_ended += strcmp(text(got.end, "code"), "ok") == 0;
        caller_result_done(&got);
    }
    return NULL;
}

/* Their credits come several in a message; a result whose credit was not seen stays for seconds. */
static void results_that_arrived_hold_up_no_later_calls(void **state)
{
    pthread_t threads[SLOTS];
    int ended[SLOTS] = {0};

    (void)state;
    for (int i = 0; i < SLOTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_some, &ended[i]), 0);
    for (int i = 0; i < SLOTS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(ended[i], EACH);
    }
}

static void a_call_for_another_isolation_is_refused(void **state)
{
    struct caller_result got;

    (void)state;
    call("echo", "hello", "docker", &got);
    assert_true(got.is_busy);
    assert_string_equal(text(got.event, "reason"), "isolation");
    assert_contains(text(got.event, "detail"), "isolation \"sandbox\" only");
    caller_result_done(&got);
}

static void an_image_that_is_not_here_is_told(void **state)
{
    FAAS_AUTO(json_t) *reply = resolve("nothing:1");

    (void)state;
    assert_string_equal(text(reply, "code"), "unprocessable");
}

#define OFFSPRING_MAX 32

/* pidfds of one thread's children. */
static size_t children(const char *thread, int *pidfds, size_t room)
{
    char path[300];
    size_t count = 0;
    FILE *file;
    int pid;

    (void)snprintf(path, sizeof path, "/proc/%d/task/%s/children", self.spawner, thread);
    file = fopen(path, "r");
    while (file != NULL && count < room && fscanf(file, "%d", &pid) == 1) {
        pidfds[count] = (int)syscall(SYS_pidfd_open, pid, 0);
        count += pidfds[count] >= 0;
    }
    if (file != NULL)
        (void)fclose(file);
    return count;
}

/* Of the spawner's nursery and zygotes, for await_gone. */
static size_t offspring(int pidfds[OFFSPRING_MAX])
{
    const struct dirent *thread;
    char path[64];
    size_t count = 0;
    DIR *threads;

    (void)snprintf(path, sizeof path, "/proc/%d/task", self.spawner);
    threads = opendir(path);
    assert_non_null(threads);
    while ((thread = readdir(threads)) != NULL)
        count += children(thread->d_name, pidfds + count, OFFSPRING_MAX - count);
    closedir(threads);
    return count;
}

static void await_gone(int *pidfds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct pollfd end = {.fd = pidfds[i], .events = POLLIN};

        assert_int_equal(poll(&end, 1, 10000), 1);
        close(pidfds[i]);
    }
}

static void a_killed_spawner_takes_its_sandboxes_along(void **state)
{
    int pidfds[OFFSPRING_MAX];
    struct caller_result got;
    size_t count;

    (void)state;
    call("echo", "x", "sandbox", &got);
    caller_result_done(&got);
    count = offspring(pidfds);
    assert_true(count >= 2);
    assert_int_equal(program_stop(self.spawner, SIGKILL, 10000), 128 + SIGKILL);
    await_gone(pidfds, count);
    start_spawner("native");
    await_ready();
    call("echo", "again", "sandbox", &got);
    assert_out(&got, "again\n");
    caller_result_done(&got);
}

static void an_unknown_runtime_is_refused_at_the_start(void **state)
{
    int pidfds[OFFSPRING_MAX];
    size_t count = offspring(pidfds);

    (void)state;
    assert_int_equal(program_stop(self.spawner, SIGTERM, 20000), 0);
    await_gone(pidfds, count);
    start_spawner("vm");
    assert_true(program_wait(self.spawner, 20000) > 0);
    self.spawner = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packed_folder_runs_in_a_sandbox),
        cmocka_unit_test(results_that_arrived_hold_up_no_later_calls),
        cmocka_unit_test(a_call_for_another_isolation_is_refused),
        cmocka_unit_test(an_image_that_is_not_here_is_told),
        cmocka_unit_test(a_killed_spawner_takes_its_sandboxes_along),
        cmocka_unit_test(an_unknown_runtime_is_refused_at_the_start),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
