/* fault_net.h - what the fault tests of libfaas/net share: asynchronous calls whose end is waited
 * for, and what is left behind on a connection.
 * Claims    beyond those of fault.h: each done runs, within FAULT_HANG_MS, and once.
 * Faults    wait in the test's own part of this; they count in all other threads.
 * Errors    what does not hold fails the cmocka test that runs.
 */
#ifndef FAAS_FAULT_NET_H
#define FAAS_FAULT_NET_H

#include "net/kv.h"
#include "tests/support/fault.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"

#define FAULT_PROGRAM_S 300   /* for alarm(): what hangs after a claim failed ends */
#define FAULT_HANG_MS   20000 /* longer than any deadline given */
#define FAULT_QUIET_MS  300   /* what was lost to a fault is waited for no longer */
#define FAULT_DATA_MAX  128

/* A call, from before it is made to the end of the program; guarded by a lock of fault_net.c. */
struct fault_call {
    unsigned ends;
    faas_code code;
    faas_err err;
    uint64_t number; /* an entry's revision */
    size_t len;      /* of the whole answer */
    char data[FAULT_DATA_MAX];
};

struct fault_call *fault_call_new(void);
/* What done runs, with the call as its argument: as a faas_task, faas_rpc_done and faas_kv_done. */
void fault_call_end(void *arg);
void fault_on_reply(void *arg, const struct faas_rpc_reply *reply);
void fault_on_kv(void *arg, faas_code code, const struct faas_kv_entry *entry, const faas_err *err);
faas_code fault_call_wait(struct fault_call *call, faas_err *err);
/* No call of this program has ended twice, or not at all. */
void fault_calls_check(void);

/* Until is_true, or for FAULT_QUIET_MS once a fault was met: TIMEOUT. */
faas_code fault_wait(bool (*is_true)(void *arg), void *arg, const char *what, faas_err *err);

/* Subscriptions on the connection of this name ("client-c1-data"). */
int fault_subscriptions(const struct nats *nats, const char *client_name);
void fault_wait_subscriptions(const struct nats *nats, const char *client_name, int expected);

#endif
