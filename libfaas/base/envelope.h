/* envelope.h - a JSON object and raw bytes in one message.
 * Shape     [u32 big-endian JSON length][JSON][bytes], used for a call (metadata + argument) so
 *           that arguments stay bytes.
 * Bounds    JSON at most FAAS_ENVELOPE_JSON_MAX; the whole at most the bus's max_payload (2 MiB).
 * Errors    INVALID for a frame that lies about its lengths or holds no JSON object; TOO_LARGE when
 *           there is too much JSON to pack.
 * Threads   values; any.
 */
#ifndef FAAS_ENVELOPE_H
#define FAAS_ENVELOPE_H

#include "base/json.h"

#define FAAS_ENVELOPE_JSON_MAX (256 * 1024)

struct faas_envelope {
    json_t *meta;      /* owned */
    const void *bytes; /* borrowed from the message */
    size_t len;
};
struct faas_envelope_parts {
    const char *json; /* text of an object */
    size_t json_len;
    const void *bytes;
    size_t len;
};
/* *out_msg is owned by the caller (free). */
FAAS_MUST_CHECK faas_code faas_envelope_join(const struct faas_envelope_parts *parts,
                                             void **out_msg, size_t *out_len, faas_err *err);
/* The same with a document. */
FAAS_MUST_CHECK faas_code faas_envelope_pack(const json_t *meta, const void *bytes, size_t len,
                                             void **out_msg, size_t *out_len, faas_err *err);
FAAS_MUST_CHECK faas_code faas_envelope_open(const void *msg, size_t msg_len,
                                             struct faas_envelope *out_env, faas_err *err);
void faas_envelope_done(struct faas_envelope *env);

#endif
