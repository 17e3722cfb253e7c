/* Keys, tokens and password hashes without memory and with failing system calls. */
#include "tests/support/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "crypto/ec_key.h"
#include "crypto/password.h"
#include "crypto/token.h"
#include "net/nkey.h"
#include "tests/support/forge.h"
#include "tests/unit/unit.h"

#define USER "0190a6b0-5d3c-7e4f-8a1b-2c3d4e5f6071"

static struct forge_key key, other;
static faas_token_signer *signer;
static faas_token_verifier *verifier;
static json_t *jwks;
static char *token;

static int setup(void **state)
{
    struct faas_token_claims claims = {.user = USER, .tenant = USER, .username = "ada"};
    const char *files[2];

    (void)state;
    forge_init();
    forge_key_new(&key, "P-256", 0600);
    forge_key_new(&other, "P-256", 0600);
    files[0] = key.public_file;
    files[1] = other.public_file;
    return faas_token_jwks(files, 2, &jwks, NULL) == FAAS_OK &&
                   faas_token_verifier_new(jwks, &verifier, NULL) == FAAS_OK &&
                   faas_token_signer_open(key.private_file, &signer, NULL) == FAAS_OK &&
                   faas_token_sign(signer, &claims, 60, &token, NULL) == FAAS_OK
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(token);
    json_decref(jwks);
    faas_token_signer_free(signer);
    faas_token_verifier_free(verifier);
    forge_key_done(&key);
    forge_key_done(&other);
    forge_done();
    return 0;
}

/* OpenSSL 3.0 tries one decoder after the other and forgets that a lack of memory stopped it: then
 * there is no key in the file, as far as anybody can tell. */
static faas_code forgive_decoder(faas_code rc, faas_err *err)
{
    return rc == FAAS_INVALID && strstr(fault_met(), "libcrypto") != NULL
               ? faas_fail_sys(err, ENOMEM, "decode")
               : rc;
}

static faas_code load(void *state, faas_err *err)
{
    struct faas_ec_key got = {0};

    (void)state;
    FAAS_TRY(forgive_decoder(faas_ec_key_load(key.private_file, &got, err), err));
    fault_pause(true);
    assert_true(got.is_private && strlen(got.kid) == FAAS_KID_TEXT - 1);
    faas_ec_key_done(&got);
    return FAAS_OK;
}

/* Each of the keys, or none of them: one that is left out would refuse good tokens. */
static faas_code publish(void *state, faas_err *err)
{
    const char *const files[] = {key.public_file, other.public_file};
    FAAS_AUTO(json_t) *doc = NULL;

    (void)state;
    FAAS_TRY(forgive_decoder(faas_token_jwks(files, 2, &doc, err), err));
    assert_true(json_equal(doc, jwks));
    return FAAS_OK;
}

static bool accepts(const faas_token_verifier *of, const char *text)
{
    struct faas_token_claims claims;

    return faas_token_verify(of, text, faas_wall_ms() / 1000, &claims, NULL, NULL) == FAAS_OK;
}

static faas_code learn(void *state, faas_err *err)
{
    faas_token_verifier *made = NULL;

    (void)state;
    FAAS_TRY(faas_token_verifier_new(jwks, &made, err));
    fault_pause(true);
    assert_true(accepts(made, token));
    faas_token_verifier_free(made);
    return FAAS_OK;
}

static faas_code sign(void *state, faas_err *err)
{
    struct faas_token_claims claims = {.user = USER, .tenant = USER, .username = "ada"};
    FAAS_AUTO(char) *text = NULL;

    (void)state;
    FAAS_TRY(faas_token_sign(signer, &claims, 60, &text, err));
    fault_pause(true);
    assert_true(accepts(verifier, text));
    return FAAS_OK;
}

/* A good token is never called bad: its owner would be logged out. */
static faas_code verify(void *state, faas_err *err)
{
    struct faas_token_claims claims = {.user = ""};

    (void)state;
    FAAS_TRY(faas_token_verify(verifier, token, faas_wall_ms() / 1000, &claims, NULL, err));
    assert_string_equal(claims.user, USER);
    return FAAS_OK;
}

static faas_code hash(void *state, faas_err *err)
{
    char text[FAAS_PASSWORD_HASH_MAX] = "";
    bool is_match = false;

    (void)state;
    FAAS_TRY(faas_password_hash("correct horse", faas_deadline_in_ms(5000), text, err));
    FAAS_TRY(
        faas_password_verify(text, "correct horse", faas_deadline_in_ms(5000), &is_match, err));
    assert_true(is_match);
    return FAAS_OK;
}

static faas_code read_seed(void *state, faas_err *err)
{
    char seed[FAAS_NKEY_SEED_TEXT] = "", public_text[FAAS_NKEY_PUBLIC_TEXT] = "";

    FAAS_TRY(faas_nkey_read(state, seed, err));
    FAAS_TRY(faas_nkey_public(seed, public_text, err));
    assert_int_equal(public_text[0], 'U');
    return FAAS_OK;
}

static void keys_are_loaded_or_the_reason_is_told(void **state)
{
    (void)state;
    fault_each(load, NULL, 50);
}

static void no_key_is_left_out(void **state)
{
    (void)state;
    fault_each(publish, NULL, 50);
    fault_each(learn, NULL, 50);
}

static void tokens_are_signed_or_not(void **state)
{
    (void)state;
    fault_each(sign, NULL, 10);
}

static void a_good_token_is_never_called_bad(void **state)
{
    (void)state;
    fault_each(verify, NULL, 10);
}

static void hashes_need_no_memory_of_ours(void **state)
{
    (void)state;
    assert_ok(faas_password_setup(1, NULL));
    fault_each(hash, NULL, 0);
}

static void seeds_are_read_or_the_reason_is_told(void **state)
{
    char seed[FAAS_NKEY_SEED_TEXT], public_text[FAAS_NKEY_PUBLIC_TEXT], path[128];

    (void)state;
    assert_ok(faas_nkey_new(seed, public_text, NULL));
    snprintf(path, sizeof path, "%s", forge_file("seed", seed, strlen(seed), 0600));
    fault_each(read_seed, path, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_loaded_or_the_reason_is_told),
        cmocka_unit_test(no_key_is_left_out),
        cmocka_unit_test(tokens_are_signed_or_not),
        cmocka_unit_test(a_good_token_is_never_called_bad),
        cmocka_unit_test(hashes_need_no_memory_of_ours),
        cmocka_unit_test(seeds_are_read_or_the_reason_is_told),
    };

    fault_crypto();
    return cmocka_run_group_tests(tests, setup, teardown);
}
