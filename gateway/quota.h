/* quota.h - GET /v1/quota: the caller's quotas, and what is used of them, as registry and publisher
 * say; calls a minute from here.
 * Threads   begin: any; stop: the loop's, stopped.
 */
#ifndef GATEWAY_QUOTA_H
#define GATEWAY_QUOTA_H

#include "gateway/gateway.h"

void quota_begin(struct gateway *gw, http_exchange *x);
void quota_stop(struct gateway *gw); /* those under way are answered */

#endif
