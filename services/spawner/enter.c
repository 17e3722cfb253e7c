/* faas-enter - puts the secrets of a function where it reads them, then becomes the function.
 * Runs as the function's user, in its container: it can do nothing that the function could not. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "enter.h"

#define LINE_MAX_BYTES 128
#define BUFFER         4096
#define FILE_MODE      0400
#define FOLDER_MODE    0500
#define PLACES         2
#define USUAL_PATH     "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum { EXIT_SECRETS = 125, EXIT_NO_START = 126, EXIT_NOT_FOUND = 127 };

static _Noreturn void give_up(int status, const char *what)
{
    fprintf(stderr, "faas: %s: %s\n", what, strerror(errno));
    _exit(status);
}

static void read_bytes(char *bytes, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = read(STDIN_FILENO, bytes + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EPIPE;
        if (n <= 0)
            give_up(EXIT_SECRETS, "the secrets did not arrive");
        done += (size_t)n;
    }
}

static void write_bytes(int fd, const char *bytes, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = write(fd, bytes + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            give_up(EXIT_SECRETS, "a secret cannot be written");
        done += (size_t)n;
    }
}

/* A byte at a time: what follows the last line is not ours to read.  False: the empty line. */
static bool read_line(char line[LINE_MAX_BYTES])
{
    size_t len = 0;

    for (;;) {
        read_bytes(&line[len], 1);
        if (line[len] == '\n')
            break;
        if (++len == LINE_MAX_BYTES) {
            errno = EPROTO;
            give_up(EXIT_SECRETS, "the secrets did not arrive");
        }
    }
    line[len] = '\0';
    return len > 0;
}

static void put(const int folders[PLACES], const char *name, size_t len)
{
    static char buffer[BUFFER];
    int fds[PLACES];

    for (int i = 0; i < PLACES; i++) {
        fds[i] = openat(folders[i], name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                        FILE_MODE);
        if (fds[i] < 0)
            give_up(EXIT_SECRETS, "a secret cannot be written");
    }
    while (len > 0) {
        size_t part = len < sizeof buffer ? len : sizeof buffer;

        read_bytes(buffer, part);
        for (int i = 0; i < PLACES; i++)
            write_bytes(fds[i], buffer, part);
        len -= part;
    }
    for (int i = 0; i < PLACES; i++)
        close(fds[i]);
    explicit_bzero(buffer, sizeof buffer);
}

static void take_secrets(void)
{
    static const char *const places[PLACES] = {ENTER_PATH, ENTER_ALIAS};
    char line[LINE_MAX_BYTES];
    int folders[PLACES];

    for (int i = 0; i < PLACES; i++) {
        folders[i] = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folders[i] < 0)
            give_up(EXIT_SECRETS, places[i]);
    }
    while (read_line(line)) {
        char *blank = strrchr(line, ' ');

        if (blank == NULL) {
            errno = EPROTO;
            give_up(EXIT_SECRETS, "the secrets did not arrive");
        }
        *blank = '\0';
        put(folders, line, strtoul(blank + 1, NULL, 10));
    }
    for (int i = 0; i < PLACES; i++) {
        if (fchmod(folders[i], FOLDER_MODE) != 0)
            give_up(EXIT_SECRETS, places[i]);
        close(folders[i]);
    }
}

static void read_nothing(void)
{
    int fd = open("/dev/null", O_RDONLY);

    if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
        give_up(EXIT_SECRETS, "/dev/null");
    if (fd != STDIN_FILENO)
        close(fd);
}

/* As engines look for a program: in PATH when its name has no slash.  Unlike execvp(), what is no
 * program is not given to a shell. */
static _Noreturn void become(char **argv)
{
    const char *at = getenv("PATH"), *end;
    char path[PATH_MAX];
    int error = ENOENT;

    if (strchr(argv[0], '/') != NULL) {
        execv(argv[0], argv);
        give_up(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NO_START, argv[0]);
    }
    for (at = at != NULL ? at : USUAL_PATH; *at != '\0'; at = *end != '\0' ? end + 1 : end) {
        end = strchrnul(at, ':');
        if (snprintf(path, sizeof path, "%.*s/%s", (int)(end - at), at, argv[0]) >=
            (int)sizeof path)
            continue;
        execv(path, argv);
        if (errno != ENOENT && errno != ENOTDIR)
            error = errno;
    }
    errno = error;
    give_up(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NO_START, argv[0]);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("faas-enter: a part of faas-spawner, which puts it into containers\n", stderr);
        return EXIT_SECRETS;
    }
    take_secrets();
    if (strcmp(argv[1], ENTER_NOTHING) == 0)
        read_nothing();
    become(&argv[2]);
}
