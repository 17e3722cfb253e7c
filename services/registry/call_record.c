#include "call_record.h"

#include "base/clock.h"
#include "base/name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOG_TEXT_MAX (128 * 1024)
#define MS_MAX       ((INT64_C(1) << 48) - 1) /* of a UUIDv7 */

static const char *const statuses[] = {
    "queued", "running", "succeeded",         "failed", "refused", "cancelled",
    "lost",   "dead",    CALL_STATUS_UNKNOWN,
};

bool call_status_is(const char *text)
{
    for (size_t i = 0; i < FAAS_ARRAY_LEN(statuses); i++)
        if (strcmp(statuses[i], text) == 0)
            return true;
    return false;
}

/* ---- notes ---- */

static const struct faas_json_field note_fields[] = {
    FAAS_FIELD(STR, struct call_note, id, "id", 36, 36, true),
    FAAS_FIELD(STR, struct call_note, tenant, "tenant", 36, 36, true),
    FAAS_FIELD(STR, struct call_note, status, "status", 1, 32, true),
    FAAS_FIELD(STR, struct call_note, function, "function", 0, FAAS_FUNCTION_NAME_MAX, false),
    FAAS_FIELD(STR, struct call_note, log, "log", 0, LOG_TEXT_MAX, false),
    FAAS_FIELD(INT, struct call_note, order, "order", 0, 1e15, true),
    FAAS_FIELD(INT, struct call_note, log_bytes, "log_bytes", 0, LOG_TEXT_MAX, false),
    FAAS_FIELD_END,
};

faas_code call_note_read(const char *line, size_t len, struct call_note *out_note, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct call_note note = {.function = ""};

    FAAS_TRY(faas_json_parse(line, len, false, &doc, err));
    FAAS_TRY(faas_json_decode(doc, note_fields, FAAS_JSON_TOLERANT, &note, err));
    if (!faas_uuid_is(note.id) || !faas_uuid_is(note.tenant))
        return faas_fail(err, FAAS_INVALID, "id, tenant: must be UUIDs");
    note.doc = FAAS_STEAL(doc);
    note.line = line;
    note.len = len > 0 && line[len - 1] == '\n' ? len - 1 : len;
    *out_note = note;
    return FAAS_OK;
}

void call_note_done(struct call_note *note)
{
    json_decref(note->doc);
    *note = (struct call_note){.doc = NULL};
}

/* ---- merging ---- */

/* What a later attempt's note need not say again. */
static const char *const kept[] = {"client_call_id", "trace_id", "user", "argument_bytes",
                                   "queued"};

static int keep_from(json_t *stored, json_t *note)
{
    FAAS_AUTO(json_t) *old = faas_json_copy(stored);
    json_t *began = json_object_get(stored, "queued_at");
    int rc = old == NULL;

    json_incref(began);
    rc |= json_object_clear(stored);
    rc |= json_object_update(stored, note);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(kept); i++) {
        json_t *value = json_object_get(old, kept[i]);

        if (value != NULL && json_object_get(stored, kept[i]) == NULL)
            rc |= json_object_set(stored, kept[i], value);
    }
    if (began != NULL) /* it came when its first note said so */
        rc |= json_object_set(stored, "queued_at", began);
    json_decref(began);
    return rc;
}

faas_code call_record_merge(json_t *stored, int64_t stored_order, const struct call_note *note,
                            bool *out_is_changed, faas_err *err)
{
    bool is_later = note->order > stored_order, is_whole = note->function[0] != '\0';
    bool was_whole = json_object_get(stored, "function") != NULL;
    int rc = 0;

    *out_is_changed = is_later || (is_whole && !was_whole);
    if (is_later && is_whole)
        rc = keep_from(stored, note->doc);
    else if (is_later)
        rc = json_object_update(stored, note->doc);
    else if (is_whole && !was_whole)
        rc = json_object_update_missing(stored, note->doc);
    return rc == 0 ? FAAS_OK : faas_fail_sys(err, ENOMEM, "merge a call's record");
}

/* ---- what clients see ---- */

static const struct {
    const char *name;
    bool is_time; /* stored as milliseconds */
} fields[] = {
    {"id", false},           {"client_call_id", false}, {"trace_id", false},
    {"function", false},     {"function_id", false},    {"version", false},
    {"status", false},       {"code", false},           {"detail", false},
    {"queued", false},       {"attempt", false},        {"tries", false},
    {"queued_at", true},     {"placed_at", true},       {"started_at", true},
    {"ended_at", true},      {"times_ms", false},       {"start", false},
    {"exit_code", false},    {"signal", false},         {"oom", false},
    {"may_have_run", false}, {"argument_bytes", false}, {"result_bytes", false},
    {"result_hash", false},  {"stderr_bytes", false},   {"log_bytes", false},
    {"publisher", false},    {"spawner", false},
};

