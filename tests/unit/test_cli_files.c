/* Files of the command line: credentials, keys, ports, locks of the data directory. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/credentials.h"
#include "cli/datadir.h"
#include "cli/file.h"
#include "cli/keys.h"
#include "cli/ports.h"

static char folder[] = "/tmp/faas-cli-test.XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL && setenv("XDG_CONFIG_HOME", folder, 1) == 0 &&
                   unsetenv("FAAS_URL") == 0 && unsetenv("OPENFAAS_URL") == 0 &&
                   unsetenv("FAAS_TOKEN") == 0
               ? 0
               : -1;
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *place)
{
    (void)st;
    (void)type;
    (void)place;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(folder, forget, 16, FTW_DEPTH | FTW_PHYS);
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

/* ---- credentials ---- */

static void save(const char *server, const char *username, const char *token)
{
    struct credential kept = {strdup(server), strdup(username), strdup(token), 123,
                              strdup("/ca.pem")};
    faas_err err = {0};

    assert_ok(credential_save(&kept, &err));
    credential_done(&kept);
}

static void a_token_is_kept_per_server(void **state)
{
    struct credential got = {0};
    faas_err err = {0};

    (void)state;
    save("http://one:1", "ada", "token-one");
    save("http://two:2", "bob", "token-two");
    assert_ok(credential_load("http://one:1/", &got, &err));
    assert_string_equal(got.token, "token-one");
    assert_int_equal(got.expires_at_ms, 123);
    assert_string_equal(got.ca_file, "/ca.pem");
    credential_done(&got);
    assert_ok(credential_load("http://three:3", &got, &err));
    assert_null(got.token);
    assert_null(got.ca_file);
    credential_done(&got);
    assert_ok(credential_load(NULL, &got, &err)); /* the last login's server */
    assert_string_equal(got.server, "http://two:2");
    credential_done(&got);
    assert_ok(credential_forget("http://two:2", &err));
    assert_ok(credential_load("http://two:2", &got, &err));
    assert_null(got.token);
    credential_done(&got);
}

static void the_server_is_chosen_in_this_order(void **state)
{
    struct credential got = {0};
    faas_err err = {0};

    (void)state;
    assert_int_equal(setenv("OPENFAAS_URL", "open:1", 1), 0);
    assert_ok(credential_load(NULL, &got, &err));
    assert_string_equal(got.server, "http://open:1");
    credential_done(&got);
    assert_int_equal(setenv("FAAS_URL", "HTTPS://own:2//", 1), 0);
    assert_ok(credential_load(NULL, &got, &err));
    assert_string_equal(got.server, "https://own:2");
    credential_done(&got);
    assert_ok(credential_load("http://asked:3", &got, &err));
    assert_string_equal(got.server, "http://asked:3");
    credential_done(&got);
    unsetenv("FAAS_URL");
    unsetenv("OPENFAAS_URL");
}

static void a_file_that_others_may_read_is_refused(void **state)
{
    FAAS_AUTO(char) *path = file_path("%s/faas/credentials.json", folder);
    struct credential got = {0};
    faas_err err = {0};

    (void)state;
    save("http://one:1", "ada", "token-one");
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(credential_load(NULL, &got, &err), FAAS_INVALID);
    assert_contains(err.msg, "can be read by others (mode 0640)");
    assert_int_equal(chmod(path, 0600), 0);
}

static void server_urls_are_checked(void **state)
{
    static const char *const bad[] = {"ftp://h",        "http://",    "http://u@h", "http://h?x",
                                      "http://h\r\nX:", "http://h h", "",           "://h"};
    faas_err err = {0};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        char *url = NULL;

        assert_int_equal(credential_server_url(bad[i], &url, &err), FAAS_INVALID);
        assert_null(url);
    }
}

/* ---- keys ---- */

static void keys_are_made_once_and_private(void **state)
{
    char first[FAAS_NKEY_PUBLIC_TEXT], second[FAAS_NKEY_PUBLIC_TEXT];
    FAAS_AUTO(char) *seed = NULL;
    FAAS_AUTO(char) *again = NULL;
    FAAS_AUTO(char) *pem = NULL;
    FAAS_AUTO(char) *pem_text = NULL;
    size_t len;
    faas_err err = {0};

    (void)state;
    assert_ok(keys_nats(folder, "auth", &seed, first, &err));
    assert_ok(keys_nats(folder, "auth", &again, second, &err));
    assert_string_equal(first, second);
    assert_int_equal(first[0], 'U');
    assert_int_equal(strlen(first), 56);
    assert_int_equal(mode_of(seed), 0600);
    assert_ok(keys_token(folder, &pem, &err));
    assert_int_equal(mode_of(pem), 0600);
    assert_ok(file_read(pem, &pem_text, &len, &err));
    assert_contains(pem_text, "-----BEGIN PRIVATE KEY-----\n");
}

/* ---- ports ---- */

