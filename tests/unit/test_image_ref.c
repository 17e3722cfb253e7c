/* The grammar of image references: chosen cases, the oddities, and every short string there is. */
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "services/registry/image_ref.h"
#include "tests/unit/unit.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEX96 HEX64 "0123456789abcdef0123456789abcdef"

static void check_part(struct image_part part, const char *want)
{
    assert_int_equal(part.len, strlen(want));
    assert_memory_equal(part.at, want, part.len);
}

struct good {
    const char *text, *whole, *host, *path, *tag, *digest;
};

static void parses(const struct good *g)
{
    struct image_ref ref;
    faas_err err = {0};

    if (image_ref_parse(g->text, &ref, &err) != FAAS_OK)
        fail_msg("%s: %s", g->text, err.msg);
    assert_string_equal(ref.text, g->whole);
    check_part(ref.host, g->host);
    check_part(ref.path, g->path);
    check_part(ref.tag, g->tag);
    check_part(ref.digest, g->digest);
    image_ref_done(&ref);
}

static void refused(const char *text, const char *why)
{
    struct image_ref ref = {0};
    faas_err err = {0};

    if (image_ref_parse(text, &ref, &err) == FAAS_OK)
        fail_msg("accepted: %s", text);
    assert_int_equal(err.code, FAAS_INVALID);
    assert_non_null(strstr(err.msg, "payload: "));
    if (strstr(err.msg, why) == NULL)
        fail_msg("%s: \"%s\" lacks \"%s\"", text, err.msg, why);
    assert_null(ref.text);
}

static void names_are_normalised(void **state)
{
    static const struct good cases[] = {
        {"upper", "docker.io/library/upper:latest", "docker.io", "library/upper", "latest", ""},
        {"upper:1", "docker.io/library/upper:1", "docker.io", "library/upper", "1", ""},
        {"me/upper", "docker.io/me/upper:latest", "docker.io", "me/upper", "latest", ""},
        {"docker.io/upper", "docker.io/library/upper:latest", "docker.io", "library/upper",
         "latest", ""},
        {"index.docker.io/upper", "docker.io/library/upper:latest", "docker.io", "library/upper",
         "latest", ""},
        {"index.docker.io/a/b", "docker.io/a/b:latest", "docker.io", "a/b", "latest", ""},
        {"index.docker.io:443/a", "index.docker.io:443/a:latest", "index.docker.io:443", "a",
         "latest", ""},
        {"localhost/a", "localhost/a:latest", "localhost", "a", "latest", ""},
        {"localhost:5000/a:t", "localhost:5000/a:t", "localhost:5000", "a", "t", ""},
        {"127.0.0.1:5050/a/b/c:t", "127.0.0.1:5050/a/b/c:t", "127.0.0.1:5050", "a/b/c", "t", ""},
        {"[2001:db8::1]:5000/a", "[2001:db8::1]:5000/a:latest", "[2001:db8::1]:5000", "a", "latest",
         ""},
        {"[::1]/a", "[::1]/a:latest", "[::1]", "a", "latest", ""},
        {"localhost", "docker.io/library/localhost:latest", "docker.io", "library/localhost",
         "latest", ""},
        {"example.com", "docker.io/library/example.com:latest", "docker.io", "library/example.com",
         "latest", ""},
        {"example.com:80", "docker.io/library/example.com:80", "docker.io", "library/example.com",
         "80", ""},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++)
        parses(&cases[i]);
}

static void digests_keep_the_tag_and_need_none(void **state)
{
    static const struct good cases[] = {
        {"a@sha256:" HEX64, "docker.io/library/a@sha256:" HEX64, "docker.io", "library/a", "",
         "sha256:" HEX64},
        {"a:t@sha256:" HEX64, "docker.io/library/a:t@sha256:" HEX64, "docker.io", "library/a", "t",
         "sha256:" HEX64},
        {"h:1/a@sha384:" HEX96, "h:1/a@sha384:" HEX96, "h:1", "a", "", "sha384:" HEX96},
        {"h.x/a@sha512:" HEX64 HEX64, "h.x/a@sha512:" HEX64 HEX64, "h.x", "a", "",
         "sha512:" HEX64 HEX64},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++)
        parses(&cases[i]);
}

