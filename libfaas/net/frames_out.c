#include "net/frames.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"

#define SILENCE_MS   300
#define REPEAT_MS    30
#define OPEN_MIN     512
#define WINDOW_LIMIT 256 /* frames a receiver may ask for at most */
#define HELD_MS      3000
#define HASH_BYTES   16

struct kept { /* one frame in wire form */
    TAILQ_ENTRY(kept) link;
    uint32_t number;
    size_t len; /* payload */
    uint8_t wire[];
};

struct faas_frames_out {
    struct faas_frames_out_conf conf;
    TAILQ_HEAD(, kept) kept; /* from number `credited` on */
    uint32_t credited;       /* next frame the receiver wants */
    uint32_t next;           /* next frame to send; goes back to `credited` to send again */
    uint32_t count;          /* frames numbered so far */
    uint32_t window;
    bool is_ended, is_done;
    uint64_t base_sent_ns; /* when frame `credited` last left */
    uint64_t heard_ns;     /* newest credit, or when END was queued */
    size_t pending;        /* bytes kept (cost()), the open frame included */

    struct kept *open; /* frame being filled; not numbered yet */
    size_t open_room;
    enum faas_frame_type open_type;

    crypto_generichash_state hash; /* of stdout */
    uint64_t stdout_bytes;
    ev_timer timer;
};

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events);

faas_code faas_frames_out_new(const struct faas_frames_out_conf *conf, faas_frames_out **out,
                              faas_err *err)
{
    faas_frames_out *self = calloc(1, sizeof *self);

    if (self == NULL)
        return faas_fail_sys(err, errno, "allocate frame sender");
    self->conf = *conf;
    if (self->conf.silence_ms == 0)
        self->conf.silence_ms = SILENCE_MS;
    if (self->conf.held_ms == 0)
        self->conf.held_ms = HELD_MS;
    if (self->conf.repeat_ms == 0)
        self->conf.repeat_ms = REPEAT_MS;
    self->window = conf->is_eager ? FAAS_FRAME_WINDOW_EAGER : FAAS_FRAME_WINDOW;
    TAILQ_INIT(&self->kept);
    crypto_generichash_init(&self->hash, NULL, 0, HASH_BYTES);
    ev_init(&self->timer, on_timer);
    self->timer.data = self;
    *out = self;
    return FAAS_OK;
}

/* What a closed frame counts for: many of a byte each are not to pass for nothing. */
static size_t cost(const struct kept *frame)
{
    return frame->len < OPEN_MIN ? OPEN_MIN : frame->len;
}

static void drop_first(faas_frames_out *out)
{
    struct kept *first = TAILQ_FIRST(&out->kept);

    TAILQ_REMOVE(&out->kept, first, link);
    out->pending -= cost(first);
    free(first);
}

void faas_frames_out_free(faas_frames_out *out)
{
    if (out == NULL)
        return;
    ev_timer_stop(faas_loop_ev(out->conf.loop), &out->timer);
    while (!TAILQ_EMPTY(&out->kept))
        drop_first(out);
    free(out->open);
    free(out);
}

size_t faas_frames_out_pending(const faas_frames_out *out)
{
    return out->pending;
}

/* ---- numbering ---- */

/* Give the open frame its number and header. */
static void close_open(faas_frames_out *out)
{
    struct kept *frame = out->open;
    struct faas_frame head;

    if (frame == NULL)
        return;
    frame->number = out->count++;
    head = (struct faas_frame){
        .type = out->open_type,
        .place = out->conf.place,
        .number = frame->number,
        .payload = frame->wire + FAAS_FRAME_HEAD,
        .len = frame->len,
    };
    memcpy(head.id, out->conf.id, sizeof head.id);
    (void)faas_frame_write(&head, frame->wire);
    TAILQ_INSERT_TAIL(&out->kept, frame, link);
    out->pending += cost(frame) - frame->len;
    out->open = NULL;
    out->open_room = 0;
}

/* What was written leaves as soon as the receiver has room for one frame more. */
static void close_if_eager(faas_frames_out *out)
{
    if (out->conf.is_eager && out->count - out->credited < out->window)
        close_open(out);
}

/* ---- sending ---- */

static void arm(faas_frames_out *out, int64_t ms)
{
    struct ev_loop *ev = faas_loop_ev(out->conf.loop);

    bool is_waiting = out->credited != out->count || (out->conf.is_eager && out->open != NULL);

    ev_timer_stop(ev, &out->timer);
    if (!is_waiting || out->is_done)
        return;
    ev_now_update(ev);
    ev_timer_set(&out->timer, (double)ms / 1000.0, 0.0);
    ev_timer_start(ev, &out->timer);
}

