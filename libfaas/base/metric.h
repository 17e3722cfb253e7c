/* metric.h - counters, gauges and duration histograms of one process.
 * Ownership registered once, in static storage, and live for ever.
 * Output    Prometheus text for /metrics, JSON for $SRV.STATS data.
 * Threads   register before threads start; update (a relaxed atomic add) and render from any.
 */
#ifndef FAAS_METRIC_H
#define FAAS_METRIC_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdint.h>

#define FAAS_METRIC_BUCKETS 20 /* 0.1 ms .. ~50 s, doubling, and +Inf */

struct faas_metric {
    const char *name; /* faas_<service>_<what>_<unit>; constant.  A counter or gauge may carry
                       * labels, `requests_total{code="ok"}`; register a family side by side. */
    const char *help;
    enum { FAAS_COUNTER, FAAS_GAUGE, FAAS_HISTOGRAM } kind;
    _Atomic int64_t value;                        /* counter, gauge; histogram: count */
    _Atomic int64_t sum_ns;                       /* histogram */
    _Atomic int64_t buckets[FAAS_METRIC_BUCKETS]; /* histogram */
    struct faas_metric *next;                     /* set by faas_metric_add */
};

void faas_metric_add(struct faas_metric *m); /* before threads start */
void faas_metric_inc(struct faas_metric *m, int64_t by);
void faas_metric_set(struct faas_metric *m, int64_t value);
void faas_metric_observe_ns(struct faas_metric *m, uint64_t ns);
char *faas_metrics_render(void); /* Prometheus text; NULL without memory */
/* {name: number, histogram: {"count","sum_s","buckets":[per bucket, not cumulative]}}; a new
 * reference, NULL without memory. */
json_t *faas_metrics_json(void);

#endif
