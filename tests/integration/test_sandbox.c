/* What a call in a sandbox gets, and every way it can end. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "services/spawner/native/native.h"
#include "tests/support/sandbox.h"
#include "tests/unit/unit.h"

static struct native *native(void)
{
    return (struct native *)rig.rt;
}

/* ---- what it sees ---- */

static void it_is_nobody_in_an_empty_world(void **state)
{
    static const char *const rows[][2] = {
        {"id", "uid=65534 gid=65534\n"},
        {"hostname; pwd; echo $$", "function\n/\n1\n"},
        {"tr '\\0' '\\n' </proc/1/environ; true",
         "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/"
         "bin\nHOSTNAME=function\nHOME=/\n"},
        {"ls /sys /tmp; ls /dev", "/sys:\n\n/tmp:\nfd\nfull\nnull\nrandom\nshm\nstderr\nstdin\n"
                                  "stdout\nurandom\nzero\n"},
        {"ls -d /proc/[0-9]*; true", "/proc/1\n"},
        {"ls /proc | grep -v [0-9]", "self\nthread-self\n"},
        {"cat /proc/self/cgroup | cut -d: -f3 | sort -u", "/\n"},
        {"cat /etc/hostname /etc/resolv.conf; head -n 1 /etc/hosts",
         "function\n127.0.0.1 localhost function\n"},
        {"echo out >/dev/stdout; echo err >/dev/stderr; echo x >/dev/null", "out\n"},
    };
    struct sandbox_call call = {0};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        sandbox_shell(&call, rows[i][0]);
        assert_string_equal(call.out, rows[i][1]);
        sandbox_call_done(&call);
    }
}

static void it_has_no_rights_and_its_limits(void **state)
{
    struct sandbox_call call = {0};

    (void)state;
    sandbox_shell(&call, "cat /proc/self/status");
    for (const char *name = "CapInh\0CapPrm\0CapEff\0CapBnd\0CapAmb\0"; *name != '\0'; name += 7) {
        char text[64];

        (void)snprintf(text, sizeof text, "%s:\t0000000000000000\n", name);
        assert_contains(call.out, text);
    }
    assert_contains(call.out, "NoNewPrivs:\t1\n");
    assert_contains(call.out, "Seccomp:\t2\n");
    assert_contains(call.out, "Seccomp_filters:\t1\n");
    assert_contains(call.out, "Groups:\t \n");
    sandbox_call_done(&call);
    sandbox_shell(&call, "cat /proc/self/limits | tr -s ' '");
    assert_contains(call.out, "Max core file size 0 0 bytes");
    assert_contains(call.out, "Max locked memory 0 0 bytes");
    assert_contains(call.out, "Max open files 1024 1024 files");
    assert_contains(call.out, "Max processes 128 128 processes");
    assert_contains(call.out, "Max file size 67108864 67108864 bytes");
    sandbox_call_done(&call);
    sandbox_shell(&call, "cat /proc/self/mountinfo");
    assert_contains(call.out, " /tmp rw,nosuid,nodev,noexec,noatime - tmpfs tmpfs rw,size=65536k");
    assert_contains(call.out,
                    " /dev/shm rw,nosuid,nodev,noexec,noatime - tmpfs tmpfs rw,size=8192k");
    assert_contains(call.out, " / / ro,nosuid,nodev,relatime - overlay image ro,lowerdir=0:1");
    assert_contains(call.out, " /dev /dev ro,nosuid,noexec,relatime ");
    assert_null(strstr(call.out, rig.dir));
    sandbox_call_done(&call);
}

static void user_directory_and_variables_of_the_image_are_honoured(void **state)
{
    struct image_config *config = &rig.image->config, kept = *config;
    struct sandbox_order order;
    struct sandbox_call call = {0};

    (void)state;
    sandbox_order(&order, "/bin/sh -c");
    assert_int_equal(json_array_append_new(order.command,
                                           json_string("id; pwd; cat /of-1000; echo $A $B $PATH")),
                     0);
    config->env = json_pack("[s,s,s]", "A=of image", "B=of image", "PATH=/work:/bin");
    config->working_dir = strdup("/work");
    config->uid = 1000;
    config->gid = 1001;
    order.spec.tenant = "tenant-2"; /* a lane of its own: the user is the lane's */
    order.spec.env = json_pack("{s:s}", "B", "of function");
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    assert_string_equal(call.out, "uid=1000 gid=1001\n/work\nof-1000of image of function "
                                  "/work:/bin\n");
    json_decref((json_t *)(uintptr_t)order.spec.env);
    json_decref(config->env);
    free(config->working_dir);
    *config = kept;
    sandbox_call_done(&call);
    sandbox_order_done(&order);
}

