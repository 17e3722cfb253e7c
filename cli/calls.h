/* calls.h - records of calls, as several verbs read them.
 * Times     RFC 3339, or so long ago: "90s", "10m", "2h", "7d".
 * Threads   the main thread only.
 */
#ifndef CLI_CALLS_H
#define CLI_CALLS_H

#include "cli/client.h"
#include "cli/output.h"

struct calls_filter { /* each may be NULL */
    const char *function, *status, *since, *until;
    const char *user; /* whose, for an administrator; NULL: the caller's */
};
/* The newest `most` of them, newest first, onto items; answer as in client_send. */
FAAS_MUST_CHECK faas_code calls_fetch(cli_client *client, const struct calls_filter *filter,
                                      int64_t most, json_t *items, struct client_answer *answer,
                                      faas_err *err);
bool calls_is_open(const char *status); /* it has not ended */
/* "-" for what is not there; borrowed. */
const char *calls_text(const json_t *record, const char *key);
/* When the call of that id came; 0 for what is no id. */
int64_t calls_came_ms(const char *id);

#endif
