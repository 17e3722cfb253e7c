/* What is kept of a tenant's queued calls, removed for an account that was deleted (auth asks, more
 * than once).  Calls that still wait are cancelled by who has them (job_run.c). */
#include "jobs.h"

#include "base/clock.h"
#include "contract.h"

#include <errno.h>
#include <stdio.h>

#define PURGE_MS 8000

struct purge {
    struct jobs *jobs;
    faas_msg *msg;
    int left; /* streams */
    faas_err err;
};

static void on_purged(void *arg, faas_code code, const struct faas_stream_msg *msg,
                      const faas_err *err)
{
    struct purge *purge = arg;
    FAAS_AUTO(json_t) *doc = NULL;

    (void)msg;
    if (code != FAAS_OK)
        purge->err = *err;
    if (--purge->left > 0)
        return;
    doc = json_pack("{s:i, s:b}", "v", 1, "ok", 1);
    if (!purge->jobs->is_stopped && purge->err.code != FAAS_OK)
        faas_rpc_answer_err(purge->jobs->pub->rt->rpc, purge->msg, &purge->err);
    else if (!purge->jobs->is_stopped)
        faas_rpc_answer_json(purge->jobs->pub->rt->rpc, purge->msg, doc);
    faas_msg_free(purge->msg);
    free(purge);
}

static void begin(struct purge *purge, const char *tenant)
{
    struct jobs *jobs = purge->jobs;
    const struct {
        faas_stream *stream;
        const char *root;
    } parts[] = {{jobs->results, "res"}, {jobs->dead, "dead"}, {jobs->keys, "key"}};
    char filter[JOB_SUBJECT_MAX];

    purge->left = FAAS_ARRAY_LEN(parts);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(parts); i++) {
        (void)snprintf(filter, sizeof filter, "%s.%s.%s.>", parts[i].root, tenant + 34, tenant);
        faas_stream_purge(parts[i].stream, filter, faas_deadline_in_ms(PURGE_MS), on_purged, purge);
    }
}

static faas_code read_tenant(const faas_msg *msg, char out_tenant[FAAS_UUID_TEXT], faas_err *err)
{
    struct want {
        const char *tenant;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct want, tenant, "tenant", 36, 36, true),
        FAAS_FIELD_END,
    };
    FAAS_AUTO(json_t) *doc = NULL;
    struct want want = {0};

    FAAS_TRY(faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, err));
    FAAS_TRY(faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, &want, err));
    if (!faas_uuid_is(want.tenant))
        return faas_fail(err, FAAS_INVALID, "tenant: no UUID");
    (void)snprintf(out_tenant, FAAS_UUID_TEXT, "%s", want.tenant);
    return FAAS_OK;
}

/* faas.publisher.purge: {"v":1,"tenant"} */
void jobs_on_purge(void *state, faas_msg *take_msg)
{
    struct publisher *pub = state;
    struct purge *purge = calloc(1, sizeof *purge);
    char tenant[FAAS_UUID_TEXT];
    faas_err err = {0};
    faas_code rc = read_tenant(take_msg, tenant, &err);

    if (rc == FAAS_OK && purge == NULL)
        rc = faas_fail_sys(&err, ENOMEM, "remove what an account has");
    if (rc != FAAS_OK) {
        faas_rpc_answer_err(pub->rt->rpc, take_msg, &err);
        faas_msg_free(take_msg);
        free(purge);
        return;
    }
    *purge = (struct purge){.jobs = pub->jobs, .msg = take_msg};
    begin(purge, tenant);
}
