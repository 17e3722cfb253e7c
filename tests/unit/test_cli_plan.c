#include "tests/unit/unit.h"

#include <string.h>

#include "cli/plan.h"

static void replicas_name_a_part_and_a_count(void **state)
{
    int counts[ROLE_COUNT] = {1, 1, 1, 1, 1, 1, 1};
    faas_err err = {0};

    (void)state;
    assert_ok(plan_parse_replicas("nats=3", counts, &err));
    assert_ok(plan_parse_replicas("spawner=16", counts, &err));
    assert_int_equal(counts[ROLE_NATS], 3);
    assert_int_equal(counts[ROLE_SPAWNER], 16);
    assert_int_equal(counts[ROLE_AUTH], 1);
}

static void wrong_replicas_say_what_is_right(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"gatway=1", "no part is called gatway, did you mean gateway"},
        {"image-registry=1", "no part is called image-registry; the parts are auth"},
        {"queue=1", "no part is called queue; the parts are auth"},
        {"nats=0", "--replicas nats: a number from 1 to 5"},
        {"nats=2", "1, 3 or 5"},
        {"auth=17", "--replicas auth: a number from 1 to 16"},
        {"auth=-1", "--replicas auth: a number from 1 to 16"},
        {"auth=", "--replicas auth: a number from 1 to 16"},
        {"auth", "NAME=N"},
        {"=3", "no part is called"},
    };
    int counts[ROLE_COUNT] = {1, 1, 1, 1, 1, 1, 1};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++) {
        faas_err err = {0};

        assert_int_equal(plan_parse_replicas(cases[i].text, counts, &err), FAAS_INVALID);
        assert_contains(err.msg, cases[i].part);
        for (int role = 0; role < ROLE_COUNT; role++)
            assert_int_equal(counts[role], 1);
    }
}

static void listen_takes_addresses_of_both_families(void **state)
{
    static const struct {
        const char *text, *address;
        int port;
    } cases[] = {
        {"127.0.0.1:8080", "127.0.0.1", 8080}, {":81", "127.0.0.1", 81},
        {"localhost:0", "127.0.0.1", 0},       {"0.0.0.0:65535", "0.0.0.0", 65535},
        {"[::1]:8080", "::1", 8080},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++) {
        struct up_options options = {0};
        faas_err err = {0};

        assert_ok(plan_parse_listen(cases[i].text, &options, &err));
        assert_string_equal(options.address, cases[i].address);
        assert_int_equal(options.port, cases[i].port);
    }
}

static void listen_refuses_names_and_bad_ports(void **state)
{
    static const char *const bad[] = {"8080",         "example.org:80", "127.0.0.1:65536",
                                      "127.0.0.1:",   "127.0.0.1:80x",  "[::1:80",
                                      "1.2.3.4.5:80", "127.0.0.1:-1",   ""};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        struct up_options options = {0};
        faas_err err = {0};

        assert_int_equal(plan_parse_listen(bad[i], &options, &err), FAAS_INVALID);
        assert_contains(err.msg, "--listen takes");
    }
}

static void the_first_restart_is_immediate_then_it_backs_off(void **state)
{
    static const int64_t wanted[] = {0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000};

    (void)state;
    for (int i = 0; i < (int)FAAS_ARRAY_LEN(wanted); i++)
        assert_int_equal(process_delay_ms(i), wanted[i]);
    assert_int_equal(process_delay_ms(1000000), 5000);
}

static void deaths_are_told_in_words(void **state)
{
    char text[64];

    (void)state;
    process_status_text(9, text, sizeof text);
    assert_string_equal(text, "signal 9 (Killed)");
    process_status_text(3 << 8, text, sizeof text);
    assert_string_equal(text, "exit status 3");
    process_status_text(-1, text, sizeof text);
    assert_string_equal(text, "-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_name_a_part_and_a_count),
        cmocka_unit_test(wrong_replicas_say_what_is_right),
        cmocka_unit_test(listen_takes_addresses_of_both_families),
        cmocka_unit_test(listen_refuses_names_and_bad_ports),
        cmocka_unit_test(the_first_restart_is_immediate_then_it_backs_off),
        cmocka_unit_test(deaths_are_told_in_words),
    };

    return run_unit(tests);
}
