/* apikey.h - what is kept of a user's API keys.
 * Records   one document per user, a.<user id> in the bucket "users": every key's hash, name, scope
 *           and times; so their number is bounded by compare-and-set.  k.<key id> leads to the user.
 * Bodies    {"name","verbs"?,"functions"?,"expires_in"?}, strict.
 * Values    as stored; len 0: none yet.  Fields that are not known here stay.
 * Used      a key's "used_at" is only as fine as APIKEY_USED_MS: one write an hour at most.
 * Errors    INVALID naming the field; UNPROCESSABLE (no room for another); INTERNAL when
 *           stored bytes are not what we write.
 * Threads   pure; any.
 */
#ifndef AUTH_APIKEY_H
#define AUTH_APIKEY_H

#include <stdint.h>

#include "account.h"
#include "crypto/apikey.h"

#define APIKEY_USED_MS 3600000
#define APIKEY_LIFE_S  7776000 /* 90 days, where nothing is said */

struct apikey {
    char id[FAAS_APIKEY_ID_TEXT], hash[FAAS_HASH_TEXT];
    char name[FAAS_APIKEY_NAME_MAX + 1];
    struct faas_apikey_scope scope;
    int64_t created_at, used_at;  /* milliseconds since 1970; used_at 0: never yet */
    int64_t expires_at;           /* seconds since 1970 */
    char made_by[FAAS_UUID_TEXT]; /* the request; "" when it is not known */
    bool is_again;                /* the request: what it made before was shown to nobody */
};
struct apikey_owner { /* copied beside the keys, so that a check reads one document */
    char tenant[FAAS_UUID_TEXT], username[FAAS_USER_NAME_MAX + 1];
};

/* A new key, without id and hash.  life_max_s: the longest life allowed. */
FAAS_MUST_CHECK faas_code apikey_read(const json_t *body, int64_t now_ms, int64_t life_max_s,
                                      struct apikey *out_key, faas_err *err);
void apikey_key(const char *id, char out_key[ACCOUNT_KEY_MAX]);        /* k.<id> */
void apikey_keys_key(const char *user, char out_key[ACCOUNT_KEY_MAX]); /* a.<user> */
/* As the owner may see it: without its hash.  NULL without memory. */
json_t *apikey_json(const struct apikey *key);

/* The document once it holds key, too, and no other one that the same request made, a new reference;
 * *out_doc NULL: it holds key already.  TIMEOUT: it holds another one, and the request is not asked
 * again, so that one was shown. */
FAAS_MUST_CHECK faas_code apikey_add(const void *value, size_t len,
                                     const struct apikey_owner *owner, const struct apikey *key,
                                     int64_t keys_max, json_t **out_doc, faas_err *err);
/* The document without that one, or without any (id NULL); *out_doc NULL: nothing changes. */
FAAS_MUST_CHECK faas_code apikey_remove(const void *value, size_t len, const char *id,
                                        json_t **out_doc, faas_err *err);
/* The document after a use; *out_doc NULL: that is known well enough, or the key is gone. */
FAAS_MUST_CHECK faas_code apikey_use(const void *value, size_t len, const char *id, int64_t now_ms,
                                     json_t **out_doc, faas_err *err);
/* Array of apikey_json(), oldest first; a new reference. */
FAAS_MUST_CHECK faas_code apikey_list(const void *value, size_t len, json_t **out_items,
                                      faas_err *err);
/* *out_is_match: there is such a key, and the hash is its own.  Takes as long without one. */
FAAS_MUST_CHECK faas_code apikey_find(const void *value, size_t len, const char *id,
                                      const char *hash, struct apikey *out_key,
                                      struct apikey_owner *out_owner, bool *out_is_match,
                                      faas_err *err);

#endif
