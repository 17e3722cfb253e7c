/* Which publisher a call goes to. */
#include "invoke_internal.h"

#include <string.h>

#include "base/clock.h"

#define OWNER_AGE_MS 1000 /* a publisher takes calls only after so many of its own heartbeats */

static bool was_tried(const struct invoke *inv, const char *id)
{
    for (size_t i = 0; i < inv->tried_count; i++) {
        if (strcmp(inv->tried[i], id) == 0)
            return true;
    }
    return false;
}

/* After a loss: not a process that may have the call still, nor one of a release that would start
 * any function. */
static bool may_follow(const struct invoke *inv, const struct faas_member *member)
{
    if (inv->losses > 0 && member->level < FAAS_LEVEL_LOST)
        return false;
    for (size_t i = 0; i < inv->losses; i++) {
        if (strcmp(inv->lost_with[i], member->epoch) == 0)
            return false;
    }
    return true;
}

/* As faas_members_owner(), without those where nobody listens. */
static const struct faas_member *find(const struct invoke *inv, int64_t min_age_ms)
{
    const struct faas_member *member, *best = NULL;
    uint64_t weight, best_weight = 0, now = faas_now_ns();

    for (size_t i = 0; (member = faas_members_at(inv->gw->rt->members, "publisher", i)) != NULL;
         i++) {
        if (!faas_member_is_usable(member) || was_tried(inv, member->id) ||
            !may_follow(inv, member) || now < member->first_ns + (uint64_t)min_age_ms * FAAS_MS_NS)
            continue;
        weight = faas_rendezvous(inv->key, member->id);
        if (best == NULL || weight > best_weight) {
            best = member;
            best_weight = weight;
        }
    }
    return best;
}

const struct faas_member *invoke_next_owner(const struct invoke *inv)
{
    const struct faas_member *owner = find(inv, OWNER_AGE_MS);

    return owner != NULL ? owner : find(inv, 0);
}
