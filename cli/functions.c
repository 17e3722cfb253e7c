/* functions.c - list, describe, remove. */
#include <string.h>

#include "cli/client.h"
#include "cli/file.h"
#include "cli/output.h"

static const char *search;

const struct cli_option cli_list_options[] = {
    {"search", CLI_TEXT, &search, "TEXT", "only functions with this in name or description", 0, 0,
     NULL},
    CLI_OPTION_END,
};

/* ---- list ---- */

static faas_code fetch_all(cli_client *client, json_t *items, struct client_answer *answer,
                           faas_err *err)
{
    FAAS_AUTO(char) *like = client_path(search != NULL ? "&q=" : "", search ? search : "");

    if (like == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return client_pages(client, "/v1/functions", like, INT64_MAX, "functions", items, answer, err);
}

static void add_row(output_table *table, const json_t *item)
{
    const json_t *limits = json_object_get(item, "limits");

    output_table_add(table, json_string_value(json_object_get(item, "name")));
    output_table_add(table, json_string_value(json_object_get(item, "payload")));
    output_table_addf(table, "%" JSON_INTEGER_FORMAT,
                      json_integer_value(json_object_get(item, "version")));
    output_table_addf(table, "%gs",
                      (double)json_integer_value(json_object_get(item, "timeout_ms")) / 1000);
    output_table_addf(table, "%" JSON_INTEGER_FORMAT "MB",
                      json_integer_value(json_object_get(limits, "memory_mb")));
    output_table_add(table, json_string_value(json_object_get(item, "updated_at")));
    output_table_add(table, json_string_value(json_object_get(item, "description")));
}

static faas_code print_list(const json_t *items, faas_err *err)
{
    static const struct output_column columns[] = {
        {"NAME", true, false},        {"IMAGE", true, false},  {"VERSION", false, true},
        {"TIMEOUT", false, true},     {"MEMORY", false, true}, {"UPDATED", false, false},
        {"DESCRIPTION", true, false},
    };

    return output_items(columns, FAAS_ARRAY_LEN(columns), items, add_row, err);
}

int cli_list_functions(const struct cli_args *args)
{
    return client_list(args, fetch_all, print_list,
                       "no functions yet; faas deploy NAME --image IMAGE makes one");
}

/* ---- describe ---- */

int cli_describe(const struct cli_args *args)
{
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(json_t) *record = NULL;
    FAAS_AUTO(char) *path = client_path("/v1/functions/", args->rest.items[0]);
    struct client_request request = {.method = "GET", .path = path};
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &client, &err);
    int status = CLI_OK;

    if (code == FAAS_OK && path == NULL)
        code = faas_fail(&err, FAAS_INTERNAL, "out of memory");
    if (code == FAAS_OK)
        code = client_exchange(client, &request, NULL, &answer, &record, &err);
    if (code != FAAS_OK) {
        status = client_report(&err, &answer, &args->common);
    } else if (args->common.is_json) {
        output_json(record, stdout);
    } else {
        output_record(record);
    }
    client_answer_done(&answer);
    return status;
}

/* ---- remove ---- */

int cli_remove(const struct cli_args *args)
{
    return client_remove(args, "/v1/functions/");
}
