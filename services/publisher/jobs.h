/* jobs.h - the queued calls this publisher owns, from their 202 to their kept result.
 * Owner     a job's stored state names a publisher and its epoch: that process alone runs it.  Of a
 *           dead one's jobs the publisher takes over that owns the function (job_scan.c); a
 *           compare-and-set decides, so there is one new owner.
 * Road      job_take.c stores it; jobs.c keeps the table; job_run.c gives it turns, runs it as a live
 *           call and takes its frames; job_end.c decides what became of it and keeps the result;
 *           job_ask.c answers questions and cancels; job_send.c sends results to gateways.
 * Twice     a run of a function that is not idempotent is marked in the stored state before it
 *           begins.  Who finds the mark of a dead owner does not run it again: it ends as lost, among
 *           the dead letters.
 * Ends      once: the end is written create-only, then the job is removed.  Whoever finds an end
 *           beside a job only removes the job.
 * Bounds    jobs per user and in all, and bytes of stored arguments, per publisher; arguments in
 *           memory JOBS_HELD_MAX, others are read again when their turn comes.
 * Threads   the loop thread, but jobs_open().
 */
#ifndef PUBLISHER_JOBS_H
#define PUBLISHER_JOBS_H

#include "callback.h"
#include "job.h"
#include "job_lines.h"
#include "publisher.h"

#include "net/frames.h"
#include "net/stream.h"

#define JOBS_HELD_MAX   (32 * 1024 * 1024)
#define JOBS_STORE_MS   15000 /* a write that somebody waits for: an election takes 4 to 9 s */
#define JOBS_KEEP_MS    10000 /* one try of a write that is repeated until it is done */
#define JOBS_PUMP_S     0.02
#define JOBS_FRAMES_MS  10000 /* after the event that it ended: its frames are on their way */
#define JOBS_WAIT_MS    30000 /* a taken job waits so long for a place before it goes back */
#define JOBS_WAIT_S_MAX 60    /* ?wait= */

struct job_conf {
    int64_t all_max, tenant_max; /* jobs */
    int64_t mb, tenant_mb;       /* of stored arguments */
    char *callback_allow;        /* networks */
    int64_t results_mb, dead_mb; /* of the streams, when they are made */
};

enum job_phase {
    JOB_STORING,  /* being written, nobody was told yet; or being taken over */
    JOB_WAITING,  /* in its line, or pausing before it goes there */
    JOB_READYING, /* its function, its argument, its mark */
    JOB_RUNNING,  /* as a live call, or its last frames are awaited */
    JOB_ENDING,   /* its end is being kept */
    JOB_PHASES
};

struct job {
    char id[FAAS_UUID_TEXT]; /* first: the table's tree compares whole nodes as texts */
    TAILQ_ENTRY(job) link;
    struct jobs *jobs;
    struct job_state state;
    enum job_phase phase;
    uint64_t seq; /* of its stored message; 0: not stored */
    struct job_item item;
    bool is_busy;                  /* an operation on a stream is under way */
    bool is_cancelled;             /* somebody asked for its end */
    bool is_once;                  /* being stored: its function may not run twice */
    void (*then)(struct job *job); /* after job_write(), job_need_argument() */
    uint64_t ready_ns;             /* when it last began to wait */
    uint64_t seen_scan;            /* number of the scan that saw it */
    size_t stored_bytes;           /* of its argument */
    void *arg;                     /* NULL: to be read */
    size_t arg_len;
    ev_timer timer; /* the pause, the frames, or the next try of a write */
    void (*on_timer)(struct job *job);
    struct job_asker *askers;    /* whom the answer to its queueing is owed */
    char letter[FAAS_UUID_TEXT]; /* the dead letter it was made from, or "" */
    uint64_t letter_seq;
    char key[FAAS_HASH_TEXT]; /* of its Idempotency-Key, or "" */
    uint64_t key_seq;
    bool is_key_taken; /* it was claimed for this call before */

    /* its run */
    struct record *rec;
    struct faas_function_ref ref; /* what is looked up */
    struct resolve_wait look;
    struct live *live;
    uint32_t attempt; /* of the run's id */
    bool has_outcome; /* code, may_have_run and end are the run's */
    faas_inbox *inbox;
    faas_frames_in *in;
    char *credit_to;  /* the last frames' reply subject, to be credited once they are kept */
    int64_t refusals; /* in a row */
    int64_t pause_ms; /* before the next try */

    /* its end */
    faas_code code;
    bool may_have_run;
    int64_t attempt_no; /* the run that ended, or would have been the next, from 1 */
    json_t *end;        /* END's or FAIL's JSON */
    const char *status;
    bool is_dead;
    void *result;
    size_t result_len, chunk; /* chunk: the next to be kept */
    int result_fd;            /* -1: in memory */
    bool is_text, is_dead_kept, is_end_kept, was_ended;
    struct cancel_wait *cancels;
    bool is_end_told, is_callback_done;
    struct callback_call *calling;
    int callback_tries;
};
TAILQ_HEAD(job_list, job);

struct state_wait; /* job_ask.c */

struct jobs {
    struct publisher *pub;
    struct job_conf conf;
    faas_stream *keys;
    faas_stream *queue, *results, *dead; /* start thread, then the loop; closed by stop */
    struct callbacks *callbacks;
    void *root; /* tsearch(3) by id */
    struct job_list all;
    struct job_lines lines;
    size_t len, bytes, held;
    size_t count[JOB_PHASES];
    size_t placing; /* live ones without an accept */
    ev_timer pump;
    bool is_pump_posted, is_stopped, is_draining;
    uint64_t begun_ns; /* when a job last began, or the first one came to wait */
    struct {
        ev_timer timer;
        uint64_t number, from, began_ns;
        bool is_running, is_wanted, has_orphans;
    } scan;
    TAILQ_HEAD(, state_wait) waits;
    LIST_HEAD(, result_send) sends;
};

