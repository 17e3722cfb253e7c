#include "tests/unit/unit.h"

#include <string.h>

#include "services/spawner/stream.h"

static faas_err err;

struct got {
    char out[64], msg[64];
    size_t out_len, msg_len;
};

static void take(void *arg, enum stream_kind kind, const uint8_t *data, size_t len)
{
    struct got *got = arg;
    bool is_out = kind == STREAM_STDOUT;
    char *to = is_out ? got->out + got->out_len : got->msg + got->msg_len;

    assert_true(kind == STREAM_STDOUT || kind == STREAM_STDERR);
    memcpy(to, data, len);
    *(is_out ? &got->out_len : &got->msg_len) += len;
}

static const char two[] =
    "\1\0\0\0\0\0\0\5hello\2\0\0\0\0\0\0\3err\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\1!";

static void the_streams_come_apart_however_the_bytes_are_cut(void **state)
{
    (void)state;
    for (size_t cut = 1; cut < sizeof two; cut++) {
        struct stream stream = {.head_len = 0};
        struct got got = {.out_len = 0};

        for (size_t at = 0; at < sizeof two - 1; at += cut) {
            size_t len = sizeof two - 1 - at < cut ? sizeof two - 1 - at : cut;

            assert_ok(stream_feed(&stream, two + at, len, take, &got, &err));
        }
        assert_int_equal(got.out_len, 6);
        assert_memory_equal(got.out, "hello!", 6);
        assert_int_equal(got.msg_len, 3);
        assert_memory_equal(got.msg, "err", 3);
        assert_true(stream_is_whole(&stream));
    }
}

static void a_stream_that_stops_inside_a_frame_is_not_whole(void **state)
{
    (void)state;
    for (size_t len = 1; len < 13; len++) {
        struct stream stream = {.head_len = 0};
        struct got got = {.out_len = 0};

        assert_ok(stream_feed(&stream, two, len, take, &got, &err));
        assert_false(stream_is_whole(&stream));
    }
}

static void an_unknown_stream_or_padding_is_refused_for_good(void **state)
{
    static const char *const bad[] = {"\4\0\0\0\0\0\0\1x", "\1\1\0\0\0\0\0\1x", "\1\0\0\1\0\0\0\1x",
                                      "HTTP/1.1 "};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        struct stream stream = {.head_len = 0};
        struct got got = {.out_len = 0};

        assert_int_equal(stream_feed(&stream, bad[i], 9, take, &got, &err), FAAS_INVALID);
        assert_int_equal(stream_feed(&stream, two, 13, take, &got, &err), FAAS_INVALID);
        assert_int_equal(got.out_len + got.msg_len, 0);
        assert_false(stream_is_whole(&stream));
    }
}

static void stdin_frames_count_as_stdout(void **state)
{
    struct stream stream = {.head_len = 0};
    struct got got = {.out_len = 0};

    (void)state;
    assert_ok(stream_feed(&stream, "\0\0\0\0\0\0\0\1x", 9, take, &got, &err));
    assert_int_equal(got.out_len, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_streams_come_apart_however_the_bytes_are_cut),
        cmocka_unit_test(a_stream_that_stops_inside_a_frame_is_not_whole),
        cmocka_unit_test(an_unknown_stream_or_padding_is_refused_for_good),
        cmocka_unit_test(stdin_frames_count_as_stdout),
    };

    return run_unit(tests);
}
