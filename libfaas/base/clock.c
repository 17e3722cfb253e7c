#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define LAST_WALL_MS INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

static uint64_t (*_Atomic test_clock)(void);
static int64_t (*_Atomic test_wall)(void);

uint64_t faas_now_ns(void)
{
    uint64_t (*replaced)(void) = atomic_load_explicit(&test_clock, memory_order_acquire);
    struct timespec now;

    if (replaced != NULL)
        return replaced();
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * FAAS_S_NS + (uint64_t)now.tv_nsec;
}

int64_t faas_wall_ms(void)
{
    int64_t (*replaced)(void) = atomic_load_explicit(&test_wall, memory_order_acquire);
    struct timespec now;

    if (replaced != NULL)
        return replaced();
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t faas_deadline_in_ms(int64_t ms)
{
    uint64_t now = faas_now_ns();
    uint64_t wait = ms > 0 ? (uint64_t)ms : 0;

    return wait > (UINT64_MAX - now) / FAAS_MS_NS ? UINT64_MAX : now + wait * FAAS_MS_NS;
}

int64_t faas_left_ms(uint64_t deadline_ns)
{
    uint64_t now = faas_now_ns(), left;

    if (deadline_ns == UINT64_MAX)
        return INT64_MAX;
    if (deadline_ns <= now)
        return 0;
    left = deadline_ns - now;
    return (int64_t)(left / FAAS_MS_NS + (left % FAAS_MS_NS != 0));
}

void faas_time_format(int64_t wall_ms, char out_text[FAAS_TIME_TEXT])
{
    int64_t ms = wall_ms < 0 ? 0 : wall_ms > LAST_WALL_MS ? LAST_WALL_MS : wall_ms;
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    char day[24];

    gmtime_r(&seconds, &utc);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out_text, FAAS_TIME_TEXT, "%s.%03dZ", day, (int)(ms % 1000));
}

void faas_clock_set_for_test(uint64_t (*now)(void))
{
    atomic_store_explicit(&test_clock, now, memory_order_release);
}

void faas_wall_set_for_test(int64_t (*now_ms)(void))
{
    atomic_store_explicit(&test_wall, now_ms, memory_order_release);
}
