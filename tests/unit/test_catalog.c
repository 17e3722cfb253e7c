/* The registry's read model: order, paging, search, and what happens to bad files. */
#include <fcntl.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/registry/catalog.h"
#include "tests/unit/unit.h"

#define ANN  "0190c8f6-0000-7000-8000-00000000000a"
#define BOB  "0190c8f6-0000-7000-8000-00000000000b"
#define FUNC "0190c8f6-0000-7000-8000-0000000000f1"
#define LAST 1000 /* of the bucket, in these tests */

static char dir[] = "/tmp/faas-catalog-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    return mkdtemp(dir) == NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int remove_dir(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static catalog *opened(const char *instance, uint64_t bucket_last)
{
    const struct catalog_conf conf = {.dir = dir, .instance = instance, .bucket_last = bucket_last};
    catalog *cat = NULL;
    faas_err err = {0};

    if (catalog_open(&conf, &cat, &err) != FAAS_OK)
        fail_msg("open: %s (%s)", err.msg, err.detail);
    return cat;
}

static void apply(catalog *cat, const char *key, const char *value)
{
    const struct catalog_change change = {
        .key = key,
        .is_delete = value == NULL,
        .value = value,
        .len = value == NULL ? 0 : strlen(value),
    };
    faas_err err = {0};

    if (catalog_apply(cat, &change, &err) != FAAS_OK)
        fail_msg("apply %s: %s (%s)", key, err.msg, err.detail);
}

static void commit(catalog *cat, uint64_t seq)
{
    faas_err err = {0};

    if (catalog_commit(cat, seq, &err) != FAAS_OK)
        fail_msg("commit: %s", err.detail);
}

static void record(char *out, size_t size, const char *name, int version, const char *about)
{
    snprintf(out, size,
             "{\"v\":1,\"op\":\"x\",\"id\":\"" FUNC "\",\"uuid\":\"" ANN "\",\"name\":\"%s\","
             "\"payload\":\"u\",\"description\":\"%s\",\"digest\":{\"kind\":\"k\",\"value\":\"v\"},"
             "\"command\":[],\"version\":%d,\"created_at\":1,\"updated_at\":2}",
             name, about, version);
}

static void put(catalog *cat, const char *tenant, const char *name, const char *about)
{
    char key[100], value[600];

    snprintf(key, sizeof key, "f.%s.hash-of-%s", tenant, name);
    record(value, sizeof value, name, 1, about);
    apply(cat, key, value);
}

/* The names of a page, joined by spaces; '+' at its end: there is more. */
static void page_is(catalog *cat, const struct catalog_query *query, const char *want)
{
    FAAS_AUTO(json_t) *items = NULL;
    char got[2000] = "";
    bool has_more;
    faas_err err = {0};

    if (catalog_page(cat, query, &items, &has_more, &err) != FAAS_OK)
        fail_msg("page: %s (%s)", err.msg, err.detail);
    for (size_t i = 0; i < json_array_size(items); i++) {
        size_t len = strlen(got);

        snprintf(got + len, sizeof got - len, "%s%s", i > 0 ? " " : "",
                 json_string_value(json_object_get(json_array_get(items, i), "name")));
    }
    if (has_more)
        snprintf(got + strlen(got), sizeof got - strlen(got), "+");
    assert_string_equal(got, want);
}

static struct catalog_query all_of(const char *tenant)
{
    return (struct catalog_query){
        .tenant = tenant, .after = "", .part = "", .limit = 100, .bytes_max = 1 << 20};
}

static void lists_are_sorted_and_apart_per_tenant(void **state)
{
    catalog *cat = opened("one", LAST);
    struct catalog_query ann = all_of(ANN), bob = all_of(BOB);

    (void)state;
    put(cat, ANN, "zeta", "");
    put(cat, ANN, "Alpha", "");
    put(cat, ANN, "beta", "");
    put(cat, BOB, "beta", "");
    page_is(cat, &ann, ""); /* nothing is seen before the batch is whole */
    commit(cat, 4);
    page_is(cat, &ann, "Alpha beta zeta");
    page_is(cat, &bob, "beta");
    catalog_close(cat);
}

static void records_are_public_and_newest(void **state)
{
    catalog *cat = opened("one", LAST);
    struct catalog_query ann = all_of(ANN);
    FAAS_AUTO(json_t) *items = NULL;
    const json_t *item;
    bool has_more;
    faas_err err = {0};

    (void)state;
    put(cat, ANN, "f", "first");
    put(cat, ANN, "f", "second");
    commit(cat, 2);
    assert_int_equal(catalog_page(cat, &ann, &items, &has_more, &err), FAAS_OK);
    assert_int_equal(json_array_size(items), 1);
    item = json_array_get(items, 0);
    assert_string_equal(json_string_value(json_object_get(item, "description")), "second");
    assert_string_equal(json_string_value(json_object_get(item, "created_at")),
                        "1970-01-01T00:00:00.001Z");
    assert_null(json_object_get(item, "op"));
    assert_null(json_object_get(item, "command"));
    catalog_close(cat);
}

