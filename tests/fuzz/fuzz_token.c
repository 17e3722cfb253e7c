/* The first byte says what the rest is; KID in it stands for the id of the key that verifies.
 *   R  a whole token: never accepted, since only the key's owner can sign.
 *   H  a header, signed with the key over a good payload: accepted only when it says alg ES256,
 *      typ JWT, the kid, and nothing more.
 *   P  a payload, signed with the key under a good header: accepted only when it is an object with
 *      our issuer and audience, UUIDs for ids, and a time that has not passed.
 * Whatever is refused has a reason and a message for the client. */
#include "base/json.h"
#include "crypto/token.h"
#include "tests/fuzz/claim.h"
#include "tests/support/forge.h"

#define NOW INT64_C(1767323045)
#define GOOD_PAYLOAD                                                                               \
    "{\"iss\":\"faas\",\"aud\":\"faas-api\",\"sub\":\"0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f6071\","     \
    "\"tid\":\"0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f6072\",\"preferred_username\":\"ada\","             \
    "\"jti\":\"0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f6073\",\"iat\":1767323000,\"exp\":1767409400}"

static struct forge_key key;
static faas_token_verifier *verifier;
static char kid[32], good_header[128];

static void setup(void)
{
    const char *file_names[1];
    FAAS_AUTO(json_t) *jwks = NULL;
    faas_err err = {0};

    forge_init();
    forge_key_new(&key, "P-256", 0600);
    file_names[0] = key.public_file;
    CLAIM(faas_token_jwks(file_names, 1, &jwks, &err) == FAAS_OK);
    CLAIM(faas_token_verifier_new(jwks, &verifier, &err) == FAAS_OK);
    snprintf(kid, sizeof kid, "%s",
             json_string_value(
                 json_object_get(json_array_get(json_object_get(jwks, "keys"), 0), "kid")));
    snprintf(good_header, sizeof good_header, "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
             kid);
    forge_done();
}

static void teardown(void)
{
    faas_token_verifier_free(verifier);
    forge_key_done(&key);
}

/* The text with KID replaced; the caller frees. */
static char *with_kid(const uint8_t *data, size_t size)
{
    char *out = NULL;
    size_t len;
    FILE *to = open_memstream(&out, &len);

    CLAIM(to != NULL);
    for (size_t i = 0; i < size; i++)
        if (size - i >= 3 && memcmp(data + i, "KID", 3) == 0) {
            fputs(kid, to);
            i += 2;
        } else {
            fputc(data[i] != '\0' ? data[i] : '?', to);
        }
    CLAIM(fclose(to) == 0);
    return out;
}

static bool is_text(const json_t *doc, const char *name, const char *value)
{
    const char *text = json_string_value(json_object_get(doc, name));

    return text != NULL && strcmp(text, value) == 0;
}

static bool is_uuid(const json_t *doc, const char *name)
{
    return faas_uuid_is(json_string_value(json_object_get(doc, name)));
}

static void claim_header(const char *text)
{
    FAAS_AUTO(json_t) *doc = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

    CLAIM(json_object_size(doc) == 3 && is_text(doc, "alg", "ES256") &&
          is_text(doc, "typ", "JWT") && is_text(doc, "kid", kid));
}

static void claim_payload(const char *text)
{
    FAAS_AUTO(json_t) *doc = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *nbf = json_object_get(doc, "nbf");

    CLAIM(is_text(doc, "iss", "faas") && is_text(doc, "aud", "faas-api"));
    CLAIM(is_uuid(doc, "sub") && is_uuid(doc, "tid") && is_uuid(doc, "jti"));
    CLAIM(json_is_integer(json_object_get(doc, "exp")) &&
          json_integer_value(json_object_get(doc, "exp")) > NOW);
    CLAIM(json_is_integer(json_object_get(doc, "iat")));
    CLAIM(nbf == NULL || json_is_null(nbf) || json_integer_value(nbf) <= NOW + 60);
}

static bool is_accepted(const char *token)
{
    struct faas_token_claims claims;
    const char *reason = "";
    faas_err err = {0};
    faas_code rc = faas_token_verify(verifier, token, NOW, &claims, &reason, &err);

    claim_outcome(rc, FAAS_UNAUTHENTICATED, &err);
    CLAIM(rc == FAAS_OK || strcmp(reason, "invalid") == 0 || strcmp(reason, "expired") == 0 ||
          strcmp(reason, "missing") == 0);
    return rc == FAAS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FAAS_AUTO(char) *text = NULL, *token = NULL;

    if (verifier == NULL) {
        setup();
        atexit(teardown);
    }
    if (size == 0)
        return 0;
    text = with_kid(data + 1, size - 1);
    if (data[0] == 'H') {
        token = forge_es256(&key, text, GOOD_PAYLOAD);
        if (is_accepted(token))
            claim_header(text);
    } else if (data[0] == 'P') {
        token = forge_es256(&key, good_header, text);
        if (is_accepted(token))
            claim_payload(text);
    } else {
        CLAIM(!is_accepted(text));
    }
    return 0;
}
