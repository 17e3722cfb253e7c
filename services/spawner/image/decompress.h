/* decompress.h - gzip or zstd, from one descriptor to another.
 * Errors    INVALID: not such data, or damaged; TOO_LARGE: longer than max when decompressed.
 * Threads   one.
 */
#ifndef SPAWNER_IMAGE_DECOMPRESS_H
#define SPAWNER_IMAGE_DECOMPRESS_H

#include <stdint.h>

#include "base/err.h"

FAAS_MUST_CHECK faas_code decompress_stream(int in, int out, int64_t max, int64_t *out_bytes,
                                            faas_err *err);

#endif
