/* claim.h - what the fuzz targets promise, and how they say that a promise is broken: abort().
 * A target is one LLVMFuzzerTestOneInput; libFuzzer drives it (scripts/fuzz), or driver.c, which
 * replays tests/fuzz/corpus/<parser>/ in `make check`.
 */
#ifndef FAAS_CLAIM_H
#define FAAS_CLAIM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLAIM(is_true)                                                                             \
    do {                                                                                           \
        if (!(is_true)) {                                                                          \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #is_true);                  \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A success leaves no message; a failure has one that any client can be shown. */
static inline void claim_outcome(faas_code rc, faas_code expected_failure, const faas_err *err)
{
    size_t len = strnlen(err->msg, sizeof err->msg);

    CLAIM(rc == FAAS_OK || rc == expected_failure);
    CLAIM((rc == FAAS_OK) == (len == 0));
    CLAIM(len < sizeof err->msg && faas_utf8_is(err->msg, len));
    for (size_t i = 0; i < len; i++)
        CLAIM((unsigned char)err->msg[i] >= ' ' && err->msg[i] != 0x7F);
}

#endif
