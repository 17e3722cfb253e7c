/* metric.h - counters, gauges and duration histograms of one process.
 * Ownership registered once, in static storage, and live for ever.
 * Output    Prometheus text (0.0.4), which $SRV.STATS carries to /metrics: the table, what the writers
 *           add, then the process itself (memory, files, processor time) and its build.
 * Threads   register before threads start; update (a relaxed atomic add) and render from any.
 */
#ifndef FAAS_METRIC_H
#define FAAS_METRIC_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#define FAAS_METRIC_BUCKETS 20 /* 0.1 ms .. ~50 s, doubling, and +Inf */

struct faas_metric {
    const char *name; /* faas_<service>_<what>_<unit>; constant.  It may carry labels,
                       * `requests_total{code="ok"}`; register a family side by side. */
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

/* Families whose rows are only known when they are asked for.  Before threads start. */
typedef void faas_metric_writer(void *arg, FILE *out);
struct faas_metric_source {
    faas_metric_writer *write; /* on the thread that renders */
    void *arg;
    struct faas_metric_source *next; /* set by faas_metric_add_source */
};
void faas_metric_add_source(struct faas_metric_source *source); /* lives for ever */
/* For a writer: the two lines above a family, and one histogram of it with its labels, "" or
 * `a="b"`. */
void faas_metric_write_head(FILE *out, const struct faas_metric *m);
void faas_metric_write_histogram(FILE *out, const struct faas_metric *m, const char *labels);

#endif
