/* `faas init`: what it leaves in a directory, and that running it again keeps what must stay. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/verb.h"
#include "contract.h"
#include "net/nkey.h"

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/faas-test-init-XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct cli_list *hosts_option(void)
{
    struct cli_list *hosts = cli_init_options[0].target;

    assert_string_equal(cli_init_options[0].name, "nats-host");
    return hosts;
}

/* Exit status of `faas init dir --nats-host ...`; NULL ends the hosts. */
static int init(const char *const *hosts)
{
    struct cli_args args = {.rest = {.items = {dir}, .count = 1}};
    struct cli_list *list = hosts_option();

    list->count = 0;
    for (; hosts != NULL && *hosts != NULL; hosts++)
        list->items[list->count++] = *hosts;
    return cli_init(&args);
}

static char *text_in(const char *name)
{
    FAAS_AUTO(char) *path = file_path("%s/%s", dir, name);
    char *text = NULL;
    struct stat info;
    faas_err err = {0};
    size_t len;

    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_ok(file_read(path, &text, &len, &err));
    assert_non_null(text);
    return text;
}

static void every_user_of_the_bus_has_a_seed_and_the_servers_know_it(void **state)
{
    FAAS_AUTO(char) *conf = NULL;
    FAAS_AUTO(char) *key = NULL;
    const struct faas_bus_user *user;

    (void)state;
    assert_int_equal(init(NULL), 0);
    conf = text_in("nats.conf");
    key = text_in("keys/token-1.pem");
    assert_contains(key, "PRIVATE KEY");
    for (size_t i = 0; (user = faas_contract_user(i)) != NULL; i++) {
        FAAS_AUTO(char) *name = file_path("keys/nats-%s.seed", user->service);
        FAAS_AUTO(char) *seed = text_in(name);
        char public_key[FAAS_NKEY_PUBLIC_TEXT];
        faas_err err = {0};

        seed[strcspn(seed, "\n")] = '\0';
        assert_ok(faas_nkey_public(seed, public_key, &err));
        assert_contains(conf, public_key);
        assert_null(strstr(conf, seed));
    }
    assert_contains(conf, "@nats1:6222");
    assert_contains(conf, "@nats3:6222");
    assert_contains(conf, "store_dir: \"/data\"");
}

static void run_again_it_keeps_the_keys_and_makes_what_is_missing(void **state)
{
    FAAS_AUTO(char) *seed_path = file_path("%s/keys/nats-auth.seed", dir);
    FAAS_AUTO(char) *conf = NULL;
    FAAS_AUTO(char) *again = NULL;
    FAAS_AUTO(char) *other = NULL;
    FAAS_AUTO(char) *key = NULL;
    FAAS_AUTO(char) *same_key = NULL;

    (void)state;
    assert_int_equal(init(NULL), 0);
    conf = text_in("nats.conf");
    key = text_in("keys/token-1.pem");
    assert_int_equal(init(NULL), 0);
    again = text_in("nats.conf");
    same_key = text_in("keys/token-1.pem");
    assert_string_equal(conf, again);
    assert_string_equal(key, same_key);
    assert_int_equal(unlink(seed_path), 0);
    assert_int_equal(init(NULL), 0);
    other = text_in("nats.conf");
    assert_string_not_equal(conf, other);
}

static void other_hosts_are_taken_but_no_other_number_of_them(void **state)
{
    static const char *const three[] = {"a", "b", "c", NULL}, *const one[] = {"a", NULL},
                             *const two[] = {"a", "b", NULL}, *const bad[] = {"a b", NULL};
    FAAS_AUTO(char) *conf = NULL;

    (void)state;
    assert_int_equal(init(two), CLI_USAGE);
    assert_int_equal(init(bad), CLI_USAGE);
    assert_int_equal(init(one), 0);
    assert_int_equal(init(three), CLI_USAGE); /* the directory is that of one server */
    conf = text_in("nats.conf");
    assert_null(strstr(conf, "cluster"));
}