static int listen_on(int port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void ports_are_kept_while_they_are_free(void **state)
{
    FAAS_AUTO(char) *path = file_path("%s/ports.json", folder);
    struct port_book book = {NULL};
    int first = 0, other = 0, again = 0, moved = 0, fd;
    faas_err err = {0};

    (void)state;
    assert_ok(port_book_load(path, &book, &err));
    assert_ok(port_book_take(&book, "a", &first, &err));
    assert_ok(port_book_take(&book, "b", &other, &err));
    assert_ok(port_book_save(&book, path, &err));
    port_book_done(&book);
    assert_in_range(first, PORT_LEAST, PORT_MOST);
    assert_int_not_equal(first, other);

    assert_ok(port_book_load(path, &book, &err));
    assert_ok(port_book_take(&book, "a", &again, &err));
    assert_int_equal(again, first);
    fd = listen_on(first);
    assert_false(port_is_free("127.0.0.1", first));
    assert_ok(port_book_take(&book, "a", &moved, &err));
    assert_int_not_equal(moved, first);
    close(fd);
    port_book_done(&book);
}

/* ---- data directory ---- */

static void a_directory_has_one_user(void **state)
{
    FAAS_AUTO(char) *path = file_path("%s/data", folder);
    FAAS_AUTO(char) *wanted = file_path("%s is in use by process %d", path, (int)getpid());
    struct datadir dir = {0}, second = {0};
    pid_t holder = -1;
    faas_err err = {0};

    (void)state;
    assert_ok(datadir_open(path, &dir, &err));
    assert_int_equal(mode_of(path), 0700);
    assert_int_equal(datadir_open(path, &second, &err), FAAS_CONFLICT);
    assert_contains(err.msg, wanted);
    assert_ok(datadir_holder(path, &holder, &err));
    assert_int_equal(holder, getpid());
    datadir_close(&dir);
    assert_ok(datadir_holder(path, &holder, &err));
    assert_int_equal(holder, 0);
    assert_ok(datadir_open(path, &dir, &err));
    datadir_close(&dir);
}

static void the_number_of_servers_of_data_is_fixed(void **state)
{
    FAAS_AUTO(char) *path = file_path("%s/fixed", folder);
    struct cluster_facts first = {0}, again = {0};
    struct datadir dir = {0};
    faas_err err = {0};

    (void)state;
    assert_ok(datadir_open(path, &dir, &err));
    assert_ok(datadir_cluster(&dir, 3, &first, &err));
    assert_ok(datadir_cluster(&dir, 3, &again, &err));
    assert_string_equal(first.id, again.id);
    assert_string_equal(first.route_password, again.route_password);
    assert_int_equal(datadir_cluster(&dir, 1, &again, &err), FAAS_INVALID);
    assert_contains(err.msg, "was made for 3 nats servers; start it with --replicas nats=3");
    datadir_close(&dir);
}

static void an_unfinished_restore_is_told(void **state)
{
    FAAS_AUTO(char) *path = file_path("%s/restored", folder);
    FAAS_AUTO(char) *marker = file_path("%s/restored/" DATADIR_RESTORE, folder);
    faas_err err = {0};

    (void)state;
    assert_ok(datadir_check_whole(path, &err)); /* nothing there */
    assert_ok(file_make_dirs(path, &err));
    assert_ok(datadir_check_whole(path, &err));
    assert_ok(file_write(marker, "", 0, 0600, &err));
    assert_int_equal(datadir_check_whole(path, &err), FAAS_INVALID);
    assert_contains(err.msg, "a restore that was not finished; remove the directory");
    unlink(marker);
    assert_ok(datadir_check_whole(path, &err));
}

static void files_are_replaced_whole(void **state)
{
    FAAS_AUTO(char) *path = file_path("%s/whole", folder);
    FAAS_AUTO(char) *missing = file_path("%s/no/such/folder", folder);
    FAAS_AUTO(char) *text = NULL;
    size_t len;
    faas_err err = {0};

    (void)state;
    assert_ok(file_write(path, "first, longer", 13, 0600, &err));
    assert_ok(file_write_quick(path, "second", 6, &err));
    assert_ok(file_read(path, &text, &len, &err));
    assert_string_equal(text, "second");
    assert_int_equal(len, 6);
    assert_int_equal(file_write(missing, "x", 1, 0600, &err), FAAS_INVALID);
    assert_contains(err.msg, "cannot write: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_kept_per_server),
        cmocka_unit_test(the_server_is_chosen_in_this_order),
        cmocka_unit_test(a_file_that_others_may_read_is_refused),
        cmocka_unit_test(server_urls_are_checked),
        cmocka_unit_test(keys_are_made_once_and_private),
        cmocka_unit_test(ports_are_kept_while_they_are_free),
        cmocka_unit_test(a_directory_has_one_user),
        cmocka_unit_test(the_number_of_servers_of_data_is_fixed),
        cmocka_unit_test(an_unfinished_restore_is_told),
        cmocka_unit_test(files_are_replaced_whole),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
