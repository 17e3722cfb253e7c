#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/exposition.h"

static struct exposition *page;

static int open_page(void **state)
{
    faas_err err = {0};

    (void)state;
    return exposition_new(&page, &err) == FAAS_OK ? 0 : -1;
}

static int close_page(void **state)
{
    (void)state;
    exposition_free(page);
    page = NULL;
    return 0;
}

static void assert_page(const char *expected)
{
    size_t len;
    char *text = exposition_text(page, &len);

    assert_non_null(text);
    assert_string_equal(text, expected);
    assert_int_equal(len, strlen(expected));
    free(text);
}

#define HEAD(name, kind) "# HELP " name " what it is\n# TYPE " name " " kind "\n"

static void a_family_is_said_once_with_the_rows_of_all(void **state)
{
    (void)state;
    exposition_add(page, "auth", "a1",
                   HEAD("calls_total", "counter") "calls_total 3\n" HEAD(
                       "slots", "gauge") "slots{kind=\"big\"} 4\n");
    exposition_add(page, "auth", "a2",
                   HEAD("slots", "gauge") "slots{kind=\"big\"} 5\n" HEAD(
                       "calls_total", "counter") "calls_total 7\n");
    assert_page(
        HEAD("calls_total",
             "counter") "calls_total{service=\"auth\",id=\"a1\"} 3\n"
                        "calls_total{service=\"auth\",id=\"a2\"} 7\n" HEAD(
                            "slots", "gauge") "slots{service=\"auth\",id=\"a1\",kind=\"big\"} 4\n"
                                              "slots{service=\"auth\",id=\"a2\",kind=\"big\"} 5\n");
    assert_int_equal(exposition_left_out(page), 0);
}

static void a_histogram_has_three_kinds_of_rows(void **state)
{
    (void)state;
    exposition_add(page, "s", "i",
                   HEAD("t_seconds", "histogram") "t_seconds_bucket{le=\"+Inf\"} 1\nt_seconds_sum "
                                                  "0.5\nt_seconds_count 1\nt_seconds 9\n");
    assert_page(
        HEAD("t_seconds", "histogram") "t_seconds_bucket{service=\"s\",id=\"i\",le=\"+Inf\"} "
                                       "1\n"
                                       "t_seconds_sum{service=\"s\",id=\"i\"} 0.5\n"
                                       "t_seconds_count{service=\"s\",id=\"i\"} 1\n");
    assert_int_equal(exposition_left_out(page), 1); /* t_seconds alone */
}

static void braces_quotes_and_backslashes_in_a_value_end_nothing(void **state)
{
    (void)state;
    exposition_add(page, "s", "i",
                   HEAD("a", "gauge") "a{route=\"/f/{name}\",odd=\"\\\"} 1\\\\\"} 2\n");
    assert_page(
        HEAD("a", "gauge") "a{service=\"s\",id=\"i\",route=\"/f/{name}\",odd=\"\\\"} 1\\\\\"} "
                           "2\n");
}

static void what_is_no_row_of_its_family_is_left_out_and_counted(void **state)
{
    static const char *const lines[] = {
        "a\n",           "a \n",     "a x\n",   "a  1\n",
        "a 1 2\n",       "b 1\n",    "a{\n",    "a{x=\"1} 1\n",
        "a{x=\"1\"}1\n", "a{} 1 \n", "# EOF\n", "a_sum 1\n",
        "a\t1\n",        "\x01\n",   "{} 1\n",  "a{x=\"\x7f\"} 1\n",
    };

    (void)state;
    exposition_add(page, "s", "i", "a 1\n"); /* no family yet */
    exposition_add(page, "s", "i", HEAD("a", "gauge") "a 1\n");
    for (size_t i = 0; i < FAAS_ARRAY_LEN(lines); i++) {
        char text[256];

        (void)snprintf(text, sizeof text, HEAD("a", "gauge") "%s", lines[i]);
        exposition_add(page, "s", "i", text);
        assert_int_equal(exposition_left_out(page), i + 2);
    }
    assert_page(HEAD("a", "gauge") "a{service=\"s\",id=\"i\"} 1\n");
}

static void another_kind_of_another_release_is_left_out(void **state)
{
    (void)state;
    exposition_add(page, "s", "1", HEAD("a", "gauge") "a 1\n");
    exposition_add(page, "s", "2", HEAD("a", "counter") "a 2\n");
    exposition_add(page, "s", "3", HEAD("b", "summary") "b 2\n");
    exposition_add(page, "s", "4", "# HELP 4a what\n# TYPE 4a gauge\n4a 1\n");
    assert_page(HEAD("a", "gauge") "a{service=\"s\",id=\"1\"} 1\n");
}

static void a_line_of_any_length_harms_nothing(void **state)
{
    char *text = malloc(8192);

    (void)state;
    assert_non_null(text);
    memset(text, 'a', 8191);
    memcpy(text, "# HELP ", 7);
    text[8191] = '\0';
    exposition_add(page, "s", "i", text);
    memcpy(text, HEAD("a", "gauge") "a{x=\"", strlen(HEAD("a", "gauge") "a{x=\""));
    exposition_add(page, "s", "i", text);
    free(text);
    exposition_add(page, "s", "i", HEAD("a", "gauge") "a 1");
    assert_int_equal(exposition_left_out(page), 2);
    assert_page(HEAD("a", "gauge") "a{service=\"s\",id=\"i\"} 1\n");
}

static void families_are_bounded(void **state)
{
    char text[128];
    size_t len, count = 0;
    char *all;

    (void)state;
    for (int i = 0; i < EXPOSITION_FAMILIES + 10; i++) {
        (void)snprintf(text, sizeof text, "# HELP f%d x\n# TYPE f%d gauge\nf%d 1\n", i, i, i);
        exposition_add(page, "s", "i", text);
    }
    all = exposition_text(page, &len);
    assert_non_null(all);
    for (const char *at = all; (at = strstr(at, "# TYPE")) != NULL; at++)
        count++;
    free(all);
    assert_int_equal(count, EXPOSITION_FAMILIES);
    assert_int_equal(exposition_left_out(page), 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_page, close_page)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_family_is_said_once_with_the_rows_of_all),
        TEST(a_histogram_has_three_kinds_of_rows),
        TEST(braces_quotes_and_backslashes_in_a_value_end_nothing),
        TEST(what_is_no_row_of_its_family_is_left_out_and_counted),
        TEST(another_kind_of_another_release_is_left_out),
        TEST(a_line_of_any_length_harms_nothing),
        TEST(families_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
