/* queued.c - result, cancel, dead list|show|redrive: calls of the queue (`faas invoke --async`). */
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/file.h"
#include "cli/output.h"
#include "cli/queued.h"

#define WAIT_PART_S 20 /* of a long wait: one request */
#define LIMIT       50
#define LIMIT_MAX   100000

static int64_t wait_s;
static int64_t limit = LIMIT;

const struct cli_option cli_result_options[] = {
    {"wait-s", CLI_INT, &wait_s, "N", "wait up to so many seconds for the call's end (0)", 0, 86400,
     NULL},
    CLI_OPTION_END,
};
const struct cli_option cli_dead_options[] = {
    {"limit", CLI_INT, &limit, "N", "how many at most (50)", 1, LIMIT_MAX, NULL},
    CLI_OPTION_END,
};

/* "/v1/calls/ID/result"; NULL without memory.  The caller frees. */
static char *path_of(const char *prefix, const char *id, const char *what)
{
    FAAS_AUTO(char) *whole = client_path(prefix, id);

    return whole != NULL ? file_path("%s%s", whole, what) : NULL;
}

static bool has_ended(const json_t *record)
{
    const char *status = json_string_value(json_object_get(record, "status"));

    return status != NULL && strcmp(status, "queued") != 0 && strcmp(status, "running") != 0;
}

/* ---- result ---- */

static faas_code wait_for_end(cli_client *client, const char *id, int64_t most_s,
                              struct client_answer *answer, faas_err *err)
{
    for (int64_t left = most_s; left > 0; left -= WAIT_PART_S) {
        int part = left < WAIT_PART_S ? (int)left : WAIT_PART_S;
        FAAS_AUTO(char) *of_call = client_path("/v1/calls/", id);
        FAAS_AUTO(char) *path = of_call != NULL ? file_path("%s?wait=%d", of_call, part) : NULL;
        struct client_request request = {.method = "GET", .path = path};
        FAAS_AUTO(json_t) *record = NULL;

        if (path == NULL)
            return faas_fail(err, FAAS_INTERNAL, "out of memory");
        client_answer_done(answer);
        FAAS_TRY(client_exchange(client, &request, NULL, answer, &record, err));
        if (has_ended(record))
            break;
    }
    client_answer_done(answer);
    return FAAS_OK;
}

faas_code queued_result(cli_client *client, const char *id, int64_t most_s,
                        struct client_answer *answer, faas_err *err)
{
    FAAS_AUTO(char) *path = path_of("/v1/calls/", id, "/result");
    struct client_request request = {.method = "GET", .path = path, .sink = stdout};

    FAAS_TRY(wait_for_end(client, id, most_s, answer, err));
    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return client_send(client, &request, answer, err);
}

static faas_code get_result(const struct cli_args *args, struct client_answer *answer,
                            faas_err *err)
{
    FAAS_AUTO(cli_client) *client = NULL;

    FAAS_TRY(client_open(&args->common, &client, err));
    return queued_result(client, args->rest.items[0], wait_s, answer, err);
}

int cli_result(const struct cli_args *args)
{
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = get_result(args, &answer, &err);
    int status = CLI_OK;

    if (code == FAAS_OK && !output_flush())
        code = faas_fail(&err, FAAS_INTERNAL, "standard output cannot be written");
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    client_answer_done(&answer);
    return status;
}

/* ---- one request, its JSON shown ---- */

static int show(const struct cli_args *args, const char *method, const char *path,
                const char *done_text)
{
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    struct client_request request = {.method = method, .path = path};
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &client, &err);
    int status = CLI_OK;

    if (code == FAAS_OK && path == NULL)
        code = faas_fail(&err, FAAS_INTERNAL, "out of memory");
    if (code == FAAS_OK)
        code = client_exchange(client, &request, NULL, &answer, &doc, &err);
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    else if (doc != NULL && args->common.is_json)
        output_json(doc, stdout);
    else if (doc != NULL)
        output_record(doc);
    else
        output_note("%s", done_text);
    client_answer_done(&answer);
    return status;
}

int cli_cancel(const struct cli_args *args)
{
    FAAS_AUTO(char) *path = path_of("/v1/calls/", args->rest.items[0], "");

    return show(args, "DELETE", path, "cancelled");
}

int cli_dead_show(const struct cli_args *args)
{
    FAAS_AUTO(char) *path = path_of("/v1/dead-letters/", args->rest.items[0], "");

    return show(args, "GET", path, "");
}

int cli_dead_redrive(const struct cli_args *args)
{
    FAAS_AUTO(char) *path = path_of("/v1/dead-letters/", args->rest.items[0], "/redrive");

    return show(args, "POST", path, "");
}

/* ---- dead letters ---- */

static faas_code fetch(cli_client *client, json_t *items, struct client_answer *answer,
                       faas_err *err)
{
    return client_pages(client, "/v1/dead-letters", "", limit, "dead letters", items, answer, err);
}

static void add_row(output_table *table, const json_t *item)
{
    static const char *const texts[] = {"id", "function", "code", NULL, "detail", "ended_at"};

    for (size_t k = 0; k < FAAS_ARRAY_LEN(texts); k++) {
        if (texts[k] != NULL)
            output_table_add(table, json_string_value(json_object_get(item, texts[k])));
        else
            output_table_addf(table, "%lld",
                              (long long)json_integer_value(json_object_get(item, "attempt")));
    }
}

static faas_code print_list(const json_t *items, faas_err *err)
{
    static const struct output_column columns[] = {
        {"ID", false, false},  {"FUNCTION", true, false}, {"CODE", true, false},
        {"RUNS", false, true}, {"DETAIL", true, false},   {"ENDED", false, false},
    };

    return output_items(columns, FAAS_ARRAY_LEN(columns), items, add_row, err);
}

int cli_dead_list(const struct cli_args *args)
{
    return client_list(args, fetch, print_list, "no dead letters");
}
