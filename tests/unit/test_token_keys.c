#include "tests/unit/unit.h"

#include <sodium.h>
#include <string.h>

#include "base/json.h"
#include "crypto/token.h"
#include "tests/support/forge.h"

#define USER   "0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f6071"
#define TENANT "0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f6072"

static struct forge_key key, other, p384;
static faas_err err;

static int setup(void **state)
{
    (void)state;
    forge_init();
    forge_key_new(&key, "P-256", 0600);
    forge_key_new(&other, "P-256", 0600);
    forge_key_new(&p384, "P-384", 0600);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    forge_key_done(&key);
    forge_key_done(&other);
    forge_key_done(&p384);
    forge_done();
    return 0;
}

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

static void assert_signer_refused(const char *file, const char *why)
{
    faas_token_signer *signer = NULL;

    err = (faas_err){0};
    assert_int_equal(faas_token_signer_open(file, &signer, &err), FAAS_INVALID);
    assert_null(signer);
    assert_contains(err.msg, file);
    assert_contains(err.msg, why);
}

static void key_files_that_are_not_fit_stop_the_start(void **state)
{
    struct forge_key group = {0}, world = {0};

    (void)state;
    forge_key_new(&group, "P-256", 0640);
    forge_key_new(&world, "P-256", 0604);
    assert_signer_refused(
        group.private_file,
        "group or others may reach this secret (mode 0640); run chmod 0600 on it");
    assert_signer_refused(world.private_file, "group or others may reach this secret");
    assert_signer_refused("/nonexistent/key.pem", "cannot open it: No such file or directory");
    assert_signer_refused("/tmp", "not a plain file");
    assert_signer_refused("/dev/zero", "not a plain file");
    assert_signer_refused(forge_file("empty", "", 0, 0600), "empty, expected a PEM key");
    assert_signer_refused(forge_file("short", "-----BEGIN", 10, 0600), "holds no PEM key");
    assert_signer_refused(key.public_file, "a public key, signing needs the private one");
    assert_signer_refused(p384.private_file, "not an EC key on the curve P-256");
    forge_key_done(&group);
    forge_key_done(&world);
}

/* Keys that anybody can look up: RFC 7515 A.3, RFC 7517 A.2, jwt.io. */
static void a_private_key_that_is_printed_somewhere_is_refused(void **state)
{
    static const char *const keys[] = {
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff\n"
        "H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp\n"
        "7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt",
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg870MB6gfuTJ4HtUn\n"
        "UvYMyJpr5eUZNP4Bk43bVdj3eAGhRANCAAQwoEJM0hwpRIOKLXXJKzfnbqINnwCJ\n"
        "OjtO7oo8Cq/sPuBLZekkVtmIi1Kzeb371R7oae8fD8ZbZllpW2zOCBcj",
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n"
        "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n"
        "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G",
    };
    char name[32], text[400];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(keys); i++) {
        snprintf(name, sizeof name, "printed-%zu", i);
        snprintf(text, sizeof text, "-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n",
                 keys[i]);
        assert_signer_refused(forge_file(name, text, strlen(text), 0600),
                              "printed in public documents");
    }
}

static void a_key_verifies_nothing_once_its_term_has_ended(void **state)
{
    const char *const file_names[] = {key.public_file};
    faas_token_signer *signer = signer_of(&key);
    struct faas_token_claims claims = claims_of_ada();
    faas_token_verifier *verifier = NULL;
    FAAS_AUTO(json_t) *jwks = NULL;
    FAAS_AUTO(char) *token = NULL;
    const char *reason = NULL;
    int64_t end_s;

    (void)state;
    assert_ok(faas_token_sign(signer, &claims, 1000, &token, &err));
    end_s = claims.issued_at + 500;
    assert_ok(faas_token_jwks(file_names, 1, &jwks, &err));
    assert_int_equal(json_object_set_new(json_array_get(json_object_get(jwks, "keys"), 0), "exp",
                                         json_integer(end_s)),
                     0);
    assert_ok(faas_token_verifier_new(jwks, &verifier, &err));
    assert_ok(faas_token_verify(verifier, token, end_s - 1, &claims, &reason, &err));
    assert_int_equal(faas_token_verify(verifier, token, end_s, &claims, &reason, &err),
                     FAAS_UNAUTHENTICATED);
    assert_string_equal(reason, "invalid");
    faas_token_verifier_free(verifier);
    faas_token_signer_free(signer);
}

static void a_truncated_or_overlong_key_file_is_refused(void **state)
{
    char text[20000];
    FILE *in = fopen(key.private_file, "r");
    size_t len;

    (void)state;
    assert_non_null(in);
    len = fread(text, 1, sizeof text, in);
    fclose(in);
    assert_true(len > 100);
    assert_signer_refused(forge_file("cut", text, len / 2, 0600), "holds no PEM key");
    memset(text + len, '\n', sizeof text - len);
    assert_signer_refused(forge_file("long", text, sizeof text, 0600), "over 16 KiB");
}

