/* queued.h - the end of a queued call, for the verbs that wait for it.
 * Threads   the main thread only.
 */
#ifndef CLI_QUEUED_H
#define CLI_QUEUED_H

#include "cli/client.h"

/* Waits up to most_s seconds for the call's end, then writes its result to standard output; answer
 * as in client_send. */
FAAS_MUST_CHECK faas_code queued_result(cli_client *client, const char *id, int64_t most_s,
                                        struct client_answer *answer, faas_err *err);

#endif
