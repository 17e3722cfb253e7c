/* A queued call as it is stored: services/publisher/job.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/publisher/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID       "01890000-0000-7000-8000-000000000001"
#define TENANT   "01890000-0000-7000-8000-0000000000ab"
#define FUNCTION "01890000-0000-7000-8000-000000000003"

static void subjects_name_tenant_and_call_alone(void **state)
{
    char subject[JOB_SUBJECT_MAX], tenant[FAAS_UUID_TEXT], id[FAAS_UUID_TEXT];

    (void)state;
    job_subject(JOB_IN_QUEUE, TENANT, ID, subject);
    assert_string_equal(subject, "job.ab." TENANT "." ID);
    assert_true(job_subject_parse(subject, tenant, id));
    assert_string_equal(tenant, TENANT);
    assert_string_equal(id, ID);
    job_end_subject(TENANT, ID, subject);
    assert_string_equal(subject, "res.ab." TENANT "." ID ".end");
    assert_true(job_subject_parse(subject, tenant, id));
    job_chunk_subject(TENANT, ID, 12, subject);
    assert_string_equal(subject, "res.ab." TENANT "." ID ".c12");
    assert_false(job_subject_parse("job.ab." TENANT, tenant, id));
    assert_false(job_subject_parse("job.ab." TENANT ".x", tenant, id));
    assert_false(job_subject_parse("", tenant, id));
}

static struct job_state sample(void)
{
    struct job_state job = {.id = ID,
                            .tenant = TENANT,
                            .user = "",
                            .name = "upper",
                            .function = FUNCTION,
                            .run = FUNCTION,
                            .version = 4,
                            .is_started = true,
                            .runs = 2,
                            .queued_ms = 1700000000123,
                            .asked_ms = 1500,
                            .owner = "p1",
                            .epoch = "0123456789abcdef0123456789abcdef",
                            .label = "mine \"it\" is"};

    return job;
}

static void what_is_stored_is_read_back(void **state)
{
    static const char arg[] = "bytes\0and\xff more";
    struct job_state job = sample(), got = {.version = 0};
    struct faas_envelope env = {0};
    FAAS_AUTO(void) *msg = NULL;
    size_t len = 0;
    faas_err err = {0};

    (void)state;
    job.callback = strdup("https://there.example/x?y=1");
    assert_int_equal(job_state_pack(&job, arg, sizeof arg, &msg, &len, &err), FAAS_OK);
    assert_int_equal(job_state_open(msg, len, &got, &env, &err), FAAS_OK);
    assert_int_equal(env.len, sizeof arg);
    assert_memory_equal(env.bytes, arg, sizeof arg);
    assert_string_equal(got.id, ID);
    assert_string_equal(got.tenant, TENANT);
    assert_string_equal(got.name, "upper");
    assert_string_equal(got.run, FUNCTION);
    assert_string_equal(got.owner, "p1");
    assert_string_equal(got.epoch, job.epoch);
    assert_string_equal(got.label, job.label);
    assert_string_equal(got.callback, job.callback);
    assert_true(got.is_started);
    assert_int_equal(got.version, 4);
    assert_int_equal(got.runs, 2);
    assert_int_equal(got.queued_ms, 1700000000123);
    assert_int_equal(got.asked_ms, 1500);
    job_state_done(&job);
    job_state_done(&got);
    faas_envelope_done(&env);
}

static faas_code open_with(const char *key, json_t *take_value, faas_err *err)
{
    struct job_state job = sample(), got = {.version = 0};
    FAAS_AUTO(json_t) *doc = job_state_letter(&job);
    faas_code rc;

    if (take_value != NULL)
        assert_int_equal(json_object_set_new(doc, key, take_value), 0);
    else
        assert_int_equal(json_object_del(doc, key), 0);
    rc = job_state_read(doc, &got, err);
    job_state_done(&got);
    return rc;
}

/* What was called is kept, and read back as it was from both forms. */
static void the_version_or_alias_that_was_called_is_kept(void **state)
{
    static const char *const picks[] = {"", "@3", ":live"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(picks); i++) {
        struct job_state job = sample(), got = {.version = 0}, redriven = {.version = 0};
        struct faas_envelope env = {0};
        struct faas_function_ref ref;
        FAAS_AUTO(json_t) *letter = NULL;
        FAAS_AUTO(void) *msg = NULL;
        char name[32];
        size_t len = 0;
        faas_err err = {0};

        (void)snprintf(job.pick, sizeof job.pick, "%s", picks[i]);
        assert_int_equal(job_state_pack(&job, "", 0, &msg, &len, &err), FAAS_OK);
        assert_int_equal(job_state_open(msg, len, &got, &env, &err), FAAS_OK);
        assert_string_equal(got.name, "upper");
        assert_string_equal(got.pick, picks[i]);
        job_state_ref(&got, &ref);
        assert_string_equal(ref.name, "upper");
        assert_int_equal(ref.version, i == 1 ? 3 : 0);
        assert_string_equal(ref.alias, i == 2 ? "live" : "");
        letter = job_state_letter(&job);
        (void)snprintf(name, sizeof name, "upper%s", picks[i]);
        assert_string_equal(job_text(letter, "name"), name);
        assert_int_equal(job_state_read(letter, &redriven, &err), FAAS_OK);
        assert_string_equal(redriven.name, "upper");
        assert_string_equal(redriven.pick, picks[i]);
        job_state_done(&got);
        job_state_done(&redriven);
        faas_envelope_done(&env);
    }
}

