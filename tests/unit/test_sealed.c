/* Values that one holder of a key alone can read. */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/sealed.h"
#include "tests/unit/unit.h"

#define LABEL "s.0190c8f6-0000-7000-8000-0000000000f1.00ff"

static faas_sealed_key *key;
static char dir[64];

static int begin(void **state)
{
    faas_err err;

    (void)state;
    snprintf(dir, sizeof dir, "/tmp/sealed-XXXXXX");
    return mkdtemp(dir) == NULL || faas_sealed_key_new(&key, &err) != FAAS_OK;
}

static int end(void **state)
{
    char path[128];

    (void)state;
    faas_sealed_key_free(key);
    snprintf(path, sizeof path, "%s/key", dir);
    (void)unlink(path);
    return rmdir(dir);
}

static char *sealed(const void *bytes, size_t len)
{
    const struct faas_sealed_value value = {LABEL, bytes, len};
    char *text = NULL;
    faas_err err;

    assert_ok(faas_seal(faas_sealed_key_public(key), &value, &text, &err));
    return text;
}

static void any_bytes_come_back_and_show_in_no_box(void **state)
{
    static unsigned char bytes[FAAS_SEALED_MAX];
    const size_t lens[] = {0, 1, 17, FAAS_SEALED_MAX};
    faas_err err;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        char *text = sealed(bytes, lens[i]);
        void *value = NULL;
        size_t len = 99;

        assert_ok(faas_unseal(key, LABEL, text, &value, &len, &err));
        assert_int_equal(len, lens[i]);
        assert_memory_equal(value, bytes, lens[i]);
        sodium_free(value);
        free(text);
    }
}

static void sealing_twice_gives_two_boxes(void **state)
{
    char *one = sealed("abc", 3), *two = sealed("abc", 3);

    (void)state;
    assert_string_not_equal(one, two);
    free(one);
    free(two);
}

static void a_value_over_the_limit_is_refused(void **state)
{
    static const unsigned char bytes[FAAS_SEALED_MAX + 1];
    const struct faas_sealed_value value = {LABEL, bytes, sizeof bytes};
    char *text = NULL;
    faas_err err;

    (void)state;
    assert_int_equal(faas_seal(faas_sealed_key_public(key), &value, &text, &err), FAAS_TOO_LARGE);
    assert_contains(err.msg, "65536");
    assert_null(text);
}

static void opens(const faas_sealed_key *with, const char *label, const char *text, const char *why)
{
    void *value = NULL;
    size_t len;
    faas_err err;

    assert_int_equal(faas_unseal(with, label, text, &value, &len, &err), FAAS_INVALID);
    assert_contains(err.msg, why);
    assert_null(value);
}

static void no_other_key_label_or_byte_opens_a_box(void **state)
{
    char *text = sealed("hunter2", 7);
    faas_sealed_key *other = NULL;
    faas_err err;

    (void)state;
    assert_ok(faas_sealed_key_new(&other, &err));
    opens(other, LABEL, text, "another key");
    opens(key, LABEL "1", text, "another's");
    opens(key, "", text, "another's");
    opens(key, LABEL, "AAAA", "damaged");
    opens(key, LABEL, "not base64!", "damaged");
    text[40] = text[40] == 'A' ? 'B' : 'A';
    opens(key, LABEL, text, "damaged");
    faas_sealed_key_free(other);
    free(text);
}

static void a_public_key_is_hex_of_its_length(void **state)
{
    static const char *const bad[] = {"", "00", "zz", NULL};
    const struct faas_sealed_value value = {LABEL, "x", 1};
    char *text = NULL;
    faas_err err;

    (void)state;
    for (size_t i = 0; bad[i] != NULL; i++) {
        assert_int_equal(faas_seal(bad[i], &value, &text, &err), FAAS_INVALID);
        assert_contains(err.msg, "public_key");
    }
}

static faas_code read_file(const char *content, mode_t mode, faas_sealed_key **out_key,
                           faas_err *err)
{
    char path[128];
    FILE *to;

    snprintf(path, sizeof path, "%s/key", dir);
    to = fopen(path, "w");
    assert_non_null(to);
    assert_true(fputs(content, to) >= 0);
    assert_int_equal(fclose(to), 0);
    assert_int_equal(chmod(path, mode), 0);
    return faas_sealed_key_read(path, out_key, err);
}

static void a_key_of_a_file_opens_what_was_sealed_to_it(void **state)
{
    char content[FAAS_SEALED_KEY_TEXT + 1];
    faas_sealed_key *one = NULL, *two = NULL;
    faas_err err;

    (void)state;
    faas_sealed_key_text(content);
    assert_int_equal(strlen(content), FAAS_SEALED_KEY_TEXT);
    assert_ok(read_file(content, 0600, &one, &err));
    assert_ok(read_file(content, 0600, &two, &err));
    assert_string_equal(faas_sealed_key_public(one), faas_sealed_key_public(two));
    assert_null(strstr(content, faas_sealed_key_public(one)));
    faas_sealed_key_free(one);
    faas_sealed_key_free(two);
}

static void a_file_that_is_no_key_is_named_and_not_shown(void **state)
{
    static const char *const bad[] = {
        "0123",
        "qq",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "zz23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefff",
        NULL};
    faas_sealed_key *read = NULL;
    faas_err err;

    (void)state;
    for (size_t i = 0; bad[i] != NULL; i++) {
        assert_int_equal(read_file(bad[i], 0600, &read, &err), FAAS_INVALID);
        assert_contains(err.msg, "/key: not a key");
        assert_null(strstr(err.msg, bad[i]));
        assert_null(read);
    }
    assert_int_equal(read_file(bad[3], 0640, &read, &err), FAAS_INVALID);
    assert_contains(err.msg, "group or others");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_bytes_come_back_and_show_in_no_box),
        cmocka_unit_test(sealing_twice_gives_two_boxes),
        cmocka_unit_test(a_value_over_the_limit_is_refused),
        cmocka_unit_test(no_other_key_label_or_byte_opens_a_box),
        cmocka_unit_test(a_public_key_is_hex_of_its_length),
        cmocka_unit_test(a_key_of_a_file_opens_what_was_sealed_to_it),
        cmocka_unit_test(a_file_that_is_no_key_is_named_and_not_shown),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
