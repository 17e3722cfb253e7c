/* client.h - one HTTP request to the platform, on libcurl.
 * Bodies    an answer's body is kept in memory up to CLIENT_BODY_MAX; the body of a successful
 *           answer goes to `sink` or `take` instead when there is one, as it arrives.
 * Errors    problem+json becomes code and "detail (code, component, call id)"; 401 with an expired
 *           token names the time and `faas login`; no connection, a cut answer and silence are
 *           UNAVAILABLE or TIMEOUT naming the server.
 * Security  http and https only, no redirects, the token goes to the server that gave it, loopback
 *           addresses never through a proxy.  A server's certificate is always verified: against
 *           --ca-file or FAAS_CA_FILE alone where there is one, else the one kept with the login,
 *           else the system's.
 * Threads   the main thread only.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <stdio.h>

#include "base/json.h"
#include "cli/credentials.h"
#include "cli/verb.h"

#define CLIENT_BODY_MAX   (64 * 1024 * 1024)
#define CLIENT_TIMEOUT_MS 60000

typedef struct cli_client cli_client;
/* Bytes of an answer's body as they come; false ends the exchange. */
typedef bool client_take(void *arg, const char *data, size_t len);

struct client_request {
    const char *method;
    const char *path; /* begins with '/', already encoded */
    const void *body; /* NULL: none */
    size_t body_len;
    const char *content_type; /* NULL: application/json */
    bool is_public;           /* no token needed, none sent */
    int64_t timeout_ms;       /* whole exchange; 0: CLIENT_TIMEOUT_MS */
    FILE *sink;               /* or NULL */
    client_take *take;        /* or NULL: instead of sink; asks for events */
    void *take_arg;
    const char *callback_url, *idempotency_key; /* header fields of a call; NULL: none */
};

struct client_answer {
    long status; /* 0: there was no answer */
    char *body;  /* owned, NUL after the last byte; NULL when it went to the sink */
    size_t len;
    json_t *problem; /* owned; the problem object of a failure, or NULL */
    char call_id[64], start[16], duration_ms[24], served_by[64], type[64],
        date[40]; /* "" when absent */
};

FAAS_MUST_CHECK faas_code client_open(const struct cli_common *common, cli_client **out_client,
                                      faas_err *err);
void client_close(cli_client *client);
FAAS_DEFINE_AUTO(cli_client, client_close)
/* UNAUTHENTICATED when there is no token for the server. */
FAAS_MUST_CHECK faas_code client_require_login(const cli_client *client, faas_err *err);
const struct credential *client_credential(const cli_client *client);

/* out_answer is filled as far as known on failure too: client_answer_done() in every case. */
FAAS_MUST_CHECK faas_code client_send(cli_client *client, const struct client_request *request,
                                      struct client_answer *out_answer, faas_err *err);
/* The failure that answer->problem tells; INTERNAL when that says none. */
faas_code client_problem(const struct client_answer *answer, faas_err *err);
void client_answer_done(struct client_answer *answer);
/* Sends doc (NULL: no body); *out_doc is the answer's JSON, a new reference (NULL when empty;
 * out_doc may be NULL).  answer as in client_send. */
FAAS_MUST_CHECK faas_code client_exchange(cli_client *client, struct client_request *request,
                                          const json_t *doc, struct client_answer *answer,
                                          json_t **out_doc, faas_err *err);
/* "/v1/functions/" and the encoded name; the caller frees; NULL only without memory. */
char *client_path(const char *prefix, const char *name);
int client_exit(faas_code code); /* the exit status for an outcome */
/* Reports err with what the answer knows more; returns the exit status. */
int client_report(const faas_err *err, const struct client_answer *answer,
                  const struct cli_common *common);

/* ---- a verb that lists ---- */
/* Adds all that is wanted to items, over as many requests as it takes; answer as in client_send. */
typedef faas_code client_fetch(cli_client *client, json_t *items, struct client_answer *answer,
                               faas_err *err);
typedef faas_code client_print(const json_t *items, faas_err *err);
/* Page after page of GET path?limit=...query ("": none, else "&name=value..."), until there is no
 * other or items has `limit` of them; what: their name in an error. */
FAAS_MUST_CHECK faas_code client_pages(cli_client *client, const char *path, const char *query,
                                       int64_t limit, const char *what, json_t *items,
                                       struct client_answer *answer, faas_err *err);
/* GET path, which is no page: all its items are put behind those of items. */
FAAS_MUST_CHECK faas_code client_items(cli_client *client, const char *path, json_t *items,
                                       struct client_answer *answer, faas_err *err);
/* As JSON, or with print where there is anything to print, else the note `none`; the exit status. */
int client_list(const struct cli_args *args, client_fetch *fetch, client_print *print,
                const char *none);

/* ---- a verb that removes ---- */
/* DELETE of prefix and each name among the arguments; the exit status of the last that failed. */
int client_remove(const struct cli_args *args, const char *prefix);

#endif
