/* file.h - small files of the user and of `faas up`.
 * Writes    go to a temporary file in the same directory, then rename: readers see old or new.
 * Errors    INVALID with the path and the system's reason in msg: the user's own files, so the user
 *           may read both.
 * Threads   any.
 */
#ifndef CLI_FILE_H
#define CLI_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/json.h"

#define FILE_SMALL_MAX (1024 * 1024)

/* "no such file" and the like, thread-safe: INVALID "PATH: cannot WHAT: reason". */
faas_code file_fail(faas_err *err, const char *what, const char *path, int errnum);
/* On disk when it returns. */
FAAS_MUST_CHECK faas_code file_write(const char *path, const void *data, size_t len, mode_t mode,
                                     faas_err *err);
/* As file_write without waiting for the disk: for what is worthless after a crash. */
FAAS_MUST_CHECK faas_code file_write_quick(const char *path, const void *data, size_t len,
                                           faas_err *err);
/* NULL in *out_text when there is no such file.  A NUL follows the text; the caller frees. */
FAAS_MUST_CHECK faas_code file_read(const char *path, char **out_text, size_t *out_len,
                                    faas_err *err);
/* As file_read for a JSON object; *out_doc NULL when there is no such file. */
FAAS_MUST_CHECK faas_code file_read_json(const char *path, json_t **out_doc, faas_err *err);
FAAS_MUST_CHECK faas_code file_write_json(const char *path, const json_t *doc, mode_t mode,
                                          faas_err *err);
/* Makes the directory and its missing parents (0700 each). */
FAAS_MUST_CHECK faas_code file_make_dirs(const char *path, faas_err *err);
/* printf into new memory; the caller frees.  NULL only without memory. */
char *file_path(const char *fmt, ...) FAAS_PRINTF(1, 2);

#endif
