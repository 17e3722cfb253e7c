/* engine.h - a Docker Engine's HTTP API over libcurl, driven by the loop.
 * Address   DOCKER_HOST: unix://PATH or tcp://HOST[:PORT] (2375).  Version   negotiated from
 *           /_ping: the lower of the engine's and ENGINE_API_NEWEST; again when the engine comes
 *           back.  State     unknown until the first ping ended, then up or down; asked every 2 s
 *           (down: every 500 ms); each change is logged once.  Requests fail at once while it is
 *           down.
 * Requests  done runs exactly once on the loop thread, after engine_send returned, unless the
 *           request was aborted.  head runs when the answer's head is in (for answers that stream).
 *           The body is kept up to ENGINE_BODY_MAX, or handed to chunk as it comes.
 * Callbacks done and head may use every function here; chunk none.
 * Errors    UNAVAILABLE: no engine, with what the operator should do.
 * Threads   loop thread only, except engine_new and engine_free.
 */
#ifndef SPAWNER_ENGINE_H
#define SPAWNER_ENGINE_H

#include <sys/socket.h>

#include "base/json.h"
#include "base/loop.h"

/* The fields used here mean the same up to this version; older engines speak their own. */
#define ENGINE_API_NEWEST_MAJOR 1
#define ENGINE_API_NEWEST_MINOR 52
#define ENGINE_BODY_MAX         (8 * 1024 * 1024)

typedef struct engine engine;
typedef struct engine_req engine_req;

enum engine_state { ENGINE_UNKNOWN, ENGINE_UP, ENGINE_DOWN };

struct engine_facts { /* of the engine that answered last */
    char arch[32];    /* as images say it: "amd64" */
    int cpus;
    char api[16];     /* "1.41" */
    char version[64]; /* "20.10.24" */
};

struct engine_conf {
    faas_loop *loop;
    const char *host; /* DOCKER_HOST; "" or NULL: the usual socket */
    /* Loop thread, at each change between up and down. */
    void (*changed)(void *arg, enum engine_state state);
    void *arg;
};
FAAS_MUST_CHECK faas_code engine_new(const struct engine_conf *conf, engine **out_engine,
                                     faas_err *err);
void engine_begin(engine *eng); /* loop thread: from now on it is asked */
void engine_free(engine *eng);  /* loop not running; requests are dropped without done */

enum engine_state engine_state(const engine *eng);
const struct engine_facts *engine_facts(const engine *eng);
const char *engine_address(const engine *eng);
/* FAAS_OK when up; else UNAVAILABLE with what to do. */
FAAS_MUST_CHECK faas_code engine_usable(const engine *eng, faas_err *err);
/* Something failed that a living engine would not do: ask it now. */
void engine_suspect(engine *eng);

struct engine_reply {
    int status;       /* HTTP status; 0: none came */
    bool is_complete; /* the whole answer came; else `why` says what happened */
    bool is_timeout;
    const char *why;
    const char *body; /* NUL follows; "" when handed to chunk */
    size_t len;
};
struct engine_call {
    const char *method;
    const char *path;  /* encoded, after the version: "/containers/create" */
    const char *body;  /* copied; NULL: none */
    const void *bytes; /* of a PUT, borrowed until it is done; NULL: none */
    size_t bytes_len;
    const char *header; /* one more header line, copied; NULL: none */
    int64_t timeout_ms; /* 0: none */
    void (*head)(void *arg, int status);
    void (*chunk)(void *arg, const char *data, size_t len); /* of 2xx answers */
    void (*done)(void *arg, const struct engine_reply *reply);
    void *arg;
};
FAAS_MUST_CHECK faas_code engine_send(engine *eng, const struct engine_call *call,
                                      engine_req **out_req, faas_err *err);
void engine_abort(engine_req *req); /* NULL is fine; done does not run */

/* What the engine says about a failure: {"message"} of the body, else the transport's text. */
void engine_reply_text(const struct engine_reply *reply, char out_text[FAAS_ERR_MSG_MAX]);
/* A new reference; NULL when the body is not a JSON object or array. */
json_t *engine_reply_json(const struct engine_reply *reply);

/* For connections outside HTTP (attach.h): the address the newest request went to.  UNAVAILABLE
 * before the first. */
FAAS_MUST_CHECK faas_code engine_peer(const engine *eng, struct sockaddr_storage *out_addr,
                                      socklen_t *out_len, faas_err *err);
const char *engine_prefix(const engine *eng); /* "/v1.41" */
struct ev_loop *engine_ev(const engine *eng);

#endif
