/* unit.h - what every unit test program begins with. */
#ifndef FAAS_UNIT_H
#define FAAS_UNIT_H

/* cmocka.h needs these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "tests/support/promise.h"

#define assert_ok(call) assert_int_equal((call), FAAS_OK)
#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (strstr((text), (part)) == NULL)                                                        \
            fail_msg("\"%s\" does not contain \"%s\"", (text), (part));                            \
    } while (0)
#define run_unit(tests) cmocka_run_group_tests((tests), NULL, NULL)

#endif
