/* Durations: percentiles by nearest rank, bars of equal scale. */
#include "tests/unit/unit.h"

#include <string.h>

#include "cli/histogram.h"

#define US 1000ULL
#define MS 1000000ULL

static void percentiles_are_durations_that_were_measured(void **state)
{
    uint64_t all[100], one[] = {7};

    (void)state;
    for (uint64_t i = 0; i < 100; i++)
        all[i] = (100 - i) * MS;
    histogram_sort(all, 100);
    assert_int_equal(histogram_percentile(all, 100, 0), 1 * MS);
    assert_int_equal(histogram_percentile(all, 100, 50), 50 * MS);
    assert_int_equal(histogram_percentile(all, 100, 99), 99 * MS);
    assert_int_equal(histogram_percentile(all, 100, 100), 100 * MS);
    assert_int_equal(histogram_percentile(one, 1, 50), 7);
    histogram_sort(NULL, 0);
}

static void durations_have_three_digits(void **state)
{
    char text[32];

    (void)state;
    histogram_text(420 * US, text);
    assert_string_equal(text, "0.42 ms");
    histogram_text(42 * MS, text);
    assert_string_equal(text, "42.0 ms");
    histogram_text(420 * MS, text);
    assert_string_equal(text, "420 ms");
    histogram_text(1730 * MS, text);
    assert_string_equal(text, "1.73 s");
}

/* Ranges reach from the least to the greatest, empty ones between them included. */
static void bars_are_drawn_to_one_scale(void **state)
{
    const uint64_t sorted[] = {300 * US, 400 * US, 400 * US, 400 * US, 600 * US, 2 * MS, 4 * MS};
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    (void)state;
    histogram_draw(sorted, FAAS_ARRAY_LEN(sorted), 43, to);
    fclose(to);
    assert_string_equal(text, "  < 0.50 ms           4  57.1% ############\n"
                              "  < 1.00 ms           1  14.3% ###\n"
                              "  < 2.00 ms           0   0.0% \n"
                              "  < 5.00 ms           2  28.6% ######\n");
    free(text);
}

static void what_is_there_is_seen_however_few(void **state)
{
    uint64_t sorted[1001];
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    (void)state;
    for (size_t i = 0; i < 1000; i++)
        sorted[i] = 1;
    sorted[1000] = 15 * US;
    histogram_draw(sorted, 1001, 0, to);
    fclose(to);
    assert_string_equal(text, "  < 0.01 ms        1000  99.9% #########\n"
                              "  < 0.02 ms           1   0.1% #\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_durations_that_were_measured),
        cmocka_unit_test(durations_have_three_digits),
        cmocka_unit_test(bars_are_drawn_to_one_scale),
        cmocka_unit_test(what_is_there_is_seen_however_few),
    };

    return run_unit(tests);
}
