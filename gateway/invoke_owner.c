/* Which publisher a call goes to, and the message in which it does. */
#include "invoke_internal.h"

#include <inttypes.h>
#include <stdio.h>
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
    if (member->level < (inv->is_picked ? FAAS_LEVEL_VERSIONS : FAAS_LEVEL_LOST))
        return false;
    for (size_t i = 0; i < inv->losses; i++) {
        if (strcmp(inv->lost_with[i], member->epoch) == 0)
            return false;
    }
    return true;
}

/* As faas_members_owner(), without those where nobody listens.  lost: the epoch of one more owner that
 * may have it; NULL: none. */
static const struct faas_member *find(const struct invoke *inv, int64_t min_age_ms,
                                      const char *lost)
{
    bool is_lost = inv->losses > 0 || lost != NULL;
    const struct faas_member *member, *best = NULL;
    uint64_t weight, best_weight = 0, now = faas_now_ns();

    for (size_t i = 0; (member = faas_members_at(inv->gw->rt->members, "publisher", i)) != NULL;
         i++) {
        if (!faas_member_is_usable(member) || was_tried(inv, member->id) ||
            (is_lost && !may_follow(inv, member)) ||
            (lost != NULL && strcmp(lost, member->epoch) == 0) ||
            now < member->first_ns + (uint64_t)min_age_ms * FAAS_MS_NS)
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
    const struct faas_member *owner = find(inv, OWNER_AGE_MS, NULL);

    return owner != NULL ? owner : find(inv, 0, NULL);
}

const struct faas_member *invoke_follower(const struct invoke *inv)
{
    const struct faas_member *next = find(inv, OWNER_AGE_MS, inv->owner.epoch);

    return next != NULL ? next : find(inv, 0, inv->owner.epoch);
}

bool invoke_is_owner_heard(const struct invoke *inv)
{
    const struct faas_member *member =
        faas_members_find(inv->gw->rt->members, "publisher", inv->owner.id);

    return member != NULL && faas_member_is_usable(member) &&
           strcmp(member->epoch, inv->owner.epoch) == 0;
}

faas_code invoke_publish(struct invoke *inv, faas_err *err)
{
    const http_exchange *x = inv->x;
    char subject[FAAS_SUBJECT_MAX], reply[FAAS_INBOX_SUBJECT], attempt[12], age[24], left[24];
    char lost[12], version[24];
    const struct faas_header headers[] = {
        {FAAS_H_PROTO, FAAS_PROTO},
        {FAAS_H_ID, x->id},
        {FAAS_H_ATTEMPT, attempt},
        {FAAS_H_EPOCH, inv->owner.epoch},
        {FAAS_H_AGE, age},
        {FAAS_H_TIME_LEFT, left},
        {FAAS_H_USER, x->caller.user},
        {FAAS_H_TENANT, x->caller.tenant},
        {FAAS_H_TRACE, x->fields[HTTP_TRACE]},
        {FAAS_H_LOST, inv->losses > 0 ? lost : NULL},
        {FAAS_H_VERSION, inv->losses > 0 ? version : NULL},
        {NULL, NULL},
    };
    const struct faas_out out = {.subject = subject,
                                 .reply = reply,
                                 .headers = headers,
                                 .data = inv->envelope,
                                 .len = inv->envelope_len};
    uint64_t deadline_ns = x->began_ns + (uint64_t)x->match.route->time_ms * FAAS_MS_NS;

    if (!faas_subject(subject, FAAS_SUBJ_PUBLISHER_CALL, inv->owner.id))
        return faas_fail(err, FAAS_INTERNAL, "internal error");
    (void)snprintf(attempt, sizeof attempt, "%" PRIu32, inv->attempt);
    (void)snprintf(lost, sizeof lost, "%zu", inv->losses);
    (void)snprintf(version, sizeof version, "%" PRId64, inv->version);
    faas_inbox_labelled(inv->inbox, attempt, reply);
    (void)snprintf(age, sizeof age, "%" PRIu64, (faas_now_ns() - inv->sent_ns) / FAAS_MS_NS);
    (void)snprintf(left, sizeof left, "%" PRId64, faas_left_ms(deadline_ns));
    return faas_bus_publish(inv->gw->rt->bus, FAAS_DATA, &out, err);
}
