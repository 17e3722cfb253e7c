/* What a function must not be able to do, tried from inside (tests/images/inside.c).  SECURITY.md,
 * sections 2 to 4. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "services/spawner/native/filter.h"
#include "tests/support/promise.h"
#include "tests/support/sandbox.h"
#include "tests/unit/unit.h"

/* Served by the host, where no function may reach it. */
static int listen_at(const struct sockaddr *address, socklen_t len)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, address, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static int listen_on_loopback(char out_port[16])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = listen_at((struct sockaddr *)&at, sizeof at);

    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(out_port, 16, "%d", ntohs(at.sin_port));
    return fd;
}

static int listen_on_abstract(char out_name[64])
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    (void)snprintf(out_name, 64, "faas-test-%d", getpid());
    memcpy(at.sun_path + 1, out_name, strlen(out_name));
    return listen_at((struct sockaddr *)&at,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(out_name)));
}

static void try_one(const char *name, const json_t *env, size_t *refused)
{
    struct sandbox_call call = {0};
    struct sandbox_order order;
    char command[128];

    (void)snprintf(command, sizeof command, "/bin/inside attack %s", name);
    sandbox_order(&order, command);
    order.spec.env = env;
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    /* Refused by an error, or killed by the filter (SIGSYS). */
    if (strncmp(call.out, "refused ", 8) == 0 || call.outcome.exit_code == 128 + 31)
        ++*refused;
    else
        fail_msg("%s: %s%s", name, call.out, call.outcome.detail);
    sandbox_call_done(&call);
    sandbox_order_done(&order);
}

static void every_attempt_is_refused(void **state)
{
    char port[16], name[64], *save = NULL;
    int loopback = listen_on_loopback(port), abstract = listen_on_abstract(name);
    FAAS_AUTO(json_t) *env = json_pack("{s:s,s:s}", "INSIDE_PORT", port, "INSIDE_ABSTRACT", name);
    struct sandbox_call list = {0};
    size_t refused = 0;

    (void)state;
    sandbox_shell(&list, "/bin/inside attacks");
    for (char *one = strtok_r(list.out, "\n", &save); one != NULL;
         one = strtok_r(NULL, "\n", &save))
        try_one(one, env, &refused);
    assert_true(refused > 100);
    print_message("%zu attempts from inside a sandbox, all refused\n", refused);
    sandbox_call_done(&list);
    close(loopback);
    close(abstract);
    test_promise(17, "0 of %zu attempts from inside possible", refused);
}

/* The same where the first process is not the function. */
static void nor_in_a_sandbox_that_is_kept(void **state)
{
    struct sandbox_call call = {0};

    sandbox_is_slot = true;
    every_attempt_is_refused(state);
    sandbox_shell(&call, "echo $$");
    assert_string_not_equal(call.out, "1\n");
    sandbox_call_done(&call);
    sandbox_is_slot = false;
}

/* The same program outside: an attempt that fails everywhere would prove nothing. */
static void outside_the_attempts_work(void **state)
{
    static const char *const some[] = {
        "unshare-user",  "unshare-mounts", "clone-network", "bpf",          "keyctl",
        "socket-packet", "socket-netlink", "shared-memory", "run-from-tmp", "signal-others",
        "personality",   "vmsplice",       "read-sysfs",    "i386"};
    char program[256], line[256];
    size_t done = 0;

    (void)state;
    sandbox_inside(program);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(some); i++) {
        int pair[2];
        pid_t pid;

        assert_int_equal(pipe2(pair, 0), 0);
        pid = fork();
        if (pid == 0) {
            (void)dup2(pair[1], 1);
            execl(program, program, "attack", some[i], (char *)NULL);
            _exit(1);
        }
        close(pair[1]);
        line[0] = '\0';
        if (read(pair[0], line, sizeof line - 1) > 0 && strncmp(line, "DONE", 4) == 0)
            done++;
        else
            print_message("also outside: %s\n", some[i]);
        close(pair[0]);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    (void)unlink("/tmp/program");
    assert_true(done >= FAAS_ARRAY_LEN(some) / 2);
}

/* ---- too much ---- */

static void run_one(const char *command, struct sandbox_call *call)
{
    struct sandbox_order order;

    sandbox_order(&order, command);
    order.spec.tmp_mb = 16;
    order.spec.pids = 32;
    order.spec.memory_mb = 64;
    order.spec.output_bytes = 1024 * 1024;
    sandbox_begin(call, &order.spec);
    sandbox_await(call);
    sandbox_order_done(&order);
}

static void every_bomb_stops_at_its_limit(void **state)
{
    static const struct {
        const char *command;
        long least, most; /* of the number it prints */
    } rows[] = {
        {"/bin/inside forks 10000", 28, 31},      {"/bin/inside fill /tmp", 14, 16},
        {"/bin/inside fill /dev/shm", 7, 8},      {"/bin/inside fill /work", 0, 0},
        {"/bin/inside files /tmp", 16000, 16384}, {"/bin/inside files /dev/shm", 16000, 16384},
    };
    struct sandbox_call call = {0};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        long count;

        run_one(rows[i].command, &call);
        count = strtol(call.out, NULL, 10);
        if (call.outcome.code != FAAS_OK || count < rows[i].least || count > rows[i].most)
            fail_msg("%s: %s%s", rows[i].command, call.out, call.outcome.detail);
        sandbox_call_done(&call);
    }
    run_one("/bin/inside memory 512", &call); /* more than some machines have is refused at once */
    assert_true(call.outcome.is_oom);
    sandbox_call_done(&call);
    run_one("/bin/yes", &call);
    assert_int_equal(call.outcome.code, FAAS_OUTPUT_TOO_LARGE);
    sandbox_call_done(&call);
}

static void the_next_call_is_not_harmed(void **state)
{
    struct sandbox_call call = {0};

    (void)state;
    run_one("/bin/echo still here", &call);
    assert_string_equal(call.out, "still here\n");
    sandbox_call_done(&call);
}

static void the_open_system_calls_are_few(void **state)
{
    size_t count = 0;

    (void)state;
    while (native_filter_calls[count] != NULL)
        count++;
    print_message("%zu system calls are open to functions\n", count);
    assert_in_range(count, 1, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_attempt_is_refused),
        cmocka_unit_test(nor_in_a_sandbox_that_is_kept),
        cmocka_unit_test(outside_the_attempts_work),
        cmocka_unit_test(every_bomb_stops_at_its_limit),
        cmocka_unit_test(the_next_call_is_not_harmed),
        cmocka_unit_test(the_open_system_calls_are_few),
    };

    return cmocka_run_group_tests(tests, sandbox_open, sandbox_close);
}
