/* rate.h - how many requests a second a caller may make: token buckets in a table of fixed size.
 * Key       any bytes (a user's id, an address); kept as a keyed hash, so nobody can choose keys
 *           that fall together.
 * Bucket    one number: the instant at which it is full again.  It holds burst_s seconds' worth of
 *           requests (at least one) and refills evenly.
 * Share     each of n gateways allows one n-th of the limit, so that all of them together keep it.
 * Full      a new key takes the place of the fullest of its eight neighbours: as a rule one that is
 *           full anyway, and loses nothing.  Who has more keys than the table has room for gets more
 *           than the limit, never less.
 * Threads   any.
 */
#ifndef GATEWAY_RATE_H
#define GATEWAY_RATE_H

#include <stdint.h>

#include "base/err.h"

struct rate;

/* per_second 0: no limit.  entries: at least 8. */
FAAS_MUST_CHECK faas_code rate_new(int64_t per_second, int64_t burst_s, size_t entries,
                                   struct rate **out_rate, faas_err *err);
void rate_free(struct rate *rate);
/* gateways: live ones, this one counted; 0 reads as 1. */
void rate_set_share(struct rate *rate, size_t gateways);
int64_t rate_limit(const struct rate *rate); /* of all gateways together, per second */

/* 0: allowed, and taken.  Otherwise nothing was taken: come back in so many seconds (at least 1). */
FAAS_MUST_CHECK int64_t rate_take(struct rate *rate, const void *key, size_t len, uint64_t now_ns);
/* With a limit of the key's own, instead of per_second: a minute's worth may come at once. */
FAAS_MUST_CHECK int64_t rate_take_minute(struct rate *rate, const void *key, size_t len,
                                         uint64_t now_ns, int64_t per_minute);
/* The same look, and nothing is taken. */
FAAS_MUST_CHECK int64_t rate_wait(struct rate *rate, const void *key, size_t len, uint64_t now_ns);

#endif
