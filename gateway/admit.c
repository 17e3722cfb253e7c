#include "gateway/admit.h"

#include <string.h>

#include "gateway/problem.h"

/* ---- who, and how often ---- */

static void refuse_token(http_exchange *x, const faas_err *err,
                         const struct access_verdict *verdict)
{
    const struct problem problem = {
        .code = err->code,
        .detail = err->msg,
        .reason = verdict->reason,
        .retry_after_s = err->code == FAAS_UNAVAILABLE ? 1 : err->retry_after_s,
    };

    problem_answer(x, &problem);
}

static void refuse_rate(http_exchange *x, const struct rate *rate, const char *of, int64_t wait_s)
{
    faas_err err = {0};
    struct problem problem = {.code = FAAS_BUSY, .detail = err.msg, .retry_after_s = wait_s};

    (void)faas_fail(&err, FAAS_BUSY,
                    "more than %lld requests a second from this %s; try again in %lld s",
                    (long long)rate_limit(rate), of, (long long)wait_s);
    problem_answer(x, &problem);
}

/* The gateway's own state stays visible to whoever watches it. */
bool admit_address(struct gateway *gw, http_exchange *x)
{
    uint8_t address[HTTP_ADDRESS_MAX];
    size_t len = http_address(x, address);
    int64_t wait_s;

    if (x->match.route != NULL && x->match.route->what == GW_HEALTHZ)
        return true;
    wait_s = rate_take(gw->addresses, address, len, x->began_ns);
    if (wait_s > 0)
        refuse_rate(x, gw->addresses, "address", wait_s);
    return wait_s == 0;
}

static bool is_user_in_rate(struct gateway *gw, http_exchange *x)
{
    int64_t wait_s = rate_take(gw->users, x->caller.user, strlen(x->caller.user), x->began_ns);

    if (wait_s > 0)
        refuse_rate(x, gw->users, "user", wait_s);
    return wait_s == 0;
}

bool admit_caller(struct gateway *gw, http_exchange *x, faas_code code,
                  struct access_verdict *verdict, const faas_err *err)
{
    x->key = FAAS_STEAL(verdict->key);
    if (code != FAAS_OK) {
        refuse_token(x, err, verdict);
        return false;
    }
    x->caller = verdict->caller;
    x->standing = verdict->standing;
    return is_user_in_rate(gw, x);
}

/* ---- how many calls ---- */

static bool is_call(const struct gw_route *route)
{
    return route->what == GW_CALL || route->what == GW_PUBLISH || route->what == GW_ASYNC;
}

faas_code admit_call(struct gateway *gw, const http_exchange *x, faas_err *err)
{
    int64_t limit = admit_calls_limit(gw, x), wait_s;

    if (!is_call(x->match.route) || limit == ADMIT_NO_LIMIT)
        return FAAS_OK;
    wait_s =
        rate_take_minute(gw->calls, x->caller.user, strlen(x->caller.user), x->began_ns, limit);
    if (wait_s == 0)
        return FAAS_OK;
    return faas_fail_busy(err, (int)wait_s,
                          "your quota calls_per_minute (%lld) is used up; try again in %lld s",
                          (long long)limit, (long long)wait_s);
}

int64_t admit_calls_limit(const struct gateway *gw, const http_exchange *x)
{
    int64_t platform = gw->conf.rate_calls > 0 ? gw->conf.rate_calls : ADMIT_NO_LIMIT;

    return faas_quota_of(&x->standing, FAAS_QUOTA_CALLS, platform);
}

/* ---- bodies of callers who are not known yet ---- */

bool admit_unknown(struct gateway *gw, http_exchange *x)
{
    const struct problem busy = {
        .code = FAAS_BUSY,
        .detail = "too many large bodies wait for their senders to be known; try again, or send a "
                  "small request with this key first",
        .retry_after_s = 1};

    if (!x->guard.is_chunked && x->guard.declared <= ADMIT_SMALL)
        return true;
    x->is_large_unknown = true; /* given back in admit_done() */
    if (atomic_fetch_add(&gw->large_unknown, 1) < ADMIT_LARGE)
        return true;
    problem_answer(x, &busy);
    return false;
}

void admit_done(struct gateway *gw, const http_exchange *x)
{
    if (x->is_large_unknown)
        atomic_fetch_sub(&gw->large_unknown, 1);
}
