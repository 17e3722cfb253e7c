#include "gateway/refuse.h"

#include "gateway/gateway.h"
#include "gateway/problem.h"

#define ROOM_AGAIN_S 5

bool refuse_is_plain_call(const http_exchange *x)
{
    return x->match.route->what == GW_CALL && x->fields[HTTP_KEY] == NULL;
}

void refuse_too_large(void *arg, http_exchange *x)
{
    const struct gateway *gw = http_arg(x);
    enum gw_what what = x->match.route->what;
    faas_err err = {0};

    (void)arg;
    if (x->is_unsettled)
        (void)faas_fail(&err, FAAS_TOO_LARGE,
                        "the body of a request whose sender is not known here yet may have at most "
                        "%zu bytes; send a small request with this key first",
                        x->body_max);
    else if ((what == GW_ASYNC || what == GW_CALL) && !refuse_is_plain_call(x))
        (void)faas_fail(&err, FAAS_TOO_LARGE,
                        "the argument of a queued call, and of one with an Idempotency-Key, has at "
                        "most %zu bytes; of other calls %lld MiB (GATEWAY_BODY_MB)",
                        x->body_max, (long long)gw->conf.body_mb);
    else
        (void)faas_fail(&err, FAAS_TOO_LARGE, "the body of this request may have at most %zu bytes",
                        x->body_max);
    problem_from_err(x, &err, NULL);
}

void refuse_no_room(void *arg, http_exchange *x)
{
    faas_err err = {0};

    (void)arg;
    (void)faas_fail_busy(&err, ROOM_AGAIN_S,
                         "there is no room for more large arguments now; try again");
    problem_from_err(x, &err, NULL);
}

void refuse_long_head(void *arg, http_exchange *x)
{
    const struct problem problem = {
        .code = FAAS_TOO_LARGE,
        .status = 431,
        .detail = "the request's line and header fields are too long: send fewer or shorter ones",
    };

    (void)arg;
    problem_answer(x, &problem);
}

void refuse_malformed(void *arg, http_exchange *x, const faas_err *err)
{
    (void)arg;
    problem_from_err(x, err, NULL);
}
