#include "cli/instances.h"

#include <string.h>

#include "cli/output.h"

faas_code instances_fetch(cli_client *client, json_t **out_doc, struct client_answer *answer,
                          faas_err *err)
{
    struct client_request request = {.method = "GET", .path = "/v1/instances"};

    FAAS_TRY(client_exchange(client, &request, NULL, answer, out_doc, err));
    return json_is_array(json_object_get(*out_doc, "items"))
               ? FAAS_OK
               : faas_fail(err, FAAS_INTERNAL, "the platform answered without instances");
}

static enum output_colour colour_of(const char *state)
{
    if (state != NULL && strcmp(state, "ready") == 0)
        return OUTPUT_GREEN;
    return state != NULL && strcmp(state, "not_ready") == 0 ? OUTPUT_YELLOW : OUTPUT_RED;
}

static void add_age(output_table *table, const json_t *number, json_int_t per_s)
{
    char age[16];

    output_age(json_integer_value(number) / per_s, age, sizeof age);
    output_table_add(table, json_is_integer(number) ? age : NULL);
}

/* Calls now, of a spawner besides how many it may have; auth and registry count none. */
static void add_load(output_table *table, const json_t *item)
{
    const char *service = json_string_value(json_object_get(item, "service"));
    json_int_t running = json_integer_value(json_object_get(item, "running"));
    const json_t *slots = json_object_get(item, "slots");

    if (slots != NULL)
        output_table_addf(table, "%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT, running,
                          json_integer_value(slots));
    else if (service != NULL &&
             (strcmp(service, "gateway") == 0 || strcmp(service, "publisher") == 0))
        output_table_addf(table, "%" JSON_INTEGER_FORMAT, running);
    else
        output_table_add(table, NULL);
}

static void add_row(output_table *table, const json_t *item)
{
    const char *state = json_string_value(json_object_get(item, "state"));
    const char *trouble = json_string_value(json_object_get(item, "trouble"));

    output_table_add(table, json_string_value(json_object_get(item, "service")));
    output_table_add(table, json_string_value(json_object_get(item, "id")));
    output_table_add_coloured(table, state, colour_of(state));
    output_table_add(table, json_string_value(json_object_get(item, "version")));
    add_age(table, json_object_get(item, "up_s"), 1);
    add_age(table, json_object_get(item, "seen_ms"), 1000);
    add_load(table, item);
    output_table_add_coloured(
        table, trouble != NULL ? trouble : json_string_value(json_object_get(item, "isolation")),
        trouble != NULL ? OUTPUT_RED : OUTPUT_PLAIN);
}

faas_code instances_print(const json_t *doc, faas_err *err)
{
    static const struct output_column columns[] = {
        {"SERVICE", false, false}, {"INSTANCE", true, false}, {"STATE", false, false},
        {"VERSION", false, false}, {"UP", false, true},       {"SEEN", false, true},
        {"CALLS", false, true},    {"RUNS IN", true, false},
    };
    const json_t *missing = json_object_get(doc, "missing"), *name;
    size_t i;

    FAAS_TRY(output_items(columns, FAAS_ARRAY_LEN(columns), json_object_get(doc, "items"), add_row,
                          err));
    json_array_foreach (missing, i, name)
        output_note("missing: %s; `faas doctor` says more", json_string_value(name));
    return FAAS_OK;
}
