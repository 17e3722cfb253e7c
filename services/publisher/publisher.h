/* publisher.h - the state of this program; DESIGN.md section 4 gives the rules.
 * Files     endpoints.c and events.c read the wire; drive.c moves a call along call.h's table as
 *           far as a spawner's acceptance; room.c says whether there is room for it, and keeps the queue;
 *           again.c says whether a lost call may run again; finish.c ends calls; ask.c asks spawners; unheard.c learns of placements that nobody
 *           heard; wire.c writes to the wire; resolve.c, place.c, usage.c, fair.c, book.c decide
 *           and remember.  jobs.h: queued calls.
 * Threads   everything belongs to the loop thread, from attaching (main.c) to stop.
 */
#ifndef PUBLISHER_PUBLISHER_H
#define PUBLISHER_PUBLISHER_H

#include "book.h"
#include "call.h"
#include "base/fair.h"
#include "history.h"
#include "metrics.h"
#include "place.h"
#include "resolve.h"
#include "series.h"
#include "standings.h"
#include "tally.h"
#include "usage.h"

#include "service.h"

/* Faas-Place and fences count in attempts of the gateway x 256 + our tries. */
#define PUBLISHER_TRIES    254
#define PUBLISHER_ATTEMPTS ((1 << 23) - 1)

/* A call that may not run again is told to be lost within 3 s.  From its spawner's death it is at most
 *   FAAS_BEAT_DEAD_MS 2000 + FAAS_BEAT_MS 200 (when silence is looked for) + a probe of 300 = 2.5 s,
 * whatever it waits for until then: silence is asked after (call FAAS_ACCEPT_MS, fence 300 ms), and
 * its asking ends with the death.  gateway/invoke.c has the sum of a publisher's death.  This bounds
 * a spawner that is never found dead and never answers: */
#define PLACE_BUDGET_MS 8000
#define PLACE_SLACK_MS  4000  /* the gateway waits so much longer than we do */
#define RUN_SLACK_MS    15000 /* past start_timeout + timeout the spawner must have spoken */
#define PASSING_MS      2000  /* room for a newer beat when numbers were stale, or for a restart */
#define RESTART_MS      5000  /* a spawner heard so lately may be restarting */
/* So long a user below their share waits for the next free place, and a call whose run was lost. */
#define OWED_MS 5000

/* Tenths of a repeated placement: each call brings one, each repeat takes ten (DESIGN.md 4.7). */
#define REPEAT_TOKENS_MAX  1000
#define REPEAT_TOKENS_COST 10

struct publisher_conf {
    int64_t function_concurrency; /* 0: no limit */
    int64_t tenant_concurrency;   /* running and waiting, at all publishers; 0: no limit */
    int64_t calls_max, calls_mb;
    int64_t queue_max, queue_tenant_max;
    int64_t cache_len, cache_mb;
    int64_t records_mb, stream_mb, stream_h; /* records_mb 0: no records of calls */
    int64_t metrics_functions;
};
struct jobs;
struct job;
struct room_places { /* of all usable spawners together */
    int64_t all, free;
};
struct publisher {
    struct publisher_conf conf;
    const struct faas_runtime *rt; /* NULL: not attached */
    struct resolve resolve;
    faas_inbox *unheard; /* reply subjects of placements */
    struct book book;
    struct history *history; /* NULL: calls are not recorded */
    struct series *series;   /* from attach to stop */
    struct faas_fair fair;
    struct usage usage;
    struct standings standings;
    struct tally by_function, waiting_by_function;
    struct place_ledger ledger;
    struct jobs *jobs;          /* queued calls */
    TAILQ_HEAD(, again) agains; /* questions whose function is looked up */
    struct place_fleet fleet;   /* for one choice */
    struct room_places places;  /* at the last choice */
    size_t hungry;              /* calls in the queue that wait for a place */
    size_t bytes_held;          /* of messages of calls that are not accepted yet */
    ev_timer tick;              /* 100 ms: was this process late? */
    ev_timer pump;              /* while calls wait: is there room? */
    bool is_pump_posted, is_draining;
    uint64_t tick_due_ns, attached_ns;
    int repeat_tokens;
};

