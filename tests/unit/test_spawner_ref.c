/* Image references taken apart, the pull policy, and credentials for pulls. */
#include "tests/unit/unit.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "services/spawner/ref.h"
#include "services/spawner/registry_auth.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static faas_err err;

static void short_names_become_full_ones(void **state)
{
    static const char *const rows[][2] = {
        {"upper", "docker.io/library/upper:latest"},
        {"upper:1", "docker.io/library/upper:1"},
        {"me/upper", "docker.io/me/upper:latest"},
        {"docker.io/upper", "docker.io/library/upper:latest"},
        {"index.docker.io/upper", "docker.io/library/upper:latest"},
        {"localhost/a", "localhost/a:latest"},
        {"local/a", "docker.io/local/a:latest"},
        {"host:5000/a/b:v", "host:5000/a/b:v"},
        {"127.0.0.1:5050/a@sha256:" HEX64, "127.0.0.1:5050/a@sha256:" HEX64},
        {"a:v@sha256:" HEX64, "docker.io/library/a:v@sha256:" HEX64},
        {"[::1]:5000/a", "[::1]:5000/a:latest"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        struct image_ref ref;
        char full[REF_TEXT_MAX];

        assert_ok(ref_parse(rows[i][0], &ref, &err));
        ref_full(&ref, full);
        assert_string_equal(full, rows[i][1]);
    }
}

static void what_could_leave_its_place_in_a_url_is_refused(void **state)
{
    static const char *const rows[] = {"",
                                       "a b",
                                       "a?x=1",
                                       "a#b",
                                       "a%2fb",
                                       "../a",
                                       "./a",
                                       "a_b.com/c",
                                       "a/../b",
                                       "a//b",
                                       "/a",
                                       "a/",
                                       "a:",
                                       "a:b c",
                                       "a@",
                                       "a@md5:1",
                                       "A",
                                       "a\n",
                                       "a\x7f",
                                       "h.x/A",
                                       "h.x:1/?",
                                       "a:t/../../b",
                                       HEX64,
                                       "@sha256:" HEX64,
                                       "a@sha256:" HEX64 "0",
                                       "a&b",
                                       "a;b",
                                       "a\"b",
                                       "h\xc3\xa9/a.b"};
    struct image_ref ref;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        if (ref_parse(rows[i], &ref, &err) == FAAS_OK)
            fail_msg("accepted: %s", rows[i]);
        assert_contains(err.msg, "image");
    }
}

static void too_long_a_reference_is_refused(void **state)
{
    char text[FAAS_IMAGE_REF_MAX + 2];
    struct image_ref ref;

    (void)state;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(ref_parse(text, &ref, &err), FAAS_INVALID);
}

static void what_runs_is_the_digest(void **state)
{
    struct image_ref ref;
    char name[REF_TEXT_MAX];

    (void)state;
    assert_ok(ref_parse("h.x/a:v", &ref, &err));
    assert_ok(ref_pinned(&ref, "sha256:" HEX64, name, &err));
    assert_string_equal(name, "h.x/a@sha256:" HEX64);
    assert_int_equal(ref_pinned(&ref, "sha256:12", name, &err), FAAS_INVALID);
    assert_int_equal(ref_pinned(&ref, "latest", name, &err), FAAS_INVALID);
    assert_int_equal(ref_pinned(&ref, NULL, name, &err), FAAS_INVALID);
}

static faas_code allowed(const char *text, const char *list)
{
    struct image_ref ref;

    assert_ok(ref_parse(text, &ref, &err));
    return ref_check_allowed(&ref, list, &err);
}

static void only_listed_registries_and_loopback_are_asked(void **state)
{
    (void)state;
    assert_int_equal(allowed("a", ""), FAAS_DENIED);
    assert_contains(err.msg, "ALLOWED_REGISTRIES");
    assert_contains(err.msg, "docker.io");
    assert_ok(allowed("a", "ghcr.io, docker.io"));
    assert_ok(allowed("ghcr.io/a", "ghcr.io,docker.io"));
    assert_ok(allowed("x.y/a", "*"));
    assert_int_equal(allowed("ghcr.io:444/a", "ghcr.io"), FAAS_DENIED);
    assert_int_equal(allowed("evil-ghcr.io/a", "ghcr.io"), FAAS_DENIED);
    assert_int_equal(allowed("ghcr.io.evil/a", "ghcr.io"), FAAS_DENIED);
    assert_ok(allowed("localhost:5000/a", ""));
    assert_ok(allowed("127.0.0.1:5000/a", ""));
    assert_ok(allowed("127.9.9.9/a", ""));
    assert_ok(allowed("[::1]:5000/a", ""));
    assert_int_equal(allowed("127.0.0.1.evil.com/a", ""), FAAS_DENIED);
    assert_int_equal(allowed("localhost.evil/a", ""), FAAS_DENIED);
    assert_int_equal(allowed("128.0.0.1/a", ""), FAAS_DENIED);
    assert_int_equal(allowed("169.254.169.254/a", ""), FAAS_DENIED);
    assert_int_equal(allowed("[::1].evil/a", ""), FAAS_DENIED);
    test_promise(13, "0 of 9 hosts outside the list may be asked");
}

