/* engine_internal.h - what the two halves of the engine client share; nobody else includes it.
 * engine.c speaks HTTP, engine_probe.c finds out whether the engine is there.
 */
#ifndef SPAWNER_ENGINE_INTERNAL_H
#define SPAWNER_ENGINE_INTERNAL_H

#include <curl/curl.h>
#include <sys/queue.h>

#include "engine.h"

struct engine_req {
    engine *eng;
    CURL *easy;
    struct curl_slist *headers;
    struct engine_call call; /* body and header are not used after the start */
    char *body;              /* of the answer */
    size_t len, room;
    int status;
    bool is_head_due, is_too_large, is_starved;
    char error[CURL_ERROR_SIZE];
    char api[16];
    TAILQ_ENTRY(engine_req) link, head_link;
};
TAILQ_HEAD(req_list, engine_req);

struct engine {
    struct engine_conf conf;
    struct ev_loop *ev;
    CURLM *multi;
    ev_timer curl_timer, ping_timer;
    char *address, *unix_path, *base;
    char prefix[24];
    enum engine_state state;
    struct engine_facts facts, found; /* found: while a probe runs */
    engine_req *probe;
    enum { PROBE_PING, PROBE_VERSION, PROBE_INFO } stage; /* of the running probe */
    char offered[16];                                     /* the engine's own newest API version */
    struct sockaddr_storage peer;
    socklen_t peer_len;
    struct req_list reqs, heads;
    bool is_starved; /* some request is */
};

/* engine_send without the question whether the engine is up. */
faas_code engine_send_to(engine *eng, const char *prefix, const struct engine_call *call,
                         engine_req **out_req, faas_err *err);
void engine_probe_init(engine *eng);

#endif
