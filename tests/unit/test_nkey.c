/* NATS user keys: shape, checksum, files. */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/nkey.h"
#include "tests/unit/unit.h"

static void a_new_key_has_the_shape_of_a_user_key(void **state)
{
    char seed[FAAS_NKEY_SEED_TEXT], public_key[FAAS_NKEY_PUBLIC_TEXT];
    char again[FAAS_NKEY_PUBLIC_TEXT];
    faas_err err = {0};

    (void)state;
    assert_ok(faas_nkey_new(seed, public_key, &err));
    assert_int_equal(strlen(seed), 58);
    assert_int_equal(strlen(public_key), 56);
    assert_memory_equal(seed, "SU", 2);
    assert_int_equal(public_key[0], 'U');
    assert_ok(faas_nkey_public(seed, again, &err));
    assert_string_equal(again, public_key);
}

static void two_keys_differ(void **state)
{
    char seeds[2][FAAS_NKEY_SEED_TEXT], publics[2][FAAS_NKEY_PUBLIC_TEXT];
    faas_err err = {0};

    (void)state;
    assert_ok(faas_nkey_new(seeds[0], publics[0], &err));
    assert_ok(faas_nkey_new(seeds[1], publics[1], &err));
    assert_string_not_equal(seeds[0], seeds[1]);
    assert_string_not_equal(publics[0], publics[1]);
}

/* Any single character changed is noticed: the checksum covers all of them. */
static void a_seed_with_a_wrong_character_is_refused(void **state)
{
    char seed[FAAS_NKEY_SEED_TEXT], public_key[FAAS_NKEY_PUBLIC_TEXT];
    faas_err err = {0};

    (void)state;
    assert_ok(faas_nkey_new(seed, public_key, &err));
    for (size_t i = 0; i < 57; i++) { /* the last one holds two bits that say nothing */
        char kept = seed[i];

        seed[i] = kept == 'A' ? 'B' : 'A';
        assert_int_equal(faas_nkey_public(seed, public_key, &err), FAAS_INVALID);
        seed[i] = kept;
    }
    assert_ok(faas_nkey_public(seed, public_key, &err));
}

static void text_that_is_no_seed_is_refused(void **state)
{
    static const char *const bad[] = {"", "SU",
                                      "UA4DNBGQOI5MACP22LOOBK4USX2EDQSBFMZU2BAZXJSRUPRVO2VUFNL6",
                                      "SUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                      "su!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"};
    char public_key[FAAS_NKEY_PUBLIC_TEXT];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        faas_err err = {0};

        assert_int_equal(faas_nkey_public(bad[i], public_key, &err), FAAS_INVALID);
        assert_contains(err.msg, "SU");
    }
}

static void decode(const char *text, uint8_t *out_raw, size_t len)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint32_t bits = 0;
    int count = 0;

    for (size_t used = 0; used < len; text++) {
        bits = bits << 5 | (uint32_t)(strchr(letters, *text) - letters);
        count += 5;
        if (count >= 8) {
            count -= 8;
            out_raw[used++] = (uint8_t)(bits >> count);
        }
    }
}

/* One text in 256 has a plain Ed25519 signature that begins with a zero byte; ours never does, and
 * every one of them is valid. */
static void signatures_are_valid_and_never_begin_with_a_zero_byte(void **state)
{
    char seed[FAAS_NKEY_SEED_TEXT], public_text[FAAS_NKEY_PUBLIC_TEXT], text[32];
    uint8_t seed_raw[2 + 32], public_raw[1 + 32], public_key[32], secret[64];
    uint8_t plain[64], ours[FAAS_NKEY_SIGNATURE];
    int zeros = 0;
    faas_err err = {0};

    (void)state;
    assert_ok(faas_nkey_new(seed, public_text, &err));
    decode(seed, seed_raw, sizeof seed_raw);
    decode(public_text, public_raw, sizeof public_raw);
    crypto_sign_seed_keypair(public_key, secret, seed_raw + 2);
    assert_memory_equal(public_key, public_raw + 1, sizeof public_key);
    for (int i = 0; i < 4000; i++) {
        size_t len = (size_t)snprintf(text, sizeof text, "nonce %d", i);

        crypto_sign_detached(plain, NULL, (const uint8_t *)text, len, secret);
        assert_ok(faas_nkey_sign(seed, text, ours, &err));
        assert_int_not_equal(ours[0], 0);
        assert_int_equal(crypto_sign_verify_detached(ours, (const uint8_t *)text, len, public_key),
                         0);
        if (plain[0] == 0)
            zeros++;
        else
            assert_memory_equal(ours, plain, sizeof plain);
    }
    assert_true(zeros > 0); /* (255/256)^4000: this test met the case it is about */
}

/* ---- files ---- */

static char path[] = "/tmp/faas-test-nkey-XXXXXX";

static int make_file(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    (void)unlink(path);
    return 0;
}

static void write_file(const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void a_seed_is_read_with_or_without_its_newline(void **state)
{
    char seed[FAAS_NKEY_SEED_TEXT], public_key[FAAS_NKEY_PUBLIC_TEXT];
    char text[FAAS_NKEY_SEED_TEXT + 1], got[FAAS_NKEY_SEED_TEXT];
    faas_err err = {0};

    (void)state;
    assert_ok(faas_nkey_new(seed, public_key, &err));
    write_file(seed, 0600);
    assert_ok(faas_nkey_read(path, got, &err));
    assert_string_equal(got, seed);
    (void)snprintf(text, sizeof text, "%s\n", seed);
    write_file(text, 0400);
    assert_ok(faas_nkey_read(path, got, &err));
    assert_string_equal(got, seed);
}

static void a_file_that_others_can_read_is_refused(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0644, 0660};
    char seed[FAAS_NKEY_SEED_TEXT], public_key[FAAS_NKEY_PUBLIC_TEXT], got[FAAS_NKEY_SEED_TEXT];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(modes); i++) {
        faas_err err = {0};

        assert_ok(faas_nkey_new(seed, public_key, &err));
        write_file(seed, modes[i]);
        assert_int_equal(faas_nkey_read(path, got, &err), FAAS_INVALID);
        assert_contains(err.msg, "0600");
        assert_contains(err.msg, path);
    }
}

static void a_file_with_something_else_is_refused_without_echo(void **state)
{
    char got[FAAS_NKEY_SEED_TEXT];
    faas_err err = {0};

    (void)state;
    write_file("SUhunter2\n", 0600);
    assert_int_equal(faas_nkey_read(path, got, &err), FAAS_INVALID);
    assert_null(strstr(err.msg, "hunter2"));
    assert_int_equal(faas_nkey_read("/nonexistent/key", got, &err), FAAS_INVALID);
    assert_contains(err.msg, "No such file");
    /* the seed of the NATS documentation */
    write_file("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n", 0600);
    assert_int_equal(faas_nkey_read(path, got, &err), FAAS_INVALID);
    assert_contains(err.msg, "printed in public documents");
    assert_int_equal(faas_nkey_read("/dev/null", got, &err), FAAS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_key_has_the_shape_of_a_user_key),
        cmocka_unit_test(two_keys_differ),
        cmocka_unit_test(a_seed_with_a_wrong_character_is_refused),
        cmocka_unit_test(text_that_is_no_seed_is_refused),
        cmocka_unit_test(signatures_are_valid_and_never_begin_with_a_zero_byte),
        cmocka_unit_test(a_seed_is_read_with_or_without_its_newline),
        cmocka_unit_test(a_file_that_others_can_read_is_refused),
        cmocka_unit_test(a_file_with_something_else_is_refused_without_echo),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
