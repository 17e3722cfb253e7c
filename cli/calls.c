/* calls.c - calls, call: what became of calls. */
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "cli/args.h"
#include "cli/calls.h"
#include "cli/file.h"
#include "cli/output.h"

#define LIMIT     50
#define LIMIT_MAX 100000
#define AGO_S_MAX (INT64_C(10) * 365 * 86400)

static const char *function, *status_wanted, *since, *until;
static const char *user; /* whose, when an administrator asks */
static int64_t limit = LIMIT;

const struct cli_option cli_calls_options[] = {
    {"function", CLI_TEXT, &function, "NAME", "only calls of this function", 0, 0, NULL},
    {"status", CLI_TEXT, &status_wanted, "STATUS", "only calls that are, or ended, so", 0, 0, NULL},
    {"since", CLI_TEXT, &since, "TIME", "only calls that came then or later, or so long ago: 10m",
     0, 0, NULL},
    {"until", CLI_TEXT, &until, "TIME", "only calls that came before that, likewise", 0, 0, NULL},
    {"limit", CLI_INT, &limit, "N", "how many at most (50)", 1, LIMIT_MAX, NULL},
    CLI_OPTION_END,
};

/* ---- calls ---- */

/* "&since=" and the time of text; "" for none; NULL without memory. */
static char *time_parameter(const char *name, const char *text)
{
    char then[FAAS_TIME_TEXT];
    int64_t ago_s;

    if (text == NULL)
        return strdup("");
    if (!args_duration(text, AGO_S_MAX, &ago_s))
        return client_path(name, text);
    faas_time_format(faas_wall_ms() - ago_s * 1000, then);
    return client_path(name, then);
}

static char *parameter(const char *name, const char *text)
{
    return text != NULL ? client_path(name, text) : strdup("");
}

/* The query's parameters, but for limit and cursor; the caller frees.  NULL without memory. */
static char *query_of(const struct calls_filter *filter)
{
    FAAS_AUTO(char) *by_function = parameter("&function=", filter->function);
    FAAS_AUTO(char) *by_status = parameter("&status=", filter->status);
    FAAS_AUTO(char) *from = time_parameter("&since=", filter->since);
    FAAS_AUTO(char) *to = time_parameter("&until=", filter->until);

    if (by_function == NULL || by_status == NULL || from == NULL || to == NULL)
        return NULL;
    return file_path("%s%s%s%s", by_function, by_status, from, to);
}

faas_code calls_fetch(cli_client *client, const struct calls_filter *filter, int64_t most,
                      json_t *items, struct client_answer *answer, faas_err *err)
{
    FAAS_AUTO(char) *query = query_of(filter);
    FAAS_AUTO(char) *of_user =
        client_path("/v1/admin/users/", filter->user != NULL ? filter->user : "");
    FAAS_AUTO(char) *path = filter->user != NULL && of_user != NULL ? file_path("%s/calls", of_user)
                                                                    : file_path("/v1/calls");

    if (query == NULL || of_user == NULL || path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return client_pages(client, path, query, most, "calls", items, answer, err);
}

static faas_code fetch(cli_client *client, json_t *items, struct client_answer *answer,
                       faas_err *err)
{
    const struct calls_filter filter = {function, status_wanted, since, until, user};

    return calls_fetch(client, &filter, limit, items, answer, err);
}

const char *calls_text(const json_t *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record, key));

    return text != NULL ? text : "-";
}

int64_t calls_came_ms(const char *id)
{
    uint8_t bytes[16];
    int64_t ms = 0;

    if (!faas_uuid_is(id))
        return 0;
    faas_uuid_to_bytes(id, bytes);
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | bytes[i];
    return ms;
}

bool calls_is_open(const char *status)
{
    return strcmp(status, "running") == 0 || strcmp(status, "queued") == 0;
}

static enum output_colour colour_of(const char *status)
{
    if (strcmp(status, "succeeded") == 0)
        return OUTPUT_PLAIN;
    return calls_is_open(status) ? OUTPUT_GREEN : OUTPUT_RED;
}

static void add_row(output_table *table, const json_t *item)
{
    const json_t *run = json_object_get(json_object_get(item, "times_ms"), "run");
    const json_t *version = json_object_get(item, "version");
    const char *status = calls_text(item, "status");

    output_table_add(table, calls_text(item, "id"));
    output_table_add(table, calls_text(item, "function"));
    if (json_is_integer(version))
        output_table_addf(table, "%" JSON_INTEGER_FORMAT, json_integer_value(version));
    else
        output_table_add(table, NULL);
    output_table_add_coloured(table, status, colour_of(status));
    output_table_add(table, calls_text(item, "code"));
    if (json_is_number(run))
        output_table_addf(table, "%.1fms", json_number_value(run));
    else
        output_table_add(table, NULL);
    output_table_add(table, calls_text(item, "start"));
    output_table_add(table, calls_text(item, "queued_at"));
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

static faas_code get(const struct cli_args *args, struct client_answer *answer, faas_err *err)
{
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(char) *path = client_path("/v1/calls/", args->rest.items[0]);
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
    faas_code code = get(args, &answer, &err);
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
