/* quantity.h - amounts with units, as Kubernetes and Docker write them.
 * Memory    digits and a unit: Ki, Mi, Gi, and k, m, g, are powers of 1024; K, M, G of 1000; none:
 *           bytes.  The result is MiB, rounded up.
 * Cpu       "0.5", "500m".
 * Numbers   decimal digits, at most 15; no sign, no exponent, no locale.
 * Threads   pure; any.
 */
#ifndef FAAS_QUANTITY_H
#define FAAS_QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

/* Each false when text, the whole of it, is none; then nothing is written. */
bool faas_quantity_number(const char *text, double *out_number); /* with an optional fraction */
bool faas_quantity_mib(const char *text, int64_t *out_mib);
bool faas_quantity_cpus(const char *text, double *out_cpus);

#endif
