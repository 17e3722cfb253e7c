/* status.c - `faas status`: what runs in a data directory, by asking what runs; elsewhere what the
 * platform's heartbeats tell. */
#include <curl/curl.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/datadir.h"
#include "cli/file.h"
#include "cli/instances.h"
#include "cli/output.h"
#include "cli/status.h"
#include "cli/verb.h"

#define ASK_MS 1000

static const char *data;

const struct cli_option cli_status_options[] = {
    {"data", CLI_TEXT, &data, "DIR", "as given to `faas up` (~/.local/share/faas)", 0, 0, NULL},
    CLI_OPTION_END,
};

/* ---- asking ---- */

static size_t discard(char *text, size_t size, size_t count, void *arg)
{
    (void)text;
    (void)arg;
    return size * count;
}

/* "ok", "HTTP 503" or "no answer". */
static void ask_health(const char *url, char *out_text, size_t room)
{
    CURL *curl = curl_easy_init();
    long status = 0;

    snprintf(out_text, room, "no answer");
    if (curl == NULL)
        return;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)ASK_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
    if (curl_easy_perform(curl) == CURLE_OK &&
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK)
        snprintf(out_text, room, status == 200 ? "ok" : "HTTP %ld", status);
    curl_easy_cleanup(curl);
}

/* Adds "health" to a process that answers HTTP. */
static void add_health(json_t *process)
{
    const char *url = json_string_value(json_object_get(process, "url"));
    json_int_t monitor = json_integer_value(json_object_get(process, "monitor_port"));
    const char *health_path = json_string_value(json_object_get(process, "health_path"));
    FAAS_AUTO(char) *full = NULL;
    char health[32];

    if (url != NULL)
        full = file_path("%s%s", url, health_path != NULL ? health_path : "/healthz");
    else if (monitor > 0)
        full = file_path("http://127.0.0.1:%d/healthz", (int)monitor);
    if (full == NULL)
        return;
    ask_health(full, health, sizeof health);
    json_object_set_new(process, "health", json_string(health));
}

/* ---- reading ---- */

