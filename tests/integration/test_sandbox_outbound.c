/* network "outbound", in a machine of its own: this process's network namespace plays the machine,
 * a second one the outside, and nothing leaves the two.
 *   the machine   203.0.113.1 and 10.9.9.1 on m0; default route to the outside
 *   the outside   203.0.113.2 and 10.9.9.2 on o0; on its loopback 198.51.100.1, further away, and
 *                 169.254.169.254, where providers have their metadata
 * In both somebody listens on ports 53 and 8080 of every address, and counts who comes. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "services/spawner/native/native.h"
#include "tests/support/sandbox.h"
#include "tests/unit/unit.h"

#define FAR       "198.51.100.1"
#define RESOLVER  "10.9.9.2"
#define LANE_BASE "198.18." /* of the lanes' addresses */

/* ---- the two machines ---- */

enum { MACHINE, OUTSIDE };
static struct {
    atomic_int came[2];
    atomic_bool is_up;
} * shared;
static pid_t servers[2];

static struct native *native(void)
{
    return (struct native *)rig.rt;
}

/* A program's output, ended by NUL; input is small. */
static void run(const char *const *argv, const char *input, char *out, size_t room)
{
    int in[2], from[2], status = 0;
    size_t used = 0;
    ssize_t len;
    pid_t pid;

    assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(from, O_CLOEXEC), 0);
    assert_int_equal(write(in[1], input, strlen(input)), strlen(input));
    pid = fork();
    if (pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(from[1], 1);
        (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(in[0]);
    close(in[1]);
    close(from[1]);
    while (used + 1 < room && (len = read(from[0], out + used, room - 1 - used)) > 0)
        used += (size_t)len;
    out[used] = '\0';
    close(from[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("%s: status %d", argv[0], status);
}

static void run_ip(const char *lines)
{
    const char *const argv[] = {"ip", "-batch", "-", NULL};
    char out[256];

    run(argv, lines, out, sizeof out);
}

static int listen_on(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 16) != 0)
        _exit(1);
    return fd;
}

/* Tells whoever comes which address that is. */
static void answer(int fd, int which)
{
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    char text[INET_ADDRSTRLEN];
    int peer = accept(fd, (struct sockaddr *)&from, &len);

    if (peer < 0)
        return;
    atomic_fetch_add(&shared->came[which], 1);
    (void)inet_ntop(AF_INET, &from.sin_addr, text, sizeof text);
    (void)send(peer, text, strlen(text), MSG_NOSIGNAL);
    close(peer);
}

static void serve(int which)
{
    struct pollfd each[2] = {{.fd = listen_on(8080), .events = POLLIN},
                             {.fd = listen_on(53), .events = POLLIN}};

    atomic_store(&shared->is_up, true);
    while (poll(each, 2, -1) > 0)
        for (int i = 0; i < 2; i++)
            if ((each[i].revents & POLLIN) != 0)
                answer(each[i].fd, which);
    _exit(0);
}

/* In a namespace of its own where it plays the outside. */
static void start_server(int which)
{
    struct timespec pause = {.tv_nsec = 1000000};

    atomic_store(&shared->is_up, false);
    servers[which] = fork();
    if (servers[which] == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (which == OUTSIDE && unshare(CLONE_NEWNET) != 0)
            _exit(1);
        serve(which);
    }
    while (!atomic_load(&shared->is_up) && waitpid(servers[which], NULL, WNOHANG) == 0)
        (void)nanosleep(&pause, NULL);
    assert_true(atomic_load(&shared->is_up));
}

static void forward_packets(bool does)
{
    int fd = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0 && write(fd, does ? "1" : "0", 1) == 1);
    close(fd);
}

