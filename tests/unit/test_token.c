#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "crypto/token.h"
#include "tests/support/forge.h"

#define USER   "0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f6071"
#define TENANT "0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f6072"
#define JTI    "0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f6073"
#define NOW    INT64_C(1767323045)

#define PAYLOAD_WITH(iss, aud, sub, tid, name, jti, iat, exp, more)                                \
    "{\"iss\":" iss ",\"aud\":" aud ",\"sub\":" sub ",\"tid\":" tid                                \
    ",\"preferred_username\":" name ",\"jti\":" jti ",\"iat\":" iat ",\"exp\":" exp more "}"
#define GOOD(exp, more)                                                                            \
    PAYLOAD_WITH("\"faas\"", "\"faas-api\"", "\"" USER "\"", "\"" TENANT "\"", "\"ada\"",          \
                 "\"" JTI "\"", "1767323000", exp, more)

static struct forge_key key, other;
static faas_token_verifier *verifier; /* knows `key` only */
static faas_err err;
static const char *reason;
static char good_header[128];
static int refused; /* tokens, by assert_invalid */

static faas_code verifier_of(const struct forge_key *of, faas_token_verifier **out_verifier)
{
    const char *const file_names[] = {of->public_file};
    FAAS_AUTO(json_t) *jwks = NULL;

    FAAS_TRY(faas_token_jwks(file_names, 1, &jwks, &err));
    return faas_token_verifier_new(jwks, out_verifier, &err);
}

static const char *kid_of(const struct forge_key *of)
{
    static char kid[32];
    const char *const file_names[] = {of->public_file};
    FAAS_AUTO(json_t) *jwks = NULL;

    assert_ok(faas_token_jwks(file_names, 1, &jwks, &err));
    snprintf(kid, sizeof kid, "%s",
             json_string_value(
                 json_object_get(json_array_get(json_object_get(jwks, "keys"), 0), "kid")));
    return kid;
}

static int setup(void **state)
{
    (void)state;
    forge_init();
    forge_key_new(&key, "P-256", 0600);
    forge_key_new(&other, "P-256", 0600);
    snprintf(good_header, sizeof good_header, "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
             kid_of(&key));
    return verifier_of(&key, &verifier) == FAAS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    faas_token_verifier_free(verifier);
    forge_key_done(&key);
    forge_key_done(&other);
    forge_done();
    return 0;
}

static faas_code verify_at(const char *token, int64_t now, struct faas_token_claims *claims)
{
    err = (faas_err){0};
    reason = "";
    return faas_token_verify(verifier, token, now, claims, &reason, &err);
}

/* Refused as "invalid", with one message for all and the cause in the log. */
static void assert_invalid(const char *token, const char *cause)
{
    struct faas_token_claims claims = {.user = "untouched"};

    assert_int_equal(verify_at(token, NOW, &claims), FAAS_UNAUTHENTICATED);
    assert_string_equal(reason, "invalid");
    assert_string_equal(err.msg, "the token is not valid; log in again");
    assert_contains(err.detail, cause);
    assert_string_equal(claims.user, "untouched");
    refused++;
}

static void assert_forged_invalid(const char *header, const char *payload, const char *cause)
{
    FAAS_AUTO(char) *token = forge_es256(&key, header, payload);

    assert_invalid(token, cause);
}

/* ---- what is good ---------------------------------------------------------------------------- */

static faas_token_signer *signer_of(const struct forge_key *of)
{
    faas_token_signer *signer = NULL;

    assert_ok(faas_token_signer_open(of->private_file, &signer, &err));
    return signer;
}

static struct faas_token_claims claims_of_ada(void)
{
    return (struct faas_token_claims){.user = USER, .tenant = TENANT, .username = "ada"};
}

