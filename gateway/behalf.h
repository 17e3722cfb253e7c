/* behalf.h - what an administrator asks about another user (routes with GW_OTHER): auth is asked who
 * {name} is, then the request goes on as that user's would, without {name}.
 * Threads   begin: any; stop: the loop's, stopped.
 */
#ifndef GATEWAY_BEHALF_H
#define GATEWAY_BEHALF_H

#include "gateway/gateway.h"

void behalf_begin(struct gateway *gw, http_exchange *x);
void behalf_stop(struct gateway *gw); /* those under way are answered */

#endif
