/* The questions that members.h answers from its list. */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "net/members_internal.h"

/* ---- questions ---- */

const struct faas_member *faas_members_at(const faas_members *members, const char *service,
                                          size_t idx)
{
    size_t at = faas_members_position(members, service, "") + idx;

    if (at >= members->count || strcmp(members->list[at]->pub.service, service) != 0)
        return NULL;
    return &members->list[at]->pub;
}

const struct faas_member *faas_members_find(const faas_members *members, const char *service,
                                            const char *id)
{
    const struct faas_member_record *record = faas_members_record(members, service, id);

    return record != NULL ? &record->pub : NULL;
}

bool faas_member_is_usable(const struct faas_member *member)
{
    return member->is_ready && !member->is_dead &&
           faas_now_ns() < member->seen_ns + FAAS_BEAT_FRESH_MS * FAAS_MS_NS;
}

size_t faas_members_usable(const faas_members *members, const char *service)
{
    const struct faas_member *member;
    size_t count = 0;

    for (size_t i = 0; (member = faas_members_at(members, service, i)) != NULL; i++)
        count += faas_member_is_usable(member) ? 1 : 0;
    return count;
}

static const struct faas_member *heaviest(const faas_members *members, const char *service,
                                          const char *key, uint64_t born_before_ns)
{
    const struct faas_member *member, *best = NULL;
    uint64_t best_weight = 0;

    for (size_t i = 0; (member = faas_members_at(members, service, i)) != NULL; i++) {
        uint64_t weight;

        if (!faas_member_is_usable(member) || member->first_ns > born_before_ns)
            continue;
        weight = faas_rendezvous(key, member->id);
        if (best == NULL || weight > best_weight) {
            best = member;
            best_weight = weight;
        }
    }
    return best;
}

const struct faas_member *faas_members_owner(const faas_members *members, const char *service,
                                             const char *key, int64_t min_age_ms)
{
    uint64_t age_ns = (uint64_t)(min_age_ms > 0 ? min_age_ms : 0) * FAAS_MS_NS;
    uint64_t now = faas_now_ns();
    const struct faas_member *owner =
        heaviest(members, service, key, now > age_ns ? now - age_ns : 0);

    return owner != NULL ? owner : heaviest(members, service, key, UINT64_MAX);
}

/* ---- read your writes: pool threads ---- */

/* mu is held.  Is the record a live reader of bucket behind seq?  Then it counts as silent from
 * *out_silent_ns on. */
static bool is_behind(const struct faas_member_record *record, const char *bucket, uint64_t seq,
                      uint64_t *out_silent_ns)
{
    for (size_t i = 0; i < FAAS_APPLIED_MAX && record->applied[i].bucket[0] != '\0'; i++) {
        if (strcmp(record->applied[i].bucket, bucket) != 0)
            continue;
        if (record->applied[i].seq >= seq || record->pub.is_dead ||
            faas_member_is_silent(record, faas_now_ns()))
            return false;
        *out_silent_ns = record->pub.seen_ns + FAAS_BEAT_DEAD_MS * FAAS_MS_NS + FAAS_MS_NS;
        return true;
    }
    return false;
}

/* mu is held.  How many are behind; *out_wake_ns: when the next of them counts as silent. */
static size_t count_behind(const faas_members *members, const char *bucket, uint64_t seq,
                           uint64_t *out_wake_ns)
{
    size_t behind = 0;

    for (size_t i = 0; i < members->count; i++) {
        uint64_t silent_ns = UINT64_MAX;

        if (!is_behind(members->list[i], bucket, seq, &silent_ns))
            continue;
        behind++;
        if (silent_ns < *out_wake_ns)
            *out_wake_ns = silent_ns;
    }
    return behind;
}

/* Hundreds of beats a second come while others write: who still waits sleeps on. */
void faas_members_wake(faas_members *members)
{
    struct faas_members_waiter *waiter;

    LIST_FOREACH (waiter, &members->waiters, link) {
        uint64_t wake_ns = UINT64_MAX;

        if (count_behind(members, waiter->bucket, waiter->seq, &wake_ns) == 0)
            pthread_cond_signal(&waiter->is_applied);
    }
}

/* mu is held, but not while it sleeps.  Until nobody is behind or the deadline; who is left. */
static size_t wait_until_applied(faas_members *members, struct faas_members_waiter *waiter,
                                 uint64_t deadline_ns)
{
    for (;;) {
        uint64_t wake_ns = deadline_ns;
        size_t behind = count_behind(members, waiter->bucket, waiter->seq, &wake_ns);
        struct timespec until;

        if (behind == 0 || faas_now_ns() >= deadline_ns)
            return behind;
        until.tv_sec = (time_t)(wake_ns / FAAS_S_NS);
        until.tv_nsec = (long)(wake_ns % FAAS_S_NS);
        (void)pthread_cond_clockwait(&waiter->is_applied, &members->mu, CLOCK_MONOTONIC, &until);
    }
}

faas_code faas_members_wait_applied(faas_members *members, const char *bucket, uint64_t seq,
                                    uint64_t deadline_ns, faas_err *err)
{
    struct faas_members_waiter waiter = {
        .bucket = bucket, .seq = seq, .is_applied = PTHREAD_COND_INITIALIZER};
    size_t behind;

    pthread_mutex_lock(&members->mu);
    LIST_INSERT_HEAD(&members->waiters, &waiter, link);
    behind = wait_until_applied(members, &waiter, deadline_ns);
    LIST_REMOVE(&waiter, link);
    pthread_mutex_unlock(&members->mu);
    pthread_cond_destroy(&waiter.is_applied);
    if (behind == 0)
        return FAAS_OK;
    faas_fail(err, FAAS_TIMEOUT, "the change is stored, but not every replica shows it yet");
    return faas_err_detail(err, "%zu readers of %s behind %llu", behind, bucket,
                           (unsigned long long)seq);
}
