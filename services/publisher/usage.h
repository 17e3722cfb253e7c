/* usage.h - what each user (tenant) has at the publishers, and how much of the spawners is theirs.
 * Counts    calls (waiting, placed, running), of them placed, and bytes of arguments held here; of
 *           the other publishers what they said last (USE messages, PROTOCOL.md section 4.6).
 * Active    a user with calls anywhere, or for whose call a place was sought within
 *           USAGE_RECENT_NS.
 * Share     places of all spawners / active users, at least one.
 * Kept      who has their share already leaves an eighth of the places (at least one, of two or
 *           more) to the others, as long as there are others: so a user who comes seldom finds a
 *           place at once, however much another one asks for.  Alone, a user may have all.
 * Bounds    entries live as long as their user is active; a USE message names USAGE_SAID_MAX users,
 *           those with most calls first.
 * Time      now_ns: faas_now_ns(), a parameter so that tests need no clock.
 * Threads   the loop thread.
 */
#ifndef PUBLISHER_USAGE_H
#define PUBLISHER_USAGE_H

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"

#include <stdbool.h>
#include <sys/queue.h>

#define USAGE_RECENT_NS (10 * FAAS_S_NS)
#define USAGE_PEER_NS   FAAS_S_NS /* so long a publisher's last word counts */
#define USAGE_SAID_MAX  1000

struct usage_count {
    int64_t calls, placed;
};
struct usage_user {
    char tenant[FAAS_UUID_TEXT]; /* first: the tree compares whole nodes as texts */
    TAILQ_ENTRY(usage_user) link;
    struct usage_count own, others;
    size_t bytes;
    size_t hungry;    /* own calls that wait for a place; room.c keeps it */
    uint64_t last_ns; /* when a place was last sought here, or a publisher named the user */
};
struct usage_peer; /* another publisher */

struct usage { /* zeroed is not ready: usage_init() */
    void *tree;
    TAILQ_HEAD(usage_users, usage_user) users;
    TAILQ_HEAD(usage_peers, usage_peer) peers;
    size_t active;
    bool was_said; /* the last USE message named somebody */
};

void usage_init(struct usage *usage);
void usage_done(struct usage *usage);

/* ---- own calls ---- */
/* One more call with so many bytes.  BUSY when the user has caps->calls calls at all publishers
 * together, or would hold more than bytes_max here. */
struct usage_caps {
    int64_t calls;
    size_t bytes;
};
FAAS_MUST_CHECK faas_code usage_enter(struct usage *usage, const char *tenant, size_t bytes,
                                      const struct usage_caps *caps, struct usage_user **out_user,
                                      faas_err *err);
void usage_leave(struct usage_user *user);
void usage_seek(struct usage_user *user, uint64_t now_ns); /* a place is sought */
void usage_release_bytes(struct usage_user *user, size_t bytes);
void usage_place(struct usage_user *user, int by);      /* +1, -1 */
void usage_sweep(struct usage *usage, uint64_t now_ns); /* forgets who is not active any more */

int64_t usage_calls(const struct usage *usage, const char *tenant);  /* likewise */
int64_t usage_placed(const struct usage *usage, const char *tenant); /* at all publishers */

/* ---- shares ---- */
bool usage_is_below_share(const struct usage *usage, const struct usage_user *user,
                          int64_t capacity);
/* Places the user has to leave free. */
int64_t usage_kept(const struct usage *usage, const struct usage_user *user, int64_t capacity);

/* ---- the other publishers ---- */
/* The body of our USE message, a new reference; NULL: nothing to say, or no memory. */
json_t *usage_say(struct usage *usage, const char *publisher);
/* Another publisher's message; INVALID when it is not one. */
FAAS_MUST_CHECK faas_code usage_hear(struct usage *usage, const json_t *doc, const char *self,
                                     uint64_t now_ns, faas_err *err);

#endif
