#include "net/frames.h"

#include "base/spill.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#define MEMORY_MAX (1024 * 1024)
#define STDOUT_MAX (64 * 1024 * 1024)
#define HASH_BYTES 16

struct faas_frames_in {
    struct faas_frames_in_conf conf;
    enum faas_frames_state state;
    uint32_t place, next; /* the placement listened to, once next > 0; next frame wanted */
    bool is_end_taken;    /* the stream is over, well or badly */
    bool is_credit_due;
    uint32_t window;
    uint32_t limit; /* the first frame that no credit has let come */
    json_t *head, *end;

    struct faas_spill out; /* stdout, unless there is a sink */
    uint64_t bytes;        /* of stdout */
    crypto_generichash_state hash;

    bool is_text;      /* UTF-8 so far */
    uint8_t owed;      /* continuation bytes that the last sequence still needs */
    uint8_t low, high; /* bounds of the next one */
};

faas_code faas_frames_in_new(const struct faas_frames_in_conf *conf, faas_frames_in **out_in,
                             faas_err *err)
{
    faas_frames_in *in = calloc(1, sizeof *in);

    if (in == NULL)
        return faas_fail_sys(err, errno, "allocate frame receiver");
    in->conf = *conf;
    if (in->conf.stdout_max == 0)
        in->conf.stdout_max = STDOUT_MAX;
    faas_spill_init(&in->out, conf->memory_max != 0 ? conf->memory_max : MEMORY_MAX,
                    conf->spill_dir != NULL ? conf->spill_dir : "/tmp");
    in->is_text = true;
    in->place = conf->place;
    in->window = in->limit = conf->sink != NULL ? FAAS_FRAME_WINDOW_EAGER : FAAS_FRAME_WINDOW;
    crypto_generichash_init(&in->hash, NULL, 0, HASH_BYTES);
    *out_in = in;
    return FAAS_OK;
}

void faas_frames_in_free(faas_frames_in *in)
{
    if (in == NULL)
        return;
    json_decref(in->head);
    json_decref(in->end);
    faas_spill_done(&in->out);
    free(in);
}

const json_t *faas_frames_in_end(const faas_frames_in *in)
{
    return in->state == FAAS_FRAMES_COMPLETE ? in->end : NULL;
}

const json_t *faas_frames_in_head(const faas_frames_in *in)
{
    return in->head;
}

bool faas_frames_in_is_text(const faas_frames_in *in)
{
    return in->is_text && in->owed == 0;
}

size_t faas_frames_in_bytes(const faas_frames_in *in)
{
    return (size_t)in->bytes;
}

/* ---- keeping stdout ---- */

/* First byte of a UTF-8 sequence (RFC 3629): what must follow. */
static bool begin_sequence(faas_frames_in *in, uint8_t byte)
{
    in->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    in->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    in->owed = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    return byte >= 0xc2 && byte <= 0xf4;
}

/* Sequences may be cut by the end of a frame, so the state is kept between calls. */
static void check_text(faas_frames_in *in, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len && in->is_text; i++) {
        if (in->owed > 0) {
            in->is_text = data[i] >= in->low && data[i] <= in->high;
            in->owed--;
            in->low = 0x80;
            in->high = 0xbf;
        } else if (data[i] >= 0x80) {
            in->is_text = begin_sequence(in, data[i]);
        }
    }
}

static bool keep(faas_frames_in *in, const void *data, size_t len)
{
    if (len == 0)
        return true;
    if (in->conf.sink != NULL ? !in->conf.sink(in->conf.arg, FAAS_FRAME_STDOUT, data, len)
                              : len > in->conf.stdout_max - in->out.len ||
                                    faas_spill_add(&in->out, data, len, NULL) != FAAS_OK)
        return false;
    in->bytes += len;
    crypto_generichash_update(&in->hash, data, len);
    check_text(in, data, len);
    return true;
}

/* ---- taking frames ---- */

