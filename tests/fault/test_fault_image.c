/* The image store while memory and system calls fail: nothing damaged, nothing leaked, and no good
 * image called a bad one. */
#include "tests/support/fault.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/spawner/image/files.h"
#include "services/spawner/image/import.h"
#include "services/spawner/image/store_internal.h"
#include "services/spawner/image/user.h"
#include "tests/unit/unit.h"

#define LAYER "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static char base[64], dir[80], id[IMAGE_ID_TEXT];

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(path);
}

/* ---- documents ---- */

static faas_code read_config(void *state, faas_err *err)
{
    static const char passwd[] = "root:x:0:0::/:\napp:x:1000:1001::/:\n";
    const struct image_accounts accounts = {passwd, sizeof passwd - 1, NULL, 0};
    FAAS_AUTO(json_t) *doc = NULL;
    struct image_spec spec = {.layers = NULL};
    char got[IMAGE_ID_TEXT], text[512];
    faas_code code;

    (void)state;
    snprintf(text, sizeof text,
             "{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{\"Cmd\":[\"/a\"],\"User\":"
             "\"app\",\"Env\":[\"A=1\"],\"WorkingDir\":\"w\",\"Volumes\":{\"/b\":{},\"/a/"
             "\":{}}},\"rootfs\":{\"diff_ids\":[\"" LAYER "\"]}}",
             image_architecture());
    FAAS_TRY(faas_json_parse(text, strlen(text), false, &doc, err));
    FAAS_TRY(image_spec_read(doc, &spec, err));
    code = image_spec_id(&spec, got, err);
    if (code == FAAS_OK)
        code = image_user_resolve(spec.config.user, &accounts, &spec.config.uid, &spec.config.gid,
                                  err);
    if (code == FAAS_OK) {
        assert_true(image_digest_is(got));
        assert_string_equal(spec.config.working_dir, "/w");
        assert_int_equal(spec.config.gid, 1001);
        assert_int_equal(json_array_size(spec.config.volumes), 2);
    }
    image_spec_done(&spec);
    return code;
}

/* ---- the store ---- */

static void put_image(void)
{
    FAAS_AUTO(json_t) *config = json_pack("{s:[s],s:n,s:[s],s:s,s:s}", "cmd", "/a", "entrypoint",
                                          "env", "A=1", "user", "", "working_dir", "/");
    FAAS_AUTO(json_t) *doc = NULL;
    struct image_record record = {.bytes = 42};
    struct image_store *store;
    char name[RECORD_NAME];

    assert_ok(image_store_open(&store, dir, NULL));
    assert_ok(image_config_from_json(config, &record.spec.config, NULL));
    record.spec.layers = json_pack("[s]", LAYER);
    assert_ok(image_spec_id(&record.spec, record.id, NULL));
    doc = image_record_to_json(&record);
    image_record_name(record.id, name);
    assert_ok(files_write(store->tmp, "x.json", store->images, name, doc, NULL));
    memcpy(id, record.id, sizeof id);
    image_record_done(&record);
    assert_ok(image_tag(store, id, "app:1", NULL));
    image_store_close(store);
}

static int setup(void **state)
{
    (void)state;
    snprintf(base, sizeof base, "/tmp/faas-fault-XXXXXX");
    assert_non_null(mkdtemp(base));
    snprintf(dir, sizeof dir, "%s/images", base);
    put_image();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static faas_code use_store(struct image_store *store, faas_err *err)
{
    FAAS_AUTO(json_t) *list = NULL, *shown = NULL;
    struct image *image = NULL;

    FAAS_TRY(image_store_get(store, "app:1", &image, err));
    assert_string_equal(image->id, id);
    assert_int_equal(image->layer_count, 1);
    assert_string_equal(json_string_value(json_array_get(image->config.cmd, 0)), "/a");
    image_release(image);
    FAAS_TRY(image_tag(store, "app:1", "other:1", err));
    FAAS_TRY(image_list(store, &list, err));
    assert_int_equal(json_array_size(list), 1);
    FAAS_TRY(image_inspect(store, "other:1", &shown, err));
    assert_int_equal(json_array_size(json_object_get(shown, "references")), 2);
    return FAAS_OK;
}

static faas_code open_and_use(void *state, faas_err *err)
{
    struct image_store *store = NULL;
    faas_code code;

    (void)state;
    FAAS_TRY(image_store_open(&store, dir, err));
    code = use_store(store, err);
    image_store_close(store);
    return code;
}

/* An image with a name is there afterwards, whatever failed. */
static faas_code prune(void *state, faas_err *err)
{
    const struct image_prune everything = {.unused_s = 0, .keep_bytes = 0};
    struct image_store *store = NULL;
    struct image_freed freed;
    faas_code code;

    (void)state;
    FAAS_TRY(image_store_open(&store, dir, err));
    code = image_prune(store, &everything, &freed, err);
    image_store_close(store);
    if (code != FAAS_OK)
        return code;
    assert_int_equal(json_array_size(freed.images), 0);
    json_decref(freed.images);
    return FAAS_OK;
}

static void a_configuration_is_read_whole_or_not(void **state)
{
    (void)state;
    fault_each(read_config, NULL, 20);
}

static void the_store_answers_or_says_why(void **state)
{
    (void)state;
    fault_each(open_and_use, NULL, 60);
}

static void a_named_image_outlives_every_failure(void **state)
{
    (void)state;
    fault_each(prune, NULL, 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_is_read_whole_or_not),
        cmocka_unit_test(the_store_answers_or_says_why),
        cmocka_unit_test(a_named_image_outlives_every_failure),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
