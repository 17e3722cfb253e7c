/* Frames: a sender and a receiver joined by a wire that can lose messages. */
#include "net/frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

#define LONG_MS 60000
#define CALL    "0190f3a0-0000-7000-8000-00000000000a"
#define OTHER   "0190f3a0-0000-7000-8000-00000000000b"

struct wire {
    faas_loop *loop;
    faas_frames_out *out;
    faas_frames_in *in;
    unsigned messages, credits;  /* sent in each direction */
    unsigned lose_messages;      /* bit n set: the n-th message (from 0) is lost */
    unsigned lose_credits;       /* likewise */
    unsigned lose_every, random; /* pseudo-random loss: one in lose_every */
    unsigned double_every;       /* every n-th message arrives twice */
    size_t message_bytes_max;
    uint32_t ahead_max; /* furthest frame seen beyond the newest credit */
    uint32_t credited;
    int done; /* -1 not yet, else is_acknowledged */
    bool is_deaf, is_tampering, is_batched;
    bool is_patient; /* a slow machine must not look like silence */
    bool is_calm;    /* nor make what left lately old */
};

struct packet {
    struct wire *wire;
    bool is_credit;
    size_t len;
    uint8_t bytes[];
};

static bool is_lost(struct wire *w)
{
    w->random = w->random * 1103515245u + 12345u;
    return w->lose_every != 0 && (w->random >> 16) % w->lose_every == 0;
}

static void arrive(void *arg)
{
    struct packet *p = arg;
    struct wire *w = p->wire;
    struct faas_frame frame;
    size_t pos = 0;
    bool more = true;

    while (w->done < 0 && !w->is_deaf) {
        assert_int_equal(faas_frame_next(p->bytes, p->len, &pos, &frame, &more, NULL), FAAS_OK);
        if (!more)
            break;
        if (p->is_credit)
            faas_frames_out_credit(w->out, &frame);
        else
            (void)faas_frames_in_take(w->in, &frame, "inbox.credit");
    }
    if (!p->is_credit && w->is_batched && w->done < 0 && !w->is_deaf)
        faas_frames_in_credit(w->in, "inbox.credit");
    free(p);
}

static void post(struct wire *w, bool is_credit, const void *msg, size_t len)
{
    struct packet *p = malloc(sizeof *p + len);

    assert_non_null(p);
    p->wire = w;
    p->is_credit = is_credit;
    p->len = len;
    memcpy(p->bytes, msg, len);
    if (w->is_tampering && !is_credit)
        p->bytes[len / 2] ^= 1;
    faas_loop_post(w->loop, arrive, p);
}

static void on_send(void *arg, const void *msg, size_t len)
{
    struct wire *w = arg;
    unsigned n = w->messages++;
    struct faas_frame frame;
    size_t pos = 0;
    bool more;

    if (len > w->message_bytes_max)
        w->message_bytes_max = len;
    for (;;) {
        assert_int_equal(faas_frame_next(msg, len, &pos, &frame, &more, NULL), FAAS_OK);
        if (!more)
            break;
        assert_string_equal(frame.id, CALL);
        if (frame.number - w->credited + 1 > w->ahead_max && frame.number >= w->credited)
            w->ahead_max = frame.number - w->credited + 1;
    }
    if ((n < 32 && (w->lose_messages >> n & 1) != 0) || is_lost(w))
        return;
    post(w, false, msg, len);
    if (w->double_every != 0 && n % w->double_every == 0)
        post(w, false, msg, len);
}

static void on_credit(void *arg, const char *reply, const void *msg, size_t len)
{
    struct wire *w = arg;
    unsigned n = w->credits++;
    struct faas_frame frame;
    size_t pos = 0;
    bool more;

    assert_string_equal(reply, "inbox.credit");
    assert_int_equal(faas_frame_next(msg, len, &pos, &frame, &more, NULL), FAAS_OK);
    assert_int_equal(frame.type, FAAS_FRAME_CREDIT);
    if ((n < 32 && (w->lose_credits >> n & 1) != 0) || is_lost(w))
        return;
    w->credited = frame.number;
    post(w, true, msg, len);
}

static void on_done(void *arg, bool is_acknowledged)
{
    struct wire *w = arg;

    assert_int_equal(w->done, -1); /* exactly once */
    w->done = is_acknowledged;
    faas_loop_stop(w->loop);
}

