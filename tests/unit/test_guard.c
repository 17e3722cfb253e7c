/* Request heads that readers could frame differently are refused. */
#include "gateway/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/promise.h"

struct field {
    const char *name, *value;
};

static faas_err err;
static struct guard guard;
static int refused; /* heads, by all tests */

static faas_code counted(faas_code rc)
{
    refused += rc == FAAS_INVALID;
    return rc;
}

static faas_code check_as(const char *version, const struct field *fields)
{
    memset(&guard, 0, sizeof guard);
    memset(&err, 0, sizeof err);
    for (; fields->name != NULL; fields++)
        guard_field(&guard, fields->name, strlen(fields->name), fields->value,
                    strlen(fields->value));
    return counted(guard_check(&guard, "POST", "/auth/login", version, &err));
}

#define CHECK(...) check_as("HTTP/1.1", (const struct field[]){{"Host", "a"}, __VA_ARGS__, {0}})

static void an_ordinary_request_passes(void **state)
{
    (void)state;
    assert_int_equal(CHECK({"Content-Length", "12"}, {"X-Any", "a\tb \xc3\xbc"}), FAAS_OK);
    assert_int_equal(guard.declared, 12);
    assert_false(guard.is_chunked);
    assert_int_equal(CHECK({"transfer-encoding", "Chunked"}), FAAS_OK);
    assert_true(guard.is_chunked);
    assert_int_equal(check_as("HTTP/1.0", (const struct field[]){{0}}), FAAS_OK);
}

static void one_host_is_required(void **state)
{
    (void)state;
    assert_int_equal(CHECK({"host", "b"}), FAAS_INVALID);
    assert_string_equal(err.msg, "malformed HTTP: exactly one Host header is required");
    assert_int_equal(check_as("HTTP/1.1", (const struct field[]){{0}}), FAAS_INVALID);
    assert_int_equal(
        check_as("HTTP/1.0", (const struct field[]){{"Host", "a"}, {"Host", "a"}, {0}}),
        FAAS_INVALID);
}

