/* A text as an Authorization field, as an API key, and as JSON of what a key is for.  A key is taken
 * only in exactly its shape, and its id is part of the text; a field gives a key, a token or neither,
 * and never a token that begins as keys do; what is masked has no secret left and stays as long; and a
 * scope from a user is refused with a message or allows what one tolerantly read from the same text
 * does, which again allows nothing that none of its patterns names. */
#include "gateway/credential.h"
#include "tests/fuzz/claim.h"

#define HEX "0123456789abcdef"

static bool is_shaped(const char *text)
{
    return strlen(text) == FAAS_APIKEY_TEXT - 1 && strncmp(text, "faas_", 5) == 0 &&
           strspn(text + 5, HEX) == 16 && text[21] == '_' && strspn(text + 22, HEX) == 48;
}

static void claim_key(const char *text)
{
    char id[FAAS_APIKEY_ID_TEXT], hash[FAAS_HASH_TEXT];
    bool is_key = faas_apikey_parse(text, id, hash);

    CLAIM(is_key == is_shaped(text));
    if (!is_key)
        return;
    CLAIM(faas_apikey_is_meant(text) && faas_apikey_id_is(id));
    CLAIM(strncmp(text + 5, id, 16) == 0 && strspn(hash, HEX) == 64 && hash[64] == '\0');
}

static void claim_field(const char *text)
{
    struct credential credential;

    credential_read(text, &credential);
    CLAIM((credential.kind == CREDENTIAL_TOKEN) == (credential.token != NULL));
    if (credential.kind == CREDENTIAL_TOKEN)
        CLAIM(credential.token[0] != '\0' && !faas_apikey_is_meant(credential.token));
    if (credential.kind == CREDENTIAL_KEY)
        CLAIM(faas_apikey_id_is(credential.id) && strlen(credential.hash) == 64);
    if (is_shaped(text))
        CLAIM(credential.kind == CREDENTIAL_KEY);
}

static void claim_mask(const char *text)
{
    FAAS_AUTO(char) *masked = strdup(text);
    const char *at;

    CLAIM(masked != NULL);
    faas_apikey_mask(masked);
    CLAIM(strlen(masked) == strlen(text));
    for (at = strstr(masked, "faas_"); at != NULL; at = strstr(at + 1, "faas_")) {
        if (strspn(at + 5, HEX) == 16 && at[21] == '_')
            CLAIM(strspn(at + 22, HEX) == 0);
    }
}

static bool names(const struct faas_apikey_scope *scope, const char *function)
{
    for (size_t i = 0; i < scope->count; i++) {
        size_t len = strcspn(scope->functions[i], "*");

        if (strncmp(scope->functions[i], function, len) == 0 &&
            (scope->functions[i][len] == '*' || function[len] == '\0'))
            return true;
    }
    return false;
}

static void claim_scope(const char *text, size_t len)
{
    static const char *const functions[] = {"a", "ab", "echo", "ci-build", "Z9", ""};
    FAAS_AUTO(json_t) *doc = NULL;
    struct faas_apikey_scope strict, tolerant;
    const json_t *verbs, *patterns;
    faas_err err = {0};
    faas_code rc;

    if (faas_json_parse(text, len, false, &doc, NULL) != FAAS_OK)
        return;
    verbs = json_object_get(doc, "verbs");
    patterns = json_object_get(doc, "functions");
    rc = faas_apikey_scope_read(verbs, patterns, FAAS_JSON_STRICT, &strict, &err);
    claim_outcome(rc, FAAS_INVALID, &err);
    CLAIM(faas_apikey_scope_read(verbs, patterns, FAAS_JSON_TOLERANT, &tolerant, &err) == FAAS_OK);
    CLAIM(tolerant.count <= FAAS_APIKEY_FUNCTIONS_MAX && tolerant.verbs <= 7);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(functions); i++) {
        bool is_open = faas_apikey_allows(&tolerant, functions[i]);

        CLAIM(!is_open || names(&tolerant, functions[i]));
        if (rc == FAAS_OK && patterns != NULL)
            CLAIM(is_open == faas_apikey_allows(&strict, functions[i]));
    }
    if (rc == FAAS_OK)
        CLAIM(strict.verbs != 0 && strict.count > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FAAS_AUTO(char) *text = strndup(size > 0 ? (const char *)data : "", size);

    CLAIM(text != NULL);
    claim_key(text);
    claim_field(text);
    claim_mask(text);
    claim_scope(text, strlen(text));
    return 0;
}