static bool may_send(const faas_frames_out *out, const struct kept *frame)
{
    return frame != NULL && frame->number - out->credited < out->window;
}

static struct kept *find(faas_frames_out *out, uint32_t number)
{
    struct kept *frame;

    TAILQ_FOREACH (frame, &out->kept, link) {
        if (frame->number == number)
            break;
    }
    return frame;
}

/* One message from `next` on: as many frames as fit.  False when nothing could be sent. */
static bool send_one(faas_frames_out *out)
{
    struct kept *first = find(out, out->next), *frame = first, *last = NULL;
    size_t payload = 0, size = 0, at = 0;
    FAAS_AUTO(char) *msg = NULL;

    for (; may_send(out, frame); frame = TAILQ_NEXT(frame, link)) {
        if (last != NULL && payload + frame->len > FAAS_FRAME_MAX)
            break;
        payload += frame->len;
        size += FAAS_FRAME_HEAD + frame->len;
        last = frame;
    }
    if (last == NULL)
        return false;
    if (first == last) {
        out->conf.send(out->conf.arg, first->wire, size);
    } else {
        msg = malloc(size);
        if (msg == NULL)
            return false; /* the timer tries again */
        for (frame = first; at < size; frame = TAILQ_NEXT(frame, link)) {
            memcpy(msg + at, frame->wire, FAAS_FRAME_HEAD + frame->len);
            at += FAAS_FRAME_HEAD + frame->len;
        }
        out->conf.send(out->conf.arg, msg, size);
    }
    if (out->next == out->credited)
        out->base_sent_ns = faas_now_ns();
    out->next = last->number + 1;
    return true;
}

static void send_all(faas_frames_out *out)
{
    bool has_sent = false;

    if (out->is_done)
        return;
    while (send_one(out))
        has_sent = true;
    if (has_sent || !ev_is_active(&out->timer))
        arm(out, out->conf.silence_ms);
}

/* Last thing a call into this file does: the owner may free the sender in it. */
static void finish(faas_frames_out *out, bool is_acknowledged)
{
    ev_timer_stop(faas_loop_ev(out->conf.loop), &out->timer);
    out->is_done = true;
    out->conf.done(out->conf.arg, is_acknowledged);
}

void faas_frames_out_give_up(faas_frames_out *out)
{
    if (!out->is_done)
        finish(out, false);
}

/* A single message: who lost more says so with its next credit. */
static void repeat_one(faas_frames_out *out)
{
    bool is_held = out->window == 0;

    if (is_held && faas_now_ns() < out->heard_ns + (uint64_t)out->conf.held_ms * FAAS_MS_NS)
        return;
    if (out->conf.is_eager)
        close_open(out); /* else it waits for a credit, and nobody would send one */
    if (is_held)
        out->window = 1;
    out->next = out->credited;
    (void)send_one(out);
    if (is_held)
        out->window = 0;
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    faas_frames_out *out = timer->data;
    uint64_t give_up_ns = out->heard_ns + (uint64_t)out->conf.give_up_ms * FAAS_MS_NS;
    int64_t left_ms;

    (void)ev;
    (void)events;
    if (out->is_ended && faas_now_ns() >= give_up_ns) {
        finish(out, false);
        return;
    }
    repeat_one(out);
    left_ms = out->is_ended ? faas_left_ms(give_up_ns) : out->conf.silence_ms;
    arm(out, left_ms < out->conf.silence_ms ? left_ms : out->conf.silence_ms);
}

/* Sends again, but not what left just now: after a needless resend every duplicate is answered with
 * a repeated credit. */
static void on_repeat(faas_frames_out *out)
{
    uint64_t again_ns = out->base_sent_ns + (uint64_t)out->conf.repeat_ms * FAAS_MS_NS;

    if (out->next == out->credited)
        return; /* nothing of it was sent yet */
    if (faas_now_ns() < again_ns) {
        arm(out, faas_left_ms(again_ns));
        return;
    }
    out->next = out->credited;
    send_all(out);
}

void faas_frames_out_credit(faas_frames_out *out, const struct faas_frame *credit)
{
    uint32_t window, ahead = credit->number - out->credited;
    bool was_held;

    if (out->is_done || credit->type != FAAS_FRAME_CREDIT || credit->place != out->conf.place ||
        strcmp(credit->id, out->conf.id) != 0 || credit->len < sizeof window)
        return;
    if (ahead > out->count - out->credited)
        return; /* older than the newest one, or beyond what exists */
    memcpy(&window, credit->payload, sizeof window);
    window = be32toh(window);
    was_held = out->window == 0;
    out->window = window > WINDOW_LIMIT ? WINDOW_LIMIT : window;
    out->heard_ns = faas_now_ns();
    if (ahead == 0 && !was_held) {
        on_repeat(out);
        return;
    }
    if (out->next - out->credited < ahead)
        out->next = credit->number;
    for (; ahead > 0; ahead--)
        drop_first(out);
    out->credited = credit->number;
    out->base_sent_ns = out->heard_ns;
    if (out->is_ended && out->credited == out->count) {
        finish(out, true);
        return;
    }
    close_if_eager(out);
    arm(out, out->conf.silence_ms);
    send_all(out);
}

