/* future.c - what a later version might send: every message, stored value, frame and envelope of a
 * program linked with this (VARIANT=future) carries more than this version knows.
 * How       the linker puts these functions in the place of the two through which everything
 *           leaves a program (--wrap); nothing in the programs knows of it.
 * More      fields at the top of each JSON object and in its parts of fixed shape, headers, 8 bytes
 *           in each frame's head, frames of an unknown type, an unknown event before each `started`,
 *           an unknown state instead of `starting`, an unknown slug beside the known status of a
 *           conflict, a signing key of an unknown kind.
 * Not       bodies that the public door hands on (decoded strictly), requests to JetStream.
 */
#include <endian.h>
#include <string.h>

#include "base/json.h"
#include "contract.h"
#include "net/frames.h"
#include "net/kv.h"

#define HEAD_BYTES   40 /* FAAS_FRAME_HEAD of the later version */
#define UNKNOWN_TYPE 99
#define PREFIX       4 /* of an envelope */
#define HEADERS_MAX  24
#define SMALL        (512 * 1024) /* longer JSON stays as it is: it might no longer fit */

faas_code __real_faas_bus_publish(faas_bus *bus, enum faas_lane lane, const struct faas_out *out,
                                  faas_err *err);
faas_code __wrap_faas_bus_publish(faas_bus *bus, enum faas_lane lane, const struct faas_out *out,
                                  faas_err *err);
faas_code __real_faas_kv_put(faas_kv *kv, const char *key, uint64_t expected, const void *value,
                             size_t len, uint64_t deadline_ns, uint64_t *out_revision,
                             faas_err *err);
faas_code __wrap_faas_kv_put(faas_kv *kv, const char *key, uint64_t expected, const void *value,
                             size_t len, uint64_t deadline_ns, uint64_t *out_revision,
                             faas_err *err);

/* ---- JSON ---- */

/* Of fixed shape; env, labels, revoked, apikeys, applied and headers are maps, where a name is data. */
static const char *const parts[] = {"digest", "limits", "image", "retry", "times_ms"};

static void extend(json_t *doc)
{
    json_t *item;
    const char *name;
    size_t i;

    if (json_is_array(doc)) {
        json_array_foreach (doc, i, item)
            extend(item);
    }
    if (!json_is_object(doc))
        return;
    for (i = 0; i < FAAS_ARRAY_LEN(parts); i++)
        extend(json_object_get(doc, parts[i]));
    extend(json_object_get(doc, "items"));
    extend(json_object_get(doc, "keys"));
    json_object_foreach (json_object_get(doc, "apikeys"), name, item)
        extend(item);
    json_object_set_new(doc, "future", json_pack("{s:i, s:[i, s, n]}", "v", 2, "list", 1, "two"));
    json_object_set_new(doc, "future_text", json_string("tomorrow"));
    if (strcmp(json_string_value(json_object_get(doc, "state")) ?: "", "starting") == 0)
        json_object_set_new(doc, "state", json_string("warming"));
}

/* The JSON with more in it, the caller's to free; NULL: leave it as it is. */
static char *extended(const void *data, size_t len, size_t *out_len)
{
    FAAS_AUTO(json_t) *doc = NULL;

    if (len == 0 || len > SMALL || strchr("{[", ((const char *)data)[0]) == NULL)
        return NULL;
    doc = json_loadb(data, len, 0, NULL);
    extend(doc);
    return doc != NULL ? faas_json_text(doc, out_len) : NULL;
}

/* ---- frames ---- */

static size_t put_frame(const struct faas_frame *frame, uint8_t *out)
{
    uint8_t *at = out + HEAD_BYTES - FAAS_FRAME_HEAD;

    (void)faas_frame_write(frame, at);
    memmove(out, at, FAAS_FRAME_HEAD);
    memset(out + FAAS_FRAME_HEAD, 0xee, HEAD_BYTES - FAAS_FRAME_HEAD);
    out[2] = HEAD_BYTES;
    return HEAD_BYTES + frame->len;
}

static size_t put_extended(struct faas_frame *frame, uint8_t *out)
{
    bool is_bytes = frame->type == FAAS_FRAME_STDOUT || frame->type == FAAS_FRAME_STDERR ||
                    frame->type == FAAS_FRAME_CREDIT;
    FAAS_AUTO(char) *text = is_bytes ? NULL : extended(frame->payload, frame->len, &frame->len);

    if (text != NULL)
        frame->payload = text;
    return put_frame(frame, out);
}

/* A frame that nobody knows, then the message's own, longer each. */
static void *extend_frames(const void *data, size_t len, size_t *out_len)
{
    uint8_t *out = malloc(4096 + 8 * len); /* END alone grows by some hundred bytes */
    struct faas_frame frame, unknown;
    size_t pos = 0, at = 0;
    bool more = false, is_first = true;

    while (out != NULL && faas_frame_next(data, len, &pos, &frame, &more, NULL) == FAAS_OK &&
           more) {
        if (is_first) {
            unknown = frame;
            unknown.payload = "?";
            unknown.len = 1;
            at += put_frame(&unknown, out);
            out[3] = UNKNOWN_TYPE;
            is_first = false;
        }
        at += put_extended(&frame, out + at);
    }
    *out_len = at;
    return out;
}

/* ---- envelopes ---- */

