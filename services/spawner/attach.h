/* attach.h - the connection that carries a container's output, and its input.
 * Why       after the engine's answer the connection is no longer HTTP: bytes flow both ways and
 *           each side ends on its own.  libcurl cannot half-close, so this is a plain socket to
 *           where libcurl's own requests go.
 * Order     ready once the engine's 200 or 101 is in (start the container then); data in pieces;
 *           end once and last: err NULL at end of stream, else why it could not be opened or broke.
 * Input     written as the container reads it, then the sending side is closed; a container that
 *           does not read its input is no error.
 * Pause     no data while paused; the engine blocks the container's writes.
 * Ownership the input bytes are borrowed until end or close.
 * Threads   loop thread; every callback may close.
 */
#ifndef SPAWNER_ATTACH_H
#define SPAWNER_ATTACH_H

#include "engine.h"

typedef struct attach attach;
struct attach_conf {
    engine *eng;
    const char *container; /* id */
    const void *input;     /* NULL: the container has no standard input */
    size_t input_len;
    bool is_fed;            /* more input comes with attach_feed() */
    void (*fed)(void *arg); /* all of it so far has been sent; of is_fed alone */
    void (*ready)(void *arg);
    void (*data)(void *arg, const uint8_t *data, size_t len);
    void (*end)(void *arg, const faas_err *err);
    void *arg;
};
FAAS_MUST_CHECK faas_code attach_open(const struct attach_conf *conf, attach **out_attach,
                                      faas_err *err);
bool attach_is_input_over(const attach *at); /* nobody reads it any more */
/* After ready; len 0: that was all.  False: it is over, or there is no memory. */
bool attach_feed(attach *at, const void *data, size_t len);
void attach_pause(attach *at, bool is_paused);
void attach_close(attach *at); /* NULL is fine; no callback afterwards */

#endif