static json_t *shown(json_t *value, bool is_time)
{
    char text[FAAS_TIME_TEXT];

    if (!is_time)
        return json_incref(value);
    faas_time_format(json_integer_value(value), text);
    return json_string(text);
}

json_t *call_record_public(const json_t *stored)
{
    FAAS_AUTO(json_t) *doc = json_object();

    for (size_t i = 0; doc != NULL && i < FAAS_ARRAY_LEN(fields); i++) {
        json_t *value = json_object_get(stored, fields[i].name);

        if (value != NULL &&
            json_object_set_new(doc, fields[i].name, shown(value, fields[i].is_time)) != 0)
            return NULL;
    }
    return FAAS_STEAL(doc);
}

/* ---- time ---- */

static bool two_digits(const char **at, int most, int *out_value)
{
    const char *t = *at;

    if (t[0] < '0' || t[0] > '9' || t[1] < '0' || t[1] > '9')
        return false;
    *out_value = (t[0] - '0') * 10 + (t[1] - '0');
    *at += 2;
    return *out_value <= most;
}

static bool take(const char **at, char expected)
{
    if (**at != expected)
        return false;
    (*at)++;
    return true;
}

/* "2026-01-02T03:04:05" */
static bool take_instant(const char **at, struct tm *out_tm)
{
    int century, year, month, *day = &out_tm->tm_mday;

    if (!two_digits(at, 99, &century) || !two_digits(at, 99, &year) || !take(at, '-') ||
        !two_digits(at, 12, &month) || month < 1 || !take(at, '-') || !two_digits(at, 31, day) ||
        *day < 1 || !(take(at, 'T') || take(at, 't')) || !two_digits(at, 23, &out_tm->tm_hour) ||
        !take(at, ':') || !two_digits(at, 59, &out_tm->tm_min) || !take(at, ':') ||
        !two_digits(at, 60, &out_tm->tm_sec))
        return false;
    out_tm->tm_year = century * 100 + year - 1900;
    out_tm->tm_mon = month - 1;
    return true;
}

/* ".678": as milliseconds, what is finer is cut. */
static bool take_fraction(const char **at, int *out_ms)
{
    size_t digits;

    *out_ms = 0;
    if (!take(at, '.'))
        return true;
    digits = strspn(*at, "0123456789");
    for (size_t i = 0; i < 3; i++)
        *out_ms = *out_ms * 10 + (i < digits ? (*at)[i] - '0' : 0);
    *at += digits;
    return digits >= 1 && digits <= 9;
}

/* "Z", "+01:00" */
static bool take_zone(const char **at, int *out_minutes)
{
    int sign, hours, minutes;

    *out_minutes = 0;
    if (take(at, 'Z') || take(at, 'z'))
        return true;
    sign = **at == '-' ? -1 : 1;
    if (!(take(at, '+') || take(at, '-')) || !two_digits(at, 23, &hours) || !take(at, ':') ||
        !two_digits(at, 59, &minutes))
        return false;
    *out_minutes = sign * (hours * 60 + minutes);
    return true;
}

faas_code call_time_parse(const char *text, const char *field, int64_t *out_ms, faas_err *err)
{
    struct tm tm = {.tm_isdst = 0}, real;
    const char *at = text;
    int ms, zone;
    time_t seconds;

    if (take_instant(&at, &tm) && take_fraction(&at, &ms) && take_zone(&at, &zone) && *at == '\0') {
        real = tm;
        seconds = timegm(&real);
        /* The 30th of February would be March; a leap second is the next one. */
        if (seconds >= 0 &&
            (tm.tm_sec == 60 || (real.tm_mday == tm.tm_mday && real.tm_mon == tm.tm_mon))) {
            *out_ms = ((int64_t)seconds - (int64_t)zone * 60) * 1000 + ms;
            if (*out_ms >= 0 && *out_ms <= MS_MAX)
                return FAAS_OK;
        }
    }
    return faas_fail(err, FAAS_INVALID,
                     "%s: expected a time such as 2026-01-02T03:04:05Z (RFC 3339; in a query "
                     "string + is written %%2B)",
                     field);
}

void call_id_from_ms(int64_t ms, uint8_t out_id[16])
{
    memset(out_id, 0, 16);
    for (int i = 0; i < 6; i++)
        out_id[i] = (uint8_t)(ms >> (40 - 8 * i));
}
