/* Who is owed the answer to a job's queueing: whoever sent it, and sent it again meanwhile, and calls
 * with the same Idempotency-Key. */
#include "jobs.h"

#include <stdlib.h>

struct job_asker {
    struct job_asker *next;
    faas_msg *msg;
};

void job_add_asker(struct job *job, faas_msg *take_msg)
{
    struct job_asker *asker = malloc(sizeof *asker);

    if (asker == NULL) { /* it asks again */
        faas_msg_free(take_msg);
        return;
    }
    *asker = (struct job_asker){.next = job->askers, .msg = take_msg};
    job->askers = asker;
}

static faas_msg *next_asker(struct job *job)
{
    struct job_asker *asker = job->askers;
    faas_msg *msg = NULL;

    if (asker != NULL) {
        msg = asker->msg;
        job->askers = asker->next;
        free(asker);
    }
    return msg;
}

void job_answer_askers(struct job *job, const json_t *doc)
{
    faas_msg *msg;

    while ((msg = next_asker(job)) != NULL) {
        faas_rpc_answer_json(job->jobs->pub->rt->rpc, msg, doc);
        faas_msg_free(msg);
    }
}

void job_refuse(struct job *job, const faas_err *err)
{
    faas_msg *msg;

    while ((msg = next_asker(job)) != NULL) {
        faas_rpc_answer_err(job->jobs->pub->rt->rpc, msg, err);
        faas_msg_free(msg);
    }
    job_free(job);
}

void job_drop_askers(struct job *job)
{
    faas_msg *msg;

    while ((msg = next_asker(job)) != NULL)
        faas_msg_free(msg);
}

bool job_join(struct job *job, const char *id)
{
    struct job *known = jobs_find(job->jobs, id);
    faas_msg *msg;

    if (known == NULL || known == job)
        return false;
    if (known->phase == JOB_STORING) {
        while ((msg = next_asker(job)) != NULL)
            job_add_asker(known, msg);
    } else {
        FAAS_AUTO(json_t) *doc = json_pack("{s:s}", "call_id", id);

        job_answer_askers(job, doc);
    }
    job_free(job);
    return true;
}
