/* Frames: the bytes of one message. */
#include "net/frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define CALL "0190f3a0-0000-7000-8000-00000000000a"

static void a_written_frame_reads_back(void **state)
{
    uint8_t msg[FAAS_FRAME_HEAD + 5];
    struct faas_frame in = {FAAS_FRAME_STDOUT, 258, 7, CALL, "hello", 5}, out;
    size_t pos = 0;
    bool more;

    (void)state;
    assert_int_equal(faas_frame_write(&in, msg), sizeof msg);
    assert_memory_equal(msg, "F\001\040\002\000\000\000\005\000\000\001\002\000\000\000\007", 16);
    assert_int_equal(faas_frame_next(msg, sizeof msg, &pos, &out, &more, NULL), FAAS_OK);
    assert_true(more);
    assert_int_equal(out.type, FAAS_FRAME_STDOUT);
    assert_int_equal(out.place, 258);
    assert_int_equal(out.number, 7);
    assert_string_equal(out.id, CALL);
    assert_int_equal(out.len, 5);
    assert_memory_equal(out.payload, "hello", 5);
    assert_int_equal(faas_frame_next(msg, sizeof msg, &pos, &out, &more, NULL), FAAS_OK);
    assert_false(more);
}

static void longer_headers_and_unknown_types_are_skipped(void **state)
{
    uint8_t msg[3 * FAAS_FRAME_HEAD + 4];
    struct faas_frame unknown = {(enum faas_frame_type)99, 0, 0, CALL, "", 0};
    struct faas_frame known = {FAAS_FRAME_END, 1, 2, CALL, "", 0}, out;
    size_t len = faas_frame_write(&unknown, msg), pos = 0;
    bool more;

    (void)state;
    len += faas_frame_write(&known, msg + len);
    msg[FAAS_FRAME_HEAD + 2] = FAAS_FRAME_HEAD + 4; /* a later version's header is longer */
    memset(msg + len, 0xee, 4);
    len += 4;
    len += faas_frame_write(&unknown, msg + len);
    assert_int_equal(faas_frame_next(msg, len, &pos, &out, &more, NULL), FAAS_OK);
    assert_true(more);
    assert_int_equal(out.number, 2);
    assert_int_equal(faas_frame_next(msg, len, &pos, &out, &more, NULL), FAAS_OK);
    assert_false(more);
}

static void every_cut_is_invalid(void **state)
{
    uint8_t msg[FAAS_FRAME_HEAD + 5];
    struct faas_frame in = {FAAS_FRAME_STDOUT, 1, 0, CALL, "hello", 5}, out;
    faas_err err = {0};

    (void)state;
    (void)faas_frame_write(&in, msg);
    for (size_t len = 1; len < sizeof msg; len++) {
        uint8_t *cut = malloc(len); /* of exactly this size, for the address sanitizer */
        size_t pos = 0;
        bool more;

        assert_non_null(cut);
        memcpy(cut, msg, len);
        assert_int_equal(faas_frame_next(cut, len, &pos, &out, &more, &err), FAAS_INVALID);
        free(cut);
    }
    assert_string_equal(err.msg, "frame: cut short");
}

static void assert_spoilt(size_t at, uint8_t value)
{
    uint8_t msg[FAAS_FRAME_HEAD];
    struct faas_frame in = {FAAS_FRAME_STDOUT, 1, 0, CALL, "", 0}, out;
    size_t pos = 0;
    bool more;

    (void)faas_frame_write(&in, msg);
    msg[at] = value;
    assert_int_equal(faas_frame_next(msg, sizeof msg, &pos, &out, &more, NULL), FAAS_INVALID);
}

static void wrong_magic_version_and_sizes_are_invalid(void **state)
{
    (void)state;
    assert_spoilt(0, 'G');
    assert_spoilt(1, 2);
    assert_spoilt(2, FAAS_FRAME_HEAD - 1);
    assert_spoilt(4, 1); /* 16 MiB of payload */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_written_frame_reads_back),
        cmocka_unit_test(longer_headers_and_unknown_types_are_skipped),
        cmocka_unit_test(every_cut_is_invalid),
        cmocka_unit_test(wrong_magic_version_and_sizes_are_invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