static void *extend_envelope(const void *data, size_t len, size_t *out_len)
{
    const uint8_t *bytes = data;
    uint32_t big, json_len;
    size_t text_len = 0, rest;
    FAAS_AUTO(char) *text = NULL;
    uint8_t *out;

    memcpy(&big, data, PREFIX);
    json_len = be32toh(big);
    rest = len - PREFIX - json_len;
    text = extended(bytes + PREFIX, json_len, &text_len);
    out = text != NULL ? malloc(PREFIX + text_len + rest) : NULL;
    if (out == NULL)
        return NULL;
    big = htobe32((uint32_t)text_len);
    memcpy(out, &big, PREFIX);
    memcpy(out + PREFIX, text, text_len);
    memcpy(out + PREFIX + text_len, bytes + PREFIX + json_len, rest);
    *out_len = PREFIX + text_len + rest;
    return out;
}

/* ---- messages ---- */

static bool begins(const char *subject, const char *with)
{
    return strncmp(subject, with, strlen(with)) == 0;
}

static bool ends(const char *subject, const char *with)
{
    size_t len = strlen(subject), tail = strlen(with);

    return len >= tail && strcmp(subject + len - tail, with) == 0;
}

/* Bodies as they came through the public door. */
static bool is_strict(const char *subject)
{
    return (begins(subject, "faas.auth.") || begins(subject, "faas.registry.")) &&
           !ends(subject, ".keys") && !ends(subject, ".probe");
}

static void *body_of(const struct faas_out *out, size_t *out_len)
{
    const uint8_t *data = out->data;

    if (out->len >= FAAS_FRAME_HEAD && data[0] == 'F' && data[1] == 1)
        return extend_frames(data, out->len, out_len);
    if (out->len > PREFIX && data[0] == 0 && ends(out->subject, ".call"))
        return extend_envelope(data, out->len, out_len);
    return is_strict(out->subject) ? NULL : extended(data, out->len, out_len);
}

static void headers_of(const struct faas_out *out, struct faas_header to[HEADERS_MAX])
{
    size_t n = 0;

    for (const struct faas_header *h = out->headers; h != NULL && h->name != NULL; h++) {
        to[n] = *h;
        if (h->value != NULL && strcmp(h->name, FAAS_H_CODE) == 0 &&
            strcmp(h->value, "conflict") == 0)
            to[n].value = "conflict_of_tomorrow";
        if (++n == HEADERS_MAX - 2)
            break;
    }
    to[n++] = (struct faas_header){"Faas-Future", "1"};
    to[n] = (struct faas_header){NULL, NULL};
}

/* `started` never comes first: something that nobody knows does. */
static void announce(faas_bus *bus, enum faas_lane lane, const struct faas_out *out)
{
    static const char word[] = "\"started\"";
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *text = NULL;
    struct faas_out other = *out;

    if (!ends(out->subject, ".ev") || memmem(out->data, out->len, word, strlen(word)) == NULL)
        return;
    doc = json_loadb(out->data, out->len, 0, NULL);
    json_object_set_new(doc, "event", json_string("thawed"));
    text = faas_json_text(doc, &other.len);
    other.data = text;
    if (text != NULL && __real_faas_bus_publish(bus, lane, &other, NULL) != FAAS_OK)
        return;
}

faas_code __wrap_faas_bus_publish(faas_bus *bus, enum faas_lane lane, const struct faas_out *out,
                                  faas_err *err)
{
    struct faas_header headers[HEADERS_MAX];
    struct faas_out more = *out;
    FAAS_AUTO(void) *body = NULL;

    if (out->subject[0] == '$') /* JetStream's, ADR-32's; values went through faas_kv_put */
        return __real_faas_bus_publish(bus, lane, out, err);
    announce(bus, lane, out);
    body = body_of(out, &more.len);
    if (body != NULL)
        more.data = body;
    else
        more.len = out->len;
    headers_of(out, headers);
    more.headers = headers;
    return __real_faas_bus_publish(bus, lane, &more, err);
}

/* ---- stored values ---- */

static void add_unknown_key(json_t *doc)
{
    json_t *key = json_pack("{s:s, s:s, s:s, s:s, s:s}", "kty", "AKP", "alg", "ML-DSA-44", "kid",
                            "tomorrow", "use", "sig", "pub", "AAAA");
    json_t *keys = json_object_get(doc, "keys"), *entry;
    size_t i;

    json_array_foreach (keys, i, entry) {
        if (strcmp(json_string_value(json_object_get(entry, "kid")) ?: "", "tomorrow") == 0) {
            json_decref(key);
            return;
        }
    }
    json_array_append_new(keys, key);
}

faas_code __wrap_faas_kv_put(faas_kv *kv, const char *key, uint64_t expected, const void *value,
                             size_t len, uint64_t deadline_ns, uint64_t *out_revision,
                             faas_err *err)
{
    FAAS_AUTO(json_t) *doc = json_loadb(value, len, 0, NULL);
    FAAS_AUTO(char) *text = NULL;
    size_t text_len = 0;

    extend(doc);
    if (strcmp(key, FAAS_KEY_SIGNING) == 0)
        add_unknown_key(doc);
    text = doc != NULL ? faas_json_text(doc, &text_len) : NULL;
    return __real_faas_kv_put(kv, key, expected, text != NULL ? text : value,
                              text != NULL ? text_len : len, deadline_ns, out_revision, err);
}
