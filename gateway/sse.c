#include "gateway/sse.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const char *const names[SSE_STREAMS] = {"stdout", "stderr"};

/* Bytes at the end that begin a character and may have a rest: 0 to SSE_HELD. */
static size_t cut_len(const uint8_t *data, size_t len)
{
    for (size_t back = 1; back <= SSE_HELD && back <= len; back++) {
        uint8_t byte = data[len - back];
        size_t need = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 0;

        if (byte < 0x80 || byte > 0xf4)
            return 0;
        if (need > 0)
            return need > back ? back : 0;
    }
    return 0;
}

static size_t put(char *out, const char *text)
{
    size_t len = strlen(text);

    memcpy(out, text, len);
    return len;
}

static size_t put_escaped(char *out, uint8_t byte)
{
    static const char hex[] = "0123456789abcdef";

    switch (byte) {
    case '\n':
        return put(out, "\\n");
    case '\r':
        return put(out, "\\r");
    case '\t':
        return put(out, "\\t");
    case '"':
        return put(out, "\\\"");
    case '\\':
        return put(out, "\\\\");
    default:
        if (byte >= 0x20) {
            out[0] = (char)byte;
            return 1;
        }
        memcpy(out, "\\u00", 4);
        out[4] = hex[byte >> 4];
        out[5] = hex[byte & 15];
        return 6;
    }
}

/* Text of control characters alone would become six times as long. */
static bool is_text(const uint8_t *data, size_t len)
{
    size_t controls = 0;

    for (size_t i = 0; i < len; i++)
        controls += data[i] < 0x20 && data[i] != '\n' && data[i] != '\r' && data[i] != '\t';
    return controls * 8 <= len && faas_utf8_is((const char *)data, len);
}

static size_t put_begin(char *out, enum sse_stream stream, const char *member)
{
    size_t len = put(out, "event: ");

    len += put(out + len, names[stream]);
    len += put(out + len, "\ndata: {\"");
    len += put(out + len, member);
    return len + put(out + len, "\":\"");
}

static size_t put_text(char *out, enum sse_stream stream, const uint8_t *data, size_t len)
{
    size_t at = put_begin(out, stream, "text");

    for (size_t i = 0; i < len; i++)
        at += put_escaped(out + at, data[i]);
    return at + put(out + at, "\"}\n\n");
}

static size_t put_base64(char *out, enum sse_stream stream, const uint8_t *data, size_t len)
{
    size_t at = put_begin(out, stream, "base64");
    size_t room = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);

    (void)sodium_bin2base64(out + at, room, data, len, sodium_base64_VARIANT_ORIGINAL);
    at += room - 1; /* its NUL */
    return at + put(out + at, "\"}\n\n");
}

size_t sse_write(struct sse *sse, enum sse_stream stream, const void *data, size_t len, char *out)
{
    uint8_t bytes[SSE_HELD + SSE_PIECE];
    size_t held = sse->held_len[stream], all = held + len, cut;

    memcpy(bytes, sse->held[stream], held);
    memcpy(bytes + held, data, len);
    cut = cut_len(bytes, all);
    if (!is_text(bytes, all - cut)) {
        sse->held_len[stream] = 0;
        return put_base64(out, stream, bytes, all);
    }
    memcpy(sse->held[stream], bytes + all - cut, cut);
    sse->held_len[stream] = cut;
    return all > cut ? put_text(out, stream, bytes, all - cut) : 0;
}

size_t sse_flush(struct sse *sse, char *out)
{
    size_t at = 0;

    for (enum sse_stream stream = 0; stream < SSE_STREAMS; stream++) {
        if (sse->held_len[stream] > 0)
            at += put_base64(out + at, stream, sse->held[stream], sse->held_len[stream]);
        sse->held_len[stream] = 0;
    }
    return at;
}

char *sse_end(const char *json, size_t *out_len)
{
    char *text;
    int len = asprintf(&text, "event: end\ndata: %s\n\n", json);

    if (len < 0)
        return NULL;
    *out_len = (size_t)len;
    return text;
}
