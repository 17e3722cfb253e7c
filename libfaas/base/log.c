#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

#define LINE_MAX_BYTES 16384
#define LINE_END       ",\"cut\":true}\n" /* always fits behind what put() accepts */

/* Set before threads start, immutable afterwards. */
static const char *service_name = "", *instance_name = "";
static enum faas_log_level least_level = FAAS_LOG_INFO;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

struct line {
    size_t len;
    bool is_full; /* something was left out */
    char text[LINE_MAX_BYTES];
};

void faas_log_setup(const char *service, const char *instance, enum faas_log_level least)
{
    service_name = service;
    instance_name = instance;
    least_level = least;
}

faas_code faas_log_level_parse(const char *text, enum faas_log_level *out_level, faas_err *err)
{
    for (size_t i = 0; i < FAAS_ARRAY_LEN(level_names); i++)
        if (strcmp(text, level_names[i]) == 0) {
            *out_level = (enum faas_log_level)i;
            return FAAS_OK;
        }
    return faas_fail(err, FAAS_INVALID, "log level: debug, info, warn or error, got \"%.32s\"",
                     text);
}

static void put(struct line *line, const char *text, size_t len)
{
    if (len > sizeof line->text - sizeof LINE_END - line->len) {
        line->is_full = true;
        return;
    }
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static void put_escape(struct line *line, uint32_t point)
{
    char escape[8];

    snprintf(escape, sizeof escape, "\\u%04x", (unsigned)point & 0xFFFF);
    put(line, escape, 6);
}

/* What is not UTF-8 becomes U+FFFD, one per byte: the line stays valid JSON. */
static void put_string(struct line *line, const char *text)
{
    size_t len = strnlen(text, FAAS_LOG_VALUE_MAX + 1), at = 0;
    size_t end = faas_utf8_cut(text, len, FAAS_LOG_VALUE_MAX);

    put_text(line, "\"");
    while (at < end) {
        uint32_t point = 0xFFFD;
        size_t n = faas_utf8_decode(text + at, end - at, &point);

        if (n == 0 || faas_is_control(point) || faas_is_display_control(point))
            put_escape(line, point);
        else if (point == '"' || point == '\\')
            put(line, point == '"' ? "\\\"" : "\\\\", 2);
        else
            put(line, text + at, n);
        at += n == 0 ? 1 : n;
    }
    put_text(line, end < len ? "...\"" : "\"");
}

/* A field that does not fit whole is left out whole. */
static void put_field(struct line *line, const struct faas_log_field *field)
{
    size_t before = line->len;
    char number[24];

    if (line->is_full)
        return;
    put_text(line, line->len == 0 ? "{" : ",");
    put_string(line, field->key);
    put_text(line, ":");
    if (field->kind == FAAS_LOG_INT) {
        snprintf(number, sizeof number, "%" PRId64, field->num);
        put_text(line, number);
    } else if (field->str == NULL) {
        put_text(line, "null");
    } else {
        put_string(line, field->str);
    }
    if (line->is_full)
        line->len = before;
}

static void write_all(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, text, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody left to tell */
        text += n;
        len -= (size_t)n;
    }
}

void faas_log_write(enum faas_log_level level, const char *msg, const struct faas_log_field *fields)
{
    int saved = errno;
    struct line line;
    char time_text[FAAS_TIME_TEXT];
    const char *end;

    if (level < least_level)
        return;
    line.len = 0;
    line.is_full = false;
    faas_time_format(faas_wall_ms(), time_text);
    put_field(&line, &FAAS_LSTR("time", time_text));
    put_field(&line, &FAAS_LSTR("level", level_names[level]));
    put_field(&line, &FAAS_LSTR("service", service_name));
    put_field(&line, &FAAS_LSTR("instance", instance_name));
    put_field(&line, &FAAS_LSTR("msg", msg));
    for (const struct faas_log_field *f = fields; f != NULL && f->key != NULL; f++)
        put_field(&line, f);
    end = line.is_full ? LINE_END : "}\n";
    memcpy(line.text + line.len, end, strlen(end));
    write_all(line.text, line.len + strlen(end));
    errno = saved;
}
