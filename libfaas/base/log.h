/* log.h - one JSON line per event on standard error.
 * Line      {"time":RFC3339 ms,"level":"info","service":"auth","instance":"ab12","msg":"...",
 *           fields...}; at most 16 KiB: fields that do not fit are left out and "cut" is true.
 * Fields    typed (key, kind, value) triples; strings are escaped (control characters, bidi marks)
 *           and cut at FAAS_LOG_VALUE_MAX bytes, so user text never breaks a line.
 * Never     bodies, tokens, passwords, function arguments or output.
 * Threads   any; a line is one write(2).
 */
#ifndef FAAS_LOG_H
#define FAAS_LOG_H

#include <stdint.h>

#include "base/err.h"

enum faas_log_level { FAAS_LOG_DEBUG, FAAS_LOG_INFO, FAAS_LOG_WARN, FAAS_LOG_ERROR };

#define FAAS_LOG_VALUE_MAX 1024

struct faas_log_field {
    const char *key; /* NULL ends the list */
    enum { FAAS_LOG_STR, FAAS_LOG_INT } kind;
    const char *str;
    int64_t num;
};
#define FAAS_LSTR(k, v) ((struct faas_log_field){.key = (k), .kind = FAAS_LOG_STR, .str = (v)})
#define FAAS_LINT(k, v) ((struct faas_log_field){.key = (k), .kind = FAAS_LOG_INT, .num = (v)})

/* service and instance must live as long as the process logs. */
void faas_log_setup(const char *service, const char *instance, enum faas_log_level least);
FAAS_MUST_CHECK faas_code faas_log_level_parse(const char *text, enum faas_log_level *out_level,
                                               faas_err *err);
/* fields: a list ended by key NULL, or NULL for none.  Use the macro. */
void faas_log_write(enum faas_log_level level, const char *msg,
                    const struct faas_log_field *fields);
#define FAAS_LOG(level, msg, ...)                                                                  \
    faas_log_write(FAAS_LOG_##level, (msg),                                                        \
                   (const struct faas_log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}})

#endif
