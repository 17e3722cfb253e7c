/* members_internal.h - what members.c (the list, beats, probes) and members_ask.c share. */
#ifndef FAAS_MEMBERS_INTERNAL_H
#define FAAS_MEMBERS_INTERNAL_H

#include "net/members.h"
#include "net/rpc_internal.h"

#define FAAS_APPLIED_MAX 4
#define FAAS_BUCKET_TEXT 32

struct faas_member_applied {
    char bucket[FAAS_BUCKET_TEXT]; /* "" ends a list */
    uint64_t seq;
};

/* A listed member with what only these files need. */
struct faas_member_record {
    struct faas_member pub;
    char old_epoch[33];           /* the epoch before: its late beats are ignored */
    char server[FAAS_BUS_SERVER]; /* of NATS that its beats came by; "": it did not say */
    bool is_probing;
    uint64_t probe_ns; /* no probe before this instant */
    uint64_t died_ns;
    struct faas_member_applied applied[FAAS_APPLIED_MAX];
    uint64_t seen_beat; /* its newest beat when it last told what it applied (members_seen.c) */
};

/* A pool thread inside faas_members_wait_applied(); on its stack. */
struct faas_members_waiter {
    LIST_ENTRY(faas_members_waiter) link; /* guarded by mu */
    const char *bucket;
    uint64_t seq;
    pthread_cond_t is_applied; /* with mu */
};

struct faas_members {
    faas_rpc *rpc;
    faas_loop *loop;
    struct faas_members_conf conf;
    char epoch[33];
    char subject[FAAS_SUBJECT_MAX];
    uint64_t began_ns;
    uint64_t beats;
    faas_sub *sub;
    struct faas_bus_watch watch;
    uint64_t back_ns; /* when our own connection came back; before that we could hear nobody */
    struct faas_member_applied own[FAAS_APPLIED_MAX]; /* as faas_members_applied() was told */
    const char *told[FAAS_APPLIED_MAX]; /* whom own[i] is to be told of; NULL: nobody */
    ev_timer seen_timer;                /* tells them */
    ev_tstamp seen_at;                  /* when it last did */
    faas_sub *seen_sub;
    ev_timer beat_timer; /* every FAAS_BEAT_MS: beat, look for the silent */
    ev_timer soon_timer; /* a beat asked for */
    ev_tstamp soon_at;   /* when the last of them was sent */
    int probes;          /* on their way; stop waits for none: their done finds is_stopped */
    bool is_stopped;
    bool is_full; /* MEMBERS_MAX was logged */
    /* members_island.c */
    faas_sub *data_sub; /* our own beats, on the other lane */
    struct faas_bus_watch data_watch;
    uint64_t data_back_ns, data_heard_ns;
    int island_looks, apart_looks; /* one after the other that found it so */
    int leaves;                    /* since it was sound */
    _Atomic uint64_t looked_ns;    /* when it was last looked for silent members */
    _Atomic uint64_t silent_ns;    /* ... and when that last found one, or this look was late */
    pthread_mutex_t mu; /* the loop thread writes records under it, pool threads read under it */
    LIST_HEAD(, faas_members_waiter) waiters; /* guarded by mu */
    struct faas_member_record **list;         /* sorted by service, then id */
    size_t count, room;
};

/* ---- members_seen.c ---- */
faas_code faas_members_seen_start(faas_members *members, faas_err *err);
void faas_members_seen_stop(faas_members *members);
bool faas_members_is_own(const faas_members *members, const struct faas_member_record *record);
/* mu is held.  A beat of ours that comes back says which buckets we read, and of an earlier moment
 * how far. */
void faas_members_correct_own(faas_members *members, struct faas_member_record *own);

/* ---- members_island.c ---- */
faas_code faas_members_island_start(faas_members *members, faas_err *err);
void faas_members_island_stop(faas_members *members);
void faas_members_look_for_island(faas_members *members); /* each tick */

/* Index of the first member not before (service, id). */
size_t faas_members_position(const faas_members *members, const char *service, const char *id);
struct faas_member_record *faas_members_record(const faas_members *members, const char *service,
                                               const char *id);
/* mu is held.  A member's state has changed: wakes the waiters that nobody is behind of any more. */
void faas_members_wake(faas_members *members);
bool faas_member_is_silent(const struct faas_member_record *record, uint64_t now);

#endif