static void everything_but_plain_characters_is_encoded(void **state)
{
    FAAS_AUTO(char) *text = ref_url_encode("a/b:c@d?e#f%g h\n~_.-");

    (void)state;
    assert_string_equal(text, "a%2Fb%3Ac%40d%3Fe%23f%25g%20h%0A~_.-");
}

/* ---- credentials ---- */

static char file[] = "/tmp/faas-auth-XXXXXX";

static int write_file(void **state)
{
    static const char text[] =
        "{\"auths\":{\"127.0.0.1:5050\":{\"auth\":\"dXNlcjpwYTpzcw==\"},"
        "\"https://index.docker.io/v1/\":{\"username\":\"u\",\"password\":\"p\"},"
        "\"token.x\":{\"identitytoken\":\"tok\"},\"empty.x\":{}},\"credsStore\":\"none\"}";
    int fd = mkstemp(file);

    (void)state;
    assert_true(fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1);
    close(fd);
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(file);
}

static void login_is(const char *host, const char *expected)
{
    char *text = NULL;

    assert_ok(registry_auth_config(file, host, &text, &err));
    if (expected == NULL)
        assert_null(text);
    else
        assert_string_equal(text, expected);
    registry_auth_free(text);
}

static void a_login_alone_is_a_file_of_its_own(void **state)
{
    (void)state;
    login_is("127.0.0.1:5050", "{\"auths\":{\"127.0.0.1:5050\":{\"auth\":\"dXNlcjpwYTpzcw==\"}}}");
    login_is("docker.io", "{\"auths\":{\"docker.io\":{\"auth\":\"dTpw\"}}}");
    login_is("token.x", "{\"auths\":{\"token.x\":{\"identitytoken\":\"tok\"}}}");
    login_is("empty.x", NULL);
    login_is("127.0.0.1", NULL);
    login_is("elsewhere.x", NULL);
}

static json_t *auth_of(const char *host)
{
    char *header = NULL;
    char json[1024];
    size_t len = 0;
    json_t *doc;

    assert_ok(registry_auth_header(file, host, &header, &err));
    if (header == NULL)
        return NULL;
    assert_memory_equal(header, "X-Registry-Auth: ", 17);
    assert_int_equal(sodium_base642bin((unsigned char *)json, sizeof json, header + 17,
                                       strlen(header + 17), NULL, &len, NULL,
                                       sodium_base64_VARIANT_URLSAFE),
                     0);
    registry_auth_free(header);
    doc = json_loadb(json, len, 0, NULL);
    assert_non_null(doc);
    return doc;
}

static void assert_field(const json_t *doc, const char *name, const char *value)
{
    assert_string_equal(json_string_value(json_object_get(doc, name)), value);
}

static void credentials_go_to_their_own_host_only(void **state)
{
    FAAS_AUTO(json_t) *packed = auth_of("127.0.0.1:5050");
    FAAS_AUTO(json_t) *plain = auth_of("docker.io");
    FAAS_AUTO(json_t) *token = auth_of("token.x");

    (void)state;
    assert_field(packed, "username", "user");
    assert_field(packed, "password", "pa:ss");
    assert_field(packed, "serveraddress", "127.0.0.1:5050");
    assert_field(plain, "username", "u");
    assert_field(token, "identitytoken", "tok");
    assert_null(auth_of("127.0.0.1"));
    assert_null(auth_of("127.0.0.1:5051"));
    assert_null(auth_of("evil.127.0.0.1:5050"));
    assert_null(auth_of("empty.x"));
    assert_null(auth_of("other.x"));
}

