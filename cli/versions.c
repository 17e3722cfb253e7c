/* versions.c - versions, rollback, alias set|list|remove, enable, disable: which version runs. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/file.h"
#include "cli/output.h"

static int64_t back_to;
static bool is_back_to_given;
static const char *of_function; /* whose versions or aliases are listed */

const struct cli_option cli_rollback_options[] = {
    {"to", CLI_INT, &back_to, "N", "the version to go back to (the one before the newest)", 1,
     INT32_MAX, &is_back_to_given},
    CLI_OPTION_END,
};

/* "/v1/functions/NAME" and what; NULL without memory.  The caller frees. */
static char *path_of(const char *name, const char *what)
{
    FAAS_AUTO(char) *whole = client_path("/v1/functions/", name);

    return whole != NULL ? file_path("%s%s", whole, what) : NULL;
}

static char *alias_path(const char *name, const char *alias)
{
    FAAS_AUTO(char) *aliases = path_of(name, "/aliases/");

    return aliases != NULL ? client_path(aliases, alias) : NULL;
}

struct said { /* one request and its answer */
    cli_client *client;
    struct client_answer answer;
    json_t *doc; /* owned */
};

static faas_code ask(struct said *said, const char *method, const char *path, const json_t *body,
                     faas_err *err)
{
    struct client_request request = {.method = method, .path = path};

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    client_answer_done(&said->answer);
    json_decref(said->doc);
    said->doc = NULL;
    return client_exchange(said->client, &request, body, &said->answer, &said->doc, err);
}

static void said_done(struct said *said)
{
    client_close(said->client);
    client_answer_done(&said->answer);
    json_decref(said->doc);
}

/* What a verb of this file does between opening and reporting. */
typedef faas_code deed(const struct cli_args *args, struct said *said, faas_err *err);

/* tell: what people read after success; with --json they read the answer. */
static int run(const struct cli_args *args, deed *act,
               void (*tell)(const struct cli_args *args, const json_t *doc))
{
    struct said said = {.doc = NULL};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &said.client, &err);
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = act(args, &said, &err);
    if (code != FAAS_OK)
        status = client_report(&err, &said.answer, &args->common);
    else if (!args->common.is_json)
        tell(args, said.doc);
    else if (said.doc != NULL)
        output_json(said.doc, stdout);
    else
        printf("{\"removed\":true}\n");
    said_done(&said);
    return status;
}

/* ---- versions ---- */

static json_int_t number_of(const json_t *item, const char *key)
{
    return json_integer_value(json_object_get(item, key));
}

static faas_code fetch_versions(cli_client *client, json_t *items, struct client_answer *answer,
                                faas_err *err)
{
    FAAS_AUTO(char) *path = path_of(of_function, "/versions");

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return client_pages(client, path, "", INT64_MAX, "versions", items, answer, err);
}

static void add_version(output_table *table, const json_t *item)
{
    const json_t *digest = json_object_get(item, "digest");

    output_table_addf(table, "%" JSON_INTEGER_FORMAT, number_of(item, "version"));
    output_table_add(table, json_string_value(json_object_get(item, "updated_at")));
    output_table_add(table, json_string_value(json_object_get(item, "payload")));
    output_table_add(table, json_string_value(json_object_get(digest, "value")));
}

static faas_code print_versions(const json_t *items, faas_err *err)
{
    static const struct output_column columns[] = {
        {"VERSION", false, true},
        {"MADE", false, false},
        {"IMAGE", true, false},
        {"DIGEST", true, false},
    };

    return output_items(columns, FAAS_ARRAY_LEN(columns), items, add_version, err);
}

int cli_versions(const struct cli_args *args)
{
    of_function = args->rest.items[0];
    return client_list(args, fetch_versions, print_versions, "no versions");
}

/* ---- rollback ---- */

static faas_code find_previous(const struct cli_args *args, struct said *said, faas_err *err)
{
    FAAS_AUTO(char) *path = path_of(args->rest.items[0], "");

    FAAS_TRY(ask(said, "GET", path, NULL, err));
    back_to = number_of(said->doc, "version") - 1;
    if (back_to < 1)
        return faas_fail(err, FAAS_CONFLICT, "the function has one version, and none before it");
    return FAAS_OK;
}

static faas_code roll_back(const struct cli_args *args, struct said *said, faas_err *err)
{
    FAAS_AUTO(char) *path = path_of(args->rest.items[0], "/rollback");
    FAAS_AUTO(json_t) *body = NULL;

    if (!is_back_to_given)
        FAAS_TRY(find_previous(args, said, err));
    body = json_pack("{s:I}", "version", (json_int_t)back_to);
    return ask(said, "POST", path, body, err);
}

static void tell_rollback(const struct cli_args *args, const json_t *doc)
{
    const char *image = json_string_value(json_object_get(doc, "payload"));

    output_say("%s: version %" JSON_INTEGER_FORMAT " is what version %" PRId64 " was, image %s",
               args->rest.items[0], number_of(doc, "version"), back_to, image);
}

int cli_rollback(const struct cli_args *args)
{
    return run(args, roll_back, tell_rollback);
}

/* ---- aliases ---- */

/* "3" or "3=90"; the platform's own rules decide, but for what JSON could not say. */
static faas_code add_part(json_t *versions, const char *text, faas_err *err)
{
    const char *equals = strchr(text, '=');
    size_t len = equals != NULL ? (size_t)(equals - text) : strlen(text);
    const char *weight = equals != NULL ? equals + 1 : "1";
    size_t digits = strspn(weight, "0123456789");
    char version[16];

    if (len == 0 || len >= sizeof version || strspn(text, "0123456789") != len || digits == 0 ||
        digits > 15 || weight[digits] != '\0')
        return faas_fail(err, FAAS_INVALID,
                         "a version is N, or N=WEIGHT among several, whole numbers from 1");
    (void)snprintf(version, sizeof version, "%.*s", (int)len, text);
    if (json_object_get(versions, version) != NULL)
        return faas_fail(err, FAAS_INVALID, "version %s is given twice", version);
    if (json_object_set_new(versions, version, json_integer(strtoll(weight, NULL, 10))) != 0)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return FAAS_OK;
}

