/* history.h - one record per call, on its way to whoever lists them (docs/PROTOCOL.md section 8).
 * Notes     a note is the whole record as far as it is known: status, and each time that has come.
 *           The read model keeps, per call id, the note with the highest (attempt, event); so notes
 *           may be lost, repeated and reordered, and a retry is a note with the next attempt.
 * Hooks     history_on_*() make the notes of a live call.  A call that ends within HISTORY_OPEN_MS
 *           of its acceptance has one note, the last.
 * Queued    who keeps calls that are not live (queued ones) fills a struct history_note by hand and
 *           gives it to history_add().  A live call that belongs to one sets live.history.is_queued
 *           and, when its end is not the last word (it will be tried again), history.is_retried:
 *           then its end is noted as HISTORY_QUEUED of the next attempt.
 * Cost      a note is some 500 bytes of text made on the loop thread, in memory.  Files and the bus
 *           are the pool's and come later; whatever happens there, no call waits for it or fails.
 * Kept      what was noted is in the spool (spool.h) at most HISTORY_WRITE_MS later, synced each
 *           HISTORY_SYNC_MS; sent from there, and removed when the stream has confirmed it.  Bounds:
 *           PUBLISHER_RECORDS_MB of files (the oldest go first, counted), HISTORY_BUFFER_MAX of
 *           memory while the disk does not write (then notes are dropped, counted).
 * Replay    spools of dead publishers of this data directory are sent by a living one.  Of a call
 *           that is open then, the spawner still says the end, to any publisher, which notes it
 *           (history_on_foreign_end).  Where both are gone the read model shows it as `unknown`.
 * Threads   the loop thread.
 */
#ifndef PUBLISHER_HISTORY_H
#define PUBLISHER_HISTORY_H

#include "contract.h"
#include "service.h"

#include <jansson.h>
#include <sys/queue.h>

#define HISTORY_OPEN_MS    50  /* a call that runs longer is shown as running */
#define HISTORY_WRITE_MS   25  /* until a note is in its file */
#define HISTORY_SYNC_MS    100 /* until that file is on the disk */
#define HISTORY_BUFFER_MAX (8 * 1024 * 1024)
#define HISTORY_LOG_MAX    FAAS_STDERR_KEPT /* bytes of stderr */

/* In order: of two notes of one attempt the later event counts. */
enum history_event {
    HISTORY_QUEUED = 1, /* accepted to be run later; or it will be tried again */
    HISTORY_PLACED,     /* a spawner has accepted it */
    HISTORY_STARTED,
    /* 4: as the read model ends a call that nobody speaks for */
    HISTORY_ENDED = 5,
    HISTORY_SETTLED /* the end of a queued call; those of its runs are not the last word */
};

#define HISTORY_STATUSES(X)                                                                        \
    X(QUEUED, "queued")       /* waits for room or for its next attempt */                         \
    X(RUNNING, "running")     /* a spawner has it */                                               \
    X(SUCCEEDED, "succeeded") /* exit status 0 */                                                  \
    X(FAILED, "failed")       /* it ended in any other way; code says which */                     \
    X(REFUSED, "refused")     /* nothing was started; code says why */                             \
    X(CANCELLED, "cancelled")                                                                      \
    X(LOST, "lost") /* it may have run */                                                          \
    X(DEAD, "dead") /* queued, and its attempts are used up */
#define X(name, text) HISTORY_IS_##name,
enum history_status { HISTORY_STATUSES(X) HISTORY_STATUS_END };
#undef X
const char *history_status_text(enum history_status status);

/* All borrowed for the call; NULL, 0 and -1 (exit_code, times_ms) mean "not known (yet)". */
struct history_note {
    enum history_event event;
    enum history_status status;
    const char *id, *tenant; /* required, UUIDs */
    const char *user;
    const char *client_call_id;
    const char *trace;                           /* its traceparent */
    bool is_queued;                              /* it came through the queue */
    const char *function, *function_id;          /* name, UUID */
    int64_t version;                             /* of the function */
    int64_t attempt;                             /* from 1, only grows */
    int64_t tries;                               /* placements of this attempt */
    const char *publisher, *spawner;             /* instance ids */
    const char *publisher_epoch, *spawner_epoch; /* of an open call: who can tell its end */
    int64_t until_ms;             /* wall clock: if both are gone by then, nobody will */
    const char *start;            /* "cold", "prewarmed", "warm" */
    int64_t queued_ms, placed_ms; /* wall clock, milliseconds since 1970 */
    int64_t started_ms, ended_ms;
    double place_time_ms, start_time_ms, run_time_ms; /* as the spawner measured; -1 */
    const char *code;                                 /* slug; "ok" */
    const char *detail;                               /* for the user */
    int64_t exit_code, signal;                        /* -1, 0 */
    bool is_oom, may_have_run;
    int64_t argument_bytes, result_bytes, stderr_bytes; /* -1: not known */
    const char *result_hash;                            /* hex, as END says it */
    const char *log;                                    /* base64 of the last bytes of stderr */
    int64_t log_bytes;                                  /* of stderr in it */
};
/* Nothing known: the -1s set. */
void history_note_init(struct history_note *note);

struct history;
struct live;

/* In a live call. */
struct history_live {
    TAILQ_ENTRY(history_live) link; /* accepted, not shown as running yet */
    uint64_t opened_ns;
    bool is_linked;
    bool is_queued;  /* it came through the queue */
    bool is_retried; /* its end is not the last word */
    /* of a run of a queued call, else empty: */
    char call_id[FAAS_UUID_TEXT]; /* the queued call's, which people know */
    int64_t attempt, queued_ms;
    char client_call_id[FAAS_LABEL_MAX + 1];
};

struct history_conf {
    const struct faas_runtime *rt;
    int64_t spool_mb;  /* of files */
    int64_t stream_mb; /* of the stream, when it is made */
    int64_t age_h;     /* likewise, in hours */
};
/* Blocks (files): from the start thread. */
FAAS_MUST_CHECK faas_code history_open(const struct history_conf *conf,
                                       struct history **out_history, faas_err *err);
void history_begin(struct history *self); /* loop thread: timers */
/* What is noted goes to the file.  The loop and the pool have stopped. */
void history_stop(struct history *self);

void history_add(struct history *self, const struct history_note *note);

/* ---- hooks: one line each where it happens ---- */
void history_on_queued(struct live *call); /* in the fair queue */
void history_on_placed(struct live *call); /* accepted by a spawner */
void history_on_started(struct live *call);
/* Before the call is freed; call->end, if any, is the spawner's word. */
void history_on_ended(struct live *call, enum history_status status, const char *code);
void history_on_freed(struct live *call); /* without an end: the process ends */
/* The end of a call that is not known here (its publisher died): an END event's document. */
void history_on_foreign_end(struct history *self, const char *id, const json_t *event);

#endif
