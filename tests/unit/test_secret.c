/* Which files may hold a secret. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "tests/unit/unit.h"

static char dir[] = "/tmp/faas-secret-XXXXXX";
static char home[64], other[64], path[96], elsewhere[96], link_path[96];

static int begin(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(home, sizeof home, "%s/home", dir);
    snprintf(other, sizeof other, "%s/homes", dir); /* begins like the first */
    snprintf(path, sizeof path, "%s/key", home);
    snprintf(elsewhere, sizeof elsewhere, "%s/key", other);
    snprintf(link_path, sizeof link_path, "%s/link", home);
    assert_int_equal(mkdir(home, 0700), 0);
    assert_int_equal(mkdir(other, 0700), 0);
    return 0;
}

static void remove_all(void)
{
    (void)unlink(link_path);
    (void)unlink(path);
    (void)unlink(elsewhere);
}

static int end(void **state)
{
    (void)state;
    remove_all();
    (void)rmdir(home);
    (void)rmdir(other);
    return rmdir(dir);
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static faas_code check(const char *name, faas_err *err)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    faas_code rc;

    assert_true(fd >= 0);
    *err = (faas_err){0};
    rc = faas_secret_check(fd, name, err);
    close(fd);
    return rc;
}

static void assert_refused(const char *name, const char *why)
{
    faas_err err;

    assert_int_equal(check(name, &err), FAAS_INVALID);
    assert_contains(err.msg, name);
    assert_contains(err.msg, why);
    assert_null(strstr(err.msg, "hunter2"));
}

static void only_the_owner_may_reach_it(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0660, 0610, 0601};
    faas_err err;

    (void)state;
    write_file(path, "hunter2", 0600);
    assert_ok(check(path, &err));
    write_file(path, "hunter2", 0400);
    assert_ok(check(path, &err));
    for (size_t i = 0; i < FAAS_ARRAY_LEN(modes); i++) {
        remove_all();
        write_file(path, "hunter2", modes[i]);
        assert_refused(path, "group or others may reach this secret");
    }
    remove_all();
}

static void an_empty_file_or_none_at_all_is_no_secret(void **state)
{
    (void)state;
    write_file(path, "", 0600);
    assert_refused(path, "this secret is empty");
    assert_refused("/dev/null", "not a plain file");
    assert_refused(dir, "not a plain file");
    remove_all();
}

static void a_link_may_not_lead_out_of_its_folder(void **state)
{
    char deep[128], deep_file[160];
    faas_err err;

    (void)state;
    write_file(elsewhere, "hunter2", 0600);
    assert_int_equal(symlink(elsewhere, link_path), 0);
    assert_refused(link_path, "a symbolic link out of its folder");
    remove_all();
    write_file(path, "hunter2", 0600);
    assert_int_equal(symlink("key", link_path), 0);
    assert_ok(check(link_path, &err));
    remove_all();
    snprintf(deep, sizeof deep, "%s/..data", home); /* as mounted secrets are made */
    snprintf(deep_file, sizeof deep_file, "%s/key", deep);
    assert_int_equal(mkdir(deep, 0700), 0);
    write_file(deep_file, "hunter2", 0600);
    assert_int_equal(symlink("..data/key", link_path), 0);
    assert_ok(check(link_path, &err));
    assert_int_equal(unlink(deep_file), 0);
    assert_int_equal(rmdir(deep), 0);
    remove_all();
}

static void somebody_elses_file_is_refused(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip(); /* only root can give a file away */
    write_file(path, "hunter2", 0600);
    assert_int_equal(chown(path, 12345, 0), 0);
    assert_refused(path, "belongs to user 12345");
    remove_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_owner_may_reach_it),
        cmocka_unit_test(an_empty_file_or_none_at_all_is_no_secret),
        cmocka_unit_test(a_link_may_not_lead_out_of_its_folder),
        cmocka_unit_test(somebody_elses_file_is_refused),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
