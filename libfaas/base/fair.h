/* fair.h - what waits for room: first come first served within a tenant, turns between tenants.
 * Turns     one item of each tenant after the other, so that a tenant with a thousand waiting calls
 *           delays another's first by one call.
 * Skipping  a call that may not go now (its function is at its cap) holds up nobody behind it.
 * Limits    in all and per tenant; past them push says BUSY.
 * Ownership items are embedded in the caller's calls; the queue owns its lines only.
 * Pure      no clock: who waits too long is the caller's business (faas_fair_remove).
 */
#ifndef FAAS_FAIR_H
#define FAAS_FAIR_H

#include "base/err.h"
#include "base/id.h"

#include <stdbool.h>
#include <sys/queue.h>

struct faas_fair_line;
struct faas_fair_item {
    TAILQ_ENTRY(faas_fair_item) link;
    struct faas_fair_line *line; /* NULL: not in the queue */
};
struct faas_fair {
    TAILQ_HEAD(faas_fair_lines, faas_fair_line) lines; /* the next tenant's turn is first */
    size_t len, max, tenant_max;
};

void faas_fair_init(struct faas_fair *fair, size_t max, size_t tenant_max);
void faas_fair_done(struct faas_fair *fair); /* empties it; items stay the caller's */
/* is_back: it had its turn and nobody took it; it goes to the front of its line again, past limits.
 */
FAAS_MUST_CHECK faas_code faas_fair_push(struct faas_fair *fair, const char *tenant,
                                         struct faas_fair_item *item, bool is_back, faas_err *err);
void faas_fair_remove(struct faas_fair *fair,
                      struct faas_fair_item *item); /* nothing happens when it is not in */
/* The next one that may go, taken out; NULL when none may. */
struct faas_fair_item *faas_fair_take(struct faas_fair *fair,
                                      bool (*may_go)(void *arg, struct faas_fair_item *item),
                                      void *arg);

#endif
