/* name.h - the grammar of names (API.md section 1).
 * User name      [a-z0-9][a-z0-9_-]{1,31} after lower-casing ASCII.
 * Function name  [A-Za-z0-9][A-Za-z0-9_-]{0,62}, case kept.
 * Alias          like a function's name, but not digits alone.
 * Media type     of a result (RFC 9110, 8.3.1): type/subtype, perhaps "; parameters", printable ASCII.
 * Reference      NAME (the newest version), NAME@N (version N, a whole number from 1), NAME:ALIAS.
 * Errors         INVALID; the message names field and rule, never echoes the value.
 */
#ifndef FAAS_NAME_H
#define FAAS_NAME_H

#include <stdint.h>

#include "base/err.h"

#define FAAS_USER_NAME_MAX     32
#define FAAS_FUNCTION_NAME_MAX 63
#define FAAS_ALIAS_NAME_MAX    63
#define FAAS_FUNCTION_REF_MAX  (FAAS_FUNCTION_NAME_MAX + 1 + FAAS_ALIAS_NAME_MAX)
#define FAAS_ALIAS_LATEST      "latest" /* of every function, and nobody's to set: the newest */

FAAS_MUST_CHECK faas_code faas_user_name_fold(const char *name,
                                              char out_folded[FAAS_USER_NAME_MAX + 1],
                                              faas_err *err);
FAAS_MUST_CHECK faas_code faas_function_name_check(const char *name, faas_err *err);
FAAS_MUST_CHECK faas_code faas_alias_name_check(const char *name, faas_err *err);
#define FAAS_MEDIA_TYPE_MAX 127
FAAS_MUST_CHECK faas_code faas_media_type_check(const char *type, faas_err *err);

struct faas_function_ref {
    char name[FAAS_FUNCTION_NAME_MAX + 1];
    char alias[FAAS_ALIAS_NAME_MAX + 1]; /* "": none */
    int64_t version;                     /* 0: none is named */
};
FAAS_MUST_CHECK faas_code faas_function_ref_parse(const char *text,
                                                  struct faas_function_ref *out_ref, faas_err *err);
/* What follows the name: "", "@N" or ":ALIAS". */
#define FAAS_FUNCTION_PICK_MAX (FAAS_ALIAS_NAME_MAX + 1)
void faas_function_ref_pick(const struct faas_function_ref *ref,
                            char out_pick[FAAS_FUNCTION_PICK_MAX + 1]);

#endif