static void the_length_is_given_once_in_one_way(void **state)
{
    (void)state;
    assert_int_equal(CHECK({"Content-Length", "2"}, {"Content-Length", "2"}), FAAS_INVALID);
    assert_int_equal(CHECK({"Content-Length", "2"}, {"Transfer-Encoding", "chunked"}),
                     FAAS_INVALID);
    assert_string_equal(err.msg,
                        "malformed HTTP: the body's length must be given once, in one way");
    assert_int_equal(CHECK({"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}),
                     FAAS_INVALID);
}

static void lengths_are_plain_numbers(void **state)
{
    static const char *const bad[] = {"",    "-1",  "+1",  " 1",  "1 ",
                                      "1,1", "0x1", "1e3", "1\r", "1234567890123456789"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++)
        assert_int_equal(CHECK({"Content-Length", bad[i]}), FAAS_INVALID);
    assert_int_equal(CHECK({"Content-Length", "123456789012345678"}), FAAS_OK);
    assert_true(guard.declared == INT64_C(123456789012345678));
}

static void chunked_is_the_only_encoding_and_only_in_11(void **state)
{
    static const char *const bad[] = {
        "gzip", "chunked, chunked", "gzip, chunked", "xchunked", "chunked ", "", "identity"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++)
        assert_int_equal(CHECK({"Transfer-Encoding", bad[i]}), FAAS_INVALID);
    assert_int_equal(
        check_as("HTTP/1.0", (const struct field[]){{"Transfer-Encoding", "chunked"}, {0}}),
        FAAS_INVALID);
}

static void header_names_are_tokens(void **state)
{
    static const char *const bad[] = {"",     "a b",  "Content-Length ", "a:b", "a\x01", "\xc3\xbc",
                                      "a(b)", "\"a\""};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++)
        assert_int_equal(CHECK({bad[i], "x"}), FAAS_INVALID);
    assert_int_equal(CHECK({"!#$%&'*+-.^_`|~09azAZ", "x"}), FAAS_OK);
}

static void header_values_have_no_control_bytes(void **state)
{
    (void)state;
    assert_int_equal(CHECK({"X", "a\x01"}), FAAS_INVALID);
    assert_int_equal(CHECK({"X", "a\x7f"}), FAAS_INVALID);
    assert_int_equal(CHECK({"X", "a\nb"}), FAAS_INVALID);
    memset(&guard, 0, sizeof guard);
    guard_field(&guard, "Host", 4, "a", 1);
    guard_field(&guard, "X", 1, "a\0b", 3); /* lengths end texts, not NULs */
    assert_int_equal(guard_check(&guard, "GET", "/", "HTTP/1.1", &err), FAAS_INVALID);
}

static faas_code check_line(const char *method, const char *target, const char *version)
{
    memset(&guard, 0, sizeof guard);
    guard_field(&guard, "Host", 4, "a", 1);
    return counted(guard_check(&guard, method, target, version, &err));
}

static void the_request_line_is_strict(void **state)
{
    (void)state;
    assert_int_equal(check_line("GET", "/a?b=%20", "HTTP/1.1"), FAAS_OK);
    assert_int_equal(check_line("GET", "http://host/a", "HTTP/1.1"), FAAS_OK);
    assert_int_equal(check_line("GET", "/a b", "HTTP/1.1"), FAAS_INVALID);
    assert_int_equal(check_line("GET", "/a#b", "HTTP/1.1"), FAAS_INVALID);
    assert_int_equal(check_line("GET", "/\xc3\xbc", "HTTP/1.1"), FAAS_INVALID);
    assert_int_equal(check_line("GET", "/\x7f", "HTTP/1.1"), FAAS_INVALID);
    assert_int_equal(check_line("GET", "a", "HTTP/1.1"), FAAS_INVALID);
    assert_int_equal(check_line("GET", "", "HTTP/1.1"), FAAS_INVALID);
    assert_int_equal(check_line("OPTIONS", "*", "HTTP/1.1"), FAAS_OK);
    assert_int_equal(check_line("OPTIONS", "*/", "HTTP/1.1"), FAAS_INVALID);
    assert_int_equal(check_line("GET", "*", "HTTP/1.1"), FAAS_INVALID);
    assert_int_equal(check_line("CONNECT", "a:1", "HTTP/1.1"), FAAS_INVALID);
    assert_int_equal(check_line("G(T", "/", "HTTP/1.1"), FAAS_INVALID);
    assert_int_equal(check_line("", "/", "HTTP/1.1"), FAAS_INVALID);
    assert_int_equal(check_line("GET", "/", "HTTP/1.2"), FAAS_INVALID);
    assert_int_equal(check_line("GET", "/", ""), FAAS_INVALID);
}

static void two_authorizations_are_refused(void **state)
{
    (void)state;
    assert_int_equal(CHECK({"Authorization", "a"}, {"authorization", "b"}), FAAS_INVALID);
}

/* Last: what the tests above offered. */
static void no_head_that_reads_two_ways_was_let_in(void **state)
{
    (void)state;
    assert_true(refused > 0);
    test_promise(8, "0 of %d heads that readers could frame differently let in", refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_request_passes),
        cmocka_unit_test(one_host_is_required),
        cmocka_unit_test(the_length_is_given_once_in_one_way),
        cmocka_unit_test(lengths_are_plain_numbers),
        cmocka_unit_test(chunked_is_the_only_encoding_and_only_in_11),
        cmocka_unit_test(header_names_are_tokens),
        cmocka_unit_test(header_values_have_no_control_bytes),
        cmocka_unit_test(the_request_line_is_strict),
        cmocka_unit_test(two_authorizations_are_refused),
        cmocka_unit_test(no_head_that_reads_two_ways_was_let_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
