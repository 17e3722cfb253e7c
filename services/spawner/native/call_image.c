/* call_image.c - a call whose image must be opened, or fetched, before it has a lane. */
#include <errno.h>
#include <stdio.h>

#include "native.h"
#include "services/spawner/spec_copy.h"

static void on_image(void *arg, const struct puller_answer *answer)
{
    struct rt_call *call = arg;
    faas_err why;

    call->image_wait = NULL;
    if (answer->code != FAAS_OK) {
        why = *answer->err;
        if (why.code != FAAS_INTERNAL && why.code != FAAS_BUSY)
            why.code = FAAS_UNAVAILABLE; /* nothing has begun */
        call_fail(call, &why);
        return;
    }
    (void)snprintf(call->key.image, sizeof call->key.image, "%s", answer->image->id);
    call_begin(call, call->spec, answer->image);
}

void call_await_image(struct rt_call *call, const struct rt_spec *spec)
{
    const struct puller_want want = {.name = spec->image.reference,
                                     .id = spec->image.kind != NULL ? spec->image.value : NULL,
                                     .tenant = spec->image.tenant,
                                     .may_pull = spec->may_pull,
                                     .done = on_image,
                                     .arg = call};
    faas_err why = {0};
    faas_code rc;

    call->spec = spec_copy(spec);
    rc = call->spec != NULL ? puller_ask(call->nt->conf.images, &want, &call->image_wait, &why)
                            : faas_fail_sys(&why, ENOMEM, "call");
    if (rc != FAAS_OK)
        call_fail(call, &why);
}
