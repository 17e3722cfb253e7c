/* http_yield.c - under load, the door's threads give the processor away before they sleep.
 * Why      a thread that sleeps after every few requests has to be woken for the next few, which was
 *          much of what a short request costs the kernel.  Clients that wait for the processor get
 *          it, and what they ask next is found without a sleep.
 * How      libmicrohttpd has no hook before its threads wait.  A program's own epoll_wait comes before
 *          libc's, for libraries, too; threads other than the door's get what libc does.
 * Bound    after few events a thread just sleeps: the kernel prefers who is woken to who gave way,
 *          and a lone caller must not wait for the time slices of busy functions.
 */
#include <sched.h>
#include <sys/epoll.h>

#include "gateway/http_internal.h"

#define MANY 4 /* events at once: of so many clients the next one is near */

static _Thread_local bool is_door;
static _Thread_local int last; /* how many events there were */

void http_yield_in_this_thread(void)
{
    is_door = true;
}

int epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
    int got = 0;

    if (is_door && last >= MANY && timeout_ms != 0) {
        (void)sched_yield();
        got = epoll_pwait(epoll, events, max, 0, NULL);
    }
    if (got == 0)
        got = epoll_pwait(epoll, events, max, timeout_ms, NULL);
    last = got;
    return got;
}