/* ---- filling ---- */

/* Room for at least one more byte in the open frame of this type, and as many of `want` as a frame
 * may hold; false without memory. */
static bool make_room(faas_frames_out *out, enum faas_frame_type type, size_t want)
{
    size_t used, room;
    struct kept *grown;

    if (out->open != NULL && out->open_type != type)
        close_open(out);
    used = out->open == NULL ? 0 : out->open->len;
    room = out->open_room < OPEN_MIN ? OPEN_MIN : out->open_room;
    while (room < FAAS_FRAME_MAX && room < used + want)
        room *= 2; /* powers of two end exactly at FAAS_FRAME_MAX */
    if (room == out->open_room)
        return true;
    grown = realloc(out->open, sizeof *grown + FAAS_FRAME_HEAD + room);
    if (grown == NULL)
        return false;
    grown->len = used;
    out->open = grown;
    out->open_room = room;
    out->open_type = type;
    return true;
}

static faas_code append(faas_frames_out *out, enum faas_frame_type type, const void *data,
                        size_t len, faas_err *err)
{
    const uint8_t *from = data;
    size_t part, room;

    if (out->is_ended || out->is_done)
        return faas_fail(err, FAAS_INTERNAL, "frames: written after the end");
    while (len > 0) {
        if (!make_room(out, type, len))
            return faas_fail_sys(err, ENOMEM, "keep frame");
        room = out->open_room - out->open->len;
        part = len < room ? len : room;
        memcpy(out->open->wire + FAAS_FRAME_HEAD + out->open->len, from, part);
        if (type == FAAS_FRAME_STDOUT) {
            crypto_generichash_update(&out->hash, from, part);
            out->stdout_bytes += part;
        }
        out->open->len += part;
        out->pending += part;
        from += part;
        len -= part;
        if (out->open->len == FAAS_FRAME_MAX)
            close_open(out);
    }
    return FAAS_OK;
}

static faas_code append_json(faas_frames_out *out, enum faas_frame_type type, const json_t *doc,
                             faas_err *err)
{
    size_t len = 0;
    FAAS_AUTO(char) *text = faas_json_text(doc, &len);

    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "encode frame");
    if (len > FAAS_FRAME_MAX)
        return faas_fail(err, FAAS_INTERNAL, "frames: JSON of %zu bytes", len);
    close_open(out);
    FAAS_TRY(append(out, type, text, len, err));
    close_open(out);
    return FAAS_OK;
}

faas_code faas_frames_out_head(faas_frames_out *out, const json_t *head, faas_err *err)
{
    return append_json(out, FAAS_FRAME_HEAD_INFO, head, err);
}

faas_code faas_frames_out_write(faas_frames_out *out, enum faas_frame_type type, const void *data,
                                size_t len, faas_err *err)
{
    uint32_t before = out->count;

    FAAS_TRY(append(out, type, data, len, err));
    close_if_eager(out);
    if (out->count != before)
        send_all(out); /* a frame became full, or need not */
    else if (!ev_is_active(&out->timer))
        arm(out, out->conf.silence_ms); /* held: its credit may be lost */
    return FAAS_OK;
}

void faas_frames_out_flush(faas_frames_out *out)
{
    close_open(out);
    send_all(out);
}

faas_code faas_frames_out_end(faas_frames_out *out, json_t *end, faas_err *err)
{
    uint8_t hash[HASH_BYTES];
    char text[FAAS_FRAME_HASH];
    crypto_generichash_state state = out->hash; /* a failed end may be tried again */

    crypto_generichash_final(&state, hash, sizeof hash);
    sodium_bin2hex(text, sizeof text, hash, sizeof hash);
    if (json_object_set_new(end, "stdout_bytes", json_integer((json_int_t)out->stdout_bytes)) !=
            0 ||
        json_object_set_new(end, "hash", json_string(text)) != 0)
        return faas_fail_sys(err, ENOMEM, "encode end frame");
    FAAS_TRY(append_json(out, FAAS_FRAME_END, end, err));
    out->is_ended = true;
    out->heard_ns = faas_now_ns();
    send_all(out);
    return FAAS_OK;
}
