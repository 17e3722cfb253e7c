/* The registry's read model: order, paging, search, counts. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/catalog_rig.h"

static void lists_are_sorted_and_apart_per_tenant(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query ann = rig_all_of(ANN), bob = rig_all_of(BOB);

    (void)state;
    rig_put(cat, ANN, "zeta", "");
    rig_put(cat, ANN, "Alpha", "");
    rig_put(cat, ANN, "beta", "");
    rig_put(cat, BOB, "beta", "");
    rig_page_is(cat, &ann, ""); /* nothing is seen before the batch is whole */
    rig_commit(cat, 4);
    rig_page_is(cat, &ann, "Alpha beta zeta");
    rig_page_is(cat, &bob, "beta");
    catalog_close(cat);
}

static void records_are_public_and_newest(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query ann = rig_all_of(ANN);
    FAAS_AUTO(json_t) *items = NULL;
    const json_t *item;
    bool has_more;
    faas_err err = {0};

    (void)state;
    rig_put(cat, ANN, "f", "first");
    rig_put(cat, ANN, "f", "second");
    rig_commit(cat, 2);
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
    catalog *cat = rig_open("one", LAST);
    struct catalog_query ann = rig_all_of(ANN);
    int64_t count = -1;

    (void)state;
    rig_put(cat, ANN, "f", "");
    rig_put(cat, ANN, "g", "");
    rig_apply(cat, "f." ANN ".hash-of-f", NULL);
    rig_apply(cat, "f." ANN ".never-was", NULL);
    rig_apply(cat, "x." ANN ".of-a-later-release", "{\"any\":\"thing\"}");
    rig_apply(cat, "f.short", "{}");
    rig_apply(cat, "f", NULL);
    rig_apply(cat, "f.0190c8f6-0000-7000-8000-00000000000Z.x", NULL);
    rig_commit(cat, 8);
    rig_page_is(cat, &ann, "g");
    assert_int_equal(catalog_count(cat, ANN, &count, NULL), FAAS_OK);
    assert_int_equal(count, 1);
    catalog_close(cat);
}

static void a_value_that_is_no_record_is_said_and_skipped(void **state)
{
    catalog *cat = rig_open("one", LAST);
    const struct catalog_change bad = {.key = "f." ANN ".x", .value = "{}", .len = 2};
    struct catalog_query ann = rig_all_of(ANN);
    faas_err err = {0};

    (void)state;
    assert_int_equal(catalog_apply(cat, &bad, &err), FAAS_INVALID);
    assert_non_null(strstr(err.detail, "id: required"));
    rig_put(cat, ANN, "f", "");
    rig_commit(cat, 2);
    rig_page_is(cat, &ann, "f");
    catalog_close(cat);
}

static void pages_follow_each_other(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query query = rig_all_of(ANN);

    (void)state;
    rig_put(cat, ANN, "a", "");
    rig_put(cat, ANN, "b", "");
    rig_put(cat, ANN, "c", "");
    rig_commit(cat, 3);
    query.limit = 2;
    rig_page_is(cat, &query, "a b+");
    query.after = "b";
    rig_page_is(cat, &query, "c");
    query.after = "bb"; /* a name that is gone is as good a place */
    rig_page_is(cat, &query, "c");
    query.after = "c";
    rig_page_is(cat, &query, "");
    query.after = "";
    query.limit = 3;
    rig_page_is(cat, &query, "a b c");
    query.bytes_max = 1; /* the first always fits */
    rig_page_is(cat, &query, "a+");
    catalog_close(cat);
}

static void search_takes_a_part_of_the_name_in_any_case(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query query = rig_all_of(ANN);

    (void)state;
    rig_put(cat, ANN, "one", "three");
    rig_put(cat, ANN, "Three", "");
    rig_put(cat, ANN, "th_ree", "");
    rig_put(cat, BOB, "three", "");
    rig_commit(cat, 3);
    query.part = "HRE";
    rig_page_is(cat, &query, "Three");
    query.part = "_";
    rig_page_is(cat, &query, "th_ree");
    query.part = "H";
    rig_page_is(cat, &query, "Three th_ree");
    query.part = "ee";
    rig_page_is(cat, &query, "Three th_ree");
    catalog_close(cat);
}

