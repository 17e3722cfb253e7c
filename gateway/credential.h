/* credential.h - what an Authorization field holds.
 * Forms     "Bearer TEXT" (any case), a bare TEXT, or "Basic" with an API key as the password and any
 *           user name, as faas-cli sends it.  TEXT is a token or an API key (crypto/apikey.h).
 * Keys      leave as id and hash: the text itself goes nowhere else.
 * Threads   pure; any.
 */
#ifndef GATEWAY_CREDENTIAL_H
#define GATEWAY_CREDENTIAL_H

#include "crypto/apikey.h"

struct credential {
    enum credential_kind {
        CREDENTIAL_NONE,
        CREDENTIAL_BAD,     /* another scheme, or too long */
        CREDENTIAL_BAD_KEY, /* meant as a key, and none */
        CREDENTIAL_TOKEN,
        CREDENTIAL_KEY,
    } kind;
    const char *token; /* borrowed from the field */
    char id[FAAS_APIKEY_ID_TEXT], hash[FAAS_HASH_TEXT];
};

/* field: its value, NULL when absent. */
void credential_read(const char *field, struct credential *out_credential);

#endif
