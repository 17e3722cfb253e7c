/* tally.h - how many calls each function (or tenant) has running here.
 * Keys      ids; a key exists while its count is above zero.
 * Threads   the loop thread.
 */
#ifndef PUBLISHER_TALLY_H
#define PUBLISHER_TALLY_H

#include "base/err.h"

#include <stdint.h>

struct tally {
    void *root; /* tsearch(3) tree; NULL is empty */
};
FAAS_MUST_CHECK faas_code tally_add(struct tally *tally, const char *key, faas_err *err);
void tally_drop(struct tally *tally, const char *key); /* one less */
int64_t tally_of(const struct tally *tally, const char *key);
void tally_done(struct tally *tally);

#endif
