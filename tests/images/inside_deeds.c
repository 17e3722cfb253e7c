/* inside_deeds.c - the ordinary and the excessive things of inside.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inside.h"

#define MIB (1024 * 1024)

/* ---- too much ---- */

static int touch_memory(long mib)
{
    char *at =
        mmap(NULL, (size_t)mib * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return 1;
    for (size_t i = 0; i < (size_t)mib * MIB; i += 4096)
        at[i] = 1;
    return 0;
}

static int touch_memory_in_child(long mib)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(touch_memory(mib));
    (void)waitpid(pid, NULL, 0);
    return 0;
}

/* Prints how many processes there could be at once. */
static int fork_bomb(long most)
{
    long count = 0;

    for (; count < most; count++) {
        pid_t pid = fork();

        if (pid < 0)
            break;
        if (pid == 0) {
            pause();
            _exit(0);
        }
    }
    printf("%ld\n", count);
    return 0;
}

/* Prints how many MiB a file in `dir` could have. */
static int fill_disk(const char *dir)
{
    static char block[MIB];
    char path[64];
    long count = 0;
    int fd;

    (void)signal(SIGXFSZ, SIG_IGN);
    (void)snprintf(path, sizeof path, "%s/file", dir);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    while (fd >= 0 && count < 4096 && write(fd, block, sizeof block) == (ssize_t)sizeof block)
        count++;
    printf("%ld\n", count);
    return 0;
}

static int make_files(const char *dir)
{
    char path[64];
    long count = 0;

    for (; count < 100000; count++) {
        int fd;

        (void)snprintf(path, sizeof path, "%s/%ld", dir, count);
        fd = open(path, O_WRONLY | O_CREAT, 0600);
        if (fd < 0)
            break;
        close(fd);
    }
    printf("%ld\n", count);
    return 0;
}

/* Folders in folders, the innermost closed to everybody; prints how many. */
static int go_deep(const char *dir, long most)
{
    long count = 0;

    if (chdir(dir) != 0)
        return 1;
    while (count < most && mkdir("d", 0700) == 0 && chdir("d") == 0)
        count++;
    (void)close(open("file", O_WRONLY | O_CREAT, 0));
    (void)mkdir("closed", 0700);
    (void)close(open("closed/file", O_WRONLY | O_CREAT, 0));
    (void)chmod("closed", 0);
    (void)chmod(".", 0);
    printf("%ld\n", count);
    return 0;
}

/* A process that outlives its parent, ignores what it can and keeps the standard descriptors. */
static int leave_behind(void)
{
    if (fork() != 0)
        return 0;
    (void)setsid();
    for (int i = 0; i < 8; i++)
        if (fork() == 0)
            break;
    for (int i = 1; i < 65; i++)
        (void)signal(i, SIG_IGN);
    for (;;)
        (void)pause();
}

static int put_bytes(long count)
{
    for (long i = 0; i < count; i++)
        putchar('a' + (int)(i % 26));
    return 0;
}

static int ignore_signals(void)
{
    for (int i = 1; i < 65; i++)
        (void)signal(i, SIG_IGN);
    return pause();
}

/* The first process of its namespace dies only of what the kernel itself sends. */
static int fault(void)
{
    static volatile int *volatile nowhere;

    return *nowhere;
}

/* ---- the network ---- */

/* Prints what the other side says, or why there is none. */
static int talk(const char *address, long port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const struct timeval most = {.tv_sec = 2};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char text[64];
    ssize_t len;

    if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
        return 2;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        printf("refused %s\n", strerrorname_np(errno));
        return 0;
    }
    len = recv(fd, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    puts(text);
    return 0;
}

/* Waits to be talked to; says so first. */
static int serve(long port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 1) != 0)
        return 1;
    puts("listening");
    (void)fflush(stdout);
    (void)accept(fd, NULL, NULL);
    puts("talked to");
    return 0;
}

/* ---- which ---- */

static int put_argument(const char *text)
{
    return fputs(text, stdout) >= 0 ? 0 : 1;
}

int deed(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "", *what = argc > 2 ? argv[2] : "";
    long number = strtol(what, NULL, 10);

    if (strcmp(verb, "argument") == 0)
        return argc == 3 ? put_argument(what) : 2;
    if (strcmp(verb, "talk") == 0 && argc == 4)
        return talk(what, strtol(argv[3], NULL, 10));
    if (strcmp(verb, "serve") == 0)
        return serve(number);
    if (strcmp(verb, "exit") == 0)
        return (int)number;
    if (strcmp(verb, "fault") == 0)
        return fault();
    if (strcmp(verb, "memory") == 0)
        return touch_memory(number);
    if (strcmp(verb, "memory-child") == 0)
        return touch_memory_in_child(number);
    if (strcmp(verb, "forks") == 0)
        return fork_bomb(number);
    if (strcmp(verb, "fill") == 0)
        return fill_disk(what);
    if (strcmp(verb, "files") == 0)
        return make_files(what);
    if (strcmp(verb, "deep") == 0)
        return go_deep(what, 8000);
    if (strcmp(verb, "leave-behind") == 0)
        return leave_behind();
    if (strcmp(verb, "bytes") == 0)
        return put_bytes(number);
    if (strcmp(verb, "ignore-signals") == 0)
        return ignore_signals();
    return 2;
}
