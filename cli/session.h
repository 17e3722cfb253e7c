/* session.h - a short stay on the bus: connection, request client and the thread that runs them.
 * User      "cli" of the permission table (contract.h), with its seed from the data directory.
 * Threads   open and close: one that may block; requests block theirs (faas_rpc_wait).
 */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include <pthread.h>

#include "net/rpc.h"

struct session {
    faas_loop *loop;
    faas_bus *bus;
    faas_rpc *rpc;
    pthread_t thread;
    bool has_thread;
};

struct session_at { /* NULL: none */
    const char *urls, *nkey_file, *ca_file, *cert_file, *key_file;
};
/* Options of a verb that can be told where the bus is. */
#define SESSION_OPTIONS(at, needs)                                                                 \
    {"nats-url", CLI_TEXT, &(at).urls, "URLS", needs, 0, 0, NULL},                                 \
        {"nats-ca-file",                                                                           \
         CLI_TEXT,                                                                                 \
         &(at).ca_file,                                                                            \
         "FILE",                                                                                   \
         "PEM file of the authority that signed those servers: TLS",                               \
         0,                                                                                        \
         0,                                                                                        \
         NULL},                                                                                    \
        {"nats-cert-file",                                                                         \
         CLI_TEXT,                                                                                 \
         &(at).cert_file,                                                                          \
         "FILE",                                                                                   \
         "PEM file of our certificate, for servers that ask for one",                              \
         0,                                                                                        \
         0,                                                                                        \
         NULL},                                                                                    \
    {                                                                                              \
        "nats-key-file", CLI_TEXT, &(at).key_file, "FILE", "PEM file of its key, mode 0600", 0, 0, \
            NULL                                                                                   \
    }

/* name: of this stay, [a-z0-9]+.  On failure session_close is due all the same. */
FAAS_MUST_CHECK faas_code session_open(const struct session_at *at, const char *name,
                                       struct session *out_session, faas_err *err);
/* As another user of the bus than "cli", with its seed. */
FAAS_MUST_CHECK faas_code session_open_as(const char *user, const struct session_at *at,
                                          const char *name, struct session *out_session,
                                          faas_err *err);
/* To the platform that runs in a data directory; NOT_FOUND: none does.  The same on failure. */
FAAS_MUST_CHECK faas_code session_open_data(const char *path, const char *name,
                                            struct session *out_session, faas_err *err);
/* False: the connection had ended by itself. */
bool session_close(struct session *session);

#endif