static void a_signed_token_verifies_with_its_claims(void **state)
{
    faas_token_signer *signer = signer_of(&key);
    struct faas_token_claims given = claims_of_ada(), claims = {0};
    FAAS_AUTO(char) *token = NULL;
    int64_t now = faas_wall_ms() / 1000;

    (void)state;
    assert_ok(faas_token_sign(signer, &given, 43200, &token, &err));
    assert_true(strlen(token) < FAAS_TOKEN_MAX);
    assert_ok(verify_at(token, now, &claims));
    assert_string_equal(claims.user, USER);
    assert_string_equal(claims.tenant, TENANT);
    assert_string_equal(claims.username, "ada");
    assert_true(faas_uuid_is(claims.jti));
    assert_string_equal(claims.jti, given.jti);
    assert_int_equal(claims.expires_at - claims.issued_at, 43200);
    assert_in_range(claims.issued_at, now - 1, now + 10);
    faas_token_signer_free(signer);
}

static void the_header_is_es256_with_typ_and_kid_and_nothing_else(void **state)
{
    faas_token_signer *signer = signer_of(&key);
    struct faas_token_claims claims = claims_of_ada();
    FAAS_AUTO(char) *token = NULL;

    (void)state;
    assert_ok(faas_token_sign(signer, &claims, 60, &token, &err));
    faas_token_signer_free(signer);
    assert_ok(verify_at(token, claims.issued_at, &claims)); /* the header table is strict */
    assert_ok(faas_token_verify(verifier, token, claims.issued_at, &claims, NULL, NULL));
}

/* Our forging tools make good tokens, too: what follows fails for the stated cause alone. */
static void a_forged_token_with_all_in_order_is_accepted(void **state)
{
    FAAS_AUTO(char) *token = forge_es256(&key, good_header, GOOD("1767409400", ""));
    struct faas_token_claims claims = {0};

    (void)state;
    assert_ok(verify_at(token, NOW, &claims));
    assert_string_equal(claims.jti, JTI);
    assert_int_equal(claims.expires_at, 1767409400);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void an_expired_token_says_when(void **state)
{
    FAAS_AUTO(char) *token = forge_es256(&key, good_header, GOOD("1767323045", ""));
    struct faas_token_claims claims = {0};

    (void)state;
    assert_ok(verify_at(token, NOW - 1, &claims));
    assert_int_equal(verify_at(token, NOW, &claims), FAAS_UNAUTHENTICATED);
    assert_string_equal(reason, "expired");
    assert_string_equal(err.msg, "the token expired at 2026-01-02T03:04:05.000Z; log in again");
}

static void tokens_from_the_future_are_refused(void **state)
{
    (void)state;
    assert_forged_invalid(good_header, GOOD("1767409400", ",\"nbf\":1767323106"),
                          "from the future");
    assert_forged_invalid(good_header,
                          PAYLOAD_WITH("\"faas\"", "\"faas-api\"", "\"" USER "\"", "\"" TENANT "\"",
                                       "\"ada\"", "\"" JTI "\"", "1767323106", "1767409400", ""),
                          "from the future");
}

static void a_minute_of_clock_skew_is_forgiven(void **state)
{
    FAAS_AUTO(char) *token =
        forge_es256(&key, good_header, GOOD("1767409400", ",\"nbf\":1767323105"));
    struct faas_token_claims claims = {0};

    (void)state;
    assert_ok(verify_at(token, NOW, &claims));
}

/* ---- form ------------------------------------------------------------------------------------ */

static void no_token_is_missing(void **state)
{
    struct faas_token_claims claims;

    (void)state;
    assert_int_equal(verify_at(NULL, NOW, &claims), FAAS_UNAUTHENTICATED);
    assert_string_equal(reason, "missing");
    assert_string_equal(err.msg, "a token is required; log in");
    assert_int_equal(verify_at("", NOW, &claims), FAAS_UNAUTHENTICATED);
    assert_string_equal(reason, "missing");
}

static void text_that_is_no_token_is_refused(void **state)
{
    FAAS_AUTO(char) *token = forge_es256(&key, good_header, GOOD("1767409400", ""));
    FAAS_AUTO(char) *longer = NULL;

    (void)state;
    assert_true(asprintf(&longer, "%s.x", token) > 0);
    assert_invalid("x", "not three parts");
    assert_invalid("..", "not three parts");
    assert_invalid("a.b.c", "not three parts");
    assert_invalid(longer, "not three parts");
    token[strlen(token) - 1] = '=';
    assert_invalid(token, "no ES256 signature");
    token[0] = ' ';
    assert_invalid(token, "");
}

static void an_overlong_token_is_refused_unread(void **state)
{
    char more[FAAS_TOKEN_MAX];
    FAAS_AUTO(char) *payload = NULL;

    (void)state;
    memset(more, 'x', sizeof more - 1);
    more[sizeof more - 1] = '\0';
    assert_true(asprintf(&payload, GOOD("1767409400", ",\"more\":\"%s\""), more) > 0);
    assert_forged_invalid(good_header, payload, "too long");
}

static void a_changed_payload_breaks_the_signature(void **state)
{
    FAAS_AUTO(char) *token = forge_es256(&key, good_header, GOOD("1767409400", ""));
    FAAS_AUTO(char) *later =
        forge_raw(good_header, GOOD("1767409401", ""), strrchr(token, '.') + 1);

    (void)state;
    assert_invalid(later, "the signature is wrong");
}

/* ---- algorithms and keys --------------------------------------------------------------------- */

static void alg_none_is_refused(void **state)
{
    static const char *const algs[] = {"none", "None", "NONE", ""};
    FAAS_AUTO(char) *bare = forge_unsigned("{\"alg\":\"none\"}", GOOD("1767409400", ""));

    (void)state;
    assert_invalid(bare, "no ES256 signature");
    for (size_t i = 0; i < FAAS_ARRAY_LEN(algs); i++) {
        char header[128];

        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"%s\"}", algs[i],
                 kid_of(&key));
        assert_forged_invalid(header, GOOD("1767409400", ""), "alg is not ES256");
    }
}

