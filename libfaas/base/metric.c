#include "base/metric.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/process.h"

#define LABELS_MAX      64               /* of one in the table */
#define FIRST_BUCKET_NS UINT64_C(100000) /* 0.1 ms */

/* Grows before threads start, immutable afterwards. */
static struct faas_metric *first, **last = &first;
static struct faas_metric_source *sources, **last_source = &sources;

void faas_metric_add(struct faas_metric *m)
{
    m->next = NULL;
    *last = m;
    last = &m->next;
}

void faas_metric_add_source(struct faas_metric_source *source)
{
    source->next = NULL;
    *last_source = source;
    last_source = &source->next;
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

void faas_metric_write_head(FILE *out, const struct faas_metric *m)
{
    static const char *const kinds[] = {
        [FAAS_COUNTER] = "counter", [FAAS_GAUGE] = "gauge", [FAAS_HISTOGRAM] = "histogram"};
    int len = family_len(m->name);

    fprintf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", len, m->name, m->help, len, m->name,
            kinds[m->kind]);
}

/* Updates may land between the reads: the count is never below its buckets. */
void faas_metric_write_histogram(FILE *out, const struct faas_metric *m, const char *labels)
{
    const char *comma = labels[0] != '\0' ? "," : "", *open = labels[0] != '\0' ? "{" : "",
               *close = labels[0] != '\0' ? "}" : "";
    int len = family_len(m->name);
    uint64_t bound = FIRST_BUCKET_NS;
    int64_t sum_ns = load(&m->sum_ns), total = load(&m->value), below = 0;

    for (int i = 0; i < FAAS_METRIC_BUCKETS; i++, bound *= 2) {
        below += load(&m->buckets[i]);
        fprintf(out, "%.*s_bucket{%s%sle=\"%g\"} %" PRId64 "\n", len, m->name, labels, comma,
                (double)bound / 1e9, below);
    }
    total = total > below ? total : below;
    fprintf(out, "%.*s_bucket{%s%sle=\"+Inf\"} %" PRId64 "\n", len, m->name, labels, comma, total);
    fprintf(out, "%.*s_sum%s%s%s %.9f\n", len, m->name, open, labels, close, (double)sum_ns / 1e9);
    fprintf(out, "%.*s_count%s%s%s %" PRId64 "\n", len, m->name, open, labels, close, total);
}

static void render_histogram(FILE *out, const struct faas_metric *m)
{
    const char *brace = strchr(m->name, '{');
    char labels[LABELS_MAX] = "";

    if (brace != NULL)
        (void)snprintf(labels, sizeof labels, "%.*s", (int)strcspn(brace + 1, "}"), brace + 1);
    faas_metric_write_histogram(out, m, labels);
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
            faas_metric_write_head(out, m);
        if (m->kind == FAAS_HISTOGRAM)
            render_histogram(out, m);
        else
            fprintf(out, "%s %" PRId64 "\n", m->name, load(&m->value));
    }
    for (const struct faas_metric_source *source = sources; source != NULL; source = source->next)
        source->write(source->arg, out);
    faas_process_write(out);
    is_whole = ferror(out) == 0;
    if (fclose(out) != 0 || !is_whole) {
        free(text);
        return NULL;
    }
    return text;
}