struct cancel_wait { /* somebody wants to know when a call has ended */
    struct cancel_wait *next;
    faas_msg *msg;
};
struct live {              /* one call */
    struct book_page page; /* first: book.h finds it by page.id */
    struct publisher *pub;
    struct job *job; /* whose run it is; NULL: a gateway's call */
    enum call_state state;
    struct usage_user *usage;   /* its user's; NULL: not entered */
    struct faas_fair_item wait; /* in the fair queue */
    struct resolve_wait look;   /* at the store */
    ev_timer step;              /* the next answer is due */
    ev_timer guard;             /* the whole call is due */
    ev_timer told;              /* the caller is to hear that it is taken */
    struct history_live history;

    /* as it came */
    faas_msg *msg; /* while it may have to be placed (again); arg is borrowed from it */
    const void *arg;
    size_t arg_len;
    int64_t input_bytes; /* of an argument that the spawner gets from the caller; 0: none */
    char *inbox;
    char tenant[FAAS_UUID_TEXT], user[FAAS_UUID_TEXT], trace[56];
    char gateway[40];
    struct faas_function_ref ref; /* of a job's run the name alone */
    uint32_t attempt;
    int64_t age_ms, asked_ms; /* asked_ms: the caller's own timeout, 0: none */
    const char *stream;       /* constant, a word of contract.h: what it streams; NULL: nothing */

    /* where it stands */
    struct record *rec; /* NULL before FOUND */
    struct place_round round;
    struct place_answer at; /* the spawner it was sent to; reason unused */
    uint32_t tries, place;
    int64_t lost; /* runs there may have been and that are given up, an earlier owner's included */
    int64_t lost_version; /* which the earlier owner ran, 0: not known */
    int unanswered;       /* fences in a row */
    uint64_t taken_ns, sent_ns, accepted_ns, started_ns;
    uint64_t wait_until_ns, grace_until_ns;
    int64_t accept_budget_ms; /* as the spawner said */
    enum { LIVE_NOT_SENT, LIVE_SENT, LIVE_ACCEPTED } ledger;
    bool is_checked, is_counted, was_queued;
    bool is_hungry;         /* it waits for a place, not for a cap */
    bool is_left_to_others; /* there are places, but its user has their share of them */
    bool is_repeat;         /* the next placement follows a silent one */
    bool was_cancel_done;   /* the spawner said that it had ended by itself */
    const char *cancel_why; /* constant; NULL: nobody cancelled */

    /* how it ended */
    faas_err err;
    const json_t *end; /* the spawner's words, while its END event is handled */
    int64_t retry_after_s;
    struct cancel_wait *cancels;
};

/* ---- endpoints.c ---- */
/* Calls the user may have at once; INT64_MAX: no limit. */
int64_t publisher_calls_cap(const struct publisher *pub, const char *user);

/* ---- events.c ---- */
#define PUBLISHER_EVENT_MAX (256 * 1024) /* bytes of an event */
/* An event's message; a faas_endpoint's on_message (events.c). */
void events_take(void *state, faas_msg *take_msg);

/* ---- drive.c ---- */
void drive(struct live *call, enum call_event event); /* the call may be gone afterwards */
/* It is lost with its spawner, or so that one says: it runs again where it may, or ends. */
void drive_died(struct live *call);
bool drive_may_run_again(const struct live *call);
void drive_on_tick(struct ev_loop *ev, ev_timer *timer, int events);
/* At the start of whatever reads the wire: calls that were not placed end if this process was late.
 */
void drive_check_late(struct publisher *pub);
void drive_arm(struct live *call, ev_timer *timer, int64_t ms);
void drive_timers_init(struct live *call);
void drive_release_message(struct live *call);
struct resolve_want drive_want(const struct live *call); /* borrows from it */
int64_t drive_timeout_ms(const struct live *call); /* the function's, shortened by the caller */

