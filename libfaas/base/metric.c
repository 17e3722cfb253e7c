#include "base/metric.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

#define FIRST_BUCKET_NS UINT64_C(100000) /* 0.1 ms */

/* Grows before threads start, immutable afterwards. */
static struct faas_metric *first, **last = &first;

void faas_metric_add(struct faas_metric *m)
{
    m->next = NULL;
    *last = m;
    last = &m->next;
}

void faas_metric_inc(struct faas_metric *m, int64_t by)
{
    atomic_fetch_add_explicit(&m->value, by, memory_order_relaxed);
}

void faas_metric_set(struct faas_metric *m, int64_t value)
{
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

void faas_metric_observe_ns(struct faas_metric *m, uint64_t ns)
{
    uint64_t bound = FIRST_BUCKET_NS;

    for (int i = 0; i < FAAS_METRIC_BUCKETS; i++, bound *= 2)
        if (ns <= bound) {
            atomic_fetch_add_explicit(&m->buckets[i], 1, memory_order_relaxed);
            break;
        }
    atomic_fetch_add_explicit(&m->sum_ns, (int64_t)ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->value, 1, memory_order_relaxed);
}

static int64_t load(const _Atomic int64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* The part before the labels: requests_total of requests_total{code="ok"}. */
static int family_len(const char *name)
{
    return (int)strcspn(name, "{");
}

static bool is_same_family(const struct faas_metric *a, const struct faas_metric *b)
{
    int len = family_len(a->name);

    return len == family_len(b->name) && strncmp(a->name, b->name, (size_t)len) == 0;
}

static void render_head(FILE *out, const struct faas_metric *m)
{
    static const char *const kinds[] = {
        [FAAS_COUNTER] = "counter", [FAAS_GAUGE] = "gauge", [FAAS_HISTOGRAM] = "histogram"};
    int len = family_len(m->name);

    fprintf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", len, m->name, m->help, len, m->name,
            kinds[m->kind]);
}

/* Updates may land between the reads: the count is never below its buckets. */
static void render_histogram(FILE *out, const struct faas_metric *m)
{
    uint64_t bound = FIRST_BUCKET_NS;
    int64_t sum_ns = load(&m->sum_ns), total = load(&m->value), below = 0;

    for (int i = 0; i < FAAS_METRIC_BUCKETS; i++, bound *= 2) {
        below += load(&m->buckets[i]);
        fprintf(out, "%s_bucket{le=\"%g\"} %" PRId64 "\n", m->name, (double)bound / 1e9, below);
    }
    total = total > below ? total : below;
    fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRId64 "\n%s_sum %.9f\n%s_count %" PRId64 "\n", m->name,
            total, m->name, (double)sum_ns / 1e9, m->name, total);
}

char *faas_metrics_render(void)
{
    const struct faas_metric *before = NULL;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    bool is_whole;

    if (out == NULL)
        return NULL;
    for (const struct faas_metric *m = first; m != NULL; before = m, m = m->next) {
        if (before == NULL || !is_same_family(before, m))
            render_head(out, m);
        if (m->kind == FAAS_HISTOGRAM)
            render_histogram(out, m);
        else
            fprintf(out, "%s %" PRId64 "\n", m->name, load(&m->value));
    }
    is_whole = ferror(out) == 0;
    if (fclose(out) != 0 || !is_whole) {
        free(text);
        return NULL;
    }
    return text;
}

static json_t *histogram_json(const struct faas_metric *m)
{
    FAAS_AUTO(json_t) *buckets = json_array();

    for (int i = 0; i < FAAS_METRIC_BUCKETS; i++)
        if (json_array_append_new(buckets, json_integer(load(&m->buckets[i]))) != 0)
            return NULL;
    return json_pack("{s:I, s:f, s:O}", "count", (json_int_t)load(&m->value), "sum_s",
                     (double)load(&m->sum_ns) / 1e9, "buckets", buckets);
}

json_t *faas_metrics_json(void)
{
    json_t *all = json_object();
    bool is_whole = all != NULL;

    for (const struct faas_metric *m = first; is_whole && m != NULL; m = m->next) {
        json_t *value =
            m->kind == FAAS_HISTOGRAM ? histogram_json(m) : json_integer(load(&m->value));

        is_whole = json_object_set_new(all, m->name, value) == 0;
    }
    if (!is_whole) {
        json_decref(all);
        return NULL;
    }
    return all;
}
