/* place.h - which spawner gets a call: affinity, bounded load, what it said before.
 * Order     rendezvous weight of (tenant/function/version, spawner id): one function's calls meet
 *           the same few spawners, and a membership change moves only the share of the one that
 *           changed.
 * Bound     a spawner is passed over while its load is above 1.25 x its fair share of all load
 *           (shares are by slots), unless nobody under the bound has room.
 * Room      free slots of its newest beat, corrected by what we placed there since (the ledger).
 * Round     what the spawners said to this call so far: see place_reason.
 * Pure      no input, no output, no clock; the caller owns all memory.
 */
#ifndef PUBLISHER_PLACE_H
#define PUBLISHER_PLACE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLACE_NONE SIZE_MAX

struct place_target { /* one spawner, as its newest beat described it; texts are borrowed */
    const char *id, *epoch;
    uint64_t beat;
    int64_t free, slots;
    bool is_usable;
};

struct place_fleet { /* zeroed is empty; kept from one choice to the next for its memory */
    struct place_target *targets;
    size_t len, cap;
};
void place_fleet_done(struct place_fleet *fleet);
/* Without memory the spawner is not added: it is not asked this time. */
void place_fleet_add(struct place_fleet *fleet, const struct place_target *target);

/* ---- ledger: calls of ours that a spawner's beats may not show yet ---- */
struct place_entry {
    char id[40];
    char epoch[33];
    uint64_t beat;   /* newest beat seen here */
    int64_t pending; /* sent, not answered: a beat may have been on its way before the call came */
    int64_t delta;   /* accepted minus ended since that beat */
    bool is_leaving; /* it refused a call because it is about to stop */
};
struct place_ledger { /* zeroed is empty */
    struct place_entry *entries;
    size_t len, cap;
};
enum place_news {
    PLACE_SENT,
    PLACE_ACCEPTED, /* was sent */
    PLACE_REFUSED,  /* was sent; busy, never, or given up */
    PLACE_ENDED,    /* was accepted */
    PLACE_LEAVES,   /* it said so; the call is told of besides */
};
void place_ledger_done(struct place_ledger *ledger);
/* Without memory the correction is skipped: the spawner's own refusal is the truth. */
void place_ledger_note(struct place_ledger *ledger, const char *id, const char *epoch,
                       enum place_news news);
/* A call that was sent has ended, and its accept was never told; beat is its spawner's newest. */
struct place_answer;
void place_ledger_ended_unseen(struct place_ledger *ledger, const struct place_answer *at,
                               uint64_t beat);
/* Its process said that it is about to stop; its beats will in a moment. */
bool place_ledger_is_leaving(struct place_ledger *ledger, const struct place_target *target);
/* Places left there now, never negative; forgets corrections that the target's beat includes. */
int64_t place_ledger_free(struct place_ledger *ledger, const struct place_target *target);

/* ---- one call's round ---- */
enum place_reason {
    PLACE_SLOTS, /* these five are forgotten when a newer beat has come: */
    PLACE_EPOCH,
    PLACE_STALE,
    PLACE_SILENT,   /* our own: no answer, and a fence says that it never came */
    PLACE_FENCED,   /* our fence overtook the call: as silent.  Or a later attempt's: then again */
    PLACE_NO_IMAGE, /* asked again only to pull; the rest holds for the whole call */
    PLACE_DRAINING,
    PLACE_ISOLATION,
    PLACE_ENGINE,
    PLACE_INVALID, /* it cannot make sense of the call */
};
struct place_answer {
    char id[40];
    char epoch[33];
    uint64_t beat; /* the target's beat the call named */
    enum place_reason reason;
};
struct place_round { /* zeroed is a fresh one */
    struct place_answer *answers;
    size_t len, cap;
    bool is_pull; /* nobody had the image: the next one pulls it */
};
enum place_reason place_reason_parse(const char *text); /* unknown and NULL: PLACE_SLOTS */
void place_round_done(struct place_round *round);
FAAS_MUST_CHECK faas_code place_round_note(struct place_round *round,
                                           const struct place_answer *answer, faas_err *err);

/* Index of the spawner to ask, or PLACE_NONE; free of each target is corrected already.  Those that
 * were not asked yet come first. */
size_t place_pick(const struct place_target *targets, size_t count, const char *key,
                  const struct place_round *round);

enum place_verdict {
    PLACE_MAY_PULL, /* somebody only lacked the image: set is_pull and pick again */
    PLACE_NOBODY,   /* no usable spawner at all */
    PLACE_UNABLE,   /* every usable one said that it cannot (engine, isolation, invalid) */
    PLACE_PASSING,  /* stale or foreign numbers, lost messages: a newer beat will settle it */
    PLACE_ALL_BUSY,
};
/* Why place_pick found none. */
enum place_verdict place_why(const struct place_target *targets, size_t count,
                             const struct place_round *round);

#endif
