/* service_health.h - "is this process well?", asked from beside it: by a container platform.
 * Socket    a Unix stream socket at HEALTH_SOCKET.  Whoever connects is told a line and sees the end:
 *           "ok", or "starting" for as long as the service was never ready.
 * Meaning   ok: it was ready once, and its loop turns.  It does not say that the bus or other services
 *           are well: a platform ends what is not, and ending every service because of a NATS server's
 *           election would end the calls that run.
 * Threads   the loop's; asking is another process's.
 * Errors    INVALID (path too long, or of something that is no socket), INTERNAL.
 */
#ifndef FAAS_SERVICE_HEALTH_H
#define FAAS_SERVICE_HEALTH_H

#include "base/loop.h"

#define FAAS_HEALTH_ASK_MS 3000

struct faas_health {
    struct ev_loop *ev;
    ev_io on_ask;
    int fd;           /* -1: closed */
    const char *path; /* borrowed */
    bool (*is_well)(void);
};

/* Listens at the path, in the place of a dead process's socket. */
FAAS_MUST_CHECK faas_code faas_health_open(struct faas_health *health, faas_loop *loop,
                                           const char *path, bool (*is_well)(void), faas_err *err);
/* Zeroed ones, too. */
void faas_health_close(struct faas_health *health);
/* What --healthcheck does: prints what it heard; 0: ok, 1: anything else. */
int faas_health_ask(const char *path);

#endif
