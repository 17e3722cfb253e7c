/* The service skeleton as a real program: start, health, drain, loss of the bus, ADR-32. */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/support/program.h"
#include "tests/unit/unit.h"

#define LONG_MS 15000

static struct nats *nats;
static struct process client;
static char dir[] = "/tmp/faas-test-service-XXXXXX";
static char log_file[128];

static int start(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    nats = nats_start(1, NULL);
    process_start(&client,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "client", .id = "c1"});
    return 0;
}

static int stop(void **state)
{
    char command[64];

    (void)state;
    process_stop(&client, NULL, NULL);
    nats_stop(nats);
    (void)snprintf(command, sizeof command, "%s", dir);
    if (fork() == 0) {
        execlp("rm", "rm", "-rf", "--", command, (char *)NULL);
        _exit(127);
    }
    (void)wait(NULL);
    return 0;
}

/* ---- a program ---- */

struct echo {
    const char *id, *urls; /* urls NULL: the server of this test */
    const char *more[4];   /* further settings, NULL ends */
};

static pid_t launch(const struct echo *echo)
{
    char url[512], id[64], data[128];
    const char *settings[12] = {url, id, data, "LOG_LEVEL=info"};
    size_t n = 4;

    (void)snprintf(url, sizeof url, "NATS_URL=%s",
                   echo->urls != NULL ? echo->urls : nats_urls(nats));
    (void)snprintf(id, sizeof id, "INSTANCE_ID=%s", echo->id);
    (void)snprintf(data, sizeof data, "DATA_DIR=%s/data/%s", dir, echo->id);
    (void)snprintf(log_file, sizeof log_file, "%s/%s.log", dir, echo->id);
    for (size_t i = 0; i < 4 && echo->more[i] != NULL; i++)
        settings[n++] = echo->more[i];
    return program_start("echo", settings, log_file);
}

static bool log_has(void *arg)
{
    char line[4096];
    FILE *log = fopen(log_file, "re");
    bool is_there = false;

    while (log != NULL && !is_there && fgets(line, sizeof line, log) != NULL)
        is_there = strstr(line, arg) != NULL;
    if (log != NULL)
        (void)fclose(log);
    return is_there;
}

static void wait_log(const char *text)
{
    char part[128];

    (void)snprintf(part, sizeof part, "%s", text);
    wait_until(log_has, part, LONG_MS, text);
}

/* ---- asking ---- */

static faas_code ask_with(const char *subject, const char *body, enum faas_rpc_retry retry,
                          json_t **out_doc, faas_err *err)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(LONG_MS)};
    struct faas_rpc_request req = {
        .subject = subject, .ctx = &ctx, .data = body, .len = strlen(body), .retry = retry};
    FAAS_AUTO(faas_msg) *msg = NULL;

    FAAS_TRY(faas_rpc_wait(client.rpc, &req, &msg, err));
    if (out_doc != NULL)
        *out_doc = json_loadb(faas_msg_data(msg), faas_msg_len(msg), 0, NULL);
    return FAAS_OK;
}

static faas_code ask(const char *subject, faas_err *err)
{
    return ask_with(subject, "{}", FAAS_RPC_ONCE, NULL, err);
}

static bool is_healthy(void *arg)
{
    faas_err err = {0};

    (void)arg;
    return ask("faas.echo.health", &err) == FAAS_OK;
}

static bool answers_probe(void *arg)
{
    faas_err err = {0};

    return ask(arg, &err) == FAAS_OK;
}

/* ---- the claims ---- */

static void a_running_service_is_healthy_and_says_its_epoch(void **state)
{
    pid_t pid = launch(&(struct echo){.id = "a1"});
    FAAS_AUTO(json_t) *first = NULL;
    FAAS_AUTO(json_t) *second = NULL;
    faas_err err = {0};
    struct stat st;
    char path[128];

    (void)state;
    wait_until(is_healthy, NULL, LONG_MS, "health");
    assert_ok(ask_with("faas.echo.i.a1.probe", "{}", FAAS_RPC_SAFE, &first, &err));
    assert_int_equal(strlen(json_string_value(json_object_get(first, "epoch"))), 32);
    (void)snprintf(path, sizeof path, "%s/data/a1", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 0);
    pid = launch(&(struct echo){.id = "a1"});
    assert_ok(ask_with("faas.echo.i.a1.probe", "{}", FAAS_RPC_SAFE, &second, &err));
    assert_string_not_equal(json_string_value(json_object_get(first, "epoch")),
                            json_string_value(json_object_get(second, "epoch")));
    assert_int_equal(program_stop(pid, SIGINT, LONG_MS), 0);
}

