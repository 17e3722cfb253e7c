#include "gateway/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/metric.h"

#define LABELS_MAX 160
#define SECONDS    "faas_gateway_request_duration_seconds"

/* Those that we send, libmicrohttpd's own not included; 0: the connection was gone before there was
 * an answer, or another number. */
static const int statuses[] = {0,   200, 201, 202, 204, 400, 401, 403, 404, 405, 409,
                               413, 415, 422, 429, 431, 499, 500, 502, 503, 504, 507};

struct row {
    _Atomic int64_t by_status[FAAS_ARRAY_LEN(statuses)];
    struct faas_metric time;
};

static struct faas_metric begun = {.name = "faas_gateway_requests_begun_total",
                                   .help = "requests whose head was read",
                                   .kind = FAAS_COUNTER};
static struct faas_metric active = {.name = "faas_gateway_requests_active",
                                    .help = "of them: those that have not ended",
                                    .kind = FAAS_GAUGE};
static const struct faas_metric requests = {.name = "faas_gateway_requests_total",
                                            .help = "requests that have ended, by route and status",
                                            .kind = FAAS_COUNTER};
static struct row *table; /* as gw_routes, and one for what matched none; immutable pointer */
static size_t table_len;

static size_t index_of(const struct gw_route *route)
{
    return route != NULL ? (size_t)(route - gw_routes) : table_len - 1;
}

/* ---- counting ---- */

void metrics_begun(void)
{
    faas_metric_inc(&begun, 1);
    faas_metric_inc(&active, 1);
}

void metrics_note(const http_exchange *x)
{
    struct row *row = &table[index_of(x->match.route)];
    size_t at = FAAS_ARRAY_LEN(statuses) - 1;

    while (at > 0 && statuses[at] != http_status(x))
        at--;
    atomic_fetch_add_explicit(&row->by_status[at], 1, memory_order_relaxed);
    faas_metric_observe_ns(&row->time, faas_now_ns() - x->began_ns);
    faas_metric_inc(&active, -1);
}

/* ---- telling ---- */

static void labels_of(size_t i, char out_labels[LABELS_MAX])
{
    bool is_none = i == table_len - 1;

    (void)snprintf(out_labels, LABELS_MAX, "method=\"%s\",route=\"%s\"",
                   is_none ? "none" : gw_routes[i].method, is_none ? "none" : gw_routes[i].path);
}

static void write_statuses(FILE *out, const struct row *row, const char *labels)
{
    for (size_t i = 0; i < FAAS_ARRAY_LEN(statuses); i++) {
        int64_t count = atomic_load_explicit(&row->by_status[i], memory_order_relaxed);

        if (count > 0)
            (void)fprintf(out, "%s{%s,status=\"%d\"} %" PRId64 "\n", requests.name, labels,
                          statuses[i], count);
    }
}

static void write_table(void *arg, FILE *out)
{
    char labels[LABELS_MAX];

    (void)arg;
    faas_metric_write_head(out, &requests);
    for (size_t i = 0; i < table_len; i++) {
        labels_of(i, labels);
        write_statuses(out, &table[i], labels);
    }
    faas_metric_write_head(out, &table[0].time);
    for (size_t i = 0; i < table_len; i++) {
        if (atomic_load_explicit(&table[i].time.value, memory_order_relaxed) == 0)
            continue;
        labels_of(i, labels);
        faas_metric_write_histogram(out, &table[i].time, labels);
    }
}

faas_code metrics_add(faas_err *err)
{
    static struct faas_metric_source source = {.write = write_table};

    for (table_len = 1; gw_routes[table_len - 1].method != NULL;)
        table_len++;
    table = calloc(table_len, sizeof *table);
    if (table == NULL)
        return faas_fail_sys(err, errno, "allocate the figures of routes");
    for (size_t i = 0; i < table_len; i++) {
        table[i].time.name = SECONDS;
        table[i].time.help = "from a request's head to the end of its answer";
        table[i].time.kind = FAAS_HISTOGRAM;
    }
    faas_metric_add(&begun);
    faas_metric_add(&active);
    faas_metric_add_source(&source);
    return FAAS_OK;
}

void metrics_done(void)
{
    free(table);
    table = NULL;
}
