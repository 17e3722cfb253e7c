#include "crypto/token.h"

#include <errno.h>
#include <jwt.h>
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "crypto/ec_key.h"

#define ISSUER          "faas"
#define AUDIENCE        "faas-api"
#define SIGNATURE_BYTES 64
#define CLOCK_SKEW_S    60 /* between the machines that sign and verify */
#define MAX_TIME_S      INT64_C(253402300799)
#define BASE64URL       sodium_base64_VARIANT_URLSAFE_NO_PADDING

struct faas_token_signer {
    struct faas_ec_key key;
};

struct faas_token_verifier {
    size_t count;
    struct faas_ec_key keys[FAAS_TOKEN_KEYS];
    int64_t ends_at[FAAS_TOKEN_KEYS]; /* seconds since 1970 */
};

FAAS_DEFINE_AUTO(jwt_t, jwt_free)
FAAS_DEFINE_AUTO(faas_token_signer, faas_token_signer_free)
FAAS_DEFINE_AUTO(faas_token_verifier, faas_token_verifier_free)

/* ---- signing --------------------------------------------------------------------------------- */

faas_code faas_token_signer_open(const char *key_file, faas_token_signer **out_signer,
                                 faas_err *err)
{
    FAAS_AUTO(faas_token_signer) *signer = calloc(1, sizeof *signer);

    if (signer == NULL)
        return faas_fail_sys(err, errno, "allocate signer");
    FAAS_TRY(faas_ec_key_load(key_file, &signer->key, err));
    if (!signer->key.is_private)
        return faas_fail(err, FAAS_INVALID, "%.200s: a public key, signing needs the private one",
                         key_file);
    *out_signer = FAAS_STEAL(signer);
    return FAAS_OK;
}

void faas_token_signer_free(faas_token_signer *signer)
{
    if (signer == NULL)
        return;
    faas_ec_key_done(&signer->key);
    free(signer);
}

const char *faas_token_signer_kid(const faas_token_signer *signer)
{
    return signer->key.kid;
}

static bool add_claims(jwt_t *jwt, const struct faas_token_claims *claims)
{
    return jwt_add_grant(jwt, "iss", ISSUER) == 0 && jwt_add_grant(jwt, "aud", AUDIENCE) == 0 &&
           jwt_add_grant(jwt, "sub", claims->user) == 0 &&
           jwt_add_grant(jwt, "tid", claims->tenant) == 0 &&
           jwt_add_grant(jwt, "preferred_username", claims->username) == 0 &&
           jwt_add_grant(jwt, "jti", claims->jti) == 0 &&
           jwt_add_grant_int(jwt, "iat", claims->issued_at) == 0 &&
           jwt_add_grant_int(jwt, "exp", claims->expires_at) == 0 &&
           jwt_add_grant_int(jwt, "gen", claims->generation) == 0;
}

/* jwt_encode_str allocates with malloc as long as nobody sets other allocators; 1.10 has no
 * function of its own to free the text. */
static faas_code encode(const faas_token_signer *signer, const struct faas_token_claims *claims,
                        char **out_token, faas_err *err)
{
    FAAS_AUTO(jwt_t) *jwt = NULL;
    char *token;

    if (jwt_new(&jwt) != 0 || jwt_add_header(jwt, "kid", signer->key.kid) != 0 ||
        !add_claims(jwt, claims))
        return faas_fail_sys(err, ENOMEM, "build a token");
    if (jwt_set_alg(jwt, JWT_ALG_ES256, (const unsigned char *)signer->key.pem,
                    (int)signer->key.pem_len) != 0)
        return faas_fail_sys(err, EINVAL, "set the signing key");
    token = jwt_encode_str(jwt);
    if (token == NULL)
        return faas_fail_sys(err, errno, "sign a token");
    *out_token = token;
    return FAAS_OK;
}

faas_code faas_token_sign(const faas_token_signer *signer, struct faas_token_claims *claims,
                          int64_t ttl_s, char **out_token, faas_err *err)
{
    if (ttl_s < 1 || ttl_s > MAX_TIME_S / 2)
        return faas_fail(err, FAAS_INVALID, "token: lifetime of at least one second");
    faas_uuid_new(claims->jti);
    claims->issued_at = faas_wall_ms() / 1000;
    claims->expires_at = claims->issued_at + ttl_s;
    return encode(signer, claims, out_token, err);
}

/* ---- published keys -------------------------------------------------------------------------- */

static json_t *jwk_of(const struct faas_ec_key *key)
{
    char x[64], y[64];

    sodium_bin2base64(x, sizeof x, key->x, sizeof key->x, BASE64URL);
    sodium_bin2base64(y, sizeof y, key->y, sizeof key->y, BASE64URL);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "kty", "EC", "crv", "P-256", "x", x,
                     "y", y, "kid", key->kid, "alg", "ES256", "use", "sig");
}

