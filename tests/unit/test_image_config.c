#include "tests/unit/unit.h"

#include <string.h>

#include "services/spawner/image/config.h"
#include "services/spawner/image/user.h"

#define LAYER_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LAYER_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* A configuration with the given members of "config" and one layer. */
static json_t *config_of(const char *members)
{
    char text[8192];
    json_t *doc;

    snprintf(text, sizeof text,
             "{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{%s},"
             "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" LAYER_A "\"]}}",
             image_architecture(), members);
    doc = json_loads(text, 0, NULL);
    assert_non_null(doc);
    return doc;
}

static void id_of(const char *members, char out_id[IMAGE_ID_TEXT])
{
    FAAS_AUTO(json_t) *doc = config_of(members);
    struct image_spec spec;
    faas_err err = {0};

    assert_ok(image_spec_read(doc, &spec, &err));
    assert_ok(image_spec_id(&spec, out_id, &err));
    image_spec_done(&spec);
}

static void refuses(const char *members, const char *why)
{
    FAAS_AUTO(json_t) *doc = config_of(members);
    struct image_spec spec;
    faas_err err = {0};

    assert_int_equal(image_spec_read(doc, &spec, &err), FAAS_INVALID);
    assert_string_equal(err.msg, why);
    assert_null(spec.layers);
}

static void an_empty_config_has_defaults(void **state)
{
    FAAS_AUTO(json_t) *doc = config_of("\"Cmd\":null,\"Entrypoint\":[]");
    struct image_spec spec;
    faas_err err = {0};

    (void)state;
    assert_ok(image_spec_read(doc, &spec, &err));
    assert_null(spec.config.entrypoint);
    assert_null(spec.config.cmd);
    assert_int_equal(json_array_size(spec.config.env), 0);
    assert_string_equal(spec.config.working_dir, "/");
    assert_string_equal(spec.config.user, "");
    image_spec_done(&spec);
}

static void the_working_directory_is_made_clean(void **state)
{
    static const char *const cases[][2] = {
        {"/a/b", "/a/b"},      {"a", "/a"},       {"//a/./b/", "/a/b"},   {"/..", "/"},
        {"../../etc", "/etc"}, {"/a/../b", "/b"}, {"/a/b/../../..", "/"}, {"/...", "/..."},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++) {
        FAAS_AUTO(json_t) *doc = NULL;
        struct image_spec spec;
        char members[128];

        snprintf(members, sizeof members, "\"WorkingDir\":\"%s\"", cases[i][0]);
        doc = config_of(members);
        assert_ok(image_spec_read(doc, &spec, NULL));
        assert_string_equal(spec.config.working_dir, cases[i][1]);
        image_spec_done(&spec);
    }
}

static void hostile_strings_are_refused_by_name(void **state)
{
    (void)state;
    refuses("\"Env\":[\"A=1\",7]", "image: env: expected an array of strings");
    refuses("\"Env\":\"A=1\"", "image: env: expected an array of strings");
    refuses("\"Env\":[\"=1\"]",
            "image: env: expected NAME=value, the name without control characters");
    refuses("\"Env\":[\"A\"]",
            "image: env: expected NAME=value, the name without control characters");
    refuses("\"Env\":[\"A\\nB=1\"]",
            "image: env: expected NAME=value, the name without control characters");
    refuses("\"Cmd\":{}", "image: cmd: expected an array of strings");
    refuses("\"Entrypoint\":[\"\"]", "image: entrypoint: begins with an empty string");
    refuses("\"WorkingDir\":[]", "image: working directory: expected a string");
    refuses("\"WorkingDir\":\"/a\\nb\"", "image: working directory: holds control characters");
    refuses("\"User\":1000", "image: user: expected a string");
    refuses("\"User\":\"a\\u0085b\"", "image: user: holds control characters");
}

