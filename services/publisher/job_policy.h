/* job_policy.h - what becomes of a queued call after a run: the rules of `retry` (DESIGN.md 4.8).
 * Nothing started   tried again for as long as JOB_AGE_MS, however often; the image that cannot be
 *                   started counts as a run, since another try seldom helps.  What can never work (no
 *                   such function, no such argument) is refused for good.
 * May have run      tried again only where the function is idempotent and its policy says so.
 * Pauses            double from backoff_ms, at most JOB_PAUSE_MAX_MS, the later half of each by
 *                   chance.
 * Threads           pure.
 */
#ifndef PUBLISHER_JOB_POLICY_H
#define PUBLISHER_JOB_POLICY_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define JOB_AGE_MS         (INT64_C(24) * 3600 * 1000)
#define JOB_PAUSE_MAX_MS   60000
#define JOB_REFUSED_MIN_MS 200
#define JOB_REFUSED_MAX_MS 10000
#define JOB_ATTEMPTS       3
#define JOB_BACKOFF_MS     200
#define JOB_BACKOFF_MAX_MS 3600000
#define JOB_ATTEMPTS_MAX   100

struct job_retry { /* of a function's record */
    bool is_idempotent, on_lost, on_failed;
    int64_t attempts; /* runs in all */
    int64_t backoff_ms;
};
struct job_facts {
    faas_code code;    /* how the run ended */
    bool may_have_run; /* no outcome is known, and something may have begun */
    bool was_asked;    /* somebody cancelled it */
    int64_t runs;      /* begun, with this one */
    int64_t refusals;  /* in a row, with this one */
    int64_t age_ms;    /* since it was queued */
    uint32_t chance;   /* random */
};
enum job_step { JOB_SUCCEEDED, JOB_AGAIN, JOB_DEAD, JOB_REFUSED, JOB_CANCELLED };
struct job_verdict {
    enum job_step step;
    bool has_run;     /* the run counts */
    int64_t pause_ms; /* before the next try */
};
/* So many runs of which no outcome is known allow one more. */
bool job_retry_allows_loss(const struct job_retry *retry, int64_t lost);
struct job_verdict job_decide(const struct job_retry *retry, const struct job_facts *facts);

#endif