/* ---- again.c ---- */
struct again_loss {
    const struct record *rec;
    const struct faas_function_ref *ref; /* as the call named it */
    int64_t lost;                        /* runs there may have been */
    uint64_t sent_ns;                    /* the call, for the first time */
};
bool again_may_run(struct publisher *pub, const struct again_loss *loss);
/* The same version, whatever the name means by now; 0: it is not known which. */
void again_name_version(struct faas_function_ref *ref, int64_t version);
/* When that was, by our clock, of what came then. */
uint64_t again_sent_ns(uint64_t came_ns, int64_t age_ms);
void again_take(void *state, faas_msg *take_msg); /* a faas_endpoint's on_message */
void again_stop(struct publisher *pub);           /* nobody is answered any more */

/* ---- room.c ---- */
bool room_is_capped(struct live *call); /* call->err says by what */
/* The function has as many calls placed as it may. */
bool room_is_at_cap(struct publisher *pub, const struct record *rec);
struct room_places room_places(struct publisher *pub);
FAAS_MUST_CHECK faas_code room_count_in(struct live *call);
void room_count_out(struct live *call);
/* Sets call->at and says yes, or says why not. */
bool room_choose(struct live *call, enum place_verdict *out_why);
/* After room_choose(): others are active, and the call's user has less than their share. */
bool room_is_owed(const struct live *call);
FAAS_MUST_CHECK faas_code room_queue(struct live *call, faas_err *err);
void room_leave_queue(struct live *call);
void room_pump(struct publisher *pub); /* soon, from the loop: let waiting calls go if they can */
void room_on_pump(struct ev_loop *ev, ev_timer *timer, int events);

/* ---- finish.c: the actions that end a call ---- */
void finish_ended(struct live *call); /* call->end says how */
void finish_dropped(struct live *call);
void finish_failed(struct live *call, bool may_have_run);
void finish_free(struct live *call); /* without telling anybody */
void finish_ledger(struct live *call, enum place_news news);

/* ---- ask.c: questions to spawners ---- */
void ask_fence(struct live *call);
/* The spawner does not have it and will not: the next one may. */
void ask_never(struct live *call);
void ask_cancel(struct live *call);            /* GONE, SILENT come of it */
void ask_cancel_only(const struct live *call); /* nothing comes of it */
/* The call is placed again: what the spawner had of it nobody wants.  Nothing comes of it. */
void ask_give_up(const struct live *call);

/* ---- unheard.c ---- */
FAAS_MUST_CHECK faas_code unheard_open(struct publisher *pub, faas_err *err);
/* The reply subject of the call's placement: NATS tells us there when nobody listens. */
void unheard_subject(const struct live *call, char out_subject[FAAS_INBOX_SUBJECT]);

/* ---- wire.c ---- */
struct wire_fail {
    const char *inbox, *id;
    uint32_t place;
    const faas_err *err;
    const char *component;
    const char *reason;    /* NULL: none */
    int64_t retry_after_s; /* 0: not said */
    bool may_have_run;
    struct live *call; /* NULL: it was never entered */
};
/* The FAIL frame; the caller frees.  NULL without memory. */
void *wire_fail_frame(const struct wire_fail *fail, size_t *out_len);
void wire_fail(struct publisher *pub, const struct wire_fail *fail);
void wire_use(struct publisher *pub); /* tells the other publishers who uses what here */
void wire_send(struct publisher *pub, const char *inbox, const void *data, size_t len);
/* That the call is taken, how long it may take until a spawner accepts it, and the version (0: the
 * function is not known yet). */
void wire_taken(struct live *call);
/* The same, and that what the current placement said counts no more. */
void wire_taken_again(struct live *call);
FAAS_MUST_CHECK faas_code wire_place(struct live *call, faas_err *err);

/* ---- endpoints.c ---- */
extern const struct faas_endpoint publisher_endpoints[];

/* ---- main.c ---- */
void publisher_check_drained(struct publisher *pub);

#endif
