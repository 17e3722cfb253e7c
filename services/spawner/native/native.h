/* native.h - what the parts of the native runtime share; nobody else includes it. */
#ifndef NATIVE_NATIVE_H
#define NATIVE_NATIVE_H

#include <sys/queue.h>

#include "cgroup.h"
#include "nursery.h"
#include "order.h"
#include "resolvers.h"
#include "runtime_native.h"
#include "services/spawner/outcome.h"
#include "share.h"

/* What calls of one lane have in common: nothing else may enter it.  Compared as bytes: zeroed. */
struct lane_key {
    char tenant[FAAS_UUID_TEXT];
    char image[IMAGE_ID_TEXT];
    int64_t memory_mb, pids, tmp_mb;
    double cpus;
    /* reuse "slot": the sandbox is kept, for calls of one function; "" with a fresh one each. */
    char function[FAAS_UUID_TEXT];
    bool is_warm;
    bool has_network;
    char secrets[FAAS_HASH_TEXT]; /* which, at which revisions; "": none */
};

enum lane_state {
    LANE_MAKING,  /* the nursery is at it */
    LANE_WARMING, /* its zygote is at the sandbox that is kept */
    LANE_IDLE,
    LANE_BUSY,
    LANE_ENDING /* until its zygote is reaped and its group empty */
};

struct lane {
    struct native *nt;
    enum lane_state state;
    struct lane_key key;
    struct image *image; /* held; NULL: the probe */
    unsigned slot;       /* of the ids */
    struct cgroup *group;
    int64_t oom_kills; /* of the group, when last looked */
    int control, pidfd;
    int network;                /* on its way to the zygote; -1 */
    struct secret_set *secrets; /* until they are on that way, too */
    size_t secret_bytes;        /* of the files they are in */
    pid_t pid;                  /* of the zygote, while it is not reaped */
    ev_io control_io, pid_io;
    ev_timer retry; /* while ending */
    int first;      /* pidfd of a kept sandbox's first process, until it is reaped; -1 */
    pid_t first_pid;
    ev_io first_io;
    bool is_ready;          /* that process takes orders */
    bool has_zygote;        /* not reaped yet */
    bool is_outdated;       /* its secrets have changed; the same, but it ends gently */
    bool is_broken;         /* of no more use after its call */
    bool is_rough;          /* ends by force */
    bool is_parked;         /* a sandbox waits for its order; a kept one: has had one */
    bool is_used;           /* since lane_care */
    bool is_cleaned;        /* of what the last call left in /tmp; while idle */
    int out[2], err[2];     /* pipes of the next call: its end is closed once sent; -1 */
    struct rt_call *call;   /* waits for it, or runs in it */
    int strays[4];          /* pidfds of killed children that nobody told us of; -1 */
    uint64_t since_ns;      /* when it became idle, or began to end */
    TAILQ_ENTRY(lane) link; /* all */
    TAILQ_ENTRY(lane) idle; /* newest first */
};
TAILQ_HEAD(lane_list, lane);

struct native {
    struct runtime rt;
    struct native_conf conf;
    struct ev_loop *ev;
    struct share share;
    struct cgroups *groups;
    struct nursery *nursery;
    struct nursery *outbound; /* NULL: functions get no network here */
    struct resolvers resolvers;
    faas_err unconnected; /* why not; code OK: they can */
    bool is_outbound_settled;
    int filter;     /* the lanes' program */
    uint64_t pass;  /* of their zygotes, in that program */
    faas_err unfit; /* why no call can be begun; code OK: they can */
    bool is_settled;
    bool has_tenant;
    char tenant[FAAS_UUID_TEXT]; /* the only one, where limits cannot be kept */
    struct lane_list lanes, idle;
    size_t lane_count, idle_count;
    uint64_t slots[SHARE_LANES / 64]; /* bits: taken */
    ev_timer tidy;
    ev_prepare care; /* of lanes that a call has left, once its end is told */
    LIST_HEAD(, rt_call) calls;
    char buffer[64 * 1024]; /* of output on its way */
};

enum native_stage {
    STAGE_WAIT,  /* for its lane */
    STAGE_START, /* ordered */
    STAGE_RUN,
    STAGE_OVER
};

struct rt_call {
    struct native *nt;
    struct rt_sink sink;
    enum native_stage stage;
    struct lane *lane;
    struct order order;
    void *input; /* for standard input; NULL: none */
    size_t input_len, input_at, input_room;
    bool is_fed, is_all_fed; /* more of it comes; no more does */
    int in, out, err, pidfd; /* -1: closed */
    pid_t pid;
    ev_io in_io, out_io, err_io, pid_io;
    ev_timer start_timer, run_timer, later;
    struct run_facts facts;
    faas_err failure;
    int64_t output_bytes;
    bool has_exited, is_paused, was_retried;
    bool is_prewarmed; /* its sandbox was made before it came */
    struct lane_key key;
    struct secret_set *secrets; /* until it began; a lane for it gets them */
    puller_wait *image_wait;    /* while the image is looked for, and the order it waits with */
    struct rt_spec *spec;
    uint64_t out_bytes, begun_ns, ordered_ns, started_ns, exited_ns;
    LIST_ENTRY(rt_call) link;
};

