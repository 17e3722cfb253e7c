/* apikey.h - long-lived keys for machines: their text, and what one is for.
 * Text      faas_<id>_<secret>: 16 and 48 lower-case hex digits at random, 64 and 192 bits.  Nothing
 *           else looks like it, so whoever scans files for secrets finds it.
 * Kept      only SHA-256 of the whole text, in hex: of so many random bits no slow hash is needed.
 *           The id is no secret and names the key everywhere.
 * Scope     verbs, and patterns of function names: a name, or the beginning of names with '*' at its
 *           end.  "*" alone is every function, and what is about no single one.
 * Errors    INVALID naming the field.
 * Threads   pure; any.
 */
#ifndef FAAS_APIKEY_H
#define FAAS_APIKEY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/id.h"
#include "base/json.h"
#include "base/name.h"

#define FAAS_APIKEY_PREFIX        "faas_"
#define FAAS_APIKEY_ID_TEXT       17 /* with NUL */
#define FAAS_APIKEY_TEXT          71
#define FAAS_APIKEY_NAME_MAX      64 /* bytes */
#define FAAS_APIKEY_FUNCTIONS_MAX 16 /* patterns */

#define FAAS_APIKEY_VERBS(X)                                                                       \
    X(INVOKE, 1, "invoke") /* call functions, queue calls, end them */                             \
    X(READ, 2, "read")     /* functions, records of calls, results, logs */                        \
    X(DEPLOY, 4, "deploy") /* make functions, change and remove them */
#define X(name, bit, text) FAAS_APIKEY_##name = (bit),
enum faas_apikey_verb { FAAS_APIKEY_VERBS(X) };
#undef X

struct faas_apikey_scope {
    unsigned verbs; /* bits */
    size_t count;
    char functions[FAAS_APIKEY_FUNCTIONS_MAX][FAAS_FUNCTION_NAME_MAX + 2];
};

void faas_apikey_new(char out_text[FAAS_APIKEY_TEXT]);
/* Not a token: it begins as keys do, whole or not. */
bool faas_apikey_is_meant(const char *text);
/* False: it is none. */
bool faas_apikey_parse(const char *text, char out_id[FAAS_APIKEY_ID_TEXT],
                       char out_hash[FAAS_HASH_TEXT]);
bool faas_apikey_id_is(const char *text);
/* Whatever looks like a key in text keeps its id only: for what is logged. */
void faas_apikey_mask(char *text);

/* Arrays of strings.  Strict (from a user): absent verbs are invoke, absent functions are all, "*" is
 * every verb.  Tolerant (stored, from the bus): what is not known here grants nothing, and so does
 * what is absent. */
FAAS_MUST_CHECK faas_code faas_apikey_scope_read(const json_t *verbs, const json_t *functions,
                                                 enum faas_json_mode mode,
                                                 struct faas_apikey_scope *out_scope,
                                                 faas_err *err);
/* Both as arrays, in doc under "verbs" and "functions"; false without memory. */
bool faas_apikey_scope_write(const struct faas_apikey_scope *scope, json_t *doc);
const char *faas_apikey_verb_text(enum faas_apikey_verb verb);
/* function NULL: it is about no single one, or it is not known which. */
bool faas_apikey_allows(const struct faas_apikey_scope *scope, const char *function);

#endif
