/* calls.c - calls, call, logs: what became of calls. */
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/file.h"
#include "cli/output.h"

#define LIMIT     50
#define LIMIT_MAX 100000

static const char *function, *status_wanted, *since, *until;
static const char *user; /* whose, when an administrator asks */
static int64_t limit = LIMIT;

const struct cli_option cli_calls_options[] = {
    {"function", CLI_TEXT, &function, "NAME", "only calls of this function", 0, 0, NULL},
    {"status", CLI_TEXT, &status_wanted, "STATUS", "only calls that are, or ended, so", 0, 0, NULL},
    {"since", CLI_TEXT, &since, "TIME", "only calls that came then or later", 0, 0, NULL},
    {"until", CLI_TEXT, &until, "TIME", "only calls that came before that", 0, 0, NULL},
    {"limit", CLI_INT, &limit, "N", "how many at most (50)", 1, LIMIT_MAX, NULL},
    CLI_OPTION_END,
};

/* ---- calls ---- */

/* The query's parameters, but for limit and cursor; the caller frees.  NULL without memory. */
static char *filters(void)
{
    FAAS_AUTO(char) *by_function =
        client_path(function ? "&function=" : "", function ? function : "");
    FAAS_AUTO(char) *by_status =
        client_path(status_wanted ? "&status=" : "", status_wanted ? status_wanted : "");
    FAAS_AUTO(char) *from = client_path(since ? "&since=" : "", since ? since : "");
    FAAS_AUTO(char) *to = client_path(until ? "&until=" : "", until ? until : "");

    if (by_function == NULL || by_status == NULL || from == NULL || to == NULL)
        return NULL;
    return file_path("%s%s%s%s", by_function, by_status, from, to);
}

static faas_code fetch(cli_client *client, json_t *items, struct client_answer *answer,
                       faas_err *err)
{
    FAAS_AUTO(char) *query = filters();
    FAAS_AUTO(char) *of_user = client_path("/v1/admin/users/", user != NULL ? user : "");
    FAAS_AUTO(char) *path =
        user != NULL && of_user != NULL ? file_path("%s/calls", of_user) : file_path("/v1/calls");

    if (query == NULL || of_user == NULL || path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return client_pages(client, path, query, limit, "calls", items, answer, err);
}

static const char *text_of(const json_t *item, const char *key)
{
    return json_string_value(json_object_get(item, key));
}

static enum output_colour colour_of(const char *status)
{
    if (status == NULL || strcmp(status, "succeeded") == 0)
        return OUTPUT_PLAIN;
    return strcmp(status, "running") == 0 || strcmp(status, "queued") == 0 ? OUTPUT_GREEN
                                                                           : OUTPUT_RED;
}

static void add_row(output_table *table, const json_t *item)
{
    const json_t *run = json_object_get(json_object_get(item, "times_ms"), "run");
    const json_t *version = json_object_get(item, "version");
    const char *status = text_of(item, "status");

    output_table_add(table, text_of(item, "id"));
    output_table_add(table, text_of(item, "function"));
    if (json_is_integer(version))
        output_table_addf(table, "%" JSON_INTEGER_FORMAT, json_integer_value(version));
    else
        output_table_add(table, NULL);
    output_table_add_coloured(table, status, colour_of(status));
    output_table_add(table, text_of(item, "code"));
    if (json_is_number(run))
        output_table_addf(table, "%.1fms", json_number_value(run));
    else
        output_table_add(table, NULL);
    output_table_add(table, text_of(item, "start"));
    output_table_add(table, text_of(item, "queued_at"));
}

static faas_code print_list(const json_t *items, faas_err *err)
{
    static const struct output_column columns[] = {
        {"ID", false, false},     {"FUNCTION", true, false}, {"VERSION", false, true},
        {"STATUS", false, false}, {"CODE", true, false},     {"RUN", false, true},
        {"START", false, false},  {"CAME", false, false},
    };

    return output_items(columns, FAAS_ARRAY_LEN(columns), items, add_row, err);
}

int cli_calls(const struct cli_args *args)
{
    return client_list(args, fetch, print_list, "no such calls");
}

int cli_admin_records(const struct cli_args *args)
{
    user = args->rest.items[0];
    return cli_calls(args);
}

/* ---- one call ---- */

static faas_code get(const struct cli_args *args, const char *what, struct client_answer *answer,
                     faas_err *err)
{
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(char) *of_call = client_path("/v1/calls/", args->rest.items[0]);
    FAAS_AUTO(char) *path = of_call != NULL ? file_path("%s%s", of_call, what) : NULL;
    struct client_request request = {.method = "GET", .path = path};

    FAAS_TRY(client_open(&args->common, &client, err));
    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return client_send(client, &request, answer, err);
}

int cli_call(const struct cli_args *args)
{
    FAAS_AUTO(json_t) *record = NULL;
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = get(args, "", &answer, &err);
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = faas_json_parse(answer.body, answer.len, false, &record, &err);
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    else if (args->common.is_json)
        output_json(record, stdout);
    else
        output_record(record);
    client_answer_done(&answer);
    return status;
}

/* ---- logs ---- */

/* What a function wrote is hostile to terminals. */
static faas_code print_log(const struct client_answer *answer, bool is_json, faas_err *err)
{
    FAAS_AUTO(char) *clean = output_clean(answer->body != NULL ? answer->body : "", true);
    FAAS_AUTO(json_t) *doc = clean != NULL ? json_pack("{s:s}", "stderr", clean) : NULL;

    if (doc == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    if (is_json)
        output_json(doc, stdout);
    else if (isatty(STDOUT_FILENO) == 1)
        (void)fputs(clean, stdout);
    else if (answer->len > 0)
        (void)fwrite(answer->body, 1, answer->len, stdout); /* output_flush() tells of a failure */
    return FAAS_OK;
}

int cli_logs(const struct cli_args *args)
{
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = get(args, "/logs", &answer, &err);
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = print_log(&answer, args->common.is_json, &err);
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    client_answer_done(&answer);
    return status;
}
