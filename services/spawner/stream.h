/* stream.h - the engine's attach stream, split into what went to stdout and what went to stderr.
 * Input     frames of 8 bytes {stream, 0, 0, 0, big-endian u32 length} and a payload; they arrive
 *           cut anywhere.  Output    slices of payload in order, as they arrive: nothing is kept
 * but a half-read head.  Streams   1 stdout, 2 stderr; 0 (stdin) counts as stdout, as the engine's
 * own client does; 3 is the engine's own message.  Errors    INVALID: the head names another
 * stream, or its padding is not zero; the splitter is dead from then on. Threads   none of its own;
 * a struct belongs to its user. Spec      Docker Engine API, "Attach to a container", stream
 * format.
 */
#ifndef SPAWNER_STREAM_H
#define SPAWNER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum stream_kind { STREAM_STDIN, STREAM_STDOUT, STREAM_STDERR, STREAM_ENGINE };

struct stream { /* zeroed: ready */
    uint8_t head[8];
    size_t head_len;
    enum stream_kind kind;
    uint32_t left; /* payload bytes of the current frame still to come */
    bool is_broken;
};
/* len is never 0. */
typedef void stream_slice(void *arg, enum stream_kind kind, const uint8_t *data, size_t len);

FAAS_MUST_CHECK faas_code stream_feed(struct stream *stream, const void *data, size_t len,
                                      stream_slice *slice, void *arg, faas_err *err);
/* True between two frames: where a complete stream ends. */
bool stream_is_whole(const struct stream *stream);

#endif
