#include "net/frames.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#define MAGIC   'F'
#define VERSION 1

/* Offsets inside the header. */
enum {
    AT_MAGIC,
    AT_VERSION,
    AT_HEAD_LEN,
    AT_TYPE,
    AT_LEN,
    AT_PLACE = 8,
    AT_NUMBER = 12,
    AT_ID = 16
};

static void put_u32(uint8_t *to, uint32_t value)
{
    uint32_t big = htobe32(value);

    memcpy(to, &big, sizeof big);
}

static uint32_t get_u32(const uint8_t *from)
{
    uint32_t big;

    memcpy(&big, from, sizeof big);
    return be32toh(big);
}

size_t faas_frame_write(const struct faas_frame *frame, uint8_t *out)
{
    assert(frame->len <= FAAS_FRAME_MAX);
    out[AT_MAGIC] = MAGIC;
    out[AT_VERSION] = VERSION;
    out[AT_HEAD_LEN] = FAAS_FRAME_HEAD;
    out[AT_TYPE] = (uint8_t)frame->type;
    put_u32(out + AT_LEN, (uint32_t)frame->len);
    put_u32(out + AT_PLACE, frame->place);
    put_u32(out + AT_NUMBER, frame->number);
    faas_uuid_to_bytes(frame->id, out + AT_ID);
    if (frame->len > 0 && frame->payload != out + FAAS_FRAME_HEAD)
        memcpy(out + FAAS_FRAME_HEAD, frame->payload, frame->len);
    return FAAS_FRAME_HEAD + frame->len;
}

static bool is_known(uint8_t type)
{
    switch (type) {
    case FAAS_FRAME_HEAD_INFO:
    case FAAS_FRAME_STDOUT:
    case FAAS_FRAME_STDERR:
    case FAAS_FRAME_END:
    case FAAS_FRAME_CREDIT:
    case FAAS_FRAME_TAKEN:
    case FAAS_FRAME_ACCEPT:
    case FAAS_FRAME_FAIL:
        return true;
    default:
        return false;
    }
}

/* Bytes of the frame at `at`, header included; 0 with err filled when it is not one. */
static size_t frame_size(const uint8_t *at, size_t left, faas_err *err)
{
    size_t head, len;

    if (left < FAAS_FRAME_HEAD || at[AT_MAGIC] != MAGIC || at[AT_VERSION] != VERSION) {
        (void)faas_fail(err, FAAS_INVALID, "frame: not a frame of version %d", VERSION);
        return 0;
    }
    head = at[AT_HEAD_LEN];
    len = get_u32(at + AT_LEN);
    if (head < FAAS_FRAME_HEAD || len > FAAS_FRAME_MAX) {
        (void)faas_fail(err, FAAS_INVALID, "frame: header of %zu, payload of %zu bytes", head, len);
        return 0;
    }
    if (left < head + len) {
        (void)faas_fail(err, FAAS_INVALID, "frame: cut short");
        return 0;
    }
    return head + len;
}

faas_code faas_frame_next(const void *msg, size_t len, size_t *pos, struct faas_frame *out_frame,
                          bool *out_more, faas_err *err)
{
    const uint8_t *at;
    size_t size;

    for (;;) {
        if (*pos >= len) {
            *out_more = false;
            return FAAS_OK;
        }
        at = (const uint8_t *)msg + *pos;
        size = frame_size(at, len - *pos, err);
        if (size == 0)
            return FAAS_INVALID;
        *pos += size;
        if (is_known(at[AT_TYPE]))
            break;
    }
    *out_frame = (struct faas_frame){
        .type = (enum faas_frame_type)at[AT_TYPE],
        .place = get_u32(at + AT_PLACE),
        .number = get_u32(at + AT_NUMBER),
        .payload = at + at[AT_HEAD_LEN],
        .len = get_u32(at + AT_LEN),
    };
    faas_uuid_from_bytes(at + AT_ID, out_frame->id);
    *out_more = true;
    return FAAS_OK;
}
