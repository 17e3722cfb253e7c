/* entry_name.h - the name of an entry in a layer, made safe before anything is done with it.
 * Clean     no "..", no "." and no empty part, no leading slash; "" is the layer's root.
 * Errors    INVALID: has "..", or an odd whiteout; TOO_LARGE: longer or deeper than allowed.
 * Threads   pure values.
 * Spec      OCI image-spec 1.1, layer.md (whiteouts).
 */
#ifndef SPAWNER_IMAGE_ENTRY_NAME_H
#define SPAWNER_IMAGE_ENTRY_NAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ENTRY_NAME_MAX 4096 /* with NUL */

struct entry_bounds {
    int64_t depth, bytes;
};
FAAS_MUST_CHECK faas_code entry_name_clean(const char *name, const struct entry_bounds *bounds,
                                           char out_clean[ENTRY_NAME_MAX], faas_err *err);
/* Cuts a clean name into its folder ("" for the root) and its last part, which it returns. */
const char *entry_name_split(const char *clean, char out_folder[ENTRY_NAME_MAX]);

enum entry_mark {
    ENTRY_PLAIN,
    ENTRY_WHITEOUT, /* the name after ".wh." is hidden */
    ENTRY_OPAQUE,   /* the folder's lower contents are hidden */
    ENTRY_IGNORED,  /* bookkeeping of other programs */
};
/* What a last part means in a layer; *out_hidden with WHITEOUT.  INVALID: hides no name. */
FAAS_MUST_CHECK faas_code entry_name_mark(const char *last, enum entry_mark *out_mark,
                                          const char **out_hidden, faas_err *err);

#endif
