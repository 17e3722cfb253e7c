#include "beats.h"

#include "base/clock.h"

void beats_note(struct beats *beats)
{
    beats->count++;
    beats->sent_ns[beats->count % BEATS_KEPT] = faas_now_ns();
}

bool beats_is_fresh(const struct beats *beats, int64_t number)
{
    uint64_t n = (uint64_t)number;

    if (number < 1 || n > beats->count || beats->count - n >= BEATS_KEPT)
        return false;
    return faas_now_ns() - beats->sent_ns[n % BEATS_KEPT] <= BEATS_FRESH_MS * FAAS_MS_NS;
}