faas_code faas_token_jwks(const char *const *key_files, size_t count, json_t **out_jwks,
                          faas_err *err)
{
    FAAS_AUTO(json_t) *jwks = json_pack("{s:[]}", "keys");

    if (count > FAAS_TOKEN_KEYS)
        return faas_fail(err, FAAS_INVALID, "at most %d signing keys, got %zu", FAAS_TOKEN_KEYS,
                         count);
    for (size_t i = 0; i < count; i++) {
        struct faas_ec_key key = {0};
        json_t *jwk;

        FAAS_TRY(faas_ec_key_load(key_files[i], &key, err));
        jwk = jwk_of(&key);
        faas_ec_key_done(&key);
        if (json_array_append_new(json_object_get(jwks, "keys"), jwk) != 0)
            return faas_fail_sys(err, ENOMEM, "publish a key");
    }
    if (jwks == NULL)
        return faas_fail_sys(err, ENOMEM, "publish keys");
    *out_jwks = FAAS_STEAL(jwks);
    return FAAS_OK;
}

struct jwk {
    const char *kty, *crv, *x, *y, *kid, *alg, *use;
    int64_t exp;
};

static const struct faas_json_field jwk_fields[] = {
    FAAS_FIELD(STR, struct jwk, kty, "kty", 0, 0, true),
    FAAS_FIELD(STR, struct jwk, crv, "crv", 0, 0, true),
    FAAS_FIELD(STR, struct jwk, x, "x", 0, 0, true),
    FAAS_FIELD(STR, struct jwk, y, "y", 0, 0, true),
    FAAS_FIELD(STR, struct jwk, kid, "kid", 0, 0, true),
    FAAS_FIELD(STR, struct jwk, alg, "alg", 0, 0, true),
    FAAS_FIELD(STR, struct jwk, use, "use", 0, 0, false),
    FAAS_FIELD(INT, struct jwk, exp, "exp", 0, MAX_TIME_S, false),
    FAAS_FIELD_END,
};

static bool decode_coordinate(const char *text, uint8_t out[FAAS_EC_BYTES])
{
    size_t len = 0;

    return sodium_base642bin(out, FAAS_EC_BYTES, text, strlen(text), NULL, &len, NULL, BASE64URL) ==
               0 &&
           len == FAAS_EC_BYTES;
}

/* INVALID: not a key of ours; the kid must be the one its point gives. */
static faas_code take_jwk(const json_t *entry, struct faas_ec_key *out_key, int64_t *out_ends_at,
                          faas_err *err)
{
    struct jwk jwk = {.use = "sig", .exp = MAX_TIME_S};
    uint8_t x[FAAS_EC_BYTES], y[FAAS_EC_BYTES];

    FAAS_TRY(faas_json_decode(entry, jwk_fields, FAAS_JSON_TOLERANT, &jwk, err));
    if (strcmp(jwk.kty, "EC") != 0 || strcmp(jwk.crv, "P-256") != 0 ||
        strcmp(jwk.alg, "ES256") != 0 || strcmp(jwk.use, "sig") != 0 ||
        !decode_coordinate(jwk.x, x) || !decode_coordinate(jwk.y, y))
        return faas_fail(err, FAAS_INVALID, "JWKS: not an EC P-256 key for ES256");
    FAAS_TRY(faas_ec_key_from_point(x, y, out_key, err));
    *out_ends_at = jwk.exp;
    if (strcmp(jwk.kid, out_key->kid) == 0)
        return FAAS_OK;
    faas_ec_key_done(out_key);
    return faas_fail(err, FAAS_INVALID, "JWKS: a kid that is not its key's");
}

faas_code faas_token_verifier_new(const json_t *jwks, faas_token_verifier **out_verifier,
                                  faas_err *err)
{
    FAAS_AUTO(faas_token_verifier) *verifier = calloc(1, sizeof *verifier);
    const json_t *keys = json_object_get(jwks, "keys");
    faas_code rc;

    if (verifier == NULL)
        return faas_fail_sys(err, errno, "allocate verifier");
    for (size_t i = 0; i < json_array_size(keys) && verifier->count < FAAS_TOKEN_KEYS; i++) {
        rc = take_jwk(json_array_get(keys, i), &verifier->keys[verifier->count],
                      &verifier->ends_at[verifier->count], err);
        if (rc == FAAS_OK)
            verifier->count++;
        else if (rc != FAAS_INVALID)
            return rc;
    }
    if (verifier->count == 0)
        return faas_fail(err, FAAS_INVALID, "JWKS: holds no EC P-256 key for ES256");
    *out_verifier = FAAS_STEAL(verifier);
    return FAAS_OK;
}

