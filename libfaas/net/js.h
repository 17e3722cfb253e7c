/* js.h - what JetStream's API answers: error numbers, stored messages.
 * Shape     a reply is a JSON object; with "error": {"code": HTTP-like status, "err_code", ...}.
 * Stored    a message's bytes and headers come in base64.
 * Threads   pure values.
 * Spec      NATS ADR-1, ADR-8; err_code values are the server's errors.json.
 */
#ifndef FAAS_JS_H
#define FAAS_JS_H

#include "base/json.h"
#include "net/bus.h"

enum {
    FAAS_JS_NO_PEERS = 10005, /* servers that have not met yet; comes with status 400 */
    FAAS_JS_NO_MESSAGE = 10037,
    FAAS_JS_NO_SEQUENCE = 10043,
    FAAS_JS_NO_STORAGE = 10047, /* also for a stream that is there: its room is asked for twice */
    FAAS_JS_MESSAGE_TOO_LARGE = 10054,
    FAAS_JS_DELETE_FAILED = 10057, /* there is no such message */
    FAAS_JS_NAME_IN_USE = 10058,
    FAAS_JS_NO_STREAM = 10059,
    FAAS_JS_WRONG_SEQUENCE = 10071,
    FAAS_JS_REPLICAS_NOT_SUPPORTED = 10074,
    FAAS_JS_STORE_FAILED = 10077, /* the stream or the disk is full */
    FAAS_JS_OVERTAKEN = 10164,    /* as WRONG_SEQUENCE, found by a leader that has the other write
                                     in flight */
};

struct faas_js_reply {
    json_t *doc;    /* owned; NULL when nothing could be read */
    int64_t error;  /* err_code; 0: none */
    int64_t status; /* its HTTP-like status */
};
/* False: not JSON.  trouble gets why, and an error's text as its detail. */
bool faas_js_parse(const faas_msg *msg, struct faas_js_reply *out_reply, faas_err *trouble);
/* No leader, no peers, no resources: an election or a start, which pass. */
bool faas_js_may_pass(const struct faas_js_reply *reply);
/* The bytes of a base64 text, NUL-terminated, the caller's (free); absent reads as empty.  False:
 * malformed, or no memory. */
bool faas_js_decode(const json_t *text, void **out_bytes, size_t *out_len);
/* Value of a header in the raw block "NATS/1.0\r\nName: value\r\n...\r\n"; "" when absent or longer
 * than there is room. */
void faas_js_header(const char *block, const char *name, char *out_value, size_t room);

#endif
