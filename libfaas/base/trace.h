/* trace.h - W3C trace context: the header traceparent, as it is passed on.
 * Text      "00-<32 hex>-<16 hex>-<2 hex>", lower case: version, trace, parent, flags.  A later
 *           version is read as what its beginning says in version 00, and passed on as that.
 * Passing   unchanged: no program here sends spans of its own, so a parent of ours would be one that no
 *           tracing system ever hears of.
 * Threads   pure functions; any.
 */
#ifndef FAAS_TRACE_H
#define FAAS_TRACE_H

#include <stdbool.h>

#define FAAS_TRACE_TEXT 56 /* bytes with NUL */
#define FAAS_TRACE_ID   33

/* False: it is none, and does not travel.  text and out_trace may be the same. */
bool faas_trace_read(const char *text, char out_trace[FAAS_TRACE_TEXT]);
/* The trace of a traceparent that was read; "" of "". */
void faas_trace_id(const char *trace, char out_id[FAAS_TRACE_ID]);

#endif
