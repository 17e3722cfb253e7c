/* Frames of an output that is handed on as it comes: what leaves when, and how its receiver holds it. */
#include "net/frames.h"

#include <endian.h>
#include <string.h>

#include "tests/unit/unit.h"

#define CALL  "0190f3a0-0000-7000-8000-00000000000a"
#define PLACE 257
#define ROOM  (8 * 1024 * 1024)

static struct wire {
    faas_loop *loop;
    faas_frames_out *out;
    faas_frames_in *in;
    uint8_t *sent; /* all messages, one behind the other */
    size_t sent_len, given;
    int messages;
    struct faas_frame credit; /* the newest */
    uint32_t window;
    int credits;
    char took[256]; /* "1abc2x": type of stream, bytes */
    size_t took_len, swallowed;
    bool is_full; /* no memory */
} w;

static void on_send(void *arg, const void *msg, size_t len)
{
    (void)arg;
    assert_true(w.sent_len + len <= ROOM);
    memcpy(w.sent + w.sent_len, msg, len);
    w.sent_len += len;
    w.messages++;
}

static void on_done(void *arg, bool is_acknowledged)
{
    (void)arg, (void)is_acknowledged;
}

static void on_credit(void *arg, const char *reply, const void *msg, size_t len)
{
    size_t pos = 0;
    bool more;

    (void)arg, (void)reply;
    assert_int_equal(faas_frame_next(msg, len, &pos, &w.credit, &more, NULL), FAAS_OK);
    memcpy(&w.window, w.credit.payload, sizeof w.window);
    w.window = be32toh(w.window);
    w.credits++;
}

static bool on_bytes(void *arg, enum faas_frame_type type, const void *data, size_t len)
{
    (void)arg;
    w.swallowed += len;
    if (w.took_len + len + 1 < sizeof w.took) {
        w.took[w.took_len++] = type == FAAS_FRAME_STDERR ? '2' : '1';
        memcpy(w.took + w.took_len, data, len);
        w.took_len += len;
    }
    return !w.is_full;
}

static void make_wire(int64_t silence_ms, int64_t held_ms)
{
    struct faas_frames_out_conf out = {.id = CALL,
                                       .place = PLACE,
                                       .send = on_send,
                                       .done = on_done,
                                       .give_up_ms = 60000,
                                       .silence_ms = silence_ms,
                                       .held_ms = held_ms,
                                       .is_eager = true};
    struct faas_frames_in_conf in = {
        .id = CALL, .sink = on_bytes, .credit = on_credit, .is_batched = true};

    memset(&w, 0, sizeof w);
    w.sent = malloc(ROOM);
    assert_non_null(w.sent);
    assert_int_equal(faas_loop_new(&w.loop, NULL), FAAS_OK);
    out.loop = w.loop;
    assert_int_equal(faas_frames_out_new(&out, &w.out, NULL), FAAS_OK);
    assert_int_equal(faas_frames_in_new(&in, &w.in, NULL), FAAS_OK);
}

static int open_wire(void **state)
{
    (void)state;
    make_wire(60000, 60000);
    return 0;
}

static int open_hasty(void **state)
{
    (void)state;
    make_wire(5, 20);
    return 0;
}

static int close_wire(void **state)
{
    (void)state;
    faas_frames_out_free(w.out);
    faas_frames_in_free(w.in);
    faas_loop_free(w.loop);
    free(w.sent);
    return 0;
}

static void put(enum faas_frame_type type, const void *data, size_t len)
{
    assert_int_equal(faas_frames_out_write(w.out, type, data, len, NULL), FAAS_OK);
}

/* Hands over what was sent since. */
static enum faas_frames_state give(void)
{
    enum faas_frames_state state = FAAS_FRAMES_OPEN;
    struct faas_frame frame;
    bool more = true;

    while (w.given < w.sent_len) {
        assert_int_equal(faas_frame_next(w.sent, w.sent_len, &w.given, &frame, &more, NULL),
                         FAAS_OK);
        state = faas_frames_in_take(w.in, &frame, NULL);
    }
    return state;
}

static void answer(uint32_t window)
{
    faas_frames_in_set_window(w.in, window);
    faas_frames_in_remind(w.in, "inbox");
    faas_frames_out_credit(w.out, &(struct faas_frame){.type = FAAS_FRAME_CREDIT,
                                                       .place = PLACE,
                                                       .number = w.credit.number,
                                                       .id = CALL,
                                                       .payload = &(uint32_t){htobe32(window)},
                                                       .len = sizeof(uint32_t)});
}

static void end(void)
{
    FAAS_AUTO(json_t) *doc = json_pack("{s:i, s:s}", "v", 1, "code", "ok");

    assert_int_equal(faas_frames_out_end(w.out, doc, NULL), FAAS_OK);
}

/* ---- the sender ---- */

static void a_write_leaves_at_once_while_there_is_room(void **state)
{
    (void)state;
    for (int i = 1; i <= FAAS_FRAME_WINDOW_EAGER; i++) {
        put(FAAS_FRAME_STDOUT, "a line\n", 7);
        assert_int_equal(w.messages, i);
    }
    put(FAAS_FRAME_STDOUT, "a line\n", 7);
    assert_int_equal(w.messages, FAAS_FRAME_WINDOW_EAGER);
}

static void what_finds_no_room_becomes_one_frame(void **state)
{
    (void)state;
    for (int i = 0; i < FAAS_FRAME_WINDOW_EAGER + 100; i++)
        put(FAAS_FRAME_STDOUT, "x", 1);
    (void)give();
    answer(1);
    assert_int_equal(w.messages, FAAS_FRAME_WINDOW_EAGER + 1);
    (void)give();
    assert_int_equal(w.swallowed, FAAS_FRAME_WINDOW_EAGER + 100);
}

