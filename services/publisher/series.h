/* series.h - figures of single functions: calls by outcome, and how long they took.
 * Bound     so many functions have rows of their own; all others share one, tenant and function
 *           "other".  One user's functions get at most half of the rows.
 * Turnover  a function that was not called for SERIES_IDLE_MS gives its row to one that is; what it
 *           counted goes on in "other", so the sum over all rows never falls.
 * Labels    tenant is an id, function a checked name: neither needs escaping.
 * Threads   the loop thread.
 */
#ifndef PUBLISHER_SERIES_H
#define PUBLISHER_SERIES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

#define SERIES_IDLE_MS 600000

struct series;
FAAS_MUST_CHECK faas_code series_new(size_t rows, struct series **out_series, faas_err *err);
void series_free(struct series *series);

struct series_call {
    const char *tenant, *function;
    faas_code code;
    uint64_t took_ns, now_ns;
};
void series_note(struct series *series, const struct series_call *call);
void series_write(const struct series *series, FILE *out); /* Prometheus text */

#endif
