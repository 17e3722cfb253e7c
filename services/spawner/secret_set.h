/* secret_set.h - the secrets one call is given: names, revisions, values.
 * Values    opened; in memory that is neither swapped nor dumped where the system allows it; wiped
 *           when the last reference goes.
 * Id        the same for the same names at the same revisions of one user, so that what was made for
 *           one call can serve the next.
 * Threads   loop thread.
 */
#ifndef SPAWNER_SECRET_SET_H
#define SPAWNER_SECRET_SET_H

#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/name.h"
#include "contract.h"

struct secret_value {
    unsigned refs;
    char name[FAAS_FUNCTION_NAME_MAX + 1];
    uint64_t revision;
    size_t len;
    void *bytes; /* of sodium_malloc() */
};
struct secret_set {
    unsigned refs;
    char id[FAAS_HASH_TEXT];
    size_t count;
    struct secret_value *values[FAAS_SECRETS_MAX];
};

/* take_bytes: NULL without memory, and then still the caller's. */
struct secret_value *secret_value_new(const char *name, uint64_t revision, void *take_bytes,
                                      size_t len);
struct secret_value *secret_value_ref(struct secret_value *value);
void secret_value_unref(struct secret_value *value); /* NULL is fine */

/* Of memory that its files take, in whole pages; NULL: 0. */
size_t secret_set_bytes(const struct secret_set *set);
/* Takes further references; NULL without memory. */
struct secret_set *secret_set_new(struct secret_value *const *values, size_t count);
struct secret_set *secret_set_ref(struct secret_set *set); /* NULL is fine */
void secret_set_unref(struct secret_set *set);             /* likewise */

#endif
