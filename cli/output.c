#include "cli/output.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define GAP        2 /* spaces between columns */
#define FLEX_LEAST 8

struct output_table {
    const struct output_column *columns;
    size_t column_count, cell_count, room;
    struct output_cell *cells;
    bool has_failed; /* no memory */
};

static const char *const colour_codes[] = {
    [OUTPUT_PLAIN] = "",          [OUTPUT_RED] = "\033[31m", [OUTPUT_GREEN] = "\033[32m",
    [OUTPUT_YELLOW] = "\033[33m", [OUTPUT_BOLD] = "\033[1m",
};

/* ---- terminals ---- */

void output_age(int64_t age_s, char *out_text, size_t room)
{
    if (age_s < 120)
        snprintf(out_text, room, "%ds", age_s > 0 ? (int)age_s : 0);
    else if (age_s < 120 * 60)
        snprintf(out_text, room, "%dm", (int)(age_s / 60));
    else if (age_s < 48 * 3600)
        snprintf(out_text, room, "%dh", (int)(age_s / 3600));
    else
        snprintf(out_text, room, "%dd", (int)(age_s / 86400));
}

size_t output_width(FILE *to)
{
    struct winsize size;

    if (isatty(fileno(to)) != 1)
        return 0;
    if (ioctl(fileno(to), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

bool output_is_coloured(FILE *to)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");

    if (no_colour != NULL && no_colour[0] != '\0')
        return false;
    return isatty(fileno(to)) == 1 && term != NULL && strcmp(term, "dumb") != 0;
}

/* ---- text ---- */

static bool is_harmless(uint32_t point, bool keep_lines)
{
    if (point == '\n' || point == '\t')
        return keep_lines;
    return !faas_is_control(point) && !faas_is_display_control(point);
}

char *output_clean(const char *text, bool keep_lines)
{
    const char *p = text, *end = text + strlen(text);
    char *copy = malloc((size_t)(end - text) + 1), *to = copy;

    if (copy == NULL)
        return NULL;
    while (p < end) {
        uint32_t point = 0;
        size_t len = faas_utf8_decode(p, (size_t)(end - p), &point);

        if (len > 0 && is_harmless(point, keep_lines)) {
            memcpy(to, p, len);
            to += len;
        } else {
            *to++ = '?';
        }
        p += len > 0 ? len : 1;
    }
    *to = '\0';
    return copy;
}

/* Steps over one character of clean text; its columns on a terminal. */
static size_t step(const char **p, const char *end)
{
    uint32_t point = 0;
    size_t len = faas_utf8_decode(*p, (size_t)(end - *p), &point);
    int columns = wcwidth((wchar_t)point);

    *p += len > 0 ? len : 1;
    return columns >= 0 ? (size_t)columns : 1;
}

static size_t text_width(const char *text)
{
    const char *p = text, *end = text + strlen(text);
    size_t width = 0;

    while (p < end)
        width += step(&p, end);
    return width;
}

/* Bytes of the longest beginning that takes at most `width` columns. */
static size_t fitting(const char *text, size_t width)
{
    const char *p = text, *end = text + strlen(text), *kept = text;
    size_t used = 0;

    while (p < end) {
        used += step(&p, end);
        if (used > width)
            break;
        kept = p;
    }
    return (size_t)(kept - text);
}

/* ---- tables ---- */

output_table *output_table_new(const struct output_column *columns, size_t count)
{
    output_table *table = calloc(1, sizeof *table);

    if (table != NULL) {
        table->columns = columns;
        table->column_count = count;
    }
    return table;
}

void output_table_free(output_table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
}

void output_table_add_coloured(output_table *table, const char *text, enum output_colour colour)
{
    struct output_cell *cells;
    char *copy = output_clean(text != NULL && text[0] != '\0' ? text : "-", false);

    if (copy == NULL) {
        table->has_failed = true;
        return;
    }
    if (table->cell_count == table->room) {
        size_t room = table->room > 0 ? table->room * 2 : 64;

        cells = realloc(table->cells, room * sizeof *cells);
        if (cells == NULL) {
            table->has_failed = true;
            free(copy);
            return;
        }
        table->cells = cells;
        table->room = room;
    }
    table->cells[table->cell_count++] = (struct output_cell){copy, colour};
}

void output_table_add(output_table *table, const char *text)
{
    output_table_add_coloured(table, text, OUTPUT_PLAIN);
}

void output_table_addf(output_table *table, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    output_table_add(table, text);
}

static void measure(const output_table *table, size_t *widths)
{
    for (size_t i = 0; i < table->column_count; i++)
        widths[i] = text_width(table->columns[i].title);
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t width = text_width(table->cells[i].text);

        if (width > widths[i % table->column_count])
            widths[i % table->column_count] = width;
    }
}

/* Takes columns from the widest flexible one until the row fits or nothing more can be taken. */
static void shrink(const output_table *table, size_t *widths, size_t limit)
{
    for (;;) {
        size_t sum = GAP * (table->column_count - 1), widest = SIZE_MAX;

        for (size_t i = 0; i < table->column_count; i++) {
            sum += widths[i];
            if (table->columns[i].is_flexible && widths[i] > FLEX_LEAST &&
                (widest == SIZE_MAX || widths[i] > widths[widest]))
                widest = i;
        }
        if (sum <= limit || widest == SIZE_MAX)
            return;
        widths[widest]--;
    }
}

static void pad(FILE *to, size_t count)
{
    while (count-- > 0)
        fputc(' ', to);
}

struct cell_place {
    size_t width;
    bool is_last, is_number, is_coloured;
};

static void print_cell(const struct output_cell *cell, const struct cell_place *place, FILE *to)
{
    size_t width = text_width(cell->text), bytes = strlen(cell->text);
    bool is_cut = width > place->width, has_colour = place->is_coloured && cell->colour > 0;

    if (is_cut) {
        bytes = fitting(cell->text, place->width - 3);
        width = place->width;
    }
    if (place->is_number)
        pad(to, place->width - width);
    fprintf(to, "%s%.*s%s%s", has_colour ? colour_codes[cell->colour] : "", (int)bytes, cell->text,
            is_cut ? "..." : "", has_colour ? "\033[0m" : "");
    if (!place->is_number && !place->is_last)
        pad(to, place->width - width);
    if (!place->is_last)
        pad(to, GAP);
}

static void print_row(const output_table *table, const struct output_cell *cells,
                      const struct cell_place *places, FILE *to)
{
    for (size_t i = 0; i < table->column_count; i++)
        print_cell(&cells[i], &places[i], to);
    fputc('\n', to);
}

#define COLUMNS_MAX 12

faas_code output_table_print(const output_table *table, size_t width, bool is_coloured, FILE *to,
                             faas_err *err)
{
    size_t widths[COLUMNS_MAX], count = table->column_count;
    struct output_cell titles[COLUMNS_MAX];
    struct cell_place places[COLUMNS_MAX];

    if (table->has_failed)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    if (count == 0 || count > COLUMNS_MAX)
        return faas_fail(err, FAAS_INTERNAL, "a table has 1 to %d columns", COLUMNS_MAX);
    measure(table, widths);
    if (width > 0)
        shrink(table, widths, width);
    for (size_t i = 0; i < count; i++) {
        union {
            const char *title;
            char *text;
        } borrowed = {.title = table->columns[i].title}; /* print_cell only reads */

        titles[i] = (struct output_cell){borrowed.text, OUTPUT_BOLD};
        places[i] = (struct cell_place){widths[i], i + 1 == count, table->columns[i].is_number,
                                        is_coloured};
    }
    print_row(table, titles, places, to);
    for (size_t i = 0; i + count <= table->cell_count; i += count)
        print_row(table, &table->cells[i], places, to);
    return FAAS_OK;
}

faas_code output_items(const struct output_column *columns, size_t count, const json_t *items,
                       output_row *add, faas_err *err)
{
    FAAS_AUTO(output_table) *table = output_table_new(columns, count);
    const json_t *item;
    size_t i;

    if (table == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    json_array_foreach (items, i, item)
        add(table, item);
    return output_table_print(table, output_width(stdout), output_is_coloured(stdout), stdout, err);
}

/* ---- JSON, errors, notes ---- */

bool output_json(const json_t *doc, FILE *to)
{
    size_t flags = JSON_INDENT(2) | (isatty(fileno(to)) == 1 ? JSON_ENSURE_ASCII : 0);

    return json_dumpf(doc, to, flags) == 0 && fputc('\n', to) != EOF;
}

static void error_json(const faas_err *err, const json_t *extra)
{
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:{s:s,s:s}}", "error", "code", faas_code_slug(err->code), "detail", err->msg);

    if (doc == NULL) {
        fprintf(stderr, "{\"error\":{\"code\":\"%s\"}}\n", faas_code_slug(err->code));
        return;
    }
    if (extra != NULL && json_is_object(extra))
        json_object_update(json_object_get(doc, "error"), (json_t *)(uintptr_t)extra);
    json_dumpf(doc, stderr, JSON_ENSURE_ASCII);
    fputc('\n', stderr);
}

void output_error(const faas_err *err, bool is_json, const json_t *extra)
{
    bool is_coloured = output_is_coloured(stderr);
    char *clean;

    fflush(stdout);
    if (is_json) {
        error_json(err, extra);
        return;
    }
    clean = output_clean(err->msg, true);
    fprintf(stderr, "%serror:%s %s\n", is_coloured ? colour_codes[OUTPUT_RED] : "",
            is_coloured ? "\033[0m" : "", clean != NULL ? clean : faas_code_slug(err->code));
    free(clean);
}

FAAS_PRINTF(2, 0) static void line(FILE *to, const char *fmt, va_list args)
{
    char text[2048], *clean;

    vsnprintf(text, sizeof text, fmt, args);
    clean = output_clean(text, true);
    fprintf(to, "%s\n", clean != NULL ? clean : "");
    free(clean);
}

void output_say(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    line(stdout, fmt, args);
    va_end(args);
}

void output_note(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    line(stderr, fmt, args);
    va_end(args);
}

bool output_flush(void)
{
    return fflush(stdout) == 0 && ferror(stdout) == 0;
}

/* ---- records ---- */

static void print_value(const char *prefix, const char *key, const json_t *value)
{
    FAAS_AUTO(char) *text = NULL;
    const char *name;
    json_t *member;
    char label[64];

    snprintf(label, sizeof label, "%s%s", prefix, key);
    if (json_is_object(value) && prefix[0] == '\0' && json_object_size(value) > 0) {
        snprintf(label, sizeof label, "%s.", key);
        json_object_foreach ((json_t *)(uintptr_t)value, name, member)
            print_value(label, name, member);
        return;
    }
    if (json_is_string(value)) {
        output_say("%-22s %s", label, json_string_value(value));
        return;
    }
    text = faas_json_dump(value, JSON_COMPACT | JSON_REAL_PRECISION(6), NULL);
    output_say("%-22s %s", label, text != NULL ? text : "?");
}

void output_record(const json_t *doc)
{
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)doc, key, value)
        print_value("", key, value);
}
