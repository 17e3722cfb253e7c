/* Amounts with units. */
#include "base/quantity.h"

#include "tests/unit/unit.h"

static void sizes_become_mib_rounded_up(void **state)
{
    static const struct {
        const char *text;
        int64_t mib; /* -1: none */
    } sizes[] = {
        {"128Mi", 128},
        {"128m", 128},
        {"1Gi", 1024},
        {"1g", 1024},
        {"1G", 954},
        {"64M", 62},
        {"1Ki", 1},
        {"134217728", 128},
        {"0", 0},
        {"1", 1},
        {"", -1},
        {"Mi", -1},
        {"-1Mi", -1},
        {"1.5Gi", -1},
        {"1Ti", -1},
        {"1 Mi", -1},
        {"1Mi ", -1},
        {"999999999999999Gi", -1},
        {"1234567890123456", -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int64_t mib = -1;

        assert_int_equal(faas_quantity_mib(sizes[i].text, &mib), sizes[i].mib >= 0);
        assert_int_equal(mib, sizes[i].mib);
    }
}

static void processors_are_numbers_or_thousandths(void **state)
{
    static const struct {
        const char *text;
        double cpus; /* -1: none */
    } parts[] = {
        {"1", 1},    {"0.5", 0.5},  {".25", 0.25}, {"500m", 0.5}, {"1500m", 1.5},
        {"0", 0},    {"", -1},      {"m", -1},     {"-1", -1},    {"1e3", -1},
        {"nan", -1}, {"0.5.1", -1}, {"5 m", -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        double cpus = -1;

        assert_int_equal(faas_quantity_cpus(parts[i].text, &cpus), parts[i].cpus >= 0);
        assert_true(cpus == parts[i].cpus);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_become_mib_rounded_up),
        cmocka_unit_test(processors_are_numbers_or_thousandths),
    };

    return run_unit(tests);
}
