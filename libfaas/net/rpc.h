/* rpc.h - request and reply over the bus; endpoints that others find through the NATS service
 * protocol (ADR-32).
 * Client    faas_rpc_call is asynchronous: done runs exactly once, on the loop thread, by reply,
 *           failure or deadline; never before faas_rpc_call returned.  faas_rpc_wait blocks a pool
 *           thread; never the loop thread.
 * Retry     FAAS_RPC_ONCE sends once.  FAAS_RPC_SAFE (reads, and writes that carry an operation id)
 *           sends again on no-responders and lost connections after 2, 4, 8 .. 50 ms with jitter,
 *           and after attempt_ms of silence, until the deadline.  FAAS_RPC_SAME is for an endpoint
 *           with is_once at one instance: sent again after attempt_ms of silence, and on no
 *           responders when a copy before may have arrived; each copy gets the one answer.
 * Errors    a reply with Nats-Service-Error becomes the code named by Faas-Code (or by
 *           Nats-Service-Error-Code) and its text; no responders: UNAVAILABLE; deadline: TIMEOUT.
 * Inboxes   a token below the process's inbox with a handler, for streams of messages (frames,
 *           credits).  As the reply subject of a message on the DATA lane such a subject is also
 *           where NATS says that nobody listened; a label in it tells of which message.
 * Server    an endpoint is a row: pool endpoints decode JSON, run a handler on a pool thread and
 *           answer, with a tenth of the caller's time (at most 300 ms) kept for the way back; loop
 *           endpoints get the raw message on the loop thread and answer themselves.
 *           ADR-32 PING, INFO, STATS come from the same rows; STATS also holds "metrics", the
 *           process's metrics as Prometheus text.
 * Threads   faas_rpc_call: any; faas_rpc_wait: any but the loop's; inboxes: loop thread only.
 * Receipts  a request whose answer only says that it came (is_receipt) may be answered together with
 *           others of its process: one message, to the word "many" below the inbox.
 * Headers   written and read here: Faas-Proto, Faas-Id, Faas-User, Faas-Tenant, Faas-Time-Left-Ms,
 *           Faas-Receipts, traceparent.
 */
#ifndef FAAS_RPC_H
#define FAAS_RPC_H

#include "base/ctx.h"
#include "base/json.h"
#include "base/pool.h"
#include "net/bus.h"

typedef struct faas_rpc faas_rpc;
typedef struct faas_inbox faas_inbox;

/* ---- client ---- */
enum faas_rpc_retry { FAAS_RPC_ONCE, FAAS_RPC_SAFE, FAAS_RPC_SAME };

struct faas_rpc_request {
    const char *subject;
    const struct faas_ctx *ctx;        /* deadline and identity; copied; required */
    const struct faas_header *headers; /* further headers, or NULL; copied */
    const void *data;                  /* copied */
    size_t len;
    enum faas_lane lane;
    enum faas_rpc_retry retry;
    int64_t attempt_ms;         /* silence before another try; 0: 500 */
    bool (*is_gone)(void *arg); /* NULL, or asked on the loop thread after each silence with done's
                                   arg: nobody is there to answer; then it ends as LOST */
    bool is_receipt; /* the answer only says that it came, and may come with those of others */
};
struct faas_rpc_reply {
    faas_code code; /* FAAS_OK: msg is set; of a receipt it may be one for many */
    const faas_err *err;
    faas_msg *msg;    /* borrowed for the callback; NULL on failure without a reply */
    bool may_be_done; /* a copy that is not accounted for may have been carried out */
};
typedef void faas_rpc_done(void *arg, const struct faas_rpc_reply *reply);

void faas_rpc_call(faas_rpc *rpc, const struct faas_rpc_request *req, faas_rpc_done *done,
                   void *arg);
/* *out_msg is the caller's (faas_msg_free). */
FAAS_MUST_CHECK faas_code faas_rpc_wait(faas_rpc *rpc, const struct faas_rpc_request *req,
                                        faas_msg **out_msg, faas_err *err);

/* This process is leaving: what ends with UNAVAILABLE and no reply may have been done.  Any thread. */
bool faas_rpc_is_cancelled(const faas_rpc *rpc);

