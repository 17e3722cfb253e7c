/* registry_folder.h - the folder that one run of skopeo sees as its /tmp, in a staging folder: what it
 * is to copy, or has copied, and the login of that registry alone.
 * Owner     IMAGE_FETCHER when this process is root.
 * Errors    of registry_auth.h; INTERNAL.
 * Threads   any.
 */
#ifndef SPAWNER_IMAGE_REGISTRY_FOLDER_H
#define SPAWNER_IMAGE_REGISTRY_FOLDER_H

#include <stdbool.h>

#include "base/err.h"

struct registry_folder {
    int staging; /* borrowed */
    int fd;
    bool has_login; /* auth.json */
};
struct registry_access {
    const char *host;
    const char *auth_file; /* NULL or "" for none */
    const char *login;     /* text of an auth.json, which counts alone; NULL: auth_file */
};
FAAS_MUST_CHECK faas_code registry_folder_open(int staging, const struct registry_access *access,
                                               struct registry_folder *out_folder, faas_err *err);
/* A folder in it; out_fd may be NULL. */
FAAS_MUST_CHECK faas_code registry_folder_make(const struct registry_folder *folder,
                                               const char *name, int *out_fd, faas_err *err);
void registry_folder_close(struct registry_folder *folder);

#endif
