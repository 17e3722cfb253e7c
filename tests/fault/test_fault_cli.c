/* Files of the command line and of `faas up`, without memory and on a disk that fails. */
#include "tests/support/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/credentials.h"
#include "cli/datadir.h"
#include "cli/file.h"
#include "cli/image_registry.h"
#include "cli/keys.h"
#include "cli/logfile.h"
#include "cli/nats_conf.h"
#include "cli/ports.h"
#include "cli/programs.h"
#include "tests/unit/unit.h"

#define ONE "http://one.example:8080"
#define TWO "http://two.example:8080"

static char folder[] = "/tmp/faas-fault-cli.XXXXXX";

static int forget(const char *path, const struct stat *st, int type, struct FTW *place)
{
    (void)st, (void)type, (void)place;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL && setenv("XDG_CONFIG_HOME", folder, 1) == 0 &&
                   unsetenv("FAAS_URL") == 0 && unsetenv("OPENFAAS_URL") == 0 &&
                   unsetenv("FAAS_TOKEN") == 0
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(folder, forget, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *in_folder(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ---- files ---- */

/* Old or new, never a part; and never nothing. */
static faas_code replace_file(void *state, faas_err *err)
{
    FAAS_AUTO(json_t) *before = NULL;
    FAAS_AUTO(json_t) *after = NULL;
    const char *path = state;
    json_int_t old;
    bool was_paused = fault_pause(true);
    FAAS_AUTO(json_t) *wanted = NULL;
    faas_code rc;

    assert_ok(file_read_json(path, &before, err));
    old = json_integer_value(json_object_get(before, "count"));
    wanted = json_pack("{s:I,s:s}", "count", old + 1, "text", "longer than sixteen bytes");
    fault_pause(was_paused);
    rc = file_write_json(path, wanted, 0600, err);
    fault_pause(true);
    assert_ok(file_read_json(path, &after, NULL));
    assert_true(json_equal(after, wanted) || (rc != FAAS_OK && json_equal(after, before)));
    return rc;
}

static faas_code read_file(void *state, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    FAAS_TRY(file_read_json(state, &doc, err));
    assert_non_null(doc); /* it is there, so it is not "missing" */
    return FAAS_OK;
}

static faas_code make_dirs(void *state, faas_err *err)
{
    return file_make_dirs(state, err);
}

static void a_file_is_old_or_new_and_never_gone(void **state)
{
    FAAS_AUTO(char) *path = strdup(in_folder("file.json"));
    FAAS_AUTO(char) *dirs = strdup(in_folder("a/b/c"));

    (void)state;
    assert_ok(file_write(path, "{\"count\":1}", 11, 0600, NULL));
    fault_each(replace_file, path, 15);
    fault_each(read_file, path, 10);
    fault_each(make_dirs, dirs, 3);
}

/* ---- logins ---- */

static faas_code log_in(void *state, faas_err *err)
{
    struct credential kept = {.server = (char[]){TWO},
                              .username = (char[]){"bob"},
                              .token = (char[]){"token-two-is-long-enough"}};
    struct credential got = {.server = NULL};
    faas_code rc = credential_save(&kept, err);

    (void)state;
    fault_pause(true);
    assert_ok(credential_load(ONE, &got, NULL)); /* others keep theirs, whatever happens */
    assert_string_equal(got.token, "token-one-is-long-enough");
    credential_done(&got);
    return rc;
}

static faas_code read_login(void *state, faas_err *err)
{
    struct credential got = {.server = NULL};

    FAAS_TRY(credential_load(state, &got, err));
    assert_non_null(got.token);
    assert_string_equal(got.token, "token-one-is-long-enough");
    credential_done(&got);
    return FAAS_OK;
}

static void logins_of_other_servers_are_never_lost(void **state)
{
    struct credential one = {.server = (char[]){ONE},
                             .username = (char[]){"ada"},
                             .token = (char[]){"token-one-is-long-enough"}};

    (void)state;
    assert_ok(credential_save(&one, NULL));
    fault_each(log_in, NULL, 30);
    fault_each(read_login, (char[]){ONE}, 20);
}

/* ---- keys ---- */

struct keys {
    char *token_pem, *seed;
};

static char *text_of(const char *path)
{
    char *text = NULL;
    size_t len;

    assert_ok(file_read(path, &text, &len, NULL));
    assert_non_null(text);
    return text;
}

/* A key that is there stays: a new one would make every token, or the whole bus, invalid. */
static faas_code find_keys(void *state, faas_err *err)
{
    struct keys *keys = state;
    FAAS_AUTO(char) *token_path = NULL;
    FAAS_AUTO(char) *seed_path = NULL;
    char public_key[FAAS_NKEY_PUBLIC_TEXT];
    FAAS_AUTO(char) *token = NULL;
    FAAS_AUTO(char) *seed = NULL;
    faas_code rc = keys_token(folder, &token_path, err);

    if (rc == FAAS_OK)
        rc = keys_nats(folder, "auth", &seed_path, public_key, err);
    fault_pause(true);
    token = text_of(in_folder("keys/token-1.pem"));
    seed = text_of(in_folder("keys/nats-auth.seed"));
    assert_string_equal(token, keys->token_pem);
    assert_string_equal(seed, keys->seed);
    return rc;
}

static faas_code make_keys(void *state, faas_err *err)
{
    FAAS_AUTO(char) *path = NULL;
    FAAS_AUTO(char) *seed_path = NULL;
    char public_key[FAAS_NKEY_PUBLIC_TEXT];

    (void)state;
    fault_pause(true);
    unlink(in_folder("new/keys/token-1.pem"));
    unlink(in_folder("new/keys/nats-auth.seed"));
    fault_pause(false);
    FAAS_TRY(keys_token(in_folder("new"), &path, err));
    FAAS_TRY(keys_nats(in_folder("new"), "auth", &seed_path, public_key, err));
    return FAAS_OK;
}

static void a_key_that_is_there_is_never_made_anew(void **state)
{
    struct keys keys = {.token_pem = NULL};
    char *path = NULL, public_key[FAAS_NKEY_PUBLIC_TEXT];

    (void)state;
    assert_ok(keys_token(folder, &path, NULL));
    keys.token_pem = text_of(path);
    free(path);
    assert_ok(keys_nats(folder, "auth", &path, public_key, NULL));
    keys.seed = text_of(path);
    free(path);
    fault_each(find_keys, &keys, 15);
    free(keys.token_pem);
    free(keys.seed);
}

static void keys_are_made_or_the_reason_is_told(void **state)
{
    (void)state;
    fault_each(make_keys, NULL, 30);
}

/* A login that is there stays: spawners elsewhere may hold it. */
static faas_code make_registry(void *state, faas_err *err)
{
    struct image_registry registry;
    faas_code code = image_registry_make(folder, 23456, &registry, err);

    fault_pause(true);
    if (code == FAAS_OK) {
        FAAS_AUTO(char) *login = text_of(registry.login_path);

        assert_string_equal(login, state);
        assert_string_equal(registry.address, "127.0.0.1:23456");
    }
    image_registry_done(&registry);
    return code;
}

static void a_registry_is_configured_or_the_reason_is_told(void **state)
{
    struct image_registry registry;
    FAAS_AUTO(char) *login = NULL;

    (void)state;
    assert_ok(file_write(in_folder("docker-registry"), "", 0, 0700, NULL));
    setenv("PATH", folder, 1);
    assert_ok(image_registry_make(folder, 23456, &registry, NULL));
    login = text_of(registry.login_path);
    assert_contains(login, "\"127.0.0.1:23456\"");
    image_registry_done(&registry);
    fault_each(make_registry, login, 20);
}

/* ---- data directory ---- */

static faas_code own_data(void *state, faas_err *err)
{
    struct datadir dir = {.lock_fd = -1, .nats_fd = -1};
    struct cluster_facts facts = {.nats = 0};
    faas_code rc;

    FAAS_TRY(datadir_open(state, &dir, err));
    rc = datadir_cluster(&dir, 3, &facts, err);
    if (rc == FAAS_OK)
        assert_true(facts.nats == 3 && strlen(facts.id) == 16);
    datadir_close(&dir);
    return rc;
}

static faas_code look_for_holder(void *state, faas_err *err)
{
    pid_t pid = -1;

    FAAS_TRY(datadir_holder(state, &pid, err));
    assert_int_equal(pid, getpid());
    return FAAS_OK;
}

static void a_data_directory_is_owned_or_the_reason_is_told(void **state)
{
    FAAS_AUTO(char) *path = strdup(in_folder("data"));
    struct datadir dir;

    (void)state;
    fault_each(own_data, path, 20);
    assert_ok(datadir_open(path, &dir, NULL));
    fault_each(look_for_holder, path, 4);
    datadir_close(&dir);
}

static faas_code take_port(void *state, faas_err *err)
{
    struct port_book book = {.doc = NULL};
    faas_code rc;
    int port = 0;

    FAAS_TRY(port_book_load(state, &book, err));
    rc = port_book_take(&book, "nats-1", &port, err);
    if (rc == FAAS_OK)
        rc = port_book_save(&book, state, err);
    if (rc == FAAS_OK)
        assert_in_range(port, PORT_LEAST, PORT_MOST);
    port_book_done(&book);
    return rc;
}

static void ports_are_written_down_or_not_used(void **state)
{
    FAAS_AUTO(char) *path = strdup(in_folder("ports.json"));

    (void)state;
    fault_each(take_port, path, 20);
}

/* ---- programs ---- */

static faas_code write_conf(void *state, faas_err *err)
{
    static const struct faas_bus_key keys[] = {{"cli", "UCLI"}, {"auth", "UAUTH"}, {NULL, NULL}};
    const struct nats_node node = {4222, 6222, 8222};
    const struct nats_conf conf = {.cluster = "c",
                                   .store_dir = "/d",
                                   .route_password = "p",
                                   .nodes = &node,
                                   .node_count = 1,
                                   .keys = keys};
    FAAS_AUTO(char) *text = NULL;

    (void)state;
    FAAS_TRY(nats_conf_text(&conf, &text, err));
    assert_contains(text, "UAUTH");
    return FAAS_OK;
}

static faas_code find_nats(void *state, faas_err *err)
{
    FAAS_AUTO(char) *path = NULL;

    FAAS_TRY(programs_nats(folder, &path, err));
    assert_string_equal(path, state);
    return FAAS_OK;
}

static void the_bus_is_configured_and_found_or_the_reason_is_told(void **state)
{
    static const char script[] = "#!/bin/sh\necho 'nats-server: v2.11.0'\n";
    FAAS_AUTO(char) *path = strdup(in_folder("nats-server"));

    (void)state;
    assert_ok(file_write(path, script, sizeof script - 1, 0700, NULL));
    setenv("NATS_SERVER", path, 1);
    fault_each(write_conf, NULL, 2);
    fault_each(find_nats, path, 4);
}

/* The child's lines go on being read, written down or not. */
static faas_code keep_log(void *state, faas_err *err)
{
    struct ev_loop *ev = state;
    FAAS_AUTO(char) *path = file_path("%s/child.log", folder);
    struct logfile log = {.path = NULL};
    int fd = -1;
    faas_code rc;

    if (path == NULL)
        return faas_fail_sys(err, ENOMEM, "path");
    FAAS_TRY(logfile_open(&log, path, "child", false, err));
    path = NULL;
    rc = logfile_attach(&log, ev, &fd, err);
    if (rc == FAAS_OK) {
        bool was_paused = fault_pause(true);

        assert_int_equal(write(fd, "first\nlast\n", 11), 11);
        close(fd);
        fault_pause(was_paused);
        logfile_drain(&log);
        logfile_drain(&log);
        assert_string_equal(log.last, "last");
    }
    logfile_close(&log, ev);
    return rc;
}

static void a_log_is_read_whatever_becomes_of_its_file(void **state)
{
    struct ev_loop *ev = ev_loop_new(0);

    (void)state;
    fault_each(keep_log, ev, 6);
    ev_loop_destroy(ev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_old_or_new_and_never_gone),
        cmocka_unit_test(logins_of_other_servers_are_never_lost),
        cmocka_unit_test(a_key_that_is_there_is_never_made_anew),
        cmocka_unit_test(keys_are_made_or_the_reason_is_told),
        cmocka_unit_test(a_registry_is_configured_or_the_reason_is_told),
        cmocka_unit_test(a_data_directory_is_owned_or_the_reason_is_told),
        cmocka_unit_test(ports_are_written_down_or_not_used),
        cmocka_unit_test(the_bus_is_configured_and_found_or_the_reason_is_told),
        cmocka_unit_test(a_log_is_read_whatever_becomes_of_its_file),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