static void connect_machines(void)
{
    char lines[1024], path[64];
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), other;

    (void)snprintf(lines, sizeof lines,
                   "link set lo up\n"
                   "link add m0 type veth peer name o0 netns %d\n"
                   "addr add 203.0.113.1/24 dev m0\naddr add 10.9.9.1/24 dev m0\n"
                   "link set m0 up\nroute add default via 203.0.113.2\n",
                   (int)servers[OUTSIDE]);
    run_ip(lines);
    (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)servers[OUTSIDE]);
    other = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(own >= 0 && other >= 0);
    assert_int_equal(setns(other, CLONE_NEWNET), 0);
    run_ip("link set lo up\n"
           "addr add 203.0.113.2/24 dev o0\naddr add 10.9.9.2/24 dev o0\nlink set o0 up\n"
           "addr add " FAR "/32 dev lo\naddr add 169.254.169.254/32 dev lo\n");
    assert_int_equal(setns(own, CLONE_NEWNET), 0);
    close(own);
    close(other);
}

static int open_machines(void **state)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    start_server(OUTSIDE);
    connect_machines();
    start_server(MACHINE);
    forward_packets(true);
    sandbox_is_outbound = true;
    sandbox_dns = RESOLVER;
    return sandbox_open(state);
}

static int close_machines(void **state)
{
    int rc = sandbox_close(state);

    for (int i = 0; i < 2; i++) {
        (void)kill(servers[i], SIGKILL);
        (void)waitpid(servers[i], NULL, 0);
    }
    return rc;
}

/* ---- what a function gets ---- */

/* What it says who talks to that address. */
static void talk(const char *address, int port, char out_text[64])
{
    struct sandbox_call call = {0};
    struct sandbox_order order;
    char command[128];

    (void)snprintf(command, sizeof command, "/bin/inside talk %s %d", address, port);
    sandbox_order(&order, command);
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    if (call.outcome.code != FAAS_OK)
        fail_msg("%s", call.outcome.detail);
    (void)snprintf(out_text, 64, "%s", call.out);
    sandbox_call_done(&call);
    sandbox_order_done(&order);
}

static int came(int which)
{
    return atomic_load(&shared->came[which]);
}

static void it_reaches_the_outside_as_this_machine(void **state)
{
    int before = came(OUTSIDE);
    char text[64];

    (void)state;
    for (int i = 0; i < 3; i++) {
        talk(FAR, 8080, text);
        assert_string_equal(text, "203.0.113.1\n");
    }
    assert_int_equal(came(OUTSIDE), before + 3);
}

static void it_reaches_nothing_of_this_machine_or_its_networks(void **state)
{
    static const char *const closed[] = {
        "203.0.113.1", "10.9.9.1",      "198.19.255.254",  "203.0.113.2",
        "10.9.9.2",    "203.0.113.255", "169.254.169.254", "169.254.1.1",
        "10.0.0.1",    "172.17.0.1",    "192.168.0.1",     "100.64.0.1",
        "224.0.0.1",   "240.0.0.1",     "255.255.255.255", LANE_BASE "3.254"};
    int before[2] = {came(MACHINE), came(OUTSIDE)};
    char text[64];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(closed); i++) {
        talk(closed[i], 8080, text);
        if (strncmp(text, "refused ", 8) != 0 || strcmp(text, "refused ETIMEDOUT\n") == 0)
            fail_msg("%s: %s", closed[i], text);
    }
    talk("127.0.0.1", 8080, text); /* its own */
    assert_string_equal(text, "refused ECONNREFUSED\n");
    talk("0.0.0.0", 8080, text);
    assert_string_equal(text, "refused ECONNREFUSED\n");
    assert_int_equal(came(MACHINE), before[MACHINE]);
    assert_int_equal(came(OUTSIDE), before[OUTSIDE]);
}

/* Whoever listens there listens indeed. */
static void this_machine_itself_reaches_them(void **state)
{
    static const char *const open_ones[] = {"203.0.113.1", "10.9.9.1", "203.0.113.2", "10.9.9.2",
                                            FAR};
    char program[256], text[64];

    (void)state;
    sandbox_inside(program);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(open_ones); i++) {
        const char *const argv[] = {program, "talk", open_ones[i], "8080", NULL};

        run(argv, "", text, sizeof text);
        assert_null(strstr(text, "refused"));
    }
}