static void deletes_remove_and_unknown_keys_are_ignored(void **state)
{
    catalog *cat = opened("one", LAST);
    struct catalog_query ann = all_of(ANN);
    int64_t count = -1;

    (void)state;
    put(cat, ANN, "f", "");
    put(cat, ANN, "g", "");
    apply(cat, "f." ANN ".hash-of-f", NULL);
    apply(cat, "f." ANN ".never-was", NULL);
    apply(cat, "x." ANN ".of-a-later-release", "{\"any\":\"thing\"}");
    apply(cat, "f.short", "{}");
    apply(cat, "f", NULL);
    apply(cat, "f.0190c8f6-0000-7000-8000-00000000000Z.x", NULL);
    commit(cat, 8);
    page_is(cat, &ann, "g");
    assert_int_equal(catalog_count(cat, ANN, &count, NULL), FAAS_OK);
    assert_int_equal(count, 1);
    catalog_close(cat);
}

static void a_value_that_is_no_record_is_said_and_skipped(void **state)
{
    catalog *cat = opened("one", LAST);
    const struct catalog_change bad = {.key = "f." ANN ".x", .value = "{}", .len = 2};
    struct catalog_query ann = all_of(ANN);
    faas_err err = {0};

    (void)state;
    assert_int_equal(catalog_apply(cat, &bad, &err), FAAS_INVALID);
    assert_non_null(strstr(err.detail, "id: required"));
    put(cat, ANN, "f", "");
    commit(cat, 2);
    page_is(cat, &ann, "f");
    catalog_close(cat);
}

static void pages_follow_each_other(void **state)
{
    catalog *cat = opened("one", LAST);
    struct catalog_query query = all_of(ANN);

    (void)state;
    put(cat, ANN, "a", "");
    put(cat, ANN, "b", "");
    put(cat, ANN, "c", "");
    commit(cat, 3);
    query.limit = 2;
    page_is(cat, &query, "a b+");
    query.after = "b";
    page_is(cat, &query, "c");
    query.after = "bb"; /* a name that is gone is as good a place */
    page_is(cat, &query, "c");
    query.after = "c";
    page_is(cat, &query, "");
    query.after = "";
    query.limit = 3;
    page_is(cat, &query, "a b c");
    query.bytes_max = 1; /* the first always fits */
    page_is(cat, &query, "a+");
    catalog_close(cat);
}

static void search_takes_a_part_of_the_name_in_any_case(void **state)
{
    catalog *cat = opened("one", LAST);
    struct catalog_query query = all_of(ANN);

    (void)state;
    put(cat, ANN, "one", "three");
    put(cat, ANN, "Three", "");
    put(cat, ANN, "th_ree", "");
    commit(cat, 3);
    query.part = "HRE";
    page_is(cat, &query, "Three");
    query.part = "_";
    page_is(cat, &query, "th_ree");
    query.part = "%";
    page_is(cat, &query, "");
    query.part = "' OR 1=1 --";
    page_is(cat, &query, "");
    catalog_close(cat);
}

static void versions_come_newest_first(void **state)
{
    catalog *cat = opened("one", LAST);
    struct catalog_versions_query query = {
        .tenant = ANN, .id = FUNC, .before = INT64_MAX, .limit = 2, .bytes_max = 1 << 20};
    FAAS_AUTO(json_t) *first = NULL;
    FAAS_AUTO(json_t) *second = NULL;
    FAAS_AUTO(json_t) *foreign = NULL;
    char key[120], value[600];
    bool has_more;

    (void)state;
    for (int n = 1; n <= 3; n++) {
        snprintf(key, sizeof key, "v." ANN "." FUNC ".%d", n);
        record(value, sizeof value, "f", n, "");
        apply(cat, key, value);
    }
    commit(cat, 3);
    assert_int_equal(catalog_versions(cat, &query, &first, &has_more, NULL), FAAS_OK);
    assert_true(has_more);
    assert_int_equal(json_array_size(first), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(first, 0), "version")), 3);
    query.before = 2;
    assert_int_equal(catalog_versions(cat, &query, &second, &has_more, NULL), FAAS_OK);
    assert_false(has_more);
    assert_int_equal(json_array_size(second), 1);
    query.tenant = BOB;
    assert_int_equal(catalog_versions(cat, &query, &foreign, &has_more, NULL), FAAS_OK);
    assert_int_equal(json_array_size(foreign), 0);
    catalog_close(cat);
}

static void a_restart_goes_on_where_it_was(void **state)
{
    catalog *cat = opened("one", LAST);
    struct catalog_query ann = all_of(ANN);

    (void)state;
    assert_int_equal(catalog_applied(cat), 0);
    put(cat, ANN, "f", "");
    commit(cat, 7);
    put(cat, ANN, "lost", ""); /* its batch never ends */
    catalog_close(cat);
    cat = opened("one", LAST);
    assert_int_equal(catalog_applied(cat), 7);
    page_is(cat, &ann, "f");
    catalog_close(cat);
}

