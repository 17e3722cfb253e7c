#include "cli/stack_deploy.h"

#include <errno.h>
#include <string.h>

#include "cli/client.h"
#include "cli/file.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/stack_diff.h"
#include "cli/stack_job.h"

#define PRUNED_MAX 10000 /* functions looked through for ones to remove */

struct deploying {
    const struct stack_options *options;
    cli_client *client;
    struct stack stack;
    struct stack_jobs jobs;
    struct client_answer answer; /* of the last request */
};

static faas_code no_memory(faas_err *err)
{
    return faas_fail_sys(err, ENOMEM, "stack");
}

/* The login is not a file's to give away. */
static const char *variable(const char *name)
{
    return strcmp(name, "FAAS_TOKEN") != 0 ? getenv(name) : NULL;
}

static faas_code read_file(const struct stack_options *options, struct stack *out_stack,
                           faas_err *err)
{
    struct stack_source source = {.file = options->file, .name = options->name, .lookup = variable};
    FAAS_AUTO(char) *text = NULL;

    FAAS_TRY(file_read(options->file, &text, &source.len, err));
    if (text == NULL)
        return faas_fail(err, FAAS_INVALID, "%s: there is no such file", options->file);
    source.text = text;
    return stack_read(&source, out_stack, err);
}

/* One exchange about a function; the answer of the one before is let go. */
static faas_code ask(struct deploying *deploying, struct client_request *request,
                     const json_t *body, json_t **out_doc, faas_err *err)
{
    client_answer_done(&deploying->answer);
    return client_exchange(deploying->client, request, body, &deploying->answer, out_doc, err);
}

/* ---- comparing ---- */

/* After these no other function will do better. */
static bool is_hopeless(const struct deploying *deploying, faas_code code)
{
    return code == FAAS_UNAUTHENTICATED || (code != FAAS_OK && deploying->answer.status == 0);
}

static faas_code check_owner(const struct deploying *deploying, const json_t *record, faas_err *err)
{
    const json_t *labels = json_object_get(record, "labels");
    const char *owner = json_string_value(json_object_get(labels, STACK_LABEL));
    const char *name = deploying->stack.name;

    if (owner != NULL && (name == NULL || strcmp(owner, name) != 0))
        return faas_fail(err, FAAS_CONFLICT,
                         "it belongs to the stack %.63s, by its label " STACK_LABEL
                         ": give it another name here, or remove it there",
                         owner);
    return FAAS_OK;
}

static faas_code new_changes(struct stack_job *job, faas_err *err)
{
    job->change = STACK_NEW;
    job->changes = json_pack("[{s:s,s:n,s:O}]", "field", "image", "now", "wanted",
                             json_object_get(job->function->body, "payload"));
    return job->changes != NULL ? FAAS_OK : no_memory(err);
}

static faas_code compare(struct deploying *deploying, struct stack_job *job, faas_err *err)
{
    FAAS_AUTO(char) *path = client_path("/v1/functions/", job->name);
    struct client_request request = {.method = "GET", .path = path};
    faas_code code;

    if (path == NULL)
        return no_memory(err);
    code = ask(deploying, &request, NULL, &job->record, err);
    if (code == FAAS_NOT_FOUND && deploying->answer.problem != NULL)
        return new_changes(job, err);
    FAAS_TRY(code);
    FAAS_TRY(check_owner(deploying, job->record, err));
    FAAS_TRY(stack_diff(job->function->body, job->record, &job->changes, &job->patch, err));
    job->version = json_integer_value(json_object_get(job->record, "version"));
    job->change = json_array_size(job->changes) > 0 ? STACK_CHANGED : STACK_SAME;
    return FAAS_OK;
}

static bool is_chosen(const struct cli_list *only, const char *name)
{
    for (size_t i = 0; i < only->count; i++)
        if (strcmp(only->items[i], name) == 0)
            return true;
    return only->count == 0;
}

static faas_code compare_all(struct deploying *deploying, faas_err *err)
{
    for (size_t i = 0; i < deploying->stack.count; i++) {
        const struct stack_function *function = &deploying->stack.functions[i];
        struct stack_job *job;
        faas_code code;

        if (!is_chosen(&deploying->options->only, function->name))
            continue;
        FAAS_TRY(stack_jobs_add(&deploying->jobs, function->name, function, &job, err));
        code = compare(deploying, job, &job->err);
        if (is_hopeless(deploying, code)) {
            *err = job->err;
            return code;
        }
        if (code != FAAS_OK)
            job->outcome = STACK_FAILED;
    }
    return FAAS_OK;
}

/* ---- what an earlier deploy left ---- */

