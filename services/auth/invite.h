/* invite.h - invitations: each lets one person make one account, until it expires.
 * Code      32 hex digits at random, shown once to the operator who asked; the store knows its
 *           hash, so reading the store gives no invitation.
 * Record    bucket "users", i.<sha256(code)> (PROTOCOL.md section 6).
 * Use       a registration claims the record by compare-and-set, so one of any number wins; it
 *           gives the invitation back when no account came of it, and removes it otherwise.  When
 *           its process dies in between, the gateway asks another one with the same id.
 * Errors    DENIED (not there, used, or expired: the answer does not say which), UNAVAILABLE.
 * Time      deadlines are absolute faas_now_ns() instants, expiry is milliseconds since 1970.
 * Threads   any but the loop's; calls block.
 */
#ifndef AUTH_INVITE_H
#define AUTH_INVITE_H

#include "account.h"
#include "net/kv.h"

struct invite {
    char key[ACCOUNT_KEY_MAX];
    int64_t expires_at;
    uint64_t revision;
    char request[FAAS_UUID_TEXT]; /* the registration that claims it */
};

/* *out_reply: {"invitation","expires_at"}, a new reference. */
FAAS_MUST_CHECK faas_code invite_make(faas_kv *users, int64_t life_s, uint64_t deadline_ns,
                                      json_t **out_reply, faas_err *err);
/* A look without a claim.  code: as it came from the client; NULL: none came.  One that was claimed is
 * found by the registration that did: another instance had it, and is gone. */
FAAS_MUST_CHECK faas_code invite_find(faas_kv *users, const char *code,
                                      const struct faas_ctx *caller, struct invite *out_invite,
                                      faas_err *err);
/* invite comes from invite_find() and must be given back or removed afterwards. */
FAAS_MUST_CHECK faas_code invite_claim(faas_kv *users, struct invite *invite, uint64_t deadline_ns,
                                       faas_err *err);
void invite_give_back(faas_kv *users, struct invite *invite);
void invite_remove(faas_kv *users, const struct invite *invite);

#endif