/* The classic confusion: our public key, which everybody knows, as the secret of an HMAC. */
static void hs256_with_the_public_key_as_secret_is_refused(void **state)
{
    char header[128];
    FAAS_AUTO(char) *token = NULL, *padded = NULL;

    (void)state;
    snprintf(header, sizeof header, "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
             kid_of(&key));
    token = forge_hs256(key.public_pem, header, GOOD("1767409400", ""));
    assert_invalid(token, "no ES256 signature");
    /* and with a signature of the right length */
    assert_true(
        asprintf(&padded, "%.*s.%s", (int)(strrchr(token, '.') - token), token,
                 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                 "AAAAAAAAAAA") > 0);
    assert_invalid(padded, "alg is not ES256");
}

static void other_algorithms_and_spellings_are_refused(void **state)
{
    static const char *const algs[] = {"es256", "ES384", "ES512", "RS256", "HS256", "ES256 "};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(algs); i++) {
        char header[128];

        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"%s\"}", algs[i],
                 kid_of(&key));
        assert_forged_invalid(header, GOOD("1767409400", ""), "alg is not ES256");
    }
}

static void a_foreign_key_is_refused(void **state)
{
    char header[128];
    FAAS_AUTO(char) *by_other = NULL, *under_our_kid = NULL;

    (void)state;
    snprintf(header, sizeof header, "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
             kid_of(&other));
    by_other = forge_es256(&other, header, GOOD("1767409400", ""));
    assert_invalid(by_other, "signed with a key that is not known");
    under_our_kid = forge_es256(&other, good_header, GOOD("1767409400", ""));
    assert_invalid(under_our_kid, "the signature is wrong");
    assert_forged_invalid("{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"../../etc/passwd\"}",
                          GOOD("1767409400", ""), "signed with a key that is not known");
}

