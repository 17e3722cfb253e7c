/* Which version a call runs: a real publisher and nats-server (tests/support/stage.h). */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "contract.h"
#include "tests/support/steps.h"
#include "tests/unit/unit.h"

static int open_one(void **state)
{
    (void)state;
    open_with(1, NULL);
    return 0;
}

static void runs(const char *ref, int times, int64_t version)
{
    char id[FAAS_UUID_TEXT];

    call_now(ref, id);
    wait_placed(0, times, 3000);
    assert_int_equal(stage.spawners[0].placements[times - 1].version, version);
    wait_state(id, "done");
}

static void refused(const char *ref, const char *code, const char *part)
{
    char id[FAAS_UUID_TEXT];

    call_now(ref, id);
    fails_with(id, code, part);
}

static void a_version_is_read_once_and_then_known(void **state)
{
    (void)state;
    stage_version(&stage, "vers", 1, "\"timeout_ms\":1111,");
    stage_function(&stage, "vers", 3, "");
    stage_join(&stage, 0);
    runs("vers", 1, 3);
    runs("vers@3", 2, 3); /* its entry is not there: the head is that version */
    runs("vers@1", 3, 1);
    assert_int_equal(stage.spawners[0].placements[2].timeout_ms, 1111);
    refused("vers@2", "not_found", "no version 2");
    stage_version(&stage, "vers", 2, "");
    runs("vers@2", 4, 2); /* that it was missing is not remembered */
    stage_version(&stage, "vers", 1, NULL);
    runs("vers@1", 5, 1); /* versions never change: it was not asked for */
    stage_function_delete(&stage, "vers");
    refused("vers@1", "not_found", "no function of that name");
}

static void an_alias_chooses_by_the_calls_id(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_version(&stage, "mixed", 1, "");
    stage_version(&stage, "mixed", 2, "");
    stage_function(&stage, "mixed", 3,
                   "\"aliases\":{\"live\":{\"versions\":{\"1\":1,\"3\":1}},"
                   "\"old\":{\"versions\":{\"2\":5}},\"hole\":{\"versions\":{\"9\":1}},"
                   "\"later\":{\"by\":\"the hour\"}},");
    stage_join(&stage, 0);
    for (int i = 0; i < 20; i++) {
        int64_t want;

        call_now("mixed:live", id);
        want = faas_rendezvous(id, "live") % 2 == 0 ? 1 : 3;
        wait_placed(0, i + 1, 3000);
        assert_int_equal(stage.spawners[0].placements[i].version, want);
    }
    runs("mixed:old", 21, 2);
    runs("mixed:latest", 22, 3);
    refused("mixed:liv", "not_found", "no alias \"liv\"");
    refused("mixed:hole", "not_found", "no version 9");
    refused("mixed:later", "unavailable", "a newer release");
    stage_function(&stage, "mixed", 3, "\"aliases\":{\"live\":{\"versions\":{\"2\":1}}},");
    runs("mixed:live", 23, 2); /* a moved alias is seen by the next call */
    refused("mixed:old", "not_found", "no alias \"old\"");
}

static void a_disabled_function_is_refused_whatever_is_called_of_it(void **state)
{
    (void)state;
    stage_version(&stage, "off", 1, "");
    stage_function(&stage, "off", 2,
                   "\"disabled\":true,\"aliases\":{\"live\":{\"versions\":{\"1\":1}}},");
    stage_join(&stage, 0);
    refused("off", "conflict", "`faas enable off`");
    refused("off@1", "conflict", "`faas enable off`");
    refused("off:live", "conflict", "`faas enable off`");
    refused("off", "conflict", "`faas enable off`"); /* now its head is in memory */
    assert_int_equal(stage_placed(&stage, 0), 0);
    stage_function(&stage, "off", 2, "\"aliases\":{\"live\":{\"versions\":{\"1\":1}}},");
    runs("off", 1, 2);
    runs("off:live", 2, 1);
}

/* What a version was allowed when it was the newest does not count. */
static void the_cap_is_the_functions_of_now(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_version(&stage, "capped", 1, "\"concurrency\":9,");
    stage_function(&stage, "capped", 2, "\"concurrency\":1,");
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    call_now("capped@1", id);
    wait_placed(0, 1, 3000);
    refused("capped@1", "busy", "at once (1)");
    refused("capped", "busy", "at once (1)");
    stage_function(&stage, "capped", 2, "\"concurrency\":2,");
    call_now("capped@1", id);
    wait_placed(0, 2, 3000);
    refused("capped@1", "busy", "at once (2)");
    stage_end(&stage, 0, 0, "ok");
    stage_end(&stage, 0, 1, "ok");
    wait_state(id, "done");
}

static void references_of_no_form_are_refused(void **state)
{
    (void)state;
    stage_join(&stage, 0);
    refused("plain@", "invalid_request", "behind '@'");
    refused("plain@01", "invalid_request", "behind '@'");
    refused("plain:", "invalid_request", "alias: ");
    refused("plain@1:x", "invalid_request", "not both");
    refused("nobody@1", "not_found", "no function of that name");
    assert_int_equal(stage_placed(&stage, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_version_is_read_once_and_then_known, clear),
        cmocka_unit_test_teardown(an_alias_chooses_by_the_calls_id, clear),
        cmocka_unit_test_teardown(a_disabled_function_is_refused_whatever_is_called_of_it, clear),
        cmocka_unit_test_teardown(the_cap_is_the_functions_of_now, clear),
        cmocka_unit_test_teardown(references_of_no_form_are_refused, clear),
    };

    return cmocka_run_group_tests(tests, open_one, close_stage);
}
