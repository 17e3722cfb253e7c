#include "metrics.h"

#define X(id, kind_, text, help_)                                                                  \
    [M_##id] = {.name = "faas_publisher_" text, .help = (help_), .kind = FAAS_##kind_},
static struct faas_metric metrics[M_END] = {PUBLISHER_METRICS(X)};
#undef X

void metrics_add(void)
{
    for (int i = 0; i < M_END; i++)
        faas_metric_add(&metrics[i]);
}

void metric_count(enum publisher_metric metric)
{
    faas_metric_inc(&metrics[metric], 1);
}

void metric_add(enum publisher_metric metric, int64_t by)
{
    faas_metric_inc(&metrics[metric], by);
}

void metric_level(enum publisher_metric metric, int64_t value)
{
    faas_metric_set(&metrics[metric], value);
}

void metric_time(enum publisher_metric metric, uint64_t ns)
{
    faas_metric_observe_ns(&metrics[metric], ns);
}
