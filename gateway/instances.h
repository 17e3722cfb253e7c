/* instances.h - GET /v1/instances: what heartbeats tell of each instance of each service.
 * Answer    {"items":[...],"missing":[text...],"at":time}; sorted by service as a request meets them,
 *           then id.  Who said good-bye is left out; who died is listed for an hour.
 * States    ready; not_ready: it begins or ends; silent: no beat for FAAS_BEAT_FRESH_MS; dead.
 * Cost      memory alone: nobody is asked.
 */
#ifndef GATEWAY_INSTANCES_H
#define GATEWAY_INSTANCES_H

#include "gateway/http.h"

void instances_begin(http_exchange *x); /* takes x */

#endif
