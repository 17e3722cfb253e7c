/* revoked.h - the tokens that count no more, kept up from the bucket "revocations".
 * Entries   per user: the generation its tokens must have reached, and single tokens with their
 *           ends (PROTOCOL.md section 6), and the user's standing.  What has ended is forgotten.
 * Threads   revoked_has: any; apply and sweep: one at a time.
 */
#ifndef GATEWAY_REVOKED_H
#define GATEWAY_REVOKED_H

#include <pthread.h>

#include "base/standing.h"
#include "crypto/token.h"

struct revoked {
    pthread_rwlock_t lock;
    void *users; /* a tsearch() tree; guarded by lock */
};

void revoked_init(struct revoked *revoked);
void revoked_done(struct revoked *revoked);
/* A change of the bucket; keys of other things are ignored.  len 0: deleted.  INTERNAL for a value
 * that cannot be read: what was known of the user stays. */
FAAS_MUST_CHECK faas_code revoked_apply(struct revoked *revoked, const char *key, const void *value,
                                        size_t len, faas_err *err);
/* What administrators decided about that user. */
void revoked_standing(struct revoked *revoked, const char *user,
                      struct faas_standing *out_standing);
/* How often API keys of that user were ended (access.h). */
int64_t revoked_keys(struct revoked *revoked, const char *user);
bool revoked_has(struct revoked *revoked, const struct faas_token_claims *claims);
void revoked_sweep(struct revoked *revoked, int64_t now_s);

#endif
