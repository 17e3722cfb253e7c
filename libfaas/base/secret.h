/* secret.h - may an open file be trusted to hold a secret of ours?
 * Rule      a plain file, not empty, owned by this user or by root, without rights for group and
 *           others.  A symbolic link counts only when it leads to a file below the link's own
 *           folder, as the mounts of container platforms make them; anywhere else somebody other
 *           than the folder's owner may decide what the secret is.
 * Errors    INVALID naming the file and what to do; never its contents.
 * Threads   any.
 */
#ifndef FAAS_SECRET_H
#define FAAS_SECRET_H

#include "base/err.h"

/* fd is path, opened for reading; nothing is read. */
FAAS_MUST_CHECK faas_code faas_secret_check(int fd, const char *path, faas_err *err);

#endif
