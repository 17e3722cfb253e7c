/* sse.h - a function's output as server-sent events.
 * Event     "event: stdout" or "event: stderr", and one data line: {"text": ...} for a piece that is
 *           valid UTF-8 and mostly no control characters, {"base64": ...} for any other.  The bytes of
 *           one stream, piece after piece, are what the function wrote.
 * Borders   a character that is cut by the end of a piece is held back until its rest comes, so text
 *           stays text however it arrives.
 * Last      "event: end", data: a JSON object.
 * Threads   a struct belongs to its user.
 * Spec      WHATWG HTML, section 9.2.5 (event streams); RFC 4648 section 4 (base64).
 */
#ifndef GATEWAY_SSE_H
#define GATEWAY_SSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SSE_PIECE 8192                                    /* bytes of output in an event, at most */
#define SSE_HELD  3                                       /* bytes of a cut character */
#define SSE_ROOM  (2 * (64 + 6 * (SSE_PIECE + SSE_HELD))) /* for what one call writes */

enum sse_stream { SSE_STDOUT, SSE_STDERR, SSE_STREAMS };

struct sse { /* zeroed: ready */
    uint8_t held[SSE_STREAMS][SSE_HELD];
    size_t held_len[SSE_STREAMS];
};

/* len at most SSE_PIECE; out has SSE_ROOM bytes.  The bytes written, 0 when all were held back. */
size_t sse_write(struct sse *sse, enum sse_stream stream, const void *data, size_t len, char *out);
/* What is held back of both streams: their end. */
size_t sse_flush(struct sse *sse, char *out);
/* The last event; json is one line.  The caller frees it; NULL without memory. */
char *sse_end(const char *json, size_t *out_len);

#endif
