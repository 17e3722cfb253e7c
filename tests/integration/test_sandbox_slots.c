/* reuse "slot": a sandbox that one function of one user keeps from call to call. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#include "services/spawner/native/native.h"
#include "tests/support/sandbox.h"
#include "tests/unit/unit.h"

static struct native *native(void)
{
    return (struct native *)rig.rt;
}

static int open_slots(void **state)
{
    sandbox_is_slot = true;
    return sandbox_open(state);
}

static void fresh_runtime(void)
{
    sandbox_restart(60000, true);
}

/* Without the one that tries the machine out. */
static size_t lanes(void)
{
    const struct lane *lane;
    size_t count = 0;

    TAILQ_FOREACH (lane, &native()->lanes, link)
        count += lane->image != NULL;
    return count;
}

static void expect(const char *text, const char *out)
{
    struct sandbox_call call = {0};

    sandbox_shell(&call, text);
    if (call.outcome.code != FAAS_OK || strcmp(call.out, out) != 0)
        fail_msg("%s: %s (%s%s)", text, call.out, call.outcome.detail, call.err);
    sandbox_call_done(&call);
}

/* Begun, and how; ended well. */
static void expect_start(const struct rt_spec *spec, const char *how)
{
    struct sandbox_call call = {0};

    sandbox_begin(&call, spec);
    sandbox_await(&call);
    if (call.outcome.code != FAAS_OK)
        fail_msg("%s", call.outcome.detail);
    assert_string_equal(call.outcome.start, how);
    sandbox_call_done(&call);
}

static faas_code run(const char *command, int64_t timeout_ms)
{
    struct sandbox_call call = {0};
    struct sandbox_order order;
    faas_code code;

    sandbox_order(&order, command);
    order.spec.timeout_ms = timeout_ms;
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    code = call.outcome.code;
    sandbox_call_done(&call);
    sandbox_order_done(&order);
    return code;
}

/* ---- who shares one ---- */

static void calls_of_one_function_follow_each_other_in_one_sandbox(void **state)
{
    struct sandbox_order order;

    (void)state;
    fresh_runtime();
    sandbox_order(&order, "/bin/true");
    expect_start(&order.spec, "cold");
    for (int i = 0; i < 5; i++)
        expect_start(&order.spec, "warm");
    assert_int_equal(lanes(), 1);
    sandbox_order_done(&order);
}

static bool one_is_made_in_advance(void *arg)
{
    const struct lane *lane;

    (void)arg;
    TAILQ_FOREACH (lane, &native()->lanes, link)
        if (lane->is_parked && !lane->key.is_warm)
            return true;
    return false;
}

static void another_function_user_or_way_has_another_one(void **state)
{
    struct sandbox_order order;

    (void)state;
    fresh_runtime();
    sandbox_order(&order, "/bin/true");
    expect_start(&order.spec, "cold");
    order.spec.function = "function-2";
    expect_start(&order.spec, "cold");
    order.spec.tenant = "tenant-2";
    expect_start(&order.spec, "cold");
    order.spec.is_slot = false;
    expect_start(&order.spec, "cold");
    sandbox_await_true(one_is_made_in_advance, NULL);
    expect_start(&order.spec, "prewarmed");
    assert_int_equal(lanes(), 4);
    sandbox_order_done(&order);
}

static bool both_started(void *arg)
{
    const struct sandbox_call *calls = arg;

    return calls[0].has_started && calls[1].has_started;
}

static void two_calls_at_once_have_one_each(void **state)
{
    static struct sandbox_call calls[2];
    struct sandbox_order order;

    (void)state;
    fresh_runtime();
    sandbox_order(&order, "/bin/sleep 60");
    for (int i = 0; i < 2; i++)
        sandbox_begin(&calls[i], &order.spec);
    sandbox_await_true(both_started, calls);
    assert_int_equal(lanes(), 2);
    for (int i = 0; i < 2; i++) {
        rig.rt->ops->cancel(calls[i].run);
        sandbox_await(&calls[i]);
        assert_int_equal(calls[i].outcome.code, FAAS_CLIENT_GONE);
        sandbox_call_done(&calls[i]);
    }
    sandbox_order_done(&order);
}

