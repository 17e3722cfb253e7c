/* call_spec.h - a placement as the publisher sends it (PROTOCOL.md 4.2), decoded and bounded.
 * Ownership every pointer is borrowed from the message and its envelope.
 * Errors    INVALID with the field; UNSUPPORTED for what this spawner cannot give a call.
 * Threads   pure.
 */
#ifndef SPAWNER_CALL_SPEC_H
#define SPAWNER_CALL_SPEC_H

#include "base/envelope.h"
#include "base/id.h"
#include "base/name.h"
#include "base/trace.h"
#include "net/bus.h"
#include "runtime.h"

/* What goes to the caller as it is written, besides stdout at the end. */
enum call_stream { CALL_STREAM_NONE, CALL_STREAM_STDOUT, CALL_STREAM_ALL };

struct call_spec {
    char id[FAAS_UUID_TEXT];
    char tenant[FAAS_UUID_TEXT], function[FAAS_UUID_TEXT]; /* "": not said */
    char publisher[33];
    const char *inbox;           /* of the caller */
    const char *epoch;           /* the sender's idea of ours; NULL: it has none */
    int64_t beat;                /* newest beat of ours the sender knew; -1: not said */
    char trace[FAAS_TRACE_TEXT]; /* traceparent; "": none */
    uint32_t place;
    double age_ms; /* since the call's first sending; -1: not said */
    const char *isolation;
    int64_t stderr_max;
    int64_t version; /* of the function; 0: not said */
    enum call_stream stream;
    char content_type[FAAS_MEDIA_TYPE_MAX +
                      1];  /* of the result, handed on as it came; "": not said */
    bool may_run_again;    /* its publisher does that: a loss is told to it alone */
    const json_t *secrets; /* names; NULL: none */
    struct rt_spec run;
};
/* From headers alone: id, place, publisher, inbox, epoch, beat.  INVALID: it cannot be answered. */
FAAS_MUST_CHECK faas_code call_spec_head(const faas_msg *msg, struct call_spec *out_spec,
                                         faas_err *err);
/* The rest, from the envelope, into a spec that call_spec_head filled. */
FAAS_MUST_CHECK faas_code call_spec_body(const struct faas_envelope *env, struct call_spec *spec,
                                         faas_err *err);
/* Limits a call has when nothing is said (API.md section 3). */
void call_spec_defaults(struct rt_spec *run);

#endif
