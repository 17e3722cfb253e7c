/* runtime.h - what any runtime can do for the spawner: have an image ready, run a call, stop it,
 * leave nothing behind.  Behind it are runtime_docker.h and native/runtime_native.h.
 * Images    {reference, digest kind, digest value} as the registry stored them: what runs is the
 *           digest, never the tag.
 * A call    call() begins it; then, on the loop thread: started once the function's process runs,
 *           out and err with its bytes, end exactly once and last.  When end runs, nothing of the
 *           call executes any more, unless the outcome is LOST.  Removing what is left on disk
 *           goes on behind it and shows in lingering().
 * Limits    stdout over output_bytes and time over timeout_ms are stopped by the runtime.
 * Outcome   code: OK (exit 0), FAILED, START_FAILED, TIMEOUT, OUTPUT_TOO_LARGE, CLIENT_GONE
 *           (cancelled), UNAVAILABLE (not begun: no image, no engine), BUSY (not begun: too many
 *           others to start), LOST (begun, fate unknown), INTERNAL.
 * Threads   everything on the loop thread; no call blocks.
 */
#ifndef SPAWNER_RUNTIME_H
#define SPAWNER_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "secret_set.h"

struct rt_image {
    const char *reference; /* full name, host/path[:tag][@digest] */
    const char *kind;      /* "manifest", "docker-id", "store" */
    const char *value;     /* "sha256:<64 hex>"; NULL with kind NULL: run the reference */
    const char *tenant;    /* whose logins for registries may be used; NULL: nobody's */
};

struct rt_spec { /* borrowed for the length of call() */
    const char *call_id;
    const char *tenant;   /* whose call: an id, only to take turns by; "" is one, too */
    const char *function; /* an id; set where is_slot is */
    struct rt_image image;
    const json_t *command; /* array of strings put before the argument; NULL or empty: none */
    const void *argument;
    size_t argument_len;
    bool is_stdin;     /* the argument goes to standard input instead of argv */
    bool is_fed;       /* is_stdin, and it follows with feed() */
    const json_t *env; /* object of strings, or NULL */
    bool has_network;
    struct secret_set *secrets; /* who needs it longer takes a reference; NULL: none */
    bool is_slot;   /* its sandbox may have served, and may serve, other calls of this function */
    bool may_pull;  /* fetch a missing image within start_timeout_ms */
    bool is_stream; /* for the message about too much output: whose limit it is */
    double cpus;
    int64_t memory_mb, pids, tmp_mb, output_bytes;
    int64_t timeout_ms, start_timeout_ms;
};

struct rt_outcome {
    faas_code code;
    int exit_code; /* -1: there is none */
    bool is_oom;   /* memory was the cause; only with FAILED */
    bool may_have_run;
    double start_ms, run_ms; /* call() to started; started to exit; 0 when it never came to that */
    const char *start;       /* what it started in: "cold", "prewarmed", "warm"; NULL: cold */
    char detail[FAAS_ERR_MSG_MAX];
};

struct rt_sink {
    void (*started)(void *arg);
    /* false: take no more stdout until resume(); of err: neither of the two, unless the call is being
     * stopped. */
    bool (*out)(void *arg, const void *data, size_t len);
    bool (*err)(void *arg, const void *data, size_t len);
    void (*fed)(void *arg); /* of a call that is fed: all that it was fed has been taken */
    void (*end)(void *arg, const struct rt_outcome *outcome);
    void *arg;
};

enum rt_presence { RT_HERE, RT_ABSENT, RT_UNKNOWN };

struct runtime;
struct rt_call;
typedef void rt_prepared(void *arg, faas_code code, const faas_err *err);
/* reply is borrowed, set with FAAS_OK alone: the answer of PROTOCOL.md section 3. */
typedef void rt_resolved(void *arg, faas_code code, const json_t *reply, const faas_err *err);

struct runtime_ops {
    const char *isolation; /* the value of the envelope's field this runtime serves */
    /* A secret of this user changed: nothing that was made with it waits for calls any longer. */
    void (*secret_changed)(struct runtime *rt, const char *tenant);
    /* FAAS_OK while calls can be begun; else UNAVAILABLE and what the operator should do. */
    faas_code (*usable)(struct runtime *rt, faas_err *err);
    /* From memory alone; RT_UNKNOWN: prepare() finds out. */
    enum rt_presence (*presence)(struct runtime *rt, const struct rt_image *image);
    /* done runs once, perhaps before prepare returned: FAAS_OK, NOT_FOUND, DENIED (its registry is
     * not allowed), UNAVAILABLE, UNPROCESSABLE, TIMEOUT.
     * may_pull: fetch what is missing.  done NULL: fetch in the background. */
    void (*prepare)(struct runtime *rt, const struct rt_image *image, bool may_pull,
                    rt_prepared *done, void *arg);
    /* Of the reference alone.  done runs once, perhaps before resolve returned. */
    void (*resolve)(struct runtime *rt, const struct rt_image *image, int64_t timeout_ms,
                    rt_resolved *done, void *arg);
    faas_code (*call)(struct runtime *rt, const struct rt_spec *spec, const struct rt_sink *sink,
                      struct rt_call **out_call, faas_err *err);
    void (*resume)(struct rt_call *call);
    /* After `started`, more of what its standard input is to be; len 0: that was all.  False: nobody
     * reads it any more, the rest may be dropped.  It is kept until it was taken: fed() tells. */
    bool (*feed)(struct rt_call *call, const void *data, size_t len);
    void (*cancel)(struct rt_call *call); /* end follows, with CLIENT_GONE */
    size_t (*lingering)(struct runtime *rt);
    void (*sweep)(struct runtime *rt);
    /* Cancels what runs; *out_left: calls and sandboxes still there.  Asked again until 0. */
    void (*drain)(struct runtime *rt, size_t *out_left);
};
struct runtime { /* first member of each runtime's own struct */
    const struct runtime_ops *ops;
};

#endif