static void a_window_of_nothing_holds_it_and_the_next_one_lets_it_go_on(void **state)
{
    (void)state;
    put(FAAS_FRAME_STDOUT, "a", 1);
    (void)give();
    answer(0);
    put(FAAS_FRAME_STDOUT, "b", 1);
    assert_int_equal(w.messages, 1);
    answer(0);
    assert_int_equal(w.messages, 1);
    answer(2);
    assert_int_equal(w.messages, 2);
    end();
    assert_int_equal(w.messages, 3);
    assert_int_equal(give(), FAAS_FRAMES_COMPLETE);
    assert_string_equal(w.took, "1a1b");
}

static void give_up(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(ev, EVBREAK_ALL);
}

/* The credit that would have let it go on is lost: it asks by itself, with what it holds. */
static void a_held_output_asks_after_a_while(void **state)
{
    struct ev_loop *ev = faas_loop_ev(w.loop);
    ev_timer most;

    (void)state;
    put(FAAS_FRAME_STDOUT, "a", 1);
    (void)give();
    answer(0);
    put(FAAS_FRAME_STDOUT, "b", 1);
    assert_int_equal(w.messages, 1);
    ev_timer_init(&most, give_up, 20.0, 0.0);
    ev_timer_start(ev, &most);
    while (w.messages == 1 && ev_is_active(&most))
        ev_run(ev, EVRUN_ONCE);
    ev_timer_stop(ev, &most);
    assert_int_equal(w.messages, 2);
    (void)give();
    assert_string_equal(w.took, "1a1b");
}

static void many_small_frames_count_as_the_memory_they_take(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        put(i % 2 == 0 ? FAAS_FRAME_STDOUT : FAAS_FRAME_STDERR, "x", 1);
    assert_true(faas_frames_out_pending(w.out) >= 999 * 512);
}

/* ---- the receiver ---- */

static void both_streams_are_handed_on_in_their_order(void **state)
{
    (void)state;
    put(FAAS_FRAME_STDOUT, "one", 3);
    put(FAAS_FRAME_STDERR, "two", 3);
    put(FAAS_FRAME_STDOUT, "three", 5);
    (void)give();
    answer(4);
    end();
    assert_int_equal(give(), FAAS_FRAMES_COMPLETE);
    assert_string_equal(w.took, "1one2two1three");
    assert_int_equal(faas_frames_in_bytes(w.in), 8);
    assert_int_equal(json_integer_value(json_object_get(faas_frames_in_end(w.in), "stdout_bytes")),
                     8);
}

static void no_frame_is_taken_beyond_what_credits_let_come(void **state)
{
    struct faas_frame frame = {FAAS_FRAME_STDOUT, PLACE, 0, CALL, "x", 1};

    (void)state;
    for (frame.number = 0; frame.number < FAAS_FRAME_WINDOW_EAGER + 5; frame.number++)
        (void)faas_frames_in_take(w.in, &frame, NULL);
    assert_int_equal(w.swallowed, FAAS_FRAME_WINDOW_EAGER);
    faas_frames_in_set_window(w.in, 2);
    faas_frames_in_credit(w.in, "inbox");
    assert_int_equal(w.credit.number, FAAS_FRAME_WINDOW_EAGER);
    assert_int_equal(w.window, 2);
    for (frame.number = FAAS_FRAME_WINDOW_EAGER; frame.number < 20; frame.number++)
        (void)faas_frames_in_take(w.in, &frame, NULL);
    assert_int_equal(w.swallowed, FAAS_FRAME_WINDOW_EAGER + 2);
}

static void a_sink_without_memory_breaks_the_stream(void **state)
{
    (void)state;
    w.is_full = true;
    put(FAAS_FRAME_STDERR, "x", 1);
    assert_int_equal(give(), FAAS_FRAMES_BROKEN);
}

static void a_changed_byte_shows_at_the_end(void **state)
{
    (void)state;
    put(FAAS_FRAME_STDOUT, "abc", 3);
    w.sent[w.sent_len - 1] ^= 1;
    end();
    assert_int_equal(give(), FAAS_FRAMES_BROKEN);
}

/* Whatever the receiver's room does, all arrives, and never more than it let come. */
static void a_hundred_changes_of_room_lose_nothing(void **state)
{
    static uint8_t bytes[50000];
    size_t written = 0;

    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        put(FAAS_FRAME_STDOUT, bytes, 1 + i * 77 % sizeof bytes);
        written += 1 + i * 77 % sizeof bytes;
        (void)give();
        answer(i * 7 % 5);
    }
    end();
    while (w.swallowed < written || faas_frames_in_end(w.in) == NULL) {
        size_t before = w.swallowed;

        answer(1);
        (void)give();
        assert_true(w.swallowed > before || faas_frames_in_end(w.in) != NULL);
    }
    assert_int_equal(w.swallowed, written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_wire, close_wire)
        T(a_write_leaves_at_once_while_there_is_room),
        T(what_finds_no_room_becomes_one_frame),
        T(a_window_of_nothing_holds_it_and_the_next_one_lets_it_go_on),
        cmocka_unit_test_setup_teardown(a_held_output_asks_after_a_while, open_hasty, close_wire),
        T(many_small_frames_count_as_the_memory_they_take),
        T(both_streams_are_handed_on_in_their_order),
        T(no_frame_is_taken_beyond_what_credits_let_come),
        T(a_sink_without_memory_breaks_the_stream),
        T(a_changed_byte_shows_at_the_end),
        T(a_hundred_changes_of_room_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