void faas_token_verifier_free(faas_token_verifier *verifier)
{
    if (verifier == NULL)
        return;
    for (size_t i = 0; i < verifier->count; i++)
        faas_ec_key_done(&verifier->keys[i]);
    free(verifier);
}

/* ---- verifying ------------------------------------------------------------------------------- */

struct header {
    const char *alg, *typ, *kid;
};

/* Strict: a header with crit, jku, b64 or anything else is not one of ours. */
static const struct faas_json_field header_fields[] = {
    FAAS_FIELD(STR, struct header, alg, "alg", 0, 0, true),
    FAAS_FIELD(STR, struct header, typ, "typ", 0, 0, true),
    FAAS_FIELD(STR, struct header, kid, "kid", 0, 0, true),
    FAAS_FIELD_END,
};

struct payload {
    const char *iss, *aud, *sub, *tid, *username, *jti;
    int64_t iat, exp, nbf, gen;
};

static const struct faas_json_field payload_fields[] = {
    FAAS_FIELD(STR, struct payload, iss, "iss", 0, 0, true),
    FAAS_FIELD(STR, struct payload, aud, "aud", 0, 0, true),
    FAAS_FIELD(STR, struct payload, sub, "sub", 0, 0, true),
    FAAS_FIELD(STR, struct payload, tid, "tid", 0, 0, true),
    FAAS_FIELD(STR, struct payload, username, "preferred_username", 0, 0, true),
    FAAS_FIELD(STR, struct payload, jti, "jti", 0, 0, true),
    FAAS_FIELD(INT, struct payload, iat, "iat", 0, MAX_TIME_S, true),
    FAAS_FIELD(INT, struct payload, exp, "exp", 0, MAX_TIME_S, true),
    FAAS_FIELD(INT, struct payload, nbf, "nbf", 0, MAX_TIME_S, false),
    FAAS_FIELD(INT, struct payload, gen, "gen", 0, MAX_TIME_S, false),
    FAAS_FIELD_END,
};

/* The one cause that is not the token's. */
static const char no_memory[] = "no memory";

/* One answer for every fault, so that it tells a forger nothing; the log has the cause. */
static faas_code invalid(const char **out_reason, faas_err *err, const char *cause)
{
    if (cause == no_memory)
        return faas_fail_sys(err, ENOMEM, "check a token");
    *out_reason = "invalid";
    (void)faas_fail(err, FAAS_UNAUTHENTICATED, "the token is not valid; log in again");
    return err == NULL ? FAAS_UNAUTHENTICATED : faas_err_detail(err, "token: %s", cause);
}

/* NULL, or the cause of its failure. */
static const char *decode_json(const char *text, size_t len, json_t **out_doc, const char *cause)
{
    unsigned char bytes[FAAS_TOKEN_MAX];
    size_t size = 0;
    faas_code rc;

    if (sodium_base642bin(bytes, sizeof bytes, text, len, NULL, &size, NULL, BASE64URL) != 0)
        return cause;
    rc = faas_json_parse(bytes, size, false, out_doc, NULL);
    return rc == FAAS_OK ? NULL : rc == FAAS_INTERNAL ? no_memory : cause;
}

static bool is_signature(const char *text)
{
    unsigned char bytes[SIGNATURE_BYTES];
    size_t size = 0;

    return sodium_base642bin(bytes, sizeof bytes, text, strlen(text), NULL, &size, NULL,
                             BASE64URL) == 0 &&
           size == SIGNATURE_BYTES;
}

static const struct faas_ec_key *find_key(const faas_token_verifier *verifier, const char *kid,
                                          int64_t now_s)
{
    for (size_t i = 0; i < verifier->count; i++)
        if (strcmp(verifier->keys[i].kid, kid) == 0 && verifier->ends_at[i] > now_s)
            return &verifier->keys[i];
    return NULL;
}

/* Everything that can be refused before cryptography; NULL when all is well. */
static const char *check_header(const faas_token_verifier *verifier, const char *text, size_t len,
                                int64_t now_s, const struct faas_ec_key **out_key)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct header header = {0};
    const char *fault =
        decode_json(text, len, &doc, "the header is not a JSON object in base64url");

    if (fault != NULL)
        return fault;
    if (faas_json_decode(doc, header_fields, FAAS_JSON_STRICT, &header, NULL) != FAAS_OK)
        return "the header holds other fields than alg, typ and kid";
    if (strcmp(header.alg, "ES256") != 0 || strcmp(header.typ, "JWT") != 0)
        return "alg is not ES256, or typ not JWT";
    *out_key = find_key(verifier, header.kid, now_s);
    return *out_key == NULL ? "signed with a key that is not known" : NULL;
}

