#include "tests/unit/unit.h"

#include <string.h>

#include "services/spawner/native/order.h"
#include "services/spawner/zygote/packet.h"
#include "services/spawner/zygote/wire.h"

static struct image_config config;
static struct rt_spec spec;

static int fresh(void **state)
{
    (void)state;
    json_decref(config.entrypoint);
    json_decref(config.cmd);
    json_decref(config.env);
    config = (struct image_config){.working_dir = (char *)(uintptr_t) "/work"};
    spec = (struct rt_spec){.argument = "arg", .argument_len = 3};
    return 0;
}

/* "argument|argument|...;variable|..." */
static void read_back(const struct order *order, char out[2048])
{
    struct zy_call_req head;
    char *at = order->data + sizeof head, *out_at = out;
    const char *end = order->data + order->len;

    memcpy(&head, order->data, sizeof head);
    assert_string_equal(zy_take(&at, end), "/work");
    for (uint32_t i = 0; i < head.argc; i++)
        out_at += snprintf(out_at, 200, "%s|", zy_take(&at, end));
    out_at += snprintf(out_at, 200, ";");
    for (uint32_t i = 0; i < head.envc; i++)
        out_at += snprintf(out_at, 200, "%s|", zy_take(&at, end));
    assert_ptr_equal(at, end);
}

static void the_command_line_follows_the_images_rules(void **state)
{
    static const struct {
        const char *entrypoint, *cmd, *command;
        bool is_stdin;
        const char *expected;
    } rows[] = {
        {"[\"/e\",\"-x\"]", "[\"/c\"]", NULL, false, "/e|-x|arg|"},
        {"[\"/e\"]", "[\"/c\"]", NULL, true, "/e|/c|"},
        {"[\"/e\"]", NULL, NULL, true, "/e|"},
        {NULL, "[\"/c\",\"1\"]", NULL, false, "/c|1|arg|"},
        {NULL, "[\"/c\",\"1\"]", NULL, true, "/c|1|"},
        {NULL, "[\"/c\"]", "[\"/d\"]", false, "/d|arg|"},
        {"[\"/e\"]", "[\"/c\"]", "[\"/d\"]", true, "/e|/d|"},
    };

    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        FAAS_AUTO(json_t) *command =
            rows[i].command != NULL ? json_loads(rows[i].command, 0, NULL) : NULL;
        struct order order = {0};
        char text[2048];
        faas_err err = {0};

        (void)fresh(state);
        config.entrypoint =
            rows[i].entrypoint != NULL ? json_loads(rows[i].entrypoint, 0, NULL) : NULL;
        config.cmd = rows[i].cmd != NULL ? json_loads(rows[i].cmd, 0, NULL) : NULL;
        spec.command = command;
        spec.is_stdin = rows[i].is_stdin;
        assert_ok(order_build(&spec, &config, &order, &err));
        read_back(&order, text);
        *strchr(text, ';') = '\0';
        assert_string_equal(text, rows[i].expected);
        assert_string_equal(order_directory(&order), "/work");
        assert_int_equal(order_program(&order)[0], '/');
        free(order.data);
    }
}

static void variables_of_the_function_win_over_the_images_and_ours(void **state)
{
    FAAS_AUTO(json_t) *env = json_pack("{s:s,s:s}", "B", "function", "D", "=x=");
    struct order order = {0};
    char text[2048];
    faas_err err = {0};

    (void)state;
    config.cmd = json_pack("[s]", "/c");
    config.env = json_pack("[s,s,s,s]", "A=image", "B=image", "HOME=/home/app", "nothing");
    spec.env = env;
    assert_ok(order_build(&spec, &config, &order, &err));
    read_back(&order, text);
    assert_string_equal(strchr(text, ';'),
                        ";PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|"
                        "HOSTNAME=function|HOME=/home/app|A=image|B=function|D==x=|");
    free(order.data);
}

static void what_cannot_be_run_says_what_to_change(void **state)
{
    FAAS_AUTO(char) *big = calloc(1, ZY_PACKET_MAX);
    FAAS_AUTO(json_t) *env = json_object();
    struct order order = {0};
    faas_err err = {0};

    (void)state;
    assert_int_equal(order_build(&spec, &config, &order, &err), FAAS_START_FAILED);
    assert_contains(err.msg, "ENTRYPOINT");
    config.cmd = json_pack("[s]", "/c");
    spec.argument = "a\0b";
    assert_int_equal(order_build(&spec, &config, &order, &err), FAAS_START_FAILED);
    assert_contains(err.msg, "NUL");
    spec.argument = "ok";
    spec.argument_len = 2;
    memset(big, 'x', ZY_PACKET_MAX - 1);
    assert_int_equal(json_object_set_new(env, "BIG", json_string(big)), 0);
    spec.env = env;
    assert_int_equal(order_build(&spec, &config, &order, &err), FAAS_START_FAILED);
    assert_contains(err.msg, "environment");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_command_line_follows_the_images_rules, fresh, fresh),
        cmocka_unit_test_setup_teardown(variables_of_the_function_win_over_the_images_and_ours,
                                        fresh, fresh),
        cmocka_unit_test_setup_teardown(what_cannot_be_run_says_what_to_change, fresh, fresh),
    };

    return run_unit(tests);
}
