/* clock.h - the two clocks.
 * Monotonic  nanoseconds, for deadlines and durations.
 * Wall       milliseconds, only for what people read.
 * Deadline   an absolute faas_now_ns() value; UINT64_MAX means none.  Clocks of machines are never
 *            compared.
 * Tests      may replace both clocks.
 * Threads    any may read.
 */
#ifndef FAAS_CLOCK_H
#define FAAS_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define FAAS_MS_NS UINT64_C(1000000)
#define FAAS_S_NS  UINT64_C(1000000000)

uint64_t faas_now_ns(void);               /* CLOCK_MONOTONIC */
int64_t faas_wall_ms(void);               /* milliseconds since 1970, UTC */
uint64_t faas_deadline_in_ms(int64_t ms); /* now + ms, ms < 0 counts as 0 */
int64_t
faas_left_ms(uint64_t deadline_ns); /* rounded up, 0 when past, INT64_MAX without deadline */
#define FAAS_TIME_TEXT 32
void faas_time_format(int64_t wall_ms,
                      char out_text[FAAS_TIME_TEXT]); /* 2026-01-02T03:04:05.678Z */
void faas_clock_set_for_test(uint64_t (*now)(void));  /* NULL: back to the real one */
void faas_wall_set_for_test(int64_t (*now_ms)(void)); /* likewise */

#endif
