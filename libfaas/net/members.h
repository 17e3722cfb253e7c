/* members.h - who is alive: heartbeats of every service instance (DESIGN.md 4.7).
 * Beat      every 200 ms on faas.hb.<service>.<id> (CONTROL lane), and soon after
 *           faas_members_beat_now().  JSON: {"v":1,"epoch":text,"beat":n,
 *           "state":"ready|starting|draining","free":n,"slots":n,"running":n,"running_seq":n,
 *           "level":n?,"isolation":text?,"applied":{bucket:seq},"version":text?,"up_s":n?,"wall_ms":n?,
 *           "trouble":text?,"bye":true?}; the last beat of a process says bye.
 * Epoch     random per process start; a restarted instance under the same id is another epoch.
 * States    a member is usable while its newest beat is under FAAS_BEAT_FRESH_MS old (3 missed
 *           beats) and its state is ready; dead after FAAS_BEAT_DEAD_MS of silence and a failed
 *           probe (faas.<service>.i.<id>.probe, 300 ms, CONTROL lane), never while our own
 *           connection is or was just away; dead members stay listed for an hour.  Ages are
 *           measured by the receiver's clock from arrival.
 * Threads   everything on the loop thread, except faas_members_wait_applied (pool threads).
 */
#ifndef FAAS_MEMBERS_H
#define FAAS_MEMBERS_H

#include "net/rpc.h"

#define FAAS_BEAT_MS       200
#define FAAS_BEAT_FRESH_MS 600
#define FAAS_BEAT_DEAD_MS  2000

#define FAAS_MEMBER_VERSION 32
#define FAAS_MEMBER_TROUBLE 192

typedef struct faas_members faas_members;
struct faas_member {
    char service[16];
    char id[40];
    char epoch[33];
    uint64_t beat;     /* number of the newest beat */
    uint64_t seen_ns;  /* arrival of the newest beat */
    uint64_t first_ns; /* arrival of the first beat of this epoch */
    bool is_ready;     /* said state "ready" */
    bool is_dead;
    bool has_left;       /* dead, for it said good-bye */
    int64_t free, slots; /* spawner: places left and in all */
    int64_t running;
    int64_t level;                     /* FAAS_LEVEL of its release; 0: from before there was one */
    char isolation[16];                /* spawner: what its functions run in; "": it does not say */
    char version[FAAS_MEMBER_VERSION]; /* "": it does not say; so do up_s and skew_ms with 0 */
    int64_t up_s;                      /* seconds since its start, as it said last */
    int64_t skew_ms; /* how far its clock was ahead of ours, and the beat's way here behind it */
    char trouble[FAAS_MEMBER_TROUBLE]; /* why it can do no work; "": nothing */
};
enum faas_member_change {
    FAAS_MEMBER_JOINED,
    FAAS_MEMBER_LEFT,
    FAAS_MEMBER_DIED,
    FAAS_MEMBER_RESTARTED
};
/* Loop thread.  RESTARTED: same id, new epoch (the old one is dead); LEFT: said good-bye (draining
 * ended). */
typedef void faas_member_watch(void *arg, const struct faas_member *member,
                               enum faas_member_change change);

/* What this process says of itself, filled on the loop thread before each beat. */
struct faas_beat {
    const char *state; /* "starting", "ready", "draining" */
    int64_t free, slots, running;
    uint64_t running_seq;  /* grows with each change of the running set */
    const char *isolation; /* NULL: none */
    char trouble[FAAS_MEMBER_TROUBLE];
    struct {
        const char *bucket;
        uint64_t seq;
    } applied[4]; /* feeds; bucket NULL ends */
};
typedef void faas_beat_fill(void *arg, struct faas_beat *beat);

struct faas_members_conf {
    const char *service, *id;
    faas_beat_fill *fill;
    faas_member_watch *watch; /* or NULL */
    void *arg;
};
FAAS_MUST_CHECK faas_code faas_members_start(faas_rpc *rpc, const struct faas_members_conf *conf,
                                             faas_members **out_members, faas_err *err);
void faas_members_stop(faas_members *members);     /* says good-bye */
void faas_members_beat_now(faas_members *members); /* coalesced to one per 2 ms; loop thread */
/* This process, a reader of bucket, has applied seq.  The instances of `writers` alone wait for
 * that (a constant): the others of them are told now (at most once in 0.5 ms), and this process
 * knows it without. */
void faas_members_applied(faas_members *members, const char *writers, const char *bucket,
                          uint64_t seq);
const char *faas_members_epoch(const faas_members *members);
/* The idx-th listed member of a service, NULL past the end; order is by id.  Valid until the loop
 * runs on. */
const struct faas_member *faas_members_at(const faas_members *members, const char *service,
                                          size_t idx);
const struct faas_member *faas_members_find(const faas_members *members, const char *service,
                                            const char *id);
bool faas_member_is_usable(const struct faas_member *member); /* fresh, ready, not dead */
size_t faas_members_usable(const faas_members *members, const char *service);
/* Usable member with the highest rendezvous weight for key, NULL when none; members younger than
 * min_age_ms are skipped unless all are. */
const struct faas_member *faas_members_owner(const faas_members *members, const char *service,
                                             const char *key, int64_t min_age_ms);
/* Every live reader of bucket (a member whose beats name it, silent for under 2 s) has applied seq.
 * TIMEOUT past the deadline. */
FAAS_MUST_CHECK faas_code faas_members_wait_applied(faas_members *members, const char *bucket,
                                                    uint64_t seq, uint64_t deadline_ns,
                                                    faas_err *err);
/* Since then no member was silent for over 1 s without a good-bye, and this process did not stand
 * still: whoever waits for readers hears this one, so what was acknowledged is applied.  Any thread. */
bool faas_members_all_heard(const faas_members *members, uint64_t since_ns);

#endif
