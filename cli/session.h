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

/* name: of this stay, [a-z0-9]+.  On failure session_close is due all the same. */
FAAS_MUST_CHECK faas_code session_open(const char *nats_urls, const char *nkey_file,
                                       const char *name, struct session *out_session,
                                       faas_err *err);
/* As another user of the bus than "cli", with its seed. */
FAAS_MUST_CHECK faas_code session_open_as(const char *user, const char *nats_urls,
                                          const char *nkey_file, const char *name,
                                          struct session *out_session, faas_err *err);
/* To the platform that runs in a data directory; NOT_FOUND: none does.  The same on failure. */
FAAS_MUST_CHECK faas_code session_open_data(const char *path, const char *name,
                                            struct session *out_session, faas_err *err);
/* False: the connection had ended by itself. */
bool session_close(struct session *session);

#endif
