/* gate.h - everything around one real gateway: a real nats-server, an auth that hands out keys, and
 * publishers, a spawner and a registry that do what a test tells them.  No container runs: what is
 * shown is what the gateway makes of each answer, also of those that sound services give rarely.
 * Threads   each member runs its own loop; what tests read is atomic, what they set they set while
 *           no request is under way or before it.
 * Errors    what goes wrong here fails the running cmocka test.
 */
#ifndef FAAS_TEST_GATE_H
#define FAAS_TEST_GATE_H

#include <stdatomic.h>
#include <sys/types.h>

#include "crypto/token.h"
#include "net/frames.h"
#include "tests/support/forge.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"

#define GATE_USER   "0190a000-0000-7000-8000-000000000002"
#define GATE_TENANT "0190a000-0000-7000-8000-000000000001"

enum mood {
    MOOD_RUNS,    /* TAKEN, ACCEPT, the result */
    MOOD_SILENT,  /* takes it without a word */
    MOOD_FAILS,   /* TAKEN, FAIL busy, retry_after_s 7 */
    MOOD_TAKES,   /* TAKEN with a short budget, nothing more */
    MOOD_ACCEPTS, /* TAKEN and ACCEPT, nothing more */
    MOOD_STALE,   /* as MOOD_RUNS, after a FAIL of the attempt before */
    MOOD_AGAIN,   /* as MOOD_ACCEPTS, then that placement is given up; the next one runs */
    MOOD_FOREIGN, /* FAIL with reason "epoch": meant for the process before */
    MOOD_LEAVES,  /* as MOOD_SILENT, and its heartbeats end */
};

struct gate;
struct puppet { /* a publisher; it sends frames as its spawner would */
    struct gate *gate;
    struct process process;
    faas_members *members;
    char id[16];
    enum mood mood, later;                    /* later: from its answer "never" on */
    const char *fence;                        /* its answer; NULL: none */
    const char *epoch;                        /* in it; NULL: none */
    int fences_unanswered, queues_unanswered; /* so many first */
    bool may_run;                             /* its answer to whether a call may run again */
    bool is_deaf;                             /* beats, but nobody listens to its calls */
    _Atomic int calls, fences, cancels, attempt, agains, queues;
    _Atomic int lost, version; /* owners of its newest call that died, and which version, as the
                                  call said */
    /* The result: so many bytes of a pattern, outcome code, what to spoil. */
    size_t result_len;
    const char *code;
    int lose; /* message of the result that is not sent the first time, from 1; 0: none */
    bool is_tampering;
    /* loop thread */
    faas_frames_out *out;
    faas_inbox *credits;
    char inbox[160], call_epoch[40]; /* as the newest call named it */
    int sent;
};
struct gate {
    struct nats *nats;
    pid_t gateway;
    int port;
    char dir[64];
    struct process auth, spawner, registry;
    faas_members *spawner_members;
    struct puppet publishers[2]; /* "p1", "p2" */
    struct forge_key keys[2];
    _Atomic int key; /* index of the one that auth signs with now */
    _Atomic int spawner_cancels, spawner_fences, registry_calls, jwks_calls;
    _Atomic bool is_registry_silent;
};
struct reply {
    int status;
    char head[4096]; /* status line and fields, lower-cased names as sent */
    char *body;      /* NUL follows */
    size_t len;
};

int gate_free_port(int from); /* the gateway's own is from 20000 on */
/* settings: further "NAME=value" of the gateway, NULL ends. */
void gate_open(struct gate *gate, const char *const *settings);
void gate_close(struct gate *gate);
/* Both publishers as new: MOOD_RUNS, "hello", code ok, counts 0. */
void gate_calm(struct gate *gate);
void gate_join(struct gate *gate, int which, bool is_deaf); /* usable for owners when it returns */
void gate_leave(struct gate *gate, int which);
void gate_serve_registry(struct gate *gate);
/* A function name that publisher "p1" (0) or "p2" (1) owns. */
void gate_name(int owner, char out_name[16]);

/* A token signed with that key; the caller's. */
char *gate_token(struct gate *gate, int key, int64_t ttl_s);
/* One request; fields: further header lines with CRLF, or NULL. */
void gate_ask(struct gate *gate, const char *method, const char *path, const char *fields,
              const char *body, struct reply *out_reply);
/* Calls a function that the first publisher owns, with the argument "argument". */
void gate_call(struct gate *gate, const char *fields, struct reply *out_reply);
int gate_connect(struct gate *gate);
int gate_connect_from(struct gate *gate, const char *address); /* of 127.0.0.0/8 */
void gate_put(int fd, const char *text);
/* One answer on a kept connection, with its declared body; false when the server has closed. */
bool gate_take(int fd, char *out_head, size_t room);
void gate_read(int fd, struct reply *out_reply); /* to the end of the connection; closes fd */
void reply_done(struct reply *reply);
/* The value of a header line, "" when absent; good until the next call. */
const char *reply_field(const struct reply *reply, const char *name);
/* A problem document with that status and code, of the call that the header names. */
void reply_assert_problem(const struct reply *reply, int status, const char *code);

#endif
