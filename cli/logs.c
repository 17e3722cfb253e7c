/* logs.c - `faas logs`: what calls wrote to standard error. */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "cli/calls.h"
#include "cli/file.h"

#define LIMIT     20
#define LIMIT_MAX 10000
#define ROUND_MAX 1000  /* calls looked at in one round of following */
#define ROUND_S   1     /* between rounds */
#define LATE_MS   60000 /* a record may come so much later than one of a later call */

static const char *since, *call_id;
static int64_t limit = LIMIT;
static bool is_follow;

const struct cli_option cli_logs_options[] = {
    {"f", CLI_FLAG, &is_follow, NULL, "go on with calls that end from now on", 0, 0, NULL},
    {"follow", CLI_FLAG, &is_follow, NULL, "the same", 0, 0, NULL},
    {"since", CLI_TEXT, &since, "TIME", "only calls that came then or later, or so long ago: 10m",
     0, 0, NULL},
    {"limit", CLI_INT, &limit, "N", "the newest N calls (20)", 1, LIMIT_MAX, NULL},
    {"call", CLI_TEXT, &call_id, "ID", "only this call", 0, 0, NULL},
    CLI_OPTION_END,
};

/* ---- one call ---- */

static faas_code fetch_log(cli_client *client, const char *id, struct client_answer *answer,
                           faas_err *err)
{
    FAAS_AUTO(char) *of_call = client_path("/v1/calls/", id);
    FAAS_AUTO(char) *path = of_call != NULL ? file_path("%s/logs", of_call) : NULL;
    struct client_request request = {.method = "GET", .path = path};

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return client_send(client, &request, answer, err);
}

