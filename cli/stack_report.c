/* How the work of `faas deploy -f` is told: a table of differences, lines of outcomes, JSON. */
#include <errno.h>
#include <string.h>

#include "cli/output.h"
#include "cli/stack_job.h"

static const struct change_word {
    const char *word;
    enum output_colour colour;
} change_words[] = {
    [STACK_UNKNOWN] = {"unknown", OUTPUT_RED},    [STACK_NEW] = {"new", OUTPUT_GREEN},
    [STACK_CHANGED] = {"changed", OUTPUT_YELLOW}, [STACK_SAME] = {"unchanged", OUTPUT_PLAIN},
    [STACK_GONE] = {"gone", OUTPUT_RED},
};

static const char *const outcome_words[] = {
    [STACK_PENDING] = "pending", [STACK_CREATED] = "created",     [STACK_UPDATED] = "updated",
    [STACK_REBUILT] = "rebuilt", [STACK_UNCHANGED] = "unchanged", [STACK_REMOVED] = "removed",
    [STACK_FAILED] = "failed",   [STACK_SKIPPED] = "skipped",
};

faas_code stack_jobs_add(struct stack_jobs *jobs, const char *name,
                         const struct stack_function *function, struct stack_job **out_job,
                         faas_err *err)
{
    struct stack_job *items = jobs->items;

    if (jobs->count == jobs->room) {
        size_t room = jobs->room > 0 ? jobs->room * 2 : 32;

        items = realloc(jobs->items, room * sizeof *items);
        if (items == NULL)
            return faas_fail_sys(err, errno, "stack");
        jobs->items = items;
        jobs->room = room;
    }
    items[jobs->count] = (struct stack_job){.name = strdup(name), .function = function};
    if (items[jobs->count].name == NULL)
        return faas_fail_sys(err, errno, "stack");
    *out_job = &items[jobs->count++];
    return FAAS_OK;
}

void stack_jobs_done(struct stack_jobs *jobs)
{
    for (size_t i = 0; i < jobs->count; i++) {
        free(jobs->items[i].name);
        json_decref(jobs->items[i].record);
        json_decref(jobs->items[i].changes);
        json_decref(jobs->items[i].patch);
    }
    free(jobs->items);
    *jobs = (struct stack_jobs){0};
}

bool stack_jobs_have(const struct stack_jobs *jobs, enum stack_outcome outcome)
{
    for (size_t i = 0; i < jobs->count; i++)
        if (jobs->items[i].outcome == outcome)
            return true;
    return false;
}

/* ---- differences ---- */

/* Texts as they are, anything else as JSON; the caller frees. */
static char *value_text(const json_t *value)
{
    if (value == NULL || json_is_null(value))
        return strdup("-");
    if (json_is_string(value))
        return strdup(json_string_length(value) > 0 ? json_string_value(value) : "\"\"");
    return faas_json_dump(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6), NULL);
}

static void add_row(output_table *table, const struct stack_job *job, const json_t *change)
{
    FAAS_AUTO(char) *now = value_text(json_object_get(change, "now"));
    FAAS_AUTO(char) *wanted = value_text(json_object_get(change, "wanted"));

    output_table_add(table, job->name);
    output_table_add_coloured(table, change_words[job->change].word,
                              change_words[job->change].colour);
    output_table_add(table, json_string_value(json_object_get(change, "field")));
    output_table_add(table, now);
    output_table_add(table, wanted);
}

static void add_rows(output_table *table, const struct stack_job *job)
{
    const json_t *change;
    size_t i;

    json_array_foreach (job->changes, i, change)
        add_row(table, job, change);
    if (json_array_size(job->changes) == 0)
        add_row(table, job, NULL);
}

faas_code stack_report_changes(const struct stack_jobs *jobs, faas_err *err)
{
    static const struct output_column columns[] = {
        {"FUNCTION", true, false}, {"CHANGE", false, false}, {"FIELD", true, false},
        {"NOW", true, false},      {"WANTED", true, false},
    };
    FAAS_AUTO(output_table) *table = output_table_new(columns, FAAS_ARRAY_LEN(columns));

    if (table == NULL)
        return faas_fail_sys(err, ENOMEM, "table");
    for (size_t i = 0; i < jobs->count; i++)
        add_rows(table, &jobs->items[i]);
    return output_table_print(table, output_width(stdout), output_is_coloured(stdout), stdout, err);
}

/* ---- outcomes ---- */

void stack_report_outcome(const struct stack_job *job)
{
    const char *word = outcome_words[job->outcome];

    switch (job->outcome) {
    case STACK_FAILED:
        fflush(stdout);
        output_note("error: %s: %s", job->name, job->err.msg);
        break;
    case STACK_SKIPPED:
        output_say("%s %s: not removed, since something failed before", word, job->name);
        break;
    case STACK_REMOVED:
        output_say("%s %s", word, job->name);
        break;
    case STACK_REBUILT:
        output_say("%s %s: version %" JSON_INTEGER_FORMAT ", its image is a new one", word,
                   job->name, job->version);
        break;
    default:
        output_say("%s %s: version %" JSON_INTEGER_FORMAT, word, job->name, job->version);
    }
    fflush(stdout);
}

void stack_report_sum(const struct stack_jobs *jobs)
{
    char text[256] = "";
    size_t len = 0;

    for (size_t word = STACK_CREATED; word < FAAS_ARRAY_LEN(outcome_words); word++) {
        size_t count = 0;

        for (size_t i = 0; i < jobs->count; i++)
            count += jobs->items[i].outcome == word;
        if (count > 0)
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%zu %s", len > 0 ? ", " : "",
                                    count, outcome_words[word]);
    }
    output_say("%s", len > 0 ? text : "there is nothing to do");
}

/* ---- JSON ---- */

static json_t *job_json(const struct stack_job *job)
{
    json_t *doc =
        json_pack("{s:s,s:s,s:O?,s:s}", "name", job->name, "change", change_words[job->change].word,
                  "fields", job->changes, "outcome", outcome_words[job->outcome]);

    if (job->changes == NULL)
        json_object_set_new(doc, "fields", json_array());
    if (job->version > 0)
        json_object_set_new(doc, "version", json_integer(job->version));
    if (job->outcome == STACK_FAILED)
        json_object_set_new(
            doc, "error",
            json_pack("{s:s,s:s}", "code", faas_code_slug(job->err.code), "detail", job->err.msg));
    return doc;
}

faas_code stack_report_json(const struct stack *stack, const struct stack_jobs *jobs, faas_err *err)
{
    FAAS_AUTO(json_t) *list = json_array();
    FAAS_AUTO(json_t) *doc = NULL;

    for (size_t i = 0; i < jobs->count; i++)
        if (json_array_append_new(list, job_json(&jobs->items[i])) != 0)
            return faas_fail_sys(err, ENOMEM, "report");
    doc = json_pack("{s:s?,s:O,s:O}", "stack", stack->name, "functions", list, "warnings",
                    stack->warnings);
    if (doc == NULL)
        return faas_fail_sys(err, ENOMEM, "report");
    output_json(doc, stdout);
    return FAAS_OK;
}