faas_code status_read(const char *path, json_t **out_state, faas_err *err)
{
    FAAS_AUTO(char) *file = file_path("%s/state.json", path);
    FAAS_AUTO(json_t) *state = NULL;
    json_t *process;
    pid_t pid;
    size_t i;

    if (file == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    FAAS_TRY(datadir_holder(path, &pid, err));
    if (pid == 0)
        return faas_fail(err, FAAS_NOT_FOUND, "nothing runs in %s", path);
    FAAS_TRY(file_read_json(file, &state, err));
    if (state == NULL)
        return faas_fail(err, FAAS_UNAVAILABLE, "process %d is starting or stopping in %s",
                         (int)pid, path);
    json_array_foreach (json_object_get(state, "processes"), i, process)
        add_health(process);
    *out_state = FAAS_STEAL(state);
    return FAAS_OK;
}

/* ---- showing ---- */

static enum output_colour colour_of(const char *text)
{
    if (text == NULL)
        return OUTPUT_PLAIN;
    if (strcmp(text, "running") == 0 || strcmp(text, "ok") == 0)
        return OUTPUT_GREEN;
    return strcmp(text, "restarting") == 0 ? OUTPUT_YELLOW : OUTPUT_RED;
}

/* Since an RFC 3339 instant; "" when there is none. */
static void age_text(const char *since, char *out_text, size_t room)
{
    struct tm parts = {0};

    out_text[0] = '\0';
    if (since == NULL || strptime(since, "%Y-%m-%dT%H:%M:%S", &parts) == NULL)
        return;
    output_age(faas_wall_ms() / 1000 - (int64_t)timegm(&parts), out_text, room);
}

static void add_row(output_table *table, const json_t *process)
{
    const char *state = json_string_value(json_object_get(process, "state"));
    const char *health = json_string_value(json_object_get(process, "health"));
    const json_t *pid = json_object_get(process, "pid");
    json_int_t monitor = json_integer_value(json_object_get(process, "monitor_port"));
    char age[16];

    age_text(json_string_value(json_object_get(process, "since")), age, sizeof age);
    output_table_add(table, json_string_value(json_object_get(process, "name")));
    output_table_add_coloured(table, state, colour_of(state));
    output_table_add_coloured(table, health, colour_of(health));
    if (json_is_integer(pid))
        output_table_addf(table, "%" JSON_INTEGER_FORMAT, json_integer_value(pid));
    else
        output_table_add(table, NULL);
    output_table_addf(table, "%" JSON_INTEGER_FORMAT,
                      json_integer_value(json_object_get(process, "restarts")));
    output_table_add(table, age);
    output_table_add(table, json_string_value(json_object_get(process, "last_exit")));
    if (monitor > 0)
        output_table_addf(table, "http://127.0.0.1:%d", (int)monitor);
    else
        output_table_add(table, json_string_value(json_object_get(process, "url")));
}

static faas_code show(const json_t *state, faas_err *err)
{
    static const struct output_column columns[] = {
        {"PROCESS", false, false},  {"STATE", false, false},   {"HEALTH", false, false},
        {"PID", false, true},       {"RESTARTS", false, true}, {"FOR", false, true},
        {"LAST EXIT", true, false}, {"HTTP", true, false},
    };
    FAAS_AUTO(output_table) *table = output_table_new(columns, FAAS_ARRAY_LEN(columns));
    const char *url = json_string_value(json_object_get(state, "url"));
    const char *path = json_string_value(json_object_get(state, "data"));
    const char *runtime = json_string_value(json_object_get(state, "runtime"));
    json_int_t servers = json_integer_value(json_object_get(state, "nats_servers"));
    const json_t *process;
    size_t i;

    if (table == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    output_say("%s, data in %s, %s, runtime %s, supervisor %" JSON_INTEGER_FORMAT,
               url != NULL ? url : "?", path != NULL ? path : "?",
               json_is_true(json_object_get(state, "ready")) ? "ready" : "not ready yet",
               runtime != NULL ? runtime : "?", json_integer_value(json_object_get(state, "pid")));
    json_array_foreach (json_object_get(state, "processes"), i, process)
        add_row(table, process);
    FAAS_TRY(
        output_table_print(table, output_width(stdout), output_is_coloured(stdout), stdout, err));
    if (servers == 1)
        output_say("One NATS server: writes wait while it restarts.");
    else
        output_say("%" JSON_INTEGER_FORMAT
                   " NATS servers survive the death of %" JSON_INTEGER_FORMAT
                   ", but they share this machine's disk: one disk stays one disk.",
                   servers, (servers - 1) / 2);
    return FAAS_OK;
}

/* ---- a platform elsewhere ---- */

static int show_instances(const struct cli_args *args, const faas_err *not_here)
{
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &client, &err);
    int status = CLI_OK;

    if (code == FAAS_OK && not_here != NULL && client_require_login(client, &err) != FAAS_OK) {
        output_error(not_here, args->common.is_json, NULL);
        return CLI_NOT_FOUND;
    }
    if (code == FAAS_OK)
        code = instances_fetch(client, &doc, &answer, &err);
    if (code == FAAS_OK && args->common.is_json)
        output_json(doc, stdout);
    else if (code == FAAS_OK)
        code = instances_print(doc, &err);
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    client_answer_done(&answer);
    return status;
}

int cli_status(const struct cli_args *args)
{
    FAAS_AUTO(char) *path = NULL;
    FAAS_AUTO(json_t) *state = NULL;
    faas_err err = {0};
    faas_code code;

    if (data == NULL && (args->common.server != NULL || getenv("FAAS_URL") != NULL))
        return show_instances(args, NULL);
    code = datadir_path(data, &path, &err);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (code == FAAS_OK)
        code = status_read(path, &state, &err);
    if (code == FAAS_NOT_FOUND && data == NULL)
        return show_instances(args, &err);
    if (code == FAAS_OK && args->common.is_json)
        output_json(state, stdout);
    else if (code == FAAS_OK)
        code = show(state, &err);
    if (code == FAAS_OK)
        return CLI_OK;
    output_error(&err, args->common.is_json, NULL);
    if (code == FAAS_NOT_FOUND)
        return CLI_NOT_FOUND;
    return code == FAAS_INVALID ? CLI_USAGE : CLI_UNAVAILABLE;
}
