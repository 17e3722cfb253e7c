/* Which addresses a callback may go to: services/publisher/callback_guard.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/publisher/callback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static bool lets(const char *allow, const char *text)
{
    struct callback_guard guard;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    bool is_v6 = strchr(text, ':') != NULL;
    faas_err err;

    assert_int_equal(callback_guard_parse(allow, &guard, &err), FAAS_OK);
    assert_int_equal(inet_pton(is_v6 ? AF_INET6 : AF_INET, text,
                               is_v6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr),
                     1);
    return callback_guard_lets(&guard, is_v6 ? (const struct sockaddr *)(const void *)&v6
                                             : (const struct sockaddr *)(const void *)&v4);
}

static void inner_addresses_are_refused(void **state)
{
    static const char *const inner[] = {
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.255.255",
        "198.18.0.1",
        "198.19.255.255",
        "203.0.113.9",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "::7f00:1",
        "64:ff9b::7f00:1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "100::1",
        "2001::1",
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(inner); i++) {
        if (lets("", inner[i]))
            fail_msg("%s", inner[i]);
    }
}

static void public_addresses_are_let_through(void **state)
{
    static const char *const outer[] = {
        "1.1.1.1",       "9.255.255.255", "11.0.0.0",       "100.63.255.255",  "100.128.0.0",
        "126.0.0.1",     "128.0.0.1",     "169.253.1.1",    "172.15.255.255",  "172.32.0.1",
        "192.167.1.1",   "192.169.1.1",   "198.17.255.255", "198.20.0.0",      "223.255.255.255",
        "2606:4700::11", "2a00::1",       "::ffff:1.1.1.1", "64:ff9b::101:101"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(outer); i++) {
        if (!lets("", outer[i]))
            fail_msg("%s", outer[i]);
    }
}

static void the_operator_s_list_lets_through_what_it_names_alone(void **state)
{
    static const char list[] = "10.1.2.0/23, fd00::/8,192.168.1.7";

    (void)state;
    assert_true(lets(list, "10.1.2.9"));
    assert_true(lets(list, "10.1.3.255"));
    assert_false(lets(list, "10.1.4.0"));
    assert_true(lets(list, "::ffff:10.1.2.1"));
    assert_true(lets(list, "fd12::1"));
    assert_false(lets(list, "fc12::1"));
    assert_true(lets(list, "192.168.1.7"));
    assert_false(lets(list, "192.168.1.8"));
    assert_false(lets(list, "127.0.0.1"));
    assert_true(lets("0.0.0.0/0", "127.0.0.1"));
    assert_false(lets("0.0.0.0/0", "::1"));
}

static void other_families_are_refused(void **state)
{
    const struct sockaddr local = {.sa_family = AF_UNIX};
    struct callback_guard guard;
    faas_err err;

    (void)state;
    assert_int_equal(callback_guard_parse("0.0.0.0/0,::/0", &guard, &err), FAAS_OK);
    assert_false(callback_guard_lets(&guard, &local));
}

static void what_is_no_network_is_named(void **state)
{
    static const char *const bad[] = {"10.0.0.0/33", "10.0.0/8",   "::/129",      "a.example",
                                      "10.0.0.0/",   "10.0.0.0/x", "10.0.0.0/8/8"};
    struct callback_guard guard;
    faas_err err;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        assert_int_equal(callback_guard_parse(bad[i], &guard, &err), FAAS_INVALID);
        assert_non_null(strstr(err.msg, bad[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inner_addresses_are_refused),
        cmocka_unit_test(public_addresses_are_let_through),
        cmocka_unit_test(the_operator_s_list_lets_through_what_it_names_alone),
        cmocka_unit_test(other_families_are_refused),
        cmocka_unit_test(what_is_no_network_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
