/* faas-probe: is an HTTP server of this machine well?  The health check of images that hold nothing but
 * their program: static, without libraries.
 *
 *   faas-probe [-qO-] http://A.B.C.D:PORT/PATH
 *
 * Prints the page.  Exit status 0: it came with status 200 within 3 s; 1: it did not; 2: wrong usage.
 * -qO- changes nothing: with it the command line is one that wget takes, too, so that an image that
 * has wget needs no other health check. */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define WAIT_S     3
#define ANSWER_MAX 4096

struct target {
    struct sockaddr_in address;
    const char *path;
};

static bool parse(const char *url, struct target *out)
{
    char host[16];
    unsigned port;
    int end = 0;

    if (sscanf(url, "http://%15[0-9.]:%5u%n", host, &port, &end) != 2 || url[end] != '/' ||
        port == 0 || port > 65535)
        return false;
    *out = (struct target){.address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)},
                           .path = url + end};
    return inet_pton(AF_INET, host, &out->address.sin_addr) == 1;
}

/* The answer's beginning as text; its length. */
static size_t ask(const struct target *target, char out_text[ANSWER_MAX + 1])
{
    const struct timeval wait = {.tv_sec = WAIT_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t len = 0;
    ssize_t n = 1;

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) == 0 &&
        connect(fd, (const struct sockaddr *)&target->address, sizeof target->address) == 0 &&
        dprintf(fd, "GET %s HTTP/1.0\r\n\r\n", target->path) > 0) {
        while (n > 0 && len < ANSWER_MAX) {
            n = read(fd, out_text + len, ANSWER_MAX - len);
            len += n > 0 ? (size_t)n : 0;
        }
    }
    if (fd >= 0)
        close(fd);
    out_text[len] = '\0';
    return len;
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 && strcmp(argv[1], "-qO-") == 0 ? argv[2] : argv[1];
    char text[ANSWER_MAX + 1];
    struct target target;
    const char *body;
    int status = 0;

    if (url == NULL || !parse(url, &target)) {
        fputs("usage: faas-probe [-qO-] http://A.B.C.D:PORT/PATH\n", stderr);
        return 2;
    }
    if (ask(&target, text) == 0 || sscanf(text, "HTTP/1.%*1d %3d", &status) != 1) {
        fputs("no answer\n", stderr);
        return 1;
    }
    body = strstr(text, "\r\n\r\n");
    puts(body != NULL ? body + 4 : "");
    return status == 200 ? 0 : 1;
}