static bool is_whole(faas_frames_in *in)
{
    const json_t *bytes = json_object_get(in->end, "stdout_bytes");
    const json_t *text = json_object_get(in->end, "hash");
    uint8_t hash[HASH_BYTES];
    char mine[FAAS_FRAME_HASH];

    crypto_generichash_final(&in->hash, hash, sizeof hash);
    sodium_bin2hex(mine, sizeof mine, hash, sizeof hash);
    return json_is_integer(bytes) && json_integer_value(bytes) == (json_int_t)in->bytes &&
           json_is_string(text) && strcmp(json_string_value(text), mine) == 0;
}

/* The next frame in order. */
static enum faas_frames_state take_next(faas_frames_in *in, const struct faas_frame *frame)
{
    switch (frame->type) {
    case FAAS_FRAME_HEAD_INFO:
        if (in->head != NULL ||
            faas_json_parse(frame->payload, frame->len, false, &in->head, NULL) != FAAS_OK)
            return FAAS_FRAMES_BROKEN;
        return FAAS_FRAMES_OPEN;
    case FAAS_FRAME_STDOUT:
        return keep(in, frame->payload, frame->len) ? FAAS_FRAMES_OPEN : FAAS_FRAMES_BROKEN;
    case FAAS_FRAME_END:
        if (faas_json_parse(frame->payload, frame->len, false, &in->end, NULL) != FAAS_OK)
            return FAAS_FRAMES_BROKEN;
        return is_whole(in) ? FAAS_FRAMES_COMPLETE : FAAS_FRAMES_BROKEN;
    case FAAS_FRAME_STDERR:
        if (in->conf.sink != NULL && frame->len > 0 &&
            !in->conf.sink(in->conf.arg, FAAS_FRAME_STDERR, frame->payload, frame->len))
            return FAAS_FRAMES_BROKEN;
        return FAAS_FRAMES_OPEN;
    default:
        return FAAS_FRAMES_OPEN;
    }
}

static bool is_stream(const struct faas_frame *frame)
{
    return frame->type == FAAS_FRAME_HEAD_INFO || frame->type == FAAS_FRAME_STDOUT ||
           frame->type == FAAS_FRAME_STDERR || frame->type == FAAS_FRAME_END;
}

enum faas_frames_state faas_frames_in_take(faas_frames_in *in, const struct faas_frame *frame,
                                           const char *reply)
{
    if (!is_stream(frame) || strcmp(frame->id, in->conf.id) != 0)
        return in->state;
    if (in->next == 0 && in->conf.place == 0)
        in->place = frame->place;
    if (frame->place != in->place)
        return in->state;
    if (frame->number == in->next && frame->number < in->limit && !in->is_end_taken) {
        in->next++;
        if (in->state == FAAS_FRAMES_OPEN)
            in->state = take_next(in, frame);
        in->is_end_taken = frame->type == FAAS_FRAME_END;
    }
    in->is_credit_due = true; /* also for repeats and gaps: it says where to go on */
    if (!in->conf.is_batched)
        faas_frames_in_credit(in, reply);
    return in->state;
}

void faas_frames_in_set_window(faas_frames_in *in, uint32_t window)
{
    in->window = window;
}

void faas_frames_in_remind(faas_frames_in *in, const char *reply)
{
    in->is_credit_due = true;
    faas_frames_in_credit(in, reply);
}

void faas_frames_in_credit(faas_frames_in *in, const char *reply)
{
    uint32_t window = htobe32(in->window);
    uint8_t msg[FAAS_FRAME_HEAD + sizeof window];
    struct faas_frame credit = {
        .type = FAAS_FRAME_CREDIT,
        .place = in->place,
        .number = in->next,
        .payload = &window,
        .len = sizeof window,
    };

    if (!in->is_credit_due || reply == NULL)
        return;
    in->is_credit_due = false;
    if (in->limit < in->next + in->window)
        in->limit = in->next + in->window;
    memcpy(credit.id, in->conf.id, sizeof credit.id);
    in->conf.credit(in->conf.arg, reply, msg, faas_frame_write(&credit, msg));
}

void *faas_frames_in_steal(faas_frames_in *in, size_t *out_len, int *out_fd)
{
    return faas_spill_steal(&in->out, out_len, out_fd);
}
