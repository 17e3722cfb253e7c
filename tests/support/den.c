#include "tests/support/den.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/engine.h"
#include "tests/support/nats.h"
#include "tests/unit/unit.h"

#define READY_MS 10000

struct den den;

static struct nats *nats;
static char data_dir[] = "/tmp/faas-spawner-XXXXXX";

/* ---- processes ---- */

pid_t den_spawner_start(const char *id, const char *const *settings)
{
    const char *build = getenv("FAAS_BUILD");
    char program[200];
    pid_t pid;

    (void)snprintf(program, sizeof program, "%s/bin/faas-spawner",
                   build != NULL ? build : "build/release");
    pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("NATS_URL", nats_urls(nats), 1);
    setenv("INSTANCE_ID", id, 1);
    setenv("DATA_DIR", data_dir, 1);
    setenv("CLUSTER", den.cluster, 1);
    setenv("SPAWNER_RUNTIME", "docker", 1);
    setenv("LOG_LEVEL", getenv("FAAS_TEST_LOG") != NULL ? "debug" : "error", 1);
    for (; settings != NULL && *settings != NULL; settings += 2)
        setenv(settings[0], settings[1], 1);
    execl(program, "faas-spawner", (char *)NULL);
    _exit(127);
}

void den_await_ready(const char *id)
{
    uint64_t deadline = faas_deadline_in_ms(READY_MS);
    bool is_ready = false;

    while (!is_ready && faas_left_ms(deadline) > 0) {
        FAAS_AUTO(json_t) *beat = caller_beat(den.caller, id, 5000);
        const char *state = json_string_value(json_object_get(beat, "state"));
        const struct timespec pause = {.tv_nsec = 20000000};

        is_ready = state != NULL && strcmp(state, "ready") == 0;
        nanosleep(&pause, NULL);
    }
    assert_true(is_ready);
}

int den_await_exit(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void den_resolve(const char *image, char out_id[80])
{
    FAAS_AUTO(json_t) *question = json_pack("{s:i,s:s}", "v", 1, "image", image);
    FAAS_AUTO(json_t) *reply = caller_ask(den.caller, "s1", "resolve", question);
    const char *id = json_string_value(json_object_get(json_object_get(reply, "digest"), "value"));

    assert_non_null(id);
    (void)snprintf(out_id, 80, "%s", id);
}

int den_open(void **state)
{
    (void)state;
    test_engine_start();
    nats = nats_start(1, NULL);
    assert_non_null(mkdtemp(data_dir));
    (void)snprintf(den.cluster, sizeof den.cluster, "test-%d", (int)getpid());
    den.caller = caller_open(nats_urls(nats), "tester");
    den.spawner = den_spawner_start("s1", NULL);
    den_await_ready("s1");
    den_resolve(DEN_FAIL, den.fail_id);
    den_resolve(DEN_ECHO, den.echo_id);
    return 0;
}

int den_close(void **state)
{
    (void)state;
    if (den.spawner > 0) {
        kill(den.spawner, SIGTERM);
        (void)den_await_exit(den.spawner);
    }
    caller_close(den.caller);
    nats_stop(nats);
    test_engine_stop();
    (void)rmdir(data_dir);
    return 0;
}

/* ---- calls ---- */

/* more: further fields of the envelope as JSON text, or NULL. */
json_t *den_meta(const char *reference, const char *id, const char *more)
{
    json_t *meta = caller_meta(reference, "docker-id", id);
    FAAS_AUTO(json_t) *extra = more != NULL ? json_loads(more, 0, NULL) : NULL;

    assert_non_null(meta);
    if (more != NULL) {
        assert_non_null(extra);
        json_object_update(meta, extra);
    }
    return meta;
}

void den_call(const char *argument, const char *more, struct caller_result *out)
{
    FAAS_AUTO(json_t) *meta = den_meta(DEN_FAIL, den.fail_id, more);
    const struct caller_order order = {.spawner = "s1",
                                       .meta = meta,
                                       .argument = argument,
                                       .argument_len = strlen(argument),
                                       .awaits_events = true};

    caller_run(den.caller, &order, out);
    if (out->end == NULL)
        fail_msg("%s: no end%s", argument, out->is_busy ? ", busy" : "");
    assert_false(out->is_broken);
}

const char *den_text(const json_t *doc, const char *field)
{
    const char *text = json_string_value(json_object_get(doc, field));

    return text != NULL ? text : "";
}

void den_assert_gone(const char *label, const char *value, int64_t ms)
{
    uint64_t deadline = faas_deadline_in_ms(ms);
    bool is_gone = false;

    while (!is_gone) {
        FAAS_AUTO(char) *ids = test_containers(label, value);

        is_gone = ids[0] == '\0';
        if (!is_gone && faas_left_ms(deadline) == 0)
            fail_msg("containers of %s=%s are still there: %s", label, value, ids);
    }
}

/* "docker ps" lists what the engine wrote down, which trails what it knows: ask for the state. */
void den_assert_stopped(const char *id)
{
    FAAS_AUTO(char) *container = test_containers("faas.call", id);
    const char *const argv[] = {"docker", "inspect", "-f", "{{.State.Running}}", container, NULL};
    FAAS_AUTO(char) *is_running = NULL;

    container[strcspn(container, "\n")] = '\0';
    if (container[0] != '\0')
        is_running = test_run(argv);
    if (is_running != NULL) /* else it was removed */
        assert_string_equal(is_running, "false");
}

static void *sleeper_run(void *arg)
{
    struct sleeper *self = arg;
    FAAS_AUTO(json_t) *meta = den_meta(DEN_FAIL, den.fail_id, self->more);
    const struct caller_order order = {.spawner = self->spawner != NULL ? self->spawner : "s1",
                                       .meta = meta,
                                       .id = self->id,
                                       .argument = self->argument,
                                       .argument_len = strlen(self->argument),
                                       .wait_ms = self->wait_ms,
                                       .is_deaf = self->is_deaf,
                                       .ignores_end = self->ignores_end,
                                       .started = self->started,
                                       .arg = self->arg};

    caller_run(den.caller, &order, &self->result);
    return NULL;
}

void sleeper_start(struct sleeper *self)
{
    if (self->argument == NULL)
        self->argument = "sleep 60000";
    faas_uuid_new(self->id);
    assert_int_equal(pthread_create(&self->thread, NULL, sleeper_run, self), 0);
}

void sleeper_await_container(const struct sleeper *self)
{
    uint64_t deadline = faas_deadline_in_ms(20000);

    for (bool is_there = false; !is_there;) {
        FAAS_AUTO(char) *ids = test_containers("faas.call", self->id);

        is_there = ids[0] != '\0';
        assert_true(faas_left_ms(deadline) > 0);
    }
}

void sleeper_join(struct sleeper *self)
{
    assert_int_equal(pthread_join(self->thread, NULL), 0);
}
