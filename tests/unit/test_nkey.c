/* NATS user keys: shape, checksum, files. */
#include <fcntl.h>
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
    assert_int_equal(faas_nkey_read("/nonexistent/key", got, &err), FAAS_INTERNAL);
    assert_int_equal(faas_nkey_read("/dev/null", got, &err), FAAS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_key_has_the_shape_of_a_user_key),
        cmocka_unit_test(two_keys_differ),
        cmocka_unit_test(a_seed_with_a_wrong_character_is_refused),
        cmocka_unit_test(text_that_is_no_seed_is_refused),
        cmocka_unit_test(a_seed_is_read_with_or_without_its_newline),
        cmocka_unit_test(a_file_that_others_can_read_is_refused),
        cmocka_unit_test(a_file_with_something_else_is_refused_without_echo),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
