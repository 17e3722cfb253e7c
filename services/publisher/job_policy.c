#include "job_policy.h"

enum kind { WORKED, CANCELLED, NEVER_WORKS, NOT_STARTED, BAD_START, RAN_BADLY, UNKNOWN_END };

static enum kind kind_of(const struct job_facts *facts)
{
    switch (facts->code) {
    case FAAS_OK:
        return WORKED;
    case FAAS_CLIENT_GONE: /* a spawner also ends like that what nobody takes from it */
        return facts->was_asked ? CANCELLED : UNKNOWN_END;
    case FAAS_INVALID:
    case FAAS_UNAUTHENTICATED:
    case FAAS_DENIED:
    case FAAS_NOT_FOUND:
    case FAAS_METHOD:
    case FAAS_CONFLICT:
    case FAAS_TOO_LARGE:
    case FAAS_UNSUPPORTED:
    case FAAS_UNPROCESSABLE:
        return NEVER_WORKS;
    case FAAS_START_FAILED:
        return BAD_START;
    case FAAS_FAILED:
    case FAAS_TIMEOUT:
    case FAAS_OUTPUT_TOO_LARGE:
        return RAN_BADLY;
    case FAAS_LOST:
        return UNKNOWN_END;
    default:
        return facts->may_have_run ? UNKNOWN_END : NOT_STARTED;
    }
}

static int64_t pause_ms(int64_t first, int64_t most, int64_t nth, uint32_t chance)
{
    int64_t pause = first;

    if (most < first)
        most = first;
    for (int64_t i = 1; i < nth && pause < most; i++)
        pause *= 2;
    if (pause > most)
        pause = most;
    return pause / 2 + (int64_t)((double)(pause - pause / 2) * (chance / 4294967296.0));
}

static struct job_verdict refused(const struct job_retry *retry, const struct job_facts *facts)
{
    int64_t first = retry->backoff_ms > JOB_REFUSED_MIN_MS ? retry->backoff_ms : JOB_REFUSED_MIN_MS;

    if (facts->age_ms >= JOB_AGE_MS)
        return (struct job_verdict){.step = JOB_DEAD};
    return (struct job_verdict){
        .step = JOB_AGAIN,
        .pause_ms = pause_ms(first, JOB_REFUSED_MAX_MS, facts->refusals, facts->chance)};
}

static struct job_verdict ran(const struct job_retry *retry, const struct job_facts *facts,
                              bool is_allowed)
{
    if (!is_allowed || facts->runs >= retry->attempts || facts->age_ms >= JOB_AGE_MS)
        return (struct job_verdict){.step = JOB_DEAD, .has_run = true};
    return (struct job_verdict){
        .step = JOB_AGAIN,
        .has_run = true,
        .pause_ms = pause_ms(retry->backoff_ms, JOB_PAUSE_MAX_MS, facts->runs, facts->chance)};
}

bool job_retry_allows_loss(const struct job_retry *retry, int64_t lost)
{
    return retry->is_idempotent && retry->on_lost && lost < retry->attempts;
}

struct job_verdict job_decide(const struct job_retry *retry, const struct job_facts *facts)
{
    switch (kind_of(facts)) {
    case WORKED:
        return (struct job_verdict){.step = JOB_SUCCEEDED, .has_run = true};
    case CANCELLED:
        return (struct job_verdict){.step = JOB_CANCELLED};
    case NEVER_WORKS:
        return (struct job_verdict){.step = JOB_REFUSED};
    case NOT_STARTED:
        return refused(retry, facts);
    case BAD_START:
        return ran(retry, facts, true);
    case RAN_BADLY:
        return ran(retry, facts, retry->is_idempotent && retry->on_failed);
    case UNKNOWN_END:
        break;
    }
    return ran(retry, facts, retry->is_idempotent && retry->on_lost);
}
