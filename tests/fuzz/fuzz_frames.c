/* Any message comes to an end: each step moves forward or fails as INVALID; payloads lie within the
 * message and under the limit; a frame that was read is written and read back as the same. */
#include "net/frames.h"
#include "tests/fuzz/claim.h"

static void claim_round_trip(const struct faas_frame *frame)
{
    FAAS_AUTO(void) *msg = malloc(FAAS_FRAME_HEAD + frame->len);
    struct faas_frame again = {0};
    size_t pos = 0, len;
    bool is_more = false;
    faas_err err = {0};

    CLAIM(msg != NULL);
    len = faas_frame_write(frame, msg);
    CLAIM(len == FAAS_FRAME_HEAD + frame->len);
    CLAIM(faas_frame_next(msg, len, &pos, &again, &is_more, &err) == FAAS_OK && is_more);
    CLAIM(pos == len && again.type == frame->type && again.place == frame->place &&
          again.number == frame->number && strcmp(again.id, frame->id) == 0 &&
          again.len == frame->len);
    CLAIM(frame->len == 0 || memcmp(again.payload, frame->payload, frame->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t pos = 0;
    bool is_more = true;

    while (is_more) {
        struct faas_frame frame = {0};
        size_t before = pos;
        faas_err err = {0};
        faas_code rc = faas_frame_next(data, size, &pos, &frame, &is_more, &err);

        claim_outcome(rc, FAAS_INVALID, &err);
        if (rc != FAAS_OK)
            return 0;
        CLAIM(pos <= size && (!is_more || pos >= before + FAAS_FRAME_HEAD));
        if (!is_more)
            return 0;
        CLAIM(frame.len <= FAAS_FRAME_MAX && faas_uuid_is(frame.id));
        CLAIM((const uint8_t *)frame.payload >= data &&
              (const uint8_t *)frame.payload + frame.len <= data + size);
        claim_round_trip(&frame);
    }
    return 0;
}