/* ---- what the next call finds ---- */

static void nothing_of_a_call_meets_the_next_one(void **state)
{
    static const char *const leave[] = {
        "touch /tmp/a /dev/shm/b; mkdir -p /tmp/c/d; touch /tmp/c/d/e /tmp/.f; echo left",
        "ln -s /bin /tmp/link; mkdir /tmp/0 /tmp/1; touch /tmp/0/x; echo left",
        "mkdir /tmp/closed; touch /tmp/closed/x; chmod 0 /tmp/closed; echo left",
        "/bin/inside deep /tmp >/dev/null; echo left",
        "/bin/inside files /dev/shm >/dev/null; echo left",
        "/bin/inside leave-behind; echo left",
        "cd /work; umask 0; export A=b; sleep 60 & echo left",
        "trap '' TERM HUP; (sleep 60; echo late) & echo left",
    };

    (void)state;
    fresh_runtime();
    expect("true", "");
    for (size_t i = 0; i < FAAS_ARRAY_LEN(leave); i++) {
        expect(leave[i], "left\n");
        expect("ls -A /tmp /dev/shm; set -- /proc/[0-9]*; echo $#; pwd; umask; echo $A",
               "/dev/shm:\n\n/tmp:\n2\n/\n0022\n\n");
        assert_int_equal(lanes(), 1);
    }
}

static void what_a_call_wrote_is_given_back(void **state)
{
    (void)state;
    fresh_runtime();
    for (int i = 0; i < 4; i++) /* each leaves more than half of what there is */
        expect("dd if=/dev/zero of=/tmp/file bs=1M count=40 2>/dev/null; echo $?", "0\n");
    assert_int_equal(lanes(), 1);
}

static void input_output_and_status_are_each_calls_own(void **state)
{
    struct sandbox_order order;
    struct sandbox_call call = {0};

    (void)state;
    fresh_runtime();
    expect("cat; echo out; echo err >&2", "out\n");
    sandbox_order(&order, "/bin/cat");
    order.spec.argument = "some input";
    order.spec.argument_len = 10;
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    assert_string_equal(call.out, "some input");
    sandbox_call_done(&call);
    sandbox_shell(&call, "echo err >&2; exit 7");
    assert_int_equal(call.outcome.code, FAAS_FAILED);
    assert_int_equal(call.outcome.exit_code, 7);
    assert_string_equal(call.err, "err\n");
    sandbox_call_done(&call);
    sandbox_shell(&call, "kill -9 $$");
    assert_int_equal(call.outcome.exit_code, 128 + SIGKILL);
    sandbox_call_done(&call);
    sandbox_order_done(&order);
    expect("echo x | tr x y", "y\n");
    assert_int_equal(lanes(), 1);
}

static void a_program_that_is_not_there_leaves_it_usable(void **state)
{
    struct sandbox_order order;

    (void)state;
    fresh_runtime();
    assert_int_equal(run("/bin/true", 10000), FAAS_OK);
    assert_int_equal(run("/bin/absent", 10000), FAAS_START_FAILED);
    sandbox_order(&order, "/bin/true");
    expect_start(&order.spec, "warm");
    sandbox_order_done(&order);
}

/* ---- what ends it ---- */

static bool no_lanes(void *arg)
{
    (void)arg;
    return lanes() == 0;
}

static void a_call_that_is_stopped_ends_it(void **state)
{
    (void)state;
    fresh_runtime();
    assert_int_equal(run("/bin/true", 10000), FAAS_OK);
    assert_int_equal(run("/bin/inside ignore-signals", 200), FAAS_TIMEOUT);
    sandbox_await_true(no_lanes, NULL);
    assert_int_equal(run("/bin/true", 10000), FAAS_OK);
    assert_int_equal(run("/bin/yes", 10000), FAAS_OUTPUT_TOO_LARGE);
    sandbox_await_true(no_lanes, NULL);
    expect("echo again", "again\n");
}

