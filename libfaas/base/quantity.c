#include "base/quantity.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/auto.h"

#define DIGITS_MAX 15
#define MIB        1048576.0
#define GIB        (MIB * 1024)
#define BYTES_MAX  1e15

bool faas_quantity_number(const char *text, double *out_number)
{
    double value = 0, unit = 1;
    size_t digits = 0;
    bool after_point = false;

    if (strlen(text) > DIGITS_MAX)
        return false;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '.' && !after_point) {
            after_point = true;
            continue;
        }
        if (*p < '0' || *p > '9')
            return false;
        digits++;
        value = value * 10 + (*p - '0');
        if (after_point)
            unit *= 10;
    }
    if (digits == 0)
        return false;
    *out_number = value / unit;
    return true;
}

bool faas_quantity_mib(const char *text, int64_t *out_mib)
{
    static const struct unit {
        const char *name;
        double bytes;
    } units[] = {
        {"", 1},    {"k", 1024}, {"K", 1000}, {"Ki", 1024}, {"m", MIB},
        {"M", 1e6}, {"Mi", MIB}, {"g", GIB},  {"G", 1e9},   {"Gi", GIB},
    };
    size_t digits = strspn(text, "0123456789");
    char number[DIGITS_MAX + 1];
    double count;

    if (digits > DIGITS_MAX)
        return false;
    (void)snprintf(number, sizeof number, "%.*s", (int)digits, text);
    if (!faas_quantity_number(number, &count))
        return false;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(units); i++)
        if (strcmp(units[i].name, text + digits) == 0 && count * units[i].bytes < BYTES_MAX) {
            *out_mib = (int64_t)ceil(count * units[i].bytes / MIB);
            return true;
        }
    return false;
}

bool faas_quantity_cpus(const char *text, double *out_cpus)
{
    size_t len = strlen(text);
    bool is_milli = len > 0 && text[len - 1] == 'm';
    char number[DIGITS_MAX + 1];
    double count;

    if (len > DIGITS_MAX)
        return false;
    (void)snprintf(number, sizeof number, "%.*s", (int)(len - is_milli), text);
    if (!faas_quantity_number(number, &count))
        return false;
    *out_cpus = is_milli ? count / 1000 : count;
    return true;
}
