/* secret_index.h - what there is of secrets, by user: names, times and sizes.  Never a value.
 * Source    changes of the bucket "secrets", in their order (PROTOCOL.md section 6).
 * Ownership copies of what is applied; lists are new references of the caller.
 * Threads   apply: one; the rest: any, at the same time.
 */
#ifndef REGISTRY_SECRET_INDEX_H
#define REGISTRY_SECRET_INDEX_H

#include <pthread.h>

#include "base/id.h"
#include "base/json.h"

#define SECRET_KEY_MAX 80 /* of a bucket's key, with NUL */

struct secret_index {
    pthread_rwlock_t lock;
    void *tree; /* guarded by lock */
};

/* "s.<tenant>.<first 32 hex of sha256(name)>" */
void secret_key(const char *tenant, const char *name, char out_key[SECRET_KEY_MAX]);

void secret_index_init(struct secret_index *index);
void secret_index_done(struct secret_index *index);
/* value NULL: deleted.  Keys of other shapes are passed over.  INTERNAL: not of a known shape, or no
 * memory. */
FAAS_MUST_CHECK faas_code secret_index_apply(struct secret_index *index, const char *key,
                                             const void *value, size_t len, faas_err *err);
bool secret_index_has(struct secret_index *index, const char *tenant, const char *name);
int64_t secret_index_count(struct secret_index *index, const char *tenant);
/* [{"name","created_at","updated_at","size"}] by name, as clients see it: of secrets, or of logins,
 * whose names begin with FAAS_LOGIN_MARK. */
FAAS_MUST_CHECK faas_code secret_index_list(struct secret_index *index, const char *tenant,
                                            bool are_logins, json_t **out_items, faas_err *err);
/* One of these items from a stored value. */
json_t *secret_public(const json_t *doc);

#endif
