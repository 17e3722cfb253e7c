/* fault_nats.c - what the linker puts in the place of the calls that libfaas/net makes into libnats
 * and into the loop.  libnats allocates by itself, out of our reach, so its calls fail as a whole:
 * without memory, or because the connection takes no more (a system fault). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/bus_internal.h"
#include "tests/support/fault_net.h"

#define NATS(name, signature, arguments)                                                           \
    natsStatus __real_##name signature;                                                            \
    natsStatus __wrap_##name signature;                                                            \
    natsStatus __wrap_##name signature                                                             \
    {                                                                                              \
        if (fault_is_due(FAULT_MEMORY, #name, ENOMEM))                                             \
            return NATS_NO_MEMORY;                                                                 \
        if (fault_is_due(FAULT_SYSTEM, #name, ENOBUFS))                                            \
            return NATS_INSUFFICIENT_BUFFER;                                                       \
        return __real_##name arguments;                                                            \
    }
#define NATS_MEMORY(name, signature, arguments)                                                    \
    natsStatus __real_##name signature;                                                            \
    natsStatus __wrap_##name signature;                                                            \
    natsStatus __wrap_##name signature                                                             \
    {                                                                                              \
        return fault_is_due(FAULT_MEMORY, #name, ENOMEM) ? NATS_NO_MEMORY                          \
                                                         : __real_##name arguments;                \
    }

/* ---- sending ---- */

NATS_MEMORY(natsMsg_Create,
            (natsMsg * *out_nm, const char *subject, const char *reply, const char *data, int len),
            (out_nm, subject, reply, data, len))
NATS_MEMORY(natsMsgHeader_Set, (natsMsg * nm, const char *name, const char *value),
            (nm, name, value))
NATS(natsConnection_PublishMsg, (natsConnection * nc, natsMsg *nm), (nc, nm))

/* ---- connections ---- */

NATS_MEMORY(natsOptions_Create, (natsOptions * *out_opts), (out_opts))
NATS(natsConnection_Connect, (natsConnection * *out_nc, natsOptions *opts), (out_nc, opts))

/* ---- receiving ---- */

NATS(natsConnection_SubscribeSync,
     (natsSubscription * *out_ns, natsConnection *nc, const char *subject), (out_ns, nc, subject))
NATS(natsConnection_QueueSubscribeSync,
     (natsSubscription * *out_ns, natsConnection *nc, const char *subject, const char *queue),
     (out_ns, nc, subject, queue))
NATS(natsSubscription_DrainTimeout, (natsSubscription * ns, int64_t ms), (ns, ms))

/* A message's headers are parsed at the first look at one, for good: that look needs memory, and it
 * is to be made where a message can still be dropped. */
static _Thread_local const natsMsg *fresh;

natsStatus __real_natsSubscription_NextMsg(natsMsg **out_nm, natsSubscription *ns, int64_t ms);
natsStatus __wrap_natsSubscription_NextMsg(natsMsg **out_nm, natsSubscription *ns, int64_t ms);
natsStatus __wrap_natsSubscription_NextMsg(natsMsg **out_nm, natsSubscription *ns, int64_t ms)
{
    natsStatus status = __real_natsSubscription_NextMsg(out_nm, ns, ms);

    if (fresh != NULL) { /* not the test's thread: there is no other way to fail */
        (void)fprintf(stderr, "the headers of a message that arrives are not looked at\n");
        abort();
    }
    fresh = status == NATS_OK ? *out_nm : NULL;
    return status;
}

natsStatus __real_natsMsgHeader_Get(natsMsg *nm, const char *name, const char **out_value);
natsStatus __wrap_natsMsgHeader_Get(natsMsg *nm, const char *name, const char **out_value);
natsStatus __wrap_natsMsgHeader_Get(natsMsg *nm, const char *name, const char **out_value)
{
    bool is_fresh = nm == fresh;

    fresh = NULL;
    return is_fresh && fault_is_due(FAULT_MEMORY, "natsMsgHeader_Get", ENOMEM)
               ? NATS_NO_MEMORY
               : __real_natsMsgHeader_Get(nm, name, out_value);
}

/* ---- the loop ---- */

/* Without memory for its node a post ends the process (loop.h says why), so that is left out.  What
 * happens for each message and call has its node, and is in. */
void __real_faas_loop_post(faas_loop *loop, faas_task *task, void *arg);
void __wrap_faas_loop_post(faas_loop *loop, faas_task *task, void *arg);
void __wrap_faas_loop_post(faas_loop *loop, faas_task *task, void *arg)
{
    bool was_spared = fault_spare(true);

    __real_faas_loop_post(loop, task, arg);
    fault_spare(was_spared);
}
