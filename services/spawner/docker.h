/* docker.h - what the parts of the docker runtime share; nobody else includes it. */
#ifndef SPAWNER_DOCKER_H
#define SPAWNER_DOCKER_H

#include <sys/queue.h>

#include "attach.h"
#include "base/fair.h"
#include "engine.h"
#include "engine_image.h"
#include "outcome.h"
#include "runtime_docker.h"
#include "stream.h"
#include "sweep.h"

struct docker {
    struct runtime rt;
    struct docker_conf conf;
    struct ev_loop *ev;
    engine *eng;
    images *imgs;
    struct sweep sweep;
    ev_timer sweep_timer;
    engine_req *sweeping;
    LIST_HEAD(, rt_call) calls; /* from call() until their container is removed */
    size_t running, removing;
    struct faas_fair waiting; /* calls whose container is not begun yet: docker_turn.c */
    size_t starting;          /* containers on their way to their start */
    void *enter;              /* the program of enter.c, as an engine takes it; NULL at first */
    size_t enter_len;
};

enum run_stage {
    RUN_IMAGE,   /* waiting for the image */
    RUN_CREATE,  /* create sent; for a function with secrets, then their program */
    RUN_CONNECT, /* attach and wait sent */
    RUN_START,   /* start sent */
    RUN_RUNS,    /* started */
    RUN_INSPECT, /* exited; asking whether memory was the cause */
    RUN_OVER     /* end was told; the container is being removed */
};

struct rt_call {
    struct docker *dk;
    struct rt_sink sink;
    enum run_stage stage;
    /* the order, copied */
    char call_id[40], tenant[FAAS_UUID_TEXT], name[REF_TEXT_MAX];
    struct rt_spec spec; /* pointers into the copies below */
    json_t *command, *env;
    void *argument;
    void *input; /* of sodium_malloc(): secrets and then the argument, where there are secrets */
    size_t input_len;
    bool may_pull, was_retried;
    /* what is under way */
    struct faas_fair_item turn;
    bool is_starting;
    image_wait *image;
    engine_req *req;  /* create, start, inspect, remove: one at a time */
    engine_req *wait; /* wait?condition=next-exit */
    engine_req *kill;
    attach *out;
    struct stream stream;
    char container[80]; /* "" before it exists */
    ev_timer start_timer, run_timer, retry_timer, eof_timer;
    int tries, looks;
    /* what is known */
    bool is_out_ready, is_wait_ready, has_exited, is_eof, is_paused;
    struct run_facts facts;
    faas_err failure; /* to be told from the loop */
    uint64_t out_bytes, begun_ns, started_ns, exited_ns;
    LIST_ENTRY(rt_call) link;
};

/* docker_run.c */
bool docker_feed(struct rt_call *call, const void *data, size_t len);
faas_code docker_call(struct runtime *rt, const struct rt_spec *spec, const struct rt_sink *sink,
                      struct rt_call **out_call, faas_err *err);
void docker_resume(struct rt_call *call);
void docker_cancel(struct rt_call *call);
void docker_call_free(struct rt_call *call);
void docker_begin(struct rt_call *call); /* its turn has come */
/* docker_secrets.c */
/* Their program goes into the container, which was created and not started. */
FAAS_MUST_CHECK faas_code docker_secrets_send(
    struct rt_call *call, void (*done)(void *arg, const struct engine_reply *reply), faas_err *err);
/* Makes call->input, what the container reads. */
FAAS_MUST_CHECK faas_code docker_secrets_input(struct rt_call *call, faas_err *err);
/* docker_turn.c */
void docker_turn_init(struct docker *dk);
/* false: not now; docker_begin() follows. */
FAAS_MUST_CHECK faas_code docker_turn_ask(struct rt_call *call, bool *out_is_now, faas_err *err);
void docker_turn_leave(struct rt_call *call); /* it started, or never will */
/* docker_resolve.c */
void docker_resolve(struct runtime *rt, const struct rt_image *image, int64_t timeout_ms,
                    rt_resolved *done, void *arg);
/* docker_end.c */
void docker_stop(struct rt_call *call, enum stop_reason reason);
void docker_kill(struct rt_call *call); /* of a started one; its exit follows */
void docker_maybe_end(struct rt_call *call);
void docker_fail(struct rt_call *call, const faas_err *err); /* it never started */
void docker_lost(struct rt_call *call);
void docker_end_init(struct rt_call *call);

#endif
