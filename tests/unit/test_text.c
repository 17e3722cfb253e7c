#include "tests/unit/unit.h"

#include <string.h>

#include "base/text.h"

static void sequences_of_each_length_decode(void **state)
{
    uint32_t point = 0;

    (void)state;
    assert_int_equal(faas_utf8_decode("a", 1, &point), 1);
    assert_int_equal(point, 'a');
    assert_int_equal(faas_utf8_decode("\xc3\xa4", 2, &point), 2);
    assert_int_equal(point, 0xE4);
    assert_int_equal(faas_utf8_decode("\xe2\x82\xac", 3, &point), 3);
    assert_int_equal(point, 0x20AC);
    assert_int_equal(faas_utf8_decode("\xf0\x9f\x98\x80", 4, &point), 4);
    assert_int_equal(point, 0x1F600);
    assert_int_equal(faas_utf8_decode("\xf4\x8f\xbf\xbf", 4, &point), 4);
    assert_int_equal(point, 0x10FFFF);
}

static void malformed_sequences_are_refused(void **state)
{
    static const char *const bad[] = {
        "\x80",             /* a tail alone */
        "\xc3",             /* cut short */
        "\xc3(",            /* no tail */
        "\xc0\xaf",         /* '/' in two bytes */
        "\xc1\xbf",         /* overlong */
        "\xe0\x80\xaf",     /* overlong */
        "\xe0\x9f\xbf",     /* overlong */
        "\xf0\x80\x80\xaf", /* overlong */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xed\xa0\x80",     /* surrogate */
        "\xed\xbf\xbf",     /* surrogate */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xfe",
        "\xff",
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        assert_int_equal(faas_utf8_decode(bad[i], strlen(bad[i]), NULL), 0);
        assert_false(faas_utf8_is(bad[i], strlen(bad[i])));
    }
    assert_int_equal(faas_utf8_decode("", 0, NULL), 0);
    assert_false(faas_utf8_is("ok\xff", 3));
    assert_true(faas_utf8_is("", 0));
    assert_true(faas_utf8_is("a\0b", 3));
}

static void cuts_keep_whole_characters(void **state)
{
    static const char text[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z"; /* 1 2 3 4 1 */
    static const size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};

    (void)state;
    for (size_t max = 0; max < FAAS_ARRAY_LEN(cuts); max++)
        assert_int_equal(faas_utf8_cut(text, strlen(text), max), cuts[max]);
}

static void what_is_not_utf8_may_be_cut_anywhere(void **state)
{
    (void)state;
    assert_int_equal(faas_utf8_cut("\x80\x80\x80\x80\x80\x80", 6, 5), 5);
}

static void controls_are_told_from_text(void **state)
{
    (void)state;
    assert_true(faas_is_control('\n'));
    assert_true(faas_is_control(0x7F));
    assert_true(faas_is_control(0x9B));
    assert_false(faas_is_control(' '));
    assert_false(faas_is_control(0xA0));
    assert_true(faas_is_display_control(0x202E));
    assert_true(faas_is_display_control(0x2066));
    assert_true(faas_is_display_control(0x2028));
    assert_false(faas_is_display_control(0x20AC));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_of_each_length_decode),
        cmocka_unit_test(malformed_sequences_are_refused),
        cmocka_unit_test(cuts_keep_whole_characters),
        cmocka_unit_test(what_is_not_utf8_may_be_cut_anywhere),
        cmocka_unit_test(controls_are_told_from_text),
    };

    return run_unit(tests);
}
