/* name.h - the grammar of names (API.md section 1).
 * User name      [a-z0-9][a-z0-9_-]{1,31} after lower-casing ASCII.
 * Function name  [A-Za-z0-9][A-Za-z0-9_-]{0,62}, case kept.
 * Errors         INVALID; the message names field and rule, never echoes the value.
 */
#ifndef FAAS_NAME_H
#define FAAS_NAME_H

#include "base/err.h"

#define FAAS_USER_NAME_MAX     32
#define FAAS_FUNCTION_NAME_MAX 63

FAAS_MUST_CHECK faas_code faas_user_name_fold(const char *name,
                                              char out_folded[FAAS_USER_NAME_MAX + 1],
                                              faas_err *err);
FAAS_MUST_CHECK faas_code faas_function_name_check(const char *name, faas_err *err);

#endif
