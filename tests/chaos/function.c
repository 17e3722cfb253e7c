/* function.c - what the chaos harness calls: chaos-function "KIND KEY", which prints "done KIND KEY".
 * plain       at once
 * slow        after SLOW_MS
 * count:ADDR  after it told KEY to the counter at ADDR (port 53 of a name server is what a function may always
 *             reach) and the counter said that it has it: what was run is thus known outside the sandbox.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT    53
#define SLOW_MS 400
#define ROOM    256

static int fail(const char *what)
{
    perror(what);
    return 1;
}

/* 0, or an exit status: then nobody knows whether it counted. */
static int count(const char *address, const char *key)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    char line[ROOM], answer;
    int len = snprintf(line, sizeof line, "%s\n", key), fd;

    if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || len >= (int)sizeof line)
        return 2;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
        return fail("connect");
    if (write(fd, line, (size_t)len) != len || read(fd, &answer, 1) != 1)
        return fail("count");
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    char address[32], key[ROOM];
    int status = 0;

    if (argc != 2)
        return 2;
    if (sscanf(argv[1], "count:%31s %255s", address, key) == 2)
        status = count(address, key);
    else if (strncmp(argv[1], "slow ", 5) == 0)
        poll(NULL, 0, SLOW_MS);
    if (status != 0)
        return status;
    printf("done %s", argv[1]);
    return fflush(stdout) == 0 ? 0 : 1;
}
