/* Lanes: who shares one, what ends them, and that nothing of them stays. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "services/spawner/native/native.h"
#include "tests/support/sandbox.h"
#include "tests/unit/unit.h"

static struct native *native(void)
{
    return (struct native *)rig.rt;
}

static void run_as(const char *tenant, int64_t memory_mb, const char *command)
{
    struct sandbox_call call = {0};
    struct sandbox_order order;

    sandbox_order(&order, command);
    order.spec.tenant = tenant;
    order.spec.memory_mb = memory_mb;
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    if (call.outcome.code != FAAS_OK)
        fail_msg("%s", call.outcome.detail);
    sandbox_call_done(&call);
    sandbox_order_done(&order);
}

static void a_lane_serves_one_tenant_one_image_and_one_set_of_limits(void **state)
{
    (void)state;
    sandbox_restart(60000, false);
    for (int i = 0; i < 3; i++)
        run_as("a", 64, "/bin/true");
    assert_int_equal(native()->idle_count, 1);
    run_as("b", 64, "/bin/true");
    assert_int_equal(native()->idle_count, 2);
    run_as("b", 65, "/bin/true");
    assert_int_equal(native()->idle_count, 3);
    run_as("a", 64, "/bin/true");
    assert_int_equal(native()->idle_count, 3);
}

static bool all_started(void *arg)
{
    struct sandbox_call *calls = arg;

    for (int i = 0; i < 8; i++)
        if (!calls[i].has_started)
            return false;
    return true;
}

static void calls_at_once_have_lanes_of_their_own(void **state)
{
    static struct sandbox_call calls[8];
    struct sandbox_order order;
    struct lane *lane, *other;

    (void)state;
    sandbox_restart(60000, false);
    sandbox_order(&order, "/bin/sleep 60");
    for (int i = 0; i < 8; i++)
        sandbox_begin(&calls[i], &order.spec);
    sandbox_await_true(all_started, calls);
    TAILQ_FOREACH (lane, &native()->lanes, link)
        TAILQ_FOREACH (other, &native()->lanes, link)
            assert_true(lane == other ||
                        (lane->slot != other->slot && lane->group != other->group));
    for (int i = 0; i < 8; i++) {
        rig.rt->ops->cancel(calls[i].run);
        sandbox_await(&calls[i]);
        sandbox_call_done(&calls[i]);
    }
    assert_int_equal(native()->idle_count, 8);
    sandbox_order_done(&order);
}

static bool no_lanes(void *arg)
{
    (void)arg;
    return native()->lane_count == 0;
}

static void an_idle_lane_ends_after_its_time(void **state)
{
    (void)state;
    for (int parked = 0; parked < 2; parked++) {
        sandbox_restart(100, parked == 1);
        run_as("a", 64, "/bin/true");
        sandbox_await_true(no_lanes, NULL);
        assert_int_equal(cgroups_count(native()->groups), 0);
    }
}

static void kill_zygotes(void)
{
    struct lane *lane;

    TAILQ_FOREACH (lane, &native()->lanes, link)
        if (lane->has_zygote)
            assert_int_equal(pidfd_send_signal(lane->pidfd, SIGKILL, NULL, 0), 0);
}

static faas_code outcome_of_a_call(void)
{
    struct sandbox_call call = {0};
    faas_code code;

    sandbox_shell(&call, "true");
    code = call.outcome.code;
    assert_true(call.outcome.may_have_run == (code == FAAS_LOST));
    sandbox_call_done(&call);
    return code;
}

static void a_zygote_that_dies_is_replaced_and_costs_its_own_call_at_most(void **state)
{
    (void)state;
    for (int parked = 0; parked < 2; parked++) {
        sandbox_restart(60000, parked == 1);
        for (int i = 0; i < 20; i++) {
            faas_code code;

            assert_int_equal(outcome_of_a_call(), FAAS_OK);
            kill_zygotes();
            if (i % 2 == 0) /* else the call meets a lane that is not known to be dead */
                sandbox_await_true(no_lanes, NULL);
            code = outcome_of_a_call();
            assert_true(code == FAAS_OK || (code == FAAS_LOST && i % 2 == 1));
        }
        kill_zygotes();
        sandbox_await_true(no_lanes, NULL);
    }
}

static bool has_started(void *arg)
{
    return ((struct sandbox_call *)arg)->has_started;
}

static void a_running_call_outlives_its_zygote(void **state)
{
    struct sandbox_call call = {0};
    struct sandbox_order order;

    (void)state;
    sandbox_restart(60000, false);
    sandbox_order(&order, "/bin/sh -c");
    assert_int_equal(json_array_append_new(order.command, json_string("sleep 0.3; echo done")), 0);
    sandbox_begin(&call, &order.spec);
    sandbox_await_true(has_started, &call);
    kill_zygotes();
    sandbox_await(&call);
    assert_int_equal(call.outcome.code, FAAS_OK);
    assert_string_equal(call.out, "done\n");
    sandbox_await_true(no_lanes, NULL);
    sandbox_call_done(&call);
    sandbox_order_done(&order);
}