/* What a function wrote is hostile to terminals. */
static faas_code print_log(const struct client_answer *answer, faas_err *err)
{
    FAAS_AUTO(char) *clean = output_clean(answer->body != NULL ? answer->body : "", true);

    if (clean == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    if (isatty(STDOUT_FILENO) == 1)
        (void)fputs(clean, stdout);
    else if (answer->len > 0)
        (void)fwrite(answer->body, 1, answer->len, stdout); /* output_flush() tells of a failure */
    return FAAS_OK;
}

static faas_code print_log_json(const struct client_answer *answer, faas_err *err)
{
    FAAS_AUTO(char) *clean = output_clean(answer->body != NULL ? answer->body : "", true);
    FAAS_AUTO(json_t) *doc = clean != NULL ? json_pack("{s:s}", "stderr", clean) : NULL;

    if (doc == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    output_json(doc, stdout);
    return FAAS_OK;
}

static faas_code show_one(cli_client *client, const char *id, bool is_json,
                          struct client_answer *answer, faas_err *err)
{
    FAAS_TRY(fetch_log(client, id, answer, err));
    return is_json ? print_log_json(answer, err) : print_log(answer, err);
}

/* ---- the calls of a function ---- */

struct tail {
    cli_client *client;
    const char *function;
    bool is_json;
    json_t *shown;              /* owned; ids, those that may come again */
    char first[FAAS_UUID_TEXT]; /* calls before it are none of ours; "": not known */
    char from[FAAS_TIME_TEXT];  /* of the next round; "": as the options say */
    struct client_answer *answer;
};

static faas_code print_line(const json_t *record, const char *log, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = faas_json_copy(record);
    FAAS_AUTO(char) *clean = output_clean(log, true), *text = NULL;

    if (doc == NULL || clean == NULL ||
        json_object_set_new(doc, "stderr", json_string(clean)) != 0 ||
        (text = faas_json_text(doc, NULL)) == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    (void)puts(text);
    return FAAS_OK;
}

static void print_head(const json_t *record)
{
    const char *status = calls_text(record, "status");
    const json_t *run = json_object_get(json_object_get(record, "times_ms"), "run");

    output_say("== %s %s %s %.1fms", calls_text(record, "queued_at"), calls_text(record, "id"),
               status, json_number_value(run));
}

static faas_code show(struct tail *tail, const json_t *record, faas_err *err)
{
    struct client_answer *answer = tail->answer;

    client_answer_done(answer);
    if (json_integer_value(json_object_get(record, "log_bytes")) > 0)
        FAAS_TRY(fetch_log(tail->client, calls_text(record, "id"), answer, err));
    if (tail->is_json)
        return print_line(record, answer->body != NULL ? answer->body : "", err);
    print_head(record);
    FAAS_TRY(print_log(answer, err));
    if (answer->len > 0 && answer->body[answer->len - 1] != '\n')
        (void)putchar('\n');
    return FAAS_OK;
}

/* Records that may still come are those of open calls and of calls about as young as the newest. */
static void plan_next(struct tail *tail, const json_t *items)
{
    int64_t from = calls_came_ms(calls_text(json_array_get(items, 0), "id")) - LATE_MS;
    const json_t *record;
    const char *id;
    json_t *known;
    void *next;
    size_t i;

    json_array_foreach (items, i, record) {
        int64_t came = calls_came_ms(calls_text(record, "id"));

        if (calls_is_open(calls_text(record, "status")) && came < from)
            from = came;
    }
    if (from <= 0)
        return;
    faas_time_format(from, tail->from);
    json_object_foreach_safe(tail->shown, next, id, known) if (calls_came_ms(id) < from)(void)
        json_object_del(tail->shown, id);
}

static faas_code show_new(struct tail *tail, const json_t *items, faas_err *err)
{
    for (size_t i = json_array_size(items); i-- > 0;) {
        const json_t *record = json_array_get(items, i);
        const char *id = calls_text(record, "id");

        if (strcmp(id, tail->first) < 0 || calls_is_open(calls_text(record, "status")) ||
            json_object_get(tail->shown, id) != NULL)
            continue;
        FAAS_TRY(show(tail, record, err));
        if (json_object_set_new(tail->shown, id, json_true()) != 0)
            return faas_fail(err, FAAS_INTERNAL, "out of memory");
    }
    return FAAS_OK;
}

static faas_code round_of(struct tail *tail, faas_err *err)
{
    bool is_first = tail->from[0] == '\0';
    const struct calls_filter filter = {.function = tail->function,
                                        .since = is_first ? since : tail->from};
    FAAS_AUTO(json_t) *items = json_array();

    client_answer_done(tail->answer);
    FAAS_TRY(
        calls_fetch(tail->client, &filter, is_first ? limit : ROUND_MAX, items, tail->answer, err));
    if (is_first && tail->first[0] == '\0' && (int64_t)json_array_size(items) >= limit)
        (void)snprintf(tail->first, sizeof tail->first, "%s",
                       calls_text(json_array_get(items, (size_t)limit - 1), "id"));
    FAAS_TRY(show_new(tail, items, err));
    plan_next(tail, items);
    if (is_first && !is_follow && json_array_size(items) == 0)
        output_note("no such calls of %s; `faas list` shows the functions there are",
                    tail->function);
    return output_flush() ? FAAS_OK
                          : faas_fail(err, FAAS_INTERNAL, "standard output cannot be written");
}

static bool may_pass(faas_code code)
{
    return code == FAAS_UNAVAILABLE || code == FAAS_BUSY || code == FAAS_TIMEOUT;
}

static faas_code show_function(struct tail *tail, faas_err *err)
{
    faas_code code = round_of(tail, err);

    while (is_follow && (code == FAAS_OK || may_pass(code))) {
        if (code != FAAS_OK)
            output_note("%s; going on", err->msg);
        (void)sleep(ROUND_S);
        *err = (faas_err){.code = FAAS_OK};
        code = round_of(tail, err);
    }
    return code;
}

static faas_code run(const struct cli_args *args, struct client_answer *answer, faas_err *err)
{
    const char *name = args->rest.items[0], *id = call_id != NULL ? call_id : name;
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(json_t) *shown = json_object();
    struct tail tail = {
        .function = name, .is_json = args->common.is_json, .shown = shown, .answer = answer};

    if (call_id != NULL && is_follow)
        return faas_fail(err, FAAS_INVALID, "--call: a call's log is whole; leave -f out");
    FAAS_TRY(client_open(&args->common, &client, err));
    tail.client = client;
    if (call_id != NULL || faas_uuid_is(name))
        return show_one(client, id, args->common.is_json, answer, err);
    return show_function(&tail, err);
}

int cli_logs(const struct cli_args *args)
{
    struct client_answer answer = {0};
    faas_err err = {0};
    int status = CLI_OK;

    if (run(args, &answer, &err) != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    client_answer_done(&answer);
    return status;
}
