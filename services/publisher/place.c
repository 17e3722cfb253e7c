#include "place.h"

#include "base/id.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* c = 1.25 as a fraction: Mirrokni et al., consistent hashing with bounded loads. */
#define LOAD_NUM 5
#define LOAD_DEN 4

static void *grow(void *list, size_t *cap, size_t size)
{
    size_t want = *cap == 0 ? 8 : *cap * 2;
    void *bigger = reallocarray(list, want, size);

    if (bigger != NULL)
        *cap = want;
    return bigger;
}

void place_fleet_done(struct place_fleet *fleet)
{
    free(fleet->targets);
    *fleet = (struct place_fleet){0};
}

void place_fleet_add(struct place_fleet *fleet, const struct place_target *target)
{
    if (fleet->len == fleet->cap) {
        void *bigger = grow(fleet->targets, &fleet->cap, sizeof *target);

        if (bigger == NULL)
            return;
        fleet->targets = bigger;
    }
    fleet->targets[fleet->len++] = *target;
}

void place_ledger_done(struct place_ledger *ledger)
{
    free(ledger->entries);
    *ledger = (struct place_ledger){0};
}

static struct place_entry *entry_find(struct place_ledger *ledger, const char *id)
{
    for (size_t i = 0; i < ledger->len; i++)
        if (strcmp(ledger->entries[i].id, id) == 0)
            return &ledger->entries[i];
    return NULL;
}

static struct place_entry *entry_add(struct place_ledger *ledger, const char *id, const char *epoch)
{
    struct place_entry *entry;

    if (ledger->len == ledger->cap) {
        void *bigger = grow(ledger->entries, &ledger->cap, sizeof *entry);

        if (bigger == NULL)
            return NULL;
        ledger->entries = bigger;
    }
    entry = &ledger->entries[ledger->len++];
    *entry = (struct place_entry){0};
    snprintf(entry->id, sizeof entry->id, "%s", id);
    snprintf(entry->epoch, sizeof entry->epoch, "%s", epoch);
    return entry;
}

void place_ledger_note(struct place_ledger *ledger, const char *id, const char *epoch,
                       enum place_news news)
{
    struct place_entry *entry = entry_find(ledger, id);

    if (entry == NULL && news == PLACE_SENT)
        entry = entry_add(ledger, id, epoch);
    if (entry == NULL)
        return;
    if (strcmp(entry->epoch, epoch) != 0) {
        if (news != PLACE_SENT)
            return; /* news of a process that is gone */
        *entry = (struct place_entry){0};
        snprintf(entry->id, sizeof entry->id, "%s", id);
        snprintf(entry->epoch, sizeof entry->epoch, "%s", epoch);
    }
    if (news == PLACE_SENT)
        entry->pending++;
    else if ((news == PLACE_ACCEPTED || news == PLACE_REFUSED) && entry->pending > 0)
        entry->pending--;
    if (news == PLACE_ACCEPTED)
        entry->delta++;
    else if (news == PLACE_ENDED)
        entry->delta--;
    else if (news == PLACE_LEAVES)
        entry->is_leaving = true;
}

bool place_ledger_is_leaving(struct place_ledger *ledger, const struct place_target *target)
{
    const struct place_entry *entry = entry_find(ledger, target->id);

    return entry != NULL && entry->is_leaving && strcmp(entry->epoch, target->epoch) == 0;
}

static void see_beat(struct place_entry *entry, uint64_t beat)
{
    if (beat <= entry->beat)
        return;
    entry->beat = beat;
    entry->delta = 0;
}

void place_ledger_ended_unseen(struct place_ledger *ledger, const struct place_answer *at,
                               uint64_t beat)
{
    struct place_entry *entry = entry_find(ledger, at->id);

    place_ledger_note(ledger, at->id, at->epoch, PLACE_REFUSED);
    if (entry == NULL || beat <= at->beat)
        return;
    see_beat(entry, beat); /* one from after the placing: it counts the call as running */
    place_ledger_note(ledger, at->id, at->epoch, PLACE_ENDED);
}

int64_t place_ledger_free(struct place_ledger *ledger, const struct place_target *target)
{
    struct place_entry *entry = entry_find(ledger, target->id);
    int64_t left;

    if (entry == NULL || strcmp(entry->epoch, target->epoch) != 0)
        return target->free > 0 ? target->free : 0;
    see_beat(entry, target->beat);
    left = target->free - entry->delta;
    if (left > target->slots)
        left = target->slots;
    left -= entry->pending;
    return left > 0 ? left : 0;
}

