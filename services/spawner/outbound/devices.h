/* devices.h - a network namespace with one end of a pair of devices, for one lane.
 * Inside    eth0, one address, everything through the other end; no IPv6 but on loopback.
 * Outside   faasNUMBER-INDEX, in this process's namespace.  It ends with the namespace.
 * By        the program ip of iproute2.
 */
#ifndef OUTBOUND_DEVICES_H
#define OUTBOUND_DEVICES_H

#include <stdbool.h>

#include "services/spawner/zygote/wire.h"

/* own_ns: of this process, open.  A descriptor of the namespace; -1 with errno. */
int devices_make(const struct zy_network_req *req, int own_ns);

/* All of that number, whoever still uses them: nothing comes in or goes out any more. */
bool devices_remove_all(unsigned number);

#endif