static bool is_of_stack(const struct deploying *deploying, const json_t *record)
{
    const json_t *labels = json_object_get(record, "labels");
    const char *owner = json_string_value(json_object_get(labels, STACK_LABEL));

    return owner != NULL && strcmp(owner, deploying->stack.name) == 0;
}

static bool is_in_file(const struct deploying *deploying, const char *name)
{
    for (size_t i = 0; i < deploying->stack.count; i++)
        if (strcmp(deploying->stack.functions[i].name, name) == 0)
            return true;
    return false;
}

static faas_code find_gone(struct deploying *deploying, faas_err *err)
{
    FAAS_AUTO(json_t) *items = json_array();
    const json_t *item;
    size_t i;

    if (items == NULL)
        return no_memory(err);
    FAAS_TRY(client_pages(deploying->client, "/v1/functions", "", PRUNED_MAX, "functions", items,
                          &deploying->answer, err));
    json_array_foreach (items, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        struct stack_job *job;

        if (name == NULL || !is_of_stack(deploying, item) || is_in_file(deploying, name))
            continue;
        FAAS_TRY(stack_jobs_add(&deploying->jobs, name, NULL, &job, err));
        job->change = STACK_GONE;
    }
    return FAAS_OK;
}

/* ---- changing ---- */

static faas_code create(struct deploying *deploying, struct stack_job *job, faas_err *err)
{
    struct client_request request = {.method = "POST", .path = "/v1/functions"};
    FAAS_AUTO(json_t) *body = faas_json_copy(job->function->body);
    FAAS_AUTO(json_t) *record = NULL;

    if (body == NULL || json_object_set_new(body, "name", json_string(job->name)) != 0)
        return no_memory(err);
    FAAS_TRY(ask(deploying, &request, body, &record, err));
    job->version = json_integer_value(json_object_get(record, "version"));
    job->outcome = STACK_CREATED;
    return FAAS_OK;
}

/* The image is named in every change, so that its tag is looked up again. */
static faas_code update(struct deploying *deploying, struct stack_job *job, faas_err *err)
{
    FAAS_AUTO(char) *path = client_path("/v1/functions/", job->name);
    struct client_request request = {.method = "PATCH", .path = path};
    FAAS_AUTO(json_t) *record = NULL;

    if (path == NULL ||
        json_object_set(job->patch, "payload", json_object_get(job->function->body, "payload")) !=
            0 ||
        json_object_set_new(job->patch, "version", json_integer(job->version)) != 0)
        return no_memory(err);
    FAAS_TRY(ask(deploying, &request, job->patch, &record, err));
    job->version = json_integer_value(json_object_get(record, "version"));
    job->outcome = STACK_UPDATED;
    return FAAS_OK;
}

static faas_code refresh(struct deploying *deploying, struct stack_job *job, faas_err *err)
{
    FAAS_AUTO(char) *base = client_path("/v1/functions/", job->name);
    FAAS_AUTO(char) *path = base != NULL ? file_path("%s/refresh", base) : NULL;
    struct client_request request = {.method = "POST", .path = path};
    FAAS_AUTO(json_t) *record = NULL;
    json_int_t version;

    if (path == NULL)
        return no_memory(err);
    FAAS_TRY(ask(deploying, &request, NULL, &record, err));
    version = json_integer_value(json_object_get(record, "version"));
    job->outcome = version != job->version ? STACK_REBUILT : STACK_UNCHANGED;
    job->version = version;
    return FAAS_OK;
}

/* Looks once more, at the record itself: the list may be older than a label. */
static faas_code take_away(struct deploying *deploying, struct stack_job *job, faas_err *err)
{
    FAAS_AUTO(char) *path = client_path("/v1/functions/", job->name);
    struct client_request request = {.method = "GET", .path = path};

    if (stack_jobs_have(&deploying->jobs, STACK_FAILED)) {
        job->outcome = STACK_SKIPPED;
        return FAAS_OK;
    }
    if (path == NULL)
        return no_memory(err);
    FAAS_TRY(ask(deploying, &request, NULL, &job->record, err));
    if (!is_of_stack(deploying, job->record))
        return faas_fail(err, FAAS_CONFLICT, "not removed: it no longer belongs to the stack %.63s",
                         deploying->stack.name);
    request.method = "DELETE";
    FAAS_TRY(ask(deploying, &request, NULL, NULL, err));
    job->outcome = STACK_REMOVED;
    return FAAS_OK;
}

static faas_code apply(struct deploying *deploying, struct stack_job *job, faas_err *err)
{
    switch (job->change) {
    case STACK_NEW:
        return create(deploying, job, err);
    case STACK_CHANGED:
        return update(deploying, job, err);
    case STACK_SAME:
        return refresh(deploying, job, err);
    case STACK_GONE:
        return take_away(deploying, job, err);
    default:
        return job->err.code;
    }
}