enum place_reason place_reason_parse(const char *text)
{
    static const struct {
        const char *text;
        enum place_reason reason;
    } words[] = {
        {"slots", PLACE_SLOTS},       {"epoch", PLACE_EPOCH},         {"stale", PLACE_STALE},
        {"no_image", PLACE_NO_IMAGE}, {"draining", PLACE_DRAINING},   {"fenced", PLACE_FENCED},
        {"engine", PLACE_ENGINE},     {"isolation", PLACE_ISOLATION}, {"invalid", PLACE_INVALID},
    };

    for (size_t i = 0; text != NULL && i < FAAS_ARRAY_LEN(words); i++)
        if (strcmp(words[i].text, text) == 0)
            return words[i].reason;
    return PLACE_SLOTS;
}

void place_round_done(struct place_round *round)
{
    free(round->answers);
    *round = (struct place_round){0};
}

static struct place_answer *answer_find(const struct place_round *round,
                                        const struct place_target *target)
{
    for (size_t i = 0; i < round->len; i++)
        if (strcmp(round->answers[i].id, target->id) == 0 &&
            strcmp(round->answers[i].epoch, target->epoch) == 0)
            return &round->answers[i];
    return NULL;
}

faas_code place_round_note(struct place_round *round, const struct place_answer *answer,
                           faas_err *err)
{
    struct place_target who = {.id = answer->id, .epoch = answer->epoch};
    struct place_answer *old = answer_find(round, &who);

    if (old != NULL) {
        *old = *answer;
        return FAAS_OK;
    }
    if (round->len == round->cap) {
        void *bigger = grow(round->answers, &round->cap, sizeof *answer);

        if (bigger == NULL)
            return faas_fail_sys(err, ENOMEM, "note a spawner's answer");
        round->answers = bigger;
    }
    round->answers[round->len++] = *answer;
    return FAAS_OK;
}

/* is_again: those that have answered already, but said something newer since. */
static bool may_ask(const struct place_target *target, const struct place_round *round,
                    bool is_again)
{
    const struct place_answer *said = answer_find(round, target);

    if (!target->is_usable || target->free <= 0)
        return false;
    if (said == NULL)
        return !is_again;
    if (said->reason == PLACE_NO_IMAGE)
        return round->is_pull && !is_again;
    return said->reason < PLACE_NO_IMAGE && is_again && target->beat > said->beat;
}

/* Would one more call keep the target within c times its share of all load? */
static bool is_under_bound(const struct place_target *targets, size_t count, size_t idx)
{
    int64_t load = 0, slots = 0, mine = targets[idx].slots - targets[idx].free;

    for (size_t i = 0; i < count; i++) {
        if (!targets[i].is_usable)
            continue;
        load += targets[i].slots - targets[i].free;
        slots += targets[i].slots;
    }
    /* mine + 1 <= ceil(c * (load + 1) * my slots / all slots), without fractions */
    return mine * LOAD_DEN * slots < LOAD_NUM * (load + 1) * targets[idx].slots;
}

static size_t pick(const struct place_target *targets, size_t count, const char *key,
                   const struct place_round *round, bool is_again)
{
    size_t best = PLACE_NONE, spare = PLACE_NONE;
    uint64_t best_weight = 0, spare_weight = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t weight;

        if (!may_ask(&targets[i], round, is_again))
            continue;
        weight = faas_rendezvous(key, targets[i].id);
        if (spare == PLACE_NONE || weight > spare_weight) {
            spare = i;
            spare_weight = weight;
        }
        if (!is_under_bound(targets, count, i))
            continue;
        if (best == PLACE_NONE || weight > best_weight) {
            best = i;
            best_weight = weight;
        }
    }
    return best != PLACE_NONE ? best : spare;
}

size_t place_pick(const struct place_target *targets, size_t count, const char *key,
                  const struct place_round *round)
{
    size_t idx = pick(targets, count, key, round, false);

    return idx != PLACE_NONE ? idx : pick(targets, count, key, round, true);
}

enum place_verdict place_why(const struct place_target *targets, size_t count,
                             const struct place_round *round)
{
    size_t usable = 0, unable = 0;
    bool is_passing = false;

    for (size_t i = 0; i < count; i++) {
        const struct place_answer *said = answer_find(round, &targets[i]);

        if (!targets[i].is_usable)
            continue;
        usable++;
        if (said == NULL)
            continue;
        if (said->reason == PLACE_NO_IMAGE && !round->is_pull && targets[i].free > 0)
            return PLACE_MAY_PULL;
        unable += said->reason >= PLACE_ISOLATION;
        is_passing = is_passing || (said->reason > PLACE_SLOTS && said->reason < PLACE_NO_IMAGE);
    }
    if (usable == 0)
        return PLACE_NOBODY;
    if (unable == usable)
        return PLACE_UNABLE;
    return is_passing ? PLACE_PASSING : PLACE_ALL_BUSY;
}
