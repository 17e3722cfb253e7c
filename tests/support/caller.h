/* caller.h - publisher and gateway in one, to give calls to a real spawner and take their results.
 * A call    the envelope goes to the spawner's own subject; events come to this caller's, frames to
 *           an inbox of the call; credit, and the answer to `end`, are sent as the real ones do.
 * Threads   a loop thread of its own; caller_run and caller_ask block and may be used from any
 *           number of other threads.
 * Errors    what goes wrong outside of a call ends the program with a message.
 */
#ifndef FAAS_TEST_CALLER_H
#define FAAS_TEST_CALLER_H

#include "base/id.h"
#include "base/json.h"

struct caller;

struct caller_order {
    const char *spawner; /* instance id */
    const json_t *meta;  /* the envelope's object */
    const void *argument;
    size_t argument_len;
    const char *id;    /* NULL: a new one */
    const char *epoch; /* NULL: not sent */
    int64_t beat;      /* 0: not sent */
    uint32_t place;    /* 0: 257 */
    int64_t wait_ms;   /* 0: 60 s */
    bool is_deaf;      /* takes no frames and gives no credit */
    bool ignores_end;  /* leaves the end event unanswered */
    bool is_old; /* as a publisher sent it before Faas-Inbox: the reply subject is the inbox */
    bool awaits_events; /* over when the end event came, too: it is behind all others */
    /* Run on the loop thread once the call was accepted, and has started; or NULL. */
    void (*accepted)(void *arg, const char *id);
    void (*started)(void *arg, const char *id);
    void *arg;
};
struct caller_result { /* zeroed by caller_run; caller_result_done frees */
    char id[FAAS_UUID_TEXT];
    json_t *end;   /* the END frame; NULL: none came */
    json_t *event; /* the end event, or the busy one */
    char *out;     /* stdout of a complete result, NUL follows */
    size_t out_len;
    bool is_busy, has_accept_event, has_accept_frame, has_started, is_timeout, is_broken;
    bool is_untold; /* the last event says that no END came */
    int end_events; /* how often `end` was told */
    double ms;      /* from sending to END */
};

/* publisher_id is borrowed until close. */
struct caller *caller_open(const char *nats_urls, const char *publisher_id);
void caller_close(struct caller *self);
void caller_run(struct caller *self, const struct caller_order *order,
                struct caller_result *out_result);
void caller_result_done(struct caller_result *result);
/* A request to "faas.spawner.i.<spawner>.<verb>"; the reply's object, or
 * {"error":text,"code":slug}; the caller's to free. */
json_t *caller_ask(struct caller *self, const char *spawner, const char *verb, const json_t *body);
/* The newest heartbeat of a spawner (a copy), waited for up to ms; NULL: none came. */
json_t *caller_beat(struct caller *self, const char *spawner, int64_t ms);

/* The end of that call came to the queue group of all publishers within ms, as the newest. */
bool caller_adopted(struct caller *self, const char *id, int64_t ms);

/* An envelope's object for an image.  A new reference. */
json_t *caller_meta(const char *reference, const char *kind, const char *value);

#endif
