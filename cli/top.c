/* top.c - `faas top`: what the functions are doing, from the records of their calls. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/calls.h"
#include "cli/histogram.h"

#define CALLS_MAX   2000 /* of the time looked back */
#define RUNNING_MAX 1000
#define CLEAR       "\033[H\033[2J"

static int64_t window_s = 60, every_s = 2;
static bool is_once;

const struct cli_option cli_top_options[] = {
    {"window-s", CLI_INT, &window_s, "N", "how far to look back (60)", 1, 86400, NULL},
    {"every-s", CLI_INT, &every_s, "N", "how often, on a terminal (2)", 1, 3600, NULL},
    {"once", CLI_FLAG, &is_once, NULL, "print it once, as elsewhere than on a terminal", 0, 0,
     NULL},
    CLI_OPTION_END,
};

struct top {
    json_t *calls, *open; /* owned: records of the time looked back; of calls that have not ended */
    double seconds;       /* looked back */
    uint64_t *times;      /* owned; room for one of each call */
};

static void top_done(struct top *top)
{
    json_decref(top->calls);
    json_decref(top->open);
    free(top->times);
}

/* ---- asking ---- */

static faas_code fetch_open(struct top *top, cli_client *client, const char *status,
                            struct client_answer *answer, faas_err *err)
{
    const struct calls_filter filter = {.status = status};
    FAAS_AUTO(json_t) *items = json_array();

    client_answer_done(answer);
    FAAS_TRY(calls_fetch(client, &filter, RUNNING_MAX, items, answer, err));
    return json_array_extend(top->open, items) == 0
               ? FAAS_OK
               : faas_fail(err, FAAS_INTERNAL, "out of memory");
}

static faas_code fetch(struct top *top, cli_client *client, struct client_answer *answer,
                       faas_err *err)
{
    char since[FAAS_TIME_TEXT];
    const struct calls_filter filter = {.since = since};

    faas_time_format(faas_wall_ms() - window_s * 1000, since);
    client_answer_done(answer);
    FAAS_TRY(calls_fetch(client, &filter, CALLS_MAX, top->calls, answer, err));
    FAAS_TRY(fetch_open(top, client, "running", answer, err));
    FAAS_TRY(fetch_open(top, client, "queued", answer, err));
    top->seconds = (double)window_s;
    if (json_array_size(top->calls) >= CALLS_MAX) { /* there are more: as far as these go back */
        const json_t *last = json_array_get(top->calls, CALLS_MAX - 1);

        top->seconds =
            (double)(faas_wall_ms() - calls_came_ms(calls_text(last, "id"))) / 1000.0 + 0.001;
    }
    return FAAS_OK;
}

/* ---- counting ---- */

static uint64_t took_ns(const json_t *record)
{
    const json_t *times = json_object_get(record, "times_ms");
    double ms = json_number_value(json_object_get(times, "place")) +
                json_number_value(json_object_get(times, "start")) +
                json_number_value(json_object_get(times, "run"));

    return ms > 0 ? (uint64_t)(ms * (double)FAAS_MS_NS) : 0;
}

static bool is_of(const json_t *record, const char *name)
{
    return strcmp(calls_text(record, "function"), name) == 0;
}

static json_t *quantile(const uint64_t *times, size_t count, double percent)
{
    return count == 0 ? json_null()
                      : json_real((double)histogram_percentile(times, count, percent) /
                                  (double)FAAS_MS_NS);
}

static json_int_t open_of(const struct top *top, const char *name, const char *status)
{
    json_int_t count = 0;
    const json_t *record;
    size_t i;

    json_array_foreach (top->open, i, record)
        count += is_of(record, name) && strcmp(calls_text(record, "status"), status) == 0;
    return count;
}

/* A row; NULL only without memory. */
static json_t *count(const struct top *top, const char *name)
{
    json_int_t calls = 0, failed = 0;
    size_t ran = 0, i;
    const json_t *record;

    json_array_foreach (top->calls, i, record) {
        const char *status = calls_text(record, "status");

        if (!is_of(record, name) || calls_is_open(status))
            continue;
        calls++;
        failed += strcmp(status, "succeeded") != 0;
        if (json_object_get(record, "started_at") != NULL)
            top->times[ran++] = took_ns(record);
    }
    histogram_sort(top->times, ran);
    return json_pack("{s:s, s:f, s:I, s:I, s:I, s:I, s:o, s:o}", "function", name, "calls_per_s",
                     (double)calls / top->seconds, "calls", calls, "errors", failed, "running",
                     open_of(top, name, "running"), "queued", open_of(top, name, "queued"),
                     "p50_ms", quantile(top->times, ran, 50), "p99_ms",
                     quantile(top->times, ran, 99));
}

