/* output.h - what people and scripts read: tables, JSON, error lines.
 * Streams   results go to standard output, everything else to standard error.
 * Text      from the platform or the user is data: control characters and bidi marks are shown as
 *           '?', so that no function description can move a terminal's cursor.
 * Width     a table on a terminal is cut to its width (flexible columns give way, "..." marks the
 *           cut); elsewhere nothing is cut.
 * Colour    only on a terminal, without NO_COLOR and with TERM other than "dumb".
 * Threads   the main thread only.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdio.h>

#include "base/json.h"

enum output_colour { OUTPUT_PLAIN, OUTPUT_RED, OUTPUT_GREEN, OUTPUT_YELLOW, OUTPUT_BOLD };

struct output_column {
    const char *title;
    bool is_flexible; /* may be cut on a narrow terminal */
    bool is_number;   /* right-aligned */
};

struct output_cell {
    char *text; /* owned by the table; already cleaned */
    enum output_colour colour;
};

typedef struct output_table output_table;

/* columns live as long as the table.  NULL only without memory. */
output_table *output_table_new(const struct output_column *columns, size_t count);
void output_table_free(output_table *table);
FAAS_DEFINE_AUTO(output_table, output_table_free)
/* The next cell, row by row; NULL text shows as "-".  Lack of memory is reported by print. */
void output_table_add(output_table *table, const char *text);
void output_table_add_coloured(output_table *table, const char *text, enum output_colour colour);
void output_table_addf(output_table *table, const char *fmt, ...) FAAS_PRINTF(2, 3);
/* width 0: no limit. */
FAAS_MUST_CHECK faas_code output_table_print(const output_table *table, size_t width,
                                             bool is_coloured, FILE *to, faas_err *err);
/* The whole table of items on standard output, a row for each. */
typedef void output_row(output_table *table, const json_t *item);
FAAS_MUST_CHECK faas_code output_items(const struct output_column *columns, size_t count,
                                       const json_t *items, output_row *add, faas_err *err);

/* "12s", "5m", "3h", "2d" */
void output_age(int64_t age_s, char *out_text, size_t room);
size_t output_width(FILE *to); /* columns of the terminal; 0 when `to` is none */
bool output_is_coloured(FILE *to);
/* A copy with control characters, bidi marks and invalid UTF-8 replaced by '?'; newline and tab are
 * kept only if keep_lines.  The caller frees; NULL only without memory. */
char *output_clean(const char *text, bool keep_lines);
/* Pretty JSON and a newline; on a terminal everything outside ASCII is escaped.  False when the
 * stream failed. */
bool output_json(const json_t *doc, FILE *to);
/* A line "member value" for each member, those of objects as "member.inner". */
void output_record(const json_t *doc);
/* "error: MSG", in red on a terminal; is_json: {"error":{...}} on one line.  extra may be NULL:
 * members added to the JSON form. */
void output_error(const faas_err *err, bool is_json, const json_t *extra);
/* A line on standard output; cleaned like a table's cells. */
void output_say(const char *fmt, ...) FAAS_PRINTF(1, 2);
/* A line on standard error. */
void output_note(const char *fmt, ...) FAAS_PRINTF(1, 2);
/* Flushes standard output; false when anything written to it was lost (disk full, closed pipe). */
bool output_flush(void);

#endif