/* ---- argument ---- */

static void an_argument_is_one_element_whatever_is_in_it(void **state)
{
    static char big[131072];
    static const char *const texts[] = {"", " a  b ", "$(id) ; \"'\n\\", "-n", "\xc3\xa9", big};
    struct sandbox_order order;
    struct sandbox_call call = {0};

    (void)state;
    memset(big, 'x', sizeof big - 1);
    sandbox_order(&order, "/bin/inside argument");
    order.spec.is_stdin = false;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(texts); i++) {
        order.spec.argument = texts[i];
        order.spec.argument_len = strlen(texts[i]);
        sandbox_begin(&call, &order.spec);
        sandbox_await(&call);
        assert_int_equal(call.outcome.code, FAAS_OK);
        assert_string_equal(call.out, texts[i]);
        sandbox_call_done(&call);
    }
    sandbox_order_done(&order);
}

static void arguments_that_cannot_be_one_fail_before_the_start(void **state)
{
    static char big[131073];
    static const struct {
        const char *text;
        size_t len;
        const char *says;
    } rows[] = {{"a\0b", 3, "NUL"}, {"\xff", 1, "UTF-8"}, {big, 131072, "131071 bytes"}};
    struct sandbox_order order;
    struct sandbox_call call = {0};

    (void)state;
    memset(big, 'x', sizeof big - 1);
    sandbox_order(&order, "/bin/echo");
    order.spec.is_stdin = false;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        order.spec.argument = rows[i].text;
        order.spec.argument_len = rows[i].len;
        sandbox_begin(&call, &order.spec);
        assert_false(call.has_ended);
        sandbox_await(&call);
        assert_int_equal(call.outcome.code, FAAS_START_FAILED);
        assert_contains(call.outcome.detail, rows[i].says);
        assert_false(call.has_started);
        sandbox_call_done(&call);
    }
    sandbox_order_done(&order);
}

static void standard_input_takes_any_bytes(void **state)
{
    static char data[900000];
    static const size_t sizes[] = {0, 1, sizeof data};
    struct sandbox_order order;
    struct sandbox_call call = {0};

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 31 % 251);
    sandbox_order(&order, "/bin/cat");
    order.spec.argument = data;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(sizes); i++) {
        order.spec.argument_len = sizes[i];
        sandbox_begin(&call, &order.spec);
        sandbox_await(&call);
        assert_int_equal(call.outcome.code, FAAS_OK);
        assert_int_equal(call.out_len, sizes[i]);
        assert_memory_equal(call.out, data, sizes[i]);
        sandbox_call_done(&call);
    }
    sandbox_order_done(&order);
    sandbox_order(&order, "/bin/true"); /* does not read it */
    order.spec.argument = data;
    order.spec.argument_len = sizeof data;
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    assert_int_equal(call.outcome.code, FAAS_OK);
    sandbox_call_done(&call);
    sandbox_order_done(&order);
}

/* ---- outcomes ---- */

