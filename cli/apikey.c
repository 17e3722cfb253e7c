/* apikey.c - `faas apikey`: keys for machines, made, listed and ended by the person they belong to. */
#include <sodium.h>
#include <string.h>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/file.h"
#include "cli/output.h"
#include "crypto/apikey.h"

#define PATH       "/auth/keys"
#define LIFE_S_MAX INT64_C(315360000)
#define NO_KEYS    "no API keys; faas apikey create NAME makes one"
#define SHOWN_ONCE                                                                                 \
    "this is the only time that the key is shown; keep it in a file only you can read"
#define MEANS_WHOLE                                                                                \
    "that is a key, not its ID, and others may have seen it now: remove it by its ID, the part "   \
    "between the two _"

static struct cli_list verbs, functions;
static const char *life;

const struct cli_option cli_apikey_create_options[] = {
    {"verb", CLI_LIST, &verbs, "VERB", "invoke (default), read, deploy, or all of them: '*'", 0, 0,
     NULL},
    {"function", CLI_LIST, &functions, "NAME",
     "only for this function; 'NAME*': for those that begin so (all)", 0, 0, NULL},
    {"expires", CLI_TEXT, &life, "TIME", "how long it lives, such as 12h or 90d (90d)", 0, 0, NULL},
    CLI_OPTION_END,
};

/* ---- create ---- */

/* "90d" -> seconds */
static faas_code read_life(const char *text, int64_t *out_s, faas_err *err)
{
    if (args_duration(text, LIFE_S_MAX, out_s))
        return FAAS_OK;
    return faas_fail(err, FAAS_INVALID,
                     "--expires takes a whole number and a unit (s, m, h, d), such as 90d, and at "
                     "most ten years");
}

static bool add_list(json_t *doc, const char *name, const struct cli_list *list)
{
    FAAS_AUTO(json_t) *items = json_array();

    for (size_t i = 0; i < list->count; i++) {
        if (json_array_append_new(items, json_string(list->items[i])) != 0)
            return false;
    }
    return list->count == 0 || json_object_set(doc, name, items) == 0;
}

static faas_code make_body(const char *name, json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = json_pack("{s:s}", "name", name);
    int64_t life_s = 0;

    if (life != NULL)
        FAAS_TRY(read_life(life, &life_s, err));
    if (doc == NULL || !add_list(doc, "verbs", &verbs) || !add_list(doc, "functions", &functions) ||
        (life != NULL && json_object_set_new(doc, "expires_in", json_integer(life_s)) != 0))
        return faas_fail(err, FAAS_INVALID, "name, verbs and functions are UTF-8");
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

static faas_code print_key(const json_t *doc, bool is_json, faas_err *err)
{
    const char *key = json_string_value(json_object_get(doc, "key"));
    const char *id = json_string_value(json_object_get(doc, "id"));
    const char *expires_at = json_string_value(json_object_get(doc, "expires_at"));

    if (key == NULL || id == NULL || expires_at == NULL)
        return faas_fail(err, FAAS_INTERNAL, "the answer holds no key");
    if (is_json)
        output_json(doc, stdout);
    else
        printf("%s\n", key);
    output_note("key %s, good until %s; " SHOWN_ONCE, id, expires_at);
    return FAAS_OK;
}

int cli_apikey_create(const struct cli_args *args)
{
    struct client_request request = {.method = "POST", .path = PATH};
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(json_t) *body = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = make_body(args->rest.items[0], &body, &err);
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = client_open(&args->common, &client, &err);
    if (code == FAAS_OK)
        code = client_exchange(client, &request, body, &answer, &doc, &err);
    if (code == FAAS_OK)
        code = print_key(doc, args->common.is_json, &err);
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    if (answer.body != NULL)
        sodium_memzero(answer.body, answer.len);
    client_answer_done(&answer);
    return status;
}

/* ---- list ---- */

static faas_code fetch(cli_client *client, json_t *items, struct client_answer *answer,
                       faas_err *err)
{
    struct client_request request = {.method = "GET", .path = PATH};
    FAAS_AUTO(json_t) *doc = NULL;

    FAAS_TRY(client_exchange(client, &request, NULL, answer, &doc, err));
    if (!json_is_array(json_object_get(doc, "items")) ||
        json_array_extend(items, json_object_get(doc, "items")) != 0)
        return faas_fail(err, FAAS_INTERNAL, "the answer is no list of keys");
    return FAAS_OK;
}

/* "a, b"; the caller frees. */
static char *joined(const json_t *texts)
{
    char *all = file_path("%s", "");
    const json_t *item;
    size_t i;

    json_array_foreach (texts, i, item) {
        const char *text = json_string_value(item);
        FAAS_AUTO(char) *before = all;

        all = before != NULL
                  ? file_path("%s%s%s", before, i > 0 ? "," : "", text != NULL ? text : "?")
                  : NULL;
    }
    return all;
}

static void add_row(output_table *table, const json_t *item)
{
    static const char *const times[] = {"expires_at", "last_used_at"};
    FAAS_AUTO(char) *may = joined(json_object_get(item, "verbs"));
    FAAS_AUTO(char) *at = joined(json_object_get(item, "functions"));

    output_table_add(table, json_string_value(json_object_get(item, "id")));
    output_table_add(table, json_string_value(json_object_get(item, "name")));
    output_table_add(table, may);
    output_table_add(table, at);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(times); i++)
        output_table_add(table, json_string_value(json_object_get(item, times[i])));
}

static faas_code print_list(const json_t *items, faas_err *err)
{
    static const struct output_column columns[] = {
        {"ID", false, false},       {"NAME", true, false},     {"VERBS", false, false},
        {"FUNCTIONS", true, false}, {"EXPIRES", false, false}, {"LAST USED", false, false},
    };

    return output_items(columns, FAAS_ARRAY_LEN(columns), items, add_row, err);
}

int cli_apikey_list(const struct cli_args *args)
{
    return client_list(args, fetch, print_list, NO_KEYS);
}

/* ---- remove ---- */

static faas_code remove_key(const struct cli_args *args, struct client_answer *answer,
                            faas_err *err)
{
    const char *id = args->rest.items[0];
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(char) *path = client_path(PATH "/", id);
    struct client_request request = {.method = "DELETE", .path = path};

    if (faas_apikey_is_meant(id))
        return faas_fail(err, FAAS_INVALID, MEANS_WHOLE);
    FAAS_TRY(client_open(&args->common, &client, err));
    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return client_send(client, &request, answer, err);
}

int cli_apikey_remove(const struct cli_args *args)
{
    struct client_answer answer = {0};
    faas_err err = {0};
    int status = CLI_OK;

    if (remove_key(args, &answer, &err) != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    else if (args->common.is_json)
        printf("{\"removed\":true}\n");
    else
        output_say("removed %s; no gateway takes it any more", args->rest.items[0]);
    client_answer_done(&answer);
    return status;
}
