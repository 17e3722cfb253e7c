/* params.h - what a request says outside its body, checked: query string, path parameters, the
 * headers of a call.
 * Query     key=value pairs joined by '&', percent-decoded strictly ('+' is a space); every value
 *           is a string; a repeated key, a missing '=' and text that is not UTF-8 are INVALID.
 * Bodies    gw_request_json makes the JSON body of a bus request: parameters come from the query or
 *           from the body, never from both; path parameters join them under their own names.
 * Threads   pure.
 */
#ifndef GATEWAY_PARAMS_H
#define GATEWAY_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "contract.h"
#include "gateway/routes.h"

#define GW_LABEL_MAX FAAS_LABEL_MAX
#define GW_KEY_MAX   255 /* bytes of an Idempotency-Key */

/* text[0..len) into out of `room` bytes, NUL included; false: bad escape, an escaped control
 * character, no room. */
bool gw_percent_decode(const char *text, size_t len, bool is_query, char *out, size_t room);
/* As it may be logged, at most GW_PATH_LOG_MAX bytes with the NUL: somebody may have taken an API key for
 * its id, and written it in any way that a URL allows. */
#define GW_PATH_LOG_MAX 256
void gw_path_for_log(const char *path, char *out, size_t room);
/* *out_doc: a new object.  query may be NULL or empty. */
FAAS_MUST_CHECK faas_code gw_query_json(const char *query, json_t **out_doc, faas_err *err);

struct gw_input { /* borrowed */
    const struct gw_match *match;
    const char *query; /* NULL: none */
    const void *body;
    size_t body_len;
};
/* *out_text (the caller's, free) and *out_len: the JSON object to send on.  *out_text NULL: the
 * body as it is. */
FAAS_MUST_CHECK faas_code gw_request_json(const struct gw_input *in, char **out_text,
                                          size_t *out_len, faas_err *err);

/* X-Timeout: "1500" (milliseconds), "1500ms", "1.5s", "2m", "1m30s"; at least 1 ms; what exceeds
 * FAAS_TIMEOUT_MS_MAX is cut to it, since the header may only shorten. */
FAAS_MUST_CHECK faas_code gw_timeout_parse(const char *text, int64_t *out_ms, faas_err *err);
/* X-Call-Id: printable ASCII, 1 to GW_LABEL_MAX bytes. */
FAAS_MUST_CHECK faas_code gw_label_check(const char *text, faas_err *err);
/* Idempotency-Key: printable ASCII, 1 to GW_KEY_MAX bytes; out_hash is what travels of it. */
FAAS_MUST_CHECK faas_code gw_key_hash(const char *text, char out_hash[FAAS_HASH_TEXT],
                                      faas_err *err);
/* X-Callback-Url: http:// or https://, a host, no user and password, printable ASCII without blanks, at
 * most FAAS_CALLBACK_MAX bytes.  Where it leads is checked when it is used. */
FAAS_MUST_CHECK faas_code gw_callback_check(const char *text, faas_err *err);
enum gw_stream {           /* a call's answer */
                 GW_WHOLE, /* when the call has ended */
                 GW_BYTES, /* standard output as it is written */
                 GW_EVENTS /* standard output, standard error and the end, as events */
};
/* Accept that names text/event-stream and nothing else; X-Stream: "true" or "false".  Each may be NULL. */
FAAS_MUST_CHECK faas_code gw_stream_parse(const char *accept, const char *stream,
                                          enum gw_stream *out_stream, faas_err *err);
/* X-On-Disconnect: "cancel" (also NULL) or "continue". */
FAAS_MUST_CHECK faas_code gw_leaving_parse(const char *text, bool *out_goes_on, faas_err *err);

#endif
