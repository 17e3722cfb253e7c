#include "tests/support/promise.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void test_promise_at(const char *file, const char *test, int number, const char *figure, ...)
{
    const char *folder = getenv("FAAS_PROMISES");
    char path[4096];
    va_list args;
    FILE *out;

    if (folder == NULL)
        return;
    (void)snprintf(path, sizeof path, "%s/%02d-%s", folder, number, test);
    out = fopen(path, "a"); /* each variant adds its line; they must be equal */
    if (out == NULL) {
        perror(path);
        exit(1);
    }
    va_start(args, figure);
    (void)fprintf(out, "%d\t%s\t%s\t", number, file, test);
    (void)vfprintf(out, figure, args);
    (void)fputc('\n', out);
    va_end(args);
    if (ferror(out) != 0 || fclose(out) != 0) {
        perror(path);
        exit(1);
    }
}