static void no_file_is_no_credentials_and_a_bad_one_is_told(void **state)
{
    char *header = NULL;

    (void)state;
    assert_ok(registry_auth_header("", "a", &header, &err));
    assert_null(header);
    assert_int_equal(registry_auth_header("/nonexistent", "a", &header, &err), FAAS_INVALID);
    assert_contains(err.msg, "REGISTRY_AUTH_FILE");
    assert_int_equal(registry_auth_header("/etc/passwd", "a", &header, &err), FAAS_INVALID);
    assert_null(header);
}

static void of_several_files_the_first_that_has_the_host_counts(void **state)
{
    static char other[] = "/tmp/faas-auth-XXXXXX";
    static const char text[] = "{\"auths\":{\"docker.io\":{\"username\":\"v\",\"password\":\"q\"},"
                               "\"second.x\":{\"identitytoken\":\"other\"}}}";
    FAAS_AUTO(char) *both = NULL, *bad = NULL;
    int fd = mkstemp(other);
    char *found = NULL;

    (void)state;
    assert_true(fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1);
    close(fd);
    assert_true(asprintf(&both, "%s:%s", file, other) > 0);
    assert_true(asprintf(&bad, "%s:/nonexistent", file) > 0);
    assert_ok(registry_auth_check(both, &err));
    assert_ok(registry_auth_config(both, "docker.io", &found, &err));
    assert_string_equal(found, "{\"auths\":{\"docker.io\":{\"auth\":\"dTpw\"}}}");
    registry_auth_free(found);
    assert_ok(registry_auth_config(both, "second.x", &found, &err));
    assert_string_equal(found, "{\"auths\":{\"second.x\":{\"identitytoken\":\"other\"}}}");
    registry_auth_free(found);
    assert_ok(registry_auth_config(both, "third.x", &found, &err));
    assert_null(found);
    assert_int_equal(registry_auth_check(bad, &err), FAAS_INVALID);
    assert_int_equal(registry_auth_config(bad, "third.x", &found, &err), FAAS_INVALID);
    assert_int_equal(unlink(other), 0);
}

static void a_host_has_the_mirror_that_is_named_for_it(void **state)
{
    static const char mirrors[] = "docker.io=mirror:5000/hub,reg.example=127.0.0.1:5001";
    static const char *const bad[] = {"docker.io", "=m:1", "docker.io=", "docker.io=a b",
                                      "docker.io=plain"};
    char mirror[FAAS_IMAGE_REF_MAX];

    (void)state;
    assert_ok(ref_check_mirrors(mirrors, &err));
    assert_ok(ref_check_mirrors("", &err));
    assert_true(ref_mirror(mirrors, "docker.io", mirror));
    assert_string_equal(mirror, "mirror:5000/hub");
    assert_true(ref_mirror(mirrors, "reg.example", mirror));
    assert_string_equal(mirror, "127.0.0.1:5001");
    assert_false(ref_mirror(mirrors, "io", mirror));
    assert_false(ref_mirror(NULL, "docker.io", mirror));
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++)
        assert_int_equal(ref_check_mirrors(bad[i], &err), FAAS_INVALID);
}

static void a_users_login_is_a_file_of_its_own(void **state)
{
    static const char login[] = "{\"username\":\"me\",\"password\":\"pw\"}";
    char *text = NULL;

    (void)state;
    assert_ok(registry_auth_user_config(login, strlen(login), "h:1", &text, &err));
    assert_string_equal(text, "{\"auths\":{\"h:1\":{\"auth\":\"bWU6cHc=\"}}}");
    registry_auth_free(text);
    assert_int_equal(registry_auth_user_config("{}", 2, "h:1", &text, &err), FAAS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_names_become_full_ones),
        cmocka_unit_test(what_could_leave_its_place_in_a_url_is_refused),
        cmocka_unit_test(too_long_a_reference_is_refused),
        cmocka_unit_test(what_runs_is_the_digest),
        cmocka_unit_test(only_listed_registries_and_loopback_are_asked),
        cmocka_unit_test(everything_but_plain_characters_is_encoded),
        cmocka_unit_test(credentials_go_to_their_own_host_only),
        cmocka_unit_test(a_login_alone_is_a_file_of_its_own),
        cmocka_unit_test(no_file_is_no_credentials_and_a_bad_one_is_told),
        cmocka_unit_test(a_host_has_the_mirror_that_is_named_for_it),
        cmocka_unit_test(a_users_login_is_a_file_of_its_own),
        cmocka_unit_test(of_several_files_the_first_that_has_the_host_counts),
    };

    return cmocka_run_group_tests(tests, write_file, remove_file);
}
