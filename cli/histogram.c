#include "cli/histogram.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"

#define WIDTH_LEAST 40
#define WIDTH_MOST  100
#define LABELS      31 /* columns beside a bar */

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

void histogram_sort(uint64_t *durations, size_t count)
{
    if (count > 0)
        qsort(durations, count, sizeof *durations, compare);
}

uint64_t histogram_percentile(const uint64_t *sorted, size_t count, double percent)
{
    size_t rank = (size_t)ceil(percent / 100 * (double)count);

    return sorted[rank == 0 ? 0 : rank > count ? count - 1 : rank - 1];
}

void histogram_text(uint64_t duration, char out_text[32])
{
    double ms = (double)duration / (double)FAAS_MS_NS;
    const char *unit = ms < 1000 ? "ms" : "s";
    double value = ms < 1000 ? ms : ms / 1000;

    snprintf(out_text, 32, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, unit);
}

/* 10 us, 20 us, 50 us, 100 us, ...: the bound after this one. */
static uint64_t next_bound(uint64_t bound)
{
    uint64_t first = bound;

    while (first >= 10)
        first /= 10;
    return first == 2 ? bound / 2 * 5 : bound * 2;
}

void histogram_draw(const uint64_t *sorted, size_t count, size_t width, FILE *to)
{
    uint64_t bound = 10000;
    size_t at = 0, most = 0, bar;

    width = width < WIDTH_LEAST ? WIDTH_LEAST : width > WIDTH_MOST ? WIDTH_MOST : width;
    while (bound <= sorted[0])
        bound = next_bound(bound);
    for (int pass = 0; pass < 2; pass++) { /* the longest bar, then all of them */
        uint64_t upper = bound;

        for (at = 0; at < count; upper = next_bound(upper)) {
            size_t begin = at;
            char text[32];

            while (at < count && sorted[at] < upper)
                at++;
            if (at - begin > most)
                most = at - begin;
            if (pass == 0)
                continue;
            histogram_text(upper, text);
            bar = (at - begin) * (width - LABELS) / most;
            fprintf(to, "  < %-9s %9zu %5.1f%% ", text, at - begin,
                    100.0 * (double)(at - begin) / (double)count);
            for (size_t i = 0; i < bar + (at > begin && bar == 0); i++)
                fputc('#', to);
            fputc('\n', to);
        }
    }
}