static void every_outcome_is_told_apart(void **state)
{
    static const struct {
        const char *command;
        faas_code code;
        const char *detail;
        int exit_code;
        bool is_oom, has_started;
        int64_t timeout_ms, output_bytes, memory_mb;
    } rows[] = {
        {"/bin/true", FAAS_OK, "", 0, false, true, 9000, 1000, 128},
        {"/bin/inside exit 3", FAAS_FAILED, "exit status 3", 3, false, true, 9000, 1000, 128},
        {"/bin/inside exit 125", FAAS_FAILED, "status 125", 125, false, true, 9000, 1000, 128},
        {"/bin/inside fault", FAAS_FAILED, "signal 11", 139, false, true, 9000, 1000, 128},
        {"/bin/inside memory 64", FAAS_FAILED, "32 MiB", 137, true, true, 9000, 1000, 32},
        {"/bin/inside memory 16", FAAS_OK, "", 0, false, true, 9000, 1000, 32},
        {"/bin/inside memory-child 64", FAAS_OK, "", 0, false, true, 9000, 1000, 32},
        {"/bin/sleep 60", FAAS_TIMEOUT, "300 ms", -1, false, true, 300, 1000, 128},
        {"/bin/inside ignore-signals", FAAS_TIMEOUT, "300 ms", -1, false, true, 300, 1000, 128},
        {"/bin/yes", FAAS_OUTPUT_TOO_LARGE, "1000 bytes", -1, false, true, 9000, 1000, 128},
        {"/bin/inside bytes 1000", FAAS_OK, "", 0, false, true, 9000, 1000, 128},
        {"/bin/inside bytes 1001", FAAS_OUTPUT_TOO_LARGE, "1000 bytes", -1, false, true, 9000, 1000,
         128},
        {"/missing", FAAS_START_FAILED, "/missing: the program cannot be started: No such file", -1,
         false, false, 9000, 1000, 128},
        {"missing", FAAS_START_FAILED, "No such file", -1, false, false, 9000, 1000, 128},
        {"/work", FAAS_START_FAILED, "Permission denied", -1, false, false, 9000, 1000, 128},
        {"echo found-in-path", FAAS_OK, "", 0, false, true, 9000, 1000, 128},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        struct sandbox_call call = {0};
        struct sandbox_order order;

        sandbox_order(&order, rows[i].command);
        order.spec.timeout_ms = rows[i].timeout_ms;
        order.spec.output_bytes = rows[i].output_bytes;
        order.spec.memory_mb = rows[i].memory_mb;
        sandbox_begin(&call, &order.spec);
        sandbox_await(&call);
        if (call.outcome.code != rows[i].code)
            fail_msg("%s: %s, %s", rows[i].command, faas_code_slug(call.outcome.code),
                     call.outcome.detail);
        assert_contains(call.outcome.detail, rows[i].detail);
        assert_int_equal(call.outcome.exit_code, rows[i].exit_code);
        assert_int_equal(call.outcome.is_oom, rows[i].is_oom);
        assert_int_equal(call.has_started, rows[i].has_started);
        assert_false(call.outcome.may_have_run);
        sandbox_call_done(&call);
        sandbox_order_done(&order);
    }
}

static void a_directory_that_is_not_there_is_named(void **state)
{
    char *kept = rig.image->config.working_dir;
    struct sandbox_call call = {0};

    (void)state;
    rig.image->config.working_dir = strdup("/nowhere");
    sandbox_shell(&call, "true");
    assert_int_equal(call.outcome.code, FAAS_START_FAILED);
    assert_contains(call.outcome.detail, "/nowhere: the working directory cannot be entered");
    sandbox_call_done(&call);
    free(rig.image->config.working_dir);
    rig.image->config.working_dir = kept;
    sandbox_shell(&call, "echo next");
    assert_string_equal(call.out, "next\n");
    sandbox_call_done(&call);
}

static void an_image_that_is_not_here_is_not_begun(void **state)
{
    struct sandbox_order order;
    struct sandbox_call call = {0};

    (void)state;
    sandbox_order(&order, "/bin/true");
    order.spec.image.value = "sha256:absent";
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    assert_int_equal(call.outcome.code, FAAS_UNAVAILABLE);
    assert_false(call.has_started);
    sandbox_call_done(&call);
    sandbox_order_done(&order);
}

static bool has_started(void *arg)
{
    return ((struct sandbox_call *)arg)->has_started;
}

static void a_cancelled_call_ends_at_once_whenever_it_is_cancelled(void **state)
{
    struct sandbox_order order;
    struct sandbox_call call = {0};

    (void)state;
    sandbox_order(&order, "/bin/sleep 60");
    for (int when = 0; when < 3; when++) {
        order.spec.tenant = when == 0 ? "tenant-new" : "tenant-1"; /* 0: while its lane is made */
        sandbox_begin(&call, &order.spec);
        if (when == 2)
            sandbox_await_true(has_started, &call);
        rig.rt->ops->cancel(call.run);
        assert_false(call.has_ended);
        sandbox_await(&call);
        assert_int_equal(call.outcome.code, FAAS_CLIENT_GONE);
        sandbox_call_done(&call);
    }
    sandbox_order_done(&order);
}