#define FAAS_INBOX_SUBJECT 256
FAAS_MUST_CHECK faas_code faas_inbox_open(faas_rpc *rpc, faas_msg_handler *handler, void *arg,
                                          faas_inbox **out_inbox, faas_err *err);
const char *faas_inbox_subject(const faas_inbox *inbox);
void faas_inbox_close(faas_inbox *inbox); /* NULL is fine; later messages are dropped */
/* The inbox's subject with a label of [A-Za-z0-9-], at most FAAS_INBOX_LABEL - 1 bytes. */
#define FAAS_INBOX_LABEL 64
void faas_inbox_labelled(const faas_inbox *inbox, const char *label,
                         char out_subject[FAAS_INBOX_SUBJECT]);
/* The label of the subject that a message came to, "" when there is none. */
void faas_inbox_label(const faas_inbox *inbox, const faas_msg *msg,
                      char out_label[FAAS_INBOX_LABEL]);

/* ---- server ---- */
struct faas_call {
    const struct faas_ctx *ctx; /* deadline already absolute */
    const faas_msg *msg;
    json_t *body; /* the JSON object of the request; {} for an empty body; borrowed */
};
/* On a pool thread.  *out_reply (a new reference) becomes the reply's body; NULL means an empty
 * body.  Errors are sent and logged by rpc. */
typedef faas_code faas_handler(void *state, const struct faas_call *call, json_t **out_reply,
                               faas_err *err);

struct faas_endpoint {
    const char *name;    /* ADR-32 endpoint name; NULL ends a table */
    const char *subject; /* "%s" in it is replaced by the instance id */
    const char *queue;   /* "q", or NULL: every instance answers */
    bool is_once; /* pool endpoint: a request that comes again, by Faas-Id, within a minute is not
                     carried out again; also served at faas.<service>.i.<id>.<name> */
    size_t body_max;       /* bytes; more is TOO_LARGE */
    faas_handler *handler; /* pool endpoint, or */
    faas_msg_handler
        *on_message; /* loop endpoint: owns the message, answers with faas_rpc_reply* */
    enum faas_lane lane;
};

struct faas_rpc_conf {
    const char *service, *id, *version, *description; /* SemVer version; live as long as rpc */
    faas_pool *pool; /* for pool endpoints; may be NULL when there are none */
};
FAAS_MUST_CHECK faas_code faas_rpc_open(faas_bus *bus, const struct faas_rpc_conf *conf,
                                        faas_rpc **out_rpc, faas_err *err);
void faas_rpc_close(
    faas_rpc *rpc); /* after the loop stopped; every pending call's done has run with UNAVAILABLE */
faas_bus *faas_rpc_bus(const faas_rpc *rpc);
/* Subscribe to the table's subjects; may be called more than once.  state is handed to the
 * handlers. */
FAAS_MUST_CHECK faas_code faas_rpc_serve(faas_rpc *rpc, const struct faas_endpoint *endpoints,
                                         void *state, faas_err *err);
/* This process's epoch (outlives rpc): requests of is_once rows that name another are LOST. */
void faas_rpc_set_epoch(faas_rpc *rpc, const char *epoch);
/* Leave every queue group and direct subject of the DATA lane; running handlers finish; done runs
 * on the loop thread when none is left or time is up.  Endpoints of the CONTROL lane (probe, cancel,
 * fence) answer until the end: silence there would read as death. */
void faas_rpc_drain(faas_rpc *rpc, int64_t timeout_ms, faas_task *done, void *arg);

/* Answer a loop endpoint's message; counted in STATS; nothing happens when it asked for no reply.
 */
void faas_rpc_answer(faas_rpc *rpc, const faas_msg *msg, const void *data, size_t len);
void faas_rpc_answer_json(faas_rpc *rpc, const faas_msg *msg, const json_t *doc);
void faas_rpc_answer_err(faas_rpc *rpc, const faas_msg *msg, const faas_err *err);
/* {"v":1,"ok":true}: it came.  To who asked for receipts, a few milliseconds later and with others.
 * Loop thread. */
void faas_rpc_answer_receipt(faas_rpc *rpc, const faas_msg *msg);
/* Identity and deadline of a received message; missing or malformed fields are "" and default_ms
 * from now. */
void faas_ctx_from_msg(const faas_msg *msg, int64_t default_ms, struct faas_ctx *out_ctx);

#endif
