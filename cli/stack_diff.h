/* stack_diff.h - what would change of a function for it to be what the stack file says.
 * Whole     a field the file leaves out is at its default; env and labels are replaced as a whole.
 * Left out  what this release does not know, and what the platform does not know and the file does
 *           not say; isolation, and secrets, unless the file says them.
 * Changes   an array of {"field": "limits.memory_mb", "now": value, "wanted": value}; the values of
 *           env are never shown: "set", or null.
 * Threads   pure; any.
 */
#ifndef CLI_STACK_DIFF_H
#define CLI_STACK_DIFF_H

#include "base/json.h"

/* given: the body of a registration; record: the function that is there.  *out_patch: the fields
 * that change, {} for none.  Both are new references. */
FAAS_MUST_CHECK faas_code stack_diff(const json_t *given, const json_t *record,
                                     json_t **out_changes, json_t **out_patch, faas_err *err);

#endif