static void wire_open(struct wire *w, const struct faas_frames_in_conf *limits)
{
    struct faas_frames_out_conf out = {
        .id = CALL, .place = 257, .send = on_send, .done = on_done, .arg = w};
    struct faas_frames_in_conf in = *limits;

    out.give_up_ms = w->is_deaf ? 700 : LONG_MS;
    out.silence_ms = w->is_patient ? LONG_MS : 0;
    out.repeat_ms = w->is_calm ? LONG_MS : 0;
    memcpy(in.id, CALL, sizeof in.id);
    in.credit = on_credit;
    in.arg = w;
    in.is_batched = w->is_batched;
    w->done = -1;
    assert_int_equal(faas_loop_new(&w->loop, NULL), FAAS_OK);
    out.loop = w->loop;
    assert_int_equal(faas_frames_out_new(&out, &w->out, NULL), FAAS_OK);
    assert_int_equal(faas_frames_in_new(&in, &w->in, NULL), FAAS_OK);
}

static void wire_close(struct wire *w)
{
    w->is_deaf = true; /* the loop hands over what is still under way */
    faas_frames_out_free(w->out);
    faas_frames_in_free(w->in);
    faas_loop_free(w->loop);
}

static const struct faas_frames_in_conf no_limits = {0};

static void end(struct wire *w)
{
    FAAS_AUTO(json_t) *doc = json_pack("{s:i, s:s}", "v", 1, "code", "ok");

    assert_int_equal(faas_frames_out_end(w->out, doc, NULL), FAAS_OK);
}

static uint8_t *noise(size_t len)
{
    uint8_t *bytes = malloc(len + 1);
    uint64_t x = 88172645463325252u;

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        bytes[i] = (uint8_t)x;
    }
    return bytes;
}

/* Send len bytes over the wire and check that they arrive, in memory or in a file. */
static void transfer(struct wire *w, size_t len, bool want_file)
{
    uint8_t *bytes = noise(len), *got;
    size_t got_len;
    int fd;

    assert_int_equal(faas_frames_out_write(w->out, FAAS_FRAME_STDOUT, bytes, len, NULL), FAAS_OK);
    end(w);
    faas_loop_run(w->loop);
    assert_int_equal(w->done, true);
    assert_non_null(faas_frames_in_end(w->in));
    assert_int_equal(faas_frames_in_bytes(w->in), len);
    got = faas_frames_in_steal(w->in, &got_len, &fd);
    assert_int_equal(got_len, len);
    assert_int_equal(fd >= 0, want_file);
    if (fd >= 0) {
        assert_null(got);
        got = malloc(len);
        assert_non_null(got);
        assert_int_equal(pread(fd, got, len, 0), len);
        assert_int_equal(close(fd), 0);
    }
    assert_memory_equal(got, bytes, len);
    free(got);
    free(bytes);
}

static void a_small_result_is_one_message_and_one_credit(void **state)
{
    struct wire w = {.is_batched = true, .is_patient = true};
    FAAS_AUTO(json_t) *head = json_pack("{s:s}", "start", "cold");

    (void)state;
    wire_open(&w, &no_limits);
    assert_int_equal(faas_frames_out_head(w.out, head, NULL), FAAS_OK);
    transfer(&w, 10, false);
    assert_int_equal(w.messages, 1);
    assert_int_equal(w.credits, 1);
    assert_string_equal(json_string_value(json_object_get(faas_frames_in_head(w.in), "start")),
                        "cold");
    wire_close(&w);
}

static void an_empty_result_is_complete(void **state)
{
    struct wire w = {0};

    (void)state;
    wire_open(&w, &no_limits);
    transfer(&w, 0, false);
    wire_close(&w);
}

static void nothing_leaves_before_flush_or_a_full_frame(void **state)
{
    static uint8_t full[FAAS_FRAME_MAX];
    struct wire w = {0};

    (void)state;
    wire_open(&w, &no_limits);
    assert_int_equal(faas_frames_out_write(w.out, FAAS_FRAME_STDOUT, full, 100, NULL), FAAS_OK);
    assert_int_equal(w.messages, 0);
    faas_frames_out_flush(w.out);
    assert_int_equal(w.messages, 1);
    assert_int_equal(faas_frames_out_write(w.out, FAAS_FRAME_STDOUT, full, FAAS_FRAME_MAX, NULL),
                     FAAS_OK);
    assert_int_equal(w.messages, 2);
    assert_int_equal(faas_frames_out_pending(w.out), 512 + FAAS_FRAME_MAX); /* memory it takes */
    wire_close(&w);
}

static void twenty_megabytes_arrive_within_the_window(void **state)
{
    struct wire w = {.is_batched = true, .is_patient = true};

    (void)state;
    wire_open(&w, &no_limits);
    transfer(&w, 20 * 1024 * 1024 + 7, true);
    assert_true(w.ahead_max <= FAAS_FRAME_WINDOW);
    assert_true(w.message_bytes_max <= FAAS_FRAME_MAX + 4 * FAAS_FRAME_HEAD);
    assert_in_range(w.messages, 81, 82); /* none was sent twice */
    assert_int_equal(faas_frames_out_pending(w.out), 0);
    wire_close(&w);
}

