/* fair.h - calls that wait for room: first come first served within a tenant, turns between
 * tenants.
 * Turns     one call of each tenant after the other, so that a tenant with a thousand waiting calls
 *           delays another's first by one call.
 * Skipping  a call that may not go now (its function is at its cap) holds up nobody behind it.
 * Limits    in all and per tenant; past them push says BUSY.
 * Ownership items are embedded in the caller's calls; the queue owns its lines only.
 * Pure      no clock: who waits too long is the caller's business (fair_remove).
 */
#ifndef PUBLISHER_FAIR_H
#define PUBLISHER_FAIR_H

#include "base/err.h"
#include "base/id.h"

#include <stdbool.h>
#include <sys/queue.h>

struct fair_line;
struct fair_item {
    TAILQ_ENTRY(fair_item) link;
    struct fair_line *line; /* NULL: not in the queue */
};
struct fair {
    TAILQ_HEAD(fair_lines, fair_line) lines; /* the next tenant's turn is first */
    size_t len, max, tenant_max;
};

void fair_init(struct fair *fair, size_t max, size_t tenant_max);
void fair_done(struct fair *fair); /* empties it; items stay the caller's */
/* is_back: it had its turn and nobody took it; it goes to the front of its line again, past limits.
 */
FAAS_MUST_CHECK faas_code fair_push(struct fair *fair, const char *tenant, struct fair_item *item,
                                    bool is_back, faas_err *err);
void fair_remove(struct fair *fair, struct fair_item *item); /* nothing happens when it is not in */
/* The next one that may go, taken out; NULL when none may. */
struct fair_item *fair_take(struct fair *fair, bool (*may_go)(void *arg, struct fair_item *item),
                            void *arg);

#endif
