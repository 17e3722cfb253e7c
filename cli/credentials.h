/* credentials.h - what `faas login` keeps: one token per server, in a file only the user may read.
 * File      $XDG_CONFIG_HOME/faas/credentials.json (else ~/.config/...), mode 0600; replaced whole
 *           by rename.  A file that the group or others may read is refused, not repaired: its
 *           token may be known already.
 * Shape     {"v":1,"default":URL,"servers":{URL:{"username","token","expires_at","ca_file"?}}}; a
 *           token is only ever sent to the server that gave it.
 * Ownership strings of struct credential belong to it until credential_done(), which wipes.
 * Errors    INVALID naming the file and what to do; NOT_FOUND never: a missing file reads as empty.
 * Threads   the main thread only.
 */
#ifndef CLI_CREDENTIALS_H
#define CLI_CREDENTIALS_H

#include <stdint.h>

#include "base/err.h"

#define CREDENTIALS_DEFAULT_SERVER "http://127.0.0.1:8080"

struct credential {
    char *server;   /* without trailing slash; never NULL after a successful load */
    char *username; /* NULL when not logged in */
    char *token;    /* likewise */
    int64_t expires_at_ms;
    char *ca_file; /* absolute path; NULL: the system's certificates */
};

/* The server to use (asked_server, FAAS_URL, OPENFAAS_URL, the last login's, the built-in one, in
 * this order) and the login kept for it. */
FAAS_MUST_CHECK faas_code credential_load(const char *asked_server,
                                          struct credential *out_credential, faas_err *err);
/* Keeps the login and makes its server the default. */
FAAS_MUST_CHECK faas_code credential_save(const struct credential *credential, faas_err *err);
/* Forgets the login of that server; nothing kept is fine. */
FAAS_MUST_CHECK faas_code credential_forget(const char *server, faas_err *err);
void credential_done(struct credential *credential);
/* "http://host:port" in one form: scheme added when missing, trailing slashes dropped; INVALID for
 * other schemes, credentials in the URL, blanks and control characters.  The caller frees. */
FAAS_MUST_CHECK faas_code credential_server_url(const char *text, char **out_url, faas_err *err);

#endif