/* ---- jobs.c ---- */
/* Blocks: from the start thread.  The streams are there afterwards. */
FAAS_MUST_CHECK faas_code jobs_open(struct jobs *jobs, const struct faas_runtime *rt,
                                    uint64_t deadline_ns, faas_err *err);
void jobs_start(struct jobs *jobs, struct publisher *pub); /* loop thread */
void jobs_stop(struct jobs *jobs);                         /* the loop has stopped */
void jobs_drain(struct jobs *jobs);                        /* nothing more is begun */
bool job_is_idle(const struct job *job);                   /* it can be left as it is stored */
bool jobs_are_idle(const struct jobs *jobs);               /* all of them */
struct job *jobs_find(const struct jobs *jobs, const char *id);
/* Into the table; it is the table's from now on. */
FAAS_MUST_CHECK faas_code jobs_add(struct jobs *jobs, struct job *job, faas_err *err);
struct job *job_new(struct jobs *jobs); /* NULL without memory */
void job_free(struct job *job);         /* also out of the table */
void job_set_phase(struct job *job, enum job_phase phase);
void job_arm(struct job *job, int64_t ms, void (*then)(struct job *job));
void job_hold_argument(struct job *job, const void *arg, size_t len); /* a copy, if there is room */
void job_drop_argument(struct job *job);

/* ---- job_store.c: then() runs once it is done, however long that takes ---- */
/* Stores the state; a job that somebody else owns by now is forgotten instead. */
void job_write(struct job *job, void (*then)(struct job *job));
void job_need_argument(struct job *job, void (*then)(struct job *job));

/* ---- job_take.c ---- */
void jobs_on_queue(void *state, faas_msg *take_msg);

/* state, arg and askers are set: looks for the function, stores the job, answers.  was_tried: it may
 * have been stored before. */
void job_submit(struct job *job, bool was_tried);
FAAS_MUST_CHECK faas_code jobs_check_room(const struct jobs *jobs, const struct faas_ctx *ctx,
                                          size_t bytes, faas_err *err);
void job_own(struct job *job); /* names this process its owner */

/* ---- job_asker.c ---- */
void job_add_asker(struct job *job, faas_msg *take_msg);
void job_answer_askers(struct job *job, const json_t *doc);
void job_refuse(struct job *job, const faas_err *err); /* its askers; the job is gone */
void job_drop_askers(struct job *job);
/* A job of that id is there already: its askers are that one's, and it is gone. */
bool job_join(struct job *job, const char *id);

/* ---- job_key.c: the call's Idempotency-Key ---- */
/* Claims it for the job; then(job), or its askers are answered and the job is gone. */
void job_claim_key(struct job *job, void (*then)(struct job *job));
void job_confirm_key(struct job *job, void (*then)(struct job *job)); /* the job is stored */

/* ---- job_run.c ---- */
void jobs_pump(struct jobs *jobs); /* soon, from the loop */
void jobs_on_pump(struct ev_loop *ev, ev_timer *timer, int events);
void job_line_up(struct job *job, bool is_first); /* it waits for its turn from now on */
/* Hooks of live calls that are a job's run: */
void job_on_placed(struct live *call);
void job_on_fail(struct live *call, const struct wire_fail *fail);
void job_on_gone(struct live *call);
void job_release_run(struct job *job);

/* ---- job_end.c ---- */
void job_fail(struct job *job, faas_code code, const char *text); /* before its run began */
void job_ended(struct job *job); /* code, end and may_have_run are set */
/* Ends it, now or when that is safe; job_answer_cancels() tells. */
void job_cancel(struct job *job);
void job_answer_cancels(struct job *job, const char *word); /* NULL: without a word */
void job_keep_on(struct job *job); /* its end is stored; the rest is to be done */
void job_forget(struct job *job);  /* somebody else owns it, or has ended it */

/* ---- job_note.c: what its record says ---- */
void job_note_queued(const struct job *job); /* it waits, for the first time or again */
void job_note_end(const struct job *job);

/* ---- job_scan.c ---- */
void jobs_scan_soon(struct jobs *jobs, int64_t ms);
bool job_is_own(const struct jobs *jobs, const struct job_state *state); /* this process's */
void jobs_on_scan_timer(struct ev_loop *ev, ev_timer *timer, int events);

/* ---- job_ask.c ---- */
void jobs_on_state(void *state, faas_msg *take_msg);
/* The job of that id and tenant; false: it is not here, and the message still is the caller's. */
bool jobs_cancel(struct jobs *jobs, const char *id, const char *tenant, faas_msg *take_msg);
void jobs_on_ended(void *state, faas_msg *take_msg); /* another publisher's word */
void jobs_say_ended(struct jobs *jobs, const char *id);
void jobs_stop_waits(struct jobs *jobs);

json_t *job_shown(const json_t *stored); /* an end as people see it; NULL without memory */

/* ---- dead.c ---- */
void jobs_on_dead_list(void *state, faas_msg *take_msg);
void jobs_on_dead_show(void *state, faas_msg *take_msg);
void jobs_on_dead_redrive(void *state, faas_msg *take_msg);

/* ---- job_purge.c ---- */
void jobs_on_purge(void *state, faas_msg *take_msg);

/* ---- job_send.c ---- */
void jobs_on_result(void *state, faas_msg *take_msg);
void jobs_stop_sends(struct jobs *jobs);

#endif