static void apply_all(struct deploying *deploying, bool is_json)
{
    for (size_t i = 0; i < deploying->jobs.count; i++) {
        struct stack_job *job = &deploying->jobs.items[i];
        const struct progress_of of = {"deploying", job->name, i, deploying->jobs.count};
        struct progress *progress = progress_begin(&of);

        if (job->outcome == STACK_PENDING && apply(deploying, job, &job->err) != FAAS_OK)
            job->outcome = STACK_FAILED;
        progress_end(progress);
        if (!is_json)
            stack_report_outcome(job);
    }
}

/* ---- the verb ---- */

static faas_code check_options(const struct deploying *deploying, faas_err *err)
{
    const struct stack_options *options = deploying->options;

    if (options->prune && options->only.count > 0)
        return faas_fail(err, FAAS_INVALID, "--prune looks at the whole stack: leave out --only");
    if (options->prune && deploying->stack.name == NULL)
        return faas_fail(err, FAAS_INVALID,
                         "--prune needs the name of the stack: write stack: NAME at the top of the "
                         "file, or give --stack NAME");
    for (size_t i = 0; i < options->only.count; i++)
        if (!is_in_file(deploying, options->only.items[i]))
            return faas_fail(err, FAAS_INVALID, "--only %.63s: the file has no such function",
                             options->only.items[i]);
    return FAAS_OK;
}

static faas_code plan(struct deploying *deploying, const struct cli_args *args, faas_err *err)
{
    const json_t *warning;
    size_t i;

    FAAS_TRY(read_file(deploying->options, &deploying->stack, err));
    FAAS_TRY(check_options(deploying, err));
    if (!args->common.is_json)
        json_array_foreach (deploying->stack.warnings, i, warning)
            output_note("warning: %s", json_string_value(warning));
    FAAS_TRY(client_open(&args->common, &deploying->client, err));
    FAAS_TRY(client_require_login(deploying->client, err));
    FAAS_TRY(compare_all(deploying, err));
    return deploying->options->prune ? find_gone(deploying, err) : FAAS_OK;
}

static int failure_of(const struct deploying *deploying)
{
    for (size_t i = 0; i < deploying->jobs.count; i++) {
        int status = client_exit(deploying->jobs.items[i].err.code);

        if (deploying->jobs.items[i].outcome == STACK_FAILED)
            return status > CLI_FUNCTION_FAILED ? status : CLI_USAGE;
    }
    return CLI_OK;
}

/* 0: no difference; 1: there is one; else what went wrong. */
static int dry_status(const struct deploying *deploying)
{
    int failure = failure_of(deploying);

    if (failure != CLI_OK)
        return failure;
    for (size_t i = 0; i < deploying->jobs.count; i++)
        if (deploying->jobs.items[i].change != STACK_SAME)
            return 1;
    return CLI_OK;
}

static void tell_failures(const struct stack_jobs *jobs)
{
    for (size_t i = 0; i < jobs->count; i++)
        if (jobs->items[i].outcome == STACK_FAILED)
            stack_report_outcome(&jobs->items[i]);
}

static faas_code carry_out(struct deploying *deploying, bool is_json, faas_err *err)
{
    bool is_dry = deploying->options->dry_run;

    if (!is_json && deploying->jobs.count > 0)
        FAAS_TRY(stack_report_changes(&deploying->jobs, err));
    if (!is_dry)
        apply_all(deploying, is_json);
    else if (!is_json)
        tell_failures(&deploying->jobs);
    if (is_json)
        return stack_report_json(&deploying->stack, &deploying->jobs, err);
    if (!is_dry)
        stack_report_sum(&deploying->jobs);
    return FAAS_OK;
}

int stack_deploy(const struct cli_args *args, const struct stack_options *options)
{
    struct deploying deploying = {.options = options};
    faas_err err = {0};
    int status;

    if (plan(&deploying, args, &err) != FAAS_OK ||
        carry_out(&deploying, args->common.is_json, &err) != FAAS_OK)
        status = client_report(&err, &deploying.answer, &args->common);
    else if (options->dry_run)
        status = dry_status(&deploying);
    else
        status = stack_jobs_have(&deploying.jobs, STACK_FAILED) ? CLI_FUNCTION_FAILED : CLI_OK;
    client_answer_done(&deploying.answer);
    client_close(deploying.client);
    stack_jobs_done(&deploying.jobs);
    stack_done(&deploying.stack);
    return status;
}