static void what_is_searched_for_is_never_syntax(void **state)
{
    static const char *const parts[] = {"%",    "_%", "' OR 1=1 --", "\"",     "\"a\"",
                                        "a*",   "^a", "name:a",      "a OR b", "-b",
                                        "a\nb", "?1", "NEAR(a, b)",  "[ab]",   "\xc3\x84"};
    catalog *cat = rig_open("one", LAST);
    struct catalog_query query = rig_all_of(ANN);

    (void)state;
    rig_put(cat, ANN, "a", "");
    rig_put(cat, ANN, "b", "");
    rig_commit(cat, 2);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(parts); i++) {
        query.part = parts[i];
        rig_page_is(cat, &query, "");
    }
    catalog_close(cat);
}

static void a_search_sees_every_change_once_it_is_committed(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query query = rig_all_of(ANN);

    (void)state;
    query.part = "x";
    rig_put(cat, ANN, "ax", "first");
    rig_commit(cat, 1);
    rig_page_is(cat, &query, "ax"); /* now her names are known */
    rig_put(cat, ANN, "bx", "");
    rig_put(cat, BOB, "cx", "");
    rig_page_is(cat, &query, "ax");
    rig_commit(cat, 3);
    rig_page_is(cat, &query, "ax bx");
    rig_apply(cat, "f." ANN ".hash-of-ax", NULL);
    rig_commit(cat, 4);
    rig_page_is(cat, &query, "bx");
    rig_put(cat, ANN, "dx", "");
    rig_put(cat, BOB, "dx", "");
    query.tenant = BOB;
    rig_page_is(cat, &query, "cx"); /* his names are read while a batch is open */
    rig_put(cat, BOB, "ex", "");
    rig_commit(cat, 6);
    rig_page_is(cat, &query, "cx dx ex");
    query.tenant = ANN;
    rig_page_is(cat, &query, "bx dx");
    assert_int_equal(catalog_rebuild(cat, NULL), FAAS_OK);
    rig_page_is(cat, &query, "");
    catalog_close(cat);
}

static void pages_of_a_search_are_stable_under_changes(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query query = rig_all_of(ANN);

    (void)state;
    for (const char *name = "bdfhjlnp"; *name != '\0'; name++)
        rig_put(cat, ANN, (char[]){*name, '-', 'x', '\0'}, "");
    rig_commit(cat, 8);
    query.part = "X";
    query.limit = 3;
    rig_page_is(cat, &query, "b-x d-x f-x+");
    rig_put(cat, ANN, "a-x", "");                  /* before the place reached: not seen any more */
    rig_put(cat, ANN, "i-x", "");                  /* behind it: seen */
    rig_apply(cat, "f." ANN ".hash-of-f-x", NULL); /* the place itself is gone */
    rig_apply(cat, "f." ANN ".hash-of-h-x", NULL);
    rig_commit(cat, 12);
    query.after = "f-x";
    rig_page_is(cat, &query, "i-x j-x l-x+");
    query.after = "l-x";
    rig_page_is(cat, &query, "n-x p-x");
    query.bytes_max = 1;
    rig_page_is(cat, &query, "n-x+");
    catalog_close(cat);
}

static void names_whose_rows_are_not_there_yet_leave_no_hole(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_query query = rig_all_of(ANN);

    (void)state;
    rig_put(cat, ANN, "m-x", "");
    rig_put(cat, ANN, "n-x", "");
    rig_commit(cat, 2);
    query.part = "x";
    query.limit = 1;
    rig_page_is(cat, &query, "m-x+");
    rig_put(cat, ANN, "a-x", ""); /* known, not committed: more of them than a page holds */
    rig_put(cat, ANN, "b-x", "");
    rig_put(cat, ANN, "c-x", "");
    rig_page_is(cat, &query, "m-x+");
    rig_commit(cat, 5);
    rig_page_is(cat, &query, "a-x+");
    catalog_close(cat);
}

static void count_is(catalog *cat, const char *tenant, int64_t want)
{
    int64_t count = -1;

    assert_int_equal(catalog_count(cat, tenant, &count, NULL), FAAS_OK);
    assert_int_equal(count, want);
}

