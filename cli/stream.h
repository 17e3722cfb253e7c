/* stream.h - a call's output as it comes: reads the events of a streamed answer (docs/STREAMING.md).
 * Output    what the function wrote goes to standard output and standard error, byte for byte; to a
 *           terminal standard error goes with its control characters shown as ?.
 * Answers   that are no events (of an older platform) go to standard output as they are.
 * Errors    a line that is no event, or longer than STREAM_LINE_MAX, ends the reading.
 * Threads   the main thread only.
 */
#ifndef CLI_STREAM_H
#define CLI_STREAM_H

#include "cli/client.h"

#define STREAM_LINE_MAX (256 * 1024)

struct stream { /* zeroed but for answer: ready */
    const struct client_answer *answer;
    char *line; /* the one being read; owned */
    size_t len, room;
    char event[16];
    json_t *end; /* the last event's object; owned */
};
bool stream_is_events(const struct client_answer *answer);
/* A client_take: bytes of the body. */
bool stream_take(void *stream, const char *data, size_t len);
/* After the answer: how the call ended; answer learns what the end says. */
FAAS_MUST_CHECK faas_code stream_outcome(const struct stream *stream, struct client_answer *answer,
                                         faas_err *err);
void stream_done(struct stream *stream);

#endif