static void an_open_key_is_refused(void **state)
{
    FAAS_AUTO(char) *path = file_path("%s/keys/nats-auth.seed", dir);

    (void)state;
    assert_int_equal(init(NULL), 0);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(init(NULL), CLI_USAGE);
}

static bool *tls_option(void)
{
    assert_string_equal(cli_init_options[1].name, "nats-tls");
    return cli_init_options[1].target;
}

static int init_with_tls(const char *const *hosts)
{
    int status;

    *tls_option() = true;
    status = init(hosts);
    *tls_option() = false;
    return status;
}

static void replace(const char *name, const char *text)
{
    FAAS_AUTO(char) *path = file_path("%s/%s", dir, name);
    faas_err err = {0};

    if (text == NULL)
        assert_int_equal(unlink(path), 0);
    else
        assert_ok(file_write(path, text, strlen(text), 0600, &err));
}

static char *cert_in(const char *name)
{
    FAAS_AUTO(char) *path = file_path("%s/%s", dir, name);
    char *text = NULL;
    faas_err err = {0};
    size_t len;

    assert_ok(file_read(path, &text, &len, &err));
    assert_non_null(text);
    return text;
}

static void an_authority_of_the_bus_is_kept_and_its_certificate_made_for_the_hosts(void **state)
{
    static const char *const one[] = {"nats.example", NULL};
    FAAS_AUTO(char) *conf = NULL;
    FAAS_AUTO(char) *plain = NULL;
    FAAS_AUTO(char) *ca = NULL;
    FAAS_AUTO(char) *cert = NULL;
    FAAS_AUTO(char) *same_ca = NULL;
    FAAS_AUTO(char) *same_cert = NULL;

    (void)state;
    assert_int_equal(init(one), 0);
    plain = text_in("nats.conf");
    assert_null(strstr(plain, "tls"));
    assert_int_equal(init_with_tls(one), 0);
    conf = text_in("nats.conf");
    assert_contains(conf, "tls { cert_file: \"/run/secrets/nats-tls.pem\"");
    ca = cert_in("keys/nats-ca.pem");
    cert = cert_in("keys/nats-tls.pem");
    assert_int_equal(init_with_tls(one), 0);
    same_ca = cert_in("keys/nats-ca.pem");
    same_cert = cert_in("keys/nats-tls.pem");
    assert_string_equal(ca, same_ca);
    assert_string_equal(cert, same_cert);
    replace("keys/nats-tls.pem", ca); /* not what the key is for */
    assert_int_equal(init_with_tls(one), 0);
    free(same_ca);
    same_ca = cert_in("keys/nats-ca.pem");
    assert_string_equal(ca, same_ca);
    free(same_cert);
    same_cert = cert_in("keys/nats-tls.pem");
    assert_string_not_equal(same_cert, ca);
}

static void somebody_elses_authority_is_taken_and_never_replaced(void **state)
{
    static const char *const one[] = {"nats.example", NULL}, *const other[] = {"other", NULL};
    FAAS_AUTO(char) *cert = NULL;
    FAAS_AUTO(char) *same = NULL;

    (void)state;
    assert_int_equal(init_with_tls(one), 0);
    replace("keys/nats-ca-key.pem", NULL);
    cert = cert_in("keys/nats-tls.pem");
    assert_int_equal(init_with_tls(one), 0);
    same = cert_in("keys/nats-tls.pem");
    assert_string_equal(cert, same);
    assert_int_not_equal(init_with_tls(other), 0); /* not for that name */
    replace("keys/nats-tls.pem", NULL);
    assert_int_not_equal(init_with_tls(one), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_user_of_the_bus_has_a_seed_and_the_servers_know_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(run_again_it_keeps_the_keys_and_makes_what_is_missing,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_hosts_are_taken_but_no_other_number_of_them, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_open_key_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            an_authority_of_the_bus_is_kept_and_its_certificate_made_for_the_hosts, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(somebody_elses_authority_is_taken_and_never_replaced,
                                        set_up, tear_down),
    };

    return run_unit(tests);
}
