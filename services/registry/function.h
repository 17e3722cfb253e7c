/* function.h - a function record: the rules of its fields, their defaults, its JSON forms.
 * Own       "aliases" and "disabled" are the function's and no version's: they stay when its newest
 *           version changes, and changing them makes no version.
 * Body      what a client sends (API.md section 3): strict, checked by field tables.
 * Stored    one JSON object per version (PROTOCOL.md section 6), times in milliseconds since 1970.
 *           Changes are laid over the stored object, so fields of a newer release survive.
 * Public    what clients see: every field of API.md section 3, times in RFC 3339.
 * Null      a null field of an update means "back to its default"; limits and retry are changed
 *           member by member, env, labels and secrets as a whole.
 * Ownership documents are new references of the caller; a want borrows from its body.
 * Errors    INVALID for a broken rule, DENIED for another's uuid, UNPROCESSABLE for what cannot be
 *           had here; the message names the field.
 * Threads   pure; any.
 */
#ifndef REGISTRY_FUNCTION_H
#define REGISTRY_FUNCTION_H

#include "base/ctx.h"
#include "base/json.h"

enum function_verb {
    FUNCTION_CREATE,
    FUNCTION_UPDATE,  /* only the given fields change */
    FUNCTION_REPLACE, /* fields that are not given go back to their defaults */
    FUNCTION_NAME,    /* a body that only names a function */
};

/* A body that kept every rule. */
struct function_want {
    const char *name;
    const char *payload; /* NULL: not given */
    int64_t version;     /* the version the client saw; 0: not given */
    bool is_empty;       /* names the function and changes nothing */
    bool is_of_versions; /* changes what makes a new version */
    bool is_disabling;
    const json_t *body;
};

/* The three in function_rules.c: bodies. */
FAAS_MUST_CHECK faas_code function_read(const json_t *body, enum function_verb verb,
                                        const struct faas_ctx *caller,
                                        struct function_want *out_want, faas_err *err);
/* uuid or uui of a body, NULL when absent, must be the caller's own id. */
FAAS_MUST_CHECK faas_code function_check_owner(const char *uuid, const char *uui,
                                               const struct faas_ctx *caller, faas_err *err);
/* A number of a query string ("20") or of JSON (20); absent keeps *out_value. */
FAAS_MUST_CHECK faas_code function_read_number(const json_t *value, const char *field,
                                               const int64_t range[2], int64_t *out_value,
                                               faas_err *err);

/* The stored form of a new function: version 1, a fresh id, no image yet. */
FAAS_MUST_CHECK faas_code function_make(const struct function_want *want,
                                        const struct faas_ctx *caller, json_t **out_doc,
                                        faas_err *err);
/* The next version of doc (UPDATE or REPLACE); the image stays until function_set_image(). */
FAAS_MUST_CHECK faas_code function_change(const json_t *doc, const struct function_want *want,
                                          enum function_verb verb, json_t **out_doc, faas_err *err);
/* ---- function_own.c: what is the function's own; each makes a new head of the same version ---- */
/* {"version":3} or {"versions":{"3":90,"4":10}}, the rest of the body having been read. */
struct function_alias {
    const char *name;
    json_t *version, *versions; /* borrowed; NULL or null: not given */
};
/* *out_parts: {"3":90,"4":10} by version, a new reference. */
FAAS_MUST_CHECK faas_code function_read_parts(const struct function_alias *alias,
                                              json_t **out_parts, faas_err *err);
/* parts NULL: without the alias; NOT_FOUND when there is none. */
FAAS_MUST_CHECK faas_code function_set_alias(const json_t *doc, const char *alias, json_t *parts,
                                             json_t **out_doc, faas_err *err);
/* {alias: {"3":90}} as people see it, a new reference; NULL only without memory. */
json_t *function_aliases(const json_t *doc);
bool function_is_disabled(const json_t *doc);
/* As the body says; nothing where it says nothing. */
FAAS_MUST_CHECK faas_code function_take_disabled(json_t *doc, const json_t *body, faas_err *err);
/* The next version of head with the content of an earlier one. */
FAAS_MUST_CHECK faas_code function_back(const json_t *head, const json_t *version, json_t **out_doc,
                                        faas_err *err);

/* The next version of doc with nothing changed. */
FAAS_MUST_CHECK faas_code function_next(const json_t *doc, json_t **out_doc, faas_err *err);
/* Takes digest, reference and command from a spawner's answer to `resolve`.  UNPROCESSABLE when
 * the image has no command, or one that would swallow the argument. */
FAAS_MUST_CHECK faas_code function_set_image(json_t *doc, const json_t *resolved, faas_err *err);

/* Bytes of a stored value -> document, with the fields that the registry relies on checked. */
FAAS_MUST_CHECK faas_code function_check(const json_t *doc, faas_err *err); /* these fields alone */
FAAS_MUST_CHECK faas_code function_parse(const void *value, size_t len, json_t **out_doc,
                                         faas_err *err);
/* A head or a version, without what is the function's own.  Shares its values with doc: neither is
 * changed in place.  NULL only without memory. */
json_t *function_public_version(const json_t *doc);
json_t *function_public(const json_t *doc); /* of a head */
/* Out of the public forms of versions, an array. */
void function_hide_own(json_t *items);

const char *function_name(const json_t *doc);
const char *function_id(const json_t *doc);
const char *function_payload(const json_t *doc);
/* Where its image is decides what can run it: "sandbox" or "docker". */
const char *function_isolation(const json_t *doc);
/* Writes it to the record, whatever was asked for. */
FAAS_MUST_CHECK faas_code function_tell_isolation(json_t *doc, faas_err *err);
int64_t function_version(const json_t *doc);
bool function_same_image(const json_t *a, const json_t *b); /* digest and command are equal */

#endif