/* ---- output ---- */

static bool is_paused(void *arg)
{
    return ((struct sandbox_call *)arg)->is_paused;
}

static bool has_exited(void *arg)
{
    const struct sandbox_call *call = arg;

    return call->is_paused && call->run->has_exited;
}

static bool pause_once(struct sandbox_call *call)
{
    bool was = call->is_paused;

    call->is_paused = true;
    return was;
}

struct paused {
    struct sandbox_order order;
    struct sandbox_call call;
};

/* A call that writes so many bytes and is paused at the first of them. */
static void begin_paused(struct paused *paused, int bytes)
{
    char text[64];

    *paused = (struct paused){.call = {.on_out = pause_once}};
    (void)snprintf(text, sizeof text, "/bin/inside bytes %d", bytes);
    sandbox_order(&paused->order, text);
    sandbox_begin(&paused->call, &paused->order.spec);
    sandbox_await_true(is_paused, &paused->call);
    assert_false(paused->call.has_ended);
}

static void paused_done(struct paused *paused)
{
    sandbox_call_done(&paused->call);
    sandbox_order_done(&paused->order);
}

enum { FEW_BYTES = 1000, MANY_BYTES = 4000000 }; /* it ends, and does not, while it is paused */

static void output_comes_back_byte_for_byte_also_after_a_pause(void **state)
{
    static const int sizes[] = {FEW_BYTES, MANY_BYTES};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(sizes); i++) {
        struct paused paused;
        struct sandbox_call *call = &paused.call;

        begin_paused(&paused, sizes[i]);
        rig.rt->ops->resume(call->run);
        sandbox_await(call);
        assert_int_equal(call->outcome.code, FAAS_OK);
        assert_int_equal(call->out_len, sizes[i]);
        for (size_t at = 0; at < call->out_len; at++)
            if (call->out[at] != (char)('a' + at % 26))
                fail_msg("byte %zu", at);
        paused_done(&paused);
    }
}

static void a_paused_call_can_be_cancelled_also_after_its_exit(void **state)
{
    static const int sizes[] = {FEW_BYTES, MANY_BYTES};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(sizes); i++) {
        struct paused paused;

        begin_paused(&paused, sizes[i]);
        if (sizes[i] == FEW_BYTES)
            sandbox_await_true(has_exited, &paused.call);
        assert_false(paused.call.has_ended);
        rig.rt->ops->cancel(paused.call.run);
        sandbox_await(&paused.call);
        assert_int_equal(paused.call.outcome.code, FAAS_CLIENT_GONE);
        paused_done(&paused);
    }
}

static void stderr_comes_apart(void **state)
{
    struct sandbox_call call = {0};

    (void)state;
    sandbox_shell(&call, "echo out; echo err >&2; exit 1");
    assert_string_equal(call.out, "out\n");
    assert_string_equal(call.err, "err\n");
    sandbox_call_done(&call);
}

/* ---- what it leaves ---- */

static size_t processes(void)
{
    const struct lane *lane;
    size_t count = 0;

    TAILQ_FOREACH (lane, &native()->lanes, link)
        count += cgroup_count(lane->group);
    return count;
}

static void at_the_end_nothing_of_a_call_runs(void **state)
{
    struct sandbox_call call = {0};

    (void)state;
    sandbox_restart(60000, false);
    sandbox_shell(&call, "for i in 1 2 3 4 5; do (sleep 60; echo late) & done; echo early");
    assert_int_equal(call.outcome.code, FAAS_OK);
    assert_string_equal(call.out, "early\n");
    assert_int_equal(native()->lane_count, 1);
    assert_int_equal(processes(), 1); /* the zygote */
    sandbox_call_done(&call);
    sandbox_shell(&call,
                  "ls /tmp /dev/shm; ls -d /proc/[0-9]*; echo x >/tmp/f; echo x >/dev/shm/f");
    assert_string_equal(call.out, "/dev/shm:\n\n/tmp:\n/proc/1\n");
    sandbox_call_done(&call);
    sandbox_shell(&call, "ls /tmp /dev/shm");
    assert_string_equal(call.out, "/dev/shm:\n\n/tmp:\n");
    sandbox_call_done(&call);
}

