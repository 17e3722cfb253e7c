/* accounts.h - a file of an image, as its layers together show it: etc/passwd and etc/group.
 * Rule      the highest layer that has it decides; a whiteout or an opaque folder above hides it;
 *           what is not a plain file of at most IMAGE_ACCOUNTS_MAX bytes is not there.  No symbolic
 *           link is followed.
 * Errors    INTERNAL only.
 * Threads   any.
 */
#ifndef SPAWNER_IMAGE_ACCOUNTS_H
#define SPAWNER_IMAGE_ACCOUNTS_H

#include "store_internal.h"

/* Sets the config's uid and gid from its user. */
FAAS_MUST_CHECK faas_code accounts_resolve(struct image_store *store, struct image_spec *spec,
                                           faas_err *err);

#endif