static void a_starting_service_answers_probes_and_is_not_healthy(void **state)
{
    pid_t pid = launch(&(struct echo){.id = "b1", .more = {"ECHO_START_MS=60000"}});
    char probe[] = "faas.echo.i.b1.probe";
    uint64_t began;
    faas_err err = {0};

    (void)state;
    wait_until(answers_probe, probe, LONG_MS, "the probe");
    assert_int_equal(ask("faas.echo.health", &err), FAAS_UNAVAILABLE);
    assert_string_equal(err.msg, "echo is not ready");
    assert_int_equal(ask("faas.echo.echo", &err), FAAS_UNAVAILABLE); /* not served yet */
    began = faas_now_ns();
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 1); /* its start does not end */
    assert_true(faas_now_ns() < began + 12 * FAAS_S_NS);
}

static void a_failing_start_ends_with_1_and_says_why(void **state)
{
    pid_t pid = launch(&(struct echo){.id = "c1", .more = {"ECHO_FAIL=yes"}});

    (void)state;
    assert_int_equal(program_wait(pid, LONG_MS), 1);
    wait_log("told to fail");
}

static void a_bad_setting_ends_with_1_and_is_named(void **state)
{
    pid_t pid = launch(&(struct echo){.id = "NOT-AN-ID"});

    (void)state;
    assert_int_equal(program_wait(pid, LONG_MS), 1);
    wait_log("INSTANCE_ID");
    pid = launch(&(struct echo){.id = "c2", .more = {"REPLICAS=9"}});
    assert_int_equal(program_wait(pid, LONG_MS), 1);
    wait_log("REPLICAS");
}

static _Atomic int slow_code; /* -1 while there is no answer */

static void on_slow_answer(void *arg, const struct faas_rpc_reply *reply)
{
    (void)arg;
    atomic_store(&slow_code, (int)reply->code);
}

static bool has_slow_answer(void *arg)
{
    (void)arg;
    return atomic_load(&slow_code) >= 0;
}

/* A request that takes ms, running when this returns. */
static void begin_slow(int ms)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(LONG_MS)};
    char body[32];
    struct faas_rpc_request req = {.subject = "faas.echo.slow", .ctx = &ctx, .data = body};
    faas_err err = {0};

    (void)snprintf(body, sizeof body, "{\"ms\":%d}", ms);
    req.len = strlen(body);
    atomic_store(&slow_code, -1);
    faas_rpc_call(client.rpc, &req, on_slow_answer, NULL);
    assert_ok(ask("faas.echo.echo", &err)); /* came behind it on the same connection */
}

static void sigterm_answers_what_runs_and_ends_with_0(void **state)
{
    pid_t pid = launch(&(struct echo){.id = "d1"});

    (void)state;
    wait_until(is_healthy, NULL, LONG_MS, "health");
    begin_slow(700);
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 0);
    wait_until(has_slow_answer, NULL, LONG_MS, "the answer");
    assert_int_equal(atomic_load(&slow_code), FAAS_OK);
    test_promise(44, "0 of 1 running requests lost at SIGTERM, exit status 0");
}

static void a_second_signal_ends_at_once_with_1(void **state)
{
    pid_t pid = launch(&(struct echo){.id = "e9"});
    uint64_t began;

    (void)state;
    wait_until(is_healthy, NULL, LONG_MS, "health");
    begin_slow(5000);
    assert_int_equal(kill(pid, SIGTERM), 0);
    wait_log("draining");
    began = faas_now_ns();
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 1);
    assert_true(faas_now_ns() < began + 2 * FAAS_S_NS);
    wait_until(has_slow_answer, NULL, 2 * LONG_MS, "the end of the request");
}

static void draining_is_bounded(void **state)
{
    pid_t pid = launch(&(struct echo){.id = "f1", .more = {"DRAIN_MS=300"}});
    uint64_t began;

    (void)state;
    wait_until(is_healthy, NULL, LONG_MS, "health");
    begin_slow(14000);
    began = faas_now_ns();
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 1);
    assert_true(faas_now_ns() < began + 8 * FAAS_S_NS);
    wait_until(has_slow_answer, NULL, 2 * LONG_MS, "the end of the request");
}

/* Without a server the program waits; with one that refuses it, it ends. */
static void a_service_waits_for_the_bus(void **state)
{
    struct nats *own = nats_start(1, NULL);
    struct process other;
    pid_t pid;

    (void)state;
    nats_kill(own, 0);
    pid = launch(&(struct echo){.id = "g1", .urls = nats_urls(own)});
    wait_log("started");
    nats_restart(own, 0);
    wait_log("\"msg\":\"bus connected\",\"lane\":\"data\"");
    wait_log("\"msg\":\"bus connected\",\"lane\":\"control\"");
    process_start(&other,
                  &(struct process_conf){.urls = nats_urls(own), .service = "other", .id = "o1"});
    process_stop(&other, NULL, NULL);
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 0);
    nats_stop(own);
}

