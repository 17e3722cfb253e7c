/* Each barrier alone: with all of zygote/barrier.h left out, in a build that can do so, an attempt
 * succeeds; with one of them put back, and none else, it is refused.  The attempts harm nobody: they
 * happen as root of this machine. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/spawner/zygote/barrier.h"
#include "tests/support/promise.h"
#include "tests/support/sandbox.h"
#include "tests/unit/unit.h"

#define ALL (ZY_BARRIERS - 1U)

static const struct {
    const char *name;
    unsigned barrier;
    const char *command;
} rows[] = {
    {"ids", ZY_BARRIER_IDS, "/bin/inside attack node-in-tmp"},
    {"capabilities", ZY_BARRIER_CAPS, "/bin/inside attack mount-tmpfs"},
    {"system calls", ZY_BARRIER_FILTER, "/bin/inside attack unshare-user"},
    {"/proc", ZY_BARRIER_PROC, "/bin/inside attack write-core-pattern"},
    {"control groups", ZY_BARRIER_GROUPS, "/bin/inside memory 256"},
    {"network", ZY_BARRIER_NET, "/bin/inside attack reach-host"},
    {"processes", ZY_BARRIER_PIDS, "/bin/inside attack signal-others"},
};

/* Served by this machine. */
static int listen_on_loopback(char out_port[16])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(out_port, 16, "%d", ntohs(at.sin_port));
    return fd;
}

/* A zygote without these: its name says which. */
static void leave_out(unsigned barriers)
{
    static char link_path[128];
    char weak[256], *slash;
    ssize_t len = readlink("/proc/self/exe", weak, 200);

    assert_true(len > 0);
    weak[len] = '\0';
    slash = strrchr(weak, '/');
    (void)snprintf(slash, 50, "/faas-zygote-weak");
    (void)snprintf(link_path, sizeof link_path, "%s/faas-zygote-%x", rig.dir, barriers);
    assert_int_equal(symlink(weak, link_path), 0);
    sandbox_zygote = link_path;
    sandbox_restart(60000, false);
    assert_int_equal(unlink(link_path), 0);
}

static bool is_possible(const char *command, const char *port)
{
    struct sandbox_call call = {0};
    struct sandbox_order order;
    FAAS_AUTO(json_t) *env = json_pack("{s:s}", "INSIDE_PORT", port);
    bool is_done;

    sandbox_order(&order, command);
    order.spec.env = env;
    order.spec.memory_mb = 64;
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    is_done = call.outcome.code == FAAS_OK && strncmp(call.out, "refused", 7) != 0;
    sandbox_call_done(&call);
    sandbox_order_done(&order);
    return is_done;
}

static void each_barrier_holds_alone(void **state)
{
    char port[16];
    int loopback = listen_on_loopback(port);

    (void)state;
    leave_out(ALL);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++)
        if (!is_possible(rows[i].command, port))
            fail_msg("%s: refused without any barrier", rows[i].command);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        leave_out(ALL & ~rows[i].barrier);
        if (is_possible(rows[i].command, port))
            fail_msg("%s: %s alone does not hold", rows[i].command, rows[i].name);
    }
    leave_out(0);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++)
        assert_false(is_possible(rows[i].command, port));
    sandbox_zygote = NULL;
    close(loopback);
    test_promise(18, "%zu of %zu barriers hold with all others left out", FAAS_ARRAY_LEN(rows),
                 FAAS_ARRAY_LEN(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_barrier_holds_alone),
    };

    return cmocka_run_group_tests(tests, sandbox_open, sandbox_close);
}
