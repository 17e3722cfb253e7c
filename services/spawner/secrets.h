/* secrets.h - the secrets that calls here are given: asked of the registry, kept while they are used.
 * Asking    faas.registry.spawner.secret with the public half of a key that lives as long as this
 *           process; the answer is sealed to it (crypto/sealed.h).
 * Kept      opened, by user and name, for keep_ms after the last use, max_bytes in all; so a warm call
 *           asks nobody.
 * Changes   the bucket's feed tells of each; what is kept of that name goes, and `changed` runs.  A
 *           writer waits until this process has said that it did so; then no later call has the old
 *           value.  A feed that may not serve says nothing: then the registry is asked for
 *           each call.  What is asked while a change comes is asked again.
 * Errors    START_FAILED (no such secret), UNAVAILABLE (the registry or its store cannot be asked);
 *           the text names the secret.
 * Threads   new: any but the loop's; the rest: loop thread.
 */
#ifndef SPAWNER_SECRETS_H
#define SPAWNER_SECRETS_H

#include "base/json.h"
#include "secret_set.h"
#include "service.h"

typedef struct secrets secrets;
typedef struct secrets_wait secrets_wait;

struct secrets_conf {
    const struct faas_runtime *rt;
    int64_t max_bytes, keep_ms;
    void (*changed)(void *arg, const char *tenant); /* a secret of this user */
    void *arg;
};
FAAS_MUST_CHECK faas_code secrets_new(const struct secrets_conf *conf, secrets **out_secrets,
                                      faas_err *err);
/* Every wait has ended. */
void secrets_free(secrets *self);
void secrets_fill(const secrets *self, struct faas_beat *beat);

/* set is the callee's; NULL: err says why. */
typedef void secrets_done(void *arg, struct secret_set *take_set, const faas_err *err);
struct secrets_want {
    const char *tenant;
    const json_t *names; /* checked: names, at most FAAS_SECRETS_MAX */
    int64_t time_ms;
    secrets_done *done;
    void *arg;
};
/* From memory alone; a new reference; NULL: ask. */
struct secret_set *secrets_kept(secrets *self, const struct secrets_want *want);
/* done runs once, later, unless the wait is cancelled.  NULL: no memory. */
secrets_wait *secrets_ask(secrets *self, const struct secrets_want *want);
void secrets_cancel(secrets_wait *wait); /* NULL is fine */

#endif