static void stdout_up_to_the_bound_stays_in_memory(void **state)
{
    static const struct faas_frames_in_conf limits = {.memory_max = 5000};
    struct wire at = {0}, over = {0};

    (void)state;
    wire_open(&at, &limits);
    transfer(&at, 5000, false);
    wire_close(&at);
    wire_open(&over, &limits);
    transfer(&over, 5001, true);
    wire_close(&over);
}

static void a_lost_message_is_sent_again_after_silence(void **state)
{
    struct wire w = {.lose_messages = 1};
    uint64_t began = faas_now_ns();

    (void)state;
    wire_open(&w, &no_limits);
    transfer(&w, 10, false);
    assert_true(w.messages >= 2);
    assert_true(faas_now_ns() - began >= 290 * FAAS_MS_NS);
    wire_close(&w);
}

static void a_gap_is_filled_without_waiting_for_silence(void **state)
{
    struct wire w = {.lose_messages = 1u << 2, .is_patient = true};

    (void)state;
    wire_open(&w, &no_limits);
    transfer(&w, 8 * FAAS_FRAME_MAX, true); /* else the sender gives up first */
    wire_close(&w);
}

static void a_lost_last_credit_brings_the_end_again(void **state)
{
    struct wire w = {.lose_credits = 1, .is_batched = true};

    (void)state;
    wire_open(&w, &no_limits);
    transfer(&w, 10, false);
    assert_true(w.messages >= 2);
    assert_true(w.credits >= 2);
    wire_close(&w);
}

static void doubled_messages_do_not_multiply(void **state)
{
    struct wire w = {.double_every = 1, .is_batched = true, .is_patient = true, .is_calm = true};

    (void)state;
    wire_open(&w, &no_limits);
    transfer(&w, 40 * FAAS_FRAME_MAX, true);
    assert_in_range(w.messages, 41, 60);
    wire_close(&w);
}

static void any_loss_is_repaired(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 4; seed++) {
        struct wire w = {.lose_every = 5, .random = seed, .double_every = 3, .is_batched = true};

        wire_open(&w, &no_limits);
        transfer(&w, 6 * FAAS_FRAME_MAX + seed, true);
        wire_close(&w);
    }
}

static void without_any_credit_the_sender_gives_up(void **state)
{
    struct wire w = {.is_deaf = true};
    uint64_t began = faas_now_ns();

    (void)state;
    wire_open(&w, &no_limits);
    end(&w);
    faas_loop_run(w.loop);
    assert_int_equal(w.done, false);
    assert_true(faas_now_ns() - began >= 690 * FAAS_MS_NS);
    wire_close(&w);
}

static enum faas_frames_state broken_state(struct wire *w)
{
    struct faas_frame any = {FAAS_FRAME_STDOUT, 257, 0, CALL, "", 0};

    return faas_frames_in_take(w->in, &any, NULL);
}

static void a_changed_byte_breaks_the_result(void **state)
{
    struct wire w = {.is_tampering = true};
    uint8_t *bytes = noise(FAAS_FRAME_MAX / 2);

    (void)state;
    wire_open(&w, &no_limits);
    assert_int_equal(
        faas_frames_out_write(w.out, FAAS_FRAME_STDOUT, bytes, FAAS_FRAME_MAX / 2, NULL), FAAS_OK);
    end(&w);
    faas_loop_run(w.loop);
    assert_int_equal(w.done, true); /* the sender comes to its end all the same */
    assert_null(faas_frames_in_end(w.in));
    assert_int_equal(broken_state(&w), FAAS_FRAMES_BROKEN);
    wire_close(&w);
    free(bytes);
}

static void more_than_the_receiver_takes_breaks_the_result(void **state)
{
    static const struct faas_frames_in_conf limits = {.stdout_max = 1000};
    struct wire w = {0};
    uint8_t *bytes = noise(1001);

    (void)state;
    wire_open(&w, &limits);
    assert_int_equal(faas_frames_out_write(w.out, FAAS_FRAME_STDOUT, bytes, 1001, NULL), FAAS_OK);
    end(&w);
    faas_loop_run(w.loop);
    assert_int_equal(w.done, true);
    assert_int_equal(broken_state(&w), FAAS_FRAMES_BROKEN);
    wire_close(&w);
    free(bytes);
}

static void a_spill_folder_that_is_missing_breaks_the_result(void **state)
{
    static const struct faas_frames_in_conf limits = {.memory_max = 10,
                                                      .spill_dir = "/nonexistent"};
    struct wire w = {0};

    (void)state;
    wire_open(&w, &limits);
    assert_int_equal(faas_frames_out_write(w.out, FAAS_FRAME_STDOUT, "01234567890", 11, NULL),
                     FAAS_OK);
    end(&w);
    faas_loop_run(w.loop);
    assert_int_equal(broken_state(&w), FAAS_FRAMES_BROKEN);
    wire_close(&w);
}

