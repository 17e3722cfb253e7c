#include "tests/unit/unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/spawner/image/files.h"
#include "services/spawner/image/import.h"
#include "services/spawner/image/store_internal.h"

#define LAYER_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LAYER_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char base[64], dir[80];
static struct image_store *store;

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(path);
}

static int fresh(void **state)
{
    (void)state;
    snprintf(base, sizeof base, "/tmp/faas-store-XXXXXX");
    assert_non_null(mkdtemp(base));
    snprintf(dir, sizeof dir, "%s/images", base);
    assert_ok(image_store_open(&store, dir, NULL));
    return 0;
}

static int done(void **state)
{
    (void)state;
    image_store_close(store);
    store = NULL;
    return nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A record as imports write it, with layers B A B; its id in out_id. */
static void put_image(char out_id[IMAGE_ID_TEXT])
{
    FAAS_AUTO(json_t) *config =
        json_pack("{s:[s,s],s:n,s:[s],s:s,s:s}", "cmd", "/a", "b", "entrypoint", "env", "A=1",
                  "user", "app", "working_dir", "/w");
    FAAS_AUTO(json_t) *doc = NULL;
    struct image_record record = {.bytes = 42};
    char name[RECORD_NAME];

    assert_ok(image_config_from_json(config, &record.spec.config, NULL));
    record.spec.config.uid = 1000;
    record.spec.config.gid = 50;
    record.spec.layers = json_pack("[s,s,s]", LAYER_B, LAYER_A, LAYER_B);
    assert_ok(image_spec_id(&record.spec, record.id, NULL));
    doc = image_record_to_json(&record);
    image_record_name(record.id, name);
    assert_ok(files_write(store->tmp, "x.json", store->images, name, doc, NULL));
    memcpy(out_id, record.id, IMAGE_ID_TEXT);
    image_record_done(&record);
}

static void put_ref(const char *reference, const char *id)
{
    FAAS_AUTO(char) *full = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    char file[RECORD_NAME];

    assert_ok(image_ref_full(reference, &full, NULL));
    image_ref_file(full, file);
    doc = json_pack("{s:s,s:s}", "reference", full, "id", id);
    assert_ok(files_write(store->tmp, "x.json", store->refs, file, doc, NULL));
}

static void what_is_there_is_found_by_name_and_by_id(void **state)
{
    static const char *const names[] = {"app", "app:latest", "docker.io/library/app:latest"};
    char id[IMAGE_ID_TEXT], path[256];
    struct image *image;

    (void)state;
    put_image(id);
    put_ref("app", id);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(names); i++) {
        assert_ok(image_store_get(store, names[i], &image, NULL));
        assert_string_equal(image->id, id);
        image_release(image);
    }
    assert_ok(image_store_get(store, id, &image, NULL));
    assert_string_equal(json_string_value(json_array_get(image->config.cmd, 1)), "b");
    assert_null(image->config.entrypoint);
    assert_string_equal(image->config.working_dir, "/w");
    assert_int_equal(image->config.uid, 1000);
    assert_int_equal(image->config.gid, 50);
    assert_int_equal(image->bytes, 42);
    /* B A B: overlayfs takes a folder once, and the highest place of B decides. */
    assert_int_equal(image->layer_count, 2);
    snprintf(path, sizeof path, "%s/layers/sha256/%s/rootfs", dir, &LAYER_A[7]);
    assert_string_equal(image->layers[0], path);
    snprintf(path, sizeof path, "%s/layers/sha256/%s/rootfs", dir, &LAYER_B[7]);
    assert_string_equal(image->layers[1], path);
    image_release(image);
}

static void what_is_not_there_is_not_found(void **state)
{
    struct image *image;
    faas_err err = {0};

    (void)state;
    assert_int_equal(image_store_get(store, "app", &image, &err), FAAS_NOT_FOUND);
    assert_string_equal(err.msg, "image docker.io/library/app:latest is not on this machine; "
                                 "`faas image import` or `faas image pull` brings it");
    assert_int_equal(image_store_get(store, LAYER_A, &image, &err), FAAS_NOT_FOUND);
    assert_int_equal(image_store_get(store, "../x", &image, &err), FAAS_INVALID);
    assert_int_equal(image_store_get(store, "", &image, &err), FAAS_INVALID);
}

