#include "cli/progress.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/output.h"

#define BAR      20
#define TEXT_MAX 256
#define EVERY_NS 200000000
#define AWAY     "\r\033[K"

struct progress {
    char text[TEXT_MAX]; /* all but the time; immutable after the start */
    uint64_t begin_ns;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mu;
    pthread_cond_t ended;
    bool is_over; /* guarded by mu */
};

static bool is_shown(void)
{
    const char *term = getenv("TERM");

    return output_width(stderr) > 0 && (term == NULL || strcmp(term, "dumb") != 0);
}

/* A terminal that is gone has nobody to tell. */
static void put(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, text, len);

        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

static void draw(const struct progress *progress)
{
    char line[TEXT_MAX + 64];
    int len = snprintf(line, sizeof line, AWAY "%s, %llu s", progress->text,
                       (unsigned long long)((faas_now_ns() - progress->begin_ns) / FAAS_S_NS));

    if (len > 0)
        put(line, (size_t)len);
}

static void *work(void *arg)
{
    struct progress *progress = arg;
    struct timespec next;

    pthread_mutex_lock(&progress->mu);
    while (!progress->is_over) {
        draw(progress);
        (void)clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_nsec += EVERY_NS;
        next.tv_sec += next.tv_nsec / 1000000000;
        next.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&progress->ended, &progress->mu, &next);
    }
    pthread_mutex_unlock(&progress->mu);
    return NULL;
}

static void write_text(struct progress *progress, const struct progress_of *of)
{
    char *name = output_clean(of->name, false), bar[BAR + 1];
    size_t width = output_width(stderr), filled = of->total > 0 ? of->done * BAR / of->total : 0;
    size_t room = width > 16 ? width - 16 : 1; /* the time has the rest */
    int len;

    memset(bar, '.', BAR);
    memset(bar, '#', filled);
    bar[BAR] = '\0';
    len = of->total > 0
              ? snprintf(progress->text, TEXT_MAX, "[%s] %zu/%zu %s %s", bar, of->done, of->total,
                         of->doing, name != NULL ? name : "")
              : snprintf(progress->text, TEXT_MAX, "%s %s", of->doing, name != NULL ? name : "");
    if (len >= TEXT_MAX)
        len = TEXT_MAX - 1;
    progress->text[faas_utf8_cut(progress->text, (size_t)len, room)] = '\0';
    free(name);
}

static void init_condition(struct progress *progress)
{
    pthread_condattr_t attr;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&progress->ended, &attr);
    (void)pthread_condattr_destroy(&attr);
}

struct progress *progress_begin(const struct progress_of *of)
{
    struct progress *progress = is_shown() ? calloc(1, sizeof *progress) : NULL;
    sigset_t all, before;

    if (progress == NULL)
        return NULL;
    write_text(progress, of);
    progress->begin_ns = faas_now_ns();
    (void)pthread_mutex_init(&progress->mu, NULL);
    init_condition(progress);
    draw(progress);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    progress->has_thread = pthread_create(&progress->thread, NULL, work, progress) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return progress;
}

void progress_end(struct progress *progress)
{
    if (progress == NULL)
        return;
    pthread_mutex_lock(&progress->mu);
    progress->is_over = true;
    (void)pthread_cond_signal(&progress->ended);
    pthread_mutex_unlock(&progress->mu);
    if (progress->has_thread)
        (void)pthread_join(progress->thread, NULL);
    put(AWAY, sizeof AWAY - 1);
    (void)pthread_cond_destroy(&progress->ended);
    (void)pthread_mutex_destroy(&progress->mu);
    free(progress);
}
