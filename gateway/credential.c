#include "gateway/credential.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

#include "crypto/token.h"

#define BASIC_MAX 512 /* bytes of user name and password */

/* What follows the scheme's name; NULL: the field is of another scheme. */
static const char *after(const char *field, const char *scheme)
{
    size_t len = strlen(scheme);

    if (strncasecmp(field, scheme, len) != 0 || (field[len] != ' ' && field[len] != '\0'))
        return NULL;
    return field + len + strspn(field + len, " ");
}

static void read_key(const char *text, struct credential *credential)
{
    credential->kind = faas_apikey_parse(text, credential->id, credential->hash)
                           ? CREDENTIAL_KEY
                           : CREDENTIAL_BAD_KEY;
}

static void read_basic(const char *encoded, struct credential *credential)
{
    unsigned char text[BASIC_MAX + 1];
    const unsigned char *colon;
    size_t len = 0;

    credential->kind = CREDENTIAL_BAD_KEY;
    if (sodium_base642bin(text, BASIC_MAX, encoded, strlen(encoded), NULL, &len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) == 0) {
        text[len] = '\0';
        colon = memchr(text, ':', len);
        if (colon != NULL && strlen((const char *)text) == len)
            read_key((const char *)colon + 1, credential);
    }
    sodium_memzero(text, sizeof text);
}

static void read_bearer(const char *text, struct credential *credential)
{
    if (text[0] == '\0')
        credential->kind = CREDENTIAL_NONE;
    else if (faas_apikey_is_meant(text))
        read_key(text, credential);
    else if (strlen(text) <= FAAS_TOKEN_MAX) {
        credential->kind = CREDENTIAL_TOKEN;
        credential->token = text;
    }
}

void credential_read(const char *field, struct credential *out_credential)
{
    const char *rest;

    *out_credential = (struct credential){.kind = CREDENTIAL_BAD};
    if (field == NULL)
        field = "";
    field += strspn(field, " \t");
    if ((rest = after(field, "Bearer")) != NULL)
        read_bearer(rest, out_credential);
    else if ((rest = after(field, "Basic")) != NULL)
        read_basic(rest, out_credential);
    else if (strchr(field, ' ') == NULL)
        read_bearer(field, out_credential);
}