static void oddities_are_those_of_the_reference_library(void **state)
{
    static const struct good cases[] = {
        {"h:65536/a", "h:65536/a:latest", "h:65536", "a", "latest", ""},
        {"h:0/a", "h:0/a:latest", "h:0", "a", "latest", ""},
        {"a_b.com/c", "a_b.com/c:latest", "", "a_b.com/c", "latest", ""},
        {"a_b.com/c:t", "a_b.com/c:t", "", "a_b.com/c", "t", ""},
        {"0x7f000001/a", "docker.io/0x7f000001/a:latest", "docker.io", "0x7f000001/a", "latest",
         ""},
        {"169.254.169.254/a", "169.254.169.254/a:latest", "169.254.169.254", "a", "latest", ""},
        {"Host/a", "Host/a:latest", "Host", "a", "latest", ""},
        {"HOST/a/b", "HOST/a/b:latest", "HOST", "a/b", "latest", ""},
        {"a--b/c", "docker.io/a--b/c:latest", "docker.io", "a--b/c", "latest", ""},
        {"[:]/a", "[:]/a:latest", "[:]", "a", "latest", ""},
        {"a/b:" HEX64, "docker.io/a/b:" HEX64, "docker.io", "a/b", HEX64, ""},
        {HEX64 ":t", "docker.io/library/" HEX64 ":t", "docker.io", "library/" HEX64, "t", ""},
        {"me/" HEX64, "docker.io/me/" HEX64 ":latest", "docker.io", "me/" HEX64, "latest", ""},
        {"a:_", "docker.io/library/a:_", "docker.io", "library/a", "_", ""},
        {"a__b/c-----d/e.f", "docker.io/a__b/c-----d/e.f:latest", "docker.io", "a__b/c-----d/e.f",
         "latest", ""},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++)
        parses(&cases[i]);
}

static void malformed_ones_are_refused_with_the_reason(void **state)
{
    static const char *const names[] = {
        "UPPER",    "Upper",      "host.x/UPPER", "a//b",      "/a",       "a/",   "-x",
        "x-",       "a..b",       "a___b",        "a._b",      "a-_b",     ".a",   "http://h/i",
        "i?x=1",    "../../etc",  "a b",          "a\n",       " a",       "a%41", "a\\b",
        "h:/a",     "h:x/a",      "[::1]a/b",     "[]/a",      "[g]/a",    "[::1", "[::1]:/a",
        "-a.com/c", "a-.com/c",   "a.b./c",       "a_B.com/c", "\xc3\xa9", "a/B",  "localhost/A",
        "\xff",     "docker.io/", "a#b",          "a/[::1]/b",
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(names); i++)
        refused(names[i], "the name is");
    refused("", "it is empty");
    refused(HEX64, "64 hex digits");
    refused("image:", "a tag is");
    refused("image:ta g", "a tag is");
    refused("image:-t", "a tag is");
    refused("image:.t", "a tag is");
    refused("a:b:c", "a tag is");
    refused("image@", "a digest is");
    refused("image@sha256:12", "a digest is");
    refused("image@sha256:" HEX96, "a digest is");
    refused("image@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
            "a digest is");
    refused("image@md5:0123456789abcdef0123456789abcdef", "a digest is");
    refused("image@SHA256:" HEX64, "a digest is");
    refused("image@sha256:" HEX64 "@sha256:" HEX64, "a digest is");
    refused("image@sha256:" HEX64 ":tag", "a digest is");
}

