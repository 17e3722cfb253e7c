#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "services/publisher/series.h"

#define ANN "0190a000-0000-7000-8000-000000000001"
#define BOB "0190a000-0000-7000-8000-000000000002"
#define MS  UINT64_C(1000000)

static struct series *series;
static uint64_t now_ns = MS;

static int with_rows(size_t rows)
{
    faas_err err = {0};

    return series_new(rows, &series, &err) == FAAS_OK ? 0 : -1;
}

static int with_four(void **state)
{
    (void)state;
    return with_rows(4);
}

static int with_none(void **state)
{
    (void)state;
    return with_rows(0);
}

static int done(void **state)
{
    (void)state;
    series_free(series);
    series = NULL;
    return 0;
}

static void note(const char *tenant, const char *function, faas_code code, uint64_t took_ns)
{
    const struct series_call call = {
        .tenant = tenant, .function = function, .code = code, .took_ns = took_ns, .now_ns = now_ns};

    series_note(series, &call);
}

static char *text(void)
{
    char *out_text = NULL;
    size_t len;
    FILE *out = open_memstream(&out_text, &len);

    assert_non_null(out);
    series_write(series, out);
    assert_int_equal(fclose(out), 0);
    return out_text;
}

/* Of all rows together. */
static long total(const char *all)
{
    long sum = 0;

    for (const char *at = all; (at = strstr(at, "\nfaas_function_calls_total{")) != NULL; at++)
        sum += strtol(strchr(at + 1, ' '), NULL, 10);
    return sum;
}

#define ROW(tenant, name) "{tenant=\"" tenant "\",function=\"" name "\""

static void outcomes_and_times_are_told_apart(void **state)
{
    char *all;

    (void)state;
    note(ANN, "hello", FAAS_OK, MS);               /* the bound of the first bucket */
    note(ANN, "hello", FAAS_OK, MS + 1);           /* the second */
    note(ANN, "hello", FAAS_TIMEOUT, 100000 * MS); /* beyond all */
    note(BOB, "hello", FAAS_OK, MS);
    all = text();
    assert_contains(all, "faas_function_calls_total" ROW(ANN, "hello") ",code=\"ok\"} 2\n");
    assert_contains(all, "faas_function_calls_total" ROW(ANN, "hello") ",code=\"timeout\"} 1\n");
    assert_contains(all, "faas_function_calls_total" ROW(BOB, "hello") ",code=\"ok\"} 1\n");
    assert_contains(all, "seconds_bucket" ROW(ANN, "hello") ",le=\"0.001\"} 1\n");
    assert_contains(all, "seconds_bucket" ROW(ANN, "hello") ",le=\"0.004\"} 2\n");
    assert_contains(all, "seconds_bucket" ROW(ANN, "hello") ",le=\"65.536\"} 2\n");
    assert_contains(all, "seconds_bucket" ROW(ANN, "hello") ",le=\"+Inf\"} 3\n");
    assert_contains(all, "seconds_sum" ROW(ANN, "hello") "} 100.002000001\n");
    assert_null(strstr(all, "other")); /* nothing is in it */
    free(all);
}

static void one_user_has_at_most_half_of_the_rows(void **state)
{
    char *all, name[16];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "f%d", i);
        note(ANN, name, FAAS_OK, MS);
    }
    note(BOB, "hello", FAAS_FAILED, MS);
    all = text();
    assert_contains(all, ROW(ANN, "f1") ",code=\"ok\"} 1\n");
    assert_null(strstr(all, ROW(ANN, "f2")));
    assert_contains(all, ROW("other", "other") ",code=\"ok\"} 998\n");
    assert_contains(all, ROW(BOB, "hello") ",code=\"function_failed\"} 1\n");
    assert_int_equal(total(all), 1001);
    free(all);
}

static void an_idle_function_gives_its_row_and_the_sum_stays(void **state)
{
    char *all;

    (void)state;
    note(ANN, "old", FAAS_OK, MS);
    now_ns += MS;
    note(ANN, "young", FAAS_OK, MS);
    note(ANN, "new", FAAS_OK, MS); /* no row yet: both were called just now */
    now_ns += SERIES_IDLE_MS * MS - MS;
    note(ANN, "new", FAAS_OK, MS);
    all = text();
    assert_null(strstr(all, "\"old\""));
    assert_contains(all, ROW(ANN, "young") ",code=\"ok\"} 1\n");
    assert_contains(all, ROW(ANN, "new") ",code=\"ok\"} 1\n");
    assert_contains(all, ROW("other", "other") ",code=\"ok\"} 2\n");
    assert_int_equal(total(all), 4);
    free(all);
}

static void without_rows_all_share_one(void **state)
{
    char *all;

    (void)state;
    note(ANN, "hello", FAAS_OK, MS);
    note(BOB, "hello", FAAS_OK, MS);
    all = text();
    assert_contains(all, ROW("other", "other") ",code=\"ok\"} 2\n");
    assert_int_equal(total(all), 2);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(outcomes_and_times_are_told_apart, with_four, done),
        cmocka_unit_test_setup_teardown(one_user_has_at_most_half_of_the_rows, with_four, done),
        cmocka_unit_test_setup_teardown(an_idle_function_gives_its_row_and_the_sum_stays, with_four,
                                        done),
        cmocka_unit_test_setup_teardown(without_rows_all_share_one, with_none, done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
