/* The registry's nouns and its SQLite read model without memory, on a disk that fails. */
#include "tests/support/fault.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/registry/catalog.h"
#include "services/registry/function.h"
#include "services/registry/image_ref.h"
#include "tests/unit/unit.h"

#define ANN  "0190c8f6-0000-7000-8000-00000000000a"
#define FUNC "0190c8f6-0000-7000-8000-0000000000f1"
#define BODY                                                                                       \
    "{\"name\":\"upper\",\"payload\":\"registry.example:5000/team/upper:1\",\"env\":{\"KEY\":"     \
    "\"a value that is longer than sixteen bytes\"},\"limits\":{\"memory_mb\":64},\"labels\":{"    \
    "\"a\":\"b\"},\"retry\":{\"idempotent\":true,\"attempts\":2}}"

static const struct faas_ctx caller = {.user = ANN, .tenant = ANN};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

/* ---- nouns ---- */

static faas_code reference(void *state, faas_err *err)
{
    struct image_ref ref = {.text = NULL};

    (void)state;
    FAAS_TRY(image_ref_parse("Registry.example:5000/team/upper:1", &ref, err));
    assert_string_equal(ref.text, "Registry.example:5000/team/upper:1");
    image_ref_done(&ref);
    return FAAS_OK;
}

static faas_code make(json_t *image, json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *body = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *next = NULL;
    struct function_want want;

    FAAS_TRY(faas_json_parse(BODY, strlen(BODY), false, &body, err));
    FAAS_TRY(function_read(body, FUNCTION_CREATE, &caller, &want, err));
    FAAS_TRY(function_make(&want, &caller, &doc, err));
    FAAS_TRY(function_set_image(doc, image, err));
    FAAS_TRY(function_change(doc, &want, FUNCTION_UPDATE, &next, err));
    *out_doc = FAAS_STEAL(next);
    return FAAS_OK;
}

/* Every field of the body is in the record, in the public form and in what is read back. */
static faas_code register_function(void *state, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *again = NULL;
    FAAS_AUTO(json_t) *public = NULL;
    FAAS_AUTO(char) *text = NULL;
    size_t len = 0;

    FAAS_TRY(make(state, &doc, err));
    public = function_public(doc);
    text = faas_json_text(doc, &len);
    if (public == NULL || text == NULL)
        return faas_fail_sys(err, ENOMEM, "encode");
    FAAS_TRY(function_parse(text, len, &again, err));
    fault_pause(true);
    assert_true(json_equal(doc, again));
    assert_int_equal(json_object_size(public), 25);
    assert_int_equal(function_version(doc), 2);
    assert_string_equal(json_string_value(json_object_get(json_object_get(public, "env"), "KEY")),
                        "a value that is longer than sixteen bytes");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(public, "limits"), "memory_mb")), 64);
    return FAAS_OK;
}

/* An alias is set whole, and going back keeps it. */
static faas_code name_and_go_back(void *state, faas_err *err)
{
    const struct function_alias alias = {.name = "live",
                                         .versions = json_object_get(state, "versions")};
    FAAS_AUTO(json_t) *parts = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *named = NULL;
    FAAS_AUTO(json_t) *back = NULL;
    FAAS_AUTO(json_t) *aliases = NULL;

    FAAS_TRY(make(json_object_get(state, "image"), &doc, err));
    FAAS_TRY(function_read_parts(&alias, &parts, err));
    FAAS_TRY(function_set_alias(doc, "live", parts, &named, err));
    FAAS_TRY(function_back(named, doc, &back, err));
    aliases = function_aliases(back);
    if (aliases == NULL)
        return faas_fail_sys(err, ENOMEM, "encode");
    fault_pause(true);
    assert_int_equal(function_version(back), function_version(named) + 1);
    assert_true(json_equal(json_object_get(aliases, "live"), alias.versions));
    return FAAS_OK;
}

static void aliases_are_whole_or_refused(void **state)
{
    FAAS_AUTO(json_t) *given =
        json_pack("{s:{s:i, s:i}, s:{s:{s:s, s:s}, s:s, s:[s], s:n}}", "versions", "1", 90, "2", 10,
                  "image", "digest", "kind", "manifest", "value", "sha256:0123456789", "reference",
                  "registry.example:5000/team/upper:1", "entrypoint", "/bin/upper", "cmd");

    (void)state;
    fault_each(name_and_go_back, given, 200);
}

static void references_are_read_or_memory_is_blamed(void **state)
{
    (void)state;
    fault_each(reference, NULL, 1);
}

static void records_are_whole_or_refused(void **state)
{
    FAAS_AUTO(json_t) *image =
        json_pack("{s:{s:s, s:s}, s:s, s:[s], s:n}", "digest", "kind", "manifest", "value",
                  "sha256:0123456789", "reference", "registry.example:5000/team/upper:1",
                  "entrypoint", "/bin/upper", "cmd");

    (void)state;
    fault_each(register_function, image, 200);
}

/* ---- catalog ---- */

struct shelf {
    char dir[64];
    catalog *cat;
    uint64_t applied;
};

static faas_code open_shelf(struct shelf *shelf, faas_err *err)
{
    const struct catalog_conf conf = {.dir = shelf->dir, .instance = "one", .bucket_last = 1 << 30};

    return catalog_open(&conf, &shelf->cat, err);
}

static faas_code open_only(void *state, faas_err *err)
{
    struct shelf *shelf = state;

    FAAS_TRY(open_shelf(shelf, err));
    catalog_close(shelf->cat);
    shelf->cat = NULL;
    return FAAS_OK;
}

