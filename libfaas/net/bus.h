/* bus.h - this process's place on NATS: two connections, messages handed to the loop thread.
 * Lanes     DATA carries calls, frames and requests; CONTROL carries heartbeats, probes, cancels
 *           and fences, so that large frames never delay a beat.  Both use the option recipe of
 *           BUS.md section 3 (another server within milliseconds, for ever; jitter; pings).
 * Delivery  the loop thread reads the connections; handlers run on it and own the message they get.
 *           Of one subscription messages come in order, of different ones in any.
 * Inbox     one wildcard subscription per process and lane, `_INBOX_<service>.<128 random bits>.>`;
 *           see rpc.h for tokens below it.
 * Publish   any thread, and never waits; what a turn of the loop publishes is written at its end.
 *           While a lane is down messages are kept for the next connection; UNAVAILABLE when 8 MiB
 *           wait already, or for a server that does not read.
 * State     faas_bus_is_connected() says whether the DATA connection is up now.  Permission
 *           violations are logged as errors: they are a broken deployment.  A connection that
 *           is refused twice (the server does not know our key) stops the loop, faas_bus_is_lost() says
 *           so, and the program ends with 1: the supervisor restarts it.
 * TLS       with ca_file every server must show a certificate of that authority for the name in
 *           its URL; one without TLS is refused.  What does not pass by itself (another authority,
 *           an expired certificate) is INVALID when the bus is opened, and logged later.
 */
#ifndef FAAS_BUS_H
#define FAAS_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"

typedef struct faas_bus faas_bus;
typedef struct faas_msg faas_msg;
typedef struct faas_sub faas_sub;

enum faas_lane { FAAS_DATA, FAAS_CONTROL };

struct faas_bus_conf {
    const char *urls;      /* comma-separated nats:// or tls:// */
    const char *service;   /* "auth" */
    const char *id;        /* instance id, unique in the cluster, [a-z0-9]+ */
    const char *nkey_file; /* seed file, 0600; NULL or "": no authentication */
    const char *ca_file;   /* PEM; NULL or "": no TLS */
    const char *cert_file; /* PEM, for servers that ask for one; NULL or "": none */
    const char *key_file;  /* its key, 0600 */
};

struct faas_header {
    const char *name;  /* NULL ends a list */
    const char *value; /* without control characters: checked, INVALID otherwise; NULL: this row is
                          skipped */
};

struct faas_out {
    const char *subject;
    const char *reply;                 /* or NULL */
    const struct faas_header *headers; /* or NULL */
    const void *data;                  /* copied */
    size_t len;
};

/* On the loop thread; the handler owns the message (faas_msg_free). */
typedef void faas_msg_handler(void *arg, faas_msg *take_msg);

/* Returns once the connections are set up; they may still be trying to connect. */
FAAS_MUST_CHECK faas_code faas_bus_open(const struct faas_bus_conf *conf, faas_loop *loop,
                                        faas_bus **out_bus, faas_err *err);
/* Drains subscriptions and connections within drain_ms, waits for the closed callbacks.  Not from
 * the loop thread while it runs handlers: call after faas_loop_run returned. */
void faas_bus_close(faas_bus *bus, int64_t drain_ms);
/* Once, at the end of the process, after every bus was closed: gives libnats's memory back. */
void faas_bus_end(void);
bool faas_bus_is_connected(const faas_bus *bus);
/* A connection closed by itself and stopped the loop; valid once the loop has stopped. */
bool faas_bus_is_lost(const faas_bus *bus);
#define FAAS_BUS_SERVER 17 /* what tells NATS servers apart, with its zero */
/* The server of that connection, "" while there is none.  Loop thread. */
void faas_bus_server(const faas_bus *bus, enum faas_lane lane, char out_server[FAAS_BUS_SERVER]);
const char *faas_bus_inbox(const faas_bus *bus); /* "_INBOX_auth.<token>" without trailing dot */
faas_loop *faas_bus_loop(const faas_bus *bus);
size_t faas_bus_max_payload(const faas_bus *bus);

FAAS_MUST_CHECK faas_code faas_bus_publish(faas_bus *bus, enum faas_lane lane,
                                           const struct faas_out *out, faas_err *err);
/* queue NULL: every subscriber gets the message.  Pending limits are unbounded in count; the loop
 * drains them. */
FAAS_MUST_CHECK faas_code faas_bus_subscribe(faas_bus *bus, enum faas_lane lane,
                                             const char *subject, const char *queue,
                                             faas_msg_handler *handler, void *arg,
                                             faas_sub **out_sub, faas_err *err);
/* No handler call begins after this returned (loop thread only); messages in flight are dropped. */
void faas_sub_free(faas_sub *sub);
/* Leave a queue group: stop new deliveries, hand over what has arrived, then call done on the loop
 * thread. */
void faas_sub_drain(faas_sub *sub, int64_t timeout_ms, faas_task *done, void *arg);

const char *faas_msg_subject(const faas_msg *msg);
const char *faas_msg_reply(const faas_msg *msg); /* NULL when none */
const void *faas_msg_data(const faas_msg *msg);  /* never NULL */
size_t faas_msg_len(const faas_msg *msg);
/* NULL when absent.  Valid while the message lives. */
const char *faas_msg_header(const faas_msg *msg, const char *name);
int64_t faas_msg_header_int(const faas_msg *msg, const char *name,
                            int64_t absent);         /* absent also when malformed */
bool faas_msg_is_no_responders(const faas_msg *msg); /* status 503 without body */
void faas_msg_free(faas_msg *msg);
/* Overwrites the data, which held a secret; the owner alone reads the message. */
void faas_msg_wipe(const faas_msg *msg);
FAAS_DEFINE_AUTO(faas_msg, faas_msg_free)

#endif
