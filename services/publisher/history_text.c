#include "history_text.h"

#include "base/text.h"
#include "base/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROOM_MIN   4096
#define NUMBER_MAX 40

/* Appends without looking at memory errors each time: is_failed says whether all fitted. */
struct writer {
    struct history_text *text;
    bool is_failed;
};

static void put(struct writer *w, const char *bytes, size_t len)
{
    struct history_text *text = w->text;

    if (text->len + len > text->room) {
        size_t room = text->room > ROOM_MIN ? text->room : ROOM_MIN;
        char *grown;

        while (room < text->len + len)
            room *= 2;
        grown = w->is_failed ? NULL : realloc(text->data, room);
        if (grown == NULL) {
            w->is_failed = true;
            return;
        }
        text->data = grown;
        text->room = room;
    }
    memcpy(text->data + text->len, bytes, len);
    text->len += len;
}

static void put_text(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

/* One character of a string; what JSON must not hold as it is, escaped. */
static void put_escaped(struct writer *w, const char *at, size_t len)
{
    char escape[8];

    if (len > 1 || ((unsigned char)*at >= 0x20 && *at != '"' && *at != '\\')) {
        put(w, at, len);
        return;
    }
    snprintf(escape, sizeof escape, "\\u%04x", (unsigned char)*at);
    put_text(w, escape);
}

static void put_string(struct writer *w, const char *text)
{
    size_t left = strlen(text), plain;

    put_text(w, "\"");
    while (left > 0) {
        for (plain = 0; plain < left; plain++) {
            unsigned char c = (unsigned char)text[plain];

            if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
                break;
        }
        put(w, text, plain);
        text += plain;
        left -= plain;
        if (left > 0) {
            size_t n = faas_utf8_decode(text, left, NULL);

            if (n > 0)
                put_escaped(w, text, n);
            else
                put_text(w, "?");
            text += n > 0 ? n : 1;
            left -= n > 0 ? n : 1;
        }
    }
    put_text(w, "\"");
}

/* ,"name": */
static void put_name(struct writer *w, const char *name)
{
    put_text(w, ",\"");
    put_text(w, name);
    put_text(w, "\":");
}

static void put_str(struct writer *w, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    put_name(w, name);
    put_string(w, value);
}

static void put_int(struct writer *w, const char *name, int64_t value, int64_t least)
{
    char number[NUMBER_MAX];

    if (value < least)
        return;
    put_name(w, name);
    snprintf(number, sizeof number, "%" PRId64, value);
    put_text(w, number);
}

static void put_true(struct writer *w, const char *name, bool value)
{
    if (!value)
        return;
    put_name(w, name);
    put_text(w, "true");
}

static void put_time(struct writer *w, const char *name, double ms, bool *is_first)
{
    char number[NUMBER_MAX];

    if (!(ms >= 0 && ms < 1e12)) /* also what is no number */
        return;
    snprintf(number, sizeof number, "%s\"%s\":%.3f", *is_first ? "" : ",", name, ms);
    *is_first = false;
    put_text(w, number);
}

static void put_times(struct writer *w, const struct history_note *note)
{
    bool is_first = true;

    if (note->place_time_ms < 0 && note->start_time_ms < 0 && note->run_time_ms < 0)
        return;
    put_name(w, "times_ms");
    put_text(w, "{");
    put_time(w, "place", note->place_time_ms, &is_first);
    put_time(w, "start", note->start_time_ms, &is_first);
    put_time(w, "run", note->run_time_ms, &is_first);
    put_text(w, "}");
}

static void put_trace(struct writer *w, const char *trace)
{
    char id[FAAS_TRACE_ID];

    faas_trace_id(trace != NULL ? trace : "", id);
    put_str(w, "trace_id", id);
}

static void put_whose(struct writer *w, const struct history_note *note)
{
    put_text(w, "{\"v\":1");
    put_str(w, "id", note->id);
    put_str(w, "tenant", note->tenant);
    put_int(w, "order", history_order(note->attempt, note->event), 0);
    put_str(w, "status", history_status_text(note->status));
    put_str(w, "user", note->user);
    put_str(w, "client_call_id", note->client_call_id);
    put_trace(w, note->trace);
    put_true(w, "queued", note->is_queued);
    put_str(w, "function", note->function);
    put_str(w, "function_id", note->function_id);
    put_int(w, "version", note->version, 1);
    put_int(w, "attempt", note->attempt, 1);
    put_int(w, "tries", note->tries, 1);
    put_str(w, "publisher", note->publisher);
    put_str(w, "publisher_epoch", note->publisher_epoch);
    put_str(w, "spawner", note->spawner);
    put_str(w, "spawner_epoch", note->spawner_epoch);
    put_int(w, "until", note->until_ms, 1);
}

static void put_fate(struct writer *w, const struct history_note *note)
{
    put_str(w, "start", note->start);
    put_int(w, "queued_at", note->queued_ms, 1);
    put_int(w, "placed_at", note->placed_ms, 1);
    put_int(w, "started_at", note->started_ms, 1);
    put_int(w, "ended_at", note->ended_ms, 1);
    put_times(w, note);
    put_str(w, "code", note->code);
    put_str(w, "detail", note->detail);
    put_int(w, "exit_code", note->exit_code, 0);
    put_int(w, "signal", note->signal, 1);
    put_true(w, "oom", note->is_oom);
    put_true(w, "may_have_run", note->may_have_run);
    put_int(w, "argument_bytes", note->argument_bytes, 0);
    put_int(w, "result_bytes", note->result_bytes, 0);
    put_int(w, "stderr_bytes", note->stderr_bytes, 0);
    put_str(w, "result_hash", note->result_hash);
    put_int(w, "log_bytes", note->log_bytes, 1);
    put_str(w, "log", note->log);
    put_text(w, "}\n");
}

bool history_text_add(struct history_text *text, const struct history_note *note)
{
    size_t before = text->len;
    struct writer w = {.text = text};

    if (note->id == NULL || note->tenant == NULL)
        return false;
    put_whose(&w, note);
    put_fate(&w, note);
    if (w.is_failed)
        text->len = before;
    return !w.is_failed;
}

void history_text_done(struct history_text *text)
{
    free(text->data);
    *text = (struct history_text){0};
}

int64_t history_order(int64_t attempt, enum history_event event)
{
    return attempt * 8 + event;
}

const char *history_status_text(enum history_status status)
{
#define X(name, text) text,
    static const char *const texts[] = {HISTORY_STATUSES(X)};
#undef X

    return status < HISTORY_STATUS_END ? texts[status] : "";
}

void history_note_init(struct history_note *note)
{
    *note = (struct history_note){
        .place_time_ms = -1,
        .start_time_ms = -1,
        .run_time_ms = -1,
        .exit_code = -1,
        .argument_bytes = -1,
        .result_bytes = -1,
        .stderr_bytes = -1,
    };
}
