/* rules.h - what nftables lets through of functions that have a network.
 * Devices   one for each lane, named faasNUMBER-INDEX; rules tell them by that.
 * From      functions reach addresses of others, over IPv4: none of this machine's, nothing that is
 *           private, link-local, multicast or reserved, no network this machine is part of.  Port 53
 *           of the name servers is the exception.
 * To        functions get answers alone.
 * Life      a table of its own, which stands until it is removed: should this process die, nothing
 *           is let through that was not before.  Setting it replaces it in one step.
 * Errors    false, with errno.
 */
#ifndef OUTBOUND_RULES_H
#define OUTBOUND_RULES_H

#include <stdbool.h>

#include "services/spawner/zygote/wire.h"

#define RULES_FIRST 0xc6120000U /* 198.18.0.0: addresses of lanes; ZY_NETWORKS for each number */

bool rules_set(const struct zy_network_req *req);
bool rules_remove(unsigned number);

#endif
