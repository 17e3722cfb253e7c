/* user.h - USER of an image, resolved with the image's own files and never with the machine's.
 * Grammar   "", NAME or NUMBER, and optionally ":" and NAME or NUMBER.  A number has one to five
 *           digits and is below IMAGE_OWNER_COUNT: nothing wraps round to root.
 * Files     passwd(5) and group(5) of the image, hostile: lines that do not parse are skipped, the
 *           first match counts.
 * Default   "" is nobody; user and group 0 are nobody, too.  Without a group it is the one of the
 *           user's line, else nobody's.
 * Errors    INVALID saying what is allowed; UNPROCESSABLE: the name is not in the image.
 * Threads   pure values.
 */
#ifndef SPAWNER_IMAGE_USER_H
#define SPAWNER_IMAGE_USER_H

#include "store.h"

#define IMAGE_ACCOUNTS_MAX (1024 * 1024) /* bytes of either file that are looked at */

struct image_accounts { /* NULL: the image has no such file */
    const char *passwd;
    size_t passwd_len;
    const char *group;
    size_t group_len;
};
FAAS_MUST_CHECK faas_code image_user_resolve(const char *user,
                                             const struct image_accounts *accounts,
                                             uint32_t *out_uid, uint32_t *out_gid, faas_err *err);

#endif
