/* heap_watch.c - preloaded into a program, it tells how many bytes of its heap are in use: what
 * malloc gave out and nobody freed, whatever the process holds beyond that.
 * Usage     LD_PRELOAD=heap-watch.so HEAP_WATCH=FOLDER program; FOLDER/PID is one number, written
 *           anew every PERIOD_MS.
 * Figure    of all arenas, large blocks included.  A few freed blocks that each thread keeps for
 *           its next malloc count as in use.
 * Threads   one more in the process; it takes no signals.
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_MS 100

static void write_figure(int fd)
{
    const struct mallinfo2 info = mallinfo2();
    char text[32];
    int len = snprintf(text, sizeof text, "%20zu\n", info.uordblks + info.hblkhd);

    (void)!pwrite(fd, text, (size_t)len, 0);
}

static void *run(void *arg)
{
    const struct timespec period = {.tv_nsec = PERIOD_MS * 1000000L};
    const int fd = (int)(intptr_t)arg;

    for (;;) {
        write_figure(fd);
        nanosleep(&period, NULL);
    }
    return NULL;
}

__attribute__((constructor)) static void start(void)
{
    const char *folder = getenv("HEAP_WATCH");
    char path[4096];
    sigset_t all, before;
    pthread_t thread;
    int fd;

    if (folder == NULL)
        return;
    (void)snprintf(path, sizeof path, "%s/%d", folder, (int)getpid());
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, run, (void *)(intptr_t)fd) == 0)
        pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
