/* The registry's read model: restarts, rebuilding, and what happens to bad files. */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/catalog_rig.h"

#define NOBODY 65534

static void a_restart_goes_on_where_it_was(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query ann = rig_all_of(ANN);

    (void)state;
    assert_int_equal(catalog_applied(cat), 0);
    rig_put(cat, ANN, "f", "");
    rig_commit(cat, 7);
    rig_put(cat, ANN, "lost", ""); /* its batch never ends */
    catalog_close(cat);
    cat = rig_open("one", LAST);
    assert_int_equal(catalog_applied(cat), 7);
    rig_page_is(cat, &ann, "f");
    catalog_close(cat);
}

static void a_file_ahead_of_its_bucket_is_built_again(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query ann = rig_all_of(ANN);

    (void)state;
    rig_put(cat, ANN, "f", "");
    rig_commit(cat, 7);
    catalog_close(cat);
    cat = rig_open("one", 6);
    assert_int_equal(catalog_applied(cat), 0);
    rig_page_is(cat, &ann, "");
    catalog_close(cat);
}

static void in_file(const char *instance, const char *sql)
{
    char path[100];
    sqlite3 *db = NULL;

    snprintf(path, sizeof path, "%s/%s.db", rig_dir, instance);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Layout 1 counted nothing. */
static void an_older_layout_is_built_again(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query ann = rig_all_of(ANN);

    (void)state;
    rig_put(cat, ANN, "f", "");
    rig_commit(cat, 7);
    catalog_close(cat);
    in_file("one", "DROP TABLE owners; DROP TRIGGER function_added; DROP TRIGGER function_removed;"
                   "PRAGMA user_version = 1");
    cat = rig_open("one", LAST);
    assert_int_equal(catalog_applied(cat), 0);
    rig_page_is(cat, &ann, "");
    rig_put(cat, ANN, "f", "");
    rig_commit(cat, 7);
    catalog_close(cat);
    cat = rig_open("one", LAST); /* it is of this layout now */
    assert_int_equal(catalog_applied(cat), 7);
    rig_page_is(cat, &ann, "f");
    catalog_close(cat);
}

static void a_file_of_another_program_is_replaced(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query ann = rig_all_of(ANN);

    (void)state;
    rig_commit(cat, 7);
    catalog_close(cat);
    in_file("one", "DROP TABLE functions; DROP TABLE versions; DROP TABLE feed; DROP TABLE owners;"
                   "CREATE TABLE theirs (x); PRAGMA user_version = 3");
    cat = rig_open("one", LAST);
    assert_int_equal(catalog_applied(cat), 0);
    rig_put(cat, ANN, "f", "");
    rig_commit(cat, 1);
    rig_page_is(cat, &ann, "f");
    catalog_close(cat);
}

static void path_of(const char *name, char out_path[100])
{
    snprintf(out_path, 100, "%s/%s", rig_dir, name);
}

/* Root may write to any file, so for this it is somebody else. */
static void a_file_that_is_not_writable_is_replaced(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query ann = rig_all_of(ANN);
    uid_t self = geteuid();
    char path[100];

    (void)state;
    rig_put(cat, ANN, "f", "");
    rig_commit(cat, 7);
    catalog_close(cat);
    path_of("one.lock", path);
    assert_int_equal(chmod(path, 0666), 0);
    path_of(".sweep", path);
    assert_int_equal(chmod(path, 0666), 0);
    path_of("one.db", path);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(chmod(rig_dir, 0777), 0);
    assert_int_equal(seteuid(self == 0 ? NOBODY : self), 0);
    cat = rig_open("one", LAST);
    assert_int_equal(catalog_applied(cat), 0);
    rig_put(cat, ANN, "g", "");
    rig_commit(cat, 1);
    rig_page_is(cat, &ann, "g");
    catalog_close(cat);
    assert_int_equal(seteuid(self), 0);
}

static void a_folder_in_the_files_place_is_said(void **state)
{
    const struct catalog_conf conf = {.dir = rig_dir, .instance = "one", .bucket_last = LAST};
    catalog *cat = NULL;
    char path[100];
    faas_err err = {0};

    (void)state;
    path_of("one.db", path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(catalog_open(&conf, &cat, &err), FAAS_INTERNAL);
    assert_contains(err.detail, path);
    assert_null(cat);
}

static void another_layout_is_built_again(void **state)
{
    catalog *cat = rig_open("one", LAST);

    (void)state;
    rig_put(cat, ANN, "f", "");
    rig_commit(cat, 7);
    catalog_close(cat);
    in_file("one", "PRAGMA user_version = 99");
    cat = rig_open("one", LAST);
    assert_int_equal(catalog_applied(cat), 0);
    rig_put(cat, ANN, "g", "");
    rig_commit(cat, 1);
    catalog_close(cat);
    cat = rig_open("one", LAST);
    assert_int_equal(catalog_applied(cat), 1);
    catalog_close(cat);
}

static void spoil(const char *instance, off_t from)
{
    char path[100], junk[4096];
    int fd;

    memset(junk, 0x5a, sizeof junk);
    snprintf(path, sizeof path, "%s/%s.db", rig_dir, instance);
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    for (int i = 0; i < 16; i++)
        assert_int_equal(pwrite(fd, junk, sizeof junk, from + i * (off_t)sizeof junk), sizeof junk);
    close(fd);
}

static void damaged_files_are_built_again(void **state)
{
    static const off_t places[] = {0, 4096}; /* no database any more; one with bad pages */

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(places); i++) {
        catalog *cat = rig_open("one", LAST);
        struct catalog_query ann = rig_all_of(ANN);

        rig_put(cat, ANN, "f", "");
        rig_commit(cat, 7);
        catalog_close(cat);
        spoil("one", places[i]);
        cat = rig_open("one", LAST);
        assert_int_equal(catalog_applied(cat), 0);
        rig_page_is(cat, &ann, "");
        catalog_close(cat);
    }
}

static void a_rebuild_begins_empty(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query ann = rig_all_of(ANN);
    faas_err err = {0};

    (void)state;
    rig_put(cat, ANN, "f", "");
    rig_commit(cat, 7);
    rig_put(cat, ANN, "half", "");
    assert_int_equal(catalog_rebuild(cat, &err), FAAS_OK);
    assert_int_equal(catalog_applied(cat), 0);
    rig_page_is(cat, &ann, "");
    rig_put(cat, ANN, "g", "");
    rig_commit(cat, 3);
    rig_page_is(cat, &ann, "g");
    catalog_close(cat);
}

static void damage_met_while_reading_takes_the_file_out_of_use(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query ann = rig_all_of(ANN);
    json_t *items = NULL;
    bool has_more;
    faas_err err = {0};

    (void)state;
    rig_put(cat, ANN, "f", "");
    rig_commit(cat, 7);
    assert_true(catalog_is_good(cat));
    in_file("one", "UPDATE functions SET record = '{'");
    assert_int_equal(catalog_page(cat, &ann, &items, &has_more, &err), FAAS_UNAVAILABLE);
    assert_contains(err.msg, "being built again");
    assert_contains(err.detail, "damaged");
    assert_null(items);
    assert_false(catalog_is_good(cat));
    assert_int_equal(catalog_rebuild(cat, &err), FAAS_OK);
    assert_true(catalog_is_good(cat));
    rig_page_is(cat, &ann, "");
    catalog_close(cat);
}

static void a_broken_file_is_said_and_not_read(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query ann = rig_all_of(ANN);
    char value[600];
    const struct catalog_change change = {
        .key = "f." ANN ".x",
        .value = value,
        .len = (rig_record(value, sizeof value, "f", 1, ""), strlen(value))};
    json_t *items = NULL;
    bool has_more;
    faas_err err = {0};

    (void)state;
    in_file("one", "DROP TABLE functions");
    assert_int_equal(catalog_apply(cat, &change, &err), FAAS_INTERNAL);
    assert_null(strstr(err.msg, "functions")); /* SQL is for our log */
    assert_int_equal(catalog_page(cat, &ann, &items, &has_more, &err), FAAS_UNAVAILABLE);
    assert_null(items);
    assert_int_equal(catalog_rebuild(cat, &err), FAAS_OK);
    rig_page_is(cat, &ann, "");
    catalog_close(cat);
}

static bool exists(const char *name)
{
    char path[100];

    snprintf(path, sizeof path, "%s/%s", rig_dir, name);
    return access(path, F_OK) == 0;
}

static void files_of_the_dead_are_swept_and_of_the_living_kept(void **state)
{
    catalog *dead = rig_open("dead", LAST), *alive = rig_open("alive", LAST), *cat;

    (void)state;
    assert_true(exists("dead.db") && exists("dead.lock"));
    catalog_close(dead);
    cat = rig_open("one", LAST);
    assert_false(exists("dead.db") || exists("dead.lock") || exists("dead.db-wal"));
    assert_true(exists("alive.db") && exists("alive.lock"));
    rig_put(alive, ANN, "f", "");
    rig_commit(alive, 1);
    catalog_close(alive);
    catalog_close(cat);
}

static void one_instance_id_is_used_once(void **state)
{
    const struct catalog_conf conf = {.dir = rig_dir, .instance = "one", .bucket_last = LAST};
    catalog *first = rig_open("one", LAST), *second = NULL;
    faas_err err = {0};

    (void)state;
    assert_int_equal(catalog_open(&conf, &second, &err), FAAS_INVALID);
    assert_string_equal(err.msg,
                        "INSTANCE_ID: another registry with this id runs on this DATA_DIR");
    assert_null(second);
    catalog_close(first);
}

static void nobody_else_may_read_the_files(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct stat st;
    char path[100];

    (void)state;
    snprintf(path, sizeof path, "%s/one.db", rig_dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    catalog_close(cat);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make_dir, rig_remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_restart_goes_on_where_it_was),
        TEST(a_file_ahead_of_its_bucket_is_built_again),
        TEST(another_layout_is_built_again),
        TEST(an_older_layout_is_built_again),
        TEST(a_file_of_another_program_is_replaced),
        TEST(a_file_that_is_not_writable_is_replaced),
        TEST(a_folder_in_the_files_place_is_said),
        TEST(damaged_files_are_built_again),
        TEST(a_rebuild_begins_empty),
        TEST(damage_met_while_reading_takes_the_file_out_of_use),
        TEST(a_broken_file_is_said_and_not_read),
        TEST(files_of_the_dead_are_swept_and_of_the_living_kept),
        TEST(one_instance_id_is_used_once),
        TEST(nobody_else_may_read_the_files),
    };

    return run_unit(tests);
}