static void memory_is_the_calls_own_affair(void **state)
{
    struct sandbox_call call = {0};

    (void)state;
    fresh_runtime();
    assert_int_equal(run("/bin/true", 10000), FAAS_OK);
    sandbox_shell(&call, "/bin/inside memory 1024");
    assert_int_equal(call.outcome.code, FAAS_FAILED);
    assert_true(call.outcome.is_oom);
    sandbox_call_done(&call);
    expect("echo again", "again\n");
    assert_int_equal(run("/bin/inside forks 10000", 10000), FAAS_OK);
    expect("echo again", "again\n");
}

static struct lane *only_lane(void)
{
    struct lane *lane;

    assert_int_equal(lanes(), 1);
    TAILQ_FOREACH (lane, &native()->lanes, link)
        if (lane->image != NULL)
            break;
    return lane;
}

static void one_that_dies_is_replaced(void **state)
{
    (void)state;
    fresh_runtime();
    for (int i = 0; i < 4; i++) {
        const struct lane *lane;

        expect("echo here", "here\n");
        lane = only_lane();
        assert_int_equal(
            pidfd_send_signal(i % 2 == 0 ? lane->first : lane->pidfd, SIGKILL, NULL, 0), 0);
        sandbox_await_true(no_lanes, NULL);
    }
}

static bool has_started(void *arg)
{
    return ((struct sandbox_call *)arg)->has_started;
}

static void its_death_costs_its_own_call_alone(void **state)
{
    struct sandbox_call call = {0};
    struct sandbox_order order;

    (void)state;
    fresh_runtime();
    sandbox_order(&order, "/bin/sleep 60");
    sandbox_begin(&call, &order.spec);
    sandbox_await_true(has_started, &call);
    assert_int_equal(pidfd_send_signal(only_lane()->first, SIGKILL, NULL, 0), 0);
    sandbox_await(&call);
    assert_int_equal(call.outcome.code, FAAS_FAILED);
    assert_int_equal(call.outcome.exit_code, 128 + SIGKILL);
    sandbox_call_done(&call);
    sandbox_order_done(&order);
    expect("echo again", "again\n");
}

static void an_idle_one_ends_after_its_time(void **state)
{
    (void)state;
    sandbox_restart(100, true);
    expect("echo here", "here\n");
    sandbox_await_true(no_lanes, NULL);
    assert_int_equal(cgroups_count(native()->groups), 0);
}

static void many_calls_leave_nothing(void **state)
{
    (void)state;
    fresh_runtime();
    for (int i = 0; i < 500; i++)
        assert_int_equal(run("/bin/true", 10000), FAAS_OK);
    assert_int_equal(cgroup_count(only_lane()->group), 2); /* the zygote, and the first process */
    lanes_tidy(native(), true);
    sandbox_await_true(no_lanes, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_of_one_function_follow_each_other_in_one_sandbox),
        cmocka_unit_test(another_function_user_or_way_has_another_one),
        cmocka_unit_test(two_calls_at_once_have_one_each),
        cmocka_unit_test(nothing_of_a_call_meets_the_next_one),
        cmocka_unit_test(what_a_call_wrote_is_given_back),
        cmocka_unit_test(input_output_and_status_are_each_calls_own),
        cmocka_unit_test(a_program_that_is_not_there_leaves_it_usable),
        cmocka_unit_test(a_call_that_is_stopped_ends_it),
        cmocka_unit_test(memory_is_the_calls_own_affair),
        cmocka_unit_test(one_that_dies_is_replaced),
        cmocka_unit_test(its_death_costs_its_own_call_alone),
        cmocka_unit_test(an_idle_one_ends_after_its_time),
        cmocka_unit_test(many_calls_leave_nothing),
    };

    return cmocka_run_group_tests(tests, open_slots, sandbox_close);
}