static void headers_with_anything_else_are_refused(void **state)
{
    static const char *const headers[] = {
        "{\"alg\":\"ES256\",\"typ\":\"JWT\"}",
        "{\"typ\":\"JWT\",\"kid\":\"%s\"}",
        "{\"alg\":\"ES256\",\"kid\":\"%s\"}",
        "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%s\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%s\",\"jku\":\"http://x/\"}",
        "{\"alg\":[\"ES256\"],\"typ\":\"JWT\",\"kid\":\"%s\"}",
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(headers); i++) {
        char header[160];
        const char *kid = kid_of(&key), *gap = strstr(headers[i], "%s");

        snprintf(header, sizeof header, "%.*s%s%s",
                 gap != NULL ? (int)(gap - headers[i]) : (int)strlen(headers[i]), headers[i],
                 gap != NULL ? kid : "", gap != NULL ? gap + 2 : "");
        assert_forged_invalid(header, GOOD("1767409400", ""),
                              "the header holds other fields than alg, typ and kid");
    }
    assert_forged_invalid("{\"alg\":\"none\",\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"x\"}",
                          GOOD("1767409400", ""), "the header is not a JSON object");
    assert_forged_invalid("[]", GOOD("1767409400", ""), "the header is not a JSON object");
    assert_forged_invalid("{\"alg\":\"ES256\",\"typ\":\"jwt\",\"kid\":\"x\"}",
                          GOOD("1767409400", ""), "or typ not JWT");
}

/* ---- claims ---------------------------------------------------------------------------------- */

static void payloads_that_are_no_plain_object_are_refused(void **state)
{
    static const char *const payloads[] = {
        "[]",
        "[{\"iss\":\"faas\"}]",
        "\"faas\"",
        "null",
        "",
        "x",
        GOOD("1767409400", ",\"exp\":1767409400"),
        GOOD("1767409400", ",\"sub\":\"" JTI "\""),
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(payloads); i++) {
        FAAS_AUTO(char) *token = forge_es256(&key, good_header, payloads[i]);
        struct faas_token_claims claims;

        assert_int_equal(verify_at(token, NOW, &claims), FAAS_UNAUTHENTICATED);
        assert_string_equal(reason, "invalid");
    }
    assert_forged_invalid(good_header, GOOD("1767409400", ",\"exp\":1767409400"),
                          "the payload is not a JSON object without duplicates");
}

#define U  "\"" USER "\""
#define T  "\"" TENANT "\""
#define J  "\"" JTI "\""
#define EX "1767409400"
#define IA "1767323000"

static void claims_of_the_wrong_type_are_refused(void **state)
{
    static const char *const payloads[] = {
        PAYLOAD_WITH("1", "\"faas-api\"", U, T, "\"ada\"", J, IA, EX, ""),
        PAYLOAD_WITH("null", "\"faas-api\"", U, T, "\"ada\"", J, IA, EX, ""),
        PAYLOAD_WITH("\"faas\"", "[\"faas-api\"]", U, T, "\"ada\"", J, IA, EX, ""),
        PAYLOAD_WITH("\"faas\"", "true", U, T, "\"ada\"", J, IA, EX, ""),
        PAYLOAD_WITH("\"faas\"", "\"faas-api\"", "{}", T, "\"ada\"", J, IA, EX, ""),
        PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, "7", "\"ada\"", J, IA, EX, ""),
        PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "7", J, IA, EX, ""),
        PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "\"ada\"", "7", IA, EX, ""),
        PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "\"ada\"", J, "\"1767323000\"", EX, ""),
        PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "\"ada\"", J, IA, "\"1767409400\"", ""),
        PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "\"ada\"", J, IA, "1767409400.0", ""),
        PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "\"ada\"", J, IA, "null", ""),
        PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "\"ada\"", J, IA, "-1", ""),
        PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "\"ada\"", J, IA, "999999999999999", ""),
        PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "\"ada\"", J, IA, EX, ",\"nbf\":\"0\""),
        "{\"iss\":\"faas\",\"aud\":\"faas-api\",\"sub\":" U ",\"tid\":" T
        ",\"preferred_username\":\"ada\",\"jti\":" J ",\"iat\":" IA "}",
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(payloads); i++)
        assert_forged_invalid(good_header, payloads[i], "a claim is missing or has the wrong type");
}

