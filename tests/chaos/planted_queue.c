/* planted_queue.c - an early promise, which the chaos checker must find; linked (--wrap) into a
 * publisher of its own: a call for the queue is accepted, and never stored. */
#include <string.h>

#include "net/stream.h"

void __real_faas_stream_put(faas_stream *stream, const struct faas_stream_put *put,
                            faas_stream_done *done, void *arg);
void __wrap_faas_stream_put(faas_stream *stream, const struct faas_stream_put *put,
                            faas_stream_done *done, void *arg);

void __wrap_faas_stream_put(faas_stream *stream, const struct faas_stream_put *put,
                            faas_stream_done *done, void *arg)
{
    const struct faas_stream_msg stored = {.seq = 1};
    const faas_err none = {0};

    if (strncmp(put->subject, "job.", 4) == 0 && put->expected == 0)
        done(arg, FAAS_OK, &stored, &none);
    else
        __real_faas_stream_put(stream, put, done, arg);
}
