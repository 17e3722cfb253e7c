/* What a tenant has, removed for an account that was deleted (auth asks, more than once). */
#include "registry.h"

#include "store.h"

#include "base/clock.h"
#include "contract.h"
#include "service.h"

#include <stdio.h>

/* All keys that are `under`, in the order of their last writes; what somebody writes meanwhile comes
 * again, behind. */
static faas_code purge(faas_kv *kv, const char *under, uint64_t deadline_ns, uint64_t *out_seq,
                       faas_err *err)
{
    uint64_t from = 1;

    for (;;) {
        struct faas_kv_change change = {.key = ""};
        faas_err why = {0};
        faas_code rc = faas_kv_next_of(kv, under, from, deadline_ns, &change, &why);

        if (rc == FAAS_NOT_FOUND)
            return FAAS_OK;
        if (rc == FAAS_OK && !change.is_delete)
            rc = faas_kv_delete(kv, change.key, change.entry.revision, deadline_ns, out_seq, &why);
        from = change.entry.revision + 1;
        faas_kv_entry_done(&change.entry);
        if (rc != FAAS_OK && rc != FAAS_CONFLICT) {
            *err = why;
            return rc;
        }
    }
}

static faas_code purge_tenant(struct registry *reg, const char *tenant, uint64_t deadline_ns,
                              faas_err *err)
{
    char under[STORE_KEY_MAX];
    uint64_t heads = 0, versions = 0, secrets = 0;

    (void)snprintf(under, sizeof under, "f.%.36s.", tenant);
    FAAS_TRY(purge(reg->functions, under, deadline_ns, &heads, err));
    (void)snprintf(under, sizeof under, "v.%.36s.*.", tenant);
    FAAS_TRY(purge(reg->functions, under, deadline_ns, &versions, err));
    (void)snprintf(under, sizeof under, "s.%.36s.", tenant);
    FAAS_TRY(purge(reg->secrets.kv, under, deadline_ns, &secrets, err));
    FAAS_TRY(
        faas_members_wait_applied(reg->members, FAAS_BUCKET_FUNCTIONS, heads, deadline_ns, err));
    return faas_members_wait_applied(reg->members, FAAS_BUCKET_SECRETS, secrets, deadline_ns, err);
}

/* faas.registry.auth.purge: {"v":1,"tenant"}; functions with their versions, secrets, logins for image
 * registries.  Answered when every reader has seen it. */
faas_code registry_on_purge(void *state, const struct faas_call *call, json_t **out_reply,
                            faas_err *err)
{
    struct want {
        const char *tenant;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct want, tenant, "tenant", 36, 36, true),
        FAAS_FIELD_END,
    };
    struct want want = {0};

    *out_reply = NULL;
    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_TOLERANT, &want, err));
    if (!faas_uuid_is(want.tenant))
        return faas_fail(err, FAAS_INVALID, "tenant: no UUID");
    return purge_tenant(state, want.tenant, call->ctx->deadline_ns, err);
}