static bool has_row(const json_t *rows, const char *name)
{
    const json_t *row;
    size_t i;

    json_array_foreach (rows, i, row)
        if (is_of(row, name))
            return true;
    return false;
}

static bool add_rows(const struct top *top, const json_t *records, json_t *rows)
{
    const json_t *record;
    size_t i;

    json_array_foreach (records, i, record) {
        const char *name = calls_text(record, "function");

        if (!has_row(rows, name) && json_array_append_new(rows, count(top, name)) != 0)
            return false;
    }
    return true;
}

/* The busiest first: of as many, whose call came last. */
static bool sort(json_t *rows)
{
    for (size_t i = 1; i < json_array_size(rows); i++) {
        json_t *row = json_incref(json_array_get(rows, i));
        json_int_t calls = json_integer_value(json_object_get(row, "calls"));
        size_t k = i;

        while (k > 0 &&
               json_integer_value(json_object_get(json_array_get(rows, k - 1), "calls")) < calls)
            k--;
        if (json_array_remove(rows, i) != 0 || json_array_insert_new(rows, k, row) != 0)
            return false;
    }
    return true;
}

/* ---- showing ---- */

static void add_ms(output_table *table, const json_t *value)
{
    char text[32];

    if (!json_is_number(value)) {
        output_table_add(table, NULL);
        return;
    }
    histogram_text((uint64_t)(json_number_value(value) * (double)FAAS_MS_NS), text);
    output_table_add(table, text);
}

static void add_row(output_table *table, const json_t *row)
{
    const char *const counts[] = {"errors", "running", "queued"};

    output_table_add(table, calls_text(row, "function"));
    output_table_addf(table, "%.2f", json_number_value(json_object_get(row, "calls_per_s")));
    for (size_t i = 0; i < FAAS_ARRAY_LEN(counts); i++)
        output_table_addf(table, "%" JSON_INTEGER_FORMAT,
                          json_integer_value(json_object_get(row, counts[i])));
    add_ms(table, json_object_get(row, "p50_ms"));
    add_ms(table, json_object_get(row, "p99_ms"));
}

static faas_code print(const struct top *top, const json_t *rows, bool is_json, faas_err *err)
{
    static const struct output_column columns[] = {
        {"FUNCTION", true, false}, {"CALLS/S", false, true}, {"ERRORS", false, true},
        {"RUNNING", false, true},  {"QUEUED", false, true},  {"P50", false, true},
        {"P99", false, true},
    };

    if (is_json) {
        FAAS_AUTO(json_t) *doc =
            json_pack("{s:f, s:O}", "window_s", top->seconds, "functions", rows);

        output_json(doc, stdout);
        return FAAS_OK;
    }
    if (json_array_size(rows) == 0) {
        output_note("no calls in the last %lld s", (long long)window_s);
        return FAAS_OK;
    }
    return output_items(columns, FAAS_ARRAY_LEN(columns), rows, add_row, err);
}

static faas_code look(cli_client *client, const struct cli_args *args, bool is_live,
                      struct client_answer *answer, faas_err *err)
{
    struct top top = {.calls = json_array(), .open = json_array()};
    FAAS_AUTO(json_t) *rows = json_array();
    faas_code code = fetch(&top, client, answer, err);

    if (code == FAAS_OK) {
        top.times = calloc(json_array_size(top.calls) + 1, sizeof *top.times);
        if (top.times == NULL || !add_rows(&top, top.calls, rows) ||
            !add_rows(&top, top.open, rows) || !sort(rows))
            code = faas_fail(err, FAAS_INTERNAL, "out of memory");
    }
    if (code == FAAS_OK && is_live)
        (void)fputs(CLEAR, stdout);
    if (code == FAAS_OK)
        code = print(&top, rows, args->common.is_json, err);
    top_done(&top);
    return code;
}

int cli_top(const struct cli_args *args)
{
    bool is_live = !is_once && !args->common.is_json && output_width(stdout) > 0;
    FAAS_AUTO(cli_client) *client = NULL;
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &client, &err);
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = look(client, args, is_live, &answer, &err);
    while (code == FAAS_OK && is_live && output_flush()) { /* until Ctrl-C */
        (void)sleep((unsigned)every_s);
        code = look(client, args, is_live, &answer, &err);
    }
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    client_answer_done(&answer);
    return status;
}