static void of_a_name_server_only_its_port_is_open(void **state)
{
    struct sandbox_call call = {0};
    char text[64];

    (void)state;
    talk(RESOLVER, 53, text);
    assert_string_equal(text, "10.9.9.1\n");
    talk("203.0.113.2", 53, text);
    assert_contains(text, "refused");
    sandbox_shell(&call, "cat /etc/resolv.conf");
    assert_string_equal(call.out, "nameserver " RESOLVER "\n");
    sandbox_call_done(&call);
}

static bool says_listening(void *arg)
{
    return strcmp(((struct sandbox_call *)arg)->out, "listening\n") == 0;
}

static void functions_do_not_reach_each_other(void **state)
{
    struct sandbox_call other = {0};
    struct sandbox_order order;
    char text[64], address[32];

    (void)state;
    sandbox_restart(60000, true);
    sandbox_order(&order, "/bin/inside serve 8080");
    sandbox_begin(&other, &order.spec);
    sandbox_await_true(says_listening, &other);
    (void)snprintf(address, sizeof address, LANE_BASE "%u.%u", other.run->lane->slot / 256,
                   other.run->lane->slot % 256);
    talk(address, 8080, text);
    assert_contains(text, "refused E");
    assert_false(other.has_ended);
    rig.rt->ops->cancel(other.run);
    sandbox_await(&other);
    sandbox_call_done(&other);
    sandbox_order_done(&order);
}

static void without_outbound_there_is_nothing(void **state)
{
    struct sandbox_call call = {0};
    struct sandbox_order order;
    int before = came(OUTSIDE);

    (void)state;
    sandbox_order(&order, "/bin/inside talk " FAR " 8080");
    order.spec.has_network = false;
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    assert_string_equal(call.out, "refused ENETUNREACH\n");
    assert_int_equal(came(OUTSIDE), before);
    sandbox_call_done(&call);
    sandbox_order_done(&order);
}

static void attempts_are_refused_with_a_network_too(void **state)
{
    static const char *const some[] = {"socket-packet",  "socket-netlink",  "socket-raw",
                                       "change-network", "unshare-network", "reach-metadata"};
    struct sandbox_call call = {0};
    char text[64];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(some); i++) {
        (void)snprintf(text, sizeof text, "/bin/inside attack %s", some[i]);
        sandbox_shell(&call, text);
        assert_contains(call.out, "refused");
        sandbox_call_done(&call);
    }
}

/* ---- what stays of it ---- */

static size_t devices(void)
{
    struct if_nameindex *all = if_nameindex();
    size_t count = 0;

    assert_non_null(all);
    for (const struct if_nameindex *at = all; at->if_index != 0; at++)
        count += strncmp(at->if_name, "faas", 4) == 0;
    if_freenameindex(all);
    return count;
}

static bool has_rules(void)
{
    const char *const argv[] = {"nft", "list", "tables", NULL};
    char out[1024];

    run(argv, "", out, sizeof out);
    return strstr(out, "faas_outbound_") != NULL;
}

static bool no_devices(void *arg)
{
    (void)arg;
    return devices() == 0;
}

static void nothing_stays_when_it_ends(void **state)
{
    char text[64];

    (void)state;
    sandbox_restart(60000, false);
    sandbox_await_true(no_devices, NULL);
    talk(FAR, 8080, text);
    assert_int_equal(devices(), 1);
    assert_true(has_rules());
    lanes_tidy(native(), true);
    sandbox_await_true(no_devices, NULL);
    talk(FAR, 8080, text);
    sandbox_stop();
    assert_false(has_rules());
    assert_int_equal(devices(), 0);
    sandbox_restart(60000, false);
}

/* Another life, in a process that is killed in the middle of a call. */
static void die_in_a_call(void)
{
    struct sandbox_call call = {0};
    struct sandbox_order order;
    faas_err err = {0};

    if (faas_loop_new(&rig.loop, &err) != FAAS_OK)
        _exit(1);
    sandbox_restart(60000, false);
    sandbox_order(&order, "/bin/inside serve 8080");
    sandbox_begin(&call, &order.spec);
    sandbox_await_true(says_listening, &call);
    (void)raise(SIGKILL);
}