static faas_code put(catalog *cat, const char *name, faas_err *err)
{
    char key[100], value[600];
    struct catalog_change change = {.key = key, .value = value};

    snprintf(key, sizeof key, "f." ANN ".hash-of-%s", name);
    snprintf(value, sizeof value,
             "{\"v\":1,\"op\":\"x\",\"id\":\"" FUNC "\",\"uuid\":\"" ANN "\",\"name\":\"%s\","
             "\"payload\":\"u\",\"description\":\"longer than sixteen bytes\",\"digest\":{\"kind\":"
             "\"k\",\"value\":\"v\"},\"command\":[],\"version\":1,\"created_at\":1,"
             "\"updated_at\":2}",
             name);
    change.len = strlen(value);
    return catalog_apply(cat, &change, err);
}

static faas_code drop(catalog *cat, const char *name, faas_err *err)
{
    char key[100];
    const struct catalog_change change = {.key = key, .is_delete = true};

    snprintf(key, sizeof key, "f." ANN ".hash-of-%s", name);
    return catalog_apply(cat, &change, err);
}

/* One batch: two functions come, one of them goes again. */
static faas_code write_batch(catalog *cat, uint64_t applied, faas_err *err)
{
    FAAS_TRY(put(cat, "upper", err));
    FAAS_TRY(put(cat, "lower", err));
    FAAS_TRY(drop(cat, "lower", err));
    return catalog_commit(cat, applied, err);
}

static faas_code read_back(catalog *cat, faas_err *err)
{
    const struct catalog_query query = {
        .tenant = ANN, .after = "", .part = "UPP", .limit = 5, .bytes_max = 1 << 20};
    FAAS_AUTO(json_t) *items = NULL;
    int64_t count = 0;
    bool has_more = true;

    FAAS_TRY(catalog_page(cat, &query, &items, &has_more, err));
    FAAS_TRY(catalog_count(cat, ANN, &count, err));
    assert_int_equal(count, 1);
    assert_true(json_array_size(items) == 1 && !has_more);
    assert_string_equal(json_string_value(json_object_get(json_array_get(items, 0), "description")),
                        "longer than sixteen bytes");
    return FAAS_OK;
}

/* The registry answers a failed write by building anew; that is done here without faults. */
static faas_code write_shelf(void *state, faas_err *err)
{
    struct shelf *shelf = state;
    faas_code rc = write_batch(shelf->cat, ++shelf->applied, err);

    if (rc != FAAS_OK) {
        fault_pause(true);
        assert_ok(catalog_rebuild(shelf->cat, NULL));
        return rc;
    }
    fault_pause(true);
    assert_int_equal(catalog_applied(shelf->cat), shelf->applied);
    return read_back(shelf->cat, err);
}

static faas_code read_shelf(void *state, faas_err *err)
{
    struct shelf *shelf = state;
    faas_code rc = read_back(shelf->cat, err);

    if (rc != FAAS_OK) { /* whoever follows the bucket builds it again */
        fault_pause(true);
        assert_ok(catalog_rebuild(shelf->cat, NULL));
        assert_ok(write_batch(shelf->cat, ++shelf->applied, NULL));
    }
    return rc;
}

static faas_code rebuild_shelf(void *state, faas_err *err)
{
    struct shelf *shelf = state;

    FAAS_TRY(catalog_rebuild(shelf->cat, err));
    fault_pause(true);
    assert_int_equal(catalog_applied(shelf->cat), 0);
    assert_ok(write_batch(shelf->cat, 1, err));
    return read_back(shelf->cat, err);
}

static int make_shelf(void **state)
{
    static struct shelf shelf;

    snprintf(shelf.dir, sizeof shelf.dir, "/tmp/faas-fault-XXXXXX");
    *state = &shelf;
    return mkdtemp(shelf.dir) != NULL && open_shelf(&shelf, NULL) == FAAS_OK &&
                   write_batch(shelf.cat, ++shelf.applied, NULL) == FAAS_OK
               ? 0
               : -1;
}

static int remove_shelf(void **state)
{
    struct shelf *shelf = *state;

    catalog_close(shelf->cat);
    return nftw(shelf->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void a_catalog_opens_or_says_why(void **state)
{
    struct shelf *shelf = *state;

    catalog_close(shelf->cat);
    shelf->cat = NULL;
    fault_each(open_only, shelf, 50);
}

static void a_batch_is_whole_or_fails(void **state)
{
    fault_each(write_shelf, *state, 40);
}

static void a_list_is_whole_or_fails(void **state)
{
    fault_each(read_shelf, *state, 40);
}

static void a_catalog_is_built_anew_or_says_why(void **state)
{
    fault_each(rebuild_shelf, *state, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_read_or_memory_is_blamed),
        cmocka_unit_test(records_are_whole_or_refused),
        cmocka_unit_test(aliases_are_whole_or_refused),
        cmocka_unit_test_setup_teardown(a_catalog_opens_or_says_why, make_shelf, remove_shelf),
        cmocka_unit_test_setup_teardown(a_batch_is_whole_or_fails, make_shelf, remove_shelf),
        cmocka_unit_test_setup_teardown(a_list_is_whole_or_fails, make_shelf, remove_shelf),
        cmocka_unit_test_setup_teardown(a_catalog_is_built_anew_or_says_why, make_shelf,
                                        remove_shelf),
    };

    fault_sqlite();
    return run_unit(tests);
}