static void a_bus_that_refuses_us_ends_the_program_with_1(void **state)
{
    struct nats *own = nats_start(1, "authorization { token: \"other\" }");
    pid_t pid = launch(&(struct echo){.id = "h1", .urls = nats_urls(own)});

    (void)state;
    assert_int_equal(program_wait(pid, LONG_MS), 1);
    nats_stop(own);
}

/* ---- asked from beside it ---- */

static char health_at[128]; /* HEALTH_SOCKET=... */

static pid_t launch_with_health(const char *id, const char *more)
{
    (void)snprintf(health_at, sizeof health_at, "HEALTH_SOCKET=%s/%s.sock", dir, id);
    return launch(&(struct echo){.id = id, .more = {health_at, more}});
}

static int healthcheck(void)
{
    return program_wait(
        launch(&(struct echo){.id = "check", .more = {health_at, "HEALTHCHECK=true"}}), LONG_MS);
}

static bool is_well(void *arg)
{
    (void)arg;
    return healthcheck() == 0;
}

static void whoever_starts_is_not_well_and_whoever_was_ready_stays_so(void **state)
{
    struct nats *own = nats_start(1, NULL);
    pid_t pid = launch_with_health("k1", "ECHO_START_MS=60000");
    char probe[] = "faas.echo.i.k1.probe";

    (void)state;
    wait_until(answers_probe, probe, LONG_MS, "the probe");
    assert_int_equal(healthcheck(), 1);
    assert_int_equal(program_stop(pid, SIGKILL, LONG_MS), 128 + SIGKILL); /* leaves its socket */
    assert_int_equal(healthcheck(), 1);
    (void)snprintf(health_at, sizeof health_at, "HEALTH_SOCKET=%s/k1.sock", dir);
    pid = launch(&(struct echo){.id = "k2", .urls = nats_urls(own), .more = {health_at}});
    wait_until(is_well, NULL, LONG_MS, "the health check");
    nats_kill(own, 0);
    assert_int_equal(healthcheck(), 0); /* a lost server is no reason to end it */
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(healthcheck(), 1); /* a loop that stands still is */
    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_until(is_well, NULL, LONG_MS, "the health check again");
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 0);
    assert_int_equal(healthcheck(), 1);
    nats_stop(own);
}

static void a_health_socket_takes_no_files_place(void **state)
{
    char path[128];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/k3.sock", dir);
    assert_int_equal(close(creat(path, 0600)), 0);
    assert_int_equal(program_wait(launch_with_health("k3", NULL), LONG_MS), 1);
    wait_log("is there and no socket");
    assert_int_equal(access(path, F_OK), 0);
    health_at[0] = '\0';
    assert_int_equal(
        program_wait(launch(&(struct echo){.id = "k4", .more = {"HEALTHCHECK=true"}}), LONG_MS), 1);
}

static void the_official_client_finds_describes_and_counts_us(void **state)
{
    pid_t first = launch(&(struct echo){.id = "e1"});
    pid_t second = launch(&(struct echo){.id = "e2"});
    char one[] = "faas.echo.i.e1.probe", two[] = "faas.echo.i.e2.probe";
    pid_t check;

    (void)state;
    wait_until(answers_probe, one, LONG_MS, "e1");
    wait_until(answers_probe, two, LONG_MS, "e2");
    wait_until(is_healthy, NULL, LONG_MS, "health");
    wait_log("started"); /* of e2, whose log this is */
    check = fork();
    if (check == 0) {
        execl("tests/integration/js/run", "run", nats_urls(nats), (char *)NULL);
        _exit(127);
    }
    assert_int_equal(program_wait(check, 120000), 0);
    assert_int_equal(program_stop(first, SIGTERM, LONG_MS), 0);
    assert_int_equal(program_stop(second, SIGTERM, LONG_MS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_running_service_is_healthy_and_says_its_epoch),
        cmocka_unit_test(a_starting_service_answers_probes_and_is_not_healthy),
        cmocka_unit_test(a_failing_start_ends_with_1_and_says_why),
        cmocka_unit_test(a_bad_setting_ends_with_1_and_is_named),
        cmocka_unit_test(sigterm_answers_what_runs_and_ends_with_0),
        cmocka_unit_test(a_second_signal_ends_at_once_with_1),
        cmocka_unit_test(draining_is_bounded),
        cmocka_unit_test(a_service_waits_for_the_bus),
        cmocka_unit_test(a_bus_that_refuses_us_ends_the_program_with_1),
        cmocka_unit_test(whoever_starts_is_not_well_and_whoever_was_ready_stays_so),
        cmocka_unit_test(a_health_socket_takes_no_files_place),
        cmocka_unit_test(the_official_client_finds_describes_and_counts_us),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
