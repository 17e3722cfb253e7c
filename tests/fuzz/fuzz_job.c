/* Any stored message either fails as INVALID and gives nothing, or is a queued call whose ids are ids
 * and whose name is a name, and that is stored again as the same. */
#include "services/publisher/job.h"
#include "tests/fuzz/claim.h"

static void claim_round_trip(const struct job_state *job, const struct faas_envelope *env)
{
    struct job_state again = {.version = 0};
    struct faas_envelope more = {0};
    FAAS_AUTO(void) *msg = NULL;
    size_t len = 0;
    faas_err err = {0};

    CLAIM(job_state_pack(job, env->bytes, env->len, &msg, &len, &err) == FAAS_OK);
    CLAIM(job_state_open(msg, len, &again, &more, &err) == FAAS_OK);
    CLAIM(strcmp(job->id, again.id) == 0 && strcmp(job->run, again.run) == 0);
    CLAIM(strcmp(job->owner, again.owner) == 0 && strcmp(job->label, again.label) == 0);
    CLAIM(job->is_started == again.is_started && job->runs == again.runs);
    CLAIM((job->callback == NULL) == (again.callback == NULL));
    CLAIM(env->len == more.len);
    job_state_done(&again);
    faas_envelope_done(&more);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct job_state job = {.version = 0};
    struct faas_envelope env = {0};
    char subject[JOB_SUBJECT_MAX], tenant[FAAS_UUID_TEXT], id[FAAS_UUID_TEXT];
    faas_err err = {0}, name_err = {0};
    faas_code rc = job_state_open(data, size, &job, &env, &err);

    claim_outcome(rc, FAAS_INVALID, &err);
    CLAIM((rc == FAAS_OK) == (env.meta != NULL));
    if (rc != FAAS_OK)
        return 0;
    CLAIM(faas_uuid_is(job.id) && faas_uuid_is(job.tenant) && faas_uuid_is(job.run));
    CLAIM(faas_function_name_check(job.name, &name_err) == FAAS_OK);
    job_subject(JOB_IN_QUEUE, job.tenant, job.id, subject);
    CLAIM(strpbrk(subject, "*> ") == NULL && job_subject_parse(subject, tenant, id));
    claim_round_trip(&job, &env);
    job_state_done(&job);
    faas_envelope_done(&env);
    return 0;
}
