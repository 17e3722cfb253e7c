#include "stream.h"

#include <string.h>

static faas_code read_head(struct stream *stream, faas_err *err)
{
    const uint8_t *h = stream->head;

    if (h[0] > STREAM_ENGINE || h[1] != 0 || h[2] != 0 || h[3] != 0) {
        stream->is_broken = true;
        return faas_fail(err, FAAS_INVALID, "output stream: bad frame head");
    }
    stream->kind = h[0] == STREAM_STDIN ? STREAM_STDOUT : (enum stream_kind)h[0];
    stream->left = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
    stream->head_len = 0;
    return FAAS_OK;
}

faas_code stream_feed(struct stream *stream, const void *data, size_t len, stream_slice *slice,
                      void *arg, faas_err *err)
{
    const uint8_t *at = data;

    if (stream->is_broken)
        return faas_fail(err, FAAS_INVALID, "output stream: broken before");
    while (len > 0) {
        size_t take;

        if (stream->left > 0) {
            take = len < stream->left ? len : stream->left;
            stream->left -= (uint32_t)take;
            slice(arg, stream->kind, at, take);
        } else {
            take = sizeof stream->head - stream->head_len;
            if (take > len)
                take = len;
            memcpy(stream->head + stream->head_len, at, take);
            stream->head_len += take;
            if (stream->head_len == sizeof stream->head)
                FAAS_TRY(read_head(stream, err));
        }
        at += take;
        len -= take;
    }
    return FAAS_OK;
}

bool stream_is_whole(const struct stream *stream)
{
    return !stream->is_broken && stream->left == 0 && stream->head_len == 0;
}
