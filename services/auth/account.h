/* account.h - who may have an account, and what is kept of one.
 * Bodies    {"username","password","invitation"?} to register, {"username","password"},
 *           {"current_password","new_password","keys"?}, strict; the name is folded to lower case before
 *           any use.
 * Records   two stored values (PROTOCOL.md section 6): the name's, keyed by a hash of the folded
 *           name, leads to the user's, keyed by its UUID.  Neither key holds user text.
 * Passwords are kept as argon2id hashes; the text itself is borrowed from the body and goes
 *           nowhere else.
 * Errors    INVALID for a broken rule, naming the field.
 * Threads   pure; any.
 */
#ifndef AUTH_ACCOUNT_H
#define AUTH_ACCOUNT_H

#include <stdint.h>

#include "base/id.h"
#include "base/json.h"
#include "base/name.h"
#include "base/standing.h"
#include "crypto/password.h"

#define ACCOUNT_KEY_MAX      80   /* with NUL: "n." and 64 hex digits */
#define ACCOUNT_PASSWORD_MAX 1024 /* bytes */

struct account_req {
    const char *username, *password; /* borrowed from the body */
    const char *invitation;          /* NULL: none came */
};

struct account {
    char id[FAAS_UUID_TEXT], tenant[FAAS_UUID_TEXT];
    char username[FAAS_USER_NAME_MAX + 1]; /* folded */
    char password[FAAS_PASSWORD_HASH_MAX]; /* argon2id */
    int64_t created_at;                    /* milliseconds since 1970 */
    int64_t generation; /* of the sessions; kept apart, as the next: sessions.h */
    struct faas_standing standing;
    uint64_t revision;            /* of the stored value; 0: not stored yet */
    char made_by[FAAS_UUID_TEXT]; /* the registration; "" when it is not known */
};

struct account_change {
    const char *current, *wanted; /* passwords; borrowed from the body */
    bool ends_keys;               /* API keys too; else they stay */
};

FAAS_MUST_CHECK faas_code account_read(const json_t *body, struct account_req *out_req,
                                       faas_err *err);
FAAS_MUST_CHECK faas_code account_read_new(const json_t *body, struct account_req *out_req,
                                           faas_err *err);
FAAS_MUST_CHECK faas_code account_read_change(const json_t *body, struct account_change *out_change,
                                              faas_err *err);
/* A new account with fresh ids; the password's hash is the caller's to fill in. */
void account_init(struct account *account, const char *folded_name);

void account_name_key(const char *folded_name, char out_key[ACCOUNT_KEY_MAX]);
void account_user_key(const char *id, char out_key[ACCOUNT_KEY_MAX]);
json_t *account_name_record(const struct account *account); /* NULL without memory */
json_t *account_user_record(const struct account *account);
/* Stored bytes -> id of the user; INTERNAL when they are not what we write. */
FAAS_MUST_CHECK faas_code account_parse_name(const void *value, size_t len,
                                             char out_id[FAAS_UUID_TEXT], faas_err *err);
/* Did that registration make the name's value? */
bool account_is_made_by(const void *value, size_t len, const char *request);
FAAS_MUST_CHECK faas_code account_parse_user(const void *value, size_t len, const char *id,
                                             struct account *out_account, faas_err *err);
/* The stored value with another password, by that request; fields that are not known here stay.  A new
 * reference. */
FAAS_MUST_CHECK faas_code account_with_password(const void *value, size_t len, const char *hash,
                                                const char *request, json_t **out_record,
                                                faas_err *err);

#endif
