/* files.h - the store's files and folders, by descriptor and never by a path somebody else shaped.
 * Errors    INTERNAL with path and errno in detail; NOT_FOUND and TOO_LARGE where said.
 * Threads   any.
 */
#ifndef SPAWNER_IMAGE_FILES_H
#define SPAWNER_IMAGE_FILES_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/json.h"

#define FILES_DEPTH_MAX 256 /* folders in folders that files_remove_tree goes down */

/* Resolved below dir alone: neither "..", nor a symbolic link, nor a magic link leads out of it.
 * Like openat: -1 and errno. */
int files_open_below(int dir, const char *path, int flags);
/* Like files_open_below; no symbolic link is followed at all. */
int files_open_plain(int dir, const char *path, int flags);
/* A new file for writing, 0600: EEXIST when anything has that name. */
int files_create(int dir, const char *name);

/* The folder `name` in dir, made when missing.  INVALID when it is another user's or others may
 * enter it. */
FAAS_MUST_CHECK faas_code files_private_dir(int dir, const char *name, int *out_fd, faas_err *err);
/* A whole plain file of at most max bytes, from its beginning; a NUL follows; the caller frees. */
FAAS_MUST_CHECK faas_code files_read(int fd, size_t max, char **out_text, size_t *out_len,
                                     faas_err *err);
/* The file is there with all its contents on disk, or as it was before: written as `spare` in the
 * folder spare_dir and renamed. */
FAAS_MUST_CHECK faas_code files_write(int spare_dir, const char *spare, int dir, const char *name,
                                      const json_t *doc, faas_err *err);
/* Removes `name` of dir and everything in it; no link is followed.  Gone already is fine. */
FAAS_MUST_CHECK faas_code files_remove_tree(int dir, const char *name, faas_err *err);

#endif