static void a_second_name_is_found_until_it_is_removed(void **state)
{
    char id[IMAGE_ID_TEXT];
    struct image_freed freed;
    struct image *image;
    faas_err err = {0};

    (void)state;
    put_image(id);
    assert_ok(image_tag(store, id, "pins/a:1", &err));
    assert_ok(image_tag(store, "pins/a:1", "pins/b:1", &err));
    assert_ok(image_store_get(store, "pins/b:1", &image, &err));
    assert_string_equal(image->id, id);
    assert_ok(image_remove(store, "pins/b:1", &freed, &err));
    assert_int_equal(json_array_size(freed.images), 0);
    json_decref(freed.images);
    assert_int_equal(image_remove(store, "pins/a:1", &freed, &err), FAAS_CONFLICT);
    image_release(image);
    assert_ok(image_remove(store, "pins/a:1", &freed, &err));
    assert_string_equal(json_string_value(json_array_get(freed.images, 0)), id);
    json_decref(freed.images);
    assert_int_equal(image_store_get(store, "pins/a:1", &image, &err), FAAS_NOT_FOUND);
    assert_int_equal(image_tag(store, id, "pins/c:1", &err), FAAS_NOT_FOUND);
    assert_int_equal(image_tag(store, id, "a@" LAYER_A, &err), FAAS_INVALID);
}

static void a_changed_record_is_damage(void **state)
{
    char id[IMAGE_ID_TEXT], name[RECORD_NAME];
    FAAS_AUTO(char) *text = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    struct image *image;
    faas_err err = {0};
    size_t len;
    int fd;

    (void)state;
    put_image(id);
    image_record_name(id, name);
    fd = openat(store->images, name, O_RDONLY | O_CLOEXEC);
    assert_ok(files_read(fd, 65536, &text, &len, NULL));
    close(fd);
    doc = json_loadb(text, len, 0, NULL);
    json_object_set_new(json_object_get(doc, "config"), "user", json_string("other"));
    assert_ok(files_write(store->tmp, "x.json", store->images, name, doc, NULL));
    assert_int_equal(image_store_get(store, id, &image, &err), FAAS_INTERNAL);
    assert_contains(err.msg, "damaged; remove the image and import it again");
}

static void a_store_others_can_enter_is_refused(void **state)
{
    struct image_store *second;
    faas_err err = {0};

    (void)state;
    assert_int_equal(chmod(dir, 0750), 0);
    assert_int_equal(image_store_open(&second, dir, &err), FAAS_INVALID);
    assert_contains(err.msg, "others must not enter it");
    assert_int_equal(chmod(dir, 0700), 0);
    assert_ok(image_store_open(&second, dir, &err));
    image_store_close(second);
}

static void what_dead_imports_left_is_swept_and_what_lives_is_not(void **state)
{
    struct image_staging alive;
    struct image_store *second;
    char name[40];

    (void)state;
    assert_ok(image_staging_open(store, &alive, NULL));
    assert_int_equal(mkdirat(alive.fd, "deep", 0700), 0);
    assert_int_equal(mkdirat(store->tmp, "0123", 0700), 0);
    assert_int_equal(mkdirat(store->tmp, "0123/in", 0), 0);
    assert_int_equal(symlinkat("/etc", store->tmp, "0123/out"), 0);
    assert_ok(image_store_open(&second, dir, NULL));
    image_store_close(second);
    assert_int_equal(faccessat(store->tmp, "0123", F_OK, 0), -1);
    assert_int_equal(faccessat(alive.fd, "deep", F_OK, 0), 0);
    snprintf(name, sizeof name, "%s", alive.name);
    image_staging_close(&alive);
    assert_int_equal(faccessat(store->tmp, name, F_OK, 0), -1);
}

static void nothing_is_opened_outside_a_folder(void **state)
{
    int in, inside;

    (void)state;
    assert_int_equal(mkdirat(store->tmp, "in", 0700), 0);
    assert_int_equal(symlinkat("/etc", store->tmp, "in/abs"), 0);
    assert_int_equal(symlinkat("../..", store->tmp, "in/up"), 0);
    assert_int_equal(symlinkat("here", store->tmp, "in/link"), 0);
    assert_int_equal(mkdirat(store->tmp, "in/here", 0700), 0);
    in = openat(store->tmp, "in", O_PATH | O_CLOEXEC);
    assert_int_equal(files_open_below(in, "abs/passwd", O_RDONLY), -1);
    assert_int_equal(files_open_below(in, "up", O_RDONLY), -1);
    assert_int_equal(files_open_below(in, "../../lock", O_RDONLY), -1);
    assert_int_equal(files_open_below(in, "/etc/passwd", O_RDONLY), -1);
    assert_int_equal(files_open_plain(in, "link", O_RDONLY), -1);
    inside = files_open_below(in, "link", O_RDONLY | O_DIRECTORY);
    assert_true(inside >= 0);
    close(inside);
    close(in);
}

#define FRESH(test) cmocka_unit_test_setup_teardown(test, fresh, done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(what_is_there_is_found_by_name_and_by_id),
        FRESH(what_is_not_there_is_not_found),
        FRESH(a_second_name_is_found_until_it_is_removed),
        FRESH(a_changed_record_is_damage),
        FRESH(a_store_others_can_enter_is_refused),
        FRESH(what_dead_imports_left_is_swept_and_what_lives_is_not),
        FRESH(nothing_is_opened_outside_a_folder),
    };

    return run_unit(tests);
}