static void functions_are_counted_per_tenant(void **state)
{
    catalog *cat = rig_open("one", LAST);
    char value[600];

    (void)state;
    count_is(cat, ANN, 0);
    rig_put(cat, ANN, "f", "");
    rig_put(cat, ANN, "g", "");
    rig_put(cat, ANN, "f", "again");
    rig_put(cat, BOB, "f", "");
    rig_record(value, sizeof value, "g", 1, "the same name under another key");
    rig_apply(cat, "f." ANN ".other", value);
    rig_commit(cat, 5);
    count_is(cat, ANN, 2);
    count_is(cat, BOB, 1);
    rig_apply(cat, "f." ANN ".hash-of-f", NULL);
    rig_apply(cat, "f." ANN ".hash-of-f", NULL);
    rig_apply(cat, "f." ANN ".other", NULL);
    rig_commit(cat, 8);
    count_is(cat, ANN, 0);
    count_is(cat, BOB, 1);
    catalog_close(cat);
}

static void versions_come_newest_first(void **state)
{
    catalog *cat = rig_open("one", LAST);
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
        rig_record(value, sizeof value, "f", n, "");
        rig_apply(cat, key, value);
    }
    rig_commit(cat, 3);
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

static bool has(catalog *cat, const char *tenant, int64_t number)
{
    const struct catalog_version version = {.tenant = tenant, .id = FUNC, .number = number};
    bool has_it = false;

    assert_int_equal(catalog_has_version(cat, &version, &has_it, NULL), FAAS_OK);
    return has_it;
}

static void put_at(catalog *cat, const char *about, uint64_t revision)
{
    char value[600];
    struct catalog_change change = {
        .key = "f." ANN ".hash-of-f", .value = value, .revision = revision};

    rig_record(value, sizeof value, "f", 1, about);
    change.len = strlen(value);
    assert_int_equal(catalog_apply(cat, &change, NULL), FAAS_OK);
    rig_commit(cat, revision);
}

static void found_is(catalog *cat, const char *about, uint64_t revision)
{
    struct catalog_head head = {0};
    char want[600];

    assert_int_equal(catalog_find(cat, "f." ANN ".hash-of-f", &head, NULL), FAAS_OK);
    rig_record(want, sizeof want, "f", 1, about);
    assert_string_equal(head.value, want);
    assert_int_equal(head.revision, revision);
    free(head.value);
}

static void a_head_is_found_as_stored_with_its_revision(void **state)
{
    catalog *cat = rig_open("one", LAST);
    struct catalog_head head = {0};
    faas_err err = {0};

    (void)state;
    put_at(cat, "first", 5);
    found_is(cat, "first", 5);
    put_at(cat, "second", 9);
    found_is(cat, "second", 9);
    assert_int_equal(catalog_find(cat, "f." BOB ".hash-of-f", &head, &err), FAAS_NOT_FOUND);
    rig_apply(cat, "f." ANN ".hash-of-f", NULL);
    rig_commit(cat, 10);
    assert_int_equal(catalog_find(cat, "f." ANN ".hash-of-f", &head, &err), FAAS_NOT_FOUND);
    assert_null(head.value);
    catalog_close(cat);
}

static void a_version_is_known_once_its_batch_is_whole(void **state)
{
    catalog *cat = rig_open("one", LAST);
    char value[600];

    (void)state;
    rig_record(value, sizeof value, "f", 2, "");
    rig_apply(cat, "v." ANN "." FUNC ".2", value);
    assert_false(has(cat, ANN, 2));
    rig_commit(cat, 1);
    assert_true(has(cat, ANN, 2));
    assert_false(has(cat, ANN, 1));
    assert_false(has(cat, ANN, 3));
    assert_false(has(cat, BOB, 2));
    rig_apply(cat, "v." ANN "." FUNC ".2", NULL);
    rig_commit(cat, 2);
    assert_false(has(cat, ANN, 2));
    catalog_close(cat);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make_dir, rig_remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lists_are_sorted_and_apart_per_tenant),
        TEST(records_are_public_and_newest),
        TEST(deletes_remove_and_unknown_keys_are_ignored),
        TEST(a_value_that_is_no_record_is_said_and_skipped),
        TEST(pages_follow_each_other),
        TEST(search_takes_a_part_of_the_name_in_any_case),
        TEST(what_is_searched_for_is_never_syntax),
        TEST(a_search_sees_every_change_once_it_is_committed),
        TEST(pages_of_a_search_are_stable_under_changes),
        TEST(names_whose_rows_are_not_there_yet_leave_no_hole),
        TEST(functions_are_counted_per_tenant),
        TEST(versions_come_newest_first),
        TEST(a_head_is_found_as_stored_with_its_revision),
        TEST(a_version_is_known_once_its_batch_is_whole),
    };

    return run_unit(tests);
}