static void frames_of_another_place_or_call_are_dropped(void **state)
{
    struct wire w = {0};
    struct faas_frame first = {FAAS_FRAME_STDOUT, 257, 0, CALL, "a", 1};
    struct faas_frame place = {FAAS_FRAME_STDOUT, 258, 1, CALL, "b", 1};
    struct faas_frame call = {FAAS_FRAME_STDOUT, 257, 1, OTHER, "c", 1};

    (void)state;
    wire_open(&w, &no_limits);
    (void)faas_frames_in_take(w.in, &first, "inbox.credit");
    (void)faas_frames_in_take(w.in, &place, "inbox.credit");
    (void)faas_frames_in_take(w.in, &call, "inbox.credit");
    assert_int_equal(faas_frames_in_bytes(w.in), 1);
    assert_int_equal(w.credits, 1);
    wire_close(&w);
}

static void give_credit(struct wire *w, uint32_t number, uint32_t place, const char *id)
{
    struct faas_frame credit = {FAAS_FRAME_CREDIT, place, number, "", "\0\0\0\020", 4};

    memcpy(credit.id, id, sizeof credit.id);
    faas_frames_out_credit(w->out, &credit);
}

static void foreign_and_impossible_credits_are_ignored(void **state)
{
    struct wire w = {0};

    (void)state;
    wire_open(&w, &no_limits);
    end(&w);
    give_credit(&w, 1, 258, CALL);
    give_credit(&w, 1, 257, OTHER);
    give_credit(&w, 2, 257, CALL);
    give_credit(&w, UINT32_MAX, 257, CALL);
    assert_int_equal(w.done, -1);
    assert_true(faas_frames_out_pending(w.out) > 0);
    give_credit(&w, 1, 257, CALL);
    assert_int_equal(w.done, true);
    assert_int_equal(faas_frames_out_pending(w.out), 0);
    wire_close(&w);
}

static void stderr_is_counted_apart_from_stdout(void **state)
{
    struct wire w = {0};

    (void)state;
    wire_open(&w, &no_limits);
    assert_int_equal(faas_frames_out_write(w.out, FAAS_FRAME_STDERR, "warning\n", 8, NULL),
                     FAAS_OK);
    transfer(&w, 3, false);
    assert_int_equal(json_integer_value(json_object_get(faas_frames_in_end(w.in), "stdout_bytes")),
                     3);
    wire_close(&w);
}

/* Whether the bytes are text, when they arrive one by one. */
static bool is_text(const char *bytes, size_t len)
{
    struct wire w = {0};
    bool is;

    wire_open(&w, &no_limits);
    for (size_t i = 0; i < len; i++) {
        struct faas_frame f = {FAAS_FRAME_STDOUT, 257, (uint32_t)i, CALL, bytes + i, 1};

        (void)faas_frames_in_take(w.in, &f, NULL);
    }
    is = faas_frames_in_is_text(w.in);
    wire_close(&w);
    return is;
}

static void text_is_told_from_bytes_across_frames(void **state)
{
    static const char *const bad[] = {
        "\x80",     "a\xff", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xe2\x82", "\xc3z"};

    (void)state;
    assert_true(is_text("", 0));
    assert_true(is_text("a\0b", 3));
    assert_true(is_text("\xc3\xbc \xe6\xbc\xa2 \xf0\x9f\x9a\x80 \xf4\x8f\xbf\xbf", 16));
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++)
        assert_false(is_text(bad[i], strlen(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_result_is_one_message_and_one_credit),
        cmocka_unit_test(an_empty_result_is_complete),
        cmocka_unit_test(nothing_leaves_before_flush_or_a_full_frame),
        cmocka_unit_test(twenty_megabytes_arrive_within_the_window),
        cmocka_unit_test(stdout_up_to_the_bound_stays_in_memory),
        cmocka_unit_test(a_lost_message_is_sent_again_after_silence),
        cmocka_unit_test(a_gap_is_filled_without_waiting_for_silence),
        cmocka_unit_test(a_lost_last_credit_brings_the_end_again),
        cmocka_unit_test(doubled_messages_do_not_multiply),
        cmocka_unit_test(any_loss_is_repaired),
        cmocka_unit_test(without_any_credit_the_sender_gives_up),
        cmocka_unit_test(a_changed_byte_breaks_the_result),
        cmocka_unit_test(more_than_the_receiver_takes_breaks_the_result),
        cmocka_unit_test(a_spill_folder_that_is_missing_breaks_the_result),
        cmocka_unit_test(frames_of_another_place_or_call_are_dropped),
        cmocka_unit_test(foreign_and_impossible_credits_are_ignored),
        cmocka_unit_test(text_is_told_from_bytes_across_frames),
        cmocka_unit_test(stderr_is_counted_apart_from_stdout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
