/* apikey_store.h - API keys in the bucket "users", their ends in "revocations".
 * Order     a key is there once its user's document has it; what leads to the user was written
 *           before.  The end of one: the document, the count of ends, then (once every gateway has
 *           seen that) what leads to the user.  So a repeat after a failure in between ends it.
 * Race      a check reads the count before the document: an answer of before an end has an old
 *           count, by which every gateway sees that it counts no more.
 * Time      deadlines are absolute faas_now_ns() instants.
 * Errors    NOT_FOUND, UNPROCESSABLE, UNAVAILABLE, BUSY; TIMEOUT (apikey_add()).
 * Threads   any but the loop's; calls block.
 */
#ifndef AUTH_APIKEY_STORE_H
#define AUTH_APIKEY_STORE_H

#include "apikey.h"
#include "store.h"

struct apikey_found {
    char user[FAAS_UUID_TEXT];
    struct apikey_owner owner;
    struct apikey key;
    int64_t ends;     /* of the user's keys, counted before */
    bool is_disabled; /* the user */
};

FAAS_MUST_CHECK faas_code apikey_store_add(const struct store *store, const struct account *owner,
                                           const struct apikey *key, int64_t keys_max,
                                           uint64_t deadline_ns, faas_err *err);
FAAS_MUST_CHECK faas_code apikey_store_list(const struct store *store, const char *user,
                                            uint64_t deadline_ns, json_t **out_items,
                                            faas_err *err);
/* Ends one (id), or all (NULL).  NOT_FOUND also when it is somebody else's.  *out_revision: of the
 * bucket "revocations". */
FAAS_MUST_CHECK faas_code apikey_store_end(const struct store *store, const char *user,
                                           const char *id, uint64_t deadline_ns,
                                           uint64_t *out_revision, faas_err *err);
/* After every gateway has seen it, for that request; what stays on failure only takes room. */
void apikey_store_forget(const struct store *store, const char *id, const char *request);
/* Did that request end the key, and forget it? */
bool apikey_store_has_ended(const struct store *store, const char *id,
                            const struct faas_ctx *caller);
/* *out_is_match false: no such key, or another hash; the store was asked as often. */
FAAS_MUST_CHECK faas_code apikey_store_check(const struct store *store, const char *id,
                                             const char *hash, uint64_t deadline_ns,
                                             struct apikey_found *out_found, bool *out_is_match,
                                             faas_err *err);
FAAS_MUST_CHECK faas_code apikey_store_use(const struct store *store, const char *user,
                                           const char *id, uint64_t deadline_ns, faas_err *err);

#endif
