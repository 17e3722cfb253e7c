/* registry_login.c - login, list, logout: the user's logins for image registries.  A password comes
 * from the terminal or standard input, never from an argument, and nothing here can show one. */
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/prompt.h"

#define PASSWORD_MAX 4096

static const char *username;

const struct cli_option cli_registry_options[] = {
    {"username", CLI_TEXT, &username, "NAME", "the account at that registry; needed", 0, 0, NULL},
    CLI_OPTION_END,
};

static faas_code read_password(char password[PASSWORD_MAX + 1], faas_err *err)
{
    const struct prompt prompt = {.what = "password",
                                  .question = "Password at the registry",
                                  .instead = "write it to standard input",
                                  .max = PASSWORD_MAX};

    return isatty(STDIN_FILENO) ? prompt_terminal(&prompt, password, err)
                                : prompt_line(&prompt, STDIN_FILENO, password, err);
}

static faas_code make_body(json_t **out_doc, faas_err *err)
{
    char password[PASSWORD_MAX + 1] = "";
    faas_code code = read_password(password, err);

    if (code == FAAS_OK) {
        *out_doc = json_pack("{s:s, s:s}", "username", username, "password", password);
        if (*out_doc == NULL)
            code = faas_fail(err, FAAS_INVALID, "user name and password must be UTF-8");
    }
    sodium_memzero(password, sizeof password);
    return code;
}

static faas_code login(const struct cli_args *args, struct client_answer *answer,
                       json_t **out_record, faas_err *err)
{
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *path = client_path("/v1/registries/", args->rest.items[0]);
    struct client_request request = {.method = "PUT", .path = path};
    faas_code code;

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    if (username == NULL)
        return faas_fail(err, FAAS_INVALID, "say whose login it is: --username NAME");
    FAAS_TRY(client_open(&args->common, &client, err));
    FAAS_TRY(client_require_login(client, err)); /* before anybody types a password in vain */
    FAAS_TRY(make_body(&doc, err));
    code = client_exchange(client, &request, doc, answer, out_record, err);
    faas_json_wipe(doc);
    return code;
}

int cli_registry_login(const struct cli_args *args)
{
    FAAS_AUTO(json_t) *record = NULL;
    struct client_answer answer = {0};
    faas_err err = {0};
    int status = CLI_OK;

    if (login(args, &answer, &record, &err) != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    else if (args->common.is_json)
        output_json(record, stdout);
    else
        output_say("%s the login for %s; the next image from there is pulled with it",
                   json_is_true(json_object_get(record, "replaced")) ? "replaced" : "kept",
                   args->rest.items[0]);
    client_answer_done(&answer);
    return status;
}

static faas_code fetch(cli_client *client, json_t *items, struct client_answer *answer,
                       faas_err *err)
{
    return client_items(client, "/v1/registries", items, answer, err);
}

static void add_row(output_table *table, const json_t *item)
{
    output_table_add(table, json_string_value(json_object_get(item, "registry")));
    output_table_add(table, json_string_value(json_object_get(item, "created_at")));
    output_table_add(table, json_string_value(json_object_get(item, "updated_at")));
}

static faas_code print(const json_t *items, faas_err *err)
{
    static const struct output_column columns[] = {
        {"REGISTRY", true, false}, {"CREATED", false, false}, {"UPDATED", false, false}};

    return output_items(columns, FAAS_ARRAY_LEN(columns), items, add_row, err);
}

int cli_registry_list(const struct cli_args *args)
{
    return client_list(args, fetch, print, "no logins; faas registry login HOST keeps one");
}

int cli_registry_logout(const struct cli_args *args)
{
    return client_remove(args, "/v1/registries/");
}
