/* nursery.h - the process that makes lanes for this spawner: faas-zygote, kept running.  Another one
 * makes networks for them: faas-outbound.
 * Why       a lane is cloned from a small process without threads: from this one, a fork would cost
 *           tens of milliseconds, and would copy every descriptor.
 * Order     one packet (zygote/wire.h) with its descriptors; made runs once, after nursery_make
 *           returned, with the reply and the zygote's pidfd (-1: there is none).
 * Trouble   a nursery that dies is started again, at once or a second after its last start; orders
 *           under way fail with ZY_STEP_CLONE and EPIPE.
 * Threads   loop thread only; nursery_open on the loop thread as well, since the kernel ends the
 *           nursery and its zygotes with the thread that started them.
 */
#ifndef NATIVE_NURSERY_H
#define NATIVE_NURSERY_H

#include <ev.h>
#include <stddef.h>

#include "base/err.h"
#include "services/spawner/zygote/wire.h"

struct nursery;
/* take_pidfd is the callee's. */
typedef void nursery_made(void *arg, const struct zy_reply *reply, int take_pidfd);
struct nursery_order {
    const void *data;
    size_t len;
    const int *fds; /* borrowed */
    size_t fd_count;
    nursery_made *made;
    void *arg;
};

/* program: a path, which must be there. */
FAAS_MUST_CHECK faas_code nursery_open(struct ev_loop *ev, const char *program,
                                       struct nursery **out_nursery, faas_err *err);
void nursery_close(struct nursery *nursery); /* waits a second for its end, at most */
FAAS_MUST_CHECK faas_code nursery_make(struct nursery *nursery, const struct nursery_order *order,
                                       faas_err *err);

#endif
