/* call_record.h - a call's record: what publishers note of it, laid together, and what clients see.
 * Note      PROTOCOL.md section 8: one JSON object, the whole record as far as its writer knew it.
 * Merging   of two notes of one call the one with the higher order counts; what only the other one
 *           knows (a note of an end whose publisher is gone knows little) is kept.
 * Public    API.md 2: times in RFC 3339, without what belongs to the inside.
 * Ownership documents are new references of the caller; strings are borrowed from them.
 * Threads   pure; any.
 */
#ifndef REGISTRY_CALL_RECORD_H
#define REGISTRY_CALL_RECORD_H

#include "base/id.h"
#include "base/json.h"

/* Status of a call that nobody speaks for any more, and its event's number (history.h). */
#define CALL_STATUS_UNKNOWN "unknown"
#define CALL_EVENT_UNKNOWN  4
#define CALL_EVENTS         8 /* order = attempt x 8 + event */

struct call_note {
    const char *id, *tenant, *status, *function, *log;
    int64_t order, log_bytes;
    const char *line; /* as it was read, without a line's end; borrowed from the reader's text */
    size_t len;
    json_t *doc; /* owned: call_note_done() */
};
/* INVALID: no note. */
FAAS_MUST_CHECK faas_code call_note_read(const char *line, size_t len, struct call_note *out_note,
                                         faas_err *err);
void call_note_done(struct call_note *note);

/* What is stored: stored's own document changes in place; *out_is_changed false: the note says
 * nothing new.  stored_order: of the note that counts so far. */
FAAS_MUST_CHECK faas_code call_record_merge(json_t *stored, int64_t stored_order,
                                            const struct call_note *note, bool *out_is_changed,
                                            faas_err *err);
/* NULL only without memory. */
json_t *call_record_public(const json_t *stored);
bool call_status_is(const char *text); /* one that records have */

/* "2026-01-02T03:04:05[.678](Z|+01:00)" -> milliseconds since 1970.  INVALID naming the field. */
FAAS_MUST_CHECK faas_code call_time_parse(const char *text, const char *field, int64_t *out_ms,
                                          faas_err *err);
/* The lowest id of a call of that instant or later (UUIDv7). */
void call_id_from_ms(int64_t ms, uint8_t out_id[16]);

#endif
