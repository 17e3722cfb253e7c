/* kept.h - the version entries that this process has stored lately.
 * Why       a function that is changed again at once need not ask whether the version before is
 *           stored: the read model may not show it yet.
 * Bound     the newest KEPT_MAX; of an older one the read model knows.
 * Threads   any.
 */
#ifndef REGISTRY_KEPT_H
#define REGISTRY_KEPT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"

#define KEPT_MAX 256

struct kept {
    pthread_mutex_t mu;
    struct kept_version {
        char id[FAAS_UUID_TEXT]; /* of the function; "" in a place that was never used */
        int64_t number;
    } places[KEPT_MAX]; /* guarded by mu; a ring */
    size_t next;        /* guarded by mu */
};

void kept_init(struct kept *kept); /* zeroed before */
void kept_done(struct kept *kept);
void kept_add(struct kept *kept, const char *id, int64_t number);
bool kept_has(struct kept *kept, const char *id, int64_t number);

#endif
