/* clock.c - a clock that a test may step: preloaded into programs, it adds the offset that stands in the file $CHAOS_CLOCK
 * (8 bytes, signed nanoseconds) to the clock of the day, and takes it off again where a moment of that clock is waited for.
 * The monotonic clock is as it is: so it is when somebody sets a machine's time.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define S_NS        1000000000LL
#define DAY_CLOCK_S 1000000000 /* moments after this are of the day: no machine runs that long */

static const volatile int64_t none, *offset = &none;

__attribute__((constructor)) static void open_offset(void)
{
    const char *path = getenv("CHAOS_CLOCK");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = fd >= 0 ? mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

    if (page != MAP_FAILED)
        offset = page;
    if (fd >= 0)
        close(fd);
}

static void add(struct timespec *time, int64_t ns)
{
    int64_t sum = time->tv_nsec + ns % S_NS;

    time->tv_sec += ns / S_NS + (sum >= S_NS) - (sum < 0);
    time->tv_nsec = sum + (sum < 0 ? S_NS : 0) - (sum >= S_NS ? S_NS : 0);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, time);

    if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        add(time, *offset);
    return rc;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    *time = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out_time)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out_time != NULL)
        *out_time = now.tv_sec;
    return now.tv_sec;
}

/* The kernel's clock was not stepped. */
static struct timespec real(const struct timespec *until)
{
    struct timespec time = *until;

    if (time.tv_sec > DAY_CLOCK_S)
        add(&time, -*offset);
    return time;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    const struct timespec time = real(until);

    if (next == NULL) /* without a version the loader may choose one for programs of long ago */
        *(void **)&next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    return next(cond, mutex, &time);
}
