/* planted_fence.c - a dropped fence, which the chaos checker must find; linked (--wrap) into a
 * publisher of its own: a spawner's silence is taken for its word that it never got the call, and
 * the next one gets it, too. */
#include "services/publisher/publisher.h"

void __wrap_ask_fence(struct live *call);

void __wrap_ask_fence(struct live *call)
{
    ask_never(call);
}