static void jwks_publishes_points_and_never_the_private_part(void **state)
{
    const char *const file_names[] = {key.private_file, other.public_file};
    FAAS_AUTO(json_t) *jwks = NULL;
    const json_t *first, *keys;

    (void)state;
    assert_ok(faas_token_jwks(file_names, 2, &jwks, &err));
    keys = json_object_get(jwks, "keys");
    assert_int_equal(json_array_size(keys), 2);
    first = json_array_get(keys, 0);
    assert_int_equal(json_object_size(first), 7);
    assert_int_equal(json_string_length(json_object_get(first, "kid")), 16);
    assert_string_equal(json_string_value(json_object_get(first, "crv")), "P-256");
    assert_int_equal(json_string_length(json_object_get(first, "x")), 43);
    assert_int_equal(json_string_length(json_object_get(first, "y")), 43);
    assert_null(json_object_get(first, "d"));
}

/* The definition, by other means: a PEM public key is the base64 of its SPKI DER. */
static void the_kid_is_the_hash_of_the_public_key(void **state)
{
    const char *const file_names[] = {key.private_file};
    const char *text = strchr(key.public_pem, '\n') + 1;
    FAAS_AUTO(json_t) *jwks = NULL;
    unsigned char der[256];
    char hash[FAAS_HASH_TEXT];
    size_t len = 0;

    (void)state;
    assert_int_equal(sodium_base642bin(der, sizeof der, text,
                                       (size_t)(strstr(text, "-----END") - text), "\n", &len, NULL,
                                       sodium_base64_VARIANT_ORIGINAL),
                     0);
    faas_hash_text(der, len, hash);
    hash[16] = '\0';
    assert_ok(faas_token_jwks(file_names, 1, &jwks, &err));
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(json_object_get(jwks, "keys"), 0), "kid")),
        hash);
}

static void during_a_rotation_both_keys_verify(void **state)
{
    const char *const file_names[] = {other.public_file, key.public_file};
    faas_token_verifier *both = NULL;
    FAAS_AUTO(json_t) *jwks = NULL;

    (void)state;
    assert_ok(faas_token_jwks(file_names, 2, &jwks, &err));
    assert_ok(faas_token_verifier_new(jwks, &both, &err));
    for (int i = 0; i < 2; i++) {
        faas_token_signer *signer = signer_of(i == 0 ? &key : &other);
        struct faas_token_claims claims = claims_of_ada();
        FAAS_AUTO(char) *token = NULL;

        assert_ok(faas_token_sign(signer, &claims, 60, &token, &err));
        assert_ok(faas_token_verify(both, token, claims.issued_at, &claims, NULL, &err));
        faas_token_signer_free(signer);
    }
    faas_token_verifier_free(both);
}

/* A JWKS of one changed entry; the change is made to the entry of `key`. */
static faas_code verifier_with(const char *field, json_t *take_value)
{
    const char *const file_names[] = {key.public_file};
    faas_token_verifier *made = NULL;
    FAAS_AUTO(json_t) *jwks = NULL;
    faas_code rc;

    assert_ok(faas_token_jwks(file_names, 1, &jwks, &err));
    assert_int_equal(
        json_object_set_new(json_array_get(json_object_get(jwks, "keys"), 0), field, take_value),
        0);
    rc = faas_token_verifier_new(jwks, &made, &err);
    faas_token_verifier_free(made);
    return rc;
}

static void published_keys_that_are_not_ours_are_ignored(void **state)
{
    static const char zeros[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    (void)state;
    assert_ok(verifier_with("use", json_string("sig")));
    assert_int_equal(verifier_with("kty", json_string("RSA")), FAAS_INVALID);
    assert_string_equal(err.msg, "JWKS: holds no EC P-256 key for ES256");
    assert_int_equal(verifier_with("crv", json_string("P-384")), FAAS_INVALID);
    assert_int_equal(verifier_with("alg", json_string("HS256")), FAAS_INVALID);
    assert_int_equal(verifier_with("use", json_string("enc")), FAAS_INVALID);
    assert_int_equal(verifier_with("kid", json_string("0123456789abcdef")), FAAS_INVALID);
    assert_int_equal(verifier_with("x", json_string(zeros)), FAAS_INVALID); /* not on the curve */
    assert_int_equal(verifier_with("y", json_string("AAAA")), FAAS_INVALID);
    assert_int_equal(verifier_with("y", json_integer(7)), FAAS_INVALID);
}

static void a_jwks_without_keys_is_refused(void **state)
{
    static const char *const texts[] = {"{}", "{\"keys\":[]}", "{\"keys\":{}}", "{\"keys\":[7]}"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(texts); i++) {
        FAAS_AUTO(json_t) *jwks = json_loads(texts[i], 0, NULL);
        faas_token_verifier *made = NULL;

        assert_int_equal(faas_token_verifier_new(jwks, &made, &err), FAAS_INVALID);
        assert_null(made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_files_that_are_not_fit_stop_the_start),
        cmocka_unit_test(a_private_key_that_is_printed_somewhere_is_refused),
        cmocka_unit_test(a_key_verifies_nothing_once_its_term_has_ended),
        cmocka_unit_test(a_truncated_or_overlong_key_file_is_refused),
        cmocka_unit_test(jwks_publishes_points_and_never_the_private_part),
        cmocka_unit_test(the_kid_is_the_hash_of_the_public_key),
        cmocka_unit_test(during_a_rotation_both_keys_verify),
        cmocka_unit_test(published_keys_that_are_not_ours_are_ignored),
        cmocka_unit_test(a_jwks_without_keys_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
