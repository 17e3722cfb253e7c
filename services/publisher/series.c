#include "series.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define BUCKETS  9 /* 1 ms .. 65 s, each four times the one before, and +Inf */
#define FIRST_NS UINT64_C(1000000)
#define CALLS    "faas_function_calls_total"
#define SECONDS  "faas_function_call_duration_seconds"

struct row {
    char tenant[FAAS_UUID_TEXT]; /* "": free */
    char function[FAAS_FUNCTION_NAME_MAX + 1];
    uint64_t hash, called_ns;
    uint64_t codes[FAAS_CODE_END];
    uint64_t buckets[BUCKETS], count, sum_ns;
};
struct series {
    size_t rows;
    struct row other, row[];
};

faas_code series_new(size_t rows, struct series **out_series, faas_err *err)
{
    struct series *series = calloc(1, sizeof *series + rows * sizeof series->row[0]);

    if (series == NULL)
        return faas_fail_sys(err, errno, "allocate the figures of functions");
    series->rows = rows;
    memcpy(series->other.tenant, "other", sizeof "other");
    memcpy(series->other.function, "other", sizeof "other");
    *out_series = series;
    return FAAS_OK;
}

void series_free(struct series *series)
{
    free(series);
}

/* ---- finding a row ---- */

/* FNV-1a: rows are compared in full, this only finds them sooner. */
static uint64_t hash_of(const struct series_call *call)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (const char *c = call->tenant; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    for (const char *c = call->function; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    return hash;
}

static void fold(struct row *into, struct row *row)
{
    for (size_t i = 0; i < FAAS_CODE_END; i++)
        into->codes[i] += row->codes[i];
    for (size_t i = 0; i < BUCKETS; i++)
        into->buckets[i] += row->buckets[i];
    into->count += row->count;
    into->sum_ns += row->sum_ns;
    memset(row, 0, sizeof *row);
}

/* A row that nobody has, or that nobody needs; NULL: none. */
static struct row *spare(struct series *series, const struct series_call *call)
{
    struct row *free_row = NULL, *oldest = NULL;
    size_t own = 0;

    for (size_t i = 0; i < series->rows; i++) {
        struct row *row = &series->row[i];

        own += strcmp(row->tenant, call->tenant) == 0;
        if (row->tenant[0] == '\0')
            free_row = free_row != NULL ? free_row : row;
        else if (oldest == NULL || row->called_ns < oldest->called_ns)
            oldest = row;
    }
    if (oldest != NULL && call->now_ns - oldest->called_ns < SERIES_IDLE_MS * FAAS_MS_NS)
        oldest = NULL;
    if (own > 0 && own >= series->rows / 2)
        return oldest != NULL && strcmp(oldest->tenant, call->tenant) == 0 ? oldest : NULL;
    return free_row != NULL ? free_row : oldest;
}

static struct row *find(struct series *series, const struct series_call *call)
{
    uint64_t hash = hash_of(call);
    struct row *row;

    for (size_t i = 0; i < series->rows; i++) {
        row = &series->row[i];
        if (row->hash == hash && strcmp(row->tenant, call->tenant) == 0 &&
            strcmp(row->function, call->function) == 0)
            return row;
    }
    row = strlen(call->tenant) < sizeof row->tenant && strlen(call->function) < sizeof row->function
              ? spare(series, call)
              : NULL;
    if (row == NULL)
        return &series->other;
    if (row->tenant[0] != '\0')
        fold(&series->other, row);
    row->hash = hash;
    memcpy(row->tenant, call->tenant, strlen(call->tenant) + 1);
    memcpy(row->function, call->function, strlen(call->function) + 1);
    return row;
}

void series_note(struct series *series, const struct series_call *call)
{
    struct row *row = find(series, call);
    uint64_t bound = FIRST_NS;

    row->called_ns = call->now_ns;
    row->codes[call->code < FAAS_CODE_END ? call->code : FAAS_INTERNAL]++;
    row->count++;
    row->sum_ns += call->took_ns;
    for (size_t i = 0; i < BUCKETS; i++, bound *= 4)
        if (call->took_ns <= bound) {
            row->buckets[i]++;
            break;
        }
}

/* ---- telling ---- */

static void write_codes(const struct row *row, FILE *out)
{
    for (int code = 0; code < FAAS_CODE_END; code++)
        if (row->codes[code] > 0)
            (void)fprintf(out, CALLS "{tenant=\"%s\",function=\"%s\",code=\"%s\"} %" PRIu64 "\n",
                          row->tenant, row->function, faas_code_slug((faas_code)code),
                          row->codes[code]);
}

static void write_times(const struct row *row, FILE *out)
{
    uint64_t bound = FIRST_NS, below = 0;

    if (row->count == 0)
        return;
    for (size_t i = 0; i < BUCKETS; i++, bound *= 4) {
        below += row->buckets[i];
        (void)fprintf(out, SECONDS "_bucket{tenant=\"%s\",function=\"%s\",le=\"%g\"} %" PRIu64 "\n",
                      row->tenant, row->function, (double)bound / 1e9, below);
    }
    (void)fprintf(out, SECONDS "_bucket{tenant=\"%s\",function=\"%s\",le=\"+Inf\"} %" PRIu64 "\n",
                  row->tenant, row->function, row->count);
    (void)fprintf(out, SECONDS "_sum{tenant=\"%s\",function=\"%s\"} %.9f\n", row->tenant,
                  row->function, (double)row->sum_ns / 1e9);
    (void)fprintf(out, SECONDS "_count{tenant=\"%s\",function=\"%s\"} %" PRIu64 "\n", row->tenant,
                  row->function, row->count);
}

static void write_all(const struct series *series, FILE *out,
                      void (*write)(const struct row *row, FILE *out))
{
    for (size_t i = 0; i < series->rows; i++)
        if (series->row[i].tenant[0] != '\0')
            write(&series->row[i], out);
    write(&series->other, out);
}

void series_write(const struct series *series, FILE *out)
{
    (void)fputs("# HELP " CALLS " calls of a function, and runs of its queued ones, by outcome\n"
                "# TYPE " CALLS " counter\n",
                out);
    write_all(series, out, write_codes);
    (void)fputs("# HELP " SECONDS " from taken to the end, waiting included\n"
                "# TYPE " SECONDS " histogram\n",
                out);
    write_all(series, out, write_times);
}
