/* echo.c - writes its argument back, byte for byte, and nothing else. */

#include <errno.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *next = argc > 1 ? argv[1] : "";
    size_t left = strlen(next);

    while (left > 0) {
        ssize_t n = write(STDOUT_FILENO, next, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return 1;
        next += n;
        left -= (size_t)n;
    }
    return 0;
}
