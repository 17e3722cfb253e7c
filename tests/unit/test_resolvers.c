#include "tests/unit/unit.h"

#include <arpa/inet.h>

#include "services/spawner/native/resolvers.h"

static void a_list_is_taken_in_its_order(void **state)
{
    struct resolvers found;
    char text[RESOLVERS_TEXT];
    faas_err err = {0};

    (void)state;
    assert_ok(resolvers_read("192.0.2.1, 127.0.0.53,192.0.2.3", &found, &err));
    assert_int_equal(found.count, 3);
    assert_int_equal(found.at[0], htonl(0xc0000201));
    resolvers_text(&found, text);
    assert_string_equal(text,
                        "nameserver 192.0.2.1\nnameserver 127.0.0.53\nnameserver 192.0.2.3\n");
}

static void what_is_no_address_is_refused_by_name(void **state)
{
    static const char *const bad[] = {"x", "192.0.2.1,::1", "1.2.3", "192.0.2.1\nsearch x",
                                      "1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4"};
    struct resolvers found;
    faas_err err;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        memset(&err, 0, sizeof err);
        assert_int_equal(resolvers_read(bad[i], &found, &err), FAAS_INVALID);
        assert_contains(err.msg, "SPAWNER_DNS");
    }
}

static void without_a_setting_nothing_of_loopback_is_taken(void **state)
{
    struct resolvers found;
    faas_err err = {0};

    (void)state;
    assert_ok(resolvers_read("", &found, &err));
    for (size_t i = 0; i < found.count; i++)
        assert_int_not_equal(ntohl(found.at[i]) >> 24, 127);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_taken_in_its_order),
        cmocka_unit_test(what_is_no_address_is_refused_by_name),
        cmocka_unit_test(without_a_setting_nothing_of_loopback_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
