/* stream.h - a JetStream stream, seen as subject -> newest message.
 * Subjects  made of fixed words, ids and hashes; each keeps its newest message only.
 * Decides   a write may name the sequence of the subject's newest message (0: there must be none):
 *           of many writers one succeeds, the others hear CONFLICT.
 * Reads     go to the leader ($JS.API.STREAM.MSG.GET), never direct.
 * Removal   is exact: one sequence, or all messages of a subject filter; nothing is left of them.
 * Retry     every operation is repeated on silence and while there is no leader until its deadline; a
 *           write whose answer was lost is settled by reading back: it carries an id of its own.
 * Errors    NOT_FOUND, CONFLICT, TOO_LARGE, UNAVAILABLE (no leader until the deadline, or the stream
 *           or its disk is full; nothing is said of a write that timed out).
 * Threads   open from any but the loop's, close after the loop stopped, the rest on the loop
 *           thread; done runs on it, once, later.
 */
#ifndef FAAS_STREAM_H
#define FAAS_STREAM_H

#include "net/rpc.h"

typedef struct faas_stream faas_stream;
struct faas_stream_conf {
    const char *name;     /* [A-Z]+ */
    const char *subjects; /* "job.>" */
    int64_t max_bytes;    /* of all messages */
    int64_t max_age_s;    /* 0: for ever */
    bool is_discard_old;  /* full: the oldest go; else new ones are refused */
    int replicas;
};
/* Creates the stream when it is absent; another's settings are theirs.  TOO_LARGE: max_bytes are
 * kept free for it from now on, and there are not so many. */
FAAS_MUST_CHECK faas_code faas_stream_open(faas_rpc *rpc, const struct faas_stream_conf *conf,
                                           uint64_t deadline_ns, faas_stream **out_stream,
                                           faas_err *err);
void faas_stream_close(faas_stream *stream); /* operations under way end as UNAVAILABLE */

struct faas_stream_msg { /* borrowed for the callback */
    const char *subject; /* NULL after a write or removal */
    uint64_t seq;
    const void *data;
    size_t len;
};
/* msg is NULL unless code is FAAS_OK. */
typedef void faas_stream_done(void *arg, faas_code code, const struct faas_stream_msg *msg,
                              const faas_err *err);

#define FAAS_STREAM_ANY INT64_C(-1)
struct faas_stream_put {
    const char *subject;
    int64_t expected; /* FAAS_STREAM_ANY, 0, or a sequence */
    const void *data; /* copied */
    size_t len;
    uint64_t deadline_ns;
};
void faas_stream_put(faas_stream *stream, const struct faas_stream_put *put, faas_stream_done *done,
                     void *arg);
/* The newest message of a subject (or filter). */
void faas_stream_last(faas_stream *stream, const char *subject, uint64_t deadline_ns,
                      faas_stream_done *done, void *arg);
/* The first message at or after a sequence that a filter lets through. */
void faas_stream_next(faas_stream *stream, uint64_t from, const char *filter, uint64_t deadline_ns,
                      faas_stream_done *done, void *arg);
/* NOT_FOUND: there is no such message (any more); an earlier try of this call may have removed it. */
void faas_stream_delete(faas_stream *stream, uint64_t seq, uint64_t deadline_ns,
                        faas_stream_done *done, void *arg);
void faas_stream_purge(faas_stream *stream, const char *filter, uint64_t deadline_ns,
                       faas_stream_done *done, void *arg);

#endif