static void a_file_ahead_of_its_bucket_is_built_again(void **state)
{
    catalog *cat = opened("one", LAST);
    struct catalog_query ann = all_of(ANN);

    (void)state;
    put(cat, ANN, "f", "");
    commit(cat, 7);
    catalog_close(cat);
    cat = opened("one", 6);
    assert_int_equal(catalog_applied(cat), 0);
    page_is(cat, &ann, "");
    catalog_close(cat);
}

static void in_file(const char *instance, const char *sql)
{
    char path[100];
    sqlite3 *db = NULL;

    snprintf(path, sizeof path, "%s/%s.db", dir, instance);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void another_layout_is_built_again(void **state)
{
    catalog *cat = opened("one", LAST);

    (void)state;
    put(cat, ANN, "f", "");
    commit(cat, 7);
    catalog_close(cat);
    in_file("one", "PRAGMA user_version = 99");
    cat = opened("one", LAST);
    assert_int_equal(catalog_applied(cat), 0);
    put(cat, ANN, "g", "");
    commit(cat, 1);
    catalog_close(cat);
    cat = opened("one", LAST);
    assert_int_equal(catalog_applied(cat), 1);
    catalog_close(cat);
}

static void spoil(const char *instance, off_t from)
{
    char path[100], junk[4096];
    int fd;

    memset(junk, 0x5a, sizeof junk);
    snprintf(path, sizeof path, "%s/%s.db", dir, instance);
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
        catalog *cat = opened("one", LAST);
        struct catalog_query ann = all_of(ANN);

        put(cat, ANN, "f", "");
        commit(cat, 7);
        catalog_close(cat);
        spoil("one", places[i]);
        cat = opened("one", LAST);
        assert_int_equal(catalog_applied(cat), 0);
        page_is(cat, &ann, "");
        catalog_close(cat);
    }
}

static void a_rebuild_begins_empty(void **state)
{
    catalog *cat = opened("one", LAST);
    struct catalog_query ann = all_of(ANN);
    faas_err err = {0};

    (void)state;
    put(cat, ANN, "f", "");
    commit(cat, 7);
    put(cat, ANN, "half", "");
    assert_int_equal(catalog_rebuild(cat, &err), FAAS_OK);
    assert_int_equal(catalog_applied(cat), 0);
    page_is(cat, &ann, "");
    put(cat, ANN, "g", "");
    commit(cat, 3);
    page_is(cat, &ann, "g");
    catalog_close(cat);
}

static void a_broken_file_is_said_and_not_read(void **state)
{
    catalog *cat = opened("one", LAST);
    struct catalog_query ann = all_of(ANN);
    char value[600];
    const struct catalog_change change = {
        .key = "f." ANN ".x",
        .value = value,
        .len = (record(value, sizeof value, "f", 1, ""), strlen(value))};
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
    page_is(cat, &ann, "");
    catalog_close(cat);
}

static bool exists(const char *name)
{
    char path[100];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void files_of_the_dead_are_swept_and_of_the_living_kept(void **state)
{
    catalog *dead = opened("dead", LAST), *alive = opened("alive", LAST), *cat;

    (void)state;
    assert_true(exists("dead.db") && exists("dead.lock"));
    catalog_close(dead);
    cat = opened("one", LAST);
    assert_false(exists("dead.db") || exists("dead.lock") || exists("dead.db-wal"));
    assert_true(exists("alive.db") && exists("alive.lock"));
    put(alive, ANN, "f", "");
    commit(alive, 1);
    catalog_close(alive);
    catalog_close(cat);
}

static void one_instance_id_is_used_once(void **state)
{
    const struct catalog_conf conf = {.dir = dir, .instance = "one", .bucket_last = LAST};
    catalog *first = opened("one", LAST), *second = NULL;
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
    catalog *cat = opened("one", LAST);
    struct stat st;
    char path[100];

    (void)state;
    snprintf(path, sizeof path, "%s/one.db", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    catalog_close(cat);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lists_are_sorted_and_apart_per_tenant),
        TEST(records_are_public_and_newest),
        TEST(deletes_remove_and_unknown_keys_are_ignored),
        TEST(a_value_that_is_no_record_is_said_and_skipped),
        TEST(pages_follow_each_other),
        TEST(search_takes_a_part_of_the_name_in_any_case),
        TEST(versions_come_newest_first),
        TEST(a_restart_goes_on_where_it_was),
        TEST(a_file_ahead_of_its_bucket_is_built_again),
        TEST(another_layout_is_built_again),
        TEST(damaged_files_are_built_again),
        TEST(a_rebuild_begins_empty),
        TEST(a_broken_file_is_said_and_not_read),
        TEST(files_of_the_dead_are_swept_and_of_the_living_kept),
        TEST(one_instance_id_is_used_once),
        TEST(nobody_else_may_read_the_files),
    };

    return run_unit(tests);
}
