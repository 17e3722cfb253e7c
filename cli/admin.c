/* admin.c - admin users|user|quota|disable|enable|role|delete, what administrators do with the
 * accounts of others; quota, what anybody sees of their own limits. */
#include <string.h>

#include "base/standing.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/file.h"
#include "cli/output.h"
#include "cli/prompt.h"

#define USERS     "/v1/admin/users"
#define LIMIT_MAX 100000

static int64_t limit = LIMIT_MAX;
static int64_t wanted[FAAS_QUOTA_COUNT];
static bool is_wanted[FAAS_QUOTA_COUNT];
static struct cli_list back;
static bool is_yes;

const struct cli_option cli_admin_users_options[] = {
    {"limit", CLI_INT, &limit, "N", "how many at most (all)", 1, LIMIT_MAX, NULL},
    CLI_OPTION_END,
};

const struct cli_option cli_admin_delete_options[] = {
    {"yes", CLI_FLAG, &is_yes, NULL, "do not ask", 0, 0, NULL},
    CLI_OPTION_END,
};

#define QUOTA(option, quota, help)                                                                 \
    {                                                                                              \
        option, CLI_INT, &wanted[FAAS_QUOTA_##quota], "N", help, 0, (double)FAAS_QUOTA_MAX,        \
            &is_wanted[FAAS_QUOTA_##quota]                                                         \
    }
const struct cli_option cli_admin_quota_options[] = {
    QUOTA("functions", FUNCTIONS, "functions the user may have"),
    QUOTA("concurrency", CONCURRENCY, "calls running and waiting at once"),
    QUOTA("calls-per-minute", CALLS, "calls a minute"),
    QUOTA("queued-bytes", QUEUED_BYTES, "bytes of arguments of queued calls, at each publisher"),
    {"default", CLI_LIST, &back, "QUOTA",
     "the platform's own again: functions, concurrency, calls_per_minute or queued_bytes", 0, 0,
     NULL},
    CLI_OPTION_END,
};

static const char *text_of(const json_t *item, const char *key)
{
    return json_string_value(json_object_get(item, key));
}

/* ---- users ---- */

static faas_code fetch(cli_client *client, json_t *items, struct client_answer *answer,
                       faas_err *err)
{
    return client_pages(client, USERS, "", limit, "users", items, answer, err);
}

static void add_row(output_table *table, const json_t *item)
{
    bool is_disabled = json_is_true(json_object_get(item, "disabled"));

    output_table_add(table, text_of(item, "username"));
    output_table_add(table, text_of(item, "role"));
    output_table_add_coloured(table, is_disabled ? "disabled" : "enabled",
                              is_disabled ? OUTPUT_RED : OUTPUT_PLAIN);
    output_table_add(table, text_of(item, "created_at"));
    output_table_add(table, text_of(item, "id"));
}

static faas_code print_users(const json_t *items, faas_err *err)
{
    static const struct output_column columns[] = {
        {"NAME", true, false},     {"ROLE", false, false}, {"STATE", false, false},
        {"CREATED", false, false}, {"ID", false, false},
    };

    return output_items(columns, FAAS_ARRAY_LEN(columns), items, add_row, err);
}

int cli_admin_users(const struct cli_args *args)
{
    return client_list(args, fetch, print_users, "no users");
}

/* ---- one user ---- */

/* Sends a change (NULL: none), prints the record that comes back. */
static int exchange(const struct cli_args *args, const char *path, const json_t *change)
{
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(json_t) *record = NULL;
    struct client_request request = {.method = change != NULL ? "PATCH" : "GET", .path = path};
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = path != NULL ? client_open(&args->common, &client, &err)
                                  : faas_fail(&err, FAAS_INTERNAL, "out of memory");
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = client_exchange(client, &request, change, &answer, &record, &err);
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    else if (args->common.is_json)
        output_json(record, stdout);
    else
        output_record(record);
    client_answer_done(&answer);
    return status;
}

static int exchange_user(const struct cli_args *args, const json_t *change)
{
    FAAS_AUTO(char) *path = client_path(USERS "/", args->rest.items[0]);

    return exchange(args, path, change);
}

static int complain(const struct cli_args *args, const char *text)
{
    faas_err err = {0};

    (void)faas_fail(&err, FAAS_INVALID, "%s", text);
    output_error(&err, args->common.is_json, NULL);
    return CLI_USAGE;
}

int cli_admin_user(const struct cli_args *args)
{
    return exchange_user(args, NULL);
}

static int set_disabled(const struct cli_args *args, bool is_disabled)
{
    FAAS_AUTO(json_t) *change = json_pack("{s:b}", "disabled", is_disabled);

    return exchange_user(args, change);
}

int cli_admin_disable(const struct cli_args *args)
{
    return set_disabled(args, true);
}

int cli_admin_enable(const struct cli_args *args)
{
    return set_disabled(args, false);
}

int cli_admin_role(const struct cli_args *args)
{
    FAAS_AUTO(json_t) *change = json_pack("{s:s}", "role", args->rest.items[1]);

    return change != NULL ? exchange_user(args, change) : complain(args, "the role is UTF-8");
}

int cli_admin_quota(const struct cli_args *args)
{
    FAAS_AUTO(json_t) *quotas = json_object();
    FAAS_AUTO(json_t) *change = json_pack("{s:O?}", "quotas", quotas);
    bool is_whole = change != NULL;

    for (int i = 0; i < FAAS_QUOTA_COUNT && is_whole; i++)
        is_whole = !is_wanted[i] || json_object_set_new(quotas, faas_quota_name((enum faas_quota)i),
                                                        json_integer(wanted[i])) == 0;
    for (size_t i = 0; i < back.count && is_whole; i++)
        is_whole = json_object_set_new(quotas, back.items[i], json_null()) == 0;
    if (!is_whole)
        return complain(args, "--default: the name of a quota");
    if (json_object_size(quotas) == 0)
        return complain(args, "say which quota: --functions N, --concurrency N, "
                              "--calls-per-minute N, --queued-bytes N or --default QUOTA");
    return exchange_user(args, change);
}

int cli_admin_delete(const struct cli_args *args)
{
    faas_err err = {0};

    if (is_yes || prompt_confirm("The user and all their functions, secrets and keys are deleted "
                                 "for good.",
                                 &err) == FAAS_OK)
        return client_remove(args, USERS "/");
    return complain(args, err.msg);
}

/* ---- one's own ---- */

int cli_quota(const struct cli_args *args)
{
    return exchange(args, "/v1/quota", NULL);
}
