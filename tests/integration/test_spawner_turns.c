/* Whose container starts next, at a real spawner on a real engine: the engine's own times of each
 * container tell the order. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tests/support/den.h"
#include "tests/support/engine.h"
#include "tests/support/process.h"
#include "tests/unit/unit.h"

#define NOISY   10
#define LONG_MS 60000

static const char noisy_more[] = "{\"tenant\":\"0190a000-0000-7000-8000-00000000000a\"}";
static const char late_more[] =
    "{\"tenant\":\"0190a000-0000-7000-8000-00000000000a\",\"start_timeout_ms\":40}";
static const char quiet_more[] = "{\"tenant\":\"0190a000-0000-7000-8000-00000000000b\"}";

struct times { /* seconds of the engine's clock within a month */
    double created, started;
};

static double seconds(const char *text)
{
    int year, month, day, hour, minute;
    double second;

    assert_int_equal(
        sscanf(text, "%d-%d-%dT%d:%d:%lf", &year, &month, &day, &hour, &minute, &second), 6);
    return ((day * 24 + hour) * 60 + minute) * 60 + second;
}

/* Waits until the call's container runs. */
static struct times times_of(const struct sleeper *sleeper)
{
    static const char form[] = "{{.Created}} {{.State.StartedAt}} {{.State.Running}}";
    uint64_t deadline = faas_deadline_in_ms(LONG_MS);

    for (;;) {
        FAAS_AUTO(char) *id = test_containers("faas.call", sleeper->id);
        const char *const argv[] = {"docker", "inspect", "-f", form, id, NULL};
        FAAS_AUTO(char) *text = id[0] != '\0' ? test_run(argv) : NULL;

        if (text != NULL && strstr(text, " true") != NULL)
            return (struct times){seconds(text), seconds(strchr(text, ' ') + 1)};
        assert_true(faas_left_ms(deadline) > 0);
    }
}

static bool has_all_noisy(void *arg)
{
    FAAS_AUTO(json_t) *beat = caller_beat(den.caller, "s2", 1000);

    (void)arg;
    return json_integer_value(json_object_get(beat, "running")) == NOISY;
}

static void cancel(struct sleeper *sleeper)
{
    FAAS_AUTO(json_t) *body = json_pack("{s:i, s:s}", "v", 1, "id", sleeper->id);

    json_decref(caller_ask(den.caller, sleeper->spawner, "cancel", body));
    sleeper_join(sleeper);
    caller_result_done(&sleeper->result);
}

static void one_container_starts_at_a_time_and_users_take_turns(void **state)
{
    static const char *const settings[] = {"SPAWNER_STARTS", "1", NULL};
    pid_t pid = den_spawner_start("s2", settings);
    struct sleeper first = {.spawner = "s2", .argument = "nothing", .more = noisy_more};
    struct sleeper noisy[NOISY] = {{.spawner = NULL}};
    struct sleeper quiet = {.spawner = "s2", .more = quiet_more};
    struct sleeper late = {.spawner = "s2", .argument = "nothing", .more = late_more};
    struct times at[NOISY], of_quiet;
    int after_quiet = 0;

    (void)state;
    den_await_ready("s2");
    sleeper_start(&first); /* from here on the image is known there */
    sleeper_join(&first);
    caller_result_done(&first.result);
    for (int i = 0; i < NOISY; i++) {
        noisy[i] = (struct sleeper){.spawner = "s2", .more = noisy_more};
        sleeper_start(&noisy[i]);
    }
    wait_until(has_all_noisy, NULL, LONG_MS, "all calls of the noisy user are there");
    sleeper_start(&late); /* its turn will not come in time */
    sleeper_start(&quiet);
    sleeper_join(&late);
    assert_string_equal(den_text(late.result.end, "code"), "busy");
    assert_contains(den_text(late.result.end, "detail"), "nothing was started");
    assert_false(late.result.has_started);
    caller_result_done(&late.result);
    of_quiet = times_of(&quiet);
    for (int i = 0; i < NOISY; i++)
        at[i] = times_of(&noisy[i]);
    for (int i = 0; i < NOISY; i++) {
        after_quiet += at[i].created > of_quiet.created;
        for (int k = 0; k < NOISY; k++) /* never two of them on their way at once */
            assert_true(k == i || at[k].created >= at[i].started || at[i].created >= at[k].started);
    }
    print_message("%d of %d began after the quiet user's\n", after_quiet, NOISY);
    assert_true(after_quiet >= 1); /* though all of them came before it */
    for (int i = 0; i < NOISY; i++)
        cancel(&noisy[i]);
    cancel(&quiet);
    kill(pid, SIGTERM);
    assert_int_equal(den_await_exit(pid), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_container_starts_at_a_time_and_users_take_turns),
    };

    return cmocka_run_group_tests(tests, den_open, den_close);
}
