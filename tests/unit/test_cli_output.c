#include "tests/unit/unit.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"

static const struct output_column columns[] = {
    {"NAME", true, false},
    {"N", false, true},
    {"TEXT", true, false},
};

static char *print(const output_table *table, size_t width, bool is_coloured)
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);
    faas_err err = {0};

    assert_non_null(to);
    assert_ok(output_table_print(table, width, is_coloured, to, &err));
    fclose(to);
    return text;
}

static void columns_line_up_and_numbers_stand_right(void **state)
{
    FAAS_AUTO(output_table) *table = output_table_new(columns, 3);
    FAAS_AUTO(char) *text = NULL;

    (void)state;
    output_table_add(table, "a");
    output_table_addf(table, "%d", 5);
    output_table_add(table, "first");
    output_table_add(table, "longer");
    output_table_addf(table, "%d", 1234);
    output_table_add(table, NULL);
    text = print(table, 0, false);
    assert_string_equal(text, "NAME       N  TEXT\n"
                              "a          5  first\n"
                              "longer  1234  -\n");
}

static void a_narrow_terminal_cuts_the_widest_flexible_column(void **state)
{
    FAAS_AUTO(output_table) *table = output_table_new(columns, 3);
    FAAS_AUTO(char) *text = NULL;

    (void)state;
    output_table_add(table, "short");
    output_table_add(table, "1");
    output_table_add(table, "a description that is far too long");
    text = print(table, 30, false);
    assert_string_equal(text, "NAME   N  TEXT\n"
                              "short  1  a description tha...\n");
}

static void wide_characters_count_as_they_show(void **state)
{
    FAAS_AUTO(output_table) *table = output_table_new(columns, 3);
    FAAS_AUTO(char) *text = NULL;

    (void)state;
    setlocale(LC_CTYPE, "C.UTF-8");
    output_table_add(table, "h\u00e9llo");
    output_table_add(table, "1");
    output_table_add(table, "x");
    output_table_add(table, "\u4e16\u754c");
    output_table_add(table, "2");
    output_table_add(table, "y");
    text = print(table, 0, false);
    assert_string_equal(text, "NAME   N  TEXT\n"
                              "h\u00e9llo  1  x\n"
                              "\u4e16\u754c   2  y\n");
}

static void colours_do_not_move_columns(void **state)
{
    FAAS_AUTO(output_table) *table = output_table_new(columns, 3);
    FAAS_AUTO(char) *plain = NULL;
    FAAS_AUTO(char) *coloured = NULL;

    (void)state;
    output_table_add_coloured(table, "ok", OUTPUT_GREEN);
    output_table_add(table, "1");
    output_table_add(table, "x");
    plain = print(table, 0, false);
    assert_null(strchr(plain, '\033'));
    coloured = print(table, 0, true);
    assert_contains(coloured, "\033[32mok\033[0m    1  x\n");
}

static void hostile_text_cannot_move_a_cursor(void **state)
{
    FAAS_AUTO(char) *line = output_clean("a\033[2Jb\rc\nd\x9b\u202e\xc2\x85", false);
    FAAS_AUTO(char) *lines = output_clean("a\tb\nc\033", true);

    (void)state;
    assert_string_equal(line, "a?[2Jb?c?d???");
    assert_string_equal(lines, "a\tb\nc?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_line_up_and_numbers_stand_right),
        cmocka_unit_test(a_narrow_terminal_cuts_the_widest_flexible_column),
        cmocka_unit_test(wide_characters_count_as_they_show),
        cmocka_unit_test(colours_do_not_move_columns),
        cmocka_unit_test(hostile_text_cannot_move_a_cursor),
    };

    return run_unit(tests);
}
