/* beats.h - when this process's own heartbeats were sent, to tell an old one that a call names.
 * Numbers   heartbeats are numbered from 1 in the order they are filled; beats_note() is called for
 *           each.  A number is fresh for BEATS_FRESH_MS from its sending; unknown ones are not.
 * Threads   none of its own.
 */
#ifndef SPAWNER_BEATS_H
#define SPAWNER_BEATS_H

#include <stdbool.h>
#include <stdint.h>

#define BEATS_FRESH_MS 1000
#define BEATS_KEPT     1024 /* beats are at least 2 ms apart: more than two seconds of them */

struct beats { /* zeroed: ready */
    uint64_t count;
    uint64_t sent_ns[BEATS_KEPT];
};
void beats_note(struct beats *beats);
bool beats_is_fresh(const struct beats *beats, int64_t number);

#endif
