/* exposition.h - figures of several instances as one page in Prometheus' text format 0.0.4.
 * Input     the pages of single instances, as libfaas/base/metric.h writes them: families of HELP,
 *           TYPE and rows.  Lines that are none of these, or not of the family above them, are left
 *           out: an instance may be of another release.
 * Output    each family once, with the rows of all instances together; every row is told by two
 *           labels, service and id, which come before its own.
 * Bounds    EXPOSITION_MAX bytes of rows and EXPOSITION_FAMILIES; what is beyond is left out and counted.
 * Pure      no input, no output, no clock.
 */
#ifndef GATEWAY_EXPOSITION_H
#define GATEWAY_EXPOSITION_H

#include <stddef.h>

#include "base/err.h"

#define EXPOSITION_MAX      (16 * 1024 * 1024)
#define EXPOSITION_FAMILIES 512

struct exposition;
FAAS_MUST_CHECK faas_code exposition_new(struct exposition **out_exposition, faas_err *err);
void exposition_free(struct exposition *exposition);
/* service and id: of [A-Za-z0-9_-]; page is borrowed for the call. */
void exposition_add(struct exposition *exposition, const char *service, const char *id,
                    const char *page);
size_t exposition_left_out(const struct exposition *exposition); /* lines */
/* The page, the caller's (free); NULL without memory, also when some was missing before. */
char *exposition_text(struct exposition *exposition, size_t *out_len);

#endif