static bool can_run(void *arg)
{
    struct sandbox_call call = {0};
    struct sandbox_order order;
    bool is_ok;

    sandbox_order(&order, "/bin/true");
    order.spec.tenant = arg;
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    is_ok = call.outcome.code == FAAS_OK;
    assert_true(is_ok || call.outcome.code == FAAS_UNAVAILABLE);
    sandbox_call_done(&call);
    sandbox_order_done(&order);
    return is_ok;
}

/* Children of this process whose program is faas-zygote: the nursery is the first. */
static pid_t nursery_pid(void)
{
    FILE *file;
    char path[64];
    long pid = 0;

    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld", &pid), 1);
    (void)fclose(file);
    return (pid_t)pid;
}

static void a_nursery_that_dies_is_started_again(void **state)
{
    (void)state;
    sandbox_restart(60000, false);
    assert_int_equal(kill(nursery_pid(), SIGKILL), 0);
    sandbox_await_true(can_run, (void *)(uintptr_t) "another tenant");
}

/* ---- what stays ---- */

static size_t entries(const char *path)
{
    DIR *dir = opendir(path);
    size_t count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* Of ours: others mount, too. */
static size_t mounts_of_ours(void)
{
    FILE *file = fopen("/proc/self/mountinfo", "r");
    FAAS_AUTO(char) *line = NULL;
    size_t count = 0, room = 0;

    assert_non_null(file);
    while (getline(&line, &room, file) > 0)
        count += strstr(line, rig.dir) != NULL;
    (void)fclose(file);
    return count;
}

static bool only_one_child(void *arg)
{
    siginfo_t info = {0};
    char path[64], text[256] = "";
    FILE *file;

    (void)arg;
    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    assert_int_equal(info.si_pid, 0); /* a zombie */
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    (void)fclose(file);
    return strchr(text, ' ') == strrchr(text, ' ');
}

static void nothing_stays_of_many_calls(void **state)
{
    (void)state;
    for (int parked = 0; parked < 2; parked++) {
        size_t fds, mounts;

        sandbox_restart(60000, parked == 1);
        fds = entries("/proc/self/fd");
        mounts = mounts_of_ours();
        for (int i = 0; i < 300; i++)
            run_as(i % 3 == 0 ? "a" : "b", 64 + i % 2, "/bin/true");
        lanes_tidy(native(), true);
        sandbox_await_true(no_lanes, NULL);
        sandbox_await_true(only_one_child, NULL);
        /* Pooled groups keep theirs: 3 directories, 3 files, 1 for events, each. */
        assert_true(entries("/proc/self/fd") <= fds + 4 * 7);
        assert_int_equal(mounts_of_ours(), mounts);
        assert_int_equal(cgroups_count(native()->groups), 0);
    }
}

/* An earlier life that was killed leaves groups, with whoever is in them. */
static void what_an_earlier_life_left_is_removed(void **state)
{
    struct cgroups *groups = NULL, *next = NULL;
    struct cgroup *group = NULL;
    const struct cgroup_limits limits = {.memory_bytes = 64 << 20, .pids = 10, .cpus = 1.0};
    int procs[CGROUP_DIRS], status = 0;
    faas_err err = {0};
    pid_t pid;

    (void)state;
    sandbox_stop();
    assert_ok(cgroups_open("faas-test-earlier", &groups, &err));
    assert_ok(cgroups_take(groups, &limits, &group, &err));
    pid = fork();
    if (pid == 0) {
        for (size_t i = 0; i < cgroup_procs(group, procs); i++)
            if (write(procs[i], "0", 1) != 1)
                _exit(1);
        (void)raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(cgroup_count(group), 1);
    assert_ok(cgroups_open("faas-test-earlier", &next, &err));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cgroups_give(group); /* its directories are gone: nothing to remove */
    cgroups_close(groups);
    cgroups_close(next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lane_serves_one_tenant_one_image_and_one_set_of_limits),
        cmocka_unit_test(calls_at_once_have_lanes_of_their_own),
        cmocka_unit_test(an_idle_lane_ends_after_its_time),
        cmocka_unit_test(a_zygote_that_dies_is_replaced_and_costs_its_own_call_at_most),
        cmocka_unit_test(a_running_call_outlives_its_zygote),
        cmocka_unit_test(a_nursery_that_dies_is_started_again),
        cmocka_unit_test(nothing_stays_of_many_calls),
        cmocka_unit_test(what_an_earlier_life_left_is_removed),
    };

    return cmocka_run_group_tests(tests, sandbox_open, sandbox_close);
}
