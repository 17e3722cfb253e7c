/* histogram.h - durations in nanoseconds: percentiles, and how they are spread, drawn in text.
 * Sorted    what takes `sorted` wants it so; count is at least 1 there.
 * Threads   pure; any.
 */
#ifndef CLI_HISTOGRAM_H
#define CLI_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

void histogram_sort(uint64_t *durations, size_t count);
/* Nearest rank: of 100 durations, 99 is the 99th. */
uint64_t histogram_percentile(const uint64_t *sorted, size_t count, double percent);
/* "0.42 ms", "1.73 s": three digits. */
void histogram_text(uint64_t duration, char out_text[32]);
/* A line for each range 1-2-5-10 from the least to the greatest; width: columns of a line. */
void histogram_draw(const uint64_t *sorted, size_t count, size_t width, FILE *to);

#endif
