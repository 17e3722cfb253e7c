/* stage.h - everything around one real publisher: a real nats-server, a gateway's inbox, and
 * spawners that do what a test tells them.  No container runs: what is shown is what the publisher
 * makes of each answer, also of those that a sound spawner gives rarely.
 * Threads   each member runs its own loop; the test's thread reads copies under a lock.
 * Errors    what goes wrong here fails the running cmocka test.
 */
#ifndef FAAS_TEST_STAGE_H
#define FAAS_TEST_STAGE_H

#include <pthread.h>
#include <sys/types.h>

#include "base/id.h"
#include "base/json.h"
#include "net/frames.h"
#include "net/kv.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"

#define STAGE_TENANT   "0190a000-0000-7000-8000-000000000001"
#define STAGE_USER     "0190a000-0000-7000-8000-000000000002"
#define STAGE_SPAWNERS 3
#define STAGE_KEPT     64

enum actor_mood {
    ACTOR_RUNS,    /* accept, started, end with code ok */
    ACTOR_ACCEPTS, /* accept, nothing more: stage_end() ends it */
    ACTOR_REFUSES, /* busy with its reason, but for a call that says pull */
    ACTOR_SILENT,  /* takes it without a word */
};
struct placement { /* one call as it reached a spawner */
    char id[FAAS_UUID_TEXT], publisher[40], epoch[40], tenant[FAAS_UUID_TEXT];
    char inbox[160], reply[160]; /* the caller's inbox; where the message asked for an answer */
    int64_t place, attempt, age_ms, left_ms, beat;
    bool is_pull;
    int64_t timeout_ms, version;
    size_t arg_len;
    json_t *meta;
};
struct actor { /* a spawner */
    struct stage *stage;
    struct process process;
    char id[8], epoch[33];
    ev_timer timer;     /* beats are our own: a crash says no good-bye */
    pthread_mutex_t mu; /* guards what follows */
    bool is_up;
    uint64_t beat;
    enum actor_mood mood;
    const char *reason; /* ACTOR_REFUSES; "epoch": as the process after this one would say it */
    const char *fence;  /* what it says to a fence; NULL: nothing; "": the truth */
    const char *cancel; /* what it says to a cancel; NULL: nothing */
    int64_t free, slots;
    int64_t level; /* of its release: FAAS_LEVEL, or 0 where a test says so before it joins */
    struct placement placements[STAGE_KEPT];
    int placed, fences, cancels, ends_acknowledged;
};
struct seen { /* a frame at the gateway's inbox */
    char id[FAAS_UUID_TEXT];
    enum faas_frame_type type;
    uint32_t place;
    json_t *doc;
};
struct stage {
    const char *tenant; /* whose functions and calls follow; NULL: STAGE_TENANT */
    struct nats *nats;
    int servers;
    pid_t publisher;
    char dir[64];
    struct process gateway;
    faas_members *gateway_members;
    faas_kv *functions;
    faas_inbox *inbox;
    char inbox_subject[160];
    struct actor spawners[STAGE_SPAWNERS];
    pthread_mutex_t mu; /* guards what follows */
    struct seen seen[4096];
    int seen_len;
};

/* NATS (1 or 3 servers), the publisher program (id "p1") with the given "NAME=value" settings (NULL
 * ends them), the gateway "g1"; no spawner yet.  Returns once the publisher is ready. */
void stage_open(struct stage *stage, int servers, const char *const *settings);
void stage_close(struct stage *stage);
/* Once the one before has ended: another process in its place, on the same data. */
void stage_launch(struct stage *stage, const char *const *settings);
void stage_gateway_leaves(struct stage *stage); /* says good-bye; its inbox goes on listening */
/* A spawner comes (with 8 free slots, running calls) or says good-bye. */
void stage_join(struct stage *stage, int which);
void stage_leave(struct stage *stage, int which);
void stage_free(struct stage *stage, int which, int64_t free); /* beats at once */
/* Falls silent without a word, as after kill -9. */
void stage_crash(struct stage *stage, int which);
/* A beat of the crashed one that was still on its way: it looks usable once more. */
void stage_last_beat(struct stage *stage, int which);
void stage_mood(struct stage *stage, int which, enum actor_mood mood, const char *reason);
void stage_answers(struct stage *stage, int which, const char *fence, const char *cancel);
/* Ends the which-th spawner's idx-th placement with the outcome code. */
void stage_end(struct stage *stage, int which, int idx, const char *code);
int stage_placed(struct stage *stage, int which);
int stage_fences(struct stage *stage, int which);
int stage_cancels(struct stage *stage, int which);
int stage_ends(struct stage *stage, int which); /* ends that were acknowledged */

/* Writes the function's head record; more is spliced into the JSON ("\"max_wait_ms\":500,"). */
void stage_function(struct stage *stage, const char *name, int version, const char *more);
/* Writes the entry of one version likewise; more NULL removes it. */
void stage_version(struct stage *stage, const char *name, int version, const char *more);
void stage_function_delete(struct stage *stage, const char *name);

struct stage_call {
    const char *function;
    const void *arg;
    size_t arg_len;
    int64_t attempt;    /* 0: 1 */
    int64_t lost;       /* owners that died with it */
    int64_t version;    /* which they ran; 0: not said */
    int64_t timeout_ms; /* 0: not said */
    const char *id;     /* NULL: a new one */
    const char *epoch;  /* of the publisher it is for; NULL: not said */
    const char *tenant; /* NULL: the stage's */
};
/* Sends a call to the publisher; out_id names it. */
void stage_call(struct stage *stage, const struct stage_call *call, char out_id[FAAS_UUID_TEXT]);
/* Waits for a frame of that type for the call; the document is borrowed until stage_close. */
const json_t *stage_frame(struct stage *stage, const char *id, enum faas_frame_type type,
                          int64_t ms);
int stage_frames(struct stage *stage, const char *id, enum faas_frame_type type); /* how many */
/* "state" of the publisher's answer to a fence or cancel ("fence", "cancel"); "" for none. */
void stage_ask(struct stage *stage, const char *what, const char *id, int64_t place,
               char out_state[16]);
void stage_signal(struct stage *stage, int signal);
/* kill -9, and another one under its id; out_epoch is that of the one that is gone. */
void stage_replace_publisher(struct stage *stage, char out_epoch[33]);
int stage_wait_exit(struct stage *stage, int64_t ms); /* exit status, -1 for a signal */

#endif