/* Of the one lane, outside of its calls: when it was mounted, in nanoseconds. */
static int64_t born(const char *dir)
{
    const struct lane *lane = TAILQ_FIRST(&native()->lanes);
    char path[64];
    struct statx st;

    (void)snprintf(path, sizeof path, "/proc/%d/root%s", (int)lane->pid, dir);
    assert_int_equal(statx(AT_FDCWD, path, 0, STATX_BTIME, &st), 0);
    assert_true((st.stx_mask & STATX_BTIME) != 0);
    return st.stx_btime.tv_sec * INT64_C(1000000000) + st.stx_btime.tv_nsec;
}

/* They are used again by the next call only when nothing at all was written in them. */
static void what_a_call_wrote_in_tmp_or_removed_there_is_replaced(void **state)
{
    static const struct {
        const char *does;
        bool tmp_stays, shm_stays;
    } rows[] = {{"true", true, true},
                {"cat /tmp/none; ls -a /tmp /dev/shm", true, true},
                {"echo x >/tmp/f; rm /tmp/f", false, true},
                {"touch /tmp", false, true},
                {"mkdir /dev/shm/d", true, false}};

    (void)state;
    for (int parked = 0; parked < 2; parked++)
        for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
            struct sandbox_call call = {0};
            int64_t tmp, shm;

            sandbox_restart(60000, parked == 1);
            sandbox_shell(&call, "true");
            sandbox_call_done(&call);
            tmp = born("/tmp");
            shm = born("/dev/shm");
            sandbox_shell(&call, rows[i].does);
            sandbox_call_done(&call);
            sandbox_shell(&call, "true"); /* where it is replaced at the latest */
            sandbox_call_done(&call);
            if ((born("/tmp") == tmp) != rows[i].tmp_stays ||
                (born("/dev/shm") == shm) != rows[i].shm_stays)
                fail_msg("after %s", rows[i].does);
        }
}

static bool is_tmp_of_the_lane_empty(void *arg)
{
    const struct lane *lane = TAILQ_FIRST(&native()->lanes);
    char path[64];
    struct stat st;

    (void)arg;
    (void)snprintf(path, sizeof path, "/proc/%d/root/tmp", (int)lane->pid);
    return stat(path, &st) == 0 && st.st_nlink == 2;
}

static void what_a_call_left_in_tmp_goes_though_no_next_one_comes(void **state)
{
    struct sandbox_call call = {0};

    (void)state;
    sandbox_restart(60000, false);
    sandbox_shell(&call, "mkdir /tmp/d; stat -c %h /tmp");
    assert_string_equal(call.out, "3\n");
    sandbox_await_true(is_tmp_of_the_lane_empty, NULL);
    assert_int_equal(native()->lane_count, 1);
    sandbox_call_done(&call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_nobody_in_an_empty_world),
        cmocka_unit_test(it_has_no_rights_and_its_limits),
        cmocka_unit_test(user_directory_and_variables_of_the_image_are_honoured),
        cmocka_unit_test(an_argument_is_one_element_whatever_is_in_it),
        cmocka_unit_test(arguments_that_cannot_be_one_fail_before_the_start),
        cmocka_unit_test(standard_input_takes_any_bytes),
        cmocka_unit_test(every_outcome_is_told_apart),
        cmocka_unit_test(a_directory_that_is_not_there_is_named),
        cmocka_unit_test(an_image_that_is_not_here_is_not_begun),
        cmocka_unit_test(a_cancelled_call_ends_at_once_whenever_it_is_cancelled),
        cmocka_unit_test(output_comes_back_byte_for_byte_also_after_a_pause),
        cmocka_unit_test(a_paused_call_can_be_cancelled_also_after_its_exit),
        cmocka_unit_test(stderr_comes_apart),
        cmocka_unit_test(at_the_end_nothing_of_a_call_runs),
        cmocka_unit_test(what_a_call_wrote_in_tmp_or_removed_there_is_replaced),
        cmocka_unit_test(what_a_call_left_in_tmp_goes_though_no_next_one_comes),
    };

    return cmocka_run_group_tests(tests, sandbox_open, sandbox_close);
}