static void bounds_are_kept(void **state)
{
    FAAS_AUTO(json_t) *doc = config_of("");
    FAAS_AUTO(json_t) *list = json_array();
    FAAS_AUTO(char) *word = malloc(IMAGE_WORD_BYTES_MAX + 2);
    struct image_spec spec;
    faas_err err = {0};

    (void)state;
    memset(word, 'x', IMAGE_WORD_BYTES_MAX + 1);
    word[IMAGE_WORD_BYTES_MAX + 1] = '\0';
    json_array_append_new(list, json_string(word));
    json_object_set(json_object_get(doc, "config"), "Cmd", list);
    assert_int_equal(image_spec_read(doc, &spec, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "image: cmd: a string is longer than 131071 bytes");
    word[IMAGE_WORD_BYTES_MAX] = '\0';
    json_array_clear(list);
    json_array_append_new(list, json_string(word));
    assert_ok(image_spec_read(doc, &spec, &err));
    image_spec_done(&spec);
    json_array_append_new(list, json_string(word));
    json_array_append_new(list, json_string(""));
    assert_int_equal(image_spec_read(doc, &spec, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "image: cmd: more than 262144 bytes");
    json_array_clear(list);
    for (int i = 0; i <= IMAGE_WORDS_MAX; i++)
        json_array_append_new(list, json_string("a"));
    assert_int_equal(image_spec_read(doc, &spec, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "image: cmd: more than 1024 strings");
}

static void layers_must_be_digests(void **state)
{
    FAAS_AUTO(json_t) *doc = config_of("");
    json_t *layers = json_object_get(json_object_get(doc, "rootfs"), "diff_ids");
    struct image_spec spec;
    faas_err err = {0};

    (void)state;
    json_array_append_new(layers, json_string("sha256:../../../../etc"));
    assert_int_equal(image_spec_read(doc, &spec, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "image: layer 2: expected sha256:<64 hex digits>");
    json_array_clear(layers);
    assert_int_equal(image_spec_read(doc, &spec, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "image: it has no layers");
}

static void another_platform_is_told_apart(void **state)
{
    FAAS_AUTO(json_t) *doc = config_of("");
    struct image_spec spec;
    faas_err err = {0};

    (void)state;
    json_object_set_new(doc, "architecture", json_string("vax"));
    assert_int_equal(image_spec_read(doc, &spec, &err), FAAS_UNPROCESSABLE);
    assert_contains(err.msg, "the image is for linux/vax, this machine runs linux/");
}

static void the_id_names_layers_and_config(void **state)
{
    char a[IMAGE_ID_TEXT], b[IMAGE_ID_TEXT];

    (void)state;
    id_of("\"Cmd\":[\"/a\"],\"Env\":[],\"WorkingDir\":\"\",\"Labels\":{\"x\":\"y\"}", a);
    id_of("\"WorkingDir\":\"/\",\"Entrypoint\":null,\"Cmd\":[\"/a\"]", b);
    assert_string_equal(a, b);
    assert_true(image_digest_is(a));
    id_of("\"Entrypoint\":[\"/a\"]", b);
    assert_string_not_equal(a, b);
    id_of("\"Cmd\":[\"/a\"],\"User\":\"0\"", b);
    assert_string_not_equal(a, b);
}

/* Computed by hand: printf '%s' '{"cmd":...}' | sha256sum.  It may never change. */
static void the_id_is_this_hash(void **state)
{
    char id[IMAGE_ID_TEXT];

    (void)state;
    id_of("\"Cmd\":[\"/a\"],\"Env\":[\"B=1\",\"A=2\"],\"User\":\"app\"", id);
    assert_string_equal(id,
                        "sha256:37b682d92ead66f99b5905ec8c15a11cef7339db50575652519329fbf31520d8");
}

static void an_engine_says_the_same_in_other_words(void **state)
{
    FAAS_AUTO(json_t) *saved = config_of("\"Cmd\":[\"/a\"],\"Env\":[\"A=1\"],\"User\":\"app\"");
    FAAS_AUTO(json_t) *told = json_pack(
        "{s:s,s:s,s:s,s:{s:[s],s:n,s:[s],s:s,s:s},s:{s:s,s:[s]}}", "Os", "linux", "Architecture",
        image_architecture(), "Id", LAYER_B, "Config", "Cmd", "/a", "Entrypoint", "Env", "A=1",
        "User", "app", "WorkingDir", "", "RootFS", "Type", "layers", "Layers", LAYER_A);
    struct image_spec a, b;
    char a_id[IMAGE_ID_TEXT], b_id[IMAGE_ID_TEXT];
    faas_err err = {0};

    (void)state;
    assert_ok(image_spec_read(saved, &a, &err));
    assert_ok(image_spec_inspect(told, &b, &err));
    assert_ok(image_spec_id(&a, a_id, &err));
    assert_ok(image_spec_id(&b, b_id, &err));
    assert_string_equal(a_id, b_id);
    image_spec_done(&a);
    image_spec_done(&b);
}

static void a_stored_config_reads_as_it_was(void **state)
{
    FAAS_AUTO(json_t) *doc =
        config_of("\"Entrypoint\":[\"/a\",\"b\"],\"Env\":[\"A=\"],\"WorkingDir\":\"/w\"");
    FAAS_AUTO(json_t) *kept = NULL, *again = NULL;
    struct image_spec spec;
    struct image_config config;

    (void)state;
    assert_ok(image_spec_read(doc, &spec, NULL));
    kept = image_config_to_json(&spec.config);
    assert_ok(image_config_from_json(kept, &config, NULL));
    again = image_config_to_json(&config);
    assert_true(json_equal(kept, again));
    image_spec_done(&spec);
    image_config_done(&config);
}

/* ---- volumes ---- */

static void volumes_are_sorted_clean_paths_and_part_of_the_id(void **state)
{
    FAAS_AUTO(json_t) *doc = config_of("\"Volumes\":{\"/srv/./b//\":{},\"/a\":{},\"/srv/b\":{},\"/"
                                       "tmp\":{},\"/dev/shm/\":{},\"/a..b\":{}}");
    FAAS_AUTO(json_t) *kept = NULL;
    char with[IMAGE_ID_TEXT], without[IMAGE_ID_TEXT], only_tmp[IMAGE_ID_TEXT];
    struct image_spec spec;
    struct image_config again;
    faas_err err = {0};

    (void)state;
    assert_ok(image_spec_read(doc, &spec, &err));
    kept = image_config_to_json(&spec.config);
    assert_true(json_equal(json_object_get(kept, "volumes"), spec.config.volumes));
    assert_int_equal(json_array_size(spec.config.volumes), 3);
    assert_string_equal(json_string_value(json_array_get(spec.config.volumes, 0)), "/a");
    assert_string_equal(json_string_value(json_array_get(spec.config.volumes, 1)), "/a..b");
    assert_string_equal(json_string_value(json_array_get(spec.config.volumes, 2)), "/srv/b");
    assert_ok(image_config_from_json(kept, &again, &err));
    assert_true(json_equal(again.volumes, spec.config.volumes));
    image_config_done(&again);
    image_spec_done(&spec);
    id_of("\"User\":\"app\"", without);
    id_of("\"User\":\"app\",\"Volumes\":{\"/tmp\":{}}", only_tmp);
    id_of("\"User\":\"app\",\"Volumes\":{\"/a\":{}}", with);
    assert_string_equal(without, only_tmp);
    assert_string_not_equal(without, with);
}

static void volumes_that_lead_elsewhere_are_refused(void **state)
{
    static const char *const rows[][2] = {
        {"{\"data\":{}}", "image: VOLUME data: must be absolute"},
        {"{\"\":{}}", "image: VOLUME : must be absolute"},
        {"{\"/a/../b\":{}}", "image: VOLUME /a/../b: must not hold \"..\""},
        {"{\"/..\":{}}", "image: VOLUME /..: must not hold \"..\""},
        {"{\"/\":{}}", "image: VOLUME /: cannot be a volume"},
        {"{\"/./\":{}}", "image: VOLUME /./: cannot be a volume"},
        {"{\"/etc/\":{}}", "image: VOLUME /etc/: cannot be a volume"},
        {"{\"/proc/self/fd/3\":{}}", "image: VOLUME /proc/self/fd/3: cannot be a volume"},
        {"{\"/sys\":{}}", "image: VOLUME /sys: cannot be a volume"},
        {"{\"/dev\":{}}", "image: VOLUME /dev: cannot be a volume"},
        {"{\"/dev/shm/x\":{}}", "image: VOLUME /dev/shm/x: cannot be a volume"},
        {"{\"/tmp/x\":{}}",
         "image: VOLUME /tmp/x: is in /tmp, which is empty at the start of a call"},
        {"{\"/a\":{},\"/b\":{},\"/a/b/c\":{}}", "image: VOLUME /a/b/c: is inside another VOLUME"},
        {"{\"/a\\n\":{}}", "image: VOLUME: a path holds control characters"},
        {"[\"/a\",1]", "image: volumes: expected strings"},
        {"\"/a\"", "image: volumes: expected an object"},
    };
    char members[512];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        snprintf(members, sizeof members, "\"Volumes\":%s", rows[i][0]);
        refuses(members, rows[i][1]);
    }
}

static void too_many_or_too_long_volumes_are_refused(void **state)
{
    char members[1024] = "\"Volumes\":{", path[301], why[160];
    size_t at = strlen(members);

    (void)state;
    for (int i = 0; i < 17; i++)
        at += (size_t)snprintf(members + at, sizeof members - at, "%s\"/v%d\":{}", i > 0 ? "," : "",
                               i);
    snprintf(members + at, sizeof members - at, "}");
    refuses(members, "image: more than 16 VOLUME paths");
    memset(path, 'a', 300);
    path[0] = '/';
    path[300] = '\0';
    snprintf(members, sizeof members, "\"Volumes\":{\"%s\":{}}", path);
    snprintf(why, sizeof why, "image: VOLUME %.80s: longer than 255 bytes", path);
    refuses(members, why);
}

/* ---- user ---- */

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "broken line\n"
                             "wide:x:4294967296:1:::\n"
                             "neg:x:-1:1:::\n"
                             "app:x:1000:1001:App:/home/app:/bin/sh\n"
                             "app:x:1:1:second:/:/bin/sh\n"
                             "last:x:33:34::/:";
static const char group[] = "root:x:0:\nstaff:x:50:app\nwide:x:99999:\n";
static const struct image_accounts accounts = {passwd, sizeof passwd - 1, group, sizeof group - 1};
static const struct image_accounts none;

static void user_is(const char *text, const struct image_accounts *files, uint32_t uid,
                    uint32_t gid)
{
    uint32_t got_uid = 1, got_gid = 1;
    faas_err err = {0};

    if (image_user_resolve(text, files, &got_uid, &got_gid, &err) != FAAS_OK)
        fail_msg("%s: %s", text, err.msg);
    assert_int_equal(got_uid, uid);
    assert_int_equal(got_gid, gid);
}

static void user_fails(const char *text, faas_code code, const char *why)
{
    uint32_t uid, gid;
    faas_err err = {0};

    assert_int_equal(image_user_resolve(text, &accounts, &uid, &gid, &err), code);
    assert_string_equal(err.msg, why);
}

static void users_resolve_by_the_images_files(void **state)
{
    (void)state;
    user_is("", &accounts, IMAGE_NOBODY, IMAGE_NOBODY);
    user_is("app", &accounts, 1000, 1001);
    user_is("1000", &accounts, 1000, 1001);
    user_is("01000", &accounts, 1000, 1001);
    user_is("app:staff", &accounts, 1000, 50);
    user_is("app:7", &accounts, 1000, 7);
    user_is("last", &accounts, 33, 34);
    user_is("4321", &accounts, 4321, IMAGE_NOBODY);
    user_is("4321:5", &none, 4321, 5);
    user_is("65535", &none, 65535, IMAGE_NOBODY);
}

static void nobody_becomes_root(void **state)
{
    (void)state;
    user_is("root", &accounts, IMAGE_NOBODY, IMAGE_NOBODY);
    user_is("0", &accounts, IMAGE_NOBODY, IMAGE_NOBODY);
    user_is("00000:0", &accounts, IMAGE_NOBODY, IMAGE_NOBODY);
    user_is("app:root", &accounts, 1000, IMAGE_NOBODY);
}

static void odd_users_are_refused(void **state)
{
    (void)state;
    user_fails("65536", FAAS_INVALID, "image: user: a number must be below 65536");
    user_fails("4294967296", FAAS_INVALID, "image: user: a number must be below 65536");
    user_fails("000000", FAAS_INVALID, "image: user: a number must be below 65536");
    user_fails("app:99999", FAAS_INVALID, "image: group: a number must be below 65536");
    user_fails("-1", FAAS_UNPROCESSABLE, "image: user -1 is not in its /etc/passwd");
    user_fails("+1", FAAS_UNPROCESSABLE, "image: user +1 is not in its /etc/passwd");
    user_fails("wide", FAAS_UNPROCESSABLE, "image: user wide is not in its /etc/passwd");
    user_fails("neg", FAAS_UNPROCESSABLE, "image: user neg is not in its /etc/passwd");
    user_fails("app:wide", FAAS_UNPROCESSABLE, "image: group wide is not in its /etc/group");
    user_fails("broken line", FAAS_UNPROCESSABLE,
               "image: user broken line is not in its /etc/passwd");
    user_fails(":", FAAS_INVALID, "image: user: expected USER or USER:GROUP");
    user_fails("app:", FAAS_INVALID, "image: user: expected USER or USER:GROUP");
    user_fails(":app", FAAS_INVALID, "image: user: expected USER or USER:GROUP");
    user_fails("app:1:2", FAAS_INVALID, "image: user: expected USER or USER:GROUP");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_config_has_defaults),
        cmocka_unit_test(the_working_directory_is_made_clean),
        cmocka_unit_test(hostile_strings_are_refused_by_name),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(layers_must_be_digests),
        cmocka_unit_test(another_platform_is_told_apart),
        cmocka_unit_test(the_id_names_layers_and_config),
        cmocka_unit_test(the_id_is_this_hash),
        cmocka_unit_test(an_engine_says_the_same_in_other_words),
        cmocka_unit_test(a_stored_config_reads_as_it_was),
        cmocka_unit_test(volumes_are_sorted_clean_paths_and_part_of_the_id),
        cmocka_unit_test(volumes_that_lead_elsewhere_are_refused),
        cmocka_unit_test(too_many_or_too_long_volumes_are_refused),
        cmocka_unit_test(users_resolve_by_the_images_files),
        cmocka_unit_test(nobody_becomes_root),
        cmocka_unit_test(odd_users_are_refused),
    };

    return run_unit(tests);
}
