/* json.h - checked decoding of JSON objects by field tables, on jansson.
 * Table     one row per field: name, kind, where it goes, bounds, required or not.  Strings are
 *           borrowed from the document.
 * Strict    (public bodies) unknown fields, wrong types and values out of bounds fail; duplicates
 *           fail in faas_json_parse.
 * Tolerant  (stored values, bus messages) unknown fields are ignored.
 * Errors    INVALID: "limits.memory_mb: expected integer, got string", "name: required",
 *           "colour: unknown field", "limits.pids: 1 to 4096, got 0".  INTERNAL: no memory.
 * Memory    use these and not json_loadb(), json_dumps(), json_copy() or json_deep_copy(), which
 *           lose parts when it is short.
 * Strings   are UTF-8 without NUL (jansson refuses others).
 */
#ifndef FAAS_JSON_H
#define FAAS_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

FAAS_DEFINE_AUTO(json_t, json_decref)

struct faas_json_field {
    const char *name; /* NULL ends a table */
    enum faas_json_kind {
        FAAS_JSON_STR,    /* const char *, borrowed; min..max are bytes */
        FAAS_JSON_INT,    /* int64_t */
        FAAS_JSON_REAL,   /* double; integers accepted */
        FAAS_JSON_BOOL,   /* bool */
        FAAS_JSON_OBJECT, /* nested table `sub`, same base pointer plus offset */
        FAAS_JSON_ANY,    /* json_t *, borrowed; not checked */
        FAAS_JSON_MAP,  /* json_t *, borrowed: object whose values are strings; min..max entries */
        FAAS_JSON_LIST, /* json_t *, borrowed: array of strings; min..max entries */
    } kind;
    size_t offset; /* of the target inside the decoded struct */
    double min, max;
    bool is_required;
    const struct faas_json_field *sub;
    size_t present_offset; /* of a bool set true when the field was there; SIZE_MAX: none */
};
/* lo..hi are inclusive; 0, 0 means unbounded.  A string is counted in bytes, a map or list in
 * entries. */
#define FAAS_FIELD(kind, type, member, fname, lo, hi, req)                                         \
    {                                                                                              \
        (fname), FAAS_JSON_##kind, offsetof(type, member), (lo), (hi), (req), NULL, SIZE_MAX       \
    }
/* Never required; `present` is a bool member set true when the field was there, also as null:
 * null with the target left at its default reads as "back to the default". */
#define FAAS_FIELD_P(kind, type, member, present, fname, lo, hi)                                   \
    {                                                                                              \
        (fname), FAAS_JSON_##kind, offsetof(type, member), (lo), (hi), false, NULL,                \
            offsetof(type, present)                                                                \
    }
/* A nested object; subfields is its table, whose offsets count from the start of `member`. */
#define FAAS_FIELD_OBJECT(type, member, fname, subfields, req)                                     \
    {                                                                                              \
        (fname), FAAS_JSON_OBJECT, offsetof(type, member), 0, 0, (req), (subfields), SIZE_MAX      \
    }
#define FAAS_FIELD_END                                                                             \
    {                                                                                              \
        .name = NULL                                                                               \
    }

enum faas_json_mode { FAAS_JSON_STRICT, FAAS_JSON_TOLERANT };

/* Bytes -> object.  Rejects: not UTF-8, not JSON, not an object, duplicate keys, trailing bytes.
 * len 0 reads as {} only if empty_is_object.  The caller owns *out_doc. */
FAAS_MUST_CHECK faas_code faas_json_parse(const void *text, size_t len, bool empty_is_object,
                                          json_t **out_doc, faas_err *err);
/* Any JSON value, with jansson's flags; NULL: it is none, or no memory. */
json_t *faas_json_load(const void *text, size_t len, size_t flags);
/* A new document; its entries are shared, or copied as well.  NULL only without memory. */
json_t *faas_json_copy(const json_t *doc);
json_t *faas_json_deep_copy(const json_t *doc);
/* Fields that are absent or null leave their targets untouched (set defaults before).  After a
 * failure *out is partly written. */
FAAS_MUST_CHECK faas_code faas_json_decode(const json_t *doc, const struct faas_json_field *fields,
                                           enum faas_json_mode mode, void *out, faas_err *err);
/* Compact text, keys in insertion order, reals with 15 digits; the caller frees.  NULL only without memory (a doc of NULL
 * has none either).  out_len may be NULL. */
char *faas_json_text(const json_t *doc, size_t *out_len);
/* Overwrites every string in it, names of members aside, before it is let go: one may be a secret.
 * Nothing reads doc afterwards. */
void faas_json_wipe(json_t *doc);
/* The same with jansson's flags. */
char *faas_json_dump(const json_t *doc, size_t flags, size_t *out_len);

#endif
