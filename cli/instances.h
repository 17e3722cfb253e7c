/* instances.h - what a platform's heartbeats tell of its instances: GET /v1/instances.
 * Threads   the main thread.
 */
#ifndef CLI_INSTANCES_H
#define CLI_INSTANCES_H

#include "cli/client.h"

/* The whole answer: {"items":[...],"missing":[...],"at":time}; answer as in client_send. */
FAAS_MUST_CHECK faas_code instances_fetch(cli_client *client, json_t **out_doc,
                                          struct client_answer *answer, faas_err *err);
FAAS_MUST_CHECK faas_code instances_print(const json_t *doc, faas_err *err); /* a line for each */

#endif
