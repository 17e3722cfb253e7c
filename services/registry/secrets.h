/* secrets.h - secrets of functions: sealed to the registry's key in the bucket "secrets", sealed anew
 * to the spawner that asks (PROTOCOL.md sections 2 and 6).
 * Values    come in with one request and never leave but sealed; what held one is wiped.
 * Writes    compare-and-set, then wait until every live reader (registries for their lists, spawners
 *           for what they keep) has applied the change: a call that begins later has the new value.
 * Errors    NOT_FOUND, CONFLICT (functions name it), BUSY (too many), TOO_LARGE, UNAVAILABLE (no key,
 *           or another one than the value was sealed to).
 * Threads   start and stop as follow.h has it; the rest: pool threads.
 */
#ifndef REGISTRY_SECRETS_H
#define REGISTRY_SECRETS_H

#include "crypto/sealed.h"
#include "net/feed.h"
#include "net/members.h"
#include "secret_index.h"

struct secrets {
    faas_kv *kv;
    faas_members *members;
    faas_loop *loop;
    faas_sealed_key *key; /* NULL: this deployment has none */
    int64_t max;          /* of one user */
    struct secret_index index;
    faas_feed *feed; /* loop thread; age: any */
    bool is_open;
};

struct secrets_conf {
    const struct faas_runtime *rt;
    const char *key_file; /* "": none */
    int64_t max;
};

struct faas_runtime;
FAAS_MUST_CHECK faas_code secrets_start(struct secrets *secrets, const struct secrets_conf *conf,
                                        faas_err *err);
void secrets_stop(struct secrets *secrets);
void secrets_fill(struct secrets *secrets, struct faas_beat *beat);

/* A function of this record may be stored: each that it names exists.  UNPROCESSABLE. */
FAAS_MUST_CHECK faas_code secrets_check(struct secrets *secrets, const struct faas_ctx *caller,
                                        const json_t *function, faas_err *err);

/* ---- for logins.c: values under names that no secret has ---- */
struct registry;
/* *out_reply: as secret_public() has it, and "replaced". */
FAAS_MUST_CHECK faas_code secrets_put(struct secrets *secrets, const struct faas_ctx *caller,
                                      const char *name, const struct faas_sealed_value *value,
                                      json_t **out_reply, faas_err *err);
/* CONFLICT while functions name it. */
FAAS_MUST_CHECK faas_code secrets_drop(struct registry *reg, const struct faas_ctx *caller,
                                       const char *name, faas_err *err);
FAAS_MUST_CHECK faas_code secrets_list(struct secrets *secrets, const struct faas_ctx *caller,
                                       bool are_logins, json_t **out_items, faas_err *err);

/* Handlers; their state is the registry. */
faas_handler secrets_on_list, secrets_on_set, secrets_on_remove, secrets_on_ask;

#endif
