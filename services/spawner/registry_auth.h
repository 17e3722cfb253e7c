/* registry_auth.h - the credentials for a pull, from a file in docker's config.json format.
 * Match     by the registry's host and port alone, exactly; a key may be written as a URL, of which
 *           the host counts ("https://index.docker.io/v1/" is docker.io).  Credentials never go to
 *           another host than the one they are listed for.
 * Files     one, or several with ':' between: the first that has the host counts.
 * File      read at every pull (a rotation needs no restart), at most 1 MiB; only "auths" is used:
 *           {"auth": base64 of user:password}, {"username","password"} or {"identitytoken"}.  It must
 *           pass base/secret.h.
 * Errors    INVALID: the file cannot be read or is not such JSON.  No entry is no error.
 * Secrets   decoded text is wiped; the header is the caller's to wipe (registry_auth_free).
 */
#ifndef SPAWNER_REGISTRY_AUTH_H
#define SPAWNER_REGISTRY_AUTH_H

#include <stddef.h>

#include "base/err.h"

/* Before the first pull: files is "", or all of them could be used. */
FAAS_MUST_CHECK faas_code registry_auth_check(const char *files, faas_err *err);
/* "X-Registry-Auth: <base64url>", or NULL when no file has anything for host. */
FAAS_MUST_CHECK faas_code registry_auth_header(const char *files, const char *host,
                                               char **out_header, faas_err *err);
/* The same credentials as a file of their own, {"auths":{host:{...}}}, or NULL. */
FAAS_MUST_CHECK faas_code registry_auth_config(const char *files, const char *host, char **out_text,
                                               faas_err *err);
/* Such a file of a user's own login, {"username","password"} in JSON.  INVALID: it is not that. */
FAAS_MUST_CHECK faas_code registry_auth_user_config(const void *login, size_t len, const char *host,
                                                    char **out_text, faas_err *err);
void registry_auth_free(char *text); /* wipes; NULL is fine */

#endif
