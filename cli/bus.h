/* bus.h - the operator's own connection to the bus, for one piece of work.
 * Identity  the user "cli" of libfaas/contract.c: checks stores, makes invitations; only who can
 *           read the data directory (or was given the key) has its seed.
 * Threads   cli_bus_use() runs a loop on a thread of its own and the work on the caller's; work
 *           blocks on faas_rpc_wait() and faas_kv_*().
 * Errors    what opening the connection or the work says.
 */
#ifndef CLI_BUS_H
#define CLI_BUS_H

#include "net/rpc.h"

struct cli_bus_conf {
    const char *urls, *nkey_file, *id;
};
typedef faas_code cli_bus_work(faas_rpc *rpc, void *arg, faas_err *err);

/* *out_is_lost: the connection itself ended for good.  faas_bus_end() is the caller's. */
FAAS_MUST_CHECK faas_code cli_bus_use(const struct cli_bus_conf *conf, cli_bus_work *work,
                                      void *arg, bool *out_is_lost, faas_err *err);

#endif
