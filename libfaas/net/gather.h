/* gather.h - small messages to one subject that travel as one: for what nobody waits for by the
 * millisecond, and what is repeated when it was lost (receipts, credits of results that arrived).
 * Message   the parts, one behind the other, in the order in which they were added.
 * Leaves    FAAS_GATHER_MS after its first part, or full: with FAAS_GATHER_PARTS, which bounds what is
 *           kept at the other end meanwhile.
 * Sizes     a part has at most FAAS_GATHER_PART bytes.
 * Threads   loop thread, or the only one.
 */
#ifndef FAAS_GATHER_H
#define FAAS_GATHER_H

#include <sys/queue.h>

#include "net/bus.h"

#define FAAS_GATHER_MS    5
#define FAAS_GATHER_PARTS 16
#define FAAS_GATHER_PART  64

struct faas_gathered;
struct faas_gather { /* the owner's storage */
    faas_bus *bus;
    SLIST_HEAD(, faas_gathered) all;
    ev_timer timer;
};

void faas_gather_init(struct faas_gather *gather, faas_bus *bus);
/* A part without memory to keep it leaves at once. */
void faas_gather_add(struct faas_gather *gather, enum faas_lane lane, const char *subject,
                     const void *part, size_t len);
/* All leave now, and nothing is left of it: also how a gather ends. */
void faas_gather_flush(struct faas_gather *gather);

#endif