static void what_nobody_of_ours_wrote_is_refused(void **state)
{
    faas_err err = {0};

    (void)state;
    assert_int_equal(open_with("id", json_string("01890000-0000-7000-8000-00000000000G"), &err),
                     FAAS_INVALID);
    assert_int_equal(open_with("tenant", json_string(">"), &err), FAAS_INVALID);
    assert_int_equal(open_with("name", json_string("a.b"), &err), FAAS_INVALID);
    assert_int_equal(open_with("version", json_integer(0), &err), FAAS_INVALID);
    assert_int_equal(open_with("run", NULL, &err), FAAS_INVALID);
    assert_int_equal(open_with("state", json_integer(1), &err), FAAS_INVALID);
}

/* A later release may say more: what is not "waiting" is never taken for it. */
static void unknown_fields_pass_and_an_unknown_state_counts_as_begun(void **state)
{
    struct job_state job = sample(), got = {.version = 0};
    FAAS_AUTO(json_t) *doc = job_state_letter(&job);
    faas_err err = {0};

    (void)state;
    assert_int_equal(json_object_set_new(doc, "later", json_true()), 0);
    assert_int_equal(json_object_set_new(doc, "state", json_string("adopted")), 0);
    assert_int_equal(job_state_read(doc, &got, &err), FAAS_OK);
    assert_true(got.is_started);
    assert_int_equal(json_object_set_new(doc, "state", json_string("waiting")), 0);
    assert_int_equal(job_state_read(doc, &got, &err), FAAS_OK);
    assert_false(got.is_started);
}

static void an_end_holds_the_outcome_as_it_came(void **state)
{
    struct job_state job = sample();
    FAAS_AUTO(json_t) *outcome =
        json_pack("{s:s, s:i, s:s}", "code", "function_failed", "exit_code", 3, "later", "kept");
    const struct job_end end = {.status = "dead",
                                .is_dead = true,
                                .ended_ms = 5,
                                .bytes = 300000,
                                .chunks = 2,
                                .is_text = true,
                                .end = outcome};
    FAAS_AUTO(json_t) *doc = job_end_json(&job, &end);

    (void)state;
    assert_non_null(doc);
    assert_string_equal(job_text(doc, "status"), "dead");
    assert_true(json_is_true(json_object_get(doc, "dead")));
    assert_int_equal(json_integer_value(json_object_get(doc, "chunks")), 2);
    assert_true(json_equal(json_object_get(doc, "end"), outcome));
    assert_string_equal(job_text(doc, "none"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subjects_name_tenant_and_call_alone),
        cmocka_unit_test(what_is_stored_is_read_back),
        cmocka_unit_test(the_version_or_alias_that_was_called_is_kept),
        cmocka_unit_test(what_nobody_of_ours_wrote_is_refused),
        cmocka_unit_test(unknown_fields_pass_and_an_unknown_state_counts_as_begun),
        cmocka_unit_test(an_end_holds_the_outcome_as_it_came),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