/* NULL when the key has signed it. */
static const char *check_signature(const struct faas_ec_key *key, const char *token)
{
    FAAS_AUTO(jwt_t) *jwt = NULL;
    int rc = jwt_decode(&jwt, token, (const unsigned char *)key->pem, (int)key->pem_len);

    if (rc == ENOMEM)
        return no_memory;
    return rc == 0 && jwt_get_alg(jwt) == JWT_ALG_ES256 ? NULL : "the signature is wrong";
}

/* NULL when the claims are ours and well-formed; time is judged by the caller. */
static const char *check_claims(const struct payload *p)
{
    char folded[FAAS_USER_NAME_MAX + 1];

    if (strcmp(p->iss, ISSUER) != 0 || strcmp(p->aud, AUDIENCE) != 0)
        return "issued by or meant for somebody else";
    if (!faas_uuid_is(p->sub) || !faas_uuid_is(p->tid) || !faas_uuid_is(p->jti))
        return "sub, tid or jti is not a UUID";
    if (faas_user_name_fold(p->username, folded, NULL) != FAAS_OK ||
        strcmp(folded, p->username) != 0)
        return "preferred_username is not a user name";
    return p->exp > p->iat ? NULL : "expires before it was issued";
}

static void fill_claims(const struct payload *p, struct faas_token_claims *out_claims)
{
    memcpy(out_claims->user, p->sub, FAAS_UUID_TEXT);
    memcpy(out_claims->tenant, p->tid, FAAS_UUID_TEXT);
    memcpy(out_claims->jti, p->jti, FAAS_UUID_TEXT);
    snprintf(out_claims->username, sizeof out_claims->username, "%s", p->username);
    out_claims->issued_at = p->iat;
    out_claims->expires_at = p->exp;
    out_claims->generation = p->gen;
}

static faas_code expired(int64_t at_s, const char **out_reason, faas_err *err)
{
    char text[FAAS_TIME_TEXT];

    *out_reason = "expired";
    faas_time_format(at_s * 1000, text);
    return faas_fail(err, FAAS_UNAUTHENTICATED, "the token expired at %s; log in again", text);
}

/* The signature was verified: the payload is what one of our keys signed, but not yet sane. */
static faas_code read_payload(const char *text, size_t len, int64_t now_s,
                              struct faas_token_claims *out_claims, const char **out_reason,
                              faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct payload payload = {0};
    const char *fault =
        decode_json(text, len, &doc, "the payload is not a JSON object without duplicates");

    if (fault != NULL)
        return invalid(out_reason, err, fault);
    if (faas_json_decode(doc, payload_fields, FAAS_JSON_TOLERANT, &payload, NULL) != FAAS_OK)
        return invalid(out_reason, err, "a claim is missing or has the wrong type");
    fault = check_claims(&payload);
    if (fault != NULL)
        return invalid(out_reason, err, fault);
    if (payload.nbf > now_s + CLOCK_SKEW_S || payload.iat > now_s + CLOCK_SKEW_S)
        return invalid(out_reason, err, "from the future");
    if (payload.exp <= now_s)
        return expired(payload.exp, out_reason, err);
    fill_claims(&payload, out_claims);
    return FAAS_OK;
}

faas_code faas_token_verify(const faas_token_verifier *verifier, const char *token, int64_t now_s,
                            struct faas_token_claims *out_claims, const char **out_reason,
                            faas_err *err)
{
    const char *ignored = NULL, **reason = out_reason != NULL ? out_reason : &ignored;
    const struct faas_ec_key *key = NULL;
    const char *payload, *signature, *fault;

    if (token == NULL || token[0] == '\0') {
        *reason = "missing";
        return faas_fail(err, FAAS_UNAUTHENTICATED, "a token is required; log in");
    }
    if (strnlen(token, FAAS_TOKEN_MAX + 1) > FAAS_TOKEN_MAX)
        return invalid(reason, err, "too long");
    payload = strchr(token, '.');
    signature = payload != NULL ? strchr(payload + 1, '.') : NULL;
    if (signature == NULL || !is_signature(signature + 1))
        return invalid(reason, err, "not three parts, or no ES256 signature");
    fault = check_header(verifier, token, (size_t)(payload - token), now_s, &key);
    if (fault == NULL)
        fault = check_signature(key, token);
    if (fault != NULL)
        return invalid(reason, err, fault);
    return read_payload(payload + 1, (size_t)(signature - payload - 1), now_s, out_claims, reason,
                        err);
}