static faas_code set_alias(const struct cli_args *args, struct said *said, faas_err *err)
{
    FAAS_AUTO(char) *path = alias_path(args->rest.items[0], args->rest.items[1]);
    FAAS_AUTO(json_t) *body = json_pack("{s:{}}", "versions");

    if (body == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    for (size_t i = 2; i < args->rest.count; i++)
        FAAS_TRY(add_part(json_object_get(body, "versions"), args->rest.items[i], err));
    return ask(said, "PUT", path, body, err);
}

/* "3=90 4=10", or "3" alone; the caller frees.  NULL without memory. */
static char *parts_text(const json_t *versions)
{
    bool is_one = json_object_size(versions) == 1;
    char *text = strdup("");
    const char *version;
    json_t *weight;

    json_object_foreach ((json_t *)(uintptr_t)versions, version, weight) {
        FAAS_AUTO(char) *before = text;

        if (text == NULL)
            break;
        text = is_one ? file_path("%s", version)
                      : file_path("%s%s%s=%lld", before, before[0] != '\0' ? " " : "", version,
                                  (long long)json_integer_value(weight));
    }
    return text;
}

static void tell_alias(const struct cli_args *args, const json_t *doc)
{
    FAAS_AUTO(char) *parts = parts_text(json_object_get(doc, "versions"));

    output_say("%s:%s is %s%s", args->rest.items[0], args->rest.items[1],
               json_object_size(json_object_get(doc, "versions")) == 1 ? "version " : "",
               parts != NULL ? parts : "?");
}

int cli_alias_set(const struct cli_args *args)
{
    return run(args, set_alias, tell_alias);
}

static faas_code fetch_aliases(cli_client *client, json_t *items, struct client_answer *answer,
                               faas_err *err)
{
    FAAS_AUTO(char) *path = path_of(of_function, "/aliases");
    FAAS_AUTO(json_t) *page = NULL;
    struct client_request request = {.method = "GET", .path = path};

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    FAAS_TRY(client_exchange(client, &request, NULL, answer, &page, err));
    if (json_array_extend(items, json_object_get(page, "items")) != 0)
        return faas_fail(err, FAAS_INTERNAL, "out of memory, or not a list of aliases");
    return FAAS_OK;
}

static void add_alias(output_table *table, const json_t *item)
{
    FAAS_AUTO(char) *parts = parts_text(json_object_get(item, "versions"));

    output_table_add(table, json_string_value(json_object_get(item, "alias")));
    output_table_add(table, parts);
}

static faas_code print_aliases(const json_t *items, faas_err *err)
{
    static const struct output_column columns[] = {{"ALIAS", true, false},
                                                   {"VERSIONS", true, false}};

    return output_items(columns, FAAS_ARRAY_LEN(columns), items, add_alias, err);
}

int cli_alias_list(const struct cli_args *args)
{
    of_function = args->rest.items[0];
    return client_list(args, fetch_aliases, print_aliases,
                       "no aliases; faas alias set NAME ALIAS VERSION makes one");
}

static faas_code remove_alias(const struct cli_args *args, struct said *said, faas_err *err)
{
    FAAS_AUTO(char) *path = alias_path(args->rest.items[0], args->rest.items[1]);

    return ask(said, "DELETE", path, NULL, err);
}

static void tell_removed(const struct cli_args *args, const json_t *doc)
{
    (void)doc;
    output_say("removed %s:%s", args->rest.items[0], args->rest.items[1]);
}

int cli_alias_remove(const struct cli_args *args)
{
    return run(args, remove_alias, tell_removed);
}

/* ---- enable, disable ---- */

static faas_code set_disabled(const struct cli_args *args, struct said *said, bool is_disabled,
                              faas_err *err)
{
    FAAS_AUTO(char) *path = path_of(args->rest.items[0], "");
    FAAS_AUTO(json_t) *body = json_pack("{s:b}", "disabled", is_disabled);

    return ask(said, "PATCH", path, body, err);
}

static faas_code disable(const struct cli_args *args, struct said *said, faas_err *err)
{
    return set_disabled(args, said, true, err);
}

static faas_code enable(const struct cli_args *args, struct said *said, faas_err *err)
{
    return set_disabled(args, said, false, err);
}

static void tell_disabled(const struct cli_args *args, const json_t *doc)
{
    if (json_is_true(json_object_get(doc, "disabled")))
        output_say("disabled %s: calls are refused, queued ones wait", args->rest.items[0]);
    else
        output_say("enabled %s", args->rest.items[0]);
}

int cli_disable(const struct cli_args *args)
{
    return run(args, disable, tell_disabled);
}

int cli_enable(const struct cli_args *args)
{
    return run(args, enable, tell_disabled);
}

/* ---- refresh ---- */

static faas_code refresh(const struct cli_args *args, struct said *said, faas_err *err)
{
    FAAS_AUTO(char) *path = path_of(args->rest.items[0], "/refresh");

    return ask(said, "POST", path, NULL, err);
}

static void tell_refreshed(const struct cli_args *args, const json_t *doc)
{
    output_say("%s: version %" JSON_INTEGER_FORMAT ", its image as its tag is now",
               args->rest.items[0], number_of(doc, "version"));
}

int cli_refresh(const struct cli_args *args)
{
    return run(args, refresh, tell_refreshed);
}
