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

/* verdict has the key, and whose it is. */
static faas_code judge_key(struct access_verdict *verdict, faas_err *err)
{
    if (verdict->caller.expires_at <= faas_wall_ms() / 1000)
        return access_key_refuse(verdict, "expired", err);
    return FAAS_OK;
}

faas_code access_key_check(struct apikeys *keys, const struct credential *credential,
                           struct access_verdict *verdict, faas_err *err)
{
    switch (apikeys_look(keys, credential->id, credential->hash, &verdict->caller, &verdict->key)) {
    case APIKEYS_KNOWN:
        return judge_key(verdict, err);
    case APIKEYS_REFUSED:
        return access_key_refuse(verdict, "invalid", err);
    case APIKEYS_UNKNOWN:
        break;
    }
    verdict->is_unsettled = true;
    return faas_fail(err, FAAS_UNAVAILABLE, "this API key was not checked yet; try again");
}

/* ---- one that is not known here ---- */

struct asking {
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
        code = judge_key(&verdict, &err);
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
    asking->done = done;
    asking->arg = arg;
    apikeys_ask(keys, &key, on_asked, asking);
}