/* lane.c */
/* Which lanes serve a call; image is "" where only the reference is known. */
FAAS_MUST_CHECK faas_code lane_key_of(const struct rt_spec *spec, struct lane_key *key,
                                      faas_err *err);
struct lane *lane_find(struct native *nt, const struct lane_key *key); /* an idle one, taken */
/* What it is made with; image and secrets may be NULL. */
struct lane_parts {
    struct image *image;
    struct secret_set *secrets;
};
FAAS_MUST_CHECK faas_code lane_new(struct native *nt, const struct lane_key *key,
                                   const struct lane_parts *parts, struct lane **out_lane,
                                   faas_err *err);
/* Back to the idle ones, or away with it. */
void lane_release(struct lane *lane);
void lane_end(struct lane *lane, bool is_rough); /* rough: kill whatever is in it */
void lanes_tidy(struct native *nt, bool is_all); /* ends those idle for too long */
void lanes_secret_changed(struct native *nt, const char *tenant);
void lanes_drop(struct native *nt);      /* what drain could not end: the next life sweeps it */
void lane_broken(struct lane *lane);     /* something of it died */
void lane_maybe_gone(struct lane *lane); /* while it ends */
/* Its next call can begin at once: pipes; where it is asked for, a sandbox.  Done before a call that
 * comes sooner.  False: no descriptors (errno), or the lane is dead (EPIPE). */
bool lane_care(struct lane *lane);
void lanes_care(struct native *nt);
/* A pipe whose end for us, pair[mine], does not block, and which the function may open again. */
bool lane_pipe(const struct lane *lane, int pair[2], int mine);
/* Sends the order, with standard input or -1; false, with errno: as lane_care. */
bool lane_order(struct lane *lane, const struct order *order, int input);

/* lane_make.c */
FAAS_MUST_CHECK faas_code lane_begin(struct lane *lane, faas_err *err);
void lane_made(struct lane *lane); /* it can be used */
void lane_cannot_be_made(struct lane *lane, const struct zy_reply *reply);

/* secret_files.c: a mount of its own, read-only, in memory, one file for each; for whoever has that
 * uid and gid on this machine.  *out_fd belongs to the caller. */
FAAS_MUST_CHECK faas_code secret_files_mount(const struct secret_set *set, uint32_t uid,
                                             uint32_t gid, int *out_fd, faas_err *err);

/* outbound.c */
void outbound_begin(struct native *nt);
void outbound_tidy(struct native *nt);
faas_code outbound_usable(const struct native *nt, faas_err *err);
/* made runs with a network namespace. */
FAAS_MUST_CHECK faas_code outbound_make(struct native *nt, unsigned index, nursery_made *made,
                                        void *arg, faas_err *err);

/* warm.c: lanes whose sandbox is kept. */
void warm_init(struct lane *lane);
void warm_reply(struct lane *lane, const struct zy_reply *reply, int take_pidfd);
void warm_kill(const struct lane *lane); /* and with its first process all others */

/* runtime_native.c */
void native_probed(struct native *nt, const faas_err *err); /* NULL: a lane could be made */

/* call_image.c: call_begin() follows. */
void call_await_image(struct rt_call *call, const struct rt_spec *spec);

/* input.c: what a function has on its standard input. */
FAAS_MUST_CHECK faas_code input_take(struct rt_call *call, const struct rt_spec *spec,
                                     faas_err *err);
void input_write(struct ev_loop *ev, ev_io *io, int events);
bool native_feed(struct rt_call *call, const void *data, size_t len);

/* run.c */
void call_stop_io(struct rt_call *call, ev_io *io, int *fd); /* closed */
faas_code native_call(struct runtime *rt, const struct rt_spec *spec, const struct rt_sink *sink,
                      struct rt_call **out_call, faas_err *err);
void native_resume(struct rt_call *call);
void native_cancel(struct rt_call *call);
void calls_drop(struct native *nt); /* without their end */
/* In the lane it has, or in a new one of that image. */
void call_begin(struct rt_call *call, const struct rt_spec *spec, struct image *image);
void call_fail(struct rt_call *call, const faas_err *err); /* before it started; told later */
/* What the lane tells its call. */
void call_lane_ready(struct rt_call *call);
void call_lane_failed(struct rt_call *call, const faas_err *err); /* it could not be made */
void call_began(struct rt_call *call, const struct zy_reply *reply, int take_pidfd);
void call_exited(struct rt_call *call, int exit_code);
void call_lane_gone(struct rt_call *call); /* ended with it, rough */

#endif
