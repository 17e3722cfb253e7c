#include "tests/unit/unit.h"

#include <string.h>

#include "cli/nats_conf.h"

static const struct nats_node nodes[] = {
    {11001, 11002, 11003}, {12001, 12002, 12003}, {13001, 13002, 13003}};
static const struct faas_bus_key keys[] = {{"cli", "UCLI"}, {"auth", "UAUTH"}, {NULL, NULL}};

static struct nats_conf sample(void)
{
    return (struct nats_conf){
        .cluster = "faas-0123",
        .store_dir = "/data/nats/2",
        .route_password = "abc123",
        .nodes = nodes,
        .node_count = 3,
        .own = 1,
        .keys = keys,
    };
}

static char *text_of(const struct nats_conf *conf)
{
    char *text = NULL;
    faas_err err = {0};

    assert_ok(nats_conf_text(conf, &text, &err));
    return text;
}

static void a_server_listens_on_loopback_and_syncs_every_write(void **state)
{
    struct nats_conf conf = sample();
    FAAS_AUTO(char) *text = text_of(&conf);

    (void)state;
    assert_contains(text, "server_name: \"faas-0123-n2\"\n");
    assert_contains(text, "\nlisten: \"127.0.0.1:12001\"\n");
    assert_contains(text, "http: \"127.0.0.1:12003\"\n");
    assert_contains(text, "max_payload: 2MB\n");
    assert_contains(text, "store_dir: \"/data/nats/2\"\n");
    assert_contains(text, "sync_interval: always\n");
}

static void routes_list_every_server_with_the_password(void **state)
{
    struct nats_conf conf = sample();
    FAAS_AUTO(char) *text = text_of(&conf);

    (void)state;
    assert_contains(text, "  listen: \"127.0.0.1:12002\"\n");
    assert_contains(text, "authorization { user: \"route\", password: \"abc123\", timeout: 2 }");
    assert_contains(text, "nats-route://route:abc123@127.0.0.1:11002");
    assert_contains(text, "nats-route://route:abc123@127.0.0.1:12002");
    assert_contains(text, "nats-route://route:abc123@127.0.0.1:13002");
}

static void servers_with_host_names_share_one_text(void **state)
{
    static const char *const hosts[] = {"nats1", "nats2.example", "nats3"};
    static const char *const bad[] = {"", "-n", "a b", "a:b", "a/b", "a@b", "a\"b"};
    struct nats_conf conf = sample();
    FAAS_AUTO(char) *text = NULL;

    (void)state;
    conf.hosts = hosts;
    text = text_of(&conf);
    assert_null(strstr(text, "server_name"));
    assert_contains(text, "\nlisten: \"0.0.0.0:12001\"\n");
    assert_contains(text, "http: \"127.0.0.1:12003\"\n");
    assert_contains(text, "  listen: \"0.0.0.0:12002\"\n");
    assert_contains(text, "nats-route://route:abc123@nats1:11002");
    assert_contains(text, "nats-route://route:abc123@nats2.example:12002");
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        const char *const some[] = {"nats1", bad[i], "nats3"};
        char *none = NULL;
        faas_err err = {0};

        conf.hosts = some;
        assert_int_equal(nats_conf_text(&conf, &none, &err), FAAS_INVALID);
        assert_contains(err.msg, "is no host name");
        assert_null(none);
    }
}

static void one_server_has_no_cluster(void **state)
{
    struct nats_conf conf = sample();
    FAAS_AUTO(char) *text = NULL;

    (void)state;
    conf.node_count = 1;
    conf.own = 0;
    text = text_of(&conf);
    assert_null(strstr(text, "cluster"));
    assert_null(strstr(text, "abc123"));
}

static void each_user_has_its_key_and_its_allow_lists(void **state)
{
    struct nats_conf conf = sample();
    FAAS_AUTO(char) *text = text_of(&conf);
    const char *auth = strstr(text, "nkey: \"UAUTH\"");

    (void)state;
    assert_contains(text, "nkey: \"UCLI\"");
    assert_non_null(auth);
    assert_contains(auth, "\"$KV.users.>\"");
    assert_null(strstr(auth, "\"$KV.functions.>\""));
    assert_null(strstr(text, "\">\""));
}

static void text_that_would_end_its_string_is_refused(void **state)
{
    static const char *const bad[] = {"/a\"b", "/a\\b", "/a\nb", "/a\x7f"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        struct nats_conf conf = sample();
        char *text = NULL;
        faas_err err = {0};

        conf.store_dir = bad[i];
        assert_int_equal(nats_conf_text(&conf, &text, &err), FAAS_INVALID);
        assert_contains(err.msg, "no quotes, backslashes or control characters");
        assert_null(text);
    }
}

static void versions_below_the_floor_are_not_enough(void **state)
{
    static const struct {
        const char *text;
        bool is_version, is_enough;
    } cases[] = {
        {"nats-server: v2.10.27\n", true, true},
        {"nats-server: v2.10.26", true, false},
        {"nats-server: v2.9.99", true, false},
        {"nats-server: v2.15.1", true, true},
        {"nats-server: v3.0.0-beta.1", true, true},
        {"nats-server: v2.10.27~rc1", true, true},
        {"hello", false, false},
        {"", false, false},
        {"nats-server: v2", false, false},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++) {
        int version[3] = {0};

        assert_int_equal(nats_version_parse(cases[i].text, version), cases[i].is_version);
        if (cases[i].is_version)
            assert_int_equal(nats_version_is_enough(version), cases[i].is_enough);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_listens_on_loopback_and_syncs_every_write),
        cmocka_unit_test(routes_list_every_server_with_the_password),
        cmocka_unit_test(servers_with_host_names_share_one_text),
        cmocka_unit_test(one_server_has_no_cluster),
        cmocka_unit_test(each_user_has_its_key_and_its_allow_lists),
        cmocka_unit_test(text_that_would_end_its_string_is_refused),
        cmocka_unit_test(versions_below_the_floor_are_not_enough),
    };

    return run_unit(tests);
}
