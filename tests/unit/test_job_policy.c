/* What becomes of a queued call after a run: services/publisher/job_policy.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/publisher/job_policy.h"

#include <stdbool.h>

static const struct job_retry once = {.attempts = 3, .backoff_ms = 200};
static const struct job_retry any = {
    .is_idempotent = true, .on_lost = true, .on_failed = true, .attempts = 3, .backoff_ms = 200};
static const struct job_retry lost_only = {
    .is_idempotent = true, .on_lost = true, .attempts = 3, .backoff_ms = 200};

static struct job_verdict decide(const struct job_retry *retry, faas_code code, int64_t runs)
{
    const struct job_facts facts = {
        .code = code, .runs = runs, .refusals = 1, .chance = UINT32_MAX};

    return job_decide(retry, &facts);
}

static void a_success_is_the_end(void **state)
{
    (void)state;
    assert_int_equal(decide(&once, FAAS_OK, 1).step, JOB_SUCCEEDED);
    assert_true(decide(&once, FAAS_OK, 1).has_run);
}

static void what_was_not_started_is_tried_again_without_counting(void **state)
{
    static const faas_code codes[] = {FAAS_BUSY, FAAS_UNAVAILABLE, FAAS_INTERNAL};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(codes); i++) {
        assert_int_equal(decide(&once, codes[i], 1000).step, JOB_AGAIN);
        assert_false(decide(&once, codes[i], 1000).has_run);
    }
}

static void what_was_not_started_in_a_day_is_dead(void **state)
{
    const struct job_facts facts = {.code = FAAS_BUSY, .runs = 1, .age_ms = JOB_AGE_MS};

    (void)state;
    assert_int_equal(job_decide(&any, &facts).step, JOB_DEAD);
}

static void what_can_never_work_is_refused(void **state)
{
    static const faas_code codes[] = {FAAS_NOT_FOUND, FAAS_INVALID, FAAS_TOO_LARGE, FAAS_DENIED};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(codes); i++)
        assert_int_equal(decide(&any, codes[i], 1).step, JOB_REFUSED);
}

/* Every code, both kinds of knowledge: a function that is not idempotent never has a second run. */
static void not_idempotent_never_runs_twice(void **state)
{
    int ran = 0;

    (void)state;
    for (int code = FAAS_INVALID; code < FAAS_CODE_END; code++) {
        const struct job_facts unknown = {.code = (faas_code)code, .may_have_run = true, .runs = 1};
        struct job_verdict verdict = job_decide(&once, &unknown);

        if (code == FAAS_START_FAILED) /* it did not start, whatever else is said */
            continue;
        assert_false(verdict.step == JOB_AGAIN);
        ran += verdict.step == JOB_DEAD;
    }
    assert_true(ran > 0);
    assert_int_equal(decide(&once, FAAS_FAILED, 1).step, JOB_DEAD);
    assert_int_equal(decide(&once, FAAS_LOST, 1).step, JOB_DEAD);
    assert_int_equal(decide(&once, FAAS_TIMEOUT, 1).step, JOB_DEAD);
}

static void an_idempotent_one_runs_again_as_its_policy_says(void **state)
{
    (void)state;
    assert_int_equal(decide(&any, FAAS_FAILED, 2).step, JOB_AGAIN);
    assert_int_equal(decide(&any, FAAS_FAILED, 3).step, JOB_DEAD);
    assert_int_equal(decide(&any, FAAS_LOST, 2).step, JOB_AGAIN);
    assert_int_equal(decide(&lost_only, FAAS_LOST, 2).step, JOB_AGAIN);
    assert_int_equal(decide(&lost_only, FAAS_LOST, 3).step, JOB_DEAD);
    assert_int_equal(decide(&lost_only, FAAS_FAILED, 1).step, JOB_DEAD);
}

static void an_image_that_does_not_start_counts_as_a_run(void **state)
{
    (void)state;
    assert_int_equal(decide(&once, FAAS_START_FAILED, 2).step, JOB_AGAIN);
    assert_true(decide(&once, FAAS_START_FAILED, 2).has_run);
    assert_int_equal(decide(&once, FAAS_START_FAILED, 3).step, JOB_DEAD);
}

static void only_who_asked_cancels(void **state)
{
    struct job_facts facts = {.code = FAAS_CLIENT_GONE, .was_asked = true, .runs = 1};

    (void)state;
    assert_int_equal(job_decide(&any, &facts).step, JOB_CANCELLED);
    facts.was_asked = false; /* a spawner whose frames nobody took */
    assert_int_equal(job_decide(&any, &facts).step, JOB_AGAIN);
    assert_int_equal(job_decide(&once, &facts).step, JOB_DEAD);
}

static int64_t pause_of(int64_t runs, uint32_t chance)
{
    const struct job_retry patient = {
        .is_idempotent = true, .on_failed = true, .attempts = 100, .backoff_ms = 200};
    const struct job_facts facts = {.code = FAAS_FAILED, .runs = runs, .chance = chance};

    return job_decide(&patient, &facts).pause_ms;
}

static void pauses_double_to_their_bound_and_half_of_each_is_chance(void **state)
{
    (void)state;
    assert_int_equal(pause_of(1, 0), 100);
    assert_in_range(pause_of(1, UINT32_MAX), 199, 200);
    assert_int_equal(pause_of(2, 0), 200);
    assert_int_equal(pause_of(4, 0), 800);
    assert_int_equal(pause_of(99, 0), JOB_PAUSE_MAX_MS / 2);
    assert_in_range(pause_of(99, UINT32_MAX), JOB_PAUSE_MAX_MS - 1, JOB_PAUSE_MAX_MS);
}

static void a_pause_of_nothing_is_nothing_only_after_a_run(void **state)
{
    const struct job_retry eager = {
        .is_idempotent = true, .on_failed = true, .attempts = 9, .backoff_ms = 0};

    (void)state;
    assert_int_equal(decide(&eager, FAAS_FAILED, 1).pause_ms, 0);
    assert_in_range(decide(&eager, FAAS_BUSY, 1).pause_ms, JOB_REFUSED_MIN_MS - 1,
                    JOB_REFUSED_MIN_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_success_is_the_end),
        cmocka_unit_test(what_was_not_started_is_tried_again_without_counting),
        cmocka_unit_test(what_was_not_started_in_a_day_is_dead),
        cmocka_unit_test(what_can_never_work_is_refused),
        cmocka_unit_test(not_idempotent_never_runs_twice),
        cmocka_unit_test(an_idempotent_one_runs_again_as_its_policy_says),
        cmocka_unit_test(an_image_that_does_not_start_counts_as_a_run),
        cmocka_unit_test(only_who_asked_cancels),
        cmocka_unit_test(pauses_double_to_their_bound_and_half_of_each_is_chance),
        cmocka_unit_test(a_pause_of_nothing_is_nothing_only_after_a_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
