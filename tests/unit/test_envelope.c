#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/envelope.h"

static faas_err err;

static void what_is_packed_opens_the_same(void **state)
{
    static const char bytes[] = {'a', '\0', '\xff', '\n'};
    FAAS_AUTO(json_t) *meta = json_pack("{s:s}", "kind", "exec");
    FAAS_AUTO(void) *msg = NULL;
    struct faas_envelope env = {0};
    size_t len = 0;

    (void)state;
    assert_ok(faas_envelope_pack(meta, bytes, sizeof bytes, &msg, &len, &err));
    assert_int_equal(len, 4 + strlen("{\"kind\":\"exec\"}") + sizeof bytes);
    assert_memory_equal(msg, "\0\0\0\x0f{\"kind\":\"exec\"}a\0\xff\n", len);
    assert_ok(faas_envelope_open(msg, len, &env, &err));
    assert_true(json_equal(env.meta, meta));
    assert_int_equal(env.len, sizeof bytes);
    assert_memory_equal(env.bytes, bytes, sizeof bytes);
    faas_envelope_done(&env);
    assert_null(env.meta);
    faas_envelope_done(&env);
    faas_envelope_done(NULL);
}

static void no_bytes_are_fine(void **state)
{
    FAAS_AUTO(json_t) *meta = json_object();
    FAAS_AUTO(void) *msg = NULL;
    struct faas_envelope env = {0};
    size_t len = 0;

    (void)state;
    assert_ok(faas_envelope_pack(meta, NULL, 0, &msg, &len, &err));
    assert_ok(faas_envelope_open(msg, len, &env, &err));
    assert_int_equal(env.len, 0);
    faas_envelope_done(&env);
}

static void frames_that_lie_are_refused(void **state)
{
    static const struct {
        const char *msg;
        size_t len;
        const char *part;
    } cases[] = {
        {"", 0, "envelope: 0 bytes, too short for its length"},
        {"\0\0\0", 3, "envelope: 3 bytes, too short for its length"},
        {"\0\0\0\3{}", 6, "envelope: claims 3 bytes of JSON, has room for 2"},
        {"\xff\xff\xff\xff{}", 6, "envelope: claims 4294967295 bytes of JSON, has room for 2"},
        {"\0\0\0\0", 4, "body: empty, expected a JSON object"},
        {"\0\0\0\2[]", 6, "body: expected object, got array"},
        {"\0\0\0\1{}", 6, "body: not a JSON object"},
        {"\0\0\0\x0d{\"a\":1,\"a\":2}", 17, "duplicate object key"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(cases); i++) {
        struct faas_envelope env = {0};

        assert_int_equal(faas_envelope_open(cases[i].msg, cases[i].len, &env, &err), FAAS_INVALID);
        assert_contains(err.msg, cases[i].part);
        assert_null(env.meta);
    }
}

static void too_much_json_is_refused_on_both_sides(void **state)
{
    size_t size = FAAS_ENVELOPE_JSON_MAX + 64;
    FAAS_AUTO(char) *text = malloc(size);
    FAAS_AUTO(json_t) *meta = NULL;
    FAAS_AUTO(void) *msg = NULL;
    struct faas_envelope env = {0};
    size_t len = 0;

    (void)state;
    assert_non_null(text);
    memset(text, 'x', size - 1);
    text[size - 1] = '\0';
    meta = json_pack("{s:s}", "a", text);
    assert_int_equal(faas_envelope_pack(meta, NULL, 0, &msg, &len, &err), FAAS_TOO_LARGE);
    assert_contains(err.msg, "envelope: at most 262144 bytes of JSON, got 2622");
    memcpy(text, "\0\4\0\1", 4);
    assert_int_equal(faas_envelope_open(text, size, &env, &err), FAAS_INVALID);
    assert_contains(err.msg, "envelope: claims 262145 bytes of JSON");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_opens_the_same),
        cmocka_unit_test(no_bytes_are_fine),
        cmocka_unit_test(frames_that_lie_are_refused),
        cmocka_unit_test(too_much_json_is_refused_on_both_sides),
    };

    return run_unit(tests);
}
