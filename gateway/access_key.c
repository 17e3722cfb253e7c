#include "gateway/access_key.h"

#include <errno.h>

#include "base/clock.h"

faas_code access_key_refuse(struct access_verdict *verdict, const char *reason, faas_err *err)
{
    verdict->reason = reason;
    free(verdict->key);
    verdict->key = NULL;
    return faas_fail(err, FAAS_UNAUTHENTICATED, "API key %s: make a new one with POST /auth/keys",
                     reason);
}

faas_code access_stand(struct revoked *revoked, struct access_verdict *verdict, faas_err *err)
{
    revoked_standing(revoked, verdict->caller.user, &verdict->standing);
    if (!verdict->standing.is_disabled)
        return FAAS_OK;
    free(verdict->key);
    verdict->key = NULL;
    return faas_fail(err, FAAS_DENIED, ACCESS_DISABLED);
}

/* verdict has the key, and whose it is. */
static faas_code judge_key(struct apikeys *keys, struct access_verdict *verdict, faas_err *err)
{
    FAAS_TRY(access_stand(apikeys_revoked(keys), verdict, err));
    if (verdict->caller.expires_at <= faas_wall_ms() / 1000)
        return access_key_refuse(verdict, "expired", err);
    return FAAS_OK;
}

faas_code access_key_check(struct apikeys *keys, const struct credential *credential,
                           struct access_verdict *verdict, faas_err *err)
{
    switch (apikeys_look(keys, credential->id, credential->hash, &verdict->caller, &verdict->key)) {
    case APIKEYS_KNOWN:
        return judge_key(keys, verdict, err);
    case APIKEYS_REFUSED:
        return access_key_refuse(verdict, "invalid", err);
    case APIKEYS_DISABLED:
        return faas_fail(err, FAAS_DENIED, ACCESS_DISABLED);
    case APIKEYS_UNKNOWN:
        break;
    }
    verdict->is_unsettled = true;
    return faas_fail(err, FAAS_UNAVAILABLE, "this API key was not checked yet; try again");
}

/* ---- one that is not known here ---- */

struct asking {
    struct apikeys *keys;
    access_done *done;
    void *arg;
};

static void on_asked(void *arg, faas_code code, const struct faas_token_claims *caller,
                     struct gw_key *take_key, const faas_err *why)
{
    FAAS_AUTO(void) *owned = arg;
    const struct asking *asking = arg;
    struct access_verdict verdict = {.key = take_key};
    faas_err err = *why;

    if (code == FAAS_OK) {
        verdict.caller = *caller;
        code = judge_key(asking->keys, &verdict, &err);
    } else if (code == FAAS_UNAUTHENTICATED) {
        code = access_key_refuse(&verdict, "invalid", &err);
    }
    asking->done(asking->arg, code, &verdict, &err);
}

void access_key_ask(struct apikeys *keys, const struct credential *credential,
                    const struct access_question *question, access_done *done, void *arg)
{
    const struct apikeys_question key = {.id = credential->id,
                                         .hash = credential->hash,
                                         .address = question->address,
                                         .address_len = question->address_len};
    struct asking *asking = calloc(1, sizeof *asking);
    struct access_verdict verdict = {.key = NULL};
    faas_err err = {0};

    if (asking == NULL) {
        done(arg, faas_fail_sys(&err, ENOMEM, "an API key"), &verdict, &err);
        return;
    }
    asking->keys = keys;
    asking->done = done;
    asking->arg = arg;
    apikeys_ask(keys, &key, on_asked, asking);
}