static void claims_with_other_content_are_refused(void **state)
{
    static const struct {
        const char *payload, *cause;
    } cases[] = {
        {PAYLOAD_WITH("\"faas2\"", "\"faas-api\"", U, T, "\"ada\"", J, IA, EX, ""),
         "issued by or meant for somebody else"},
        {PAYLOAD_WITH("\"faas\"", "\"faas\"", U, T, "\"ada\"", J, IA, EX, ""),
         "issued by or meant for somebody else"},
        {PAYLOAD_WITH("\"faas\"", "\"faas-api\"", "\"ada\"", T, "\"ada\"", J, IA, EX, ""),
         "sub, tid or jti is not a UUID"},
        {PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, "\"a.b.>\"", "\"ada\"", J, IA, EX, ""),
         "sub, tid or jti is not a UUID"},
        {PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "\"ada\"", "\"\"", IA, EX, ""),
         "sub, tid or jti is not a UUID"},
        {PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "\"Ada\"", J, IA, EX, ""),
         "preferred_username is not a user name"},
        {PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "\"a\\nb\"", J, IA, EX, ""),
         "preferred_username is not a user name"},
        {PAYLOAD_WITH("\"faas\"", "\"faas-api\"", U, T, "\"ada\"", J, IA, IA, ""),
         "expires before it was issued"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++)
        assert_forged_invalid(good_header, cases[i].payload, cases[i].cause);
}

static void a_lifetime_below_a_second_is_refused(void **state)
{
    faas_token_signer *signer = signer_of(&key);
    struct faas_token_claims claims = claims_of_ada();
    char *token = NULL;

    (void)state;
    assert_int_equal(faas_token_sign(signer, &claims, 0, &token, &err), FAAS_INVALID);
    assert_int_equal(faas_token_sign(signer, &claims, -5, &token, &err), FAAS_INVALID);
    assert_null(token);
    faas_token_signer_free(signer);
}

/* Last: what the tests above offered. */
static void no_forged_or_wrongly_claimed_token_was_accepted(void **state)
{
    (void)state;
    assert_true(refused > 0);
    test_promise(2, "0 of %d wrong tokens accepted", refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signed_token_verifies_with_its_claims),
        cmocka_unit_test(the_header_is_es256_with_typ_and_kid_and_nothing_else),
        cmocka_unit_test(a_forged_token_with_all_in_order_is_accepted),
        cmocka_unit_test(an_expired_token_says_when),
        cmocka_unit_test(tokens_from_the_future_are_refused),
        cmocka_unit_test(a_minute_of_clock_skew_is_forgiven),
        cmocka_unit_test(no_token_is_missing),
        cmocka_unit_test(text_that_is_no_token_is_refused),
        cmocka_unit_test(an_overlong_token_is_refused_unread),
        cmocka_unit_test(a_changed_payload_breaks_the_signature),
        cmocka_unit_test(alg_none_is_refused),
        cmocka_unit_test(hs256_with_the_public_key_as_secret_is_refused),
        cmocka_unit_test(other_algorithms_and_spellings_are_refused),
        cmocka_unit_test(a_foreign_key_is_refused),
        cmocka_unit_test(headers_with_anything_else_are_refused),
        cmocka_unit_test(payloads_that_are_no_plain_object_are_refused),
        cmocka_unit_test(claims_of_the_wrong_type_are_refused),
        cmocka_unit_test(claims_with_other_content_are_refused),
        cmocka_unit_test(a_lifetime_below_a_second_is_refused),
        cmocka_unit_test(no_forged_or_wrongly_claimed_token_was_accepted),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
