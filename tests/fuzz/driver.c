/* Replays a corpus where there is no libFuzzer: each file, and each prefix of it.
 * The program is called fuzz_<parser> and runs at the root of the tree. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/claim.h"

#define FILE_MAX 65536
#define STEPS    512 /* prefixes tried of one file, spread evenly */

static void die(const char *what, const char *path)
{
    fprintf(stderr, "%s: %s: %s\n", path, what, strerror(errno));
    exit(1);
}

/* A copy of its own for each input, so that a sanitizer sees reads beyond its end. */
static void run_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    if (copy == NULL)
        die("allocate", "input");
    if (size > 0)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void replay(const char *path, const char *name)
{
    static uint8_t data[FILE_MAX];
    FILE *in = fopen(path, "rb");
    size_t size, step;

    if (in == NULL)
        die("open", path);
    size = fread(data, 1, sizeof data, in);
    if (ferror(in) != 0)
        die("read", path);
    fclose(in);
    printf("[ RUN      ] %s\n", name);
    fflush(stdout);
    step = size / STEPS + 1;
    for (size_t len = 0; len < size; len += step)
        run_copy(data, len);
    run_copy(data, size);
    printf("[       OK ] %s\n", name);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *parser = slash != NULL ? strstr(slash, "fuzz_") : NULL;
    char directory[256], path[640];
    struct dirent **files = NULL;
    int count;

    snprintf(directory, sizeof directory, "tests/fuzz/corpus/%s", parser != NULL ? parser + 5 : "");
    count = scandir(directory, &files, is_visible, alphasort);
    if (count <= 0)
        die("no corpus", directory);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]->d_name);
        replay(path, files[i]->d_name);
        free(files[i]);
    }
    free(files);
    return 0;
}