static void lengths_are_held_to_the_byte(void **state)
{
    char text[400];
    struct image_ref ref;
    faas_err err = {0};

    (void)state;
    for (int len = IMAGE_PATH_MAX - 1; len <= IMAGE_PATH_MAX + 1; len++) {
        /* "library/" counts, the host does not */
        memset(text, 'a', sizeof text);
        text[len - 8] = '\0';
        assert_int_equal(image_ref_parse(text, &ref, &err) == FAAS_OK, len <= IMAGE_PATH_MAX);
        image_ref_done(&ref);
        memset(text, 'a', sizeof text);
        memcpy(text, "registry.example:5000/", 22);
        text[22 + len] = '\0';
        ref = (struct image_ref){0};
        assert_int_equal(image_ref_parse(text, &ref, &err) == FAAS_OK, len <= IMAGE_PATH_MAX);
        image_ref_done(&ref);
    }
    assert_non_null(strstr(err.msg, "longer than 255"));
    for (int len = IMAGE_TAG_MAX; len <= IMAGE_TAG_MAX + 1; len++) {
        memset(text, 't', sizeof text);
        memcpy(text, "a:", 2);
        text[2 + len] = '\0';
        ref = (struct image_ref){0};
        assert_int_equal(image_ref_parse(text, &ref, &err) == FAAS_OK, len <= IMAGE_TAG_MAX);
        image_ref_done(&ref);
    }
}

/* ---- every string of up to 5 characters of an alphabet that holds each kind once ---- */

#define ALPHABET "aAg0._-:/[]"
#define LONGEST  5

#define WORD   "[a-z0-9]+"
#define COMP   WORD "(([._]|__|-+)" WORD ")*"
#define PATHS  COMP "(/" COMP ")*"
#define LABEL  "([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
#define DOMAIN "(" LABEL "(\\." LABEL ")*|\\[[a-fA-F0-9:]+\\])(:[0-9]+)?"
#define TAG    "(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?"

/* The grammar written once more, as the C library's regular expressions; no digests here. */
struct oracle {
    regex_t whole;
};

static bool oracle_accepts(const struct oracle *oracle, const char *text)
{
    const char *slash = strchr(text, '/');
    size_t first = slash == NULL ? 0 : (size_t)(slash - text);
    bool has_host = false;
    char full[64];

    for (size_t i = 0; i < first; i++)
        has_host = has_host || strchr(".:A", text[i]) != NULL;
    snprintf(full, sizeof full, "%s%s",
             has_host ? "" : (slash == NULL ? "docker.io/library/" : "docker.io/"), text);
    return regexec(&oracle->whole, full, 0, NULL, 0) == 0;
}

static void every_short_string_agrees_with_the_grammar(void **state)
{
    static const char letters[] = ALPHABET;
    struct oracle oracle;
    size_t base = sizeof letters - 1, total = 1, tried = 0, accepted = 0, disagreed = 0;

    (void)state;
    assert_int_equal(
        regcomp(&oracle.whole, "^((" DOMAIN ")/)?" PATHS TAG "$", REG_EXTENDED | REG_NOSUB), 0);
    for (size_t len = 1; len <= LONGEST; len++) {
        total *= base;
        for (size_t n = 0; n < total; n++) {
            char text[LONGEST + 1] = {0};
            struct image_ref ref = {0};
            size_t rest = n;
            bool is_ours;

            for (size_t i = 0; i < len; i++, rest /= base)
                text[i] = letters[rest % base];
            is_ours = image_ref_parse(text, &ref, NULL) == FAAS_OK;
            image_ref_done(&ref);
            tried++;
            accepted += is_ours;
            if (is_ours != oracle_accepts(&oracle, text)) {
                disagreed++;
                print_error("disagree on \"%s\": ours %d\n", text, is_ours);
            }
        }
    }
    regfree(&oracle.whole);
    assert_int_equal(disagreed, 0);
    assert_true(accepted > 1000);
    test_promise(12, "%zu disagreements in %zu strings", disagreed, tried);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_normalised),
        cmocka_unit_test(digests_keep_the_tag_and_need_none),
        cmocka_unit_test(oddities_are_those_of_the_reference_library),
        cmocka_unit_test(malformed_ones_are_refused_with_the_reason),
        cmocka_unit_test(lengths_are_held_to_the_byte),
        cmocka_unit_test(every_short_string_agrees_with_the_grammar),
    };

    return run_unit(tests);
}
