/* plan_nats.h - the NATS servers of a plan: their users, configuration and addresses.
 * Threads   the main thread.
 * Errors    as plan.h.
 */
#ifndef CLI_PLAN_NATS_H
#define CLI_PLAN_NATS_H

#include "cli/plan.h"

/* Each program is a user of the bus; in place of the servers the supervisor itself.  NULL: it is no
 * user of it. */
const char *plan_bus_user(int role);
/* Writes the configuration of the server `index`, from 0. */
FAAS_MUST_CHECK faas_code plan_nats_conf(const struct plan *plan, int index, const char *path,
                                         faas_err *err);
/* JetStream makes its directory when a server first starts. */
bool plan_has_store(const struct plan *plan);
FAAS_MUST_CHECK faas_code plan_nats_urls(struct plan *plan, faas_err *err); /* plan->nats_urls */

#endif
