/* Which runtime `faas up` chooses by itself, and what it says. */
#include "cli/runtime.h"

#include <string.h>

#include "tests/unit/unit.h"

static const struct runtime_facts fit = {.is_fit = true, .engine = "unix:///nowhere"};
static const struct runtime_facts fit_or_engine = {.is_fit = true, .has_engine = true};
static const struct runtime_facts limited = {
    .is_fit = true, .lacks = "memory, pids", .engine = "unix:///nowhere"};
static const struct runtime_facts limited_or_engine = {
    .is_fit = true, .lacks = "memory, pids", .has_engine = true};
static const struct runtime_facts engine = {.why = "sandboxes need root", .has_engine = true};
static const struct runtime_facts nothing = {.why = "sandboxes need root",
                                             .engine = "unix:///nowhere"};

static void says(const struct runtime_facts *facts, const char *before, const char *name,
                 const char *why)
{
    struct runtime_choice choice = {.name = NULL};
    faas_err err = {0};

    assert_int_equal(runtime_decide(facts, before, &choice, &err), FAAS_OK);
    assert_string_equal(choice.name, name);
    assert_contains(choice.why, why);
}

static void sandboxes_are_preferred_where_every_limit_is_kept(void **state)
{
    (void)state;
    says(&fit, "", "native", "this machine can");
    says(&fit_or_engine, "", "native", "this machine can");
    says(&limited_or_engine, "", "docker", "no control groups for memory, pids");
}

static void what_is_missing_is_said_with_what_it_costs(void **state)
{
    (void)state;
    says(&limited, "", "native", "those limits are not kept, and one user alone is served");
    says(&engine, "", "docker", "no sandboxes: sandboxes need root");
}

static void functions_stay_where_they_were_registered(void **state)
{
    (void)state;
    says(&fit_or_engine, "docker", "docker", "SPAWNER_RUNTIME=native");
    says(&limited_or_engine, "native", "native", "one user alone");
    says(&fit, "docker", "native", "this machine can");
    says(&engine, "native", "docker", "sandboxes need root");
}

static void a_machine_that_can_do_neither_is_told_both_reasons(void **state)
{
    struct runtime_choice choice = {.name = NULL};
    faas_err err = {0};

    (void)state;
    assert_int_equal(runtime_decide(&nothing, "", &choice, &err), FAAS_UNAVAILABLE);
    assert_string_equal(err.msg, "functions can run in nothing here: no sandboxes (sandboxes need "
                                 "root) and no Docker Engine at unix:///nowhere; DOCKER_HOST names "
                                 "another");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sandboxes_are_preferred_where_every_limit_is_kept),
        cmocka_unit_test(what_is_missing_is_said_with_what_it_costs),
        cmocka_unit_test(functions_stay_where_they_were_registered),
        cmocka_unit_test(a_machine_that_can_do_neither_is_told_both_reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