static void nothing_stays_when_it_is_killed(void **state)
{
    int status = 0;
    pid_t pid;

    (void)state;
    sandbox_stop();
    pid = fork();
    if (pid == 0)
        die_in_a_call();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    sandbox_await_true(no_devices, NULL);
    assert_true(has_rules()); /* closed until somebody is there to tend it */
    forward_packets(false);
    sandbox_restart(60000, false); /* sweeps, also where nothing new can be made */
    assert_false(has_rules());
    forward_packets(true);
    sandbox_restart(60000, false);
}

/* The child of this process whose program it is; 0: there is none. */
static pid_t helper_pid(void)
{
    char path[64], name[32];
    FILE *children, *comm;
    long pid, found = 0;

    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    children = fopen(path, "r");
    assert_non_null(children);
    while (fscanf(children, "%ld", &pid) == 1) {
        (void)snprintf(path, sizeof path, "/proc/%ld/comm", pid);
        comm = fopen(path, "r");
        if (comm != NULL && fgets(name, sizeof name, comm) != NULL &&
            strcmp(name, "faas-outbound\n") == 0)
            found = pid;
        if (comm != NULL)
            (void)fclose(comm);
    }
    (void)fclose(children);
    return (pid_t)found;
}

static bool is_settled_again(void *arg)
{
    char text[64];

    (void)arg;
    talk(FAR, 8080, text);
    return strcmp(text, "203.0.113.1\n") == 0;
}

/* While it is not there nothing is open that was closed. */
static void a_helper_that_dies_is_started_again(void **state)
{
    struct sandbox_call call = {0};
    struct sandbox_order order;
    char text[64];
    int before = came(MACHINE);

    (void)state;
    sandbox_restart(60000, true);
    talk(FAR, 8080, text);
    assert_true(helper_pid() > 0);
    assert_int_equal(kill(helper_pid(), SIGKILL), 0);
    talk("203.0.113.1", 8080, text); /* in the lane that is there */
    assert_contains(text, "refused E");
    assert_int_equal(came(MACHINE), before);
    sandbox_order(&order, "/bin/true");
    order.spec.tenant = "tenant-2"; /* needs a new one */
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    sandbox_call_done(&call);
    sandbox_order_done(&order);
    sandbox_await_true(is_settled_again, NULL);
}

/* ---- where it cannot be had ---- */

static void refused(const char *why)
{
    const struct rt_sink sink = {.arg = NULL};
    struct sandbox_order order;
    struct rt_call *run;
    faas_err err = {0};

    sandbox_order(&order, "/bin/true");
    order.spec.has_network = true;
    assert_int_equal(rig.rt->ops->call(rig.rt, &order.spec, &sink, &run, &err), FAAS_INVALID);
    assert_contains(err.msg, "network \"outbound\" is not offered here");
    assert_contains(err.msg, why);
    sandbox_order_done(&order);
}

static bool has_no_helper(void *arg)
{
    (void)arg;
    return helper_pid() == 0;
}

static void where_it_cannot_be_had_it_is_refused_and_said_why(void **state)
{
    (void)state;
    forward_packets(false);
    sandbox_restart(60000, false);
    refused("net.ipv4.ip_forward");
    sandbox_await_true(has_no_helper, NULL);
    refused("net.ipv4.ip_forward");
    forward_packets(true);
    sandbox_is_outbound = false;
    sandbox_restart(60000, false);
    refused("SPAWNER_OUTBOUND");
    sandbox_is_outbound = true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_reaches_the_outside_as_this_machine),
        cmocka_unit_test(it_reaches_nothing_of_this_machine_or_its_networks),
        cmocka_unit_test(this_machine_itself_reaches_them),
        cmocka_unit_test(of_a_name_server_only_its_port_is_open),
        cmocka_unit_test(functions_do_not_reach_each_other),
        cmocka_unit_test(without_outbound_there_is_nothing),
        cmocka_unit_test(attempts_are_refused_with_a_network_too),
        cmocka_unit_test(nothing_stays_when_it_ends),
        cmocka_unit_test(nothing_stays_when_it_is_killed),
        cmocka_unit_test(a_helper_that_dies_is_started_again),
        cmocka_unit_test(where_it_cannot_be_had_it_is_refused_and_said_why),
    };

    return cmocka_run_group_tests(tests, open_machines, close_machines);
}
