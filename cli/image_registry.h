/* image_registry.h - the registry of images that `faas up --registry` runs beside the platform:
 * Debian's docker-registry, on loopback, with a login.
 * Files     DIR/registry/config.json, htpasswd and data/; DIR/keys/registry-login.json (0600): the
 *           login in docker's config.json format, made once, for whoever may read DIR.
 * Address   127.0.0.1:PORT.  It is part of the images' names, so the port stays what it is.
 * Errors    INVALID (a file of the directory), UNAVAILABLE (docker-registry is missing), NOT_FOUND.
 * Threads   the main thread.
 */
#ifndef CLI_IMAGE_REGISTRY_H
#define CLI_IMAGE_REGISTRY_H

#include "base/err.h"

#define IMAGE_REGISTRY_NAME "image-registry" /* among the platform's parts */

struct image_registry { /* owned: image_registry_done */
    char *address, *program, *conf_path, *login_path;
};
/* Everything it needs to be started as `PROGRAM serve CONF`. */
FAAS_MUST_CHECK faas_code image_registry_make(const char *dir, int port,
                                              struct image_registry *out_registry, faas_err *err);
void image_registry_done(struct image_registry *registry);

/* The registry that runs beside the platform in DIR, for its command line; NOT_FOUND: none does.
 * The caller frees. */
FAAS_MUST_CHECK faas_code image_registry_find(const char *dir, char **out_address, faas_err *err);
/* DIR/keys/registry-login.json; NULL without memory.  The caller frees. */
char *image_registry_login(const char *dir);

#endif
